"""Log-probabilities of the reference model, computed once and cached per token.

The cache is one Parquet file per reference, <folder>/<first 16 hex of the model's fingerprint>.parquet, with columns
row_key, chosen_logps and rejected_logps (list<float32>, one value per response token). A row's key is the sha256 of its
token ids; the fingerprint is that of weights, configuration, dtype, attention and template (`train.model`). So a
changed row is computed again, a changed model starts a new file, and a changed loss changes nothing. Some of the rows
found in the cache are computed again all the same: a file that no longer tells the truth ends the run.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ingest.errors import TrainingError
from train import processes
from train.collate import Collator
from train.dataset import PairDataset
from train.folders import private_folder
from train.logprobs import row_logps
from train.model import Policy
from train.tails import weighted_sums

SCHEMA: Final = pa.schema(
    [
        pa.field("row_key", pa.string(), nullable=False),
        pa.field("chosen_logps", pa.list_(pa.float32()), nullable=False),
        pa.field("rejected_logps", pa.list_(pa.float32()), nullable=False),
    ]
)
CHECKED_HITS: Final = 8
"""Rows found in the cache that are computed again to check it."""
FLUSH_ROWS: Final = 4096
"""Rows that are written to the cache at a time."""


def tolerance(autocast: torch.dtype | None, tokens: int) -> float:
    """Return how far two computations of one response's log-probability may be apart, in nats.

    Batches of other shapes are summed in another order: about 1e-5 nats per token in float32, and 3e-2 where matrix
    products are in bfloat16 (8 bits of mantissa: a logit of 10 is known to 0.03). Wrong weights or a wrong template are
    whole nats away.
    """
    return (1e-5 if autocast is None else 3e-2) * (tokens + 10)


@dataclass(frozen=True)
class ReferenceResult:
    """Where each reference log-probability came from."""

    cached: int
    """Rows taken from the cache."""
    computed: int
    """Rows computed now; logged + cached + computed = rows."""
    path: Path | None
    """The cache file; None when values are computed for this run alone."""
    logged: int = 0
    """Rows whose values the deployment logged (`train.logged`)."""
    noise: float = 0.0
    """How far logged values may be from the model's, nats per token on average."""


