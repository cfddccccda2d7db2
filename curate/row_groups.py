"""A stream of rows, cut into tables of one size: how a query cuts its result decides neither bytes nor hashes."""

from collections.abc import Iterable, Iterator

import pyarrow as pa


def cut(batches: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.Table]:
    """Cut batches of any sizes into tables of `size` rows, the last one smaller; none where there are no rows."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        while count >= size:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, size).combine_chunks()
            waiting = table.slice(size).to_batches()
            count -= size
    if count:
        yield pa.Table.from_batches(waiting).combine_chunks()
