-- Pairs of responses to one prompt that no vote decided, best to ask first.
--
-- Reads views interactions, feedback, triples; tables features, ledger; variables cut_off, consent_allow, per_prompt,
-- total. Makes tables open_prompts, sides, decided, open_pairs, offered.
-- Texts are compared by conversation_key (curate/features.sql), so that no annotator is shown two that look the same.

-- Prompts of which two different responses were not compared. Of most lakes that is a small part, and the texts of the
-- others need not be read: whatever normalisation makes the same, each of their pairs has its triple.
CREATE TEMP TABLE open_prompts AS
WITH served AS (SELECT DISTINCT prompt_hash, response_hash FROM interactions WHERE prompt_hash IS NOT NULL),
settled AS (
    SELECT prompt_hash, least(chosen_hash, rejected_hash) AS low, greatest(chosen_hash, rejected_hash) AS high
    FROM triples LEFT JOIN (
        SELECT triple_id, bool_or(name = 'contradiction_tied') AS tied
        FROM ledger WHERE name IN ('contradiction_tied', 'weak_signal', 'retracted') GROUP BY triple_id
    ) undecided USING (triple_id)
    WHERE chosen_hash != rejected_hash
    GROUP BY ALL HAVING bool_or(tied IS NULL) AND NOT coalesce(bool_or(tied), false))
SELECT prompt_hash
FROM (SELECT prompt_hash, count(*) AS responses FROM served GROUP BY prompt_hash HAVING responses > 1)
LEFT JOIN (
    SELECT prompt_hash, count(*) AS pairs
    FROM settled
    SEMI JOIN served a ON a.prompt_hash = settled.prompt_hash AND a.response_hash = low
    SEMI JOIN served b ON b.prompt_hash = settled.prompt_hash AND b.response_hash = high
    GROUP BY prompt_hash) USING (prompt_hash)
WHERE coalesce(pairs, 0) < responses * (responses - 1) // 2;

-- Every response to these, with whether a triple made of it could be kept: served, not empty, not cut off, consent given.
CREATE TEMP TABLE responses AS
SELECT interaction_id, source, prompt_hash, response_hash, event_time,
       -- Only responses at one point make a triple: one source and prompt, the same tools on offer, one consent.
       concat_ws(' ', source, prompt_hash, sha256(coalesce(tools, '')), consent) AS point,
       conversation_key(response) AS response_key,
       coalesce(status = 'ok', false)
       AND NOT is_blank(conversation_text(response))
       AND NOT coalesce(list_contains(getvariable('cut_off')::VARCHAR[], finish_reason), false)
       AND consent IS NOT NULL
       AND list_has_any(getvariable('consent_allow')::VARCHAR[], [consent, split_part(consent, '@', 1)]) AS usable
FROM interactions SEMI JOIN open_prompts USING (prompt_hash)
WHERE prompt IS NOT NULL AND response IS NOT NULL AND prompt_hash IS NOT NULL;

-- One row per different response at a point, the newest first: the newest model is the one to improve.
CREATE TEMP TABLE sides AS
SELECT point, prompt_hash, response_key, interaction_id,
       row_number() OVER (PARTITION BY point ORDER BY event_time DESC NULLS LAST, interaction_id) AS nth,
       count(*) OVER (PARTITION BY point) AS siblings
FROM (SELECT * FROM (SELECT *, count(DISTINCT response_key) OVER (PARTITION BY point) AS choices
                     FROM responses WHERE usable)
      -- A response that several points hold counts at the largest of them, so that no pair is offered twice.
      QUALIFY row_number() OVER (PARTITION BY prompt_hash, response_key
                                 ORDER BY choices DESC, point, event_time DESC NULLS LAST, interaction_id) = 1)
QUALIFY siblings > 1;

-- Pairs that some triple is made of, whether it was dropped or not; a deadlock, a weak signal and what was
-- taken back decide nothing.
CREATE TEMP TABLE voted AS
WITH keys AS (SELECT DISTINCT prompt_hash, response_hash, response_key FROM responses),
keyed AS (
    SELECT triple_id, t.prompt_hash, c.response_key AS chosen_key, r.response_key AS rejected_key
    FROM triples t
    JOIN keys c ON c.prompt_hash = t.prompt_hash AND c.response_hash = chosen_hash
    JOIN keys r ON r.prompt_hash = t.prompt_hash AND r.response_hash = rejected_hash)
