"""Spans of OpenTelemetry: their attributes, flat or not, as one tree, and what every convention states of a call."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from ingest.readers import times
from ingest.readers.exchange import Exchange
from ingest.readers.fields import Fields

SELF: Final = ""
"""Key of a value that stands where other attributes continue the path."""


@dataclass(frozen=True)
class Span:
    """One span, whatever wrote it."""

    span_id: str
    trace_id: str | None
    attributes: Fields
    """As a tree; see `tree`."""
    parent_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    failed: bool = False
    links: list[str] = field(default_factory=list)
    """Span ids that the span points to."""

    def stated(self, **fields: str | int | None) -> Exchange:
        """Return what is stated around a call; `fields` are those of Exchange that a convention names its own way."""
        return Exchange(
            source_id=self.span_id,
            parent_id=self.parent_id,
            latency_ms=times.latency_ms(self.start, self.end),
            event_time=self.start,
            **fields,  # type: ignore[arg-type]
        )


class _Branch(dict[str, object]):
    """An object that stands for a dotted key, not for a value that came as an object."""


def tree(attributes: Mapping[str, object], *, deep: bool = False) -> dict[str, object]:
    """Return attributes with dotted keys as nested objects; keys that are all numbers become a list, in their order.

    Values that are objects stay as they are, since a tool's arguments may have any keys; with `deep` they are taken
    for attributes too, as dataframes hold them.
    """
    return {key: _listed(value) for key, value in _branch(attributes, deep=deep).items()}


def _branch(attributes: Mapping[str, object], *, deep: bool) -> _Branch:
    root = _Branch()
    for key, value in attributes.items():
        node = root
        *above, last = key.split(".")
        for name in above:
            below = node.get(name)
            if not isinstance(below, _Branch):
                below = _Branch() if below is None else _Branch({SELF: below})
                node[name] = below
            node = below
        inner, known = _deep(value) if deep else value, node.get(last)
        if isinstance(known, _Branch):
            known.update(inner if isinstance(inner, _Branch) else {SELF: inner})
        else:
            node[last] = inner
    return root


def _deep(value: object) -> object:
    if isinstance(value, Mapping):
        return _branch(value, deep=True)
    return [_deep(item) for item in value] if isinstance(value, list) else value


def _listed(value: object) -> object:
    """Return a list for a branch whose keys are indices: by number, so that 10 follows 9."""
    if isinstance(value, list):
        return [_listed(item) for item in value]
    if not isinstance(value, _Branch):
        return value
    found = {key: _listed(item) for key, item in value.items()}
    if found and all(key.isdecimal() for key in found):
        return [found[key] for key in sorted(found, key=int)]
    return found


def at(fields: Fields, path: str) -> object:
    """Return the value at a dotted path, None where there is none; a value that the path continues counts as there."""
    value: object = fields.values
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value.get(SELF, value) if isinstance(value, Mapping) else value


def text_at(fields: Fields, path: str) -> str | None:
    """Return a text or a number at a dotted path as text, or None."""
    value = at(fields, path)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def count_at(fields: Fields, path: str) -> int | None:
    """Return a whole number from 0 on at a dotted path, or None; int64 may come as its digits."""
    value = at(fields, path)
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    return Fields({path: value}, fields.where).maybe_integer(path)
