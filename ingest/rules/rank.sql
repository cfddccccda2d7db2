-- rule: rank
-- version: 1
-- signal: rank
-- strength: medium
-- meaning: Somebody put several responses in order, and the chosen one stands before the other.
--
-- An event is a whole ranking: its target is the best response, and the others follow in order. Only responses at least
-- rank_distance places apart make a pair. Places are no distance in quality: no margin.
WITH rankings AS (
  SELECT feedback_id, list_prepend(interaction_id, other_ids) AS ids FROM events WHERE signal = 'rank'
),
places AS (
  SELECT feedback_id, unnest(ids) AS id, generate_subscripts(ids, 1) AS place FROM rankings
)
SELECT
  feedback_id AS event_id,
  better.id AS chosen_id,
  worse.id AS rejected_id,
  NULL AS edited,
  NULL AS margin,
  CASE WHEN worse.place - better.place < getvariable('rank_distance') THEN 'small_margin' END AS refused
FROM places AS better
JOIN places AS worse USING (feedback_id)
WHERE better.place < worse.place
