-- How a response is written, as bits: what a preference may follow instead of what is said.
--
-- Makes macro style_of(said): 1 list, 2 bold, 4 markdown of any other kind, 8 link, 16 emoji, 32 exclamation,
-- 64 affirmative start (curate/balance_rows.py: STYLES). With length, these are the seven patterns of Zhang et al., ACL
-- 2025, and markdown. Searches for a few bytes come before each expression, in CASE, since DuckDB's AND evaluates both.
CREATE TEMP MACRO style_of(said) AS (
    CASE WHEN contains(said, '- ') OR contains(said, '* ') OR contains(said, '• ') OR contains(said, '+ ')
              OR contains(said, '1. ') OR contains(said, '1) ')
         THEN regexp_matches(said, '(?m)^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+\S')::UTINYINT ELSE 0 END
    + CASE WHEN contains(said, '**') THEN 2 * regexp_matches(said, '\*\*\S')::UTINYINT ELSE 0 END
    + CASE WHEN contains(said, '```') OR contains(said, '|--') OR contains(said, '| --') THEN 4
           WHEN contains(said, '# ') THEN 4 * regexp_matches(said, '(?m)^#{1,6} \S')::UTINYINT ELSE 0 END
    + CASE WHEN contains(said, '://') OR contains(said, 'www.') OR contains(said, '](') THEN 8 ELSE 0 END
    + CASE WHEN strlen(said) != length(said)
           THEN 16 * regexp_matches(said, '[\x{203C}\x{2049}\x{2600}-\x{27BF}\x{2B50}\x{2B55}\x{1F000}-\x{1FAFF}]')::UTINYINT
           ELSE 0 END
    + CASE WHEN contains(said, '!') THEN 32 ELSE 0 END
    + CASE WHEN regexp_matches(left(said, 24),
                               '^\s*(?i:yes|sure|certainly|of course|absolutely|definitely|great question|happy to)\b')
           THEN 64 ELSE 0 END
    )::UTINYINT;
