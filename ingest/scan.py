"""Log files -> lines with their byte offsets, and what is wrong with those that hold no record.

Reads what the globs of winnow.toml match: JSON lines, JSON arrays (`*.json` whose first character is `[`), objects
printed over several lines (`*.json` whose first line is `{`), tables of text (`*.csv`, `*.tsv`) and Parquet; plain,
gzip or Zstandard. Offsets count bytes of the decompressed file, of Parquet: rows. Nothing is held but one block and one
line; one batch of rows of Parquet.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from ingest import tables
from ingest.decoding import Line, is_whole, line_of, row_of, row_without_header
from ingest.errors import RecordError
from ingest.readers import cells
from ingest.splitting import BOM, Run, Span, elements, objects, runs
from ingest.streams import PARQUET_MAGIC, Stream

HEAD_BYTES: Final = 1 << 16
"""A file is known by its first line; of a longer one by so many bytes."""
PARQUET_ROWS: Final = 512

_ROTATED: Final = re.compile(r"\.(gz|zst|[0-9]+)")
"""Suffixes that say nothing of what a file holds."""
_SPLIT: Final = {b"[": elements, b"{": objects}
"""What a file begins with whose records are no lines -> how it is split."""


class LogFile:
    """One file of a source, as it is on disk now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = name_of(path)
        """Its path as it is stored and shown."""
        stat = path.stat()
        self.stream = Stream(path)
        self.stored_bytes = stat.st_size
        self.mtime_ns = stat.st_mtime_ns
        self.is_parquet = self.stream.magic == PARQUET_MAGIC
        self.suffix = next((suffix.lower() for suffix in reversed(path.suffixes) if not _ROTATED.fullmatch(suffix)), "")
        """What its name says it holds, whether it is rotated, compressed or not."""
        self.delimiter = tables.DELIMITERS.get(self.suffix)
        """Between the cells of a table of text; None of any other file."""
        self.pending = 0
        """Bytes at the end that may still become a record; set by `lines`."""
        self.complete = False
        """Whether `lines` reached an end that holds nothing back."""

    @property
    def has_lines(self) -> bool:
        """Return whether its records are lines: what is written behind the last one may make that longer."""
        return not (self.is_parquet or self._opening())

    def head(self) -> str:
        """Return a hash of the first line or record, which stays the same as the file grows, is renamed and compressed.

        What cannot grow is known by its size, its beginning and its end instead: Parquet, whose footer is its end, and
        an archive of which nothing can be decoded.
        """
        first = b"" if self.is_parquet else self.stream.read(0, HEAD_BYTES)
        if opening := self._opening():  # the first line of every such file is the same
            return digest(next((span.raw for span in _SPLIT[opening](iter([first]), HEAD_BYTES)), b""))
        if first or not self.stored_bytes:
            # Every table of one exporter begins with the same header: its first row belongs to what names it.
            return digest(b"\n".join(first.split(b"\n", 2)[: 2 if self.delimiter else 1]))
        with self.path.open("rb") as file:
            begin = file.read(HEAD_BYTES)
            file.seek(max(0, self.stored_bytes - HEAD_BYTES))
            return digest(b"stored %d " % self.stored_bytes + begin + file.read())

    def lines(self, start: int, line_bytes: int, *, settled: bool) -> Iterator[Line]:
        """Yield every line from offset `start`; one of more than `line_bytes` is not held in memory.

        Unless the file has `settled`, too old to grow, what its end lacks may still come: it stays `pending`.
        """
        for each in self.pieces(start, line_bytes, settled=settled):
            if isinstance(each, Run):
                yield from (line_of(each.span(line)) for line in range(len(each)))
            else:
                yield each

    def pieces(self, start: int, line_bytes: int, *, settled: bool) -> Iterator[Line | Run]:
        """Yield the same as `lines`, where it can be done with many lines at once that are not decoded."""
        self.pending, self.complete = 0, False
        if self.is_parquet:
            yield from self._rows(start, settled=settled)
            return
        tail: Span | None = None
        end = start
        spans, read = self._table(start, line_bytes) if self.delimiter else (self._spans(start, line_bytes), line_of)
        for each in spans:
            end = each.end
            if isinstance(each, Run):
                yield each
            elif each.ended:
                yield read(each)
            else:
                tail = each
        if self.stream.damage:
            yield from self._damaged(tail, end, settled=settled)
        elif tail is None or settled or self.stream.is_archive or (self.delimiter is None and is_whole(tail)):
            self.complete = True
            if tail:
                line = read(tail)
                # What is torn here stands whole in the file, or in a copy of it, that was written further.
                yield line if line.problem is None else msgspec.structs.replace(line, end=line.start)
        else:
            self.pending = tail.length

    def _table(self, start: int, line_bytes: int) -> tuple[Iterator[Span | Run], Callable[[Span], Line]]:
        """Return the rows of a table of text from offset `start`, and what reads them as its header says."""
        assert self.delimiter is not None
        header = next(tables.rows(self.stream.blocks(), 0, line_bytes, self.delimiter), None)
        if header is None:
            return iter([]), line_of
        try:
            names = tables.header(header, self.delimiter)
        except RecordError as problem:
            begin, read = start, partial(row_without_header, header=header, problem=problem)
        else:
            begin = max(start, header.end)
            read = partial(row_of, delimiter=self.delimiter, names=names, kinds=cells.kinds(names))
        return tables.rows(self.stream.blocks(begin), begin, line_bytes, self.delimiter), read

    def _spans(self, start: int, line_bytes: int) -> Iterator[Span | Run]:
        """Return the records of JSON from offset `start`."""
        if opening := self._opening():
            return (span for span in _SPLIT[opening](self.stream.blocks(), line_bytes) if span.start >= start)
        return runs(self.stream.blocks(start), start, line_bytes)

    def is_lines(self) -> bool:
        """Return whether any byte of the file can be read without those before it, and its records are lines."""
        return not (self.is_parquet or self.stream.is_archive or self.delimiter or self._opening())

    def _opening(self) -> bytes:
        """Return the bracket that a file begins with whose records are no lines, else nothing: its name says JSON.

        "[" begins one JSON array. "{" alone on its line begins an object that is printed over several lines; other
        objects may follow it.
        """
        if self.suffix != ".json":
            return b""
        begin = self.stream.read(0, 64).removeprefix(BOM).lstrip()
        if begin.startswith(b"["):
            return b"["
        return b"{" if begin.startswith(b"{") and begin.split(b"\n", 1)[0].strip() == b"{" and len(begin) > 1 else b""

    def _damaged(self, tail: Span | None, end: int, *, settled: bool) -> Iterator[Line]:
        """Yield the one line that stands for all from the damage on, unless the archive is still being written."""
        if not settled:
            self.pending = max(1, tail.length if tail else 0)
            return
        self.complete = True
        problem = RecordError("corrupt_archive", str(self.stream.damage))
        # The next reading, should the file be mended, begins with the record that was cut.
        start, size, raw = (tail.start, tail.length, tail.raw) if tail else (end, 0, b"")
        yield Line(start, start, size, raw, problem=problem)

    def _rows(self, start: int, *, settled: bool) -> Iterator[Line]:
        """Yield the rows of a Parquet file as records."""
        number = 0
        try:
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(batch_size=PARQUET_ROWS):
                    unread = batch.slice(max(0, start - number))
                    number += batch.num_rows
                    size = unread.nbytes // max(1, unread.num_rows)
                    for row, record in enumerate(unread.to_pylist(), number - unread.num_rows):
                        yield Line(row, row + 1, size, b"", record=record, tabular=True)
                    self.stream.stored_read = self.stored_bytes * number // file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            if not settled:
                self.pending = max(1, self.stored_bytes)
                return
            problem = RecordError("corrupt_archive", f"It is not a readable Parquet file: {type(error).__name__}.")
            yield Line(max(start, number), max(start, number), 0, b"", problem=problem)
        self.complete = True


def name_of(path: Path) -> str:
    """Return the path as text that any column and terminal holds; a byte that is no UTF-8 shows as \\xff."""
    # Not as U+FFFD: two names would look the same, and one file would pass for the other.
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def digest(content: bytes) -> str:
    """Return the tagged hash of some bytes of a file."""
    return "b2:" + hashlib.blake2b(content, digest_size=16).hexdigest()
