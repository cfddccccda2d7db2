-- Votes for and against each triple's order of its two responses: A over B and B over A are one contest.
--
-- Reads tables pairs (curate/apply.py), exact duplicates included: each counts its own votes; and checked(rater_id,
-- n_right, n_wrong); views triples, feedback. Makes tables judged_sides, contests(prompt_hash, low, high, for_low,
-- for_high) and ballots(contest, rater, low, events, n_right, n_wrong): one row per known rater and side, of contests of
-- several votes and several known raters.
CREATE TEMP TABLE judged_sides AS
-- The canonical order: the response with the smaller hash is `low`, whichever was chosen.
SELECT triple_id, prompt_hash, votes,
       least(chosen_hash, rejected_hash) AS low,
       greatest(chosen_hash, rejected_hash) AS high,
       chosen_hash <= rejected_hash AS chose_low
FROM pairs;

CREATE TEMP TABLE contests AS
SELECT prompt_hash, low, high,
       coalesce(sum(votes) FILTER (chose_low), 0)::INTEGER AS for_low,
       coalesce(sum(votes) FILTER (NOT chose_low), 0)::INTEGER AS for_high,
       row_number() OVER (ORDER BY prompt_hash, low, high) - 1 AS contest
FROM judged_sides GROUP BY prompt_hash, low, high;

CREATE TEMP TABLE ballots AS
WITH events AS (
    SELECT contest, chose_low, unnest(t.event_ids) AS feedback_id
    FROM contests JOIN judged_sides USING (prompt_hash, low, high) JOIN triples t USING (triple_id)
    WHERE for_low + for_high > 1),
known AS (
    SELECT contest, rater_id, chose_low, count(DISTINCT feedback_id)::INTEGER AS events
    FROM events JOIN feedback USING (feedback_id) WHERE rater_id IS NOT NULL GROUP BY ALL)
SELECT contest, dense_rank() OVER (ORDER BY rater_id) - 1 AS rater, chose_low AS low, events,
       coalesce(n_right, 0) AS n_right, coalesce(n_wrong, 0) AS n_wrong
FROM known LEFT JOIN checked USING (rater_id) QUALIFY count(DISTINCT rater_id) OVER (PARTITION BY contest) > 1
ORDER BY contest, rater, low;
