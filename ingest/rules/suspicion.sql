-- Not a rule. Makes `judged`: the events that look forged, with what they look like, and those above their rater's cap.
-- The variables are the keys of [pairing] in winnow.toml. An event of which nothing is to be said has no row.
CREATE TEMP TABLE records AS  -- one row for each record of a log in which a person judges, however many events it holds
SELECT source, rater_id, record, coalesce(any_value(rater_kind), 'user') AS kind, min(event_time) AS event_time
FROM counted
WHERE rater_id IS NOT NULL
  AND coalesce(rater_kind, 'user') IN ('user', 'annotator')
  AND signal IN ('thumb', 'rating', 'rank', 'choice', 'tie', 'both_bad', 'label')
GROUP BY source, rater_id, record;

CREATE TEMP TABLE judged AS
WITH timed AS (
  SELECT rater_id, record, event_time FROM records WHERE event_time IS NOT NULL
),
ahead AS (
  SELECT rater_id, record, event_time,
    count(*) OVER (
      PARTITION BY rater_id ORDER BY event_time
      RANGE BETWEEN CURRENT ROW AND to_seconds(getvariable('burst_seconds')) FOLLOWING
    ) AS votes
  FROM timed
  QUALIFY count(*) OVER (PARTITION BY rater_id) >= getvariable('burst_votes')
),
bursts AS (
  SELECT rater_id, record FROM ahead
  QUALIFY event_time <= to_seconds(getvariable('burst_seconds'))
    + max(CASE WHEN votes >= getvariable('burst_votes') THEN event_time END) OVER (
      PARTITION BY rater_id ORDER BY event_time RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    )
),
instants AS (
  SELECT rater_id, record FROM timed
  QUALIFY count(*) OVER (PARTITION BY rater_id, event_time) >= getvariable('same_instant_votes')
),
shares AS (  -- twice an even share at least, so that a small team is not improbable
  SELECT source, rater_id
  FROM (
    SELECT source, rater_id, count(*) AS votes,
      sum(count(*)) OVER (PARTITION BY source) AS total,
      count(*) OVER (PARTITION BY source) AS raters
    FROM records
    WHERE kind = 'user'
    GROUP BY source, rater_id
  )
  WHERE total >= getvariable('rater_share_votes')
    AND votes > getvariable('rater_share') * total
    AND getvariable('rater_share') * raters >= 2
),
faithful AS (  -- raters with enough comparisons to be looked at
  SELECT rater_id FROM counted
  WHERE signal IN ('choice', 'label') AND rater_id IN (SELECT rater_id FROM records)
  GROUP BY rater_id HAVING count(*) >= getvariable('one_model_votes')
),
against AS (
  SELECT c.rater_id, c.feedback_id, c.interaction_id, unnest(c.other_ids) AS other_id
  FROM counted AS c SEMI JOIN faithful USING (rater_id)
  WHERE c.signal IN ('choice', 'label')
),
wins AS (  -- comparisons of one model with others
  SELECT a.rater_id, a.feedback_id, any_value(w.model) AS model
  FROM against AS a
  LEFT JOIN interactions AS w ON a.interaction_id = w.interaction_id
  LEFT JOIN interactions AS l ON a.other_id = l.interaction_id
  GROUP BY a.rater_id, a.feedback_id
  HAVING bool_and(coalesce(w.model <> l.model, false))
),
one_model AS (
  SELECT feedback_id FROM wins
  WINDOW of_rater AS (PARTITION BY rater_id)
  QUALIFY count(*) OVER of_rater >= getvariable('one_model_votes') AND min(model) OVER of_rater = max(model) OVER of_rater
),
marks AS (
  SELECT c.feedback_id, 'burst' AS mark FROM counted AS c SEMI JOIN bursts USING (rater_id, record)
  UNION
  SELECT c.feedback_id, 'same_instant' FROM counted AS c SEMI JOIN instants USING (rater_id, record)
  UNION
  SELECT c.feedback_id, 'rater_share' FROM counted AS c
  SEMI JOIN records USING (source, rater_id, record) SEMI JOIN shares USING (source, rater_id)
  UNION
  SELECT feedback_id, 'one_model' FROM one_model
),
capped AS (  -- by hash, so that neither the first nor the last votes win
  SELECT feedback_id FROM counted
  WHERE rater_id IS NOT NULL AND coalesce(rater_kind, 'user') = 'user'
  QUALIFY row_number() OVER (PARTITION BY rater_id ORDER BY feedback_id) > getvariable('per_user')
)
SELECT
  coalesce(m.feedback_id, c.feedback_id) AS feedback_id,
  coalesce(m.suspicious, []::VARCHAR[]) AS suspicious,
  c.feedback_id IS NOT NULL AS capped
FROM (SELECT feedback_id, list_sort(list(mark)) AS suspicious FROM marks GROUP BY feedback_id) AS m
FULL JOIN capped AS c ON m.feedback_id = c.feedback_id;
