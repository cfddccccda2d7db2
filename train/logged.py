"""The deployment's own log-probabilities as those of the reference, once they are shown to be the model's.

Where the deployed model is the reference, its log-probabilities were computed when it answered: the columns
`chosen_token_logprobs` and `rejected_token_logprobs`, of the model `logprob_model`. Before they are used, a sample of
the rows is computed again and compared token by token. A gap beyond the noise of arithmetic ends the run, with the rows
and the probable cause by name (`train.gaps`). Pairs of which both responses are not logged are computed, and counted.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from train.dataset import PairDataset
from train.gaps import Compared, refuse_gaps
from train.reference import ReferenceCache, ReferenceResult
from train.tails import weighted_sums

CHECKED_ROWS: Final = 64
"""Logged rows that are computed again."""


@dataclass(frozen=True)
class LoggedReference:
    """Fills in a dataset's reference log-probabilities from the log, and the rest from `cache`."""

    cache: ReferenceCache

    def fill(self, pairs: PairDataset, on_rows: Callable[[int], None]) -> ReferenceResult:
        """Set `pairs.reference` of every row. Raises TrainingError when logged values are not the model's."""
        rows = sorted(pairs.logged)
        sample = sorted(rows, key=pairs.row_key)[:CHECKED_ROWS]  # keys are hashes: a random choice, always the same
        noise = refuse_gaps(self._compared(pairs, sample), self.cache, pairs)
        for row in rows:
            pairs.reference[row] = weighted_sums(*pairs.logged[row], self.cache.ld_alpha)
        on_rows(len(rows))
        others = [row for row in range(len(pairs)) if row not in pairs.logged]
        return replace(self.cache.fill(pairs, on_rows, others), logged=len(rows), noise=noise)

    def _compared(self, pairs: PairDataset, sample: list[int]) -> list[Compared]:
        """Compute `sample` as the run does, and in the other precision, whose gap to it is the noise of arithmetic."""
        fresh, noisy = (
            {row: np.concatenate([chosen, rejected]) for row, chosen, rejected in found}
            for found in (self.cache.compute(pairs, sample), self.cache.compute(pairs, sample, other_dtype=True))
        )
        return [
            Compared(row, np.concatenate(pairs.logged[row]) - fresh[row], noisy[row] - fresh[row]) for row in sample
        ]