@dataclass(frozen=True)
class ReferenceCache:
    """Fills in a dataset's reference log-probabilities."""

    folder: Path | None
    """Of the cache file; None: nothing is kept."""
    policy: Policy
    """The reference: the policy before training."""
    fingerprint: str
    """Of `policy`, by `train.model.fingerprint`."""
    collate: Collator
    batch_size: int
    ld_alpha: float = 1.0
    """What the sums count tokens past the shorter response's length with (`train.tails`); the cache has every token."""

    @property
    def path(self) -> Path | None:
        """The file of this reference."""
        return self.folder and self.folder / f"{self.fingerprint[:16]}.parquet"

    def fill(
        self, pairs: PairDataset, on_rows: Callable[[int], None], rows: Sequence[int] | None = None
    ) -> ReferenceResult:
        """Set `pairs.reference` of `rows` (all where None), and add what was computed to the cache.

        `on_rows` hears how many rows were just done. Raises TrainingError when the cache disagrees with the model.
        """
        wanted = list(range(len(pairs)) if rows is None else rows)
        first_row: dict[str, int] = {}
        rows_of_key = [first_row.setdefault(pairs.row_key(row), row) for row in wanted]
        hits = self._load(pairs, first_row)
        on_rows(len(hits))
        missing = {key: row for key, row in first_row.items() if row not in hits}
        if missing:
            self._compute(pairs, missing, on_rows)
        pairs.reference[wanted] = pairs.reference[rows_of_key]
        cached = sum(row in hits for row in rows_of_key)
        return ReferenceResult(cached, len(wanted) - cached, self.path)

    def _load(self, pairs: PairDataset, first_row: Mapping[str, int]) -> set[int]:
        """Set the reference of the rows that the cache has, check some of them, and return their numbers."""
        hits: set[int] = set()
        sample: dict[str, _Cached] = {}
        for key, found in self._cached():
            row = first_row.get(key)
            if row is None:
                continue
            hits.add(row)
            pairs.reference[row] = weighted_sums(found.chosen, found.rejected, self.ld_alpha)
            # The smallest keys are a random choice of rows, since keys are hashes, and the same one in every run.
            sample[key] = found
            if len(sample) > CHECKED_HITS:
                del sample[max(sample)]
        self._check(pairs, {first_row[key]: found for key, found in sample.items()})
        return hits

    def _check(self, pairs: PairDataset, sample: Mapping[int, "_Cached"]) -> None:
        """Compute `sample` (row -> cached values) again. Raises TrainingError when one is not the same."""
        for row, chosen, rejected in self.compute(pairs, list(sample)):
            for found, expected in ((sample[row].chosen, chosen), (sample[row].rejected, rejected)):
                allowed = tolerance(self.policy.autocast, len(expected))
                if len(found) != len(expected) or abs(float(found.sum() - expected.sum())) > allowed:
                    raise TrainingError(
                        f"{self.path} disagrees with the model about {pairs.ids[row]}: it says {found.sum():.4f} nats "
                        f"for {len(found)} tokens, the model {expected.sum():.4f} for {len(expected)}. Delete the file."
                    )

    def _compute(self, pairs: PairDataset, missing: Mapping[str, int], on_rows: Callable[[int], None]) -> None:
        """Compute `missing` (key -> row) and write old and new rows to the file, which appears whole or not at all."""
        path = self.path
        if path is None or not processes.is_first():
            for row, chosen, rejected in self.compute(pairs, list(missing.values())):
                pairs.reference[row] = weighted_sums(chosen, rejected, self.ld_alpha)
                on_rows(1)
            return
        key_of_row = {row: key for key, row in missing.items()}
        private_folder(path.parent)
        unfinished = path.with_suffix(f".{os.getpid()}.unfinished")
        columns: tuple[list[object], ...] = ([], [], [])
        with pq.ParquetWriter(unfinished, SCHEMA, write_page_checksum=True) as writer:
            for batch in self._batches():
                writer.write_batch(batch)
            for row, chosen, rejected in self.compute(pairs, list(missing.values())):
                pairs.reference[row] = weighted_sums(chosen, rejected, self.ld_alpha)
                for column, value in zip(columns, (key_of_row[row], chosen, rejected), strict=True):
                    column.append(value)
                if len(columns[0]) == FLUSH_ROWS:
                    _flush(writer, columns)
                on_rows(1)
            _flush(writer, columns)
        unfinished.replace(path)

    def compute(
        self, pairs: PairDataset, rows: list[int], *, other_dtype: bool = False
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield (row, chosen, rejected) as `train.logprobs.row_logps`, in the policy's precision.

        With `other_dtype` in the other one: bfloat16 matrix products where the policy has float32, and so round.
        """
        autocast = self.policy.autocast
        if other_dtype:
            autocast = torch.bfloat16 if autocast is None else None
        return row_logps(self.policy.model, pairs, rows, self.collate, batch_size=self.batch_size, autocast=autocast)

    def _cached(self) -> Iterator[tuple[str, "_Cached"]]:
        """Yield every row of the file with its key."""
        for batch in self._batches():
            keys, *sides = (batch.column(i) for i in range(3))
            for key, chosen, rejected in zip(keys.to_pylist(), *sides, strict=True):
                yield key, _Cached(chosen.values.to_numpy(), rejected.values.to_numpy())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        """Yield what the file holds. Raises TrainingError when it is damaged."""
        if self.path is None or not self.path.exists():
            return
        try:
            with pq.ParquetFile(self.path, page_checksum_verification=True) as file:
                yield from file.iter_batches(batch_size=FLUSH_ROWS)
        except (OSError, pa.ArrowInvalid) as error:
            raise TrainingError(f"{self.path} is damaged ({error}). Delete it; it will be computed again.") from error


@dataclass(frozen=True)
class _Cached:
    """One row's log-probabilities per response token."""

    chosen: np.ndarray
    rejected: np.ndarray


def _flush(writer: pq.ParquetWriter, columns: tuple[list[object], ...]) -> None:
    """Write `columns` as rows and empty them."""
    writer.write_table(pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA))
    for column in columns:
        column.clear()
