"""Blocks of bytes -> records: the lines of a log, the elements of one JSON array, or objects of several lines each.

Pure functions over an iterator of blocks. Where the blocks are cut makes no difference, and no more than one record and
one block is held: of a record longer than the limit only its end is kept.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

import msgspec

BOM: Final = b"\xef\xbb\xbf"
"""What some programs write at the beginning of UTF-8; it is no part of the first record."""
KEPT_BYTES: Final = 4096
"""Of an oversized record, this much of its end is kept, to recognise the file by."""


class Span(msgspec.Struct, frozen=True, gc=False):
    """One record as it stands in the file."""

    start: int
    """Offset of its first byte in the decompressed file."""
    length: int
    """Its bytes, without the newline."""
    raw: bytes
    """These bytes; the last `KEPT_BYTES` of them where `oversized`."""
    ended: bool
    """Whether a newline (of an element: its closing bracket) follows; false only of the last one."""
    separator: int = 0
    """Bytes of the newline, 0 where there is none."""

    @property
    def oversized(self) -> bool:
        """Return whether the record is longer than the limit."""
        return len(self.raw) != self.length

    @property
    def end(self) -> int:
        """Return the offset behind the record and its newline."""
        return self.start + self.length + self.separator


class Run(msgspec.Struct, frozen=True, gc=False):
    """Whole lines that stand one behind the other, none of them oversized or behind a hole."""

    start: int
    """Offset of `raw` in the decompressed file."""
    raw: bytes
    """Holds the lines with their newlines."""
    bounds: list[int]
    """Where in `raw` each line begins, and where the last one's newline ends."""

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def size(self) -> int:
        """Return the bytes of its lines, without their newlines."""
        return self.bounds[-1] - self.bounds[0] - len(self)

    @property
    def end(self) -> int:
        """Return the offset behind its last newline."""
        return self.start + self.bounds[-1]

    def length(self, line: int) -> int:
        """Return the bytes of a line, without its newline."""
        return self.bounds[line + 1] - self.bounds[line] - 1

    def offset(self, line: int) -> int:
        """Return the offset of a line."""
        return self.start + self.bounds[line]

    def text(self, line: int) -> bytes:
        """Return a line without its newline."""
        return self.raw[self.bounds[line] : self.bounds[line + 1] - 1]

    def span(self, line: int) -> Span:
        """Return a line."""
        return Span(self.offset(line), self.length(line), self.text(line), ended=True, separator=1)

    def part(self, first: int, size: int) -> "Run":
        """Return the lines from `first` on, as many as it takes to reach `size` bytes; at least one."""
        last = bisect_left(self.bounds, self.bounds[first] + size, first + 1, len(self.bounds) - 1)
        return Run(self.start, self.raw, self.bounds[first : last + 1])

    def before(self, end: int) -> "Run":
        """Return the lines that begin before the offset `end`; at least one does."""
        last = bisect_left(self.bounds, end - self.start, 1, len(self.bounds) - 1)
        return Run(self.start, self.raw, self.bounds[: last + 1])


