-- Which language a text is in, as far as its script tells; no guess beyond that.
--
-- Makes the macros below.
CREATE TEMP MACRO letters_left(said, removed) AS length(regexp_replace(said, removed, '', 'g'));

-- The language, where most letters are of a script that one language writes; elsewhere NULL. Latin, Cyrillic, Arabic,
-- Devanagari and Hebrew are each shared by several languages. Chinese and Japanese share Han; kana tells them apart.
CREATE TEMP MACRO script_language(said) AS CASE
    WHEN NOT regexp_matches(said, '[^\x00-\x{36F}\p{P}\p{S}\p{Z}]') THEN NULL
    WHEN 2 * letters_left(said, '[^\p{Hangul}]') > letters_left(said, '\P{L}') THEN 'ko'
    WHEN 2 * letters_left(said, '[^\p{Thai}]') > letters_left(said, '\P{L}') THEN 'th'
    WHEN 2 * letters_left(said, '[^\p{Greek}]') > letters_left(said, '\P{L}') THEN 'el'
    WHEN 2 * letters_left(said, '[^\p{Armenian}]') > letters_left(said, '\P{L}') THEN 'hy'
    WHEN 2 * letters_left(said, '[^\p{Georgian}]') > letters_left(said, '\P{L}') THEN 'ka'
    WHEN 2 * letters_left(said, '[^\p{Tamil}]') > letters_left(said, '\P{L}') THEN 'ta'
    WHEN 2 * letters_left(said, '[^\p{Telugu}]') > letters_left(said, '\P{L}') THEN 'te'
    WHEN 2 * letters_left(said, '[^\p{Khmer}]') > letters_left(said, '\P{L}') THEN 'km'
    WHEN 2 * letters_left(said, '[^\p{Lao}]') > letters_left(said, '\P{L}') THEN 'lo'
    WHEN 2 * letters_left(said, '[^\p{Han}\p{Hiragana}\p{Katakana}]') <= letters_left(said, '\P{L}') THEN NULL
    WHEN 4 * letters_left(said, '[^\p{Hiragana}\p{Katakana}]') >= letters_left(said, '\P{Han}') THEN 'ja'
    WHEN letters_left(said, '[^\p{Hiragana}\p{Katakana}]') = 0 AND letters_left(said, '\P{Han}') >= 10 THEN 'zh'
    END;
