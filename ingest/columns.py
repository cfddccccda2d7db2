"""Values of many rows -> Arrow arrays, a column at a time.

A dictionary per row, as `pa.Table.from_pylist` takes them, costs more than everything else that is done to a line.
Every function raises one of pyarrow's errors, TypeError, ValueError or UnicodeError for a value that does not fit.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import accumulate, pairwise
from operator import itemgetter
from typing import Final

import pyarrow as pa

from ingest import schema
from ingest.schema import Message

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def conversations(lists: Sequence[Sequence[Message]]) -> tuple[pa.ListArray, list[str]]:
    """Return a `schema.MESSAGES` array of conversations, and `schema.messages_hash` of each."""
    flat = [message for messages in lists for message in messages]
    columns = [list(map(itemgetter(key), flat)) for key in schema.MESSAGE_KEYS]
    turns = list(zip(*columns, strict=True))
    bounds = list(accumulate(map(len, lists), initial=0))
    hashes = [schema.turns_hash(turns[start:end]) for start, end in pairwise(bounds)]
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


def times(moments: Sequence[datetime | None], otherwise: datetime) -> tuple[pa.TimestampArray, list[str]]:
    """Return a `schema.TIME` array, and the ISO dates in UTC; of no moment the date of `otherwise`.

    Raises TypeError for a time without a zone, which is no point in time.
    """
    since = [None if moment is None else moment - _EPOCH for moment in moments]
    micros = [None if s is None else (s.days * 86400 + s.seconds) * 1_000_000 + s.microseconds for s in since]
    today = (otherwise - _EPOCH).days
    days = [_iso(today if s is None else s.days) for s in since]
    return pa.array(micros, pa.int64()).view(schema.TIME), days


@lru_cache(maxsize=1024)
def _iso(days: int) -> str:
    """Return the date so many days after 1970-01-01."""
    return date.fromordinal(date(1970, 1, 1).toordinal() + days).isoformat()
