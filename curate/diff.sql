-- How the curated rows of two snapshots differ, and why. Texts are read once, to be hashed row by row, and again only
-- where a row changed.
--
-- Reads views before_curated, after_curated, before_dropped, after_dropped and table causes(rule, side, cause).
-- Makes tables shared(triple_id, equal) and differences (curate/diff.py). {changes} lists what changed of a row.
CREATE TEMP TABLE hashes_before AS SELECT triple_id, sha256(to_json(t)) AS hash FROM before_curated t;
CREATE TEMP TABLE hashes_after AS SELECT triple_id, sha256(to_json(t)) AS hash FROM after_curated t;
CREATE TEMP TABLE shared AS
SELECT triple_id, b.hash = a.hash AS equal FROM hashes_before b JOIN hashes_after a USING (triple_id);

CREATE TEMP TABLE differences AS
WITH lists AS (
    SELECT triple_id, list_filter([{changes}], lambda change: change IS NOT NULL) AS changes
    FROM before_curated b
    JOIN after_curated a USING (triple_id)
    JOIN shared USING (triple_id) WHERE NOT equal)
SELECT triple_id, 'changed' AS what,
       -- Every kind once, in the order of the columns.
       list_aggregate(list_sort(list_distinct(list_transform(changes, lambda change: split_part(change, ': ', 1)))),
                      'string_agg', ', ') AS why,
       NULL::VARCHAR AS rule,
       list_aggregate(list_transform(changes, lambda change: split_part(change, ': ', 2)), 'string_agg', ', ') AS detail
FROM lists
UNION ALL
SELECT triple_id, 'went',
       coalesce(cause, 'it is not among the newer snapshot''s triples: erased, or paired otherwise'), rule, detail
FROM hashes_before
ANTI JOIN hashes_after USING (triple_id)
LEFT JOIN (SELECT triple_id, rule, detail FROM after_dropped WHERE first) USING (triple_id)
LEFT JOIN (SELECT rule, cause FROM causes WHERE side = 'went') USING (rule)
UNION ALL
SELECT triple_id, 'came', coalesce(cause, 'it is not among the older snapshot''s triples: it is new'), rule, detail
FROM hashes_after
ANTI JOIN hashes_before USING (triple_id)
LEFT JOIN (SELECT triple_id, rule, detail FROM before_dropped WHERE first) USING (triple_id)
LEFT JOIN (SELECT rule, cause FROM causes WHERE side = 'came') USING (rule);
