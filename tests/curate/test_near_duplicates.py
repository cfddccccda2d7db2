"""Groups of near duplicates against brute force over all pairs, on random and on real texts."""

import itertools
import random
from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import minhash, near_duplicates
from curate.near_duplicates import I64, Groups, Pairs, group, jaccard

from .test_shingles import Triple, triples


def grouped(texts: Sequence[str], threshold: float) -> Groups:
    series = pl.Series(texts, dtype=pl.String)
    return group(minhash.sketch(series), series.gather, threshold)


def exact(left: set[Triple], right: set[Triple]) -> float:
    return len(left & right) / max(1, len(left | right))


def components(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    label = list(range(count))
    for low, high in edges:
        a, b = sorted((label[low], label[high]))
        label = [a if one == b else one for one in label]
    return label


@pytest.mark.parametrize("held", [near_duplicates.BYTES, 20, 1])
@settings(max_examples=20, deadline=None)
@given(st.lists(st.text("ab c", max_size=14), max_size=14))
def test_exact_similarity(held: int, texts: list[str]) -> None:
    """However few bytes are held at a time; 1 byte: each pair with any text is looked at by itself."""
    pairs = list(itertools.combinations(range(len(texts)), 2))
    low, high = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    series = pl.Series(texts, dtype=pl.String)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "BYTES", held)
        found = jaccard(Pairs(low, high, np.zeros(len(pairs))), series.gather)
    sets = [set(triples(text)) for text in texts]
    assert found.tolist() == pytest.approx([exact(sets[a], sets[b]) for a, b in pairs])


@pytest.mark.parametrize("threshold", [0.7, 0.8, 0.9])
def test_variants_of_templates(threshold: float) -> None:
    """Chains, hubs and lone texts: the groups are the connected components over all pairs, each edge is verified."""
    draw = random.Random(7)
    texts: list[str] = []
    for _ in range(12):
        words = [f"w{draw.getrandbits(40)}" for _ in range(60)]
        for _ in range(draw.choice([1, 2, 9])):
            texts.append(" ".join(words))
            for place in draw.sample(range(60), draw.choice([1, 2, 4, 8])):
                words[place] = f"w{draw.getrandbits(40)}"
    draw.shuffle(texts)
    sets = [set(triples(text)) for text in texts]
    alike = [
        pair
        for pair in itertools.combinations(range(len(texts)), 2)
        if exact(sets[pair[0]], sets[pair[1]]) >= threshold
    ]
    found = grouped(texts, threshold)
    assert found.label.tolist() == components(len(texts), alike)
    edges = list(zip(found.edges.low.tolist(), found.edges.high.tolist(), strict=True))
    assert set(edges) <= set(alike)
    assert len(edges) == len(texts) - len(set(found.label.tolist()))
    assert found.edges.jaccard.tolist() == pytest.approx([exact(sets[a], sets[b]) for a, b in edges])


def test_a_template_with_many_variants_is_not_quadratic() -> None:
    """600 variants are 179,700 pairs; each is looked at with few, and verified with about one."""
    draw = random.Random(3)
    words = [f"w{draw.getrandbits(40)}" for _ in range(80)]
    texts = []
    for number in range(600):
        variant = words.copy()
        variant[draw.randrange(80)] = f"v{number}"
        texts.append(" ".join(variant))
    found = grouped(texts, 0.7)
    assert set(found.label.tolist()) == {0}
    assert found.candidates <= 600 * 2 * minhash.BANDS
    assert found.verified == 599


