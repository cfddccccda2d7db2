-- Each member of a family of alike triples beside the family's best; a family of one is done.
--
-- Best is: the stronger signal, then more votes, then the later one, then the smaller id (as in exact_duplicates.sql).
WITH ranked AS (
    SELECT *, row_number() OVER (
        PARTITION BY family
        ORDER BY CASE strength WHEN 'strong' THEN 0 WHEN 'medium' THEN 1 WHEN 'weak' THEN 2 ELSE 3 END,
                 votes DESC, last_time DESC NULLS LAST, triple_id) AS place
    FROM alike)
SELECT m.triple_id, b.triple_id AS best, m.question, m.chosen, m.rejected,
       b.question AS best_question, b.chosen AS best_chosen, b.rejected AS best_rejected
FROM ranked m JOIN ranked b ON b.family = m.family AND b.place = 1
WHERE m.place > 1
ORDER BY m.triple_id;
