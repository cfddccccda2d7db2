-- Distributions before and after curation, for the report's charts. Every triple is `before`, a kept one `after` too.
--
-- Reads view judged, tables kept, splits. Makes table phases: no text in it.
CREATE TEMP TABLE phases AS
SELECT phase, j.signal, j.chosen_chars, j.rejected_chars
FROM judged j JOIN (SELECT 'before' AS phase, triple_id FROM triples
                    UNION ALL SELECT 'after', triple_id FROM kept) USING (triple_id);
