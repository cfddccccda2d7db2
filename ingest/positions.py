"""Which files were read before, under whatever name, and how far.

Reads the lake's `files`. A file is recognised by its first line (`head`) and by what stands just before the position up
to which it was read (`tail`): both stay the same while it grows, is renamed, is compressed after rotation or is copied.
A hash of its first bytes would change while a short file grows; an inode would not survive compression; a first line
alone is no proof, for two logs may begin alike, and then the second one's beginning would never be read.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from ingest.decoding import Line
from ingest.scan import LogFile, digest, name_of
from ingest.schema import content_id

if TYPE_CHECKING:  # workers know positions, and need no database
    from ingest.lake import Lake

TAIL_BYTES: Final = 4096


@dataclass(slots=True)
class Position:
    """How far one file is read."""

    file_id: str
    head: str
    read_to: int = 0
    tail: str = ""
    """Hash of the `tail_bytes` bytes before `read_to`; "" where nothing is to be compared."""
    tail_bytes: int = 0
    committed: int = 0
    """`read_to` when this run began: rows of `files` say no more."""

    def advance(self, lines: Sequence[Line]) -> None:
        """Move behind `lines`, the last ones that were read of a text file, in order."""
        consumed = [line for line in lines if line.end > line.start]
        if not consumed:
            return
        self.read_to = consumed[-1].end
        before = b""
        for line in reversed(consumed):
            if line.end + len(before) != self.read_to:  # an element of an array: a comma stands between
                break
            before = line.raw + b"\n" * (line.end - line.start - line.size) + before
            if len(line.raw) != line.size or len(before) >= TAIL_BYTES:
                break
        before = before[-TAIL_BYTES:]
        self.tail, self.tail_bytes = digest(before), len(before)

    def advance_rows(self, row: int) -> None:
        """Move to `row` of what its head alone identifies."""
        self.read_to = row


_COLUMNS: Final = (
    "ingest_time",
    "read_to",
    "read_from",
    "source",
    "path",
    "file_id",
    "head",
    "tail",
    "tail_bytes",
    "stored_bytes",
    "stored_mtime_ns",
)
"""What is read of `files`; in the order of the first three."""


class Positions:
    """Every file that the lake has rows of."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._by_head: dict[tuple[str, str], dict[str, Position]] = {}
        self._stored: dict[tuple[str, str], tuple[int, int] | None] = {}

    @classmethod
    def load(cls, lake: "Lake", root: Path) -> "Positions":
        """Return the positions as of the lake's last commit to `files`, in the workspace at `root`."""
        positions = cls(root)
        found = lake.read("files", _COLUMNS)
        times = found["ingest_time"].cast(pa.int64())
        columns = (column.to_pylist() for column in (times, *found.columns[1:]))
        # A piece that is only a torn line begins and ends where the one before it ended.
        for row in sorted(zip(*columns, strict=True), key=lambda row: row[:3]):
            read_to, source, path, file_id, head, tail, tail_bytes, stored_bytes, mtime_ns = (row[1], *row[3:])
            known = positions._by_head.setdefault((source, head), {})
            known[file_id] = Position(file_id, head, read_to, tail, tail_bytes, committed=read_to)
            positions._stored[source, path] = None if stored_bytes is None else (stored_bytes, mtime_ns)
        return positions

    def unchanged(self, source: str, file: LogFile) -> bool:
        """Return whether the file at this path was read to its end and has been left alone since."""
        return self._stored.get((source, file.name)) == (file.stored_bytes, file.mtime_ns)

    def of_head(self, source: str, head: str) -> Position:
        """Return the position in what `head` alone identifies: a Parquet file, a label store."""
        known = self._by_head.setdefault((source, head), {})
        return next(iter(known.values()), None) or self._new(source, head, "")

    def locate(self, source: str, file: LogFile) -> tuple[Position, int]:
        """Return the file's position, a new one where it was never read, and the offset to go on reading from.

        The two offsets differ where the last line was read before its newline was written.
        """
        head = file.head()
        if file.is_parquet:
            position = self.of_head(source, head)
            return position, position.read_to
        known = self._by_head.setdefault((source, head), {})
        for position in sorted(known.values(), key=lambda p: -p.read_to):
            # One byte more than the tail: a newline that came after its line.
            begin = position.read_to - position.tail_bytes
            found = file.stream.read(begin, position.tail_bytes + 1)
            before, after = found[: position.tail_bytes], found[position.tail_bytes :]
            if len(before) == position.tail_bytes and (not position.tail or digest(before) == position.tail):
                late_newline = after == b"\n" and before[-1:] not in (b"\n", b"")
                return position, position.read_to + late_newline
        return self._new(source, head, name_of(Path(os.path.relpath(file.path, self._root)))), 0

    def _new(self, source: str, head: str, name: str) -> Position:
        """Return the position of a file that was never read, whose first `name` is seen from the workspace's folder.

        A run that follows a killed one gives it the same id again, whichever files it reads before. Once `files` has
        the id, the file keeps it under any name; what is written anew under that name is the next one.
        """
        known = self._by_head.setdefault((source, head), {})
        ids = (content_id(["file", source, head, name, nth]) for nth in count())
        position = Position(next(file_id for file_id in ids if file_id not in known), head)
        known[position.file_id] = position
        return position
