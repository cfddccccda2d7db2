"""Reliability equals crowd-kit's where that is right, and finds what was planted."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest

from app.reliability import dawid_skene, estimate, log_likelihood, noisy_bradley_terry
from tests.app.test_agreement import tulu  # noqa: F401 - a fixture


def crowd_kit(labels: pl.DataFrame) -> dict[str, float]:
    """Chance of a right label by crowd-kit's own error matrices, worker by worker."""
    from crowdkit.aggregation import DawidSkene

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        model = DawidSkene(n_iter=100).fit(pd.DataFrame(labels.to_dict(as_series=False)))
    errors, priors = model.errors_, model.priors_
    assert errors is not None
    assert priors is not None
    return {
        str(worker): float(
            sum(priors[label] * errors.loc[(worker, label), label] for label in errors.loc[worker].index)
        )
        for worker in errors.index.get_level_values(0).unique()
    }


def simulated(accuracies: dict[str, float], *, pairs: int = 300, seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    truth = random.choice(["a", "b"], pairs)
    rows = [
        (f"p{n}", name, right if random.random() < accuracy else "ab"[right == "a"])
        for n, right in enumerate(truth)
        for name, accuracy in accuracies.items()
    ]
    return pl.DataFrame(rows, schema=["task", "worker", "label"], orient="row")


def test_dawid_skene_finds_planted_accuracies_and_equals_crowd_kit() -> None:
    """300 pairs: two standard errors of a share of 0.9 are 0.035, of 0.6 0.057; more for what is not known."""
    planted = {"ada": 0.95, "bob": 0.85, "cyd": 0.75, "dan": 0.6}
    labels = simulated(planted)
    found = dawid_skene(labels)
    assert found == pytest.approx(crowd_kit(labels), abs=1e-12)
    assert found == pytest.approx(planted, abs=0.08)


@pytest.mark.real_data
def test_dawid_skene_on_the_tulu_evaluation_equals_crowd_kit(tulu: pl.DataFrame) -> None:  # noqa: F811
    """All 16 evaluators; the outcome is who is better, as in the app."""
    outcome = pl.when(pl.col("place") < 0).then(pl.lit("a")).when(pl.col("place") > 0).then(pl.lit("b"))
    labels = tulu.select(task="unit", worker="evaluator", label=outcome.otherwise(pl.lit("tie")))
    found = dawid_skene(labels)
    assert len(found) == 16
    assert found == pytest.approx(crowd_kit(labels), abs=1e-12)
    assert all(0 < accuracy <= 1 + 1e-9 for accuracy in found.values())


def votes(*, pairs: int, seed: int) -> tuple[pl.DataFrame, dict[str, float]]:
    """Three careful annotators and one who, half of the time, presses left in four of five cases."""
    random = np.random.default_rng(seed)
    people = {"ada": (0.95, 0.5), "bob": (0.9, 0.5), "cyd": (0.85, 0.5), "lee": (0.5, 0.8)}
    rows = []
    for n in range(pairs):
        a_better = random.random() < 0.5
        for name, (skill, bias) in people.items():
            a_left = bool(random.random() < 0.5)
            left = (a_better == a_left) if random.random() < skill else bool(random.random() < bias)
            outcome = "a" if left == a_left else "b"
            rows.append((name, f"p{n:04}", "ask", "left" if left else "right", a_left, outcome))
    columns = ["annotator", "pair_id", "purpose", "verdict", "a_is_left", "outcome"]
    return pl.DataFrame(rows, schema=columns, orient="row"), {name: bias for name, (_, bias) in people.items()}


def test_who_looks_and_who_presses_left() -> None:
    opinions, _ = votes(pairs=400, seed=1)
    found = estimate(opinions)
    assert min(found, key=lambda name: found[name].skill) == "lee"
    assert min(found, key=lambda name: found[name].accuracy) == "lee"
    assert found["lee"].left_bias > 0.65
    assert found["ada"].skill > 0.8


def test_nobody_is_told_of_from_few_shared_pairs() -> None:
    opinions, _ = votes(pairs=9, seed=0)
    assert estimate(opinions) == {}
    assert estimate(opinions.filter(pl.col("annotator") == "ada")) == {}


def test_the_likelihood_is_crowd_kits_and_its_gradient_is_right() -> None:
    """crowd-kit's gradient of skills and biases is not: it takes one vote of each worker, one place off."""
    from crowdkit.aggregation import NoisyBradleyTerry
    from scipy.optimize import approx_fprime

    random = np.random.default_rng(0)
    items, workers, many = 12, 4, 200
    left = random.integers(0, items, many)
    right = (left + random.integers(1, items, many)) % items
    worker, said_left = random.integers(0, workers, many), random.random(many) < 0.5
    x = random.normal(size=items + 2 * workers)
    value, gradient = log_likelihood(x, left, right, np.where(said_left, 1.0, -1.0), worker, items)
    theirs = NoisyBradleyTerry._compute_log_likelihood(
        np.concatenate([[0.0], x]), np.stack([left, right, np.where(said_left, left, right)], axis=1) + 1,
        worker, items, workers, 0.0,
    )  # fmt: skip
    assert value == pytest.approx(-theirs)

    def of(y: np.ndarray) -> float:
        return log_likelihood(y, left, right, np.where(said_left, 1.0, -1.0), worker, items)[0]

    assert gradient == pytest.approx(approx_fprime(x, of, 1e-7), abs=1e-4)


def test_a_strong_item_scores_higher() -> None:
    """Item 0 beats 1 in nine of ten votes."""
    n = 100
    swapped = np.arange(n) % 2 == 1
    left, right = swapped.astype(np.int64), (~swapped).astype(np.int64)
    zero_wins = np.arange(n) % 10 != 0
    found = noisy_bradley_terry(left, right, zero_wins != swapped, np.zeros(n, np.int64))
    assert found.score[0] > found.score[1] + 0.5
