"""The sample's log against its truth file: every line, every planted fault, every triple, no secret."""

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingest import schema, settings
from ingest.lake import SCHEMAS, Lake
from ingest.run import run

SOURCE = "support-assistant"
COUNTS = ("lines", "records", "interactions", "feedback", "quarantined", "skipped")


@pytest.fixture(scope="module")
def workspace(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> settings.Settings:
    """The sample, read once, in a copy."""
    folder = tmp_path_factory.mktemp("sample") / "data" / "sample"
    shutil.copytree(sample, folder, ignore=shutil.ignore_patterns("model"))
    workspace = settings.load(folder / "winnow.toml")
    run(workspace)
    return workspace


@pytest.fixture(scope="module")
def lake(workspace: settings.Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """A view of each of the lake's tables."""
    with duckdb.connect() as connection:
        for table in SCHEMAS:
            Lake(workspace.lake).view(connection, table)
        yield connection


@pytest.fixture(scope="module")
def truth(sample: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((sample / "truth.json").read_text(encoding="utf-8"))
    return found


def test_every_file_has_the_counts_of_the_truth(lake: duckdb.DuckDBPyConnection, truth: dict[str, Any]) -> None:
    sums = ", ".join(f"sum({name})::BIGINT" for name in COUNTS)
    rows = lake.execute(f"SELECT parse_filename(path), {sums} FROM files GROUP BY ALL").fetchall()
    found = {name: dict(zip(COUNTS, counts, strict=True)) for name, *counts in rows}
    assert found == {name: {key: file[key] for key in COUNTS} for name, file in truth["files"].items()}
    for counts in found.values():
        assert counts["records"] == sum(counts[name] for name in COUNTS[2:])


@pytest.mark.parametrize("kind", ["quarantined", "skipped"])
def test_every_reason_has_the_count_of_the_truth(
    kind: str, lake: duckdb.DuckDBPyConnection, truth: dict[str, Any]
) -> None:
    rows = lake.execute(f"SELECT {kind}_by_reason FROM files").fetchall()
    total: dict[str, int] = {}
    for (counts,) in rows:
        for reason, count in counts.items():
            total[reason] = total.get(reason, 0) + count
    assert total == truth["total"][f"{kind}_by_reason"]


def test_exactly_the_planted_malformed_lines_are_in_quarantine_with_their_reasons(
    lake: duckdb.DuckDBPyConnection, truth: dict[str, Any], sample: Path
) -> None:
    rows = lake.execute("SELECT parse_filename(path), byte_offset, reason FROM quarantine").fetchall()
    expected = []
    for fault in truth["planted"]["malformed"]:
        (place,) = fault["at"]
        name, line = place.rsplit(":", 1)
        raw = (sample / "log" / name).read_bytes()
        text = gzip.decompress(raw) if name.endswith(".gz") else raw
        offset = sum(len(before) + 1 for before in text.split(b"\n")[: int(line) - 1])
        expected.append((name, offset, fault["reason"]))
    assert sorted(rows) == sorted(expected)


@pytest.mark.parametrize("rule", ["choice", "edit", "sibling_thumbs", "rating", "regenerate"])
def test_every_rule_makes_exactly_the_triples_of_the_truth(
    rule: str, lake: duckdb.DuckDBPyConnection, truth: dict[str, Any]
) -> None:
    """A triple is known by the events behind it, and by the response it rejects."""
    rows = lake.execute("SELECT event_ids FROM triples WHERE rule = $rule", {"rule": rule}).fetchall()
    expected = []
    for _, _, events in truth["pairs"][rule]["list"]:
        named = (event.rsplit("/", 1) for event in events)
        expected.append(sorted(schema.feedback_id(SOURCE, name, int(revision)) for name, revision in named))
    assert sorted(events for (events,) in rows) == sorted(expected)


def test_no_rule_makes_triples_that_the_truth_does_not_know(
    lake: duckdb.DuckDBPyConnection, truth: dict[str, Any]
) -> None:
    found = lake.execute("SELECT rule, count(*) FROM triples GROUP BY rule").fetchall()
    assert dict(found) == {rule: pairs["triples"] for rule, pairs in truth["pairs"].items() if rule != "unpaired"}


def test_lone_thumbs_are_unpaired_rows(lake: duckdb.DuckDBPyConnection, truth: dict[str, Any]) -> None:
    rows = lake.execute("SELECT count(*) FILTER (label), count(*) FILTER (NOT label) FROM unpaired").fetchall()
    assert dict(zip(("up", "down"), rows[0], strict=True)) == truth["pairs"]["unpaired"]["thumb"]


def test_no_planted_secret_is_in_the_lake(lake: duckdb.DuckDBPyConnection, truth: dict[str, Any]) -> None:
    secrets = sorted({"".join(planted["parts"]) for planted in truth["planted"]["personal_data"]})
    assert len(secrets) >= 10
    for table in SCHEMAS:
        rows = lake.execute(
            f"""SELECT secret FROM (SELECT unnest($secrets) AS secret) AS s
                JOIN {table} AS t ON contains(to_json(t)::VARCHAR, secret)""",
            {"secrets": secrets},
        ).fetchall()
        assert rows == [], table


def test_a_second_run_adds_nothing_and_commits_nothing(workspace: settings.Settings) -> None:
    lake = Lake(workspace.lake)
    before = {table: lake.version(table) for table in SCHEMAS}
    again = run(workspace)
    assert set(again.totals().values()) == {0}
    assert {table: lake.version(table) for table in SCHEMAS} == before
