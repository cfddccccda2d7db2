-- rule: choice
-- version: 1
-- signal: choice
-- strength: strong
-- meaning: Somebody saw the responses side by side and preferred the target over each of the others.
--
-- Margin: the degree of preference, where the event states one on a scale from 0 to 1.
SELECT
  feedback_id AS event_id,
  interaction_id AS chosen_id,
  unnest(other_ids) AS rejected_id,
  NULL AS edited,
  CASE WHEN scale_min = 0 AND scale_max = 1 AND value BETWEEN 0 AND 1 THEN value END AS margin,
  NULL AS refused
FROM events
WHERE signal = 'choice'
