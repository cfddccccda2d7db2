"""Times as tracing tools write them: ISO 8601 with or without a zone, Unix seconds to nanoseconds, table values."""

from datetime import UTC, datetime, timedelta
from typing import Final

from ingest.readers.fields import Fields

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def stated(fields: Fields, key: str, *, zone_is_utc: bool = False) -> datetime | None:
    """Return a time, or None: ISO 8601 text, a table's timestamp, or Unix seconds (milliseconds where too large).

    `zone_is_utc`: the tool is documented to write UTC without saying so; otherwise a time without a zone is refused.
    """
    value = fields.values.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return fields.maybe_unix(key)
    if isinstance(value, datetime):
        moment = value
    elif value is None or value == "":
        return None
    else:
        try:
            moment = datetime.fromisoformat(fields.text(key))
        except ValueError:
            fields.bad(key, "an ISO 8601 time")
    if moment.tzinfo is None and zone_is_utc:
        moment = moment.replace(tzinfo=UTC)
    if moment.tzinfo is None:
        fields.bad(key, "a time with its zone, such as a final Z")
    return fields.utc(key, moment)


def nanoseconds(fields: Fields, key: str) -> datetime | None:
    """Return the time of Unix nanoseconds, a number or (int64 in JSON) its digits; 0 is unknown."""
    value = fields.values.get(key)
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if value is None or value == 0:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**63:
        fields.bad(key, "nanoseconds since 1970")
    return EPOCH + timedelta(microseconds=value // 1000)


def revision(moment: datetime | None) -> int:
    """Return a revision that grows with the time of the last change: microseconds since 1970, 0 where unknown."""
    return 0 if moment is None else max(0, (moment - EPOCH) // timedelta(microseconds=1))


def latency_ms(start: datetime | None, end: datetime | None) -> float | None:
    """Return what lies between, or None where one is unknown or the clocks disagree."""
    if start is None or end is None or end < start:
        return None
    return (end - start) / timedelta(milliseconds=1)