class Held:
    """The record that is being collected, cut to its end once it is longer than `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.length = 0
        self._parts: list[bytes] = []

    def add(self, part: bytes, length: int | None = None) -> None:
        """Add `part`, or the end of one that has `length` bytes."""
        self.length += len(part) if length is None else length
        if part:
            self._parts.append(part)
        if self.length > self.limit:
            tail = b""
            while self._parts and len(tail) < KEPT_BYTES:  # joining all of them would hold the record twice
                tail = self._parts.pop()[-KEPT_BYTES:] + tail
            self._parts = [tail[-KEPT_BYTES:]]

    def add_behind_hole(self, part: bytes) -> int:
        """Add `part` without the NULs that a record would begin with, and return how many these are."""
        record = part if self.length else part.lstrip(b"\0")
        self.add(record)
        return len(part) - len(record)

    def take(self) -> tuple[bytes, int]:
        """Return what is held and its full length, and begin anew."""
        raw, length = b"".join(self._parts), self.length
        if length > self.limit:
            raw = raw[-min(KEPT_BYTES, length - 1) :]  # never the whole: `Span.oversized` compares the lengths
        self._parts, self.length = [], 0
        return raw, length


def lines(blocks: Iterator[bytes], offset: int, limit: int) -> Iterator[Span]:
    """Yield the lines of `blocks`, whose first byte stands at `offset`; the last may lack its newline.

    NULs before a line are no part of it: they fill the hole that is left when a file is cut to nothing and its writer
    goes on at its old offset. Such a hole may be as long as the file was.
    """
    for each in runs(blocks, offset, limit):
        if isinstance(each, Run):
            yield from map(each.span, range(len(each)))
        else:
            yield each


def runs(blocks: Iterator[bytes], offset: int, limit: int) -> Iterator[Run | Span]:
    """Yield the same lines as `lines`, as many at once as a block has."""
    held = Held(limit)
    for block in blocks:
        # The line that the blocks before have begun, and where a hole or an oversized line may be, all of them.
        alone = block.find(b"\n") + 1 if len(block) <= limit and b"\0" not in block else len(block)
        *whole, rest = block[:alone].split(b"\n")
        for part in whole:
            raw, length = part, len(part)
            if held.length or length > limit or part.startswith(b"\0"):
                offset += held.add_behind_hole(part)
                raw, length = held.take()
            span = Span(offset, length, raw, ended=True, separator=1)
            yield span if span.oversized else Run(offset, raw + b"\n", [0, length + 1])
            offset += length + 1
        bounds = _bounds(block, alone) if alone else [0]
        if len(bounds) > 1:
            run = Run(offset - alone, block, bounds)
            yield run
            offset = run.end
        offset += held.add_behind_hole(rest + block[bounds[-1] :])
    if held.length:
        raw, length = held.take()
        yield Span(offset, length, raw, ended=False)


def _bounds(block: bytes, start: int) -> list[int]:
    """Return `start`, and where each newline from there on ends."""
    bounds = [start]
    while end := block.find(b"\n", start) + 1:
        bounds.append(end)
        start = end
    return bounds


_OUTSIDE: Final = re.compile(rb'["\[\]{},]')
_INSIDE: Final = re.compile(rb'\\(?:.|\Z)|"', re.DOTALL)


class _Elements:
    """Finds where the elements of an array, or objects, begin and end, by brackets and strings alone."""

    def __init__(self) -> None:
        self.depth = 0
        """Open brackets: 1 between the array's own, 0 before and after it."""
        self.in_string = False
        self.escaped = False
        """Whether the last block ended in a backslash within a string."""

    def marks(self, block: bytes) -> Iterator[tuple[bytes, int]]:
        """Yield every bracket and comma outside of strings, and the position behind it; `depth` counts it already."""
        position = 1 if self.escaped else 0
        self.escaped = False
        while position < len(block):
            found = (_INSIDE if self.in_string else _OUTSIDE).search(block, position)
            if found is None:
                return
            token, position = found.group(), found.end()
            if token == b'"':
                self.in_string = not self.in_string
            elif token[:1] == b"\\":
                self.escaped = len(token) == 1
            else:
                self.depth += (token in b"[{") - (token in b"]}")
                yield token, position

    def cuts(self, block: bytes) -> Iterator[tuple[int, int]]:
        """Yield (position of an element's end, position where the next one may begin) within `block`."""
        for token, position in self.marks(block):
            if token in b"[{" and self.depth == 1:
                yield -1, position
            elif (token in b"]}" and self.depth == 0) or (token == b"," and self.depth == 1):
                yield position - 1, position


def objects(blocks: Iterator[bytes], limit: int) -> Iterator[Span]:
    """Yield the objects that stand one after the other in `blocks`, from offset 0; the last may be torn.

    What stands before an object and is no white space becomes part of it, so that nothing is lost.
    """
    finder, held, offset, start = _Elements(), Held(limit), 0, 0
    for block in blocks:
        begin = 0
        for token, position in finder.marks(block):
            if token in b"]}" and finder.depth <= 0:
                finder.depth = 0
                held.add(block[begin:position])
                if span := _trimmed(held, start, ended=True):
                    yield span
                begin, start = position, offset + position
        held.add(block[begin:])
        offset += len(block)
    if span := _trimmed(held, start, ended=False):
        yield span


def elements(blocks: Iterator[bytes], limit: int) -> Iterator[Span]:
    """Yield the elements of the JSON array that `blocks` hold from offset 0; the last may be torn.

    Bytes behind the array's closing bracket are one more element, so that nothing is lost.
    """
    finder, held, offset = _Elements(), Held(limit), 0
    start, closed, opened = 0, False, False
    for block in blocks:
        begin = 0
        for end, following in finder.cuts(block) if not closed else ():
            if end >= 0:
                held.add(block[begin:end])
                if span := _trimmed(held, start, ended=True):
                    yield span
            else:
                held.take()
            begin, start = following, offset + following
            opened, closed = True, opened and finder.depth == 0
            if closed:
                break
        held.add(block[begin:])
        offset += len(block)
    if span := _trimmed(held, start, ended=False):
        yield span


def _trimmed(held: Held, start: int, *, ended: bool) -> Span | None:
    """Return what is held without the white space around it, None where nothing else is held."""
    raw, length = held.take()
    if len(raw) != length:
        return Span(start, length, raw, ended)
    text = raw.lstrip()
    start += length - len(text)
    text = text.rstrip()
    return Span(start, len(text), text, ended) if text else None
