-- Votes for and against each triple's order of its two responses: A over B and B over A are one pair.
--
-- Reads table pairs (curate/apply.py), exact duplicates included: each counts its own votes.
-- Makes table votes(triple_id, votes_for, votes_against).
CREATE TEMP TABLE votes AS
WITH sides AS (
    -- The canonical order: the response with the smaller hash is `low`, whichever was chosen.
    SELECT triple_id, prompt_hash, votes,
           least(chosen_hash, rejected_hash) AS low,
           greatest(chosen_hash, rejected_hash) AS high,
           chosen_hash <= rejected_hash AS chose_low
    FROM pairs),
counted AS (
    SELECT prompt_hash, low, high,
           coalesce(sum(votes) FILTER (chose_low), 0)::INTEGER AS for_low,
           coalesce(sum(votes) FILTER (NOT chose_low), 0)::INTEGER AS for_high
    FROM sides GROUP BY prompt_hash, low, high)
SELECT triple_id,
       CASE WHEN chose_low THEN for_low ELSE for_high END AS votes_for,
       CASE WHEN chose_low THEN for_high ELSE for_low END AS votes_against
FROM sides JOIN counted USING (prompt_hash, low, high);

INSERT INTO ledger
SELECT triple_id,
       CASE WHEN votes_for < votes_against THEN 'contradiction_minority' ELSE 'contradiction_tied' END,
       format('{:d} for, {:d} against', votes_for, votes_against)
FROM votes WHERE votes_for <= votes_against;
