"""Train, validation and test by cluster of prompts, never by row; what was published once never moves.

Reads tables clusters and known_splits, writes table splits(prompt_group, cluster_id, split) and the ledger; part of
`python -m curate run`. <curated>/splits.parquet keeps which prompt group every snapshot so far put where: hashes of
prompts, and no text.

Where a new cluster goes is a hash of the seed and its smallest prompt group: the first 52 bits of sha256("seed:group"),
as a number in [0, 1). Below `test` it is test, below `test + validation` validation, else train. A group that joins a
known cluster goes where that is. A group that turns out to be like prompts of two splits would leak from one into the
other, wherever it went: its triples are dropped as bridges_splits, and the others stay where they are.
"""

import json
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from curate.counts import SPLITS
from curate.recipe import Split
from curate.rules import Reason
from curate.snapshot import sync_folder, write_table
from curate.statements import statement
from ingest.errors import ContractError

BRIDGE: Final = Reason(
    name="bridges_splits",
    version=1,
    reason="Its prompt is like prompts that earlier snapshots put into different splits, and would leak between them.",
)
FILE: Final = "splits.parquet"
SCHEMA: Final = pa.schema([pa.field("prompt_group", pa.string(), nullable=False), ("split", pa.string())])
_KEY: Final = b"winnow.split"


def remember(connection: duckdb.DuckDBPyConnection, curated: Path, split: Split) -> None:
    """Make table known_splits(prompt_group, split) of what earlier snapshots in `curated` published.

    With another seed or other shares everything is split anew. Raises ContractError for a file that is not Winnow's.
    """
    path = curated / FILE
    known = SCHEMA.empty_table()
    if path.exists():
        try:
            table = pq.read_table(path)
            same = json.loads((table.schema.metadata or {})[_KEY]) == split.model_dump()
            known = table.cast(SCHEMA) if same else known
            _check(known)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise ContractError(
                f"{path} is not the record of splits that Winnow keeps there: {error}. Restore it from a backup, or "
                "move it away: then groups of prompts may change their split."
            ) from error
    connection.register("known", known)
    connection.execute("CREATE OR REPLACE TEMP TABLE known_splits AS FROM known")
    connection.unregister("known")


def _check(known: pa.Table) -> None:
    """Raise ValueError for a record that would give a prompt group two splits, or one that there is not."""
    strange = set(known["split"].unique().to_pylist()) - set(SPLITS)
    if strange:
        raise ValueError(f"it holds splits other than {', '.join(SPLITS)}: {sorted(map(str, strange))[:3]}")
    if len(known) != len(known["prompt_group"].unique()):
        raise ValueError("it holds a prompt group twice")


def assign(connection: duckdb.DuckDBPyConnection, split: Split) -> None:
    """Give every prompt group of table clusters its split; enter triples that bridge two splits into the ledger."""
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS known_splits (prompt_group VARCHAR, split VARCHAR)")
    connection.execute(statement("split.sql"), {"seed": split.seed, "test": split.test, "validation": split.validation})
    # Of a cluster that earlier snapshots published in two splits each part is a cluster of its own.
    connection.execute("""
        CREATE TEMP TABLE splits AS
        SELECT prompt_group, min(prompt_group) OVER (PARTITION BY cluster_id, split) AS cluster_id, split
        FROM placed WHERE split IS NOT NULL;
        INSERT INTO ledger
        SELECT triple_id, 'bridges_splits', 'like prompts in ' || splits
        FROM standing JOIN placed USING (prompt_group) WHERE split IS NULL""")


def record(connection: duckdb.DuckDBPyConnection, curated: Path, split: Split) -> None:
    """Add what is published now to <curated>/splits.parquet, in one rename."""
    rows = connection.sql("""
        SELECT prompt_group, split FROM splits SEMI JOIN kept USING (prompt_group)
        UNION SELECT prompt_group, split FROM known_splits ORDER BY prompt_group""").to_arrow_table()
    table = rows.cast(SCHEMA).replace_schema_metadata({_KEY: json.dumps(split.model_dump())})
    new = curated / f".{FILE}-new"
    new.unlink(missing_ok=True)
    write_table(table.to_reader(), table.schema, new)
    new.replace(curated / FILE)
    sync_folder(curated)
