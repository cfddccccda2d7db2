"""Runs that end between any two commits leave a lake that the next run completes; real kills are in test_kills.py."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest import batch

Make = Callable[..., dict[str, Any]]
Log = Callable[..., bytes]


def fill(workspace: Any, interaction: Make, thumb: Make, log: Log) -> None:
    """Write 140 interactions, 60 of them in two files, 40 thumbs and 4 bad lines in 4 files."""
    for number in range(4):
        records = [interaction(i, answer="x" * (i % 90)) for i in range(number * 30, number * 30 + 50)]
        content = log(*records, *(thumb(i, i) for i in range(number * 10, number * 10 + 10))) + b'{"torn":"\n'
        path = workspace.logs / f"{number}.jsonl"
        path.write_bytes(content)
        if number % 2:
            path.with_suffix(".jsonl.gz").write_bytes(gzip.compress(content))
            path.unlink()
    workspace.limited(commit_bytes=40_000)


@pytest.fixture(scope="module")
def clean() -> dict[str, Any]:
    """Hold what one whole run over these logs gives; made once."""
    return {}


def check(workspace: Any, clean: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compare with a lake that was made in one go."""
    if not clean:
        other = type(workspace)(tmp_path_factory.mktemp("clean"))
        for path in workspace.logs.iterdir():
            (other.logs / path.name).write_bytes(path.read_bytes())
        other.limited(commit_bytes=40_000)
        other.run()
        clean.update(rows=other.stable(), accounts=accounts(other))
        assert [len(clean["rows"][name]) for name in ("interactions", "feedback", "quarantine")] == [140, 40, 4]
    assert workspace.stable() == clean["rows"]
    assert accounts(workspace) == clean["accounts"]


def accounts(workspace: Any) -> list[tuple[Any, ...]]:
    """Return what `files` counts, per file; pieces and runs differ with every interruption."""
    names = ("interactions", "feedback", "quarantined", "skipped", "records", "lines")
    totals: dict[str, list[int]] = {}
    for row in workspace.arrow("files").to_pylist():
        total = totals.setdefault(row["file_id"], [0] * len(names))
        for i, name in enumerate(names):
            total[i] += row[name]
    return sorted((file, *total) for file, total in totals.items())


@pytest.mark.parametrize("stop_after", range(1, 9))
def test_an_end_between_any_two_commits_changes_nothing(
    workspace: Any, interaction: Make, thumb: Make, log: Log, monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory, clean: dict[str, Any], stop_after: int,
) -> None:  # fmt: skip
    """Two batches of four tables: the run ends right after its n-th commit, before the next."""
    fill(workspace, interaction, thumb, log)
    workspace.run_until(monkeypatch, commits=stop_after)
    workspace.run()
    check(workspace, clean, tmp_path_factory)
    assert workspace.run().totals()["lines"] == 0


def test_the_data_lands_before_the_position(workspace: Any, interaction: Make, log: Log) -> None:
    """The other order would lose rows: a position without its rows is never read again."""
    assert list(batch.KEYS) == ["interactions", "feedback", "quarantine"]
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1)))
    workspace.run()
    (file_id,) = workspace.rows("files", "file_id")
    assert workspace.lake.cursors("interactions", [file_id]) == workspace.lake.cursors("files", [file_id])
    assert not Path(workspace.settings.lake / "quarantine").exists()


def test_files_that_begin_alike_keep_their_places_after_a_kill(
    workspace: Any, interaction: Make, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were files numbered in the order of reading, a file that sorts first would take the killed one's place.

    Z's bad line stands at the same offset as a's: both are there afterwards, each once, and counted.
    """
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(0)) + b"{bad-AAAA\n")
    workspace.run_until(monkeypatch, commits=2)  # interactions and quarantine are written, files is not
    (workspace.logs / "Z.jsonl").write_bytes(log(interaction(0)) + b"{bad-ZZZZ\n")
    summary = workspace.run()
    assert summary.totals()["records"] == 4
    assert sorted(workspace.rows("quarantine", "raw")) == ["{bad-AAAA", "{bad-ZZZZ"]
    assert sorted(workspace.rows("files", "path", "quarantined")) == [
        (str(workspace.logs / "Z.jsonl"), 1),
        (str(workspace.logs / "a.jsonl"), 1),
    ]
    assert workspace.run().totals()["lines"] == 0


def test_a_rotation_after_a_kill_stores_no_bad_line_twice(
    workspace: Any, interaction: Make, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workspace.logs / "app.log"
    path.write_bytes(log(interaction(0)) + b"{bad\n")
    workspace.run_until(monkeypatch, commits=2)
    path.rename(workspace.logs / "app.log.1")
    assert workspace.run().totals()["records"] == 2
    assert workspace.rows("quarantine", "raw") == ["{bad"]
    assert len(workspace.rows("interactions", "source_id")) == 1
