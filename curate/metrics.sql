-- One row of numbers about what is about to be published, read from the staged files themselves.
--
-- Counts only, and one division at the end: floating-point sums differ in the last digit between runs.
WITH curated AS (
    SELECT *,
           is_blank(conversation_text(chosen)) OR is_blank(conversation_text(rejected)) AS blank,
           same_key(chosen, rejected, conversation_text(chosen), conversation_text(rejected)) AS identical
    FROM read_parquet($curated)),
numbers AS (
    SELECT count(*) AS curated_rows,
           count(*) - count(DISTINCT triple_id) AS repeated_ids,
           count(*) FILTER (blank) AS empty_sides,
           count(*) FILTER (identical) AS identical_pairs,
           count(*) FILTER (split = 'train') AS train_rows,
           count(*) FILTER (split = 'validation') AS validation_rows,
           count(*) FILTER (split = 'test') AS test_rows,
           count(*) FILTER (chosen_chars > rejected_chars) AS longer,
           count(*) FILTER (chosen_chars < rejected_chars) AS shorter,
           sum(n_votes) AS votes,
           sum(n_agree) AS agree
    FROM curated),
pairs AS (
    SELECT count(*) AS contradictory_pairs FROM (
        SELECT prompt_hash, least(chosen_hash, rejected_hash) AS low, greatest(chosen_hash, rejected_hash) AS high
        FROM curated GROUP BY ALL HAVING count(*) > 1)),
groups AS (
    SELECT count(*) AS groups_in_two_splits FROM (
        SELECT cluster_id FROM curated GROUP BY cluster_id HAVING count(DISTINCT split) != 1)),
dropped AS (
    SELECT count(*) FILTER (first) AS dropped_triples,
           count(DISTINCT triple_id) - count(*) FILTER (first) AS drops_without_first
    FROM read_parquet($dropped)),
inside AS (
    SELECT count(*) AS evaluation_items_inside FROM curated SEMI JOIN read_parquet($decontaminated) e USING (triple_id)),
overlap AS (
    SELECT count(*) AS kept_and_dropped FROM curated SEMI JOIN read_parquet($dropped) d USING (triple_id))
SELECT curated_rows,
       $triples::BIGINT - curated_rows - dropped_triples AS unaccounted,
       kept_and_dropped, drops_without_first, repeated_ids, empty_sides, identical_pairs, contradictory_pairs,
       groups_in_two_splits, evaluation_items_inside, train_rows, validation_rows, test_rows,
       CASE WHEN longer + shorter > 0 THEN longer / (longer + shorter) END AS chosen_longer,
       CASE WHEN votes > 0 THEN agree / votes END AS agreement
FROM numbers, pairs, groups, dropped, inside, overlap;
