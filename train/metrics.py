"""What a run reports about a set of pairs, each formula beside its name.

All are means over pairs, computed from one value per pair: the mean of a data set, not of its batches' means, and
without the training weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RESAMPLES: Final = 2000
"""Draws of the bootstrap."""
DRAWN_AT_ONCE: Final = 2**20
"""Groups drawn before they are summed: 8 MB of numbers, however many groups there are."""


@dataclass(frozen=True)
class ReadOut:
    """Summed response log-probabilities of N pairs, in nats: four float64 arrays of shape (N,)."""

    chosen: Floats
    """log pi(chosen | x)"""
    rejected: Floats
    """log pi(rejected | x)"""
    reference_chosen: Floats
    """log pi_ref(chosen | x)"""
    reference_rejected: Floats
    """log pi_ref(rejected | x)"""

    @property
    def A(self) -> Floats:  # noqa: N802  the paper's name
        """log pi(chosen | x) - log pi_ref(chosen | x)"""
        return self.chosen - self.reference_chosen

    @property
    def B(self) -> Floats:  # noqa: N802  the paper's name
        """log pi(rejected | x) - log pi_ref(rejected | x)"""
        return self.rejected - self.reference_rejected

    @property
    def untrained(self) -> "ReadOut":
        """The read-out of the policy before training, which is the reference: A = B = 0."""
        return ReadOut(*(self.reference_chosen, self.reference_rejected) * 2)

    def margins(self, beta: float) -> Floats:
        """beta * (A - B): the log odds the policy gives to chosen being preferred."""
        return beta * (self.A - self.B)

    def of(self, rows: Sequence[int]) -> "ReadOut":
        """Return the read-out of some of the pairs."""
        index = np.asarray(rows, dtype=np.int64)
        values = (self.chosen, self.rejected, self.reference_chosen, self.reference_rejected)
        return ReadOut(*(value[index] for value in values))


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(np.exp(-losses(x)))


def losses(margins: Floats) -> Floats:
    """-log sigmoid(margin) = log(1 + exp(-margin)): `train.losses.SIGMOID` in float64."""
    return np.asarray(np.logaddexp(0.0, -margins))


def preferences(margins: Floats) -> Floats:
    """1 where margin > 0, 1/2 where margin = 0, 0 where margin < 0; the mean is the preference accuracy.

    A tie is a coin toss: so a model that cannot tell scores 0.5, not 0.
    """
    return np.asarray((np.sign(margins) + 1.0) / 2.0)


def training_log(read_out: ReadOut, beta: float) -> dict[str, float]:
    """Return what is logged about pairs, under TRL's names. r = beta * (log pi - log pi_ref) is the implicit reward.

    rewards/chosen mean r(chosen); rewards/rejected mean r(rejected); rewards/margins mean margin; rewards/accuracies
    P(margin > 0) + 1/2 P(margin = 0); logps/chosen mean log pi(chosen); logps/rejected mean log pi(rejected).
    """
    margins = read_out.margins(beta)
    return {
        "rewards/chosen": float((beta * read_out.A).mean()),
        "rewards/rejected": float((beta * read_out.B).mean()),
        "rewards/margins": float(margins.mean()),
        "rewards/accuracies": float(preferences(margins).mean()),
        "logps/chosen": float(read_out.chosen.mean()),
        "logps/rejected": float(read_out.rejected.mean()),
    }


@dataclass(frozen=True)
class HeldOut:
    """How well the policy's implicit reward agrees with held-out preferences."""

    accuracy: float
    """P(margin > 0) + 1/2 P(margin = 0)."""
    accuracy_interval: tuple[float, float]
    """95 % bootstrap interval of `accuracy`; whole prompts are drawn, since pairs of one prompt are alike."""
    loss: float
    """Mean -log sigmoid(margin)."""
    loss_interval: tuple[float, float]
    """The same interval of `loss`."""
    margin: float
    """Mean margin."""
    margin_interval: tuple[float, float]
    """The same interval of `margin`."""
    ranking_accuracy: float
    """Share of pairs with log pi(chosen) > log pi(rejected), ties 1/2: what the policy itself finds likelier."""
    reference_ranking_accuracy: float
    """The same of the reference: log pi_ref(chosen) > log pi_ref(rejected). Training does not change it."""


def held_out(read_out: ReadOut, beta: float, prompts: Sequence[bytes], seed: int) -> HeldOut:
    """Return the metrics of held-out pairs; `prompts` has one entry a pair, the same for pairs of one prompt."""
    margins = read_out.margins(beta)
    right = preferences(margins)
    return HeldOut(
        accuracy=float(right.mean()),
        accuracy_interval=bootstrap_interval(right, prompts, seed),
        loss=float(losses(margins).mean()),
        loss_interval=bootstrap_interval(losses(margins), prompts, seed),
        margin=float(margins.mean()),
        margin_interval=bootstrap_interval(margins, prompts, seed),
        ranking_accuracy=float(preferences(read_out.chosen - read_out.rejected).mean()),
        reference_ranking_accuracy=float(preferences(read_out.reference_chosen - read_out.reference_rejected).mean()),
    )


def bootstrap_interval(values: Floats, groups: Sequence[bytes], seed: int) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles of the mean of `values` when whole `groups` are drawn with replacement."""
    _, group = np.unique(np.array(groups, dtype=object), return_inverse=True)
    sums, counts = np.bincount(group, weights=values), np.bincount(group)
    generator = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    at_once = max(1, DRAWN_AT_ONCE // len(counts))
    for start in range(0, RESAMPLES, at_once):
        draws = generator.integers(len(counts), size=(min(at_once, RESAMPLES - start), len(counts)))
        means[start : start + at_once] = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
