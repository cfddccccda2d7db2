"""Values of many rows -> Arrow arrays, a column at a time.

A dictionary per row, as `pa.Table.from_pylist` takes them, costs more than everything else that is done to a line.
Every function raises one of pyarrow's errors, TypeError, ValueError or UnicodeError for a value that does not fit.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Final

import pyarrow as pa

from ingest import schema
from ingest.served import EPOCH, Turns

_DAY: Final = 86_400_000_000
"""Microseconds."""


def conversations(turns: Turns) -> tuple[pa.ListArray, list[str]]:
    """Return a `schema.MESSAGES` array of conversations, and `schema.messages_hash` of each."""
    columns = [turns.columns[key] for key in schema.MESSAGE_KEYS]
    flat = list(zip(*columns, strict=True))
    bounds = turns.bounds()
    hashes = [schema.turns_hash(flat[start:end]) for start, end in pairwise(bounds)]
    children = [pa.array(column, pa.string()) for column in columns]
    values = pa.StructArray.from_arrays(children, fields=list(schema.MESSAGE))
    return pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), values, type=schema.MESSAGES), hashes


def maps(of_row: Mapping[int, Sequence[tuple[str, object]]], rows: int, kind: pa.MapType) -> pa.MapArray:
    """Return an array of maps; rows that `of_row` lacks have an empty one."""
    bounds = accumulate((len(of_row.get(row, ())) for row in range(rows)), initial=0)
    entries = [entry for row in sorted(of_row) for entry in of_row[row]]
    keys, items = [key for key, _ in entries], [item for _, item in entries]
    offsets = pa.array(bounds, pa.int32())
    return pa.MapArray.from_arrays(offsets, pa.array(keys, kind.key_type), pa.array(items, kind.item_type))


def times(micros: Sequence[int | None], otherwise: datetime) -> tuple[pa.TimestampArray, list[str]]:
    """Return a `schema.TIME` array of microseconds since 1970, and ISO dates in UTC; of none that of `otherwise`."""
    today = (otherwise - EPOCH).days
    days = [_iso(today if time is None else time // _DAY) for time in micros]
    return pa.array(micros, pa.int64()).view(schema.TIME), days


@lru_cache(maxsize=1024)
def _iso(days: int) -> str:
    """Return the date so many days after 1970-01-01."""
    return date.fromordinal(date(1970, 1, 1).toordinal() + days).isoformat()
