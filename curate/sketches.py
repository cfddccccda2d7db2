"""The sketches of the last curation's texts, so that the next one sketches only what is new.

Reads and writes <curated>/.sketches.parquet: for the hash of each text the 128 bytes of `curate.minhash`; part of
`python -m curate run`. It is a cache: without it a run gives the same and takes longer. It holds what the last run
needed and nothing else, and an erasure deletes it whole (`ingest.erasure.snapshots`). A sketch is no text, but whoever
guesses a text could tell by it that it was there.
"""

import hashlib
from pathlib import Path
from typing import Final

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate import minhash
from curate.snapshot import sync_folder, write_table
from curate.statements import statement
from ingest.erasure.snapshots import SKETCHES
from ingest.errors import ContractError

SCHEMA: Final = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),  # hash of the text, after what part of a triple it is
        pa.field("sketch", pa.binary(minhash.MINIMA), nullable=False),
    ]
)
_VERSION: Final = b"winnow.sketches"


def remember(connection: duckdb.DuckDBPyConnection, curated: Path) -> None:
    """Make table known_sketches(key, sketch) of what the last run in `curated` left, of the same version of all.

    Raises ContractError for a file that cannot be read.
    """
    connection.execute("CREATE TEMP TABLE known_sketches (key VARCHAR, sketch BLOB)")
    path = curated / SKETCHES
    if not path.exists():
        return
    try:
        with pq.ParquetFile(path) as file:
            metadata, columns = file.schema_arrow.metadata or {}, file.schema_arrow.remove_metadata()
            if metadata.get(_VERSION) != version() or columns != SCHEMA:
                return
            for batch in file.iter_batches():
                connection.register("read", pa.table(batch))
                connection.execute("INSERT INTO known_sketches FROM read")
                connection.unregister("read")
    except (pa.ArrowException, OSError) as error:
        raise ContractError(f"{path} cannot be read: {error}. It is a cache: delete it and run again.") from error


def record(connection: duckdb.DuckDBPyConnection, curated: Path) -> None:
    """Replace the file by what this run needed, in one rename: by key, so that the same run gives the same bytes."""
    rows = connection.sql("SELECT DISTINCT key, sketch FROM sketches_of_run ORDER BY key").to_arrow_reader(
        minhash.TEXTS
    )
    new = curated / f"{SKETCHES}-new"
    new.unlink(missing_ok=True)
    write_table(rows, SCHEMA.with_metadata({_VERSION: version()}), new)
    new.replace(curated / SKETCHES)
    sync_folder(curated)


def version() -> bytes:
    """Return what sketches depend on besides the text: how they are made, and what of a conversation is its text.

    Of what Unicode form and lower case are, polars holds the tables.
    """
    made_of = (str(minhash.VERSION), pl.__version__, statement("questions.sql"), statement("features.sql"))
    return hashlib.sha256("\0".join(made_of).encode()).hexdigest().encode()
