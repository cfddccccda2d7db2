"""Sketches of texts: the lowest byte of each of 128 minima of their shingles; four of these are the key of a band.

MinHash (Broder, "On the resemblance and containment of documents", 1997): for a random order of all shingles, two texts
have the same smallest one with probability J, their Jaccard similarity. Orders are x -> a * x mod 2^32 with odd a.
32 bands of 4: two texts share a band key with probability 1 - (1 - J^4)^32, 0.9998 at J = 0.7 and 0.05 at J = 0.2.
Bytes of different minima are equal once in 256 times: two unlike texts share a key of four bytes once in 2^32.

A sketch depends on nothing but the text and VERSION, so it may be stored and compared with those of another day.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate import shingles
from curate.shingles import I64, U8, U32, Bits, mixed

VERSION: Final = shingles.VERSION * 100 + 2
BANDS: Final = 32
ROWS: Final = 4
MINIMA: Final = BANDS * ROWS
_NONE: Final = np.uint8(255)
CHUNK: Final = 1 << 16
"""Shingles whose minima are taken at a time: as many as a core's cache holds."""
TEXTS: Final = 2048
"""Texts that one thread sketches at a time."""

_FACTORS: Final = (mixed(np.arange(1, MINIMA + 1, dtype=np.uint64)) >> np.uint64(32)).astype(np.uint32) | np.uint32(1)


@dataclass(frozen=True, slots=True)
class Sketches:
    """Of n texts."""

    bytes: U8
    """[n, MINIMA], row after row: the lowest byte of each minimum; of a text without a shingle all are 255."""

    @property
    def keys(self) -> U32:
        """[n, BANDS]: texts that are alike have a key in common."""
        return self.bytes.view("<u4")

    @property
    def empty(self) -> Bits:
        """[n]: texts without a shingle, which are like no other."""
        return np.asarray((self.bytes == _NONE).all(axis=1))

    @staticmethod
    def concat(parts: "Iterable[Sketches]") -> "Sketches":
        """Return all of `parts`, in order."""
        return Sketches(np.concatenate([np.empty((0, MINIMA), np.uint8), *(part.bytes for part in parts)]))


def sketch(texts: pl.Series) -> Sketches:
    """Return the sketches of `texts`, on every core."""
    pieces = [texts.slice(first, TEXTS) for first in range(0, len(texts), TEXTS)]
    if len(pieces) < 2:
        return Sketches.concat(map(_sketch, pieces))
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # NumPy and Polars work without the interpreter's lock
        return Sketches.concat(threads.map(_sketch, pieces))


def similarity(left: U8, right: U8) -> NDArray[np.float64]:
    """Return the estimated Jaccard similarity of row i of `left` and row i of `right`; standard error <= 0.045.

    Bytes of different minima are equal once in 256 times, which is taken off.
    """
    equal: NDArray[np.float64] = np.count_nonzero(left == right, axis=1) / MINIMA
    return (equal - 1 / 256) / (1 - 1 / 256)


def _sketch(texts: pl.Series) -> Sketches:
    found = shingles.shingles(texts)
    full = np.flatnonzero(np.diff(found.offsets))
    minima = np.full((MINIMA, len(texts)), _NONE)
    values = (found.hashes >> np.uint64(32)).astype(np.uint32)
    for first, last in pairwise(_cuts(found.offsets, full)):
        some = full[first:last]
        begin, end = found.offsets[some[0]], found.offsets[some[-1] + 1]
        _take_minima(values[begin:end], found.offsets[some] - begin, minima, some)
    return Sketches(np.ascontiguousarray(minima.T))


def _cuts(offsets: I64, full: I64) -> list[int]:
    """Return indices into `full` that cut it into runs of about CHUNK shingles, each of one text at least."""
    if not len(full):
        return [0]
    ends = offsets[full + 1]
    cuts = np.searchsorted(ends, np.arange(CHUNK, ends[-1] + CHUNK, CHUNK), side="left") + 1
    return [0, *np.unique(np.minimum(cuts, len(full))).tolist()]


def _take_minima(values: U32, starts: I64, minima: U8, texts: I64) -> None:
    """Write the lowest bytes of the minima of some texts' shingles, under every order, into their columns."""
    ordered = np.empty_like(values)
    for row, factor in enumerate(_FACTORS):
        np.multiply(values, factor, out=ordered)
        minima[row, texts] = np.minimum.reduceat(ordered, starts).astype(np.uint8)
