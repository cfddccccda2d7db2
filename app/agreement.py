"""How far annotators agree: Krippendorff's alpha, Cohen's and Fleiss' kappa. Pure numbers; knows no store.

All of them compare the agreement that was seen with that of chance. Where chance cannot err (everybody always says the
same) or nobody judged the same thing, there is nothing to compare: the answer is then None, "undefined", never 0 or 1.

Sources: Krippendorff, Computing Krippendorff's Alpha-Reliability (2011); Cohen 1960; Fleiss 1971.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Final

import numpy as np

CERTAIN: Final = 1 - 1e-12
"""Agreement of chance from which on nothing is left to agree on."""


def alpha_ordinal(units: Sequence[Sequence[float]]) -> float | None:
    """Return Krippendorff's alpha with the ordinal metric; None when it is undefined.

    `units` holds, for every thing that was judged, the values it was given, by whomever; those with fewer than two
    count nothing. With n_c the pairable values c, and r_c = n_1 + ... + n_c - n_c / 2 the middle of their ranks:

        alpha = 1 - (n - 1) * sum o_ck (r_c - r_k)^2 / sum n_c n_k (r_c - r_k)^2
    """
    values, place = np.unique([value for unit in units for value in unit], return_inverse=True)
    coincidences = np.zeros((len(values), len(values)))  # o_ck
    start = 0
    for unit in units:
        here = place[start : start + len(unit)]
        start += len(unit)
        if len(unit) > 1:
            counts = np.bincount(here, minlength=len(values)).astype(float)
            coincidences += (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)
    n_of = coincidences.sum(axis=0)
    middle = np.cumsum(n_of) - n_of / 2
    distance = (middle[:, None] - middle[None, :]) ** 2
    expected = float((np.outer(n_of, n_of) * distance).sum())
    return None if expected == 0 else 1 - float((n_of.sum() - 1) * (coincidences * distance).sum()) / expected


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """Return Cohen's kappa of two annotators, who judged the same things in the same order; None when undefined."""
    if not first:
        return None
    seen = sum(one == other for one, other in zip(first, second, strict=True)) / len(first)
    ones, others = Counter(first), Counter(second)
    chance = sum(ones[value] * others[value] for value in ones) / len(first) ** 2
    return None if chance > CERTAIN else (seen - chance) / (1 - chance)


def fleiss_kappa(units: Sequence[Sequence[Hashable]]) -> float | None:
    """Return Fleiss' kappa over the things that were judged at least twice; None when it is undefined.

    Fleiss wants as many judges for everything. Here each thing counts as one, and the shares of values are over all
    verdicts: his number wherever his is defined.
    """
    several = [unit for unit in units if len(unit) > 1]
    if not several:
        return None
    seen = sum(map(pairwise_agreement, several)) / len(several)
    said = Counter(value for unit in several for value in unit)
    chance = sum(count**2 for count in said.values()) / said.total() ** 2
    return None if chance > CERTAIN else (seen - chance) / (1 - chance)


def pairwise_agreement(unit: Sequence[Hashable]) -> float:
    """Return the share of pairs of verdicts on one thing that are the same. Needs two verdicts at least."""
    return sum(count * (count - 1) for count in Counter(unit).values()) / (len(unit) * (len(unit) - 1))
