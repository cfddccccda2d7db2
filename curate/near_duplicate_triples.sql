-- The triples whose question others share, almost or exactly, under the same surroundings: a family.
--
-- Reads view triples, tables standing, ledger, question_texts and questions. Makes table crowded.
CREATE TEMP TABLE crowded AS
WITH asked AS (
    SELECT s.triple_id, q.question AS question_label, t.nr AS question
    FROM standing s JOIN questions q USING (prompt_hash) JOIN question_texts t ON t.key = s.prompt_hash
    WHERE NOT EXISTS (FROM ledger WHERE ledger.triple_id = s.triple_id)), -- what bridges two splits is dropped already
many AS (SELECT * FROM asked QUALIFY count(*) OVER (PARTITION BY question_label) > 1),
placed AS (
    SELECT c.*, t.chosen_hash, t.rejected_hash, t.strength, t.last_time, coalesce(t.n_agree, 1) AS votes,
           -- Everything of the prompt that is no question, and what tools were on offer.
           sha256(concat(conversation_text(list_filter(t.prompt, lambda m: m.role IN ('system', 'developer'))),
                         chr(30), t.tools)) AS surroundings
    FROM many c JOIN triples t USING (triple_id))
SELECT * EXCLUDE (question_label, surroundings),
       dense_rank() OVER (ORDER BY question_label, surroundings) AS family
FROM placed
QUALIFY count(*) OVER (PARTITION BY question_label, surroundings) > 1;
