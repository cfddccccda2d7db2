-- Signs by which a text is known for something that row rules drop. Each is true or false, never NULL.
--
-- Makes the macros below; docs/curation.md says what each rule means by them.

-- What a gateway or a library says in the place of an answer: short, and by its first words.
CREATE TEMP MACRO is_failure(said) AS length(said) < 400 AND regexp_matches(said, concat(
    '(?i)^[\s"''{]*(https?(/[0-9.]+)? [45]\d\d\b|(error )?[45]\d\d:? (bad request|unauthorized|forbidden|not found|',
    'request timeout|too many requests|internal server|bad gateway|service unavailable|gateway time)|',
    'internal server error|service (temporarily )?unavailable|bad gateway|gateway time-?out|upstream connect error|',
    'rate limit (reached|exceeded)|too many requests|request timed out|(api|server|network|connection|request) error\b|',
    'error code:? ?[45]\d\d|error"? ?: ?[{"]|traceback \(most recent call last\)|an (unexpected )?error (has )?occurred|',
    '<html>\s*<head>\s*<title>\s*[45]\d\d )'));

-- The response refuses, by its first 240 characters; English and Chinese.
CREATE TEMP MACRO refuses(said) AS regexp_matches(left(said, 240), concat(
    '(?i)\b(i|we)(( a|[''’])m| are|[''’]re)? (can ?not|can[''’]?t|won[''’]t|will not|unable to|not able to|',
    'must decline to|do(n[''’]t| not) feel comfortable|(am )?not comfortable) ?(\w+ly )?(assist|help|provid|comply|fulfil|answer|',
    'support|creat|generat|writ|engag|do (that|this)|continu|discuss|giv|shar|participat|offer|recommend|condon|produc|tell)|',
    '\bagainst my (guidelines|programming|policy)|',
    '(抱歉|对不起)[^。]{0,12}(无法|不能)'));

-- The response begins with what models say about themselves, and not with an answer.
CREATE TEMP MACRO is_disclaimer(said) AS regexp_matches(left(said, 240),
    '(?i)\bas an? (large |ai )*(language model|ai assistant|ai model)\b|\bmy (knowledge|training) (cut-?off|data)\b');

-- UTF-8 that was read as another encoding and written again, or a character that was lost.
CREATE TEMP MACRO has_mojibake(said) AS CASE
    WHEN strlen(said) = length(said) THEN false
    ELSE regexp_matches(said, '[ÃÂ][\x{80}-\x{BF}]|â€[\x{80}-\x{BF}™œžšŸ˜ˆ¢¦“”¦]|ï»¿|ðŸ|[ÐÑ][\x{80}-\x{BF}][ÐÑ][\x{80}-\x{BF}]|\x{FFFD}') END;

-- Tokens by which chat templates mark who speaks: in a text they let the text speak as somebody else.
CREATE TEMP MACRO has_role_marker(said) AS CASE
    WHEN contains(said, '<|') OR contains(said, 'INST]') OR contains(said, 'SYS>>') OR contains(said, '_of_turn>')
      OR contains(said, '<｜')
    THEN regexp_matches(said, concat(
        '<\|(im_start|im_end|im_sep|system|user|assistant|end|eot_id|eom_id|begin_of_text|end_of_text|start_header_id|',
        'end_header_id|endoftext|endofprompt)\|>|\[/?INST\]|<</?SYS>>|<(start|end)_of_turn>|<｜(User|Assistant)｜>'))
    ELSE false END;

-- The response goes on with the next turns of the conversation by itself.
CREATE TEMP MACRO speaks_for_others(said) AS CASE
    WHEN contains(said, chr(10) || 'Human:') THEN regexp_matches(said, '\n\nHuman: (.|\n)*\n\nAssistant:')
    ELSE false END;

-- The text speaks of a language or of translating: then an answer in another script may be what was asked for.
CREATE TEMP MACRO names_a_language(said) AS regexp_matches(said, concat(
    '(?i)translat|\blanguages?\b|english|chinese|mandarin|cantonese|japanese|korean|russian|ukrainian|arabic|hebrew|persian|',
    'farsi|urdu|hindi|thai|greek|french|german|spanish|italian|portuguese|polish|turkish|dutch|vietnamese|latin|kanji|pinyin|',
    '翻译|翻譯|英文|英语|英語|中文|汉语|漢語|日本語|日语|翻訳|번역|영어|перевед|перевод|английск|русск|ترجم|अनुवाद|แปล'));
