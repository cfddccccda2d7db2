"""Which pairs are in which micro-batch: a function of seed, epoch and nothing else, so that a resumed run repeats it.

With P processes, micro-batches 0, 1, ..., P - 1 of the order are done at the same time, one by each process, then the
next P. So one optimiser step of P processes with an accumulation of G has the pairs of one process with P * G.
"""

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from torch.utils.data import DataLoader, Sampler

from train.config import Order
from train.dataset import Pair

BUCKET_BATCHES: Final = 32
"""Batches whose pairs are sorted by length together under `order="length"`."""


class EpochOrder(Sampler[int]):
    """Order of training pairs in each epoch, a function of seed and epoch alone."""

    def __init__(self, lengths: np.ndarray, batch_size: int, order: Order, seed: int) -> None:
        """Order N pairs of `lengths` (N,) tokens that will be cut into batches of `batch_size` in turn."""
        self.lengths, self.batch_size, self.order, self.seed = lengths, batch_size, order, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rows = np.arange(len(self.lengths))
        if self.order != "sequential":
            rows = np.random.default_rng([self.seed, self.epoch]).permutation(rows)
        if self.order == "length":
            rows = self._in_buckets(rows)
        yield from rows.tolist()

    def _in_buckets(self, rows: np.ndarray) -> np.ndarray:
        """Sort each run of BUCKET_BATCHES batches by length, then shuffle the batches; a short one stays last."""
        width = self.batch_size * BUCKET_BATCHES
        runs = [rows[i : i + width] for i in range(0, len(rows), width)]
        ordered = np.concatenate([run[np.argsort(-self.lengths[run], kind="stable")] for run in runs])
        full = len(rows) // self.batch_size * self.batch_size
        batches = ordered[:full].reshape(-1, self.batch_size)
        shuffled = np.random.default_rng([self.seed, self.epoch, 1]).permutation(batches)
        return np.concatenate([shuffled.reshape(-1), ordered[full:]])


class EpochBatches(Sampler[list[int]]):
    """The micro-batches that one of several processes does in each epoch.

    `len` is the same in every process. In the last round of an epoch some processes may have no micro-batch; the
    trainer gives them one that counts nothing.
    """

    def __init__(self, order: EpochOrder, rank: int, processes: int) -> None:
        """Cut `order` into batches of its own size; this is process `rank` of `processes`."""
        self.order, self.rank, self.processes = order, rank, processes

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch."""
        self.order.set_epoch(epoch)

    def __len__(self) -> int:
        return math.ceil(len(self.order) / (self.order.batch_size * self.processes))

    def __iter__(self) -> Iterator[list[int]]:
        rows, size = list(self.order), self.order.batch_size
        for start in range(self.rank * size, len(rows), self.processes * size):
            yield rows[start : start + size]


class EpochLoader(DataLoader[Pair]):
    """Loads the pairs of EpochBatches; the trainer tells it the epoch."""

    batch_sampler: Any

    def set_epoch(self, epoch: int) -> None:
        """Pass the epoch on to the sampler."""
        self.batch_sampler.set_epoch(epoch)
