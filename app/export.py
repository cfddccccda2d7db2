"""Label events, and the verdicts that stand, as a file that opens without the store.

Reads table `event` and, of verdicts, `pair`; writes Parquet or JSON Lines. docs/labelling.md names the columns.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TextIO

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from app.store import Store, standing
from app.tables import EVENT, PAIR
from ingest.errors import SettingsError

BATCH: Final = 20_000
SUFFIXES: Final = (".parquet", ".jsonl")

_CHOSEN: Final = sa.case(
    (EVENT.c.verdict == "left", EVENT.c.left_interaction_id),
    (EVENT.c.verdict == "right", EVENT.c.right_interaction_id),
)
_REJECTED: Final = sa.case(
    (EVENT.c.verdict == "left", EVENT.c.right_interaction_id),
    (EVENT.c.verdict == "right", EVENT.c.left_interaction_id),
)
WHAT: Final[dict[str, sa.Select[Any]]] = {
    "events": sa.select(EVENT).order_by(EVENT.c.seq),
    "verdicts": (
        sa.select(
            *(column for column in EVENT.c if column.name not in ("kind", "retracts")),
            _CHOSEN.label("chosen_interaction_id"),
            _REJECTED.label("rejected_interaction_id"),
            *(PAIR.c[name] for name in ("source", "prompt_group", "priority", "why")),
        )
        .join_from(EVENT, PAIR, EVENT.c.pair_id == PAIR.c.pair_id)
        .where(standing(EVENT))
        .order_by(EVENT.c.seq)
    ),
}
"""What can be exported: everything that was said, or the verdicts that were not taken back."""


def to_file(store: Store, what: str, file: Path) -> int:
    """Write `what` to `file`, by its suffix Parquet or JSON Lines; return the rows.

    A file is there whole or not at all. Raises SettingsError for another suffix, and where the file exists.
    """
    if file.suffix not in SUFFIXES:
        raise SettingsError(f"Cannot tell the format of {file.name}: a name ends in {' or '.join(SUFFIXES)}.")
    if file.exists():
        raise SettingsError(f"{file} is there already. Remove it, or name another file.")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    try:
        if file.suffix == ".parquet":
            with pq.ParquetWriter(partial, schema(what)) as writer:
                rows = sum(_write(writer, batch) for batch in batches(store, what))
        else:
            with partial.open("w", encoding="utf-8") as out:
                rows = to_lines(store, what, out)
        partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)
    return rows


def to_lines(store: Store, what: str, out: TextIO) -> int:
    """Write `what` to `out`, one JSON object a line; return the rows."""
    rows = 0
    for batch in batches(store, what):
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist())
        rows += batch.num_rows
    return rows


def schema(what: str) -> pa.Schema:
    """Return the columns of an export, with the types that the store declares."""
    types = {sa.Text: pa.string(), sa.Integer: pa.int64(), sa.BigInteger: pa.int64(), sa.Double: pa.float64()}
    columns = WHAT[what].selected_columns
    return pa.schema([(column.name, types[type(column.type)]) for column in columns])


def batches(store: Store, what: str) -> Iterator[pa.RecordBatch]:
    """Yield the rows of an export, of one state of the store, in the order in which they were said."""
    wanted = schema(what)
    with store.reading() as connection:
        rows = connection.execution_options(stream_results=True, yield_per=BATCH).execute(WHAT[what])
        for some in rows.mappings().partitions():
            yield pa.RecordBatch.from_pylist([dict(row) for row in some], schema=wanted)


def _write(writer: pq.ParquetWriter, batch: pa.RecordBatch) -> int:
    writer.write_batch(batch)
    return int(batch.num_rows)
