-- What each different prompt asks, once: the texts that are searched for near duplicates.
--
-- Reads view triples and table standing; curate/features.sql before it.
CREATE TEMP MACRO question_text(messages) AS coalesce(
    nullif(conversation_text(list_filter(messages, lambda m: m.role NOT IN ('system', 'developer'))), ''),
    conversation_text(messages));

CREATE TEMP TABLE question_texts AS
WITH asked AS (SELECT prompt_hash, min(triple_id) AS triple_id FROM standing GROUP BY prompt_hash)
SELECT row_number() OVER (ORDER BY asked.prompt_hash) - 1 AS nr, asked.prompt_hash AS key, question_text(prompt) AS said
FROM asked JOIN triples USING (triple_id);
