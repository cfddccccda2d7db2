-- Not a rule. Makes `new_unpaired` of what the rule of lone thumbs found, in the table `lone`.
-- Python gives unpaired_id(interaction, signal), root_hash(json), and the table `rules`.
CREATE TEMP TABLE new_unpaired AS
SELECT
  unpaired_id(l.interaction_id, rules.signal) AS unpaired_id,
  i.prompt,
  i.response AS completion,
  l.label,
  i.tools,
  i.prompt_hash,
  i.response_hash,
  i.source,
  rules.signal,
  rules.name AS rule,
  rules.version AS rule_version,
  l.interaction_id,
  l.event_ids,
  i.model,
  root_hash(to_json(i.prompt)) AS prompt_group,
  list_sort(list_distinct(list_append(l.rater_ids, i.user_id))) AS user_ids,
  i.consent,
  l.event_time
FROM lone AS l
JOIN interactions AS i USING (interaction_id)
JOIN rules ON rules.name = 'lone_thumb';
