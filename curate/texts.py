"""Numbered texts in a DuckDB table: sketched as a stream, and fetched by number where they must be looked at.

A table of texts has the columns nr (0 to n - 1), key (a hash that stands for the text) and said.
"""

from dataclasses import dataclass
from typing import Final

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from curate import minhash
from curate.minhash import Sketches
from curate.near_duplicates import I64

BATCH: Final = 16_384
"""Texts that are held at a time while all are sketched."""


@dataclass(frozen=True)
class Texts:
    """The texts of one table."""

    connection: duckdb.DuckDBPyConnection
    table: str
    """Its name: ours, never data."""

    def keys(self) -> list[str]:
        """Return the key of every text, by number."""
        return [key for (key,) in self.connection.execute(f"SELECT key FROM {self.table} ORDER BY nr").fetchall()]

    def sketches(self) -> Sketches:
        """Return the sketch of every text, by number."""
        reader = self.connection.sql(f"SELECT said FROM {self.table} ORDER BY nr").to_arrow_reader(BATCH)
        return Sketches.concat(minhash.sketch(pl.Series(batch.column(0))) for batch in reader)

    def fetch(self, numbers: I64) -> pl.Series:
        """Return the texts of ascending `numbers`, in that order."""
        self.connection.register("wanted", pa.table({"nr": np.asarray(numbers, np.int64)}))
        try:
            found = self.connection.sql(f"SELECT said FROM wanted JOIN {self.table} USING (nr) ORDER BY nr")
            return pl.Series(found.to_arrow_table().column(0))
        finally:
            self.connection.unregister("wanted")
