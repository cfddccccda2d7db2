-- Narrow columns of every triple's texts, so that no later step reads text again to judge a row.
--
-- Reads views triples and feedback; function script_language of curate.scripts, macros of curate/style.sql and
-- curate/signs.sql. Makes the macros below and tables withdrawn, repeated and features: one row per triple. A regular
-- expression over a whole text costs ten times a plain search, so CASE lets it read only what a cheap look at the
-- beginning or a plain search has let through.

-- What a conversation says: content and tool calls of its messages, a line feed between them.
CREATE TEMP MACRO conversation_text(messages) AS
    coalesce(array_to_string(
        list_transform(messages, lambda m: concat_ws(chr(10), m.content, m.tool_calls)), chr(10)), '');

-- Unicode form NFC, lower case, white space of any script collapsed to one space.
CREATE TEMP MACRO normalised(said) AS
    trim(regexp_replace(nfc_normalize(lower(nfc_normalize(said))), '[\s\x0B\x1C-\x1F\x{85}\p{Z}]+', ' ', 'g'));

-- Two conversations have one key when roles and normalised texts are the same, message by message.
CREATE TEMP MACRO conversation_key(messages) AS
    sha256(coalesce(array_to_string(list_transform(messages, lambda m:
        concat(m.role, chr(31), normalised(concat_ws(chr(10), m.content, m.tool_calls)))), chr(30)), ''));

-- False only where two texts differ whatever their case, white space and marks: by their first letter or digit, then by
-- their first 48 characters. What is not plain ASCII there passes; the last letter is not compared, as an accent may
-- follow it.
CREATE TEMP MACRO first_letter(said) AS lower(regexp_extract(left(said, 80), '[0-9A-Za-z\x{80}-\x{10FFFF}]'));
CREATE TEMP MACRO bare(said) AS
    lower(regexp_replace(regexp_extract(left(said, 48), '[\s!-~]*'), '[\s*_`#>~|+-]+', '', 'g'));
CREATE TEMP MACRO may_be_same(a, b) AS CASE
    WHEN first_letter(a) <> first_letter(b) AND greatest(first_letter(a), first_letter(b)) <= 'z'
     AND least(first_letter(a), first_letter(b)) > '' THEN false
    ELSE left(bare(a), greatest(0, least(length(bare(a)), length(bare(b))) - 1))
       = left(bare(b), greatest(0, least(length(bare(a)), length(bare(b))) - 1)) END;

-- Two conversations have one conversation_key, which is worked out only where it may be.
CREATE TEMP MACRO same_key(a, b, a_text, b_text) AS CASE
    WHEN may_be_same(a_text, b_text) THEN conversation_key(a) = conversation_key(b)
    ELSE false END;

-- Two conversations of the same roles say the same but for white space and the marks of Markdown.
CREATE TEMP MACRO unmarked(said) AS regexp_replace(said, '[\s\x0B\x1C-\x1F\x{85}\p{Z}*_`#>~|+-]+', '', 'g');
CREATE TEMP MACRO roles(messages) AS coalesce(array_to_string(list_transform(messages, lambda m: m.role), ' '), '');
CREATE TEMP MACRO same_unmarked(a, b, a_text, b_text) AS CASE
    WHEN may_be_same(a_text, b_text) THEN roles(a) = roles(b) AND unmarked(a_text) = unmarked(b_text)
    ELSE false END;

-- No character that shows: only white space, controls and invisible format characters.
CREATE TEMP MACRO is_blank(said) AS NOT regexp_matches(said, '[^\s\p{Z}\p{C}]');

-- Triples that rest on an event that was taken back: an older revision of it, which pairing has not seen replaced.
CREATE TEMP TABLE withdrawn AS
WITH taken_back AS (
    SELECT source, source_id, retracted FROM feedback
    WHERE (source, source_id) IN (SELECT (source, source_id) FROM feedback WHERE retracted)
    QUALIFY row_number() OVER (PARTITION BY source, source_id ORDER BY revision DESC NULLS LAST, feedback_id) = 1),
events AS (SELECT f.feedback_id FROM feedback f JOIN taken_back USING (source, source_id) WHERE taken_back.retracted)
SELECT DISTINCT triple_id
FROM (SELECT triple_id, unnest(event_ids) AS feedback_id FROM triples) SEMI JOIN events USING (feedback_id);

-- Responses that were chosen for more than one prompt, and for how many.
CREATE TEMP TABLE repeated AS
SELECT chosen_hash, count(DISTINCT prompt_hash) AS prompts
FROM triples GROUP BY chosen_hash HAVING count(*) > 1;

CREATE TEMP TABLE features AS
SELECT triple_id,
       length(prompt_text)::INTEGER AS prompt_chars,
       length(chosen_text)::INTEGER AS chosen_chars,
       length(rejected_text)::INTEGER AS rejected_chars,
       is_blank(chosen_text) AS chosen_blank,
       is_blank(rejected_text) AS rejected_blank,
       style_of(chosen_text) AS chosen_style,
       style_of(rejected_text) AS rejected_style,
       same_key(chosen, rejected, chosen_text, rejected_text) AS same_normalised,
       same_unmarked(chosen, rejected, chosen_text, rejected_text) AS same_unmarked,
       is_failure(chosen_text) AS chosen_failed,
       is_failure(rejected_text) AS rejected_failed,
       refuses(chosen_text) AS chosen_refuses,
       refuses(rejected_text) AS rejected_refuses,
       is_disclaimer(chosen_text) AS chosen_disclaims,
       has_mojibake(prompt_text) AS prompt_mojibake,
       has_mojibake(chosen_text) AS chosen_mojibake,
       has_mojibake(rejected_text) AS rejected_mojibake,
       has_role_marker(prompt_text) AS prompt_role_marker,
       has_role_marker(chosen_text) OR speaks_for_others(chosen_text) AS chosen_role_marker,
       has_role_marker(rejected_text) OR speaks_for_others(rejected_text) AS rejected_role_marker,
       main_script(question) AS prompt_script,
       main_script(chosen_text) AS chosen_script,
       main_script(rejected_text) AS rejected_script,
       names_a_language(question) AS prompt_names_language,
       withdrawn.triple_id IS NOT NULL AS retracted,
       coalesce(repeated.prompts, 1) AS chosen_prompts,
       script_language(chosen_text) AS language
FROM (SELECT triple_id, chosen_hash, chosen, rejected,
             conversation_text(prompt) AS prompt_text,
             conversation_text(chosen) AS chosen_text,
             conversation_text(rejected) AS rejected_text,
             coalesce(list_filter(prompt, lambda m: m.role = 'user')[-1].content, '') AS question
      FROM triples) said
LEFT JOIN repeated USING (chosen_hash)
LEFT JOIN withdrawn USING (triple_id);
