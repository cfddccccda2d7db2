-- Not a rule. Makes `compared`, `used` and `new_triples` of the comparisons that the rules found.
-- Python gives messages_hash(json), root_hash(json), triple_id(prompt, chosen, rejected, rule), and the tables `rules`,
-- `numbered` and `numbered_texts`: pairs whose responses share no placeholders yet (ingest/numbering.py).

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
    ELSE 'pair'
  END AS outcome,
  [s.user_id, r.user_id] AS user_ids,
  -- Consent of the pair: what both sides say, and null, which excludes, as soon as they differ or one says nothing.
  CASE WHEN c.edited IS NOT NULL OR s.consent = r.consent THEN r.consent END AS consent
FROM comparisons AS c
LEFT JOIN served AS r ON c.rejected_id = r.interaction_id
LEFT JOIN served AS s ON c.chosen_id = s.interaction_id
LEFT JOIN numbered AS n ON c.edited IS NULL AND c.chosen_id = n.chosen_id AND c.rejected_id = n.rejected_id;

CREATE TEMP TABLE used AS SELECT DISTINCT event_id FROM compared WHERE outcome = 'pair';

CREATE TEMP TABLE new_triples AS
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
),
grouped AS (
  SELECT
    v.rule, v.prompt_hash, v.chosen_hash, v.rejected_hash,
    min(v.chosen_id) AS chosen_id,
    min(v.rejected_id) AS rejected_id,
    -- Sorted first: a sum of floating-point numbers depends on their order.
    list_avg(list_sort(list(v.margin))) AS margin,
    count(DISTINCT coalesce(e.rater_id, e.feedback_id)) AS n_votes,
    list_sort(list(v.event_id)) AS event_ids,
    list_sort(list_distinct(list_concat(flatten(list(v.user_ids)), list(e.rater_id)))) AS user_ids,
    CASE WHEN count(*) = count(v.consent) AND min(v.consent) = max(v.consent) THEN min(v.consent) END AS consent,
    min(e.event_time) AS first_time,
    max(e.event_time) AS last_time
  FROM votes AS v
  JOIN events AS e ON v.event_id = e.feedback_id
  GROUP BY ALL
),
edits AS (
  SELECT c.event_id, c.edited FROM comparisons AS c WHERE c.edited IS NOT NULL
),
roots AS (
  SELECT i.prompt_hash, root_hash(to_json(any_value(i.prompt))) AS prompt_group
  FROM interactions AS i
  SEMI JOIN grouped AS g ON i.prompt_hash = g.prompt_hash
  GROUP BY i.prompt_hash
)
SELECT
  triple_id(g.prompt_hash, g.chosen_hash, g.rejected_hash, g.rule) AS triple_id,
  r.prompt,
  coalesce(edits.edited, chosen.response, c.response) AS chosen,
  coalesce(rejected.response, r.response) AS rejected,
  r.tools,
  g.prompt_hash, g.chosen_hash, g.rejected_hash,
  r.source,
  rules.signal,
  g.rule,
  rules.version AS rule_version,
  rules.strength,
  g.margin,
  1.0 AS weight,
  g.n_votes,
  g.n_votes AS n_agree,
  g.chosen_id AS chosen_interaction_id,
  g.rejected_id AS rejected_interaction_id,
  g.event_ids,
  c.model AS chosen_model,
  r.model AS rejected_model,
  c.finish_reason AS chosen_finish_reason,
  r.finish_reason AS rejected_finish_reason,
  list_sum(c.token_logprobs::DOUBLE[]) AS chosen_logprob,
  list_sum(r.token_logprobs::DOUBLE[]) AS rejected_logprob,
  c.token_ids AS chosen_token_ids,
  r.token_ids AS rejected_token_ids,
  c.token_logprobs AS chosen_token_logprobs,
  r.token_logprobs AS rejected_token_logprobs,
  CASE WHEN c.logprob_model = r.logprob_model THEN r.logprob_model END AS logprob_model,
  roots.prompt_group,
  g.user_ids,
  g.consent,
  g.first_time,
  g.last_time
FROM grouped AS g
JOIN rules ON g.rule = rules.name
JOIN roots ON g.prompt_hash = roots.prompt_hash
JOIN interactions AS r ON g.rejected_id = r.interaction_id
LEFT JOIN interactions AS c ON g.chosen_id = c.interaction_id
LEFT JOIN numbered_texts AS chosen ON g.chosen_id IS NOT NULL AND g.chosen_hash = chosen.response_hash
LEFT JOIN numbered_texts AS rejected ON g.rejected_hash = rejected.response_hash
LEFT JOIN edits ON g.chosen_id IS NULL AND g.event_ids[1] = edits.event_id;
