-- rule: rating
-- version: 1
-- signal: rating
-- strength: medium
-- meaning: One rater gave the chosen response a clearly better rating than another response to the same prompt.
--
-- Both ratings are on one scale; margin: their difference over the scale's length. Ratings closer than rating_margin make
-- no pair. A rater without a name is one rater within one record of the log, and no further. Both events are named.
WITH rated AS (
  SELECT
    e.feedback_id, e.interaction_id, s.prompt_hash, coalesce(e.rater_id, e.record) AS rater,
    e.value, e.scale_min, e.scale_max
  FROM events AS e
  JOIN served AS s USING (interaction_id)
  WHERE e.signal = 'rating' AND e.scale_min < e.scale_max AND e.value BETWEEN e.scale_min AND e.scale_max
),
apart AS (
  SELECT
    [high.feedback_id, low.feedback_id] AS event_ids, high.interaction_id AS chosen_id,
    low.interaction_id AS rejected_id, (high.value - low.value) / (high.scale_max - high.scale_min) AS margin
  FROM rated AS high
  JOIN rated AS low USING (prompt_hash, rater, scale_min, scale_max)
  WHERE high.value > low.value AND high.interaction_id <> low.interaction_id
)
SELECT
  unnest(event_ids) AS event_id, chosen_id, rejected_id, NULL AS edited, margin,
  CASE WHEN margin < getvariable('rating_margin') THEN 'small_margin' END AS refused
FROM apart
