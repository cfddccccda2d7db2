-- The rows of curated.parquet: ingest.schema.CURATED, by triple_id.
--
-- Reads view triples, tables features, kept, splits, scores, balanced. A margin that the signal states itself comes first.
SELECT t.* REPLACE (k.n_votes AS n_votes, k.n_agree AS n_agree, k.event_ids AS event_ids, k.user_ids AS user_ids,
                    k.first_time AS first_time, k.last_time AS last_time,
                    coalesce(b.weight, t.weight) AS weight,
                    coalesce(t.margin, CASE WHEN chosen_score > rejected_score
                                                 THEN round(2 / (1 + exp(rejected_score - chosen_score)) - 1, 6)
                                                 WHEN chosen_score IS NOT NULL THEN 0 END) AS margin),
       s.split,
       s.cluster_id,
       k.agreement, k.label_noise,
       chosen_score, rejected_score, coalesce(in_cycle, false) AS in_cycle,
       f.language, f.prompt_chars, f.chosen_chars, f.rejected_chars
FROM triples t
JOIN kept k USING (triple_id)
JOIN features f USING (triple_id)
JOIN splits s ON s.prompt_group = t.prompt_group
LEFT JOIN scores USING (triple_id)
LEFT JOIN balanced b USING (triple_id)
ORDER BY t.triple_id;
