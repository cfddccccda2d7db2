-- What decontamination found, one row for each text and evaluation item: decontaminated.parquet.
--
-- Makes tables evaluation_sets, what was read, and contaminated. `side` is prompt, chosen or rejected; `covered` and `longest` are words of the item, in all
-- and in one run; `jaccard` is of a reworded one.
CREATE TEMP TABLE contaminated (
    triple_id VARCHAR, side VARCHAR, kind VARCHAR, evaluation_set VARCHAR, record BIGINT, part VARCHAR, words BIGINT,
    covered BIGINT, longest BIGINT, jaccard DOUBLE);
CREATE TEMP TABLE evaluation_sets (name VARCHAR, sha256 VARCHAR, items BIGINT);
