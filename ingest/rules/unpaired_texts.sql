-- Not a rule. The rows of `made_unpaired` that are to be written, with their texts; `wanted` holds their unpaired_ids.
-- Python gives root_hash(json).
SELECT
  m.unpaired_id,
  i.prompt,
  i.response AS completion,
  m.label,
  i.tools,
  m.prompt_hash,
  m.response_hash,
  i.source,
  m.signal,
  m.rule,
  m.rule_version,
  m.interaction_id,
  m.event_ids,
  i.model,
  CASE WHEN coalesce(list_position(list_transform(i.prompt, lambda m: m.role), 'user'), len(i.prompt)) >= len(i.prompt)
    THEN m.prompt_hash
    ELSE root_hash(to_json(i.prompt[:list_position(list_transform(i.prompt, lambda m: m.role), 'user')]))
  END AS prompt_group,
  m.user_ids,
  m.consent,
  m.event_time
FROM made_unpaired AS m
SEMI JOIN wanted ON m.unpaired_id = wanted.key
JOIN interactions AS i USING (interaction_id)
