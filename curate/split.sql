-- The split of every prompt group, by its cluster.
--
-- Reads tables clusters(prompt_group, cluster_id) and known_splits(prompt_group, split). Makes table
-- placed(prompt_group, cluster_id, splits, split): split is NULL of a group that would bridge `splits`.
CREATE TEMP TABLE placed AS
WITH known AS (SELECT c.*, k.split FROM clusters c LEFT JOIN known_splits k USING (prompt_group)),
seen AS (
    SELECT cluster_id, min(split) AS low, max(split) AS high, min(prompt_group) AS name,
           string_agg(DISTINCT split, ' and ' ORDER BY split) AS splits
    FROM known GROUP BY cluster_id),
hashed AS (
    SELECT *, ('0x' || left(sha256(concat($seed::BIGINT, ':', name)), 13))::BIGINT / 2.0::DOUBLE ** 52 AS place FROM seen)
SELECT k.prompt_group, k.cluster_id, h.splits,
       CASE WHEN k.split IS NOT NULL THEN k.split
            WHEN h.low <> h.high THEN NULL -- the cluster is in two splits already
            WHEN h.low IS NOT NULL THEN h.low
            WHEN place < $test::DOUBLE THEN 'test'
            WHEN place < $test::DOUBLE + $validation::DOUBLE THEN 'validation'
            ELSE 'train' END AS split
FROM known k JOIN hashed h USING (cluster_id);
