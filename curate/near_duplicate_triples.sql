-- The triples whose question others share, almost or exactly, and the texts of their responses.
--
-- Reads view triples, tables standing, ledger, question_texts and questions. Makes tables crowded and response_texts.
CREATE TEMP TABLE crowded AS
WITH asked AS (
    SELECT s.triple_id, q.question AS question_label, t.nr AS question
    FROM standing s JOIN questions q USING (prompt_hash) JOIN question_texts t ON t.key = s.prompt_hash
    WHERE NOT EXISTS (FROM ledger WHERE ledger.triple_id = s.triple_id)), -- what bridges two splits is dropped already
many AS (SELECT * FROM asked QUALIFY count(*) OVER (PARTITION BY question_label) > 1)
SELECT c.*, t.chosen_hash, t.rejected_hash, t.strength, t.last_time, coalesce(t.n_agree, 1) AS votes,
       -- Everything of the prompt that is no question, and what tools were on offer.
       sha256(concat(conversation_text(list_filter(t.prompt, lambda m: m.role IN ('system', 'developer'))),
                     chr(30), t.tools)) AS surroundings
FROM many c JOIN triples t USING (triple_id);

CREATE TEMP TABLE response_texts AS
WITH given AS (
    SELECT chosen_hash AS key, triple_id, true AS is_chosen FROM crowded
    UNION ALL SELECT rejected_hash, triple_id, false FROM crowded),
named AS (SELECT * FROM given QUALIFY row_number() OVER (PARTITION BY key ORDER BY triple_id, is_chosen) = 1)
SELECT row_number() OVER (ORDER BY key) - 1 AS nr, key,
       conversation_text(CASE WHEN is_chosen THEN t.chosen ELSE t.rejected END) AS said
FROM named JOIN triples t USING (triple_id);
