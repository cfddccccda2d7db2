"""Log files -> lines with their byte offsets, and what is wrong with those that hold no record.

Reads what the globs of winnow.toml match: JSON lines, JSON arrays (`*.json` whose first character is `[`), objects
printed over several lines (`*.json` whose first line is `{`) and Parquet; plain, gzip or Zstandard.
Offsets count bytes of the decompressed file, of Parquet: rows. Nothing is held but one block
and one line; one batch of rows of Parquet.
"""

import glob
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.errors import RecordError
from ingest.splitting import Span, elements, lines, objects
from ingest.streams import PARQUET_MAGIC, Stream

HEAD_BYTES: Final = 1 << 16
"""A file is known by its first line; of a longer one by so many bytes."""
PARQUET_ROWS: Final = 512
BOM: Final = b"\xef\xbb\xbf"

_DECODER: Final = msgspec.json.Decoder()
_SPLIT: Final = {b"[": elements, b"{": objects}
"""What a file begins with whose records are no lines -> how it is split."""
_CUT: Final = re.compile(r"truncated|invalid number \(byte (?P<byte>[0-9]+)\)")
"""What msgspec says of JSON that ends too early."""


@dataclass(frozen=True, slots=True)
class Line:
    """One record as it stands in its file, read or not."""

    start: int
    end: int
    """Where the next line begins: offset of its first byte, or the next row of Parquet."""
    size: int
    """Bytes, without the newline; of a row of Parquet: its share of its batch in memory."""
    raw: bytes
    """Its text; the end of it where the line is oversized; empty of a row of Parquet."""
    record: Mapping[str, object] | None = None
    """What it says; None where it is blank or `problem` is set."""
    problem: RecordError | None = None


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
        self.pending = 0
        """Bytes at the end that may still become a record; set by `lines`."""
        self.complete = False
        """Whether `lines` reached an end that holds nothing back."""

    def head(self) -> str:
        """Return a hash of the first line or record, which stays the same as the file grows, is renamed and compressed.

        What cannot grow is known by its size, its beginning and its end instead: Parquet, whose footer is its end, and
        an archive of which nothing can be decoded.
        """
        first = b"" if self.is_parquet else self.stream.read(0, HEAD_BYTES)
        if opening := self._opening():  # the first line of every such file is the same
            return digest(next((span.raw for span in _SPLIT[opening](iter([first]), HEAD_BYTES)), b""))
        if first or not self.stored_bytes:
            return digest(first.split(b"\n", 1)[0])
        with self.path.open("rb") as file:
            begin = file.read(HEAD_BYTES)
            file.seek(max(0, self.stored_bytes - HEAD_BYTES))
            return digest(b"stored %d " % self.stored_bytes + begin + file.read())

    def lines(self, start: int, line_bytes: int, *, settled: bool) -> Iterator[Line]:
        """Yield every line from offset `start`; one of more than `line_bytes` is not held in memory.

        Unless the file has `settled`, too old to grow, what its end lacks may still come: it stays `pending`.
        """
        self.pending, self.complete = 0, False
        if self.is_parquet:
            yield from self._rows(start, settled=settled)
            return
        last: Span | None = None
        for span in self._spans(start, line_bytes):
            last = span
            if span.ended:
                yield _line(span)
        tail = last if last and not last.ended else None
        if self.stream.damage:
            yield from self._damaged(tail, last.end if last else start, settled=settled)
        elif tail is None or settled or self.stream.is_archive or _is_whole(tail):
            self.complete = True
            yield from [_line(tail)] if tail else []
        else:
            self.pending = tail.length

    def _spans(self, start: int, line_bytes: int) -> Iterator[Span]:
        if opening := self._opening():
            return (span for span in _SPLIT[opening](self.stream.blocks(), line_bytes) if span.start >= start)
        return lines(self.stream.blocks(start), start, line_bytes)

    def _opening(self) -> bytes:
        """Return the bracket that a file begins with whose records are no lines, else nothing: its name says JSON.

        "[" begins one JSON array. "{" alone on its line begins an object that is printed over several lines; other
        objects may follow it.
        """
        suffixes = [suffix for suffix in self.path.suffixes if suffix not in (".gz", ".zst")]
        if suffixes[-1:] != [".json"]:
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
                        yield Line(row, row + 1, size, b"", record=record)
                    self.stream.stored_read = self.stored_bytes * number // file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            if not settled:
                self.pending = max(1, self.stored_bytes)
                return
            problem = RecordError("corrupt_archive", f"It is not a readable Parquet file: {type(error).__name__}.")
            yield Line(max(start, number), max(start, number), 0, b"", problem=problem)
        self.complete = True


