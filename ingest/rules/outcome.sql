-- Not a rule. One row for each event that counts: its signal, and what became of it.
WITH refs AS (
  SELECT feedback_id, interaction_id AS ref FROM events
  UNION ALL
  SELECT feedback_id, unnest(other_ids) FROM events
),
waiting AS (
  SELECT DISTINCT feedback_id FROM refs ANTI JOIN served ON refs.ref = served.interaction_id
),
labelled AS (SELECT DISTINCT unnest(event_ids) AS feedback_id FROM lone)
SELECT
  e.signal,
  CASE
    WHEN used.event_id IS NOT NULL THEN 'paired'
    WHEN labelled.feedback_id IS NOT NULL THEN 'unpaired'
    WHEN waiting.feedback_id IS NOT NULL THEN 'waits'
    ELSE 'no_pair'
  END AS outcome,
  count(*) AS n
FROM events AS e
LEFT JOIN used ON e.feedback_id = used.event_id
LEFT JOIN labelled ON e.feedback_id = labelled.feedback_id
LEFT JOIN waiting ON e.feedback_id = waiting.feedback_id
GROUP BY ALL
