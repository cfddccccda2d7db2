"""The command line: data on stdout, narration on stderr, one clear error."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ingest.account import COUNTS
from ingest.status import tables


@pytest.fixture
def ingest(workspace: Any) -> Callable[..., subprocess.CompletedProcess[str]]:
    config = workspace.root / "winnow.toml"
    config.write_text(
        'lake = "lake"\n[[sources]]\nname = "app"\npath = "logs/*"\n[labels]\nurl = "sqlite:///labels.db"\n'
    )
    return lambda *arguments: subprocess.run(
        [sys.executable, "-m", "ingest", *arguments, "--config", str(config)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip


def test_run_and_status(workspace: Any, ingest: Any, interaction: Any, log: Any) -> None:
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1), interaction(1)) + b"bad\n" + b'{"torn"')
    first = ingest("run")
    assert first.returncode == 0, first.stderr
    summary = json.loads(first.stdout)
    assert first.stdout.count("\n") == 1
    seconds = summary.pop("seconds")
    assert seconds > 0
    run_id = summary.pop("run_id")
    assert run_id in first.stderr
    expected = {
        "files": 1,
        "lines": 3,
        "records": 3,
        "interactions": 1,
        "feedback": 0,
        "quarantined": 1,
        "skipped": 1,
        "quarantined_by_reason": {"not_json": 1},
        "skipped_by_reason": {"duplicate": 1},
        "pending_bytes": 7,
        "triples": {"total": 0, "new": 0, "removed": 0, "by_signal": {}, "contradicted": 0},
        "unpaired": {"total": 0},
        "orphans": 0,
        "overdue_orphans": 0,
        "no_pair": {},
        "no_pair_by_reason": {},
        "comparisons_left_out": {},
        "suspicious_events": {},
    }
    assert {name: summary[name] for name in expected} == expected
    assert "records = interactions + feedback + quarantined + skipped: 3 = 1 + 0 + 1 + 1" in first.stderr
    again = json.loads(ingest("run").stdout)
    assert (again["records"], again["pending_bytes"]) == (0, 7)
    status = ingest("status")
    assert "not_json 1" in status.stderr
    found = json.loads(status.stdout)
    assert found["consent"] == {"allowed": 0, "not_allowed": 0, "unknown": 1, "by_value": {}}
    assert (found["lake"], found["gaps"]) == (str(workspace.settings.lake), [])
    assert found["pending_bytes"] == {str(workspace.logs / "a.jsonl"): 7}
    app = found["sources"]["app"]
    expected = {
        "files": 1, "lines": 3, "records": 3, "interactions": 1, "feedback": 0, "quarantined": 1, "skipped": 1,
        "quarantined_by_reason": {"not_json": 1}, "skipped_by_reason": {"duplicate": 1},
        "newest_event": "2026-10-01T08:15:30.123456+00:00", "rows_per_day": {"2026-10-01": 1},
    }  # fmt: skip
    assert {name: app[name] for name in expected} == expected
    assert (app["last_new"]["run_id"], app["unread"]["files"], app["unread"]["bytes"]) == (run_id, 1, 7)
    assert app["unread"]["oldest"]["path"] == app["newest_file"]["path"] == str(workspace.logs / "a.jsonl")


def test_a_source_without_files_is_said(ingest: Any) -> None:
    found = ingest("run")
    assert found.returncode == 0
    assert 'Source "app": no file matches' in found.stderr


def test_an_error_is_one_line_and_a_code(workspace: Any, ingest: Any, tmp_path: Path) -> None:
    with workspace.lake.locked("another"):
        busy = ingest("run")
    assert (busy.returncode, busy.stdout) == (5, "")
    assert busy.stderr.splitlines()[-1].startswith("error: Another run holds")
    assert "Traceback" not in busy.stderr
    (tmp_path / "winnow.toml").write_text("lakes = 1")
    wrong = ingest("status")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "lakes" in wrong.stderr


def test_names_that_look_like_markup_are_shown_as_they_are(
    workspace: Any, ingest: Any, interaction: Any, log: Any
) -> None:
    (workspace.logs / "[bold]x:smile:.jsonl").write_bytes(log(interaction(1)))
    with (workspace.root / "winnow.toml").open("a") as file:
        file.write('[[sources]]\nname = "none"\npath = "none[/x]/[a-z]*.jsonl"\n')
    found = ingest("run")
    assert found.returncode == 0, found.stderr
    assert "[bold]x:smile:.jsonl" in found.stderr
    assert 'Source "none": no file matches' in found.stderr
    assert ingest("status").returncode == 0


def test_the_account_of_names_that_look_like_markup() -> None:
    counts = dict.fromkeys(("files", *COUNTS), 1) | {"quarantined_by_reason": {"[/x]": 1}, "skipped_by_reason": {}}
    ages = dict.fromkeys(("lag_seconds", "newest_file", "last_new"))
    fresh = ages | {"unread": {"files": 0, "bytes": 0, "oldest": None}, "rows_per_day": {}}
    lost = {"source": "app", "kind": "missing_file", "count": 1, "start": "3", "end": "3", "detail": "[/y]{}"}
    console = Console(width=160, file=io.StringIO())  # markup on: the table itself holds no markup
    consent = {"allowed": 0, "not_allowed": 1, "unknown": 0, "by_value": {"[/x]": 1}}
    status = {"lake": "/[/x]", "sources": {"app": counts | fresh}, "consent": consent, "gaps": [lost]}
    console.print(tables(status))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "lake /[/x]" in printed
    assert "app: quarantined: [/x] 1" in printed
    assert "[/y]{}" in printed


def test_a_format_is_forced(workspace: Any, ingest: Any, interaction: Any, log: Any) -> None:
    """Two exchanges of Winnow's own form, which another reader does not know; then read again with theirs."""
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1), interaction(2)))
    forced = json.loads(ingest("run", "--format", "litellm").stdout)
    assert (forced["records"], forced["quarantined_by_reason"]) == (2, {"unknown_format": 2})
    same = json.loads(ingest("replay", "--format", "litellm", "--source", "app").stdout)
    assert (same["chosen"], same["still_quarantined"]) == (2, 2)
    again = json.loads(ingest("replay", "--format", "winnow").stdout)
    assert (again["read"], again["interactions"]) == (2, 2)
    (workspace.logs / "b.jsonl").write_bytes(log(interaction(3)))
    assert json.loads(ingest("run", "--format", "auto").stdout)["interactions"] == 1
    assert json.loads(ingest("status").stdout)["sources"]["app"]["quarantined"] == 0


