"""Silences against a source's usual week: weeks drawn at random, holes planted in them."""

import random
from collections.abc import Callable

import pytest

from ingest.rhythm import DAY, Rhythm

MONDAY = 4 * DAY
"""1970-01-05T00."""


def office(hour: int) -> float:
    """40 rows an hour from 8 to 18 on weekdays, and nothing else."""
    return 40 if (hour - MONDAY) // DAY % 7 < 5 and 8 <= hour % DAY < 18 else 0


def steady(hour: int) -> float:
    return 15


def rare(hour: int) -> float:
    """About 9 rows a day, at any hour of the day."""
    return 0.6 if 8 <= hour % DAY < 23 else 0


def drawn(rate: Callable[[int], float], days: int, seed: int) -> dict[int, int]:
    """Return Poisson counts by Knuth's product, hour -> rows."""
    chance, rows = random.Random(seed), {}
    for hour in range(MONDAY, MONDAY + days * DAY):
        count, product, limit = 0, chance.random(), pow(2.718281828459045, -rate(hour))
        while product > limit:
            count, product = count + 1, product * chance.random()
        if count:
            rows[hour] = count
    return rows


def at(week: int, day: int, hour: int) -> int:
    return MONDAY + week * 7 * DAY + day * DAY + hour


SOURCES = {"office": office, "steady": steady, "rare": rare}


@pytest.mark.parametrize("days", [5, 9, 28, 84])
@pytest.mark.parametrize("rate", SOURCES.values(), ids=SOURCES)
def test_an_ordinary_month_has_no_hole(rate: Callable[[int], float], days: int) -> None:
    for seed in range(5):
        assert Rhythm(drawn(rate, days, seed)).windows(1e5) == []


HOLES = [
    ("three hours of a Tuesday", office, at(2, 1, 9), at(2, 1, 12)),
    ("one hour", office, at(2, 3, 11), at(2, 3, 12)),
    ("from Friday noon to Tuesday noon", office, at(1, 4, 12), at(2, 1, 12)),
    ("two hours of a steady source", steady, at(1, 6, 3), at(1, 6, 5)),
    ("three days of a rare source", rare, at(2, 2, 8), at(2, 4, 23)),
]


@pytest.mark.parametrize(("rate", "start", "end"), [h[1:] for h in HOLES], ids=[h[0] for h in HOLES])
def test_a_planted_hole_is_named_and_nothing_else(rate: Callable[[int], float], start: int, end: int) -> None:
    rows = {hour: n for hour, n in drawn(rate, 28, 1).items() if not start <= hour < end}
    [found] = Rhythm(rows).windows(1e5)
    if rate is rare:  # its hours are often empty: the silence is longer than the hole, up to the rows around it
        assert max(hour for hour in rows if hour < start) < found.start <= start
        assert end <= found.end <= min(hour for hour in rows if hour >= end)
    else:
        assert (found.start, found.end) == (start, end)
    lost = sum(map(rate, range(found.start, found.end)))
    assert found.expected == pytest.approx(lost, rel=0.5)


def test_an_hour_later_because_clocks_changed_is_no_hole() -> None:
    """Four weeks from 8 to 18, then four from 9 to 19: the hour at 8 is empty from then on."""
    early, late = drawn(office, 28, 1), drawn(office, 28, 2)
    rows = early | {hour + 28 * DAY + 1: n for hour, n in late.items()}
    assert Rhythm(rows).windows(1e5) == []


def test_one_burst_makes_nothing_usual() -> None:
    rows = drawn(office, 28, 3) | {at(1, 6, 3): 100_000}
    assert Rhythm(rows).windows(1e5) == []


def test_the_silence_after_the_last_row() -> None:
    rhythm = Rhythm(drawn(office, 28, 4))
    assert rhythm.last == at(3, 4, 17)
    weekend = rhythm.silence(at(4, 0, 8))
    assert (weekend.start, weekend.expected, weekend.log_odds) == (at(3, 4, 18), 0, 0)
    assert rhythm.silence(at(4, 0, 12)).expected == pytest.approx(160, rel=0.2)
    # From Friday's last hour to Monday's first, three times in 200 silences.
    assert rhythm.longest_usual_silence() == 3 * DAY - 9
