"""Metrics against numbers worked by hand."""

import math

import numpy as np
import pytest

from train import metrics
from train.metrics import ReadOut, bootstrap_interval, held_out, losses, preferences, sigmoid, training_log
from train.scores import SUSPECT_BELOW, suspect_flip

THREE = ReadOut(
    chosen=np.array([-10.0, -20.0, -30.0]),
    rejected=np.array([-12.0, -15.0, -30.0]),
    reference_chosen=np.array([-11.0, -20.0, -28.0]),
    reference_rejected=np.array([-11.0, -15.0, -31.0]),
)
"""A = 1, 0, -2 and B = -1, 0, 1; with beta 0.5 the margins are 1, 0 and -1.5."""


def test_log_ratios_and_margins() -> None:
    assert THREE.A.tolist() == [1.0, 0.0, -2.0]
    assert THREE.B.tolist() == [-1.0, 0.0, 1.0]
    assert THREE.margins(0.5).tolist() == [1.0, 0.0, -1.5]


def test_training_log_has_trls_names() -> None:
    """r(chosen) = 0.5, 0, -1: mean -1/6. r(rejected) = -0.5, 0, 0.5: mean 0. Accuracies 1, 1/2, 0: mean 1/2."""
    assert training_log(THREE, 0.5) == pytest.approx(
        {
            "rewards/chosen": -1 / 6,
            "rewards/rejected": 0.0,
            "rewards/margins": -1 / 6,
            "rewards/accuracies": 0.5,
            "logps/chosen": -20.0,
            "logps/rejected": -19.0,
        }
    )


def test_held_out_metrics() -> None:
    """Losses log(1 + e^-1) = 0.313262, ln 2 = 0.693147, log(1 + e^1.5) = 1.701413: mean 0.902608.

    The policy finds chosen likelier in pair 0, not in 1, tied in 2: 1/2. The reference is tied, no, yes: 1/2.
    """
    found = held_out(THREE, 0.5, [b"a", b"b", b"c"], seed=0)

    assert found.accuracy == 0.5
    assert found.loss == pytest.approx(0.902608, abs=1e-6)
    assert found.margin == pytest.approx(-1 / 6)
    assert found.ranking_accuracy == 0.5
    assert found.reference_ranking_accuracy == 0.5
    low, high = found.accuracy_interval
    assert low <= 0.5 <= high


def test_a_policy_that_is_its_reference_scores_exactly_one_half() -> None:
    start = ReadOut(THREE.chosen, THREE.rejected, THREE.chosen, THREE.rejected)

    found = held_out(start, 0.1, [b"a", b"b", b"c"], seed=0)

    assert (found.accuracy, found.accuracy_interval, found.margin) == (0.5, (0.5, 0.5), 0.0)
    assert found.loss == math.log(2)


def test_sigmoid_and_loss_do_not_overflow() -> None:
    margins = np.array([-1e4, 0.0, 1e4])

    assert sigmoid(margins).tolist() == [0.0, 0.5, 1.0]
    assert losses(margins).tolist() == [1e4, math.log(2), 0.0]
    assert preferences(margins).tolist() == [0.0, 0.5, 1.0]


def test_bootstrap_draws_whole_prompts() -> None:
    """Ten pairs of one prompt are one observation: the mean cannot vary, however many pairs agree."""
    values = np.array([1.0] * 5 + [0.0] * 5)

    assert bootstrap_interval(values, [b"same"] * 10, seed=1) == (0.5, 0.5)


def test_bootstrap_interval_has_the_width_of_the_binomial() -> None:
    """400 independent pairs at 0.7: standard error sqrt(0.7 * 0.3 / 400) = 0.0229, interval 0.7 -+ 1.96 * 0.0229."""
    values = np.array([1.0] * 280 + [0.0] * 120)

    low, high = bootstrap_interval(values, [str(i).encode() for i in range(400)], seed=1)

    assert [low, high] == pytest.approx([0.655, 0.745], abs=0.006)


def test_the_bootstrap_is_the_same_however_many_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values, groups = np.arange(41.0) ** 2, [bytes([i]) for i in range(41)]
    at_once = bootstrap_interval(values, groups, seed=1)
    monkeypatch.setattr(metrics, "DRAWN_AT_ONCE", 300)

    assert bootstrap_interval(values, groups, seed=1) == at_once


def test_a_flip_is_suspected_at_three_to_one_against_the_label() -> None:
    """sigmoid(-ln 3) = 1 / (1 + 3) = 0.25: the edge itself is not suspected."""
    edge = -math.log(3)

    assert SUSPECT_BELOW == 0.25
    assert suspect_flip(np.array([edge - 1e-9, edge + 1e-9, 0.0, 5.0])).tolist() == [True, False, False, False]
