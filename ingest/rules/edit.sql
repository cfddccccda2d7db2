-- rule: edit
-- version: 2
-- signal: edit
-- strength: strong
-- meaning: Somebody rewrote the response; the edited text is preferred over the one that was served.
--
-- Only the last message's content is replaced. The edited response was served by nothing: it has no interaction, no
-- model and no log-probabilities. What was redacted in both has the served text's placeholders (ingest/numbering.py).
-- Margin: Levenshtein distance over the longer text's length, both in UTF-8 bytes; null above 20,000 bytes, since the
-- distance costs the product of the lengths. It is taken of the parts that differ: what both texts begin and end with
-- adds nothing to it. Python gives numbered_as(text, own placeholders, kept placeholders) and differing(text, other).
WITH texts AS (
  SELECT
    e.feedback_id, e.interaction_id, i.response,
    coalesce(i.response[-1].content, '') AS served,
    CASE WHEN cardinality(f.placeholders) > 0
      THEN numbered_as(f.text, to_json(f.placeholders), coalesce(to_json(i.placeholders), '{}'))
      ELSE f.text
    END AS edit
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
    content := edit,
    tool_calls := response[-1].tool_calls,
    tool_call_id := response[-1].tool_call_id,
    name := response[-1].name
  )) AS edited,
  CASE WHEN greatest(strlen(edit), strlen(served)) BETWEEN 1 AND 20000 THEN
    levenshtein(differing(edit, served), differing(served, edit)) / greatest(strlen(edit), strlen(served))
  END AS margin,
  NULL AS refused
FROM texts
