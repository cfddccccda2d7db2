-- One row of numbers about the triples that curation was given, from their narrow columns: no text is read.
SELECT count(*) AS triples,
       count(*) - count(DISTINCT triple_id) AS lake_repeated_ids,
       count(*) FILTER (prompt_hash IS NULL OR chosen_hash IS NULL OR rejected_hash IS NULL OR prompt_group IS NULL)
           AS lake_without_hash,
       count(*) FILTER (n_agree > n_votes) AS lake_more_agree_than_vote,
       count(*) FILTER (weight < 0 OR NOT isfinite(weight)) AS lake_impossible_weights,
       count(*) FILTER (chosen_logprob > 0 OR rejected_logprob > 0) AS lake_impossible_logprobs,
       count(*) FILTER (first_time > last_time) AS lake_reversed_times
FROM triples;
