"""Which language a text is in, as far as its script tells, and which script it is in; no guess beyond that.

Gives DuckDB the functions script_language(text) and main_script(text), for whole columns at once; part of `python -m
curate run`. Regular expressions that count letters cost a hundred times as much.

The language is told where more than half of the letters are of a script that one language writes; elsewhere it is
null. Latin, Cyrillic, Arabic, Devanagari and Hebrew are each shared by several languages. Chinese and Japanese share
Han; kana tells them apart.

The main script is that of the first 1,000 characters (200 of plain ASCII), null with fewer than 12 letters or where
none has enough. Latin words stand in texts of any script: it is Latin where less than one letter in fifty is of
another, and Chinese, Japanese and Korean where a fifth of the letters are theirs, since one character of theirs counts
as four letters, about what it would take to spell it.
"""

from functools import cache
from typing import Final

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from duckdb.func import ARROW, SPECIAL
from numpy.typing import NDArray

from curate.shingles import I64, U8

LANGUAGES: Final = {
    "Hangul": "ko",
    "Thai": "th",
    "Greek": "el",
    "Armenian": "hy",
    "Georgian": "ka",
    "Tamil": "ta",
    "Telugu": "te",
    "Khmer": "km",
    "Lao": "lo",
}
"""Unicode script -> the one language that is written in it."""
HAN_ENOUGH: Final = 10
"""Han characters from which a text without kana is Chinese: a name or a quotation is shorter."""
MAIN: Final = {
    "Latin": (("Latin",), 0),
    "Cyrillic": (("Cyrillic",), 1),
    "Han or kana": (("Han", "Hiragana", "Katakana"), 4),
    "Hangul": (("Hangul",), 4),
    "Arabic": (("Arabic",), 1),
    "Hebrew": (("Hebrew",), 1),
    "Devanagari": (("Devanagari",), 1),
    "Thai": (("Thai",), 1),
    "Greek": (("Greek",), 1),
}
"""Name -> its scripts, and how many letters one character of theirs counts as; Latin has a rule of its own."""
MAIN_LETTERS: Final = 12
"""Letters from which a text has a main script."""
FOREIGN: Final = 50
"""A text is Latin where fewer than one letter in so many is of another script."""
_SCRIPTS: Final = tuple(dict.fromkeys([*LANGUAGES, *(script for scripts, _ in MAIN.values() for script in scripts)]))
_OF: Final = {script: number for number, script in enumerate(_SCRIPTS, 1)}
"""Script -> its number; 0 is any other."""
_LETTER: Final = 0x80
_TOLD_FROM: Final = 0x370
"""The first code point of a script in _SCRIPTS but Latin."""
_CODE_POINTS: Final = 0x34000
"""Below it lies every character of these scripts, and above it no letter."""


def add_functions(connection: duckdb.DuckDBPyConnection) -> None:
    """Make script_language(text) and main_script(text) known to a connection."""
    for name, function in (("language_by_script", _languages), ("script_by_letters", _main_scripts)):
        connection.create_function(name, function, ["VARCHAR"], "VARCHAR", type=ARROW, null_handling=SPECIAL)
    # Most texts have no such character: a regular expression tells it faster than handing them over.
    connection.execute(r"""
        CREATE TEMP MACRO script_language(said) AS
        CASE WHEN strlen(said) = length(said) THEN NULL
             WHEN regexp_matches(said, '[^\x00-\x{36F}\p{P}\p{S}\p{Z}]') THEN language_by_script(said) END;
        CREATE TEMP MACRO main_script(said) AS
        CASE WHEN strlen(said) != length(said) THEN script_by_letters(left(said, 1000))
             WHEN regexp_matches(left(said, 200), '([A-Za-z][^A-Za-z]*){12}') THEN 'Latin' END""")


def _languages(texts: pa.ChunkedArray) -> pa.Array:
    letters, told = _letters(texts)
    of = {script: told[:, number] for script, number in _OF.items()}
    names = np.full(len(letters), None, object)
    kana = of["Hiragana"] + of["Katakana"]
    either = 2 * (of["Han"] + kana) > letters
    names[either & (4 * kana >= of["Han"])] = "ja"
    names[either & (kana == 0) & (of["Han"] >= HAN_ENOUGH)] = "zh"
    for script, language in LANGUAGES.items():
        names[2 * of[script] > letters] = language
    return pa.array(names, pa.string())


def _main_scripts(texts: pa.ChunkedArray) -> pa.Array:
    letters, told = _letters(texts)
    names = np.full(len(letters), None, object)
    for name, (scripts, outweighs) in reversed(MAIN.items()):
        theirs = told[:, [_OF[script] for script in scripts]].sum(axis=1)
        if name == "Latin":
            names[FOREIGN * (letters - theirs) < letters] = name
        else:
            names[(outweighs + 1) * theirs > letters] = name
    names[letters < MAIN_LETTERS] = None
    return pa.array(names, pa.string())


def _letters(texts: pa.ChunkedArray) -> tuple[I64, I64]:
    """Return [n] the letters of each text, and [n, scripts + 1] its characters of each script; of Latin its letters."""
    array = texts.combine_chunks().cast(pa.large_string())
    ends = np.cumsum(pc.utf8_length(array).to_numpy(), dtype=np.int64)
    _, offsets, data = array.buffers()
    first, last = np.frombuffer(offsets, np.int64)[[array.offset, array.offset + len(array)]] if len(array) else (0, 0)
    said = data.slice(first, last - first).to_pybytes() if data else b""
    points = np.frombuffer(said.decode("utf-8").encode("utf-32-le"), np.uint32)
    kinds = _kinds()[np.minimum(points, _CODE_POINTS - 1)]
    told = np.flatnonzero(points >= _TOLD_FROM)
    width = len(_SCRIPTS) + 1
    place = np.searchsorted(ends, told, side="right") * width + (kinds[told] & ~np.uint8(_LETTER))
    counts = np.bincount(place, minlength=len(ends) * width).reshape(len(ends), width).astype(np.int64)
    counts[:, _OF["Latin"]] = _per_text(kinds == _LETTER | _OF["Latin"], ends)
    return _per_text(kinds >= _LETTER, ends), counts


def _per_text(bits: NDArray[np.bool_], ends: I64) -> I64:
    """Return how many are true up to each end, from the one before it."""
    sums = np.concatenate([[0], np.cumsum(bits, dtype=np.int64)])[ends]
    return np.diff(sums, prepend=0)


@cache
def _kinds() -> U8:
    """Return for each code point the number of its script, and _LETTER besides where it is a letter."""
    every = pl.Series(["".join(chr(point) for point in range(_CODE_POINTS) if not 0xD800 <= point < 0xE000)])
    kinds = np.zeros(_CODE_POINTS, np.uint8)
    for script, kind in (("L", _LETTER), *_OF.items()):
        theirs = "".join(every.str.extract_all(rf"\p{{{script}}}+")[0])
        kinds[np.frombuffer(theirs.encode("utf-32-le"), np.uint32)] |= kind
    return kinds
