"""Tables of text (CSV, TSV) -> their rows, each with the offset of its first byte, and its cells by column.

RFC 4180: a cell with a delimiter, a quote or a newline in it stands in double quotes, a quote in it is doubled. The
first row names the columns. No more than one row and one block is held. Quotes that match nothing end their row with
their line, so that one bad row takes no more than itself and what its open quote swallowed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec import structs

from ingest.errors import RecordError
from ingest.splitting import BOM, Held, Span, lines

DELIMITERS: Final = {".csv": ",", ".tsv": "\t"}
"""Suffix of a file's name -> what stands between its cells."""

_INNER: Final = '[^"]*+(?:""[^"]*+)*+'
_CELL: Final = f'(?:"{_INNER}"|[^"DELIMITER]*+)'
_LINE: Final = rf'(?:{_CELL}DELIMITER)*+(?:{_CELL}\r?\Z|"{_INNER}(?P<open>\Z))'


@dataclass(frozen=True)
class _Grammar:
    """What a row looks like, for one delimiter."""

    line: re.Pattern[bytes]
    """A line that begins a row; a group of it is set where it ends within quotes."""
    rest: re.Pattern[bytes]
    """A line that goes on within quotes; a group as above."""
    row: re.Pattern[str]
    """A whole row."""
    torn: re.Pattern[str]
    """A row that ends within quotes."""
    cell: re.Pattern[str]
    """One cell, quotes included, and the delimiter behind it."""

    @staticmethod
    def of(delimiter: str) -> "_Grammar":
        line, cell = (part.replace("DELIMITER", delimiter) for part in (_LINE, _CELL))
        rest = rf'{_INNER}(?:(?P<within>\Z)|"(?:\r?\Z|{delimiter}{line}))'
        return _Grammar(
            re.compile(line.encode()),
            re.compile(rest.encode()),
            re.compile(rf"(?:{cell}{delimiter})*+{cell}\Z"),
            re.compile(rf'(?:{cell}{delimiter})*+"{_INNER}\Z'),
            re.compile(rf"({cell}){delimiter}"),
        )


_GRAMMARS: Final = {delimiter: _Grammar.of(delimiter) for delimiter in DELIMITERS.values()}


def rows(blocks: Iterator[bytes], offset: int, limit: int, delimiter: str) -> Iterator[Span]:
    """Yield the rows of `blocks`, whose first byte stands at `offset`, as spans; the last may lack its newline.

    The newlines within quotes are part of a row; the one behind it is not. A row longer than `limit` is not held.
    """
    grammar = _GRAMMARS[delimiter]
    held, start, last = Held(limit), 0, None
    for line in lines(blocks, offset, limit):
        if last is not None and line.start != last.end:  # behind a hole that copytruncate left nothing goes on
            yield _row(held, start, last)
            last = None
        if last is None:
            start = line.start
        else:
            held.add(b"\n")
        found = None if line.oversized else (grammar.line if last is None else grammar.rest).match(line.raw)
        held.add(line.raw, line.length)
        last = line
        if found is None or found.lastgroup is None:
            yield _row(held, start, line)
            last = None
    if last is not None:
        yield structs.replace(_row(held, start, last), ended=False)


def _row(held: Held, start: int, last: Span) -> Span:
    """Return what is held as the row that ends with the line `last`."""
    raw, length = held.take()
    return Span(start, length, raw, last.ended, last.separator)


def cells(raw: bytes, delimiter: str) -> list[str | None]:
    """Return the cells of a row; one with nothing in it, not even quotes, is None.

    Raises RecordError: not_utf8, torn (it ends within quotes) or not_csv.
    """
    grammar = _GRAMMARS[delimiter]
    try:
        text = raw.decode("utf-8").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise RecordError("not_utf8", f"Byte {error.start} begins no UTF-8 character.") from None
    if not grammar.row.match(text):
        torn = grammar.torn.match(text)
        raise (
            RecordError("torn", "It ends within quotes.")
            if torn
            else RecordError("not_csv", "Its quotes do not match.")
        )
    return [_value(cell) for cell in grammar.cell.findall(text + delimiter)]


def _value(cell: str) -> str | None:
    return cell[1:-1].replace('""', '"') if cell.startswith('"') else cell or None


def record(raw: bytes, delimiter: str, columns: Sequence[str]) -> dict[str, str]:
    """Return column -> text of each cell that says something. Raises RecordError as `cells` does."""
    found = cells(raw, delimiter)
    if len(found) != len(columns):
        raise RecordError("not_csv", f"It has {len(found)} cells, the header {len(columns)}.")
    return {name: cell for name, cell in zip(columns, found, strict=True) if cell is not None}


def header(row: Span, delimiter: str) -> list[str]:
    """Return the names of the columns, "" where a frame's index has none. Raises RecordError as `cells` does."""
    if row.oversized:
        raise RecordError("oversized", f"The header has {row.length} bytes.")
    names = [name or "" for name in cells(row.raw.removeprefix(BOM), delimiter)]
    if len(set(names)) != len(names):
        raise RecordError("not_csv", "The header names two columns alike.")
    return names
