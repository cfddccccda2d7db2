"""A run with nothing new is cheap, and never takes something for nothing: one thing is changed at a time."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import ingest
from ingest import schedule, settings, unchanged
from ingest.lake import Lake

CONFIG = """
lake = "lake"
[[sources]]
name = "app"
path = "logs/*"
[[sources]]
name = "none"
path = "none/*"
[labels]
url = "sqlite:///labels.db"
[limits]
settle_seconds = {settle}
"""


@pytest.fixture
def config(workspace: Any, interaction: Any, thumb: Any, log: Any) -> Path:
    """The settings of two log files, and of a label store in WAL mode without events, after a complete run.

    One file ends in half a line, and one event's interaction has not come.
    """
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1), thumb(1, 1), thumb(2, 77)) + b"bad\n")
    (workspace.logs / "b.jsonl").write_bytes(log(interaction(5)) + b'{"half')
    with sqlite3.connect(workspace.root / "labels.db") as store:
        store.execute("PRAGMA journal_mode = WAL")
        store.execute("CREATE TABLE event (seq INTEGER PRIMARY KEY, event_id TEXT)")
    store.close()
    path: Path = workspace.root / "winnow.toml"
    path.write_text(CONFIG.format(settle=3600))
    complete_run(path)
    return path


def complete_run(config: Path, max_seconds: float | None = None) -> None:
    schedule.run(settings.load(config), Console(stderr=True), max_seconds, 0)


def command(config: Path) -> dict[str, Any]:
    """Run the real process; return its JSON without what differs from run to run."""
    done = subprocess.run(
        [sys.executable, "-m", "ingest", "run", "--config", str(config)], capture_output=True, text=True, check=True
    )
    summary: dict[str, Any] = json.loads(done.stdout)
    assert summary.pop("run_id")
    assert summary.pop("seconds") >= 0
    return summary | {"said": "Nothing new" in done.stderr}


def test_a_run_with_nothing_new_prints_what_a_whole_run_would(config: Path) -> None:
    short = command(config)
    (config.parent / "lake" / unchanged.FILE_NAME).unlink()
    whole = command(config)
    assert (short.pop("said"), whole.pop("said")) == (True, False)
    assert short == whole
    assert (short["files"], short["records"], short["orphans"], short["pending_bytes"]) == (2, 0, 1, 6)
    assert (short["unpaired"], short["sources_without_files"]) == ({"total": 1}, ["none"])


def test_a_run_with_nothing_new_imports_nothing_heavy(config: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ingest", "run", "--config", str(config)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "ingest" in imported
    heavy = {"pyarrow", "polars", "duckdb", "deltalake", "pydantic", "msgspec", "sqlalchemy", "rich", "zstandard"}
    assert not imported & heavy
    assert "Nothing new" in done.stderr


def test_a_run_with_something_new_imports_no_pandas_and_without_labels_no_sqlalchemy(config: Path) -> None:
    """pyarrow looks for pandas at the first array of a list."""
    grow(config.parent)
    (config.parent / "labels.db").unlink()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ingest", "run", "--config", str(config)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "pyarrow" in imported
    assert not imported & {"pandas._libs", "sqlalchemy"}
    assert json.loads(done.stdout)["skipped_by_reason"] == {"blank_line": 1}


def grow(root: Path) -> None:
    with (root / "logs" / "a.jsonl").open("ab") as file:
        file.write(b"\n")


def rewrite(root: Path) -> None:
    """The same bytes at the same time in another file, as a copying tool puts them there."""
    path = root / "logs" / "a.jsonl"
    shutil.copy2(path, root / "new")
    os.utime(root / "new", ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    (root / "new").replace(path)


def touch(root: Path) -> None:
    path = root / "logs" / "a.jsonl"
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))


def set_another(root: Path) -> None:
    path = root / "winnow.toml"
    path.write_text(path.read_text() + "line_bytes = 9\n")


def fill_none(root: Path) -> None:
    (root / "none").mkdir()
    (root / "none" / "d").touch()


def vote(root: Path) -> None:
    """An event that stands in the write-ahead log only, for its writer is still there."""
    store = sqlite3.connect(root / "labels.db")
    store.execute("INSERT INTO event VALUES (1, 'e')")
    store.commit()
    vote.store = store  # type: ignore[attr-defined]


CHANGES: dict[str, Callable[[Path], object]] = {
    "a_log_grows": grow,
    "a_log_is_touched": touch,
    "a_log_is_another_file": rewrite,
    "a_log_comes": lambda root: (root / "logs" / "c.jsonl").write_bytes(b""),
    "a_log_goes": lambda root: (root / "logs" / "b.jsonl").unlink(),
    "a_log_is_rotated": lambda root: (root / "logs" / "a.jsonl").rename(root / "logs" / "a.jsonl.1"),
    "a_log_of_a_source_without_files_comes": fill_none,
    "a_setting": set_another,
    "a_vote": vote,
    "the_label_store_goes": lambda root: (root / "labels.db").unlink(),
    "the_key": lambda root: (root / "pseudonym.key").write_text("cd" * 32),
    "the_key_goes": lambda root: (root / "pseudonym.key").unlink(),
    "an_erasure": lambda root: (root / "subjects.jsonl").write_text("{}\n"),
    "a_commit": lambda root: Lake(root / "lake").delete("feedback", [first_key(root)]),
    "a_table_goes": lambda root: shutil.rmtree(root / "lake" / "unpaired"),
    "a_file_of_a_table_goes": lambda root: next((root / "lake" / "feedback").glob("*.parquet")).unlink(),
    "what_a_killed_run_spilled": lambda root: (root / "lake" / ".spill-1").mkdir(),
    "no_record": lambda root: (root / "lake" / unchanged.FILE_NAME).unlink(),
    "a_cut_record": lambda root: os.truncate(root / "lake" / unchanged.FILE_NAME, 100),
    "an_empty_record": lambda root: os.truncate(root / "lake" / unchanged.FILE_NAME, 0),
    "a_record_of_another_form": lambda root: (root / "lake" / unchanged.FILE_NAME).write_text('["inputs"]'),
    "a_record_that_is_no_text": lambda root: (root / "lake" / unchanged.FILE_NAME).write_bytes(b"\xff\xfe"),
}


def first_key(root: Path) -> str:
    lake = Lake(root / "lake")
    with lake.database() as connection:
        lake.view(connection, "feedback")
        [(key,)] = connection.execute("SELECT min(feedback_id) FROM feedback").fetchall()
    return str(key)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_anything_that_changed_is_looked_at(config: Path, change: Callable[[Path], object]) -> None:
    assert unchanged.look(config) is not None
    change(config.parent)
    assert unchanged.look(config) is None


def test_a_file_with_another_content_but_the_same_size_and_time_is_out_of_reach_of_every_run(config: Path) -> None:
    """Rewritten in place and its time set back: docs/operations.md says so. A whole run reads nothing either."""
    path = config.parent / "logs" / "a.jsonl"
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"bad\n", b"{}}\n"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert unchanged.look(config) is not None
    (config.parent / "lake" / unchanged.FILE_NAME).unlink()
    assert command(config)["records"] == 0


def test_a_workspace_that_was_copied_is_another_one(config: Path, tmp_path: Path) -> None:
    """Its record still names the first one's files, which have not changed."""
    shutil.copytree(config.parent / "lake", tmp_path / "copy" / "lake")
    shutil.copy2(config, tmp_path / "copy")
    assert unchanged.look(tmp_path / "copy" / config.name) is None
    assert unchanged.look(config) is not None


