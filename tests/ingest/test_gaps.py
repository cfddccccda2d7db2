"""The gap report against planted truth: a month of logs of several sources, with what was taken away known."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ingest import gaps
from ingest.run import run
from ingest.settings import Settings, Source
from ingest.status import ago, sparkline, workspace_status
from tests.ingest.conftest import Workspace

Make = Callable[..., dict[str, Any]]
Log = Callable[..., bytes]

START = datetime(2026, 9, 7, tzinfo=UTC)
"""A Monday; four weeks follow."""
NOW = START + timedelta(days=28)


def office(moment: datetime) -> float:
    return 6 if moment.weekday() < 5 and 8 <= moment.hour < 18 else 0


def steady(moment: datetime) -> float:
    return 3


def nightly(moment: datetime) -> float:
    return 40 if moment.hour == 2 else 0


RATES = {"office": office, "steady": steady, "nightly": nightly, "silenced": steady}
HOLES = {
    "office": [(datetime(2026, 9, 15, 9, tzinfo=UTC), datetime(2026, 9, 15, 13, tzinfo=UTC))],
    "steady": [
        (datetime(2026, 9, 12, 22, tzinfo=UTC), datetime(2026, 9, 13, 10, tzinfo=UTC)),
        (datetime(2026, 9, 23, 3, tzinfo=UTC), datetime(2026, 9, 23, 11, tzinfo=UTC)),
    ],
    "nightly": [(datetime(2026, 9, 22, 0, tzinfo=UTC), datetime(2026, 9, 23, 0, tzinfo=UTC))],
    "silenced": [(NOW - timedelta(days=2), NOW)],
}
"""Source -> windows of which every row is deleted; the rest of nothing is."""
DROPPED = "2026-09-17"
"""Day whose whole file `office` lacks: a hole in names, and in time."""


def moments(source: str) -> list[datetime]:
    """Return when the source has rows: at least one in each hour that has any, so that holes begin at full hours."""
    chance, found = random.Random(source), []
    for hour in (START + timedelta(hours=n) for n in range(28 * 24)):
        rate = RATES[source](hour)
        count = max(1, round(chance.gauss(rate, rate**0.5))) if rate else 0
        if not any(a <= hour < b for a, b in HOLES[source]):
            found += sorted(hour + timedelta(seconds=chance.randrange(3600)) for _ in range(count))
    return [moment for moment in found if (source, f"{moment:%Y-%m-%d}") != ("office", DROPPED)]


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake of four sources, one file a day each."""
    root = tmp_path_factory.mktemp("month")
    for source in RATES:
        (root / source).mkdir()
        files: dict[str, list[str]] = {}
        for nr, moment in enumerate(moments(source)):
            record = {
                "winnow": 1, "kind": "interaction", "id": f"{source}-{nr}", "time": moment.isoformat(), "status": 200,
                "request": {"model": "m", "messages": [{"role": "user", "content": "q"}]},
                "response": {"choices": [{"index": 0, "message": {"role": "assistant", "content": f"a{nr}"}}]},
            }  # fmt: skip
            files.setdefault(f"{moment:%Y-%m-%d}.jsonl", []).append(json.dumps(record) + "\n")
        for name, lines in files.items():
            (root / source / name).write_text("".join(lines))
    settings = Settings(
        root=root,
        lake=root / "lake",
        pseudonym_key=root / "pseudonym.key",
        sources=tuple(Source(name=source, path=str(root / source / "*")) for source in RATES),
    )
    run(settings)
    return settings


def test_the_report_names_what_was_taken_away_and_nothing_else(month: Settings, workspace: Workspace) -> None:
    found = workspace_status(month, type(workspace.lake)(month.lake), NOW)["gaps"]
    windows = {(g["source"], g["detail"]) for g in found if g["kind"] == "missing_window"}
    assert windows == {
        ("office", "2026-09-15T09:00Z to 2026-09-15T13:00Z"),
        ("office", f"{DROPPED}T08:00Z to {DROPPED}T18:00Z"),
        ("steady", "2026-09-12T22:00Z to 2026-09-13T10:00Z"),
        ("steady", "2026-09-23T03:00Z to 2026-09-23T11:00Z"),
        ("nightly", "2026-09-22T02:00Z to 2026-09-22T03:00Z"),
    }
    names = [(g["source"], g["start"], g["end"], g["count"]) for g in found if g["kind"] == "missing_file"]
    assert names == [("nightly", "2026-09-22", "2026-09-22", 1), ("office", DROPPED, DROPPED, 1)]
    [quiet] = [g for g in found if g["kind"] == "quiet"]
    last = moments("silenced")[-1]
    assert (quiet["source"], quiet["start"], "end" in quiet) == ("silenced", last.isoformat(), False)
    assert quiet["count"] == pytest.approx(3 * 48, rel=0.2)
    assert {g["kind"] for g in found} == {"missing_window", "missing_file", "quiet"}


def test_a_window_says_the_rows_around_it(month: Settings, workspace: Workspace) -> None:
    found = workspace_status(month, type(workspace.lake)(month.lake), NOW)["gaps"]
    gap = next(g for g in found if g["source"] == "office" and g["kind"] == "missing_window")
    [(start, end)] = HOLES["office"]
    before = max(moment for moment in moments("office") if moment < start)
    after = min(moment for moment in moments("office") if moment >= end)
    assert (gap["start"], gap["end"]) == (before.isoformat(), after.isoformat())
    assert gap["count"] == pytest.approx(24, rel=0.35)