def find(pattern: str) -> list[Path]:
    """Return the files that the glob `pattern` matches, sorted; hidden ones only where the pattern names the dot."""
    # Not Path.glob: it matches hidden files, such as those that a copying tool is still writing.
    return sorted(path for path in map(Path, glob.glob(pattern, recursive=True)) if path.is_file())  # noqa: PTH207


def name_of(path: Path) -> str:
    """Return the path as text that any column and terminal holds; a byte that is no UTF-8 shows as \\xff."""
    # Not as U+FFFD: two names would look the same, and one file would pass for the other.
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def digest(content: bytes) -> str:
    """Return the tagged hash of some bytes of a file."""
    return "b2:" + hashlib.blake2b(content, digest_size=16).hexdigest()


def decode(raw: bytes) -> Mapping[str, object]:
    """Return the record that the line `raw` holds.

    Of a key that stands twice the last value counts, as in every JSON library of Python. Raises RecordError with the
    reason why there is none: not_utf8, torn, not_json, bad_value (text that no UTF-8 can hold, a number out of range)
    or not_an_object.
    """
    try:
        record = _DECODER.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _problem(raw, error) from None
    if not isinstance(record, dict):
        raise RecordError("not_an_object", f"It is a JSON {type(record).__name__}, expected an object.")
    return record


def _problem(raw: bytes, error: Exception) -> RecordError:
    """Say why `raw` is not a record; msgspec's messages name positions and never quote the text."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as undecodable:
        half = undecodable.reason == "unexpected end of data"
        return RecordError("torn" if half else "not_utf8", f"Byte {undecodable.start} begins no UTF-8 character.")
    if isinstance(error, RecursionError):
        return RecordError("bad_value", "Its objects and arrays are nested too deeply.")
    if isinstance(error, msgspec.ValidationError):
        return RecordError("bad_value", "A number in it is out of range.")
    cut = _CUT.search(str(error))
    if cut is None or (cut["byte"] and int(cut["byte"]) < len(raw.rstrip())):
        return RecordError("not_json", f"{error}.")
    try:  # msgspec also calls a text that ends in half of a surrogate pair truncated
        json.loads(text)
    except (ValueError, RecursionError):
        return RecordError("torn", "The line ends in the middle of a JSON value.")
    return RecordError("bad_value", "A text in it holds half of a surrogate pair, which is no character.")


def _line(span: Span) -> Line:
    """Return the span with its record, or with what is wrong with it."""
    if span.oversized:
        problem = RecordError("oversized", f"The line has {span.length} bytes. Raise limits.line_bytes to read it.")
        return Line(span.start, span.end, span.length, span.raw, problem=problem)
    raw = span.raw.removeprefix(BOM) if span.start == 0 else span.raw
    if not raw.strip():
        return Line(span.start, span.end, span.length, span.raw)
    try:
        return Line(span.start, span.end, span.length, span.raw, record=decode(raw))
    except RecordError as problem:
        return Line(span.start, span.end, span.length, span.raw, problem=problem)


def _is_whole(tail: Span) -> bool:
    """Return whether a last line without newline is complete: an object is, a number could go on."""
    return _line(tail).record is not None
