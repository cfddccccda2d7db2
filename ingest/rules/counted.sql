-- Not a rule. Makes `counted`, the feedback that counts, and `mentions`, which prompts each event is about.
-- Of an event that was changed the latest revision counts; one that was taken back does not.
-- Events and prompts are compared by 64-bit hashes here: should two collide, more than needed is paired again.
CREATE TEMP TABLE counted AS
SELECT
  feedback_id, hash(source, source_id) AS said, source, interaction_id, other_ids, signal, value, scale_min, scale_max,
  rater_kind, rater_id, coalesce(file_id || ' ' || byte_offset, feedback_id) AS record, event_time, ingest_time
FROM (
  SELECT *, row_number() OVER (PARTITION BY source, source_id ORDER BY revision DESC, feedback_id) AS age
  FROM feedback
)
WHERE age = 1 AND NOT coalesce(retracted, false);

-- Of every revision, whether it counts or not: what an event was about before it changed is paired again, too.
CREATE TEMP TABLE mentions AS
WITH refs AS (
  SELECT hash(source, source_id) AS said, hash(interaction_id) AS ref FROM feedback
  UNION
  SELECT said, hash(ref) FROM (SELECT hash(source, source_id) AS said, unnest(other_ids) AS ref FROM feedback)
),
places AS (
  SELECT hash(interaction_id) AS ref, hash(prompt_hash) AS place FROM interactions
)
SELECT DISTINCT said, place FROM refs JOIN places USING (ref);
