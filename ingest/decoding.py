"""Spans of a file -> lines with the record that each holds, or with what is wrong with it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

import msgspec

from ingest import tables
from ingest.errors import RecordError
from ingest.readers import cells
from ingest.splitting import BOM, Span

_DECODER: Final = msgspec.json.Decoder()
_CUT: Final = re.compile(r"truncated|invalid number \(byte (?P<byte>[0-9]+)\)")
"""What msgspec says of JSON that ends too early."""

SURROGATE: Final = "utf-16 surrogate pair"
"""What msgspec names where one half of a pair lacks the other."""


class Line(msgspec.Struct, frozen=True, gc=False):
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
    tabular: bool = False
    """Whether it is a row whose columns are named elsewhere: its text alone would not say what it holds."""

    @property
    def is_blank(self) -> bool:
        """Return whether it holds no record, and nothing is wrong with that."""
        return self.record is None and self.problem is None


def decode(raw: bytes) -> Mapping[str, object]:
    """Return the record that the line `raw` holds.

    Of a key that stands twice the last value counts, as in every JSON library of Python. Raises RecordError with the
    reason why there is none: not_utf8, torn, not_json, bad_value (text that no UTF-8 can hold, nesting too deep) or
    not_an_object. A number out of range is infinite: it matters to who reads it.
    """
    try:
        record = _decoded(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _problem(raw, error) from None
    if not isinstance(record, dict):
        raise RecordError("not_an_object", f"It is a JSON {type(record).__name__}, expected an object.")
    return record


def _decoded(raw: bytes) -> object:
    try:
        return _DECODER.decode(raw)
    except msgspec.ValidationError:
        pass
    try:  # a number that no float holds
        return json.loads(raw, parse_constant=_refuse)
    except ValueError:
        raise RecordError("bad_value", "A number in it is out of range.") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _problem(raw: bytes, error: Exception) -> RecordError:
    """Say why `raw` is not a record; msgspec's messages name positions and never quote the text."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as undecodable:
        half = undecodable.reason == "unexpected end of data"
        return RecordError("torn" if half else "not_utf8", f"Byte {undecodable.start} begins no UTF-8 character.")
    if isinstance(error, RecursionError):
        return RecordError("bad_value", "Its objects and arrays are nested too deeply.")
    malformed = RecordError("not_json", f"{error}.")
    cut, half = _CUT.search(str(error)), SURROGATE in str(error)
    if not half and (cut is None or (cut["byte"] and int(cut["byte"]) < len(raw.rstrip()))):
        return malformed
    try:  # msgspec also calls a text truncated that ends, less than six bytes before the line does, in half of a pair
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return malformed if half else RecordError("torn", "The line ends in the middle of a JSON value.")
    return RecordError("bad_value", "A text in it holds half of a surrogate pair, which is no character.")


def line_of(span: Span) -> Line:
    """Return the span with its record, or with what is wrong with it."""
    if span.oversized:
        return _refused(span, _oversized(span))
    raw = span.raw.removeprefix(BOM) if span.start == 0 else span.raw
    if not raw.strip():
        return Line(span.start, span.end, span.length, span.raw)
    try:
        return Line(span.start, span.end, span.length, span.raw, record=decode(raw))
    except RecordError as problem:
        return _refused(span, problem)


def row_of(span: Span, delimiter: str, names: Sequence[str], kinds: Mapping[str, cells.Kind]) -> Line:
    """Return the row of a table of text with its record, or with what is wrong with it."""
    if span.oversized:
        return _refused(span, _oversized(span))
    if not span.raw.strip():
        return Line(span.start, span.end, span.length, span.raw)
    try:
        found = tables.record(span.raw, delimiter, names)
    except RecordError as problem:
        return _refused(span, problem)
    return Line(span.start, span.end, span.length, span.raw, record=cells.typed(found, kinds), tabular=True)


def row_without_header(span: Span, header: Span, problem: RecordError) -> Line:
    """Return the row of a table that no header names the columns of."""
    if span.start != header.start:
        problem = RecordError("not_csv", "The header of its table cannot be read.")
    return _refused(span, problem)


def _refused(span: Span, problem: RecordError) -> Line:
    return Line(span.start, span.end, span.length, span.raw, problem=problem)


def _oversized(span: Span) -> RecordError:
    return RecordError("oversized", f"The line has {span.length} bytes. Raise limits.line_bytes to read it.")


def is_whole(tail: Span) -> bool:
    """Return whether a last line without newline is complete: an object is, a number could go on."""
    return line_of(tail).record is not None
