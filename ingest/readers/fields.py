"""Typed access to the fields of one record: a field that is absent or of another type is a RecordError.

A detail names the field and the type that came, never the value: the value may be a user's text.
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NoReturn

from ingest.errors import RecordError

INT32_MAX: Final = 2**31 - 1
UNIX_MAX: Final = 253_402_300_799
"""Last second of the year 9999."""


def kind_of(value: object) -> str:
    """Return what JSON calls the type of `value`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (str, "text"),
        ((int, float), "a number"),
        (Mapping, "an object"),
        (list, "a list"),
    )
    return next((name for types, name in names if isinstance(value, types)), type(value).__name__)


def json_text(value: object) -> str:
    """Return `value` as compact JSON in its own key order: chat templates print tools in the order they came."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Fields:
    """One JSON object of a record, and where in the record it stands. Null and absent are the same."""

    __slots__ = ("values", "where")

    def __init__(self, values: Mapping[str, object], where: str = "") -> None:
        self.values = values
        self.where = where

    def path(self, key: str) -> str:
        """Return the field's name from the record down: "request.messages[0].content"; "" is an item itself."""
        if not self.where:
            return key
        return f"{self.where}.{key}" if key else self.where

    def bad(self, key: str, expected: str) -> NoReturn:
        """Raise: the field's type is allowed, its value is not."""
        raise RecordError("bad_value", f"{self.path(key)}: expected {expected}")

    def has(self, key: str) -> bool:
        """Return whether the field is there and not null."""
        return self.values.get(key) is not None

    def _get(self, key: str, types: type | tuple[type, ...], expected: str) -> object:
        value = self.values.get(key)
        if value is None:
            raise RecordError("missing_field", f"{self.path(key)}: expected {expected}, and it is absent or null")
        if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
            raise RecordError("wrong_type", f"{self.path(key)}: expected {expected}, got {kind_of(value)}")
        return value

    def text(self, key: str) -> str:
        """Return a required text."""
        value = self._get(key, str, "text")
        assert isinstance(value, str)
        return value

    def maybe_text(self, key: str) -> str | None:
        """Return a text, or None."""
        return self.text(key) if self.has(key) else None

    def name(self, key: str) -> str | None:
        """Return a text that names something, or None; the empty text names nothing."""
        return self.maybe_text(key) or None

    def one_of(self, key: str, allowed: Collection[str]) -> str:
        """Return a required text that is one of `allowed`."""
        value = self.text(key)
        if value not in allowed:
            self.bad(key, "one of " + ", ".join(sorted(allowed)))
        return value

    def number(self, key: str) -> float:
        """Return a required, finite number."""
        value = self._get(key, (int, float), "a number")
        assert isinstance(value, int | float)
        try:
            number = float(value)
        except OverflowError:  # a whole number of more than 308 digits
            number = math.inf
        if not math.isfinite(number):
            self.bad(key, "a finite number")
        return number

    def maybe_number(self, key: str) -> float | None:
        """Return a finite number, or None."""
        return self.number(key) if self.has(key) else None

    def integer(self, key: str) -> int:
        """Return a required whole number that is 0 or more and fits in 32 bits."""
        value = self._get(key, (int, float), "a whole number")
        assert isinstance(value, int | float)
        if not 0 <= value <= INT32_MAX or value != int(value):
            self.bad(key, f"a whole number from 0 to {INT32_MAX}")
        return int(value)

    def http_status(self, key: str) -> int:
        """Return a required status of HTTP, 100 to 599: it becomes part of a reason, which any other number may not."""
        value = self.integer(key)
        if not 100 <= value <= 599:
            self.bad(key, "a status of HTTP, from 100 to 599")
        return value

    def maybe_integer(self, key: str) -> int | None:
        """Return a whole number from 0 on, or None."""
        return self.integer(key) if self.has(key) else None

    def maybe_flag(self, key: str) -> bool | None:
        """Return true, false or None."""
        return bool(self._get(key, bool, "true or false")) if self.has(key) else None

    def items(self, key: str) -> list[object]:
        """Return a required list."""
        value = self._get(key, list, "a list")
        assert isinstance(value, list)
        return value

    def child(self, key: str) -> "Fields":
        """Return a required object."""
        value = self._get(key, Mapping, "an object")
        assert isinstance(value, Mapping)
        return Fields(value, self.path(key))

    def maybe_child(self, key: str) -> "Fields | None":
        """Return an object, or None."""
        return self.child(key) if self.has(key) else None

    def children(self, key: str) -> Iterator["Fields"]:
        """Yield the objects of a required list."""
        for i, value in enumerate(self.items(key)):
            if not isinstance(value, Mapping):
                raise RecordError("wrong_type", f"{self.path(key)}[{i}]: expected an object, got {kind_of(value)}")
            yield Fields(value, f"{self.path(key)}[{i}]")

    def integers(self, key: str) -> list[int]:
        """Return a required list of whole numbers from 0 on."""
        return [Fields({"": v}, f"{self.path(key)}[{i}]").integer("") for i, v in enumerate(self.items(key))]

    def time(self, key: str) -> datetime:
        """Return a required ISO 8601 time, in UTC; one without a zone is refused, since no zone may be guessed."""
        text = self.text(key)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.bad(key, "an ISO 8601 time")
        if moment.tzinfo is None:
            self.bad(key, "a time with its zone, such as a final Z")
        return self.utc(key, moment)

    def utc(self, key: str, moment: datetime) -> datetime:
        """Return the same time in UTC; the first and last hours of the calendar may have none."""
        try:
            return moment.astimezone(UTC)
        except OverflowError:
            self.bad(key, "a time between the years 1 and 9999 in UTC")

    def maybe_unix(self, key: str) -> datetime | None:
        """Return the time of Unix seconds, or None; 0 is what gateways write for unknown.

        Some servers write milliseconds: a number too large to be seconds of any year to 9999 is taken for them.
        """
        seconds = self.maybe_number(key)
        if not seconds:
            return None
        seconds = seconds / 1000 if seconds > UNIX_MAX else seconds
        if not 0 < seconds <= UNIX_MAX:
            self.bad(key, "seconds since 1970")
        return datetime.fromtimestamp(seconds, UTC)

    def maybe_id(self, key: str) -> str | None:
        """Return an id that is text or a whole number, as text, or None."""
        value = self.values.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self.name(key)
