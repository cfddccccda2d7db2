"""Runs of n words of many texts, as hashes, and which of them stand in an index: for whole columns at once.

Reads Arrow strings and makes NumPy arrays. A run of n words is told by the word triples of `curate.shingles` that cover
it: those at 0, 3, 6, ... and the last. So words, case and Unicode form are those of near duplicates, and hashes depend
on nothing but the text.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.shingles import I64, U64, WORDS, Shingles, mixed, shingles

ROOM: Final = 16
"""Places of the index's table for each run in it, at least: one of as many is full, and asks for the exact look."""

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_FACTOR: Final = np.uint64(0xD6E8FEB86659FD93)


def ngrams(texts: pl.Series, n: int) -> Shingles:
    """Return every run of n words of each text, in order; a text of fewer words has none. n is at least 3."""
    return runs(shingles(texts), n)


def runs(found: Shingles, n: int) -> Shingles:
    """Return the runs of n words that word triples `found` make up."""
    extra = n - WORDS
    if not extra:
        return found
    sizes = np.diff(found.offsets)
    counts = np.maximum(sizes - extra, 0)
    triples = found.hashes
    begins = np.ones(len(triples), np.bool_)
    ends = found.offsets[1:]
    for back in range(1, extra + 1):
        begins[ends[sizes >= back] - back] = False
    places = np.flatnonzero(begins)
    hashes = triples[places]
    for shift in (*range(WORDS, extra, WORDS), extra):
        hashes *= _FACTOR
        hashes ^= triples[places + shift]
        hashes ^= hashes >> np.uint64(29)
    return Shingles(mixed(hashes), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def word_counts(texts: pl.Series) -> I64:
    """Return how many words each text has, of texts with a word: as many as triples, with two words more behind it."""
    return np.diff(shingles(texts + " x x").offsets)


def whole_keys(found: Shingles, below: int) -> tuple[I64, U64]:
    """Return the texts of fewer than `below` words, and one hash of all words of each, in order.

    A text without any word is not among them.
    """
    sizes = np.diff(found.offsets)
    texts = np.flatnonzero((sizes > 0) & (sizes <= below - WORDS))
    if not len(texts):
        return texts.astype(np.int64), np.zeros(0, np.uint64)
    lengths = sizes[texts]
    starts = np.cumsum(lengths) - lengths
    place = np.arange(lengths.sum()) - np.repeat(starts, lengths)
    triples = found.hashes[np.repeat(found.offsets[texts], lengths) + place]
    keyed = mixed(triples + (place.astype(np.uint64) + np.uint64(1)) * _STEP)
    return texts.astype(np.int64), mixed(np.add.reduceat(keyed, starts))


@dataclass(frozen=True)
class Index:
    """A set of hashes that is asked for millions of others, nearly none of which are in it."""

    members: U64
    """Sorted, each once."""
    table: NDArray[np.bool_]
    """Whether any member begins with these bits: a look into it costs less than a search."""
    shift: np.uint64

    @staticmethod
    def of(hashes: U64) -> "Index":
        """Return the index of `hashes`."""
        members = np.unique(hashes)
        bits = max(10, int(len(members) * ROOM).bit_length())
        shift = np.uint64(64 - bits)
        table = np.zeros(1 << bits, np.bool_)
        table[members >> shift] = True
        return Index(members, table, shift)

    def find(self, hashes: U64) -> tuple[I64, I64]:
        """Return the places in `hashes` of those that are members, and which member each is."""
        places = np.flatnonzero(self.table[hashes >> self.shift])
        if not len(places):
            return places, places
        member = np.searchsorted(self.members, hashes[places])
        member[member == len(self.members)] = 0
        same = self.members[member] == hashes[places]
        return places[same].astype(np.int64), member[same].astype(np.int64)