def test_what_is_usual_can_be_set(month: Settings, workspace: Workspace) -> None:
    """A chance of one in 10^300 excuses every silence; a thousand silences are none too many."""
    patient = month.model_copy(update={"gaps": month.gaps.model_copy(update={"odds": 1e300, "quiet_factor": 1e3})})
    found = workspace_status(patient, type(workspace.lake)(month.lake), NOW)["gaps"]
    assert {g["kind"] for g in found} == {"missing_file"}
    later = workspace_status(month, type(workspace.lake)(month.lake), NOW + timedelta(days=30))["gaps"]
    assert {g["source"] for g in later if g["kind"] == "quiet"} == set(RATES)


def test_a_source_with_unread_bytes_is_not_called_quiet(month: Settings, workspace: Workspace) -> None:
    extra = Path(month.root / "silenced" / "2026-10-05.jsonl")
    extra.write_text("{}\n")
    try:
        found = workspace_status(month, type(workspace.lake)(month.lake), NOW)
    finally:
        extra.unlink()
    assert [g for g in found["gaps"] if g["kind"] == "quiet"] == []
    assert found["sources"]["silenced"]["unread"]["files"] == 1


def test_counts_that_do_not_fit(workspace: Workspace, interaction: Make, thumb: Make, log: Log) -> None:
    """Planted: 2 withheld, 1 empty answer, 2 of 3 choices lost, 1 stream cut off, 1 lost parent, 2 orphaned thumbs."""
    asked = {"model": "m", "n": 3, "messages": [{"role": "user", "content": "q"}]}
    cut = interaction(5)
    cut["response"]["choices"][0]["finish_reason"] = None
    child = {
        "request": {"model": "m", "input": "and then?", "previous_response_id": "resp_0"},
        "response": {
            "id": "resp_1", "object": "response", "created_at": 1790000000, "status": "completed",
            "output": [
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "that"}]}
            ],
        },
    }  # fmt: skip
    records = [
        *(interaction(i) for i in range(3)),
        *(interaction(10 + i, answer="redacted-by-litellm") for i in range(2)),
        interaction(3, answer=""),
        interaction(4, request=asked),
        cut,
        child,
        thumb(1, 0),
        thumb(2, 99),
        thumb(3, 98),
        thumb(4, 97, retracted=True),
    ]
    (workspace.logs / "a.jsonl").write_bytes(log(*records))
    workspace.run()

    def counted(after: timedelta) -> dict[str, tuple[int, str]]:
        found = workspace_status(workspace.settings, workspace.lake, datetime.now(UTC) + after)["gaps"]
        return {g["kind"]: (g["count"], g.get("detail", "")) for g in found}

    at_once = {
        "withheld": (2, "redacted_by_litellm"),
        "empty_answer": (1, ""),
        "missing_choices": (2, ""),
        "unfinished": (1, ""),
    }
    assert counted(timedelta()).items() >= at_once.items()
    assert not {"orphaned_feedback", "missing_parent"} & counted(timedelta(hours=23)).keys()
    late = counted(timedelta(hours=25))
    assert (late["orphaned_feedback"], late["missing_parent"]) == ((2, ""), (1, ""))
    assert set(late) <= {*at_once, "orphaned_feedback", "missing_parent", "quiet"}


def test_a_source_that_never_gave_anything(workspace: Workspace) -> None:
    found = workspace_status(workspace.settings, workspace.lake, NOW)
    assert found["gaps"] == [{"kind": "no_files", "source": "app", "count": 0}]
    assert found["sources"]["app"]["files"] == 0


def test_every_kind_is_described() -> None:
    assert gaps.__doc__ is not None
    assert [line.split()[0] for line in gaps.__doc__.splitlines() if line.startswith("    ")] == list(gaps.KINDS)


@pytest.mark.parametrize(
    ("counts", "drawn"), [([], ""), ([0, 0], "··"), ([1, 2, 4, 8], "▂▃▅█"), ([0, 1, 1000], "·▁█")], ids=str
)
def test_sparkline(counts: list[int], drawn: str) -> None:
    assert sparkline(counts) == drawn


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "never"),
        (59, "59 s"),
        (60, "1 min"),
        (3_660, "1 h 1 min"),
        (172_799, "47 h 59 min"),
        (180_000, "2 d 2 h"),
    ],
)
def test_ago(seconds: int | None, said: str) -> None:
    assert ago(seconds) == said


def test_a_row_of_the_future_hides_no_silence(workspace: Workspace, interaction: Make, log: Log) -> None:
    """Three weeks of an hourly source, then two days of nothing; and one row of the year 2062."""
    start = NOW - timedelta(days=23)
    hours = [start + timedelta(hours=n) for n in range(21 * 24)]
    records = [interaction(n, time=moment.isoformat()) for n, moment in enumerate(hours)]
    records.append(interaction(9999, time="2062-01-01T00:00:00Z"))
    (workspace.logs / "a.jsonl").write_bytes(log(*records))
    workspace.run()
    found = workspace_status(workspace.settings, workspace.lake, NOW)
    told = {gap["kind"]: gap for gap in found["gaps"] if gap["kind"] in ("quiet", "future")}
    assert told["future"] == {"kind": "future", "source": "app", "count": 1, "start": "2062-01-01", "end": "2062-01-01"}
    assert told["quiet"]["start"] == hours[-1].isoformat()
    app = found["sources"]["app"]
    assert (app["newest_event"], app["lag_seconds"]) == (hours[-1].isoformat(), 49 * 3600)
