"""A source's usual week, and the silences that do not fit it.

Pure functions over rows per hour, in UTC; hours are numbered from 1970-01-01T00. What is usual in an hour of the week
is the median over the weeks, so that neither a hole nor a burst changes it. An ordinary night or weekend expects
nothing, so its silence says nothing; a holiday is quiet without being usual, and is named.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import Final

HOUR: Final = 3600
DAY: Final = 24
WEEK: Final = 7 * DAY
LEAST: Final = 3
"""So many days of one kind (Mondays; with less than three weeks, weekdays) make something usual."""
THURSDAY: Final = 3
"""1970-01-01 was one; Monday is 0."""


@dataclass(frozen=True)
class Window:
    """Hours without a row that are unlikely to be chance."""

    start: int
    """Its first hour."""
    end: int
    """The hour behind its last one."""
    expected: float
    """Rows that are usual in it."""
    log_odds: float
    """Natural log of one over the chance that they all stay away."""


class Rhythm:
    """The usual week behind `rows`: hour -> rows, of every hour that has any."""

    def __init__(self, rows: Mapping[int, int]) -> None:
        self.rows = rows
        self.first, self.last = min(rows), max(rows)

    def usual(self, hour: int) -> float:
        """Return the rows that are usual in an hour, which may lie in the future; 0 where too little is known."""
        return self._usual.get(_kind(hour // DAY, weekly=self._weekly), {}).get(hour % DAY, 0.0)

    def windows(self, odds: float) -> list[Window]:
        """Return every silence between the first row and the last whose chance is one in `odds` or less."""
        found = []
        start = None
        for hour in range(self.first, self.last + 1):
            if hour not in self.rows:
                start = hour if start is None else start
            elif start is not None:
                found.append(self._trimmed(start, hour))
                start = None
        return [window for window in found if window.log_odds >= math.log(odds)]

    def silence(self, now: int) -> Window:
        """Return the hours behind the last row up to the hour `now`, which itself may still bring rows."""
        return self._window(self.last + 1, max(now, self.last + 1))

    def longest_usual_silence(self) -> int:
        """Return the hours between two rows that 99 in 100 silences do not exceed, at least one."""
        hours = sorted(self.rows)
        steps = sorted(after - before for before, after in pairwise(hours))
        return steps[math.ceil(len(steps) * 0.99) - 1] if steps else 1

    @property
    def is_known(self) -> bool:
        """Return whether there is enough to say what is usual."""
        return any(any(hours.values()) for hours in self._usual.values())

    def _window(self, start: int, end: int) -> Window:
        hours = range(start, end)
        return Window(start, end, sum(map(self.usual, hours)), sum(map(self._log_odds, hours)))

    def _trimmed(self, start: int, end: int) -> Window:
        """Return the silence without the hours at its ends in which next to nothing is usual."""
        least = 0.05 * max(map(self.usual, range(start, end)))
        while start < end - 1 and self.usual(start) <= least:
            start += 1
        while start < end - 1 and self.usual(end - 1) <= least:
            end -= 1
        return self._window(start, end)

    def _log_odds(self, hour: int) -> float:
        """Return how unlikely an empty hour is: rows are negative binomial, as spread out as this source's are.

        A day that begins an hour later or ends an hour earlier, as clocks change, is no hole.
        """
        usual, beside = self.usual(hour), (hour - 1, hour + 1)
        at_the_edge = min(map(self.usual, beside)) <= 0.05 * usual
        if at_the_edge and any(neighbour in self.rows for neighbour in beside):
            return 0.0
        return self._size * math.log1p(usual / self._size)

    @property
    def _days(self) -> range:
        return range(self.first // DAY, self.last // DAY + 1)

    @property
    def _weekly(self) -> bool:
        """Return whether each day of the week has come often enough to be judged by itself."""
        return len(self._days) >= LEAST * 7

    @cached_property
    def _by_kind(self) -> dict[str, list[int]]:
        """Return kind of day -> its days, without the first and the last, of which a part may be missing."""
        kinds: dict[str, list[int]] = {}
        for day in self._days[1:-1] if len(self._days) > LEAST + 1 else self._days:
            kinds.setdefault(_kind(day, weekly=self._weekly), []).append(day)
        return {kind: days for kind, days in kinds.items() if len(days) >= LEAST}

    @cached_property
    def _usual(self) -> dict[str, dict[int, float]]:
        """Return kind of day -> hour of the day -> usual rows.

        Where single hours are mostly empty and the day is not, the day's median is spread over its hours.
        """
        usual = {}
        active = {hour: sum(day * DAY + hour in self.rows for day in self._days) for hour in range(DAY)}
        for kind, days in self._by_kind.items():
            hours = {hour: float(median(self.rows.get(day * DAY + hour, 0) for day in days)) for hour in range(DAY)}
            whole = median(sum(self.rows.get(day * DAY + hour, 0) for hour in range(DAY)) for day in days)
            rest = max(0.0, whole - sum(hours.values())) / max(1, sum(active.values()))
            usual[kind] = {hour: rows + rest * active[hour] for hour, rows in hours.items()}
        return usual

    @cached_property
    def _size(self) -> float:
        """Return the size of the negative binomial: 1000 is as good as Poisson's, small numbers are bursts."""
        spreads = []
        for days in self._by_kind.values():
            for hour in range(DAY):
                counts = [self.rows.get(day * DAY + hour, 0) for day in days]
                middle = median(counts)
                if middle >= 5:
                    deviation = 1.4826 * median(abs(count - middle) for count in counts)
                    spreads.append((deviation / middle) ** 2 - 1 / middle)
        return 1 / min(2.0, max(1e-3, median(spreads))) if spreads else 1000.0


def _kind(day: int, *, weekly: bool) -> str:
    weekday = (day + THURSDAY) % 7
    if weekly:
        return str(weekday)
    return "weekend" if weekday >= 5 else "weekday"
