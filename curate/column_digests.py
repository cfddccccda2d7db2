"""A hash of what the rows of a Parquet file say, whatever wrote it.

Reads one file, a row group at a time. Each column is hashed by itself, value after value: which are null, how long each
is, and the bytes of all; so texts never become Python objects. How the file itself is cut changes no hash.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import row_groups


def of(path: Path, rows: int) -> Iterator[str]:
    """Yield the SHA-256, in hex, of the names, types and values of all columns, of each `rows` rows of the file."""
    with pq.ParquetFile(path) as file:
        kinds = "\n".join(f"{field.name} {field.type}" for field in file.schema_arrow).encode()
        groups = (batch for n in range(file.num_row_groups) for batch in file.read_row_group(n).to_batches())
        for table in row_groups.cut(groups, rows):
            found = _Digests()
            for name in table.column_names:
                found.add(name, table[name].combine_chunks())
            whole = hashlib.sha256(kinds)
            for part, digest in sorted(found.parts.items()):
                whole.update(part.encode() + digest.digest())
            yield whole.hexdigest()


class _Digests:
    """One hash for each part of each column: which values are null, their lengths, their bytes."""

    def __init__(self) -> None:
        self.parts: defaultdict[str, hashlib._Hash] = defaultdict(hashlib.sha256)

    def add(self, name: str, array: pa.Array) -> None:
        """Go on with the column `name`."""
        kind = array.type
        self._add(f"{name}?", array.is_valid().cast(pa.uint8()))
        if pa.types.is_struct(kind):
            for field, child in zip(kind, array.flatten(), strict=True):  # what is null above is null below
                self.add(f"{name}.{field.name}", child)
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            self._add(f"{name}#", pc.list_value_length(array).fill_null(0).cast(pa.int64()))
            self.add(f"{name}[]", array.flatten())
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            self._add_texts(name, array.fill_null("").cast(pa.large_string()))
        elif pa.types.is_boolean(kind):
            self._add(name, array.fill_null(False).cast(pa.uint8()))
        else:
            self._add(name, (array.cast(pa.int64()) if pa.types.is_timestamp(kind) else array).fill_null(0))

    def _add_texts(self, name: str, array: pa.LargeStringArray) -> None:
        if not len(array):
            return
        _, offsets, data = array.buffers()
        ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
        self.parts[f"{name}#"].update(np.diff(ends).data)
        if data is not None:
            self.parts[name].update(data.slice(ends[0], ends[-1] - ends[0]))

    def _add(self, part: str, array: pa.Array) -> None:
        self.parts[part].update(np.ascontiguousarray(array.to_numpy(zero_copy_only=False)).data)
