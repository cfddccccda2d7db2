-- What triples are like before and after curation: every triple is `before`, a kept one `after`, too.
--
-- Reads view judged, tables triples, kept and balanced. Makes table phases: narrow columns, no text.
CREATE TEMP TABLE phases AS
SELECT phase, p.weight, j.signal, j.source, j.chosen_model AS model, j.language,
       strftime(j.last_time AT TIME ZONE 'UTC', '%G-W%V') AS week,
       j.chosen_chars, j.rejected_chars, j.chosen_style, j.rejected_style
FROM judged j
JOIN (SELECT 'before' AS phase, triple_id, weight FROM triples
      UNION ALL
      SELECT 'after', triple_id, coalesce(b.weight, t.weight)
      FROM kept JOIN triples t USING (triple_id) LEFT JOIN balanced b USING (triple_id)) p USING (triple_id);
