-- rule: label
-- version: 2
-- signal: label
-- strength: strong
-- meaning: An annotator saw both responses blind, in random order, and preferred the target.
--
-- Margin: the place on the scale: 1/3 for slightly better, 2/3 for better, 1 for much better; null where annotators only
-- chose a side. An improved response is an event of its own (rule edit).
SELECT
  feedback_id AS event_id,
  interaction_id AS chosen_id,
  unnest(other_ids) AS rejected_id,
  NULL AS edited,
  CASE WHEN scale_min = 0 AND scale_max = 1 AND value BETWEEN 0 AND 1 THEN value END AS margin,
  NULL AS refused
FROM events
WHERE signal = 'label'
