-- rule: sibling_thumbs
-- version: 2
-- signal: thumb
-- strength: medium
-- meaning: Of the responses at one point of a conversation, one got a thumb up; another a thumb down, or none though shown.
--
-- Thumbs of any user count; only those at an end of their scale do. "None" means that no sibling with the same text has
-- a thumb; texts that differ only in what was redacted are not the same. A response that is not known to have been shown is never rejected for having none. Every event that
-- supports a pair is named with it: the thumbs up of one side, the thumbs down of the other.
WITH thumbs AS (
  SELECT e.feedback_id, e.value, e.scale_min, e.scale_max, s.interaction_id, s.sibling_group, s.whole_hash
  FROM events AS e
  JOIN served AS s USING (interaction_id)
  WHERE e.signal = 'thumb'
),
ups AS (SELECT * FROM thumbs WHERE value = scale_max),
downs AS (SELECT * FROM thumbs WHERE value = scale_min),
up_texts AS (
  SELECT sibling_group, whole_hash, min(interaction_id) AS interaction_id FROM ups GROUP BY ALL
),
down_texts AS (
  SELECT sibling_group, whole_hash, min(interaction_id) AS interaction_id FROM downs GROUP BY ALL
),
unrated_texts AS (
  SELECT s.sibling_group, s.whole_hash, min(s.interaction_id) AS interaction_id
  FROM served AS s
  ANTI JOIN thumbs AS t ON s.sibling_group = t.sibling_group AND s.whole_hash = t.whole_hash
  WHERE s.shown
  GROUP BY ALL
)
SELECT u.feedback_id AS event_id, u.interaction_id AS chosen_id, r.interaction_id AS rejected_id,
       NULL AS edited, NULL AS margin, NULL AS refused
FROM ups AS u
JOIN (FROM down_texts UNION ALL FROM unrated_texts) AS r
  ON u.sibling_group = r.sibling_group AND u.whole_hash <> r.whole_hash
UNION ALL
SELECT d.feedback_id, c.interaction_id, d.interaction_id, NULL, NULL, NULL
FROM downs AS d
JOIN up_texts AS c ON d.sibling_group = c.sibling_group AND d.whole_hash <> c.whole_hash
