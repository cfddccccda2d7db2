"""Near duplicates: which texts are almost the same, verified, and in which groups they fall.

Takes sketches (`curate.minhash`) and gives pairs with their exact Jaccard similarity, and connected components:

1. candidates: of all texts with the same band key, each with the first and with the one before it; never all pairs, so
   that 8,000 variants of one template are 16,000 pairs a band and not 32 million;
2. estimate: pairs whose sketches are clearly too unlike are out;
3. exact check: a spanning forest of the likeliest pairs is verified by the Jaccard similarity of the shingle sets
   themselves; where a pair fails, the next that would join the two sides are tried, twice as many in each round, until
   none is left: two templates that are nearly alike have thousands of such pairs, and a round for each would take days.

So every edge is verified, and no pair of candidates that is at least as similar as the threshold lies in two groups.
Who shares a band key is found by sorting: 32 bits of key and 32 of number are one integer, and sorting these is a
hundred times as fast as a window in SQL that says the same (tests/curate/test_near_duplicates.py holds the two equal).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from curate.minhash import BANDS, Sketches, similarity
from curate.shingles import U32, U64, shingles

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Fetch = Callable[[I64], pl.Series]
"""Ids -> their texts, in the same order."""

SLACK: Final = 0.2
"""Taken off the threshold before estimates are compared with it: more than four standard errors."""
TEXTS: Final = 20_000
"""Texts that are fetched at a time, about, while pairs are verified."""
BYTES: Final = 1 << 27
"""Of the texts of pairs, whose shingle sets are held at a time; they take up to ten times as much."""

PAIRS: Final = 1 << 24
"""Pairs of several bands that are held at a time, about, before those that stand twice are dropped."""

HASH_BITS: Final = 48
"""Bits of a shingle's hash that are compared: different shingles of two texts of 500 meet once in 10^9 pairs."""
_HASH: Final = np.uint64((1 << HASH_BITS) - 1)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of texts by their number; row i says low[i] < high[i]."""

    low: I64
    high: I64
    jaccard: F64
    """Their similarity: estimated of candidates, exact of verified pairs."""

    def take(self, rows: NDArray[np.bool_] | I64) -> "Pairs":
        """Return some of the rows."""
        return Pairs(self.low[rows], self.high[rows], self.jaccard[rows])


@dataclass(frozen=True, slots=True)
class Groups:
    """Which texts are near duplicates of each other."""

    label: I64
    """[n]: the smallest number of a text in the same group; of a text that is like no other, its own."""
    edges: Pairs
    """Verified pairs that hold the groups together; a group of k texts has k - 1."""
    candidates: int
    """Different pairs that shared a band key."""
    verified: int
    """Pairs whose exact similarity was computed."""


def group(
    sketches: Sketches, fetch: Fetch, threshold: float, expect: Callable[[I64], None] = lambda numbers: None
) -> Groups:
    """Return the groups of near duplicates among n texts.

    `fetch` gives the texts whose numbers it is given, and is asked only for those that need the exact check; `expect`
    is told before, once, which these may be.
    `threshold` is a Jaccard similarity in (0, 1].
    """
    found = candidates(sketches)
    likely = found.take(found.jaccard >= threshold - SLACK)
    expect(_distinct(np.concatenate([likely.low, likely.high])))
    parts: list[Pairs] = []
    label = np.arange(len(sketches.bytes), dtype=np.int64)
    verified, breadth = 0, 1
    while len(likely.low):
        tries = _forest(likely, label, breadth)
        exact = Pairs(tries.low, tries.high, jaccard(tries, fetch))
        verified += len(exact.low)
        breadth *= 2
        parts.append(_forest(exact.take(exact.jaccard >= threshold), label, 1))
        label = _components(_concat(parts), len(label))
        tried = _numbers(tries, len(label))
        likely = likely.take((label[likely.low] != label[likely.high]) & ~np.isin(_numbers(likely, len(label)), tried))
    return Groups(label, _concat(parts), len(found.low), verified)


def candidates(sketches: Sketches) -> Pairs:
    """Return the pairs to look at, each once, with their estimated similarity."""
    numbers = np.flatnonzero(~sketches.empty).astype(np.uint64)
    size, keys = max(1, len(sketches.bytes)), sketches.keys
    known, waiting, count = np.zeros(0, np.int64), [np.zeros(0, np.int64)], 0
    for band in range(BANDS):
        waiting.append(_sharing(keys[numbers, band], numbers, size))
        count += len(waiting[-1])
        if count > PAIRS or band == BANDS - 1:
            known, waiting, count = _distinct(np.concatenate([known, *waiting])), [], 0
    low, high = known // size, known % size
    return Pairs(low, high, _estimates(sketches, low, high))


def _sharing(keys: U32, numbers: U64, size: int) -> I64:
    """Return the pairs of one band as low * size + high: each text with the first of its key and the one before it."""
    placed = (keys.astype(np.uint64) << np.uint64(32)) | numbers
    placed.sort()
    same = np.flatnonzero((placed[1:] >> np.uint64(32)) == (placed[:-1] >> np.uint64(32)))
    text = (placed & np.uint64(0xFFFFFFFF)).astype(np.int64)
    # A run of neighbours with one key begins where the place before it is not among `same`.
    begins = np.ones(len(same), np.bool_)
    begins[1:] = same[1:] != same[:-1] + 1
    first = same[begins][np.cumsum(begins) - 1] if len(same) else same
    return np.concatenate([text[same] * size + text[same + 1], text[first] * size + text[same + 1]])


def jaccard(pairs: Pairs, fetch: Fetch) -> F64:
    """Return the exact Jaccard similarity of the shingle sets of each pair.

    Pairs are looked at in an order that keeps both texts near each other, TEXTS of them at a time.
    """
    result = np.zeros(len(pairs.low))
    if not len(result):
        return result  # without asking for no texts, which costs a query
    for rows in np.array_split(np.arange(len(result)), max(1, 2 * len(result) // TEXTS)):
        numbers, places = np.unique(np.concatenate([pairs.low[rows], pairs.high[rows]]), return_inverse=True)
        left, right = places[: len(rows)], places[len(rows) :]
        texts = fetch(numbers)
        sizes = texts.str.len_bytes().to_numpy().astype(np.int64)
        bytes_so_far = np.cumsum(sizes[left] + sizes[right])
        for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(bytes_so_far // BYTES)) + 1):
            some, among = np.unique(np.concatenate([left[part], right[part]]), return_inverse=True)
            sets, offsets = _sets(texts.gather(some))
            result[rows[part]] = _jaccard(sets, offsets, among[: len(part)], among[len(part) :])
    return result


def _estimates(sketches: Sketches, low: I64, high: I64) -> F64:
    parts = [
        similarity(sketches.bytes[low[first : first + TEXTS]], sketches.bytes[high[first : first + TEXTS]])
        for first in range(0, len(low), TEXTS)
    ]
    return np.concatenate([np.zeros(0), *parts])


def _sets(texts: pl.Series) -> tuple[U64, I64]:
    """Return the sorted different shingles of each text, one text after the other, and where each begins."""
    found = shingles(texts)
    keys = _distinct(_tagged(np.repeat(np.arange(len(texts)), np.diff(found.offsets)), found.hashes))
    owner = (keys >> np.uint64(HASH_BITS)).astype(np.int64)
    return keys, np.searchsorted(owner, np.arange(len(texts) + 1)).astype(np.int64)


def _distinct(values: NDArray[np.generic]) -> Any:
    """Return the sorted different values: sorting beats the hash table of np.unique tenfold."""
    values = np.sort(values)
    return values[np.concatenate([[True], values[1:] != values[:-1]])] if len(values) else values


def _tagged(owner: I64, hashes: U64) -> U64:
    """Return numbers that sort by owner first: one sort of plain numbers is ten times as fast as one by two columns."""
    return (owner.astype(np.uint64) << np.uint64(HASH_BITS)) | (hashes & _HASH)


def _jaccard(sets: U64, offsets: I64, left: I64, right: I64) -> F64:
    """Return |A and B| / |A or B| for each pair of sets: sorted together, what both have stands twice."""
    sizes = np.diff(offsets)
    pair = np.arange(len(left))
    keys = [_tagged(np.repeat(pair, sizes[side]), sets[_members(offsets, side)]) for side in (left, right)]
    merged = np.sort(np.concatenate(keys))
    twice = merged[1:][merged[1:] == merged[:-1]] >> np.uint64(HASH_BITS)
    both = np.bincount(twice.astype(np.int64), minlength=len(left))
    either = sizes[left] + sizes[right] - both
    return np.asarray(both / np.maximum(either, 1))


def _members(offsets: I64, chosen: I64) -> I64:
    """Return the positions of all members of the chosen sets, one set after the other."""
    sizes = np.diff(offsets)[chosen]
    ends = np.cumsum(sizes)
    return np.repeat(offsets[chosen] - (ends - sizes), sizes) + np.arange(sizes.sum())


def _forest(pairs: Pairs, label: I64, breadth: int) -> Pairs:
    """Return, of pairs between different groups, a spanning forest of the likeliest, `breadth` for each branch."""
    left, right = label[pairs.low], label[pairs.high]
    low, high = np.minimum(left, right), np.maximum(left, right)
    # Of several pairs between two groups the likeliest stands for them; ties go to the first.
    order = np.lexsort((np.arange(len(low)), -pairs.jaccard, high, low))
    size = len(label)
    branch = (low * size + high)[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = branch[1:] != branch[:-1]
    begins = np.flatnonzero(first)
    best = order[first]
    # Weights must be above 0 and in the order of unlikeliness.
    graph = coo_array((2 - pairs.jaccard[best], (low[best], high[best])), shape=(size, size)).tocsr()
    tree = minimum_spanning_tree(graph).tocoo()
    wanted = np.isin(branch, tree.row.astype(np.int64) * size + tree.col)
    place = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
    return pairs.take(order[wanted & (place < breadth)])


def _components(edges: Pairs, size: int) -> I64:
    """Return for each text the smallest number in its connected component."""
    graph = coo_array((np.ones(len(edges.low), np.int8), (edges.low, edges.high)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    smallest = np.full(component.max(initial=-1) + 1, size, np.int64)
    np.minimum.at(smallest, component, np.arange(size))
    label: I64 = smallest[component]
    return label


def _concat(parts: list[Pairs]) -> Pairs:
    none = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    parts = [none, *parts]
    return Pairs(
        np.concatenate([p.low for p in parts]),
        np.concatenate([p.high for p in parts]),
        np.concatenate([p.jaccard for p in parts]),
    )


def _numbers(pairs: Pairs, size: int) -> I64:
    return pairs.low * size + pairs.high
