-- Which texts hold how much of which evaluation item, by the runs of n words that both have.
--
-- Reads tables hits(place, gram), the different runs of each text that stand in some item, and runs(item, position,
-- gram), items(item, words). Plain joins and windows, no lists, no lambdas, no hash(): any engine runs it alike.
-- Parameters: n, coverage, shared. A run that more than `shared` items have is a template's: it counts, but makes no
-- text a candidate, unless an item has no other.
WITH spread AS (SELECT gram, count(DISTINCT item) AS holders FROM runs GROUP BY gram),
telling AS (
    SELECT r.item, r.gram FROM runs r JOIN spread s ON s.gram = r.gram
    JOIN (SELECT r.item, min(s.holders) AS fewest FROM runs r JOIN spread s ON s.gram = r.gram GROUP BY r.item) f
      ON f.item = r.item
    WHERE s.holders <= $shared OR s.holders = f.fewest),
candidates AS (SELECT DISTINCT h.place, t.item FROM hits h JOIN telling t ON t.gram = h.gram),
matched AS (
    SELECT h.place, r.item, r.position,
           lag(r.position) OVER (PARTITION BY h.place, r.item ORDER BY r.position) AS previous
    FROM hits h JOIN runs r ON r.gram = h.gram
    JOIN candidates c ON c.place = h.place AND c.item = r.item),
spans AS (
    SELECT place, item, position, previous,
           sum(CASE WHEN position = previous + 1 THEN 0 ELSE 1 END)
               OVER (PARTITION BY place, item ORDER BY position ROWS UNBOUNDED PRECEDING) AS span
    FROM matched),
covered AS (
    SELECT place, item,
           sum(CASE WHEN previous IS NULL OR position - previous > $n THEN $n ELSE position - previous END) AS covered
    FROM spans GROUP BY place, item),
longest AS (
    SELECT place, item, max(words) AS longest
    FROM (SELECT place, item, count(*) + $n - 1 AS words FROM spans GROUP BY place, item, span) s
    GROUP BY place, item)
SELECT c.place, c.item, CAST(c.covered AS BIGINT) AS covered, CAST(l.longest AS BIGINT) AS longest, i.words
FROM covered c
JOIN longest l ON l.place = c.place AND l.item = c.item
JOIN items i ON i.item = c.item
WHERE c.covered > $coverage * i.words
