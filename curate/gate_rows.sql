-- The rows because of which an expectation failed: at most five for each metric, or the worst five for a share.
--
-- Reads views gate_curated, gate_dropped, gate_contaminated and triples. Run only where a gate failed.
WITH found AS (
    SELECT 'repeated_ids' AS metric, triple_id, NULL::DOUBLE AS badness
    FROM gate_curated GROUP BY triple_id HAVING count(*) > 1
    UNION ALL SELECT 'lake_repeated_ids', triple_id, NULL FROM triples GROUP BY triple_id HAVING count(*) > 1
    UNION ALL SELECT 'kept_and_dropped', triple_id, NULL FROM gate_curated SEMI JOIN gate_dropped USING (triple_id)
    UNION ALL SELECT 'unaccounted', triple_id, NULL
    FROM triples ANTI JOIN gate_curated USING (triple_id) ANTI JOIN gate_dropped USING (triple_id)
    UNION ALL SELECT 'drops_without_first', triple_id, NULL
    FROM gate_dropped GROUP BY triple_id HAVING count(*) FILTER (first) != 1
    UNION ALL SELECT 'empty_sides', triple_id, NULL FROM gate_curated
    WHERE is_blank(conversation_text(chosen)) OR is_blank(conversation_text(rejected))
    UNION ALL SELECT 'identical_pairs', triple_id, NULL FROM gate_curated
    WHERE same_key(chosen, rejected, conversation_text(chosen), conversation_text(rejected))
    UNION ALL SELECT 'contradictory_pairs', triple_id, NULL FROM gate_curated
    QUALIFY count(*) OVER (PARTITION BY prompt_hash, least(chosen_hash, rejected_hash),
                                        greatest(chosen_hash, rejected_hash)) > 1
    UNION ALL SELECT 'groups_in_two_splits', triple_id, NULL FROM gate_curated
    WHERE cluster_id IN (SELECT cluster_id FROM gate_curated GROUP BY 1 HAVING count(DISTINCT split) > 1)
    UNION ALL SELECT 'evaluation_items_inside', triple_id, NULL
    FROM gate_curated SEMI JOIN gate_contaminated USING (triple_id)
    UNION ALL SELECT 'agreement', triple_id, 1 - n_agree / n_votes FROM gate_curated WHERE n_agree < n_votes
    UNION ALL SELECT 'lake_more_agree_than_vote', triple_id, n_agree - n_votes FROM triples WHERE n_agree > n_votes
    UNION ALL SELECT 'lake_impossible_weights', triple_id, NULL FROM triples WHERE weight < 0 OR NOT isfinite(weight)
    UNION ALL SELECT 'lake_impossible_logprobs', triple_id, NULL
    FROM triples WHERE chosen_logprob > 0 OR rejected_logprob > 0
    UNION ALL SELECT 'lake_reversed_times', triple_id, NULL FROM triples WHERE first_time > last_time)
SELECT metric, triple_id FROM found
WHERE list_contains($failed::VARCHAR[], metric)
QUALIFY row_number() OVER (PARTITION BY metric ORDER BY badness DESC NULLS LAST, triple_id) <= 5
ORDER BY metric, badness DESC NULLS LAST, triple_id;
