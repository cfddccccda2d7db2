-- Narrow columns of every triple's texts, so that no later step reads text again to judge a row.
--
-- Reads view triples; function script_language of curate.scripts, macros of curate/style.sql. Makes the macros below and
-- table features: one row per triple.

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

-- No character that shows: only white space, controls and invisible format characters.
CREATE TEMP MACRO is_blank(said) AS NOT regexp_matches(said, '[^\s\p{Z}\p{C}]');

CREATE TEMP TABLE features AS
SELECT triple_id,
       length(prompt_text)::INTEGER AS prompt_chars,
       length(chosen_text)::INTEGER AS chosen_chars,
       length(rejected_text)::INTEGER AS rejected_chars,
       is_blank(chosen_text) AS chosen_blank,
       is_blank(rejected_text) AS rejected_blank,
       style_of(chosen_text) AS chosen_style,
       style_of(rejected_text) AS rejected_style,
       conversation_key(chosen) AS chosen_key,
       conversation_key(rejected) AS rejected_key,
       script_language(chosen_text) AS language
FROM (SELECT triple_id, chosen, rejected,
             conversation_text(prompt) AS prompt_text,
             conversation_text(chosen) AS chosen_text,
             conversation_text(rejected) AS rejected_text
      FROM triples);
