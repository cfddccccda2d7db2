-- rule: lone_thumb
-- version: 1
-- signal: thumb
-- strength: weak
-- meaning: A response got thumbs, and none of them made a triple; most raters' thumb is its label.
--
-- As many raters up as down say nothing: no row.
WITH thumbs AS (
  SELECT
    interaction_id, feedback_id, rater_id, event_time,
    value = scale_max AS up,
    coalesce(rater_id, feedback_id) AS rater
  FROM events
  WHERE signal = 'thumb' AND value IN (scale_min, scale_max)
    AND interaction_id NOT IN (
      SELECT e.interaction_id FROM events AS e SEMI JOIN used ON e.feedback_id = used.event_id WHERE e.signal = 'thumb'
    )
)
SELECT
  t.interaction_id,
  count(DISTINCT t.rater) FILTER (t.up) > count(DISTINCT t.rater) FILTER (NOT t.up) AS label,
  list_sort(list(t.feedback_id)) AS event_ids,
  list_sort(list_distinct(list(t.rater_id))) AS rater_ids,
  max(t.event_time) AS event_time
FROM thumbs AS t
SEMI JOIN served USING (interaction_id)
GROUP BY t.interaction_id
HAVING count(DISTINCT t.rater) FILTER (t.up) <> count(DISTINCT t.rater) FILTER (NOT t.up)
