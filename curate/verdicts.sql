-- What the votes of each contest come to, and which triples lose.
--
-- Reads tables judged_sides, contests and verdicts_found(contest, chance): the probability that `low` is the better one, where
-- raters are known. Makes table votes(triple_id, votes_for, votes_against, chance): chance is that of being right.
CREATE TEMP TABLE votes AS
SELECT triple_id,
       CASE WHEN chose_low THEN for_low ELSE for_high END AS votes_for,
       CASE WHEN chose_low THEN for_high ELSE for_low END AS votes_against,
       CASE WHEN chose_low THEN chance ELSE 1 - chance END AS chance
FROM judged_sides JOIN contests USING (prompt_hash, low, high) LEFT JOIN verdicts_found USING (contest);

INSERT INTO ledger
SELECT triple_id,
       CASE WHEN for_it = against_it THEN 'contradiction_tied' ELSE 'contradiction_minority' END,
       format('{:d} for, {:d} against', votes_for, votes_against)
       || coalesce(format(', right with probability {:.2f} by its raters', chance), '')
FROM (SELECT *,
             CASE WHEN chance IS NULL THEN votes_for ELSE (chance >= $confidence::DOUBLE)::INTEGER END AS for_it,
             CASE WHEN chance IS NULL THEN votes_against
                  ELSE (1 - chance >= $confidence::DOUBLE)::INTEGER END AS against_it
      FROM votes)
WHERE for_it <= against_it;
