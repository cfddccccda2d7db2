"""Reliability of raters: against crowd-kit, and planted truth."""

import warnings

import numpy as np
import pandas as pd
import pytest

from curate.raters import Checks, estimate


def votes_of(contests: int, accuracy: list[float], seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return truth, contest, rater and low: each rater votes on two thirds of the contests."""
    rng = np.random.default_rng(seed)
    truth = rng.random(contests) < 0.5
    contest, rater = np.nonzero(rng.random((contests, len(accuracy))) < 0.67)
    right = rng.random(len(contest)) < np.array(accuracy)[rater]
    return truth, contest, rater, truth[contest] == right


def test_as_crowd_kit_does_it() -> None:
    """Without a prior, and every contest twice, mirrored: so crowd-kit's prior of the sides stays one half."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from crowdkit.aggregation import OneCoinDawidSkene

    _, contest, rater, low = votes_of(60, [0.95, 0.85, 0.8, 0.7, 0.65])
    _, contest = np.unique(contest, return_inverse=True)
    count = contest.max() + 1
    contest, rater, low = np.r_[contest, contest + count], np.r_[rater, rater], np.r_[low, ~low]
    frame = pd.DataFrame({"task": contest, "worker": rater, "label": np.where(low, "low", "high")})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = OneCoinDawidSkene(n_iter=200, tol=1e-12)
        expected = model.fit_predict_proba(frame)
    found = estimate(contest, rater, low, np.zeros(2 * count), right=0.0, wrong=0.0)
    assert found.rater == pytest.approx(model.skills_.sort_index().to_numpy(), abs=1e-4)
    assert found.chance == pytest.approx(expected["low"].sort_index().to_numpy(), abs=1e-3)


def test_planted_reliabilities_are_found_and_beat_the_majority() -> None:
    accuracy = [0.95, 0.9, 0.6, 0.6, 0.55]
    truth, contest, rater, low = votes_of(3_000, accuracy)
    found = estimate(contest, rater, low, np.zeros(3_000))
    assert found.rater == pytest.approx(accuracy, abs=0.03)
    lead = np.bincount(contest, np.where(low, 1, -1), 3_000)
    counted = np.where(lead == 0, 0.5, (lead > 0) == truth).mean()
    weighed = ((found.chance > 0.5) == truth).mean()
    assert weighed > counted + 0.05
    # What it says about itself is true: contests it gives 90 to 95 % are right that often.
    sure = np.maximum(found.chance, 1 - found.chance)
    some = (sure > 0.9) & (sure < 0.95)
    assert ((found.chance > 0.5) == truth)[some].mean() == pytest.approx(sure[some].mean(), abs=0.04)


def test_who_is_mostly_wrong_says_nothing() -> None:
    _, contest, rater, low = votes_of(2_000, [0.9, 0.9, 0.9, 0.1])
    found = estimate(contest, rater, low, np.zeros(2_000))
    assert found.rater[3] < 0.3  # 0.1, and the twenty votes that everybody starts with
    alone = np.bincount(contest, minlength=2_000) == 1
    assert found.chance[alone & (np.bincount(contest, rater == 3, 2_000) > 0)] == pytest.approx(0.5)


def test_one_vote_of_each_is_what_a_newcomer_says() -> None:
    """(16 + q) / 21 with q = r is r = 0.8: the chance of a lone vote is that of its rater."""
    found = estimate(np.array([0]), np.array([0]), np.array([True]), np.zeros(1))
    assert (found.chance[0], found.rater[0]) == pytest.approx((0.8, 0.8), abs=1e-6)


def test_no_votes() -> None:
    empty = np.zeros(0, np.int64)
    found = estimate(empty, empty, empty.astype(bool), np.zeros(0))
    assert len(found.chance) == len(found.rater) == 0


def test_checks_count_like_votes_whose_truth_is_known() -> None:
    """Two raters contradict each other once. Nothing more is known: a tie; then one was right in 80 checks, one never.

    (16 + 80) / (20 + 80) = 0.96 and 16 / (20 + 80) = 0.16, which says nothing: odds 24 to 1, and a little more as the
    vote itself is learnt from.
    """
    contest, rater, low = np.array([0, 0]), np.array([0, 1]), np.array([True, False])
    assert estimate(contest, rater, low, np.zeros(1)).chance == pytest.approx([0.5])
    checks = Checks(right=np.array([80.0, 0.0]), wrong=np.array([0.0, 80.0]))
    found = estimate(contest, rater, low, np.zeros(1), checks)
    assert found.chance == pytest.approx([0.96], abs=0.001)
    assert found.rater == pytest.approx([0.96, 0.16], abs=0.01)
