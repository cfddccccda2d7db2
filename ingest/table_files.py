"""Rows -> one Parquet file in the folder of a Delta table, and the action that adds it to the table.

pyarrow writes it: deltalake's own writer takes 1.4 times the CPU. There are no statistics, because they would copy text
into footers and into Delta's log, and no dictionaries of what hardly repeats.
"""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

LEVEL: Final = 1
"""Of Zstandard."""

DISTINCT: Final = frozenset(
    {
        *("interaction_id", "feedback_id", "quarantine_id", "source_id", "target_id", "conversation_id"),
        *("sibling_group", "prompt_hash", "response_hash", "content", "text", "raw", "byte_offset", "event_time"),
    }
)
"""Columns, and fields of messages, most of whose values differ: a dictionary of them is work for nothing."""


def write(folder: Path, rows: pa.Table) -> AddAction:
    """Write `rows` as a new file in `folder`; as long as no commit adds it, it is no part of the table."""
    path = folder / f"part-{secrets.token_hex(16)}.parquet"
    repeating = [name for field in rows.schema for name in _repeating(field, field.name)]
    pq.write_table(
        rows, path, compression="zstd", compression_level=LEVEL, use_dictionary=repeating, write_statistics=False
    )
    stat = path.stat()
    counted = {"numRecords": rows.num_rows, "minValues": {}, "maxValues": {}, "nullCount": {}}
    return AddAction(path.name, stat.st_size, {}, stat.st_mtime_ns // 1_000_000, True, json.dumps(counted))


def _repeating(field: pa.Field, path: str) -> Iterator[str]:
    """Yield the paths, as Parquet names them, of what a field holds and is worth a dictionary."""
    kind = field.type
    if pa.types.is_map(kind):
        yield from (f"{path}.key_value.{side}" for side in ("key", "value"))
    elif pa.types.is_list(kind):
        yield from _repeating(kind.value_field, f"{path}.list.element")
    elif pa.types.is_struct(kind):
        for inner in kind:
            yield from _repeating(inner, f"{path}.{inner.name}")
    elif path.rsplit(".", 1)[-1] not in DISTINCT:
        yield path
