"""Names that a run of dates, hours or numbers leaves out."""

from datetime import date, timedelta

import pytest

from ingest.file_names import Hole, holes

DAYS = [date(2026, 9, 1) + timedelta(days=n) for n in range(28)]
"""From a Tuesday on."""


LOST = ((5, 7), (9, 0), (9, 1))


def names(pattern: str, days: list[date]) -> list[str]:
    return [pattern.format(day) for day in days]


CASES: list[tuple[str, list[str], list[Hole]]] = [
    ("nothing", [], []),
    ("every day", names("log/{:%Y-%m-%d}.jsonl", DAYS), []),
    ("weekdays only", names("log/{:%Y%m%d}.jsonl", [day for day in DAYS if day.weekday() < 5]), []),
    (
        "two days lost",
        names("log/{:%Y-%m-%d}/a.jsonl", [day for day in DAYS if day.day not in (10, 11, 20)]),
        [Hole("log/{}", "2026-09-10", "2026-09-11", 2), Hole("log/{}", "2026-09-20", "2026-09-20", 1)],
    ),
    (
        "a weekday lost where weekends are never there",
        names("{:%Y/%m/%d}.gz", [day for day in DAYS if day.weekday() < 5 and day.day != 15]),
        [Hole("{}", "2026-09-15", "2026-09-15", 1)],
    ),
    ("one object per request, no name like another", [f"2026-09-01/chatcmpl-{i * 7919}" for i in range(50)], []),
    ("weekly files", names("log/{:%Y-%m-%d}.jsonl", DAYS[::7]), []),
    ("sequence", [f"part-{n:04d}.jsonl.gz" for n in (1, 2, 3, 6, 7)], [Hole("part-{}.jsonl.gz", "0004", "0005", 2)]),
    ("rotations", ["app.log", "app.log.1", "app.log.2.gz", "app.log.3.gz"], []),
    ("times of the clock", [f"log-{n}.jsonl" for n in (1760000000, 1760003600, 1760007200)], []),
    (
        "numbers of each day by themselves",
        [f"{day}/part-{n}.jsonl" for day in DAYS[:3] for n in range(4) if (day.day, n) != (2, 1)],
        [Hole("2026-09-02/part-{}.jsonl", "1", "1", 1)],
    ),
    (
        "an hour",
        [f"{day}/{hour:02d}/x" for day in DAYS[:14] for hour in range(24) if (day.day, hour) not in LOST],
        [Hole("{}", "2026-09-05T07", "2026-09-05T07", 1), Hole("{}", "2026-09-09T00", "2026-09-09T01", 2)],
    ),
    ("not a date", ["2026-13-01.jsonl", "2026-02-30.jsonl", "20269999.jsonl"], []),
]  # fmt: skip


@pytest.mark.parametrize(("paths", "missing"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_missing(paths: list[str], missing: list[Hole]) -> None:
    assert holes(paths) == missing
    assert holes(reversed(paths)) == missing
