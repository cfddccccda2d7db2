-- Of each triple's texts and evaluation items the strongest finding, and into the ledger the strongest of the triple.
--
-- Reads tables found and items (curate/decontaminate.py). Strongest is: exact, overlap, reworded; then more words.
INSERT INTO contaminated
SELECT f.triple_id, f.side, f.kind, i.set, i.record, i.part, i.words, f.covered, f.longest, f.jaccard
FROM found f JOIN items i USING (item)
QUALIFY row_number() OVER (
    PARTITION BY f.triple_id, f.side, f.item ORDER BY f.kind, f.covered DESC NULLS LAST, f.jaccard DESC) = 1
ORDER BY f.triple_id, f.side, i.item;

INSERT INTO ledger
WITH ranked AS (
    SELECT *, row_number() OVER (
               PARTITION BY triple_id
               ORDER BY kind, covered DESC NULLS LAST, jaccard DESC, side, evaluation_set, record, part) AS place,
           count(*) OVER (PARTITION BY triple_id) AS found
    FROM contaminated)
SELECT triple_id, 'evaluation_overlap',
       concat(CASE kind
                  WHEN 'exact' THEN format('{} holds all {} words of ', side, words)
                  WHEN 'overlap' THEN format('{} holds {} of {} words, at most {} in a row, of ', side, covered, words, longest)
                  ELSE format('{} is {:.2f} alike ', side, jaccard) END,
              evaluation_set, ' record ', record, ' (', part, ')',
              CASE WHEN found > 1 THEN concat('; ', found - 1, ' more in decontaminated.parquet') END)
FROM ranked WHERE place = 1;
