"""How reliable annotators are, told from their verdicts alone: Dawid and Skene's model, and Bradley-Terry with noise.

Reads opinions as `app.opinions.read` gives them. Dawid-Skene is crowd-kit's, imported when it is needed: 2 seconds.
NoisyBradleyTerry is crowd-kit's likelihood, maximised here: version 1.4.2 gives its optimiser the derivatives of one
vote of each annotator for skill and bias, at places one off, and lands anywhere (docs/decisions.md).

Sources: Dawid & Skene 1979; Chen et al., Pairwise Ranking Aggregation in a Crowdsourced Setting (2013).
"""

import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.optimize import minimize
from scipy.special import expit

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

FEWEST: Final = 10
"""Pairs that several people judged, below which nothing is told of anybody."""


@dataclass(frozen=True)
class Reliability:
    """What the verdicts of all say about one annotator."""

    accuracy: float
    """0 to 1, expected share of right verdicts (Dawid-Skene), over the shares that outcomes seem to have."""
    skill: float
    """0 to 1, share of left and right verdicts that look at the responses (noisy Bradley-Terry)."""
    left_bias: float
    """0 to 1, how often those that do not are left; 1/2 is none."""


def estimate(opinions: pl.DataFrame) -> dict[str, Reliability]:
    """Return annotator -> reliability, of those who share pairs with others; nobody where too few pairs are shared."""
    asked = opinions.filter(pl.col("purpose") == "ask", pl.col("verdict") != "skip")
    shared = asked.filter(pl.col("annotator").n_unique().over("pair_id") > 1)
    if shared["pair_id"].n_unique() < FEWEST:
        return {}
    accuracy = dawid_skene(shared.select(task="pair_id", worker="annotator", label="outcome"))
    votes = shared.filter(pl.col("verdict").is_in(["left", "right"]))
    skill, bias = {}, {}
    if votes.height:
        people, worker = np.unique(votes["annotator"].to_numpy(), return_inverse=True)
        _, pair = np.unique(votes["pair_id"].to_numpy(), return_inverse=True)
        a_left = votes["a_is_left"].to_numpy()
        left, right = np.where(a_left, 2 * pair, 2 * pair + 1), np.where(a_left, 2 * pair + 1, 2 * pair)
        found = noisy_bradley_terry(left, right, votes["verdict"].to_numpy() == "left", worker)
        skill, bias = dict(zip(people, found.skill, strict=True)), dict(zip(people, found.bias, strict=True))
    return {
        name: Reliability(accuracy[name], float(skill.get(name, np.nan)), float(bias.get(name, np.nan)))
        for name in sorted(accuracy)
    }


def dawid_skene(labels: pl.DataFrame) -> dict[str, float]:
    """Return worker -> probability that their label is right, from columns task, worker and label."""
    import pandas as pd  # noqa: PLC0415 - crowd-kit's tables
    from crowdkit.aggregation import DawidSkene  # noqa: PLC0415 - 2 seconds

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # crowd-kit's business
        model = DawidSkene(n_iter=100).fit(pd.DataFrame(labels.to_dict(as_series=False)))
    # P(worker says label | the column is true), one row a worker and label
    assert model.errors_ is not None  # after `fit`
    assert model.priors_ is not None
    errors, shares = model.errors_.reset_index().to_dict("records"), model.priors_.to_dict()
    found: dict[str, float] = {}
    for row in errors:
        worker, label = row["worker"], row["label"]
        found[worker] = found.get(worker, 0.0) + float(shares.get(label, 0.0) * row.get(label, 0.0))
    return found


@dataclass(frozen=True)
class Noisy:
    """A fit of `noisy_bradley_terry`."""

    score: F64
    """(items,)"""
    skill: F64
    """(workers,) 0 to 1."""
    bias: F64
    """(workers,) 0 to 1."""


def noisy_bradley_terry(left: I64, right: I64, said_left: npt.NDArray[np.bool_], worker: I64) -> Noisy:
    """Fit V votes: items left and right (V,), whether left was preferred, and by whom.

    With y = 1 where left was preferred, else -1, g the skill and q the bias of the worker, and s a sigmoid:

        P(vote) = s(g) s(y (x_left - x_right)) + (1 - s(g)) s(y q)

    Scores and biases have a normal prior of variance 1, and skills one around 9 in 10; else pairs that nobody shares
    with a third would let a score run to infinity.
    """
    items, workers = int(max(left.max(), right.max())) + 1, int(worker.max()) + 1
    y = np.where(said_left, 1.0, -1.0)
    usual = np.concatenate([np.zeros(items + workers), np.full(workers, np.log(9.0))])

    def loss(x: F64) -> tuple[float, F64]:
        value, gradient = log_likelihood(x, left, right, y, worker, items)
        away = x - usual
        return float(away @ away / 2 - value), away - gradient

    x = minimize(loss, usual, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    return Noisy(x[:items], expit(x[items + workers :]), expit(x[items : items + workers]))


def log_likelihood(x: F64, left: I64, right: I64, y: F64, worker: I64, items: int) -> tuple[float, F64]:
    """Return the log likelihood and its gradient, of x = scores (items,), biases (workers,), skills (workers,)."""
    workers = (len(x) - items) // 2
    look = expit(x[items + workers + worker])
    by_score, by_bias = expit(y * (x[left] - x[right])), expit(y * x[items + worker])
    chance = look * by_score + (1 - look) * by_bias
    gradient = np.zeros_like(x)
    pull = look * y * by_score * (1 - by_score) / chance
    np.add.at(gradient, left, pull)
    np.add.at(gradient, right, -pull)
    np.add.at(gradient, items + worker, (1 - look) * y * by_bias * (1 - by_bias) / chance)
    np.add.at(gradient, items + workers + worker, look * (1 - look) * (by_score - by_bias) / chance)
    return float(np.log(chance).sum()), gradient
