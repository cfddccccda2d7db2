"""The command line: stdout is data, and every mistake is one line on stderr."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from app.export import WHAT, schema, to_file, to_lines
from app.store import Store, open_store
from app.voting import Desk
from ingest.errors import SettingsError
from ingest.settings import Labels
from tests.app.conftest import Workspace, candidate


def run(workspace: Workspace, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments, "--config", str(workspace.config)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture
def labelled(make_workspace: Callable[..., Workspace]) -> Workspace:
    """Three pairs: ada says left on the first, takes it back, says tie, and skips the second."""
    workspace = make_workspace([candidate(n) for n in range(3)])
    assert json.loads(run(workspace, "load").stdout)["new"] == 3
    store = open_store(workspace.url)
    ada = Desk(store, "ada", Labels(url=workspace.url, seed=7))
    first = ada.next()
    assert first
    event = ada.vote(first, "left")
    assert event
    again = ada.undo(event.event_id)
    assert again and ada.vote(again, "right")
    second = ada.next()
    assert second and ada.vote(second, "skip")
    store.engine.dispose()
    return workspace


def test_load_says_what_changed(labelled: Workspace) -> None:
    done = run(labelled, "load", str(labelled.root / "data/curated/latest/candidates.parquet"))
    found = json.loads(done.stdout)
    assert {name: found[name] for name in ("pairs", "new", "moved", "slots", "unchanged")} == {
        "pairs": 3, "new": 0, "moved": 0, "slots": 0, "unchanged": 3,
    }  # fmt: skip


def test_status_is_one_line_of_json_and_a_table_beside_it(labelled: Workspace) -> None:
    done = run(labelled, "status")
    found = json.loads(done.stdout)
    assert found["queue"] == {"pairs": 3, "complete": 1, "leased": 0, "wanted": 2}
    (ada,) = found["annotators"]
    assert {name: ada[name] for name in ("annotator", "left", "right", "skip", "retracted")} == {
        "annotator": "ada", "left": 0, "right": 1, "skip": 1, "retracted": 1,
    }  # fmt: skip
    assert "3 pairs: 1 complete, 2 verdicts still wanted" in done.stderr


def test_export_of_events_and_of_the_verdicts_that_stand(labelled: Workspace) -> None:
    events = [json.loads(line) for line in run(labelled, "export", "events").stdout.splitlines()]
    said = [(event["kind"], event["verdict"]) for event in events]
    assert said == [("verdict", "left"), ("retract", None), ("verdict", "right"), ("verdict", "skip")]
    assert events == labelled.events()
    verdicts = [json.loads(line) for line in run(labelled, "export", "verdicts").stdout.splitlines()]
    assert [(row["seq"], row["verdict"]) for row in verdicts] == [(3, "right"), (4, "skip")]
    pair = candidate(0)
    assert verdicts[0]["pair_id"] == pair["pair_id"]
    assert verdicts[0]["chosen_interaction_id"] == verdicts[0]["right_interaction_id"]
    assert verdicts[0]["rejected_interaction_id"] == verdicts[0]["left_interaction_id"]
    assert (verdicts[1]["chosen_interaction_id"], verdicts[1]["rejected_interaction_id"]) == (None, None)


@pytest.mark.parametrize("what", sorted(WHAT))
def test_parquet_and_lines_say_the_same(
    labelled: Workspace, what: str, tmp_path: Path, open_url: Callable[[str], Store]
) -> None:
    store = open_url(labelled.url)
    lines, table = tmp_path / "out/a.jsonl", tmp_path / "out/a.parquet"
    assert to_file(store, what, lines) == to_file(store, what, table)
    assert pq.read_table(table).to_pylist() == [json.loads(line) for line in lines.read_text().splitlines()]
    assert pq.read_schema(table).equals(schema(what))
    assert sorted(file.name for file in table.parent.iterdir()) == ["a.jsonl", "a.parquet"]


def test_export_from_postgresql(store: Store, tmp_path: Path) -> None:
    """An empty store exports a file with the columns and no rows, on both databases."""
    assert to_file(store, "verdicts", tmp_path / "v.parquet") == 0
    assert pq.read_schema(tmp_path / "v.parquet").equals(schema("verdicts"))
    with (tmp_path / "e.jsonl").open("w") as out:
        assert to_lines(store, "events", out) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        pytest.param(["load", "nowhere.parquet"], 3, "nowhere.parquet is not a readable Parquet file", id="no-file"),
        pytest.param(["export", "events", "--output", "labels.csv"], 2, "ends in .parquet or .jsonl", id="format"),
    ],
)
def test_a_mistake_is_one_line(labelled: Workspace, arguments: list[str], code: int, says: str) -> None:
    done = run(labelled, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ") and says in done.stderr and done.stderr.count("\n") == 1


def test_nothing_is_overwritten(labelled: Workspace, tmp_path: Path, open_url: Callable[[str], Store]) -> None:
    (tmp_path / "mine.jsonl").write_text("kept")
    with pytest.raises(SettingsError, match=r"mine\.jsonl is there already"):
        to_file(open_url(labelled.url), "events", tmp_path / "mine.jsonl")
    assert (tmp_path / "mine.jsonl").read_text() == "kept"
