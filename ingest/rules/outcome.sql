-- Not a rule. Makes `made_outcomes`: one row for each event that counts, with what became of it, and why.
CREATE TEMP TABLE made_outcomes AS
WITH refs AS (
  SELECT feedback_id, interaction_id AS ref FROM relevant
  UNION ALL
  SELECT feedback_id, unnest(other_ids) FROM relevant
),
waiting AS (
  SELECT DISTINCT feedback_id FROM refs ANTI JOIN served ON refs.ref = served.interaction_id
),
labelled AS (SELECT DISTINCT unnest(event_ids) AS feedback_id FROM lone),
found AS (
  SELECT event_id, outcome, count(*)::INTEGER AS n
  FROM (SELECT DISTINCT rule, event_id, chosen_id, rejected_id, outcome FROM compared)
  GROUP BY event_id, outcome
),
counts AS (
  SELECT
    event_id,
    coalesce(max(n) FILTER (outcome = 'pair'), 0) AS pairs,
    -- The most telling reason first: what a cap left out would have been a triple.
    min_by(outcome, list_position(
      ['prompt_cap', 'small_margin', 'not_kept', 'after_error', 'changed_request', 'identical', 'mismatch'], outcome
    )) FILTER (outcome NOT IN ('pair', 'waits')) AS reason,
    coalesce(list(struct_pack(k := outcome, v := n) ORDER BY outcome) FILTER (outcome NOT IN ('pair', 'waits')), [])
      AS left_out
  FROM found
  GROUP BY event_id
)
SELECT
  e.feedback_id,
  e.source,
  e.signal,
  CASE
    WHEN c.pairs > 0 THEN 'paired'
    WHEN labelled.feedback_id IS NOT NULL THEN 'unpaired'
    WHEN e.capped THEN 'no_pair'
    WHEN waiting.feedback_id IS NOT NULL THEN 'waits'
    ELSE 'no_pair'
  END AS outcome,
  CASE
    WHEN outcome <> 'no_pair' THEN NULL
    WHEN e.capped THEN 'user_cap'
    WHEN e.signal NOT IN (SELECT signal FROM rules) THEN 'no_rule'
    ELSE coalesce(c.reason, 'nothing_to_compare')
  END AS reason,
  coalesce(c.pairs, 0)::INTEGER AS pairs,
  map_from_entries(coalesce(c.left_out, [])) AS left_out,
  e.suspicious,
  e.event_time,
  e.ingest_time
FROM relevant AS e
LEFT JOIN counts AS c ON e.feedback_id = c.event_id
LEFT JOIN labelled ON e.feedback_id = labelled.feedback_id
LEFT JOIN waiting ON e.feedback_id = waiting.feedback_id;
