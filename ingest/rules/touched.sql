-- Not a rule. Makes `changed`, the events that were said, changed or marked since the last pairing, and `touched`, the
-- prompts whose pairs may differ from it. Reads the views `new_interactions` and `new_feedback`, of the files that were
-- added since, and `outcomes`, the events as they were.
CREATE TEMP TABLE changed AS
SELECT hash(source, source_id) AS said FROM new_feedback
UNION
SELECT c.said
FROM (SELECT feedback_id, suspicious, capped FROM judged) AS j
FULL JOIN (
  SELECT feedback_id, suspicious, reason IS NOT DISTINCT FROM 'user_cap' AS capped FROM outcomes
  WHERE len(suspicious) > 0 OR reason = 'user_cap'
) AS o USING (feedback_id)
JOIN counted AS c USING (feedback_id)
WHERE coalesce(j.suspicious, []) <> coalesce(o.suspicious, []) OR coalesce(j.capped, false) <> coalesce(o.capped, false);

CREATE TEMP TABLE touched AS
SELECT hash(prompt_hash) AS place FROM new_interactions
UNION
SELECT place FROM mentions SEMI JOIN changed USING (said);

-- Events about several prompts: none of them is paired again without the others.
CREATE TEMP TABLE links AS
SELECT said, place FROM mentions
WHERE said IN (SELECT said FROM mentions GROUP BY said HAVING min(place) <> max(place));
