-- Not a rule. Makes `compared`, `used` and `made` of the comparisons that the rules found: triples without their text.
-- Python gives messages_hash(json), triple_id(prompt, chosen, rejected, rule), and the tables `rules` and `numbered`:
-- pairs whose responses share no placeholders yet (ingest/numbering.py).

-- Each comparison with its outcome. Responses to different prompts, or with different tools on offer, do not compare.
CREATE TEMP TABLE compared AS
SELECT
  c.rule, c.event_id, c.chosen_id, c.rejected_id, c.margin,
  r.prompt_hash,
  CASE WHEN c.edited IS NULL THEN coalesce(n.chosen_text, s.response_hash)
  ELSE messages_hash(to_json(c.edited)) END AS chosen_hash,
  coalesce(n.rejected_text, r.response_hash) AS rejected_hash,
  CASE
    WHEN r.interaction_id IS NULL OR (c.edited IS NULL AND s.interaction_id IS NULL) THEN 'waits'
    WHEN c.edited IS NULL AND (s.prompt_hash <> r.prompt_hash OR s.tools IS DISTINCT FROM r.tools) THEN 'mismatch'
    WHEN NOT n.same_prompt THEN 'mismatch'  -- the prompts are the same but for values that were redacted
    WHEN chosen_hash = rejected_hash THEN 'identical'
    ELSE coalesce(c.refused, 'pair')
  END AS outcome,
  [s.user_id, r.user_id] AS user_ids,
  -- Consent of the pair: what both sides say, and null, which excludes, as soon as they differ or one says nothing.
  CASE WHEN c.edited IS NOT NULL OR s.consent = r.consent THEN r.consent END AS consent
FROM comparisons AS c
LEFT JOIN served AS r ON c.rejected_id = r.interaction_id
LEFT JOIN served AS s ON c.chosen_id = s.interaction_id
LEFT JOIN numbered AS n ON c.edited IS NULL AND c.chosen_id = n.chosen_id AND c.rejected_id = n.rejected_id;

CREATE TEMP TABLE grouped AS
WITH votes AS (  -- one row for each pair and event, however many interactions with the same texts the event names
  SELECT
    rule, prompt_hash, chosen_hash, rejected_hash, event_id,
    min(chosen_id) AS chosen_id,
    min(rejected_id) AS rejected_id,
    max(margin) AS margin,
    flatten(list(user_ids)) AS user_ids,
    CASE WHEN count(*) = count(consent) AND min(consent) = max(consent) THEN min(consent) END AS consent
  FROM compared
  WHERE outcome = 'pair'
  GROUP BY ALL
)
SELECT
  v.rule, v.prompt_hash, v.chosen_hash, v.rejected_hash,
  -- The same for both ways round, and of no order in time: by it a cap chooses.
  md5(least(v.chosen_hash, v.rejected_hash) || greatest(v.chosen_hash, v.rejected_hash)) AS pair,
  min(v.chosen_id) AS chosen_id,
  min(v.rejected_id) AS rejected_id,
  -- Sorted first: a sum of floating-point numbers depends on their order.
  list_avg(list_sort(list(v.margin))) AS margin,
  count(DISTINCT coalesce(e.rater_id, e.feedback_id)) AS n_agree,
  list_sort(list(v.event_id)) AS event_ids,
  list_sort(list_distinct(flatten(list(e.suspicious)))) AS suspicious,
  list_sort(list_distinct(list_concat(flatten(list(v.user_ids)), list(e.rater_id)))) AS user_ids,
  CASE WHEN count(*) = count(v.consent) AND min(v.consent) = max(v.consent) THEN min(v.consent) END AS consent,
  min(e.event_time) AS first_time,
  max(e.event_time) AS last_time
FROM votes AS v
JOIN events AS e ON v.event_id = e.feedback_id
GROUP BY v.rule, v.prompt_hash, v.chosen_hash, v.rejected_hash;

-- Above the cap of its prompt a pair makes no triple, in neither way round.
CREATE TEMP TABLE kept AS
SELECT * FROM grouped
QUALIFY dense_rank() OVER (PARTITION BY rule, prompt_hash ORDER BY pair) <= getvariable('per_prompt');

UPDATE compared SET outcome = 'prompt_cap'
WHERE outcome = 'pair' AND (rule, prompt_hash, chosen_hash, rejected_hash) NOT IN (
  SELECT (rule, prompt_hash, chosen_hash, rejected_hash) FROM kept
);

CREATE TEMP TABLE used AS SELECT DISTINCT event_id FROM compared WHERE outcome = 'pair';

CREATE TEMP TABLE made AS
WITH opposed AS (
  SELECT prompt_hash, rejected_hash AS chosen_hash, chosen_hash AS rejected_hash, rule, n_agree FROM grouped
)
SELECT
  triple_id(k.prompt_hash, k.chosen_hash, k.rejected_hash, k.rule) AS triple_id,
  k.prompt_hash, k.chosen_hash, k.rejected_hash,
  rules.signal,
  k.rule,
  rules.version AS rule_version,
  rules.strength,
  k.margin,
  rules.weight,
  (k.n_agree + coalesce(o.n_agree, 0))::INTEGER AS n_votes,
  k.n_agree::INTEGER AS n_agree,
  (k.prompt_hash, k.chosen_hash, k.rejected_hash) IN (
    SELECT (prompt_hash, chosen_hash, rejected_hash) FROM opposed
  ) AS contradicted,
  k.suspicious,
  k.chosen_id IS NULL AS off_policy,
  k.chosen_id AS chosen_interaction_id,
  k.rejected_id AS rejected_interaction_id,
  k.event_ids,
  k.user_ids,
  k.consent,
  k.first_time,
  k.last_time
FROM kept AS k
JOIN rules ON k.rule = rules.name
LEFT JOIN opposed AS o USING (rule, prompt_hash, chosen_hash, rejected_hash);
