"""Which language a text is in, as far as its script tells; no guess beyond that.

Gives DuckDB the function script_language(text), for whole columns at once; part of `python -m curate run`.

The language is told where more than half of the letters are of a script that one language writes; elsewhere it is
null. Latin, Cyrillic, Arabic, Devanagari and Hebrew are each shared by several languages. Chinese and Japanese share
Han; kana tells them apart.
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

from curate.shingles import U8

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
_SCRIPTS: Final = (*LANGUAGES, "Han", "Hiragana", "Katakana")
_HAN, _KANA = len(LANGUAGES) + 1, (len(LANGUAGES) + 2, len(LANGUAGES) + 3)
"""Numbers of these scripts; 0 is any other character."""
_LETTER: Final = 0x80
_TOLD_FROM: Final = 0x370
"""The first code point of a script in _SCRIPTS."""
_CODE_POINTS: Final = 0x34000
"""Below it lies every character of these scripts, and above it no letter."""


def add_function(connection: duckdb.DuckDBPyConnection) -> None:
    """Make script_language(text) known to a connection."""
    connection.create_function(
        "language_by_script", _languages, ["VARCHAR"], "VARCHAR", type=ARROW, null_handling=SPECIAL
    )
    # Most texts have no such character: a regular expression tells it faster than handing them over.
    connection.execute(r"""
        CREATE TEMP MACRO script_language(said) AS
        CASE WHEN strlen(said) = length(said) THEN NULL
             WHEN regexp_matches(said, '[^\x00-\x{36F}\p{P}\p{S}\p{Z}]') THEN language_by_script(said) END""")


def _languages(texts: pa.ChunkedArray) -> pa.Array:
    array = texts.combine_chunks().cast(pa.large_string())
    return pa.array(np.array([None, *LANGUAGES.values(), "zh", "ja"], object)[languages(array)], pa.string())


def languages(texts: pa.LargeStringArray) -> NDArray[np.intp]:
    """Return for each text 0, or the number of its language: that of its script, then Chinese, then Japanese."""
    sizes = pc.utf8_length(texts).to_numpy().astype(np.int64)
    _, offsets, data = texts.buffers()
    first, last = np.frombuffer(offsets, np.int64)[[texts.offset, texts.offset + len(texts)]] if len(texts) else (0, 0)
    said = data.slice(first, last - first).to_pybytes() if data else b""
    points = np.frombuffer(said.decode("utf-8").encode("utf-32-le"), np.uint32)
    kinds = _kinds()[np.minimum(points, _CODE_POINTS - 1)]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    letters = np.bincount(owner, kinds >= _LETTER, len(sizes)).astype(np.int64)
    told = np.flatnonzero(points >= _TOLD_FROM)
    width = len(_SCRIPTS) + 1
    counts = np.bincount(owner[told] * width + (kinds[told] & ~np.uint8(_LETTER)), minlength=len(sizes) * width)
    by_script = counts.reshape(len(sizes), width)
    single = 2 * by_script[:, 1:_HAN] > letters[:, None]
    han, kana = by_script[:, _HAN], by_script[:, _KANA[0]] + by_script[:, _KANA[1]]
    either = 2 * (han + kana) > letters
    found = np.where(single.any(axis=1), single.argmax(axis=1) + 1, 0)
    found = np.where((found == 0) & either & (kana == 0) & (han >= HAN_ENOUGH), _HAN, found)
    return np.where((found == 0) & either & (4 * kana >= han), _HAN + 1, found)


@cache
def _kinds() -> U8:
    """Return for each code point the number of its script, and _LETTER besides where it is a letter."""
    every = pl.Series(["".join(chr(point) for point in range(_CODE_POINTS) if not 0xD800 <= point < 0xE000)])
    kinds = np.zeros(_CODE_POINTS, np.uint8)
    for script, kind in (("L", _LETTER), *((script, number) for number, script in enumerate(_SCRIPTS, 1))):
        theirs = "".join(every.str.extract_all(rf"\p{{{script}}}+")[0])
        kinds[np.frombuffer(theirs.encode("utf-32-le"), np.uint32)] |= kind
    return kinds