SELECT prompt_hash, least(chosen_key, rejected_key) AS low, greatest(chosen_key, rejected_key) AS high,
       bool_or(tied.triple_id IS NOT NULL) AS contradicted
FROM keyed
LEFT JOIN (FROM ledger WHERE name = 'contradiction_tied') tied USING (triple_id)
WHERE chosen_key != rejected_key AND triple_id NOT IN (SELECT triple_id FROM ledger WHERE name IN ('weak_signal', 'retracted'))
GROUP BY ALL;

-- Pairs that somebody called equal, by the latest revision of each event that was not taken back.
CREATE TEMP TABLE called_equal AS
WITH latest AS (
    SELECT interaction_id, other_ids, signal, retracted FROM feedback
    QUALIFY row_number() OVER (PARTITION BY source, source_id ORDER BY revision DESC NULLS LAST, feedback_id) = 1),
compared AS (
    SELECT interaction_id, unnest(other_ids) AS other_id FROM latest
    WHERE signal IN ('tie', 'both_bad') AND NOT coalesce(retracted, false))
SELECT DISTINCT a.prompt_hash, least(a.response_key, b.response_key) AS low,
       greatest(a.response_key, b.response_key) AS high
FROM compared
JOIN responses a USING (interaction_id)
JOIN responses b ON b.interaction_id = compared.other_id AND b.prompt_hash = a.prompt_hash
WHERE a.response_key != b.response_key;

CREATE TEMP TABLE decided AS
SELECT a.point, low, high
FROM voted
JOIN sides a ON a.prompt_hash = voted.prompt_hash AND a.response_key = low
JOIN sides b ON b.point = a.point AND b.response_key = high
WHERE NOT contradicted;

-- n siblings have n(n-1)/2 pairs, so they are never all listed: the newest m of them hold per_prompt undecided pairs as
-- soon as m(m-1)/2 >= per_prompt + decided. Pairs with a verdict of their own are added from it.
CREATE TEMP TABLE open_pairs AS
WITH points AS (
    SELECT point, count(low) AS decided
    FROM (SELECT DISTINCT point FROM sides) LEFT JOIN decided USING (point)
    GROUP BY point),
newest AS (
    SELECT point, prompt_hash, response_key
    FROM sides JOIN points USING (point)
    WHERE nth <= ceil((1 + sqrt(1 + 8 * (getvariable('per_prompt') + decided))) / 2)),
listed AS (
    SELECT a.point, a.prompt_hash, a.response_key AS low, b.response_key AS high
    FROM newest a JOIN newest b ON b.point = a.point AND a.response_key < b.response_key
    UNION
    SELECT a.point, a.prompt_hash, low, high
    FROM (SELECT prompt_hash, low, high FROM voted WHERE contradicted UNION FROM called_equal) undecided
    JOIN sides a ON a.prompt_hash = undecided.prompt_hash AND a.response_key = low
    JOIN sides b ON b.point = a.point AND b.response_key = high)
SELECT listed.*,
       CASE WHEN v.contradicted THEN 'contradicted' WHEN e.low IS NOT NULL THEN 'tied' ELSE 'unjudged' END AS why
FROM listed
ANTI JOIN decided USING (point, low, high)
LEFT JOIN voted v USING (prompt_hash, low, high)
LEFT JOIN called_equal e USING (prompt_hash, low, high);

-- One more vote settles a contradiction; a tie will often be a tie again.
CREATE TEMP TABLE offered AS
WITH ranked AS (
    SELECT p.*,
           CASE why WHEN 'contradicted' THEN 3.0 WHEN 'unjudged' THEN 2.0 ELSE 1.0 END::DOUBLE AS priority,
           a.interaction_id AS low_id, b.interaction_id AS high_id, a.nth + b.nth AS age
    FROM open_pairs p
    JOIN sides a ON a.point = p.point AND a.response_key = low
    JOIN sides b ON b.point = p.point AND b.response_key = high),
capped AS (
    SELECT * FROM ranked
    QUALIFY row_number() OVER (PARTITION BY point ORDER BY priority DESC, age, low, high) <= getvariable('per_prompt'))
SELECT low_id, high_id, why, priority,
       row_number() OVER (ORDER BY priority DESC, sha256(concat(prompt_hash, low, high))) AS place
FROM capped
QUALIFY place <= getvariable('total');
