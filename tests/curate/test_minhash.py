"""Sketches estimate the Jaccard similarity, and agree on bands as often as the formula says."""

import random

import numpy as np
import polars as pl
import pytest

from curate.minhash import BANDS, MINIMA, ROWS, similarity, sketch

WORDS = 1000


def pair(shared: int, own: int, seed: int) -> tuple[str, str, float]:
    """Return two texts with known shingles: `shared` in common, `own` in each alone, and their similarity."""
    draw = random.Random(seed)

    def run(count: int) -> list[str]:
        return [f"w{draw.getrandbits(60)}" for _ in range(count + 2)]  # n + 2 words have n triples

    common = run(shared)
    left, right = ([*common, ".", *run(own)] for _ in range(2))
    # Two triples cross from the common run to the own one.
    return " ".join(left), " ".join(right), shared / (shared + 2 * (own + 2))


@pytest.mark.parametrize("own", [3, 20, 41, 98], ids=["0.95", "0.82", "0.70", "0.50"])
def test_estimate_and_bands_follow_the_formula(own: int) -> None:
    texts = [pair(200, own, seed) for seed in range(300)]
    jaccard = texts[0][2]
    left, right = (sketch(pl.Series([text[side] for text in texts])) for side in (0, 1))
    estimates = similarity(left.bytes, right.bytes)
    # The mean of 300 estimates of standard error sqrt(J (1 - J) / 128), each.
    assert estimates.mean() == pytest.approx(jaccard, abs=4 * (jaccard * (1 - jaccard) / MINIMA / 300) ** 0.5 + 0.002)
    assert estimates.std() == pytest.approx((jaccard * (1 - jaccard) / MINIMA) ** 0.5, rel=0.25)
    equal = (left.keys == right.keys).mean()
    assert equal == pytest.approx(jaccard**ROWS, abs=0.02)
    found = (left.keys == right.keys).any(axis=1).mean()
    assert found == pytest.approx(1 - (1 - jaccard**ROWS) ** BANDS, abs=0.05)


def test_unlike_texts_share_nothing() -> None:
    texts = sketch(pl.Series([pair(200, 0, seed)[0] for seed in range(500)]))
    assert len(np.unique(texts.keys)) == 500 * BANDS
    assert similarity(texts.bytes[:-1], texts.bytes[1:]).mean() == pytest.approx(0, abs=0.002)


def test_many_texts_on_threads_are_what_each_is_alone() -> None:
    texts = [pair(30, seed % 7, seed)[0] if seed % 9 else "" for seed in range(2500)]
    together = sketch(pl.Series(texts))
    for number in (0, 1, 2047, 2048, 2499):
        alone = sketch(pl.Series([texts[number]]))
        assert np.array_equal(together.keys[number], alone.keys[0])
        assert np.array_equal(together.bytes[number], alone.bytes[0])
        assert together.empty[number] == alone.empty[0] == (texts[number] == "")


def test_no_texts() -> None:
    assert sketch(pl.Series([], dtype=pl.String)).keys.shape == (0, BANDS)
