"""How reliable each rater is, and what their votes come to: Dawid and Skene's model, one number a rater.

Pure numbers. A contest has two sides, low and high; which is which is an accident of hashes, so both are as likely
beforehand, and a rater is right with one probability, whichever side is the better one. Expectation maximisation: given
how reliable raters are, how likely is low the better one; given that, how reliable are they. Every rater starts as one
who was right in 16 of 20 votes, and these go on counting: few votes say little about anybody.

Sources: Dawid & Skene 1979; the one-coin model of Zhang et al. 2016 (arXiv 1406.3824), as crowd-kit's
OneCoinDawidSkene, which the tests compare it with.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

RIGHT: Final = 16.0
"""Votes beforehand in which a rater was right."""
WRONG: Final = 4.0
"""And wrong."""
STEPS: Final = 200
"""At most; each costs a few passes over the votes."""


@dataclass(frozen=True)
class Reliability:
    """What the votes say about contests and raters."""

    chance: F64
    """(contests,) probability that low is the better one."""
    rater: F64
    """(raters,) probability that a vote of theirs is right."""


@dataclass(frozen=True)
class Checks:
    """Votes on questions whose answer is known (gold items, attention checks)."""

    right: F64
    """(raters,)"""
    wrong: F64
    """(raters,)"""


def estimate(
    contest: I64,
    rater: I64,
    low: Bools,
    others: F64,
    checks: Checks | None = None,
    *,
    right: float = RIGHT,
    wrong: float = WRONG,
) -> Reliability:
    """Estimate from V votes: contest, rater and low (V,) say who voted for which side of what.

    `others` (contests,) is how many more votes of nobody known are for low than for high; they count as those of a
    rater of whom nothing is known. `checks` count like votes whose truth is certain.
    """
    sign = np.where(low, 1.0, -1.0)
    votes = np.bincount(rater)
    prior = right / (right + wrong) if right + wrong else 0.8
    sure = np.full(len(votes), right) + (checks.right if checks else 0.0)
    all_sure = np.full(len(votes), right + wrong) + (checks.right + checks.wrong if checks else 0.0)
    reliable = np.divide(sure, all_sure, out=np.full(len(votes), prior), where=all_sure > 0)
    for _ in range(STEPS):
        chance = _chance(contest, sign * _logit(reliable)[rater], others * _logit(np.array(prior)))
        agreed = np.bincount(rater, weights=np.where(low, chance[contest], 1 - chance[contest]))
        new = (sure + agreed) / (all_sure + votes)
        moved = float(np.abs(new - reliable).max(initial=0.0))
        reliable = new
        if moved < 1e-10:
            break
    return Reliability(_chance(contest, sign * _logit(reliable)[rater], others * _logit(np.array(prior))), reliable)


def _chance(contest: I64, evidence: F64, others: F64) -> F64:
    """Return (contests,) the probability of low from the log odds that votes add up to."""
    odds = np.bincount(contest, weights=evidence, minlength=len(others)) + others
    chance: F64 = 1 / (1 + np.exp(-np.clip(odds, -500, 500)))
    return chance


def _logit(p: F64) -> F64:
    kept = np.clip(p, 0.5, 1 - 1e-10)  # who is mostly wrong says nothing; no vote is ever turned round
    odds: F64 = np.log(kept / (1 - kept))
    return odds
