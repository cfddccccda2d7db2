"""Names of log files that carry a date, an hour or a number: which of them are missing.

Pure functions over paths. `2026-11-20/13/part-0007.jsonl.gz` carries all three. What is missing is what the other names
lead one to expect: every number between the least and the greatest, a day that its weekday usually has, an hour that
its hour of the day usually has.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import Final

from ingest.rhythm import LEAST

_DATE: Final = re.compile(
    r"(?<!\d)(?P<date>20\d\d(?P<mark>[-_/]?)(?:0[1-9]|1[0-2])(?P=mark)(?:0[1-9]|[12]\d|3[01]))"
    r"(?:[-_/T](?P<hour>[01]\d|2[0-3])(?=[^0-9A-Za-z]|$))?(?!\d)"
)
_NUMBER: Final = re.compile(
    r"(?P<before>.*?[^0-9])(?P<number>\d{1,9})(?P<after>(?:\.[A-Za-z][A-Za-z0-9]*)*)\Z", re.DOTALL
)


@dataclass(frozen=True, order=True)
class Hole:
    """Names that are missing one after the other."""

    pattern: str
    """What the names have in common, {} in place of what runs on."""
    first: str
    last: str
    count: int


def holes(paths: Iterable[str]) -> list[Hole]:
    """Return what is missing among the names, most telling first in each pattern: days, hours, numbers."""
    days: dict[str, set[date]] = {}
    hours: dict[str, set[tuple[date, int]]] = {}
    numbers: dict[tuple[str, str], dict[int, int]] = {}
    for path in paths:
        if found := _DATE.search(path):
            moment = _date(found["date"])
            if moment is not None:
                days.setdefault(path[: found.start()], set()).add(moment)
                if found["hour"] is not None:
                    hours.setdefault(path[: found.start()], set()).add((moment, int(found["hour"])))
        counted = _NUMBER.match(path)
        if counted and not (found and counted.end("number") <= found.end()):
            width = len(counted["number"])
            numbers.setdefault((counted["before"], counted["after"]), {})[int(counted["number"])] = width
    missing = [hole for prefix, known in days.items() for hole in _days(prefix, known)]
    missing += [hole for prefix, found_hours in hours.items() for hole in _hours(prefix, found_hours)]
    missing += [hole for (before, after), known in numbers.items() for hole in _numbers(before, after, known)]
    return sorted(missing)


def _date(text: str) -> date | None:
    digits = re.sub(r"\D", "", text)
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None


def _days(prefix: str, known: set[date]) -> Iterator[Hole]:
    first, last = min(known), max(known)
    span = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    if len(known) < LEAST or len(known) * 3 < len(span):  # weekly or monthly files, and single days
        return
    if len(span) < LEAST * 7:  # a weekend that is missing may be a usual one
        usual = set(range(5))
    else:
        usual = {weekday for weekday in range(7) if _mostly(day in known for day in span if day.weekday() == weekday)}
    lost = [day.toordinal() for day in span if day not in known and day.weekday() in usual]
    yield from (Hole(f"{prefix}{{}}", a, b, n) for a, b, n in _runs(lost, _day_name))


def _hours(prefix: str, known: set[tuple[date, int]]) -> Iterator[Hole]:
    """Yield the hours that are missing from days of which other hours are there."""
    lost: list[int] = []
    for weekend in (False, True):
        days = sorted({day for day, _ in known if (day.weekday() >= 5) is weekend})
        if len(days) < LEAST:
            continue
        usual = [hour for hour in range(24) if _mostly((day, hour) in known for day in days)]
        lost += [day.toordinal() * 24 + hour for day in days for hour in usual if (day, hour) not in known]
    ends = [day.toordinal() * 24 + hour for day, hour in (min(known), max(known))]
    lost = sorted(hour for hour in lost if ends[0] < hour < ends[1])
    yield from (Hole(f"{prefix}{{}}", a, b, n) for a, b, n in _runs(lost, _hour_name))


def _mostly(present: Iterable[bool]) -> bool:
    flags = list(present)
    return sum(flags) * 2 > len(flags)


def _numbers(before: str, after: str, known: dict[int, int]) -> Iterator[Hole]:
    first, last = min(known), max(known)
    if len(known) < LEAST or len(known) * 2 <= last - first + 1:  # not one after the other: ids, or times
        return
    width = min(known.values()) if len(set(known.values())) == 1 else 0
    lost = [number for number in range(first, last + 1) if number not in known]
    name = f"{before}{{}}{after}"
    yield from (Hole(name, a, b, n) for a, b, n in _runs(lost, lambda number: f"{number:0{width}d}"))


def _runs(lost: Sequence[int], name: Callable[[int], str]) -> Iterator[tuple[str, str, int]]:
    """Yield (first, last, how many) of each run of what follows one another."""
    for _, run in groupby(enumerate(lost), key=lambda numbered: numbered[1] - numbered[0]):
        numbers = [number for _, number in run]
        yield name(numbers[0]), name(numbers[-1]), len(numbers)


def _day_name(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()


def _hour_name(hour: int) -> str:
    return f"{date.fromordinal(hour // 24).isoformat()}T{hour % 24:02d}"