def test_a_format_needs_a_source_and_a_reader(workspace: Any, ingest: Any) -> None:
    said = [("--format", "nope"), ("--format", "winnow", "--source", "nope"), ("--source", "app")]
    found = [ingest("run", *arguments) for arguments in said]
    assert [done.returncode for done in found] == [2, 2, 2]
    assert 'No reader is named "nope". Known formats: auto, winnow' in found[0].stderr
    assert 'No source is named "nope". There are: app.' in found[1].stderr
    assert "--source says whose format" in found[2].stderr
    with (workspace.root / "winnow.toml").open("a") as file:
        file.write('[[sources]]\nname = "other"\npath = "other/*"\n')
    unclear = ingest("run", "--format", "winnow")
    assert (unclear.returncode, unclear.stdout) == (2, "")
    assert "--source: app, other" in unclear.stderr
    assert ingest("run", "--format", "winnow", "--source", "other").returncode == 0


def test_what_the_system_refuses_is_one_line(workspace: Any, ingest: Any) -> None:
    config = workspace.root / "winnow.toml"
    config.write_text(config.read_text().replace('"lake"', f'"{"x" * 300}"'))
    found = ingest("status")
    assert (found.returncode, found.stdout) == (4, "")
    assert "File name too long. Look at permissions and at free space." in found.stderr
    assert "Traceback" not in found.stderr


def test_a_broken_table_is_one_line(workspace: Any, ingest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where RUST_BACKTRACE makes deltalake's messages thirty lines long."""
    monkeypatch.setenv("RUST_BACKTRACE", "1")
    log = workspace.root / "lake" / "files" / "_delta_log"
    log.mkdir(parents=True)
    (log / "00000000000000000000.json").write_text("{")
    found = ingest("status")
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (4, "", 1)
    assert found.stderr.endswith("Restore it from a backup.\n")
