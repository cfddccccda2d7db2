"""Vectorised shingles against plain Python: the same word triples, and one hash for each different one."""

import unicodedata

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.shingles import LONG_WORD, shingles

Triple = tuple[str, ...]


def unspaced(character: str) -> bool:
    """Scripts without spaces between words, and Hangul, which has the same lead bytes."""
    code = ord(character)
    return any(
        low <= code <= high for low, high in ((0x3000, 0xDFFF), (0xE00, 0xEFF), (0x1000, 0x10BF), (0x1780, 0x17FF))
    )


def words(text: str) -> list[str]:
    text = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).lower()
    spaced = "".join(
        f" {c} " if unspaced(c) else c if (c.isalnum() and c.isascii()) or not c.isascii() else " " for c in text
    )
    return spaced.split(" ")


def triples(text: str) -> list[Triple]:
    found = [word for word in words(text) if word]
    return [tuple(found[i : i + 3]) for i in range(max(len(found) - 2, min(len(found), 1)))]


TEXT = (
    st.text("abAB1 ,._\nüÜé你好สเあ가😀", max_size=30) | st.just("q" * LONG_WORD + " b c d") | st.just("q" * 99 + " b")
)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, max_size=12))
def test_against_plain_python(texts: list[str]) -> None:
    found = shingles(pl.Series(texts, dtype=pl.String))
    hashes: dict[Triple, int] = {}
    for number, text in enumerate(texts):
        mine = found.hashes[found.offsets[number] : found.offsets[number + 1]].tolist()
        theirs = triples(text)
        assert len(mine) == len(theirs)
        for value, triple in zip(mine, theirs, strict=True):
            assert hashes.setdefault(triple, value) == value
    assert len(set(hashes.values())) == len(hashes)


def test_a_text_has_the_same_shingles_whatever_stands_beside_it() -> None:
    """Also across the borders of blocks, and of texts without a word."""
    texts = ["Nothing is the same", "", "one", "two words", "!", "Same as Nothing is the same"] * 120
    found = shingles(pl.Series(texts))
    for number, text in enumerate(texts):
        alone = shingles(pl.Series([text])).hashes
        assert np.array_equal(found.hashes[found.offsets[number] : found.offsets[number + 1]], alone)


def test_stored_hashes_stay_what_they_are() -> None:
    """Sketches of another day are compared with today's: a change of these numbers needs a new VERSION."""
    found = shingles(pl.Series(["The quick brown fox", "你好吗", "extraordinarily", ""]))
    assert found.offsets.tolist() == [0, 2, 3, 4, 4]
    assert [f"{value:016x}" for value in found.hashes.tolist()] == [
        "a4662b61c3f99edb",
        "185a22a0594d69bf",
        "9495f49d60b60b9b",
        "5117f476736f953b",
    ]