def test_two_templates_that_are_nearly_alike_are_not_compared_pair_by_pair() -> None:
    """Over 500 pairs of the two are likely and fail (0.58 in common, 0.7 asked): rounds double, 1 + 2 + ... + 512."""
    draw = random.Random(1)
    common = [f"w{draw.getrandbits(40)}" for _ in range(80)]
    templates = [[*common, *(f"w{draw.getrandbits(40)}" for _ in range(26))] for _ in range(2)]
    texts = []
    for number in range(600):
        variant = templates[number % 2].copy()
        variant[draw.randrange(100)] = f"v{number}"
        texts.append(" ".join(variant))
    series = pl.Series(texts)
    asked: list[int] = []

    def fetch(numbers: I64) -> pl.Series:
        asked.append(len(numbers))
        return series.gather(numbers)

    found = group(minhash.sketch(series), fetch, 0.7)
    assert found.label.tolist() == [0, 1] * 300
    assert found.verified > 598 + 500
    assert len(found.edges.low) == 598
    assert len(asked) <= 11


def test_texts_without_a_word_are_like_nothing() -> None:
    found = grouped(["", "?!", " ", "a", "A!", "b"], 0.7)
    assert found.label.tolist() == [0, 1, 2, 3, 3, 5]


BANDS_IN_SQL = """
    SELECT DISTINCT low, high FROM (
      SELECT min(id) OVER (PARTITION BY band, band_key) AS low, id AS high FROM bands
      UNION ALL SELECT lag(id) OVER (PARTITION BY band, band_key ORDER BY id), id FROM bands)
    WHERE low < high ORDER BY low, high"""
"""The same candidates for an engine that spreads over machines: no lists, no lambdas, no hash of its own."""


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=2), max_size=12))
def test_candidates_are_those_of_plain_sql(kinds: list[list[int]]) -> None:
    """Few different bytes, so that bands of many texts meet; 255 in all of them is a text without a shingle."""
    random_bytes = np.array(
        [[255, 7, 9][kind[place % 2]] for kind in kinds for place in range(minhash.MINIMA)], np.uint8
    )
    sketches = minhash.Sketches(random_bytes.reshape(len(kinds), minhash.MINIMA))
    found = near_duplicates.candidates(sketches)
    rows = [
        (band, int(key), number)
        for number, keys in enumerate(sketches.keys)
        if not sketches.empty[number]
        for band, key in enumerate(keys)
    ]
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE bands (band INTEGER, band_key BIGINT, id BIGINT)")
        connection.executemany("INSERT INTO bands VALUES (?, ?, ?)", rows) if rows else None
        expected = connection.execute(BANDS_IN_SQL).fetchall()
    assert list(zip(found.low.tolist(), found.high.tolist(), strict=True)) == expected


@pytest.mark.real_data
def test_real_texts_against_brute_force(shared_data: Path) -> None:
    """5,000 responses of HH-RLHF: every pair at 0.7 or above is found (recall >= 0.95 asked), and no other."""
    said = pl.read_ndjson(shared_data / "preferences" / "hh-rlhf-harmless-base-test.jsonl.gz")
    texts = pl.concat([said["chosen"], said["rejected"]]).unique(maintain_order=True).head(5000)
    assert len(texts) > 4000
    alike = brute_force(texts, 0.7)
    assert len(alike) > 500
    found = grouped(texts.to_list(), 0.7)
    joined = sum(found.label[low] == found.label[high] for low, high in alike)
    assert joined / len(alike) >= 0.999
    edges = set(zip(found.edges.low.tolist(), found.edges.high.tolist(), strict=True))
    assert edges <= alike, "precision 1: every edge is a pair of brute force"


def brute_force(texts: pl.Series, threshold: float) -> set[tuple[int, int]]:
    """Return all pairs at `threshold` or above, by counting common triples of every pair that has one."""
    sets = [set(triples(text)) for text in texts]
    holders: dict[Triple, list[int]] = {}
    common: dict[tuple[int, int], int] = {}
    for number, found in enumerate(sets):
        for triple in found:
            for other in holders.setdefault(triple, []):
                common[other, number] = common.get((other, number), 0) + 1
            holders[triple].append(number)
    return {
        pair for pair, both in common.items() if both / (len(sets[pair[0]]) + len(sets[pair[1]]) - both) >= threshold
    }
