-- rule: edit
-- version: 1
-- signal: edit
-- strength: strong
-- meaning: Somebody rewrote the response; the edited text is preferred over the one that was served.
--
-- Only the last message's content is replaced. The edited response was served by nothing: it has no interaction, no
-- model and no log-probabilities. Placeholders take the served text's numbers (ingest/edits.py): what differs in numbers
-- alone is identical. Margin: Levenshtein distance over the longer text's length, both in UTF-8 bytes and without the
-- numbers of placeholders; null above 20,000 bytes, since the distance costs the product of the lengths.
-- Python gives renumbered(edit, served) and unnumbered(text).
WITH texts AS (
  SELECT
    e.feedback_id, e.interaction_id, i.response,
    renumbered(f.text, coalesce(i.response[-1].content, '')) AS content,
    unnumbered(f.text) AS edit,
    unnumbered(coalesce(i.response[-1].content, '')) AS served
  FROM events AS e
  JOIN feedback AS f USING (feedback_id)
  LEFT JOIN interactions AS i ON e.interaction_id = i.interaction_id
  WHERE e.signal = 'edit' AND f.text IS NOT NULL
)
SELECT
  feedback_id AS event_id,
  NULL AS chosen_id,
  interaction_id AS rejected_id,
  list_append(response[:-2], struct_pack(
    role := response[-1].role,
    content := content,
    tool_calls := response[-1].tool_calls,
    tool_call_id := response[-1].tool_call_id,
    name := response[-1].name
  )) AS edited,
  CASE WHEN greatest(strlen(edit), strlen(served)) BETWEEN 1 AND 20000 THEN
    levenshtein(edit, served) / greatest(strlen(edit), strlen(served))
  END AS margin,
  NULL AS refused
FROM texts
