"""Lines -> what their readers say of them, counted: nothing is lost between a file and its rows.

Reads and writes nothing. Every line is in the counts of its piece of a file: lines = read + quarantined + skipped, and
records = interactions + feedback + quarantined + skipped.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from ingest import withheld
from ingest.decoding import Line, line_of
from ingest.entries import Block, Entry, Origin, raw_record, raw_text
from ingest.errors import ContractError, RecordError
from ingest.positions import Position
from ingest.readers import registry
from ingest.readers.reading import Reader, Reading
from ingest.readers.shapes import SHAPES
from ingest.rows import UNFIT
from ingest.splitting import Run

REASON: Final = re.compile(r"[a-z0-9_]+")
"""Every reason to skip a record."""
TRIES: Final = 64
"""So many lines in a row that are not of a shape end the search for it, until its reader is found again."""


@dataclass(slots=True)
class Tally:
    """What became of one piece of one file."""

    origin: Origin
    position: Position
    read_from: int
    read_to: int = 0
    lines: int = 0
    records: int = 0
    """What the lines unfold to, counted while reading: the other numbers must add up to it."""
    interactions: int = 0
    feedback: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    skipped_days: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(reason, ISO date) -> of `skipped`, those whose record states when it was."""
    quarantined: Counter[str] = field(default_factory=Counter)
    redactions: Counter[str] = field(default_factory=Counter)
    """Kind -> places in the rows; "token_ids" and "token_logprobs" -> entries nulled with their text."""
    stored: tuple[int, int] | None = None
    """Size and mtime of the file where it was read to its end."""

    def blank(self) -> None:
        """Count a line that holds nothing."""
        self.lines += 1
        self.records += 1
        self.skipped["blank_line"] += 1

    def check(self) -> None:
        """Raise ContractError unless every record is accounted for."""
        counted = self.interactions + self.feedback + self.quarantined.total() + self.skipped.total()
        if self.records != counted:
            raise ContractError(
                f"{self.origin.path}: {self.records} records were read, but {counted} are accounted for. "
                "This is a bug in ingest: please report it with the file's format."
            )


class Ways:
    """How the lines of one source are read: by the reader that it names, else by the one that knows the record.

    Lines that have the shape of those before are read without either, many at once, with the same result.
    """

    def __init__(self, format_name: str) -> None:
        self.reader = None if format_name == "auto" else registry.get(format_name)
        self._shape = SHAPES.get(format_name)
        self._name = _name(self.reader) or ""
        self._misses = 0

    @property
    def know_a_shape(self) -> bool:
        """Return whether many lines can be read at once."""
        return self._shape is not None

    def read(self, origin: Origin, run: Run) -> Block | None:
        """Return what those lines say that have the shape of lines before; None where there are none."""
        if self._shape is None:
            return None
        lines, served = self._shape(run)
        self._misses = len(run) - 1 - lines[-1] if lines else self._misses + len(run)
        if self._misses >= TRIES:
            self._shape = None
        return Block(origin, self._name, run, lines, served, partial(self._again, origin, run)) if lines else None

    def _again(self, origin: Origin, run: Run, line: int) -> Entry:
        return read_line(origin, line_of(run.span(line)), self)

    def note(self, reader: Reader) -> None:
        """Remember the reader that knew a record without a known shape: the next lines may have its shape."""
        if self._shape is None and reader.name in SHAPES:
            self._shape, self._name, self._misses = SHAPES[reader.name], _name(reader) or "", 0


def units(pieces: Iterable[Line | Run], ways: Ways, room: Callable[[], int]) -> Iterator[Line | Run]:
    """Yield lines one by one until `ways` know a shape, from then on runs of at most `room()` bytes, or one line."""
    for piece in pieces:
        if isinstance(piece, Line):
            yield piece
            continue
        line = 0
        while line < len(piece):
            if ways.know_a_shape:
                part = piece.part(line, room())
                yield part
                line += len(part)
            else:
                yield line_of(piece.span(line))
                line += 1


def read_run(origin: Origin, run: Run, ways: Ways) -> tuple[Block | None, list[Line]]:
    """Return what the lines of a known shape say, and all other lines."""
    block = ways.read(origin, run)
    shaped = set(block.lines) if block else ()
    others = (line for line in range(len(run)) if line not in shaped) if len(shaped) < len(run) else ()
    return block, [line_of(run.span(line)) for line in others]


def read_line(origin: Origin, line: Line, ways: Ways) -> Entry:
    """Return what one line that is not blank says, or what is wrong with it."""
    raw = partial(raw_record, line.record) if line.tabular else partial(raw_text, line.raw)
    reader, outcome = _read(line, ways.reader)
    if reader is not None:
        ways.note(reader)
    return Entry(origin, line.start, line.size, raw, _name(reader), outcome)


def _name(reader: Reader | None) -> str | None:
    return f"{reader.name}@{reader.version}" if reader else None


def count_block(piece: Tally, block: Block) -> None:
    """Count lines and the responses that they hold."""
    piece.lines += len(block.lines)
    piece.records += len(block.served)


def count(piece: Tally, entry: Entry) -> bool:
    """Count one line and the records that it holds; return whether it holds more than a reason to skip it."""
    piece.lines += 1
    outcome = entry.outcome
    if not isinstance(outcome, Reading):
        piece.records += 1
        return True
    if outcome.skipped is not None or outcome.skipped_parts:
        _check_reasons(entry.reader, outcome)
        piece.skipped_days.update(outcome.skipped_days)
    if outcome.skipped is not None:
        piece.records += 1
        piece.skipped[outcome.skipped] += 1
        return False
    piece.records += len(outcome.interactions) + len(outcome.feedback)
    if outcome.skipped_parts:
        piece.records += sum(outcome.skipped_parts.values())
        piece.skipped.update(outcome.skipped_parts)
    return True


def _read(line: Line, reader: Reader | None) -> tuple[Reader | None, Reading | RecordError]:
    """Return the reader that was asked, a detected one where none is given, and what it said."""
    if line.record is None:
        return None, line.problem or RecordError("not_json", "The line is empty.")
    known = f'The reader "{reader.name}" does not know' if reader else "No reader knows"
    try:
        reader, known_to = (reader, reader.sniff(line.record)) if reader else (registry.detect(line.record), True)
        if reader is None or not known_to:
            return reader, RecordError("unknown_format", f"{known} the form of this record.")
        return reader, withheld.sift(reader.read(line.record))
    except RecordError as problem:
        return reader, problem
    except UNFIT as error:  # its message may quote the value
        return reader, RecordError("bad_value", f"A value does not fit: {type(error).__name__}.")


def _check_reasons(reader: str | None, outcome: Reading) -> None:
    """Raise ContractError for a reason that is no code: what a log holds must not end up in the accounts."""
    reasons = [*outcome.skipped_parts, *([outcome.skipped] if outcome.skipped is not None else [])]
    if not all(REASON.fullmatch(reason) for reason in reasons):
        raise ContractError(
            f"The reader {reader} skips a record with a reason that is not of a-z, 0-9 and _. "
            "This is a bug in the reader: please report it with the file's format."
        )
