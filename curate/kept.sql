-- The triples that stand, with what their duplicates and their pair's votes add to them.
--
-- Reads view triples, tables pairs, ledger, duplicates, votes. Makes table kept: one row per curated triple, no text.
CREATE TEMP TABLE kept AS
WITH family AS ( -- each survivor together with the duplicates it stands for
    SELECT survivor, triple_id FROM duplicates
    UNION ALL SELECT DISTINCT survivor, survivor FROM duplicates),
merged AS (
    SELECT survivor AS triple_id,
           list_sort(list_distinct(flatten(list(t.event_ids) FILTER (t.event_ids IS NOT NULL)))) AS event_ids,
           list_sort(list_distinct(flatten(list(t.user_ids) FILTER (t.user_ids IS NOT NULL)))) AS user_ids,
           min(t.first_time) AS first_time,
           max(t.last_time) AS last_time
    FROM family JOIN triples t USING (triple_id)
    GROUP BY survivor)
SELECT p.triple_id, t.prompt_group,
       votes_for + votes_against AS n_votes,
       votes_for AS n_agree,
       votes_for / (votes_for + votes_against) AS agreement,
       CASE WHEN chance IS NOT NULL THEN round(1 - chance, 6)
            WHEN votes_for + votes_against > 1
            THEN (votes_against + 1) / (votes_for + votes_against + 2) END AS label_noise,
       CASE WHEN m.triple_id IS NULL THEN t.event_ids ELSE m.event_ids END AS event_ids,
       CASE WHEN m.triple_id IS NULL THEN t.user_ids ELSE m.user_ids END AS user_ids,
       CASE WHEN m.triple_id IS NULL THEN t.first_time ELSE m.first_time END AS first_time,
       CASE WHEN m.triple_id IS NULL THEN t.last_time ELSE m.last_time END AS last_time
FROM pairs p
JOIN votes USING (triple_id)
JOIN triples t USING (triple_id)
LEFT JOIN merged m USING (triple_id)
WHERE NOT EXISTS (FROM ledger WHERE ledger.triple_id = p.triple_id);
