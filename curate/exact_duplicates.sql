-- Triples of the same prompt, chosen and rejected text: the best stays, the others name it.
--
-- Reads table pairs (curate/apply.py). Makes table duplicates(triple_id, survivor).
-- Best is: the stronger signal, then more votes, then the later one, then the smaller id.
CREATE TEMP TABLE duplicates AS
SELECT triple_id, first_value(triple_id) OVER best AS survivor
FROM pairs
WINDOW best AS (
    PARTITION BY prompt_hash, chosen_hash, rejected_hash
    ORDER BY CASE strength WHEN 'strong' THEN 0 WHEN 'medium' THEN 1 WHEN 'weak' THEN 2 ELSE 3 END,
             votes DESC, last_time DESC NULLS LAST, triple_id
    ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
QUALIFY triple_id != survivor;

INSERT INTO ledger
SELECT triple_id, 'exact_duplicate', 'the same judgement as ' || survivor FROM duplicates;
