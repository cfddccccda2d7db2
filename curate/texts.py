"""Numbered texts of the lake's triples: sketched as a stream, and fetched by number where they must be looked at.

A table of texts has the columns nr (0 to n - 1), key (a hash that stands for the text) and triple_id (of a triple that
has it); the text itself stays in the lake. Table known_sketches(key, sketch), where there is one (`curate.sketches`),
holds what need not be sketched again.
"""

from dataclasses import dataclass
from typing import Final

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from curate import minhash
from curate.minhash import MINIMA, Sketches
from curate.near_duplicates import I64
from curate.shingles import U8

BATCH: Final = 16_384
"""Texts that are held at a time while all are sketched."""


@dataclass(frozen=True)
class Texts:
    """The texts of one table."""

    connection: duckdb.DuckDBPyConnection
    table: str
    """Its name: ours, never data."""
    kind: str
    """What a key means: "question" or "response"; ours, never data."""
    said: str
    """SQL expression over a triple's columns that gives the text."""

    def sketches(self) -> Sketches:
        """Return the sketch of every text, by number, and enter those of this run into table sketches_of_run."""
        ((count,),) = self.connection.execute(f"SELECT count(*) FROM {self.table}").fetchall()
        found = np.full((count, MINIMA), 255, np.uint8)
        self.connection.execute("""
            CREATE TEMP TABLE IF NOT EXISTS known_sketches (key VARCHAR, sketch BLOB);
            CREATE TEMP TABLE IF NOT EXISTS sketches_of_run (key VARCHAR, sketch BLOB)""")
        key = f"'{self.kind} ' || t.key"
        known = self.connection.sql(f"SELECT nr, sketch FROM {self.table} t JOIN known_sketches k ON k.key = {key}")
        for batch in known.to_arrow_reader(BATCH):
            rows = np.frombuffer(b"".join(batch["sketch"].to_pylist()), np.uint8)
            found[batch["nr"].to_numpy()] = rows.reshape(-1, MINIMA)
        new = self.connection.sql(f"""
            SELECT nr, {self.said} AS said
            FROM (FROM {self.table} t ANTI JOIN known_sketches k ON k.key = {key}) JOIN triples USING (triple_id)""")
        for batch in new.to_arrow_reader(BATCH):
            found[batch["nr"].to_numpy()] = minhash.sketch(pl.Series(batch["said"])).bytes
        self._enter(found, key)
        return Sketches(found)

    def _enter(self, found: U8, key: str) -> None:
        for first in range(0, len(found), BATCH):
            rows = found[first : first + BATCH]
            sketches = pa.Array.from_buffers(pa.binary(MINIMA), len(rows), [None, pa.py_buffer(rows)])
            numbered = pa.table({"nr": np.arange(first, first + len(rows)), "sketch": sketches})
            self.connection.register("sketched", numbered)
            self.connection.execute(f"""
                INSERT INTO sketches_of_run SELECT {key}, sketch FROM sketched JOIN {self.table} t USING (nr)""")
            self.connection.unregister("sketched")

    def hold(self, numbers: I64) -> None:
        """Read the texts of `numbers` out of the lake at once: `fetch` gives these alone."""
        self.connection.register("wanted", pa.table({"nr": np.asarray(numbers, np.int64)}))
        try:
            self.connection.execute(f"""
                CREATE OR REPLACE TEMP TABLE held_{self.table} AS
                SELECT nr, {self.said} AS said
                FROM wanted JOIN {self.table} USING (nr) JOIN triples USING (triple_id) ORDER BY nr""")
        finally:
            self.connection.unregister("wanted")

    def fetch(self, numbers: I64) -> pl.Series:
        """Return the texts of ascending `numbers`, in that order."""
        self.connection.register("wanted", pa.table({"nr": np.asarray(numbers, np.int64)}))
        try:
            found = self.connection.sql(f"SELECT said FROM wanted JOIN held_{self.table} USING (nr) ORDER BY nr")
            return pl.Series(found.to_arrow_table().column(0))
        finally:
            self.connection.unregister("wanted")
