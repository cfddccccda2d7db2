-- Not a rule. The compared responses to one prompt that were redacted apart from each other, to be numbered jointly.
SELECT DISTINCT
  c.chosen_id, c.rejected_id,
  r.prompt, r.tools,
  s.response AS chosen, s.response_hash AS chosen_hash, s.placeholders AS chosen_placeholders,
  r.response AS rejected, r.response_hash AS rejected_hash, r.placeholders AS rejected_placeholders
FROM comparisons AS c
JOIN interactions AS s ON c.chosen_id = s.interaction_id
JOIN interactions AS r ON c.rejected_id = r.interaction_id
WHERE c.edited IS NULL
  AND s.prompt_hash = r.prompt_hash
  AND cardinality(s.placeholders) > 0
  AND cardinality(r.placeholders) > 0
  AND s.placeholders IS DISTINCT FROM r.placeholders
