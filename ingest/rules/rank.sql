-- rule: rank
-- version: 1
-- signal: rank
-- strength: medium
-- meaning: Somebody put several responses in order, and the chosen one stands before the other.
--
-- An event names one response, and in order those that stand below it. Only those at least rank_distance places below
-- make a pair. Places are no distance in quality: no margin.
SELECT
  feedback_id AS event_id,
  interaction_id AS chosen_id,
  unnest(other_ids) AS rejected_id,
  NULL AS edited,
  NULL AS margin,
  CASE WHEN generate_subscripts(other_ids, 1) < getvariable('rank_distance') THEN 'small_margin' END AS refused
FROM events
WHERE signal = 'rank'
