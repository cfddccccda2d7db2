"""Scores of responses: against a general optimiser; cycles: against paths by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from curate.rankings import bradley_terry, cycles

votes = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 4), st.integers(0, 4)).filter(lambda e: e[0] < e[1]),
    min_size=1,
    max_size=12,
    unique_by=lambda e: e[:2],
)


@settings(max_examples=50, deadline=None)
@given(votes)
def test_scores_are_the_maximum_of_the_posterior(edges: list[tuple[int, int, int, int]]) -> None:
    low, high, won, lost = (np.array(column) for column in zip(*edges, strict=True))

    def loss(s: np.ndarray) -> float:
        ahead = s[low] - s[high]
        return float(won @ np.logaddexp(0, -ahead) + lost @ np.logaddexp(0, ahead) + s @ s / 2)

    expected = minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-9}).x
    found = bradley_terry(low, high, won.astype(float), lost.astype(float), 6)
    assert found == pytest.approx(expected, abs=1e-5)
    assert found.sum() == pytest.approx(0, abs=1e-9)


def test_one_vote_says_two_thirds() -> None:
    """s = 1 - sigmoid(2 s) has the root s = 0.3374: the winner is better with probability 0.663; Laplace says 0.667."""
    found = bradley_terry(np.array([0]), np.array([1]), np.ones(1), np.zeros(1), 2)
    assert found == pytest.approx([0.3374, -0.3374], abs=1e-4)
    assert 1 / (1 + np.exp(found[1] - found[0])) == pytest.approx(0.663, abs=1e-3)


def test_planted_scores_are_found() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(size=30)
    low, high = np.triu_indices(30, 1)
    won = rng.binomial(50, 1 / (1 + np.exp(truth[high] - truth[low]))).astype(float)
    found = bradley_terry(low, high, won, 50 - won, 30)
    assert np.corrcoef(found, truth)[0, 1] > 0.99


def test_cycles() -> None:
    """0 > 1 > 2 > 0 and 5 > 6 > 7 > 8 > 5; 3 loses to 0, 4 to nobody."""
    found = cycles(np.array([0, 1, 2, 0, 5, 6, 7, 8]), np.array([1, 2, 0, 3, 6, 7, 8, 5]), 9)
    assert len({*found[:3]}) == 1 and len({*found[5:]}) == 1
    assert found[0] != found[5]
    assert found[3] == found[4] == -1 and found[0] >= 0 <= found[5]
