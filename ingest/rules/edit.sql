-- rule: edit
-- version: 1
-- signal: edit
-- strength: strong
-- meaning: Somebody rewrote the response; the edited text is preferred over the one that was served.
--
-- Only the last message's content is replaced. The edited response was served by nothing: it has no interaction, no
-- model and no log-probabilities. Margin: Levenshtein distance over the longer text's length, both in UTF-8 bytes;
-- null above 20,000 bytes, since the distance costs the product of the lengths.
SELECT
  e.feedback_id AS event_id,
  NULL AS chosen_id,
  e.interaction_id AS rejected_id,
  list_append(i.response[:-2], struct_pack(
    role := i.response[-1].role,
    content := e.text,
    tool_calls := i.response[-1].tool_calls,
    tool_call_id := i.response[-1].tool_call_id,
    name := i.response[-1].name
  )) AS edited,
  CASE WHEN greatest(strlen(e.text), strlen(coalesce(i.response[-1].content, ''))) BETWEEN 1 AND 20000 THEN
    levenshtein(e.text, coalesce(i.response[-1].content, ''))
      / greatest(strlen(e.text), strlen(coalesce(i.response[-1].content, '')))
  END AS margin
FROM events AS e
LEFT JOIN interactions AS i USING (interaction_id)
WHERE e.signal = 'edit' AND e.text IS NOT NULL