def test_another_version_of_a_rule_or_a_module_is_looked_at(config: Path, tmp_path: Path) -> None:
    package = tmp_path / "code" / "ingest"
    shutil.copytree(Path(ingest.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    rule, reader = package / "rules" / "edit.sql", package / "readers" / "winnow.py"
    code = (
        f"from pathlib import Path; from ingest import unchanged; print(unchanged.look(Path({str(config)!r})) is None)"
    )

    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "code")}

    def differs() -> str:
        return subprocess.run(
            [sys.executable, "-c", code, str(config)], cwd=tmp_path, env=environment,
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip

    assert differs() == "False"
    for path in (rule, reader):
        old = path.read_text()
        path.write_text(old + "\n")
        assert differs() == "True"
        path.write_text(old)
    assert differs() == "False"


def test_a_pending_line_is_looked_at_when_its_file_has_settled(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record holds until then; the run after it quarantines the line."""
    path = config.parent / "logs" / "b.jsonl"
    settles = path.stat().st_mtime + 3600
    for now, nothing_new in ((settles - 0.01, True), (settles + 0.01, False)):
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda now=now: now)
            assert (unchanged.look(config) is not None) == nothing_new
    os.utime(path, (settles - 7201, settles - 7201))
    summary = command(config)
    assert (summary["quarantined_by_reason"], summary["pending_bytes"]) == ({"torn": 1}, 0)
    assert unchanged.look(config) is not None


def test_an_orphan_is_looked_at_when_it_is_overdue(config: Path, workspace: Any) -> None:
    """A week after its vote was read; nothing is pending then that would settle before."""
    os.utime(config.parent / "logs" / "b.jsonl", (0, 0))
    assert command(config)["overdue_orphans"] == 0
    record = json.loads((config.parent / "lake" / unchanged.FILE_NAME).read_text())
    read = dict(workspace.rows("feedback", "source_id", "ingest_time"))["fb-2"]
    assert record["changes_at"] == pytest.approx(read.timestamp() + 7 * 86400, abs=1e-3)
    config.write_text(config.read_text() + "[pairing]\norphan_days = 0\n")
    assert command(config)["overdue_orphans"] == 1
    record = json.loads((config.parent / "lake" / unchanged.FILE_NAME).read_text())
    assert record["changes_at"] is None


def test_a_stopped_run_leaves_its_rest_to_be_looked_at(config: Path, interaction: Any, log: Any) -> None:
    """The new log is read and taken away before pairing: every file is as the first run left it, the lake is not."""
    new = config.parent / "logs" / "c.jsonl"
    new.write_bytes(log(interaction(77)))  # what the waiting thumb is about
    complete_run(config, max_seconds=0)
    new.unlink()
    assert unchanged.look(config) is None
    summary = command(config)
    assert (summary["complete"], summary["orphans"], summary["unpaired"]) == (True, 0, {"total": 2})


def test_a_file_that_grows_while_it_is_read_is_looked_at(
    config: Path, interaction: Any, log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run is given is taken down before it reads anything."""
    path, append = config.parent / "logs" / "c.jsonl", Lake.append

    def appending(lake: Lake, table: str, *rest: Any) -> None:
        append(lake, table, *rest)
        with path.open("ab") as file:
            file.write(log(interaction(9)))

    path.write_bytes(log(interaction(8)))
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "append", appending)
        complete_run(config)
    assert unchanged.look(config) is None


def test_the_record_is_private(config: Path) -> None:
    path = config.parent / "lake" / unchanged.FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.with_name(path.name + ".new").exists()


def test_a_label_store_on_a_server_is_always_asked(config: Path) -> None:
    (config.parent / "lake" / unchanged.FILE_NAME).unlink()
    assert unchanged.sqlite_file("postgresql://labels@db/winnow") == ""
    loaded = settings.load(config)
    on_server = loaded.model_copy(update={"labels": settings.Labels(url="postgresql://labels@db/winnow")})
    unchanged.Record(on_server).keep({}, None)
    assert unchanged.look(config) is None
    unchanged.Record(loaded).keep({}, None)
    assert unchanged.look(config) is not None


def test_settings_that_no_file_states_are_always_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    schedule.run(settings.load(), Console(stderr=True), None, 0)
    assert (tmp_path / "data" / "lake").is_dir()
    assert not (tmp_path / "data" / "lake" / unchanged.FILE_NAME).exists()
    assert unchanged.look(None) is None
