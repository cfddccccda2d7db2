"""Lines that were read, and what was found in them, before rows are made of it: one by one, or many of a shape at once.

The texts in these objects are still raw and must not be written anywhere.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from ingest.errors import RecordError
from ingest.readers.reading import Reading
from ingest.served import Served
from ingest.settings import Source
from ingest.splitting import Run


@dataclass(frozen=True, slots=True)
class Origin:
    """One piece of one file, read in one go."""

    piece: int
    source: Source
    file_id: str
    path: str
    head: str
    """What identifies the file's beginning, under any name."""
    keyed: bool = False
    """Whether feedback names its targets by interaction_id: so do labels, which come from the lake's own rows."""


class Entry(msgspec.Struct, gc=False):
    """One line that a reader has read, or could not."""

    origin: Origin
    offset: int
    size: int
    raw: Callable[[], str]
    """Its text, for quarantine."""
    reader: str | None
    """"name@version", None where no reader was asked."""
    outcome: Reading | RecordError


class Block(msgspec.Struct, gc=False):
    """Lines of one run that have a known shape and were read at once; each says what its reader would say."""

    origin: Origin
    reader: str
    """"name@version"."""
    run: Run
    lines: list[int]
    """Which of the run's lines."""
    served: Served
    """What they say."""
    again: Callable[[int], Entry]
    """Gives a line of the run as its reader reads it."""

    @property
    def size(self) -> int:
        """Return the bytes of its lines, without their newlines."""
        return self.run.size if len(self.lines) == len(self.run) else sum(map(self.run.length, self.lines))

    def entries(self) -> Iterator[Entry]:
        """Yield its lines one by one, as their reader reads them."""
        return map(self.again, self.lines)


def raw_text(raw: bytes) -> str:
    """Return a line as text; bytes that are no UTF-8 show as U+FFFD."""
    return raw.decode("utf-8", errors="replace")


def raw_record(record: object) -> str:
    """Return a row of a table as JSON text."""
    return json.dumps(record, ensure_ascii=False, default=str)
