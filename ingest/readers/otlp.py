"""OTLP in JSON, as collectors' file exporters write it: resource, scope and record, attributes as typed values."""

from collections.abc import Iterator, Mapping
from typing import Final

from ingest.readers import times
from ingest.readers.fields import Fields
from ingest.readers.spans import Span, tree

SIGNALS: Final = {
    "resourceSpans": ("scopeSpans", "spans"),
    "resourceLogs": ("scopeLogs", "logRecords"),
}
"""Top key -> the keys down to the records."""
NO_SPAN: Final = "0000000000000000"
STATUS_ERROR: Final = (2, "STATUS_CODE_ERROR")


def records(line: Fields, signal: str) -> Iterator[Fields]:
    """Yield the spans or log records of one line."""
    scopes, items = SIGNALS[signal]
    for resource in line.children(signal):
        for scope in resource.children(scopes) if resource.has(scopes) else ():
            yield from scope.children(items) if scope.has(items) else ()


def value(typed: object) -> object:
    """Return what an AnyValue holds; int64 comes as its digits."""
    if not isinstance(typed, Mapping):
        return typed
    for kind, held in typed.items():
        if kind == "intValue":
            return int(held) if isinstance(held, str) and held.lstrip("-").isdecimal() else held
        if kind == "arrayValue":
            return [value(item) for item in _values(held)]
        if kind == "kvlistValue":
            return {str(item["key"]): value(item.get("value")) for item in _values(held) if "key" in item}
        return held
    return None


def _values(held: object) -> list[Mapping[str, object]]:
    items = held.get("values") if isinstance(held, Mapping) else None
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []


def attributes(record: Fields) -> dict[str, object]:
    """Return a record's attributes by their names, as plain values."""
    pairs = record.children("attributes") if record.has("attributes") else ()
    return {pair.text("key"): value(pair.values.get("value")) for pair in pairs}


def span(record: Fields) -> Span:
    """Return one span."""
    status = record.maybe_child("status")
    links = record.children("links") if record.has("links") else ()
    return Span(
        span_id=record.text("spanId"),
        trace_id=record.name("traceId"),
        parent_id=record.name("parentSpanId"),
        attributes=Fields(tree(attributes(record)), record.path("attributes")),
        start=times.nanoseconds(record, "startTimeUnixNano"),
        end=times.nanoseconds(record, "endTimeUnixNano"),
        failed=status is not None and status.values.get("code") in STATUS_ERROR,
        links=[link.text("spanId") for link in links],
    )


def span_of(record: Fields) -> str | None:
    """Return the id of the span that a log record was written in, None where it is zero."""
    span_id = record.name("spanId")
    return None if span_id == NO_SPAN else span_id
