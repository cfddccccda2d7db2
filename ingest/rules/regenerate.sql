-- rule: regenerate
-- version: 1
-- signal: regenerate
-- strength: weak
-- meaning: Somebody asked for another response and kept it: the later one is preferred over the earlier one.
--
-- Kept: it was not itself regenerated. The earlier one was whole, for asking again after an error judges nothing: it ended
-- by itself and is not empty (`blanks` holds the hashes of empty responses). Both were asked for with the same parameters,
-- but for the seed, and of the same model: otherwise the request was changed, not the response refused.
WITH again AS (
  SELECT feedback_id, interaction_id AS earlier_id, unnest(other_ids) AS later_id FROM events WHERE signal = 'regenerate'
)
SELECT
  a.feedback_id AS event_id,
  a.later_id AS chosen_id,
  a.earlier_id AS rejected_id,
  NULL AS edited,
  NULL AS margin,
  CASE
    WHEN a.later_id IN (SELECT earlier_id FROM again) THEN 'not_kept'
    WHEN e.response_hash IN (FROM blanks) OR coalesce(e.finish_reason, 'stop') NOT IN ('stop', 'tool_calls', 'function_call')
      THEN 'after_error'
    WHEN e.model_requested IS DISTINCT FROM l.model_requested
      OR json_merge_patch(coalesce(e.sampling, '{}'), '{"seed":null}')
        <> json_merge_patch(coalesce(l.sampling, '{}'), '{"seed":null}')
      THEN 'changed_request'
  END AS refused
FROM again AS a
LEFT JOIN served AS e ON a.earlier_id = e.interaction_id
LEFT JOIN served AS l ON a.later_id = l.interaction_id
