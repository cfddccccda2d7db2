-- Prompts of more than two responses: every response a node, every contest an edge between two.
--
-- Reads tables contests and verdicts_found. Makes tables nodes(node, prompt_hash, response) and edges, in order.
CREATE TEMP TABLE nodes AS
WITH several AS (SELECT prompt_hash FROM contests GROUP BY prompt_hash HAVING count(*) > 1),
named AS (SELECT prompt_hash, low AS response FROM contests SEMI JOIN several USING (prompt_hash)
          UNION SELECT prompt_hash, high FROM contests SEMI JOIN several USING (prompt_hash))
SELECT prompt_hash, response, row_number() OVER (ORDER BY prompt_hash, response) - 1 AS node FROM named;

CREATE TEMP TABLE edges AS
SELECT l.node AS low, h.node AS high, for_low, for_high, chance
FROM contests c
JOIN nodes l ON l.prompt_hash = c.prompt_hash AND l.response = c.low
JOIN nodes h ON h.prompt_hash = c.prompt_hash AND h.response = c.high
LEFT JOIN verdicts_found USING (contest)
WHERE c.low != c.high
ORDER BY l.node, h.node;
