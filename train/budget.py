"""Micro-batches by a budget of tokens: pairs of like length are put together until a forward pass is full.

A batch of eight long pairs needs many times the memory of eight short ones, and leaves a GPU idle on the short ones. A
budget fixes what a pass feeds to the model, padding included. Which pairs are together is a function of the seed, and
the order of the batches of seed and epoch, so that a resumed run repeats both.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from ingest.errors import SettingsError
from train.sharing import Sharing


class BudgetBatches(Sampler[list[int]]):
    """The micro-batches that one of several processes does in each epoch; `len` is the same in every process."""

    def __init__(
        self, lengths: np.ndarray, budget: int, sharing: Sharing, seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        """Batch N pairs of `lengths` (N, 3) tokens: prompt, chosen, rejected; this is process `rank` of `processes`.

        Raises SettingsError when one pair alone is more than `budget` tokens.
        """
        self.seed, self.rank, self.processes, self.epoch = seed, rank, processes, 0
        refuse_longer_pairs(lengths, budget, sharing)
        self.batches = _fill(lengths, budget, sharing, seed)

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self.batches) / self.processes)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng([self.seed, self.epoch, 2]).permutation(len(self.batches))
        for number in order[self.rank :: self.processes].tolist():
            yield self.batches[number]


def refuse_longer_pairs(lengths: np.ndarray, budget: int, sharing: Sharing) -> None:
    """Raise SettingsError when a pass of one pair alone, of `lengths` (N, 3) tokens, is more than `budget` tokens."""
    at_most = 2 * (lengths[:, 0] + lengths[:, 1:].max(axis=1))
    alone = max((sharing.fed(lengths[[row]]) for row in np.flatnonzero(at_most > budget)), default=0)
    if alone > budget:
        raise SettingsError(f"--batch-tokens {budget:,} is fewer than the {alone:,} tokens of the longest pair.")


def _fill(lengths: np.ndarray, budget: int, sharing: Sharing, seed: int) -> list[list[int]]:
    """Return batches of row numbers, the longest pairs first."""
    rows = np.random.default_rng([seed, 3]).permutation(len(lengths))
    longest = lengths[:, 0] + lengths[:, 1:].max(axis=1)
    rows = rows[np.lexsort((-longest[rows], -lengths.sum(axis=1)[rows]))]
    batches: list[list[int]] = []
    for row in rows.tolist():
        if batches and sharing.fed(lengths[[*batches[-1], row]]) <= budget:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def describe(batches: Iterable[Sequence[int]], lengths: np.ndarray, sharing: Sharing) -> str:
    """Return what an epoch of `batches` feeds to the model: its tokens, how many are padding, where prompts are shared.

    `lengths` (N, 3) are the tokens of prompt, chosen and rejected of the rows that batches name.
    """
    count = pairs = shared = fed = real = 0
    for batch in batches:
        chosen = lengths[list(batch)]
        pays = sharing.pays(chosen)
        count, pairs = count + 1, pairs + len(chosen)
        fed += sharing.fed(chosen)
        real += int((chosen.sum(axis=1) + (0 if pays else chosen[:, 0])).sum())
        shared += len(chosen) * pays
    apart = int((lengths.sum(axis=1) + lengths[:, 0]).sum())
    return (
        f"An epoch is {count:,} passes of {pairs / count:.1f} pairs, {fed:,} tokens, {1 - real / fed:.1%} padding; "
        f"{shared:,} of {pairs:,} prompts are computed once for both responses"
        f"{f', {apart / real:.2f} times fewer tokens' if shared else ''}."
    )
