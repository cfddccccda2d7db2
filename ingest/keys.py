"""Which keys a table of the lake holds: a compact index of one run, which is certain of what is new.

Reads the key column of the table's files once, and grows with each commit. A key is 8 bytes here, so that 10 million
of them take 80 MB: what it calls new is new; what it does not may still be (one in 10^12), and is looked up.
"""

from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

Hashes = npt.NDArray[np.uint64]

_ROWS: Final = 1 << 16


class Keys:
    """Keys of one table."""

    def __init__(self) -> None:
        self._sorted: list[Hashes] = []
        """Sorted arrays, each at least twice as long as the next one."""

    @classmethod
    def of_files(cls, paths: list[str], column: str) -> "Keys":
        """Return the keys in `column` of Parquet files."""
        keys = cls()
        for path in paths:
            with pq.ParquetFile(path) as file:
                found = [_hashes(batch.column(0)) for batch in file.iter_batches(_ROWS, columns=[column])]
            keys._add(np.concatenate(found) if found else np.empty(0, np.uint64))
        return keys

    def add(self, keys: pa.ChunkedArray) -> None:
        """Note keys that the table holds from now on."""
        self._add(_hashes(keys))

    def are_new(self, keys: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """Return for each key whether neither the table nor another row of `keys` has it; true is certain."""
        hashes = _hashes(keys)
        values, inverse, times = np.unique(hashes, return_inverse=True, return_counts=True)
        new: npt.NDArray[np.bool_] = times == 1
        for held in self._sorted:
            places = np.searchsorted(held, values)
            new &= held[np.minimum(places, len(held) - 1)] != values
        of_rows: npt.NDArray[np.bool_] = new[inverse]
        return of_rows

    def _add(self, hashes: Hashes) -> None:
        if len(hashes):
            self._sorted.append(np.sort(hashes))
        while any(len(longer) < 2 * len(shorter) for longer, shorter in pairwise(self._sorted[-2:])):
            self._sorted.append(np.sort(np.concatenate([self._sorted.pop(), self._sorted.pop()])))


def _hashes(keys: pa.Array | pa.ChunkedArray) -> Hashes:
    series = pl.from_arrow(keys)
    assert isinstance(series, pl.Series)
    return series.hash().to_numpy()
