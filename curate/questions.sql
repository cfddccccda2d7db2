-- What each different prompt asks, once: the texts that are searched for near duplicates.
--
-- Reads table standing; curate/features.sql before it. Makes macro question_text and table question_texts.
CREATE TEMP MACRO question_text(messages) AS coalesce(
    nullif(conversation_text(list_filter(messages, lambda m: m.role NOT IN ('system', 'developer'))), ''),
    conversation_text(messages));

CREATE TEMP TABLE question_texts AS
WITH asked AS (SELECT prompt_hash AS key, min(triple_id) AS triple_id FROM standing GROUP BY prompt_hash)
SELECT row_number() OVER (ORDER BY key) - 1 AS nr, key, triple_id FROM asked;
