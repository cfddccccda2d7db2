-- Not a rule. Makes `made_unpaired` of what the rule of lone thumbs found, in the table `lone`: rows without their text.
-- Python gives unpaired_id(interaction, signal), and the table `rules`.
CREATE TEMP TABLE made_unpaired AS
SELECT
  unpaired_id(l.interaction_id, rules.signal) AS unpaired_id,
  l.label,
  s.prompt_hash,
  s.response_hash,
  rules.signal,
  rules.name AS rule,
  rules.version AS rule_version,
  l.interaction_id,
  l.event_ids,
  list_sort(list_distinct(list_append(l.rater_ids, s.user_id))) AS user_ids,
  s.consent,
  l.event_time
FROM lone AS l
JOIN served AS s USING (interaction_id)
JOIN rules ON rules.name = 'lone_thumb';
