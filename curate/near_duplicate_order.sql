-- Families of triples that are alike, each from its best on.
--
-- Best is: the stronger signal, then more votes, then the later one, then the smaller id (as in exact_duplicates.sql).
SELECT triple_id, family, question, chosen, rejected
FROM alike
ORDER BY family, CASE strength WHEN 'strong' THEN 0 WHEN 'medium' THEN 1 WHEN 'weak' THEN 2 ELSE 3 END,
         votes DESC, last_time DESC NULLS LAST, triple_id;
