"""A user who is erased is nowhere in the lake nor in any byte on disk, and everybody else is as before."""

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.erase import erase
from ingest.errors import ErasureError, LakeBusyError, SettingsError
from ingest.pseudonyms import Pseudonyms
from ingest.settings import load

Make = Callable[..., dict[str, Any]]
Log = Callable[..., bytes]

TABLES = ("interactions", "feedback", "quarantine", "triples", "unpaired")
VOLATILE = ("run_id", "ingest_time", "day", "file_id", "byte_offset", "quarantine_id", "path")
"""Columns that differ between lakes of the same records in other files; `day` where a record has no time."""

CONFIG = """
lake = "lake"
curated = "curated"
[[sources]]
name = "app"
path = "logs/*"
[labels]
url = "sqlite:///labels.db"
"""


def contents(root: Path) -> Iterator[tuple[str, str]]:
    """Yield path and text of every file, and of Parquet the columns, too; the raw logs and the ledger apart."""
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.parent.name != "logs" and path.name != "subjects.jsonl":
            yield str(path), path.read_bytes().decode("utf-8", errors="replace")
            if path.suffix == ".parquet":
                yield str(path), json.dumps(pq.read_table(path).to_pylist(), default=str, ensure_ascii=False)


def holding(workspace: Any, *words: str) -> set[str]:
    """Return the words that some file still holds."""
    return {word for _, text in contents(workspace.root) for word in words if word in text}


def pseudonym(workspace: Any, user: str) -> str:
    name = Pseudonyms(workspace.settings.pseudonym_key).of(user)
    assert name
    return name


def tables(workspace: Any) -> dict[str, Any]:
    """Return every row, less what differs between lakes of the same records in other files."""
    found = {name: workspace.arrow(name) for name in TABLES}
    return {
        name: table.drop_columns([column for column in VOLATILE if column in table.column_names]).to_pylist()
        for name, table in found.items()
    }


def of_ann(interaction: Make, thumb: Make) -> list[dict[str, Any]]:
    """Return all that an erasure of ann takes: 5 responses, 4 thumbs and edits, 3 lines that no reader takes."""
    ann, bob = ({"rater": {"kind": "user", "id": name}} for name in ("ann", "bob"))
    sails, alone = "ann's violet submarine sails at dawn", {"user_id": None, "conversation_id": None}
    return [
        interaction(1001, sails, "ann's answer is: it sails at noon, dear", user_id="ann"),
        interaction(1002, sails, "ann's other one: it never sails", user_id="ann", conversation_id="conv-1001"),
        interaction(1003, "ann's next turn names no user at all", user_id=None, conversation_id="conv-1001"),
        interaction(1004, "ann's thread goes on, outside of any", parent_id="int-1003", **alone),
        interaction(1005, "ann's friend joins in, who is bob", user_id="bob", conversation_id="conv-1001"),
        thumb(1001, 1001, **bob),
        thumb(1002, 1002, -1, rater=None),
        thumb(1003, 11, signal="edit", text="ann's better answer for bob is far longer", value=None, scale=None, **ann),
        thumb(1004, 12, **ann),
        {"winnow": 1, "kind": "interaction", "id": "x", "user_id": "ann", "time": "ann's line has no time at all, so"},
        {"winnow": 1, "kind": "feedback", "id": "y", "target": {"id": "int-1001"}, "text": "ann's voice"},
        {"unknown": f"it repeats: {sails}"},
    ]


def of_bob(interaction: Make, thumb: Make) -> list[dict[str, Any]]:
    """Return what stays: 3 responses, 3 thumbs, a line that no reader takes."""
    bob, weather = {"rater": {"kind": "user", "id": "bob"}}, "Please say something about the good weather"
    return [
        interaction(11, "What is the capital of that fine country?", "It is a city on the river", user_id="bob"),
        interaction(12, weather, "It is going to rain", user_id="bob", shown=True),
        interaction(13, weather, "Sunny", user_id="bob", conversation_id="conv-12", shown=True),
        thumb(11, 12, -1, **bob),
        thumb(12, 13, **bob),
        thumb(13, 11, **bob),
        {"winnow": 1, "kind": "interaction", "id": "z", "user_id": "bob", "time": "bob's line has no time either"},
    ]


def fill(workspace: Any, interaction: Make, thumb: Make, log: Log) -> Any:
    """Read ann and bob from two files, in two runs."""
    records = [*of_ann(interaction, thumb), *of_bob(interaction, thumb)]
    for number in range(2):
        (workspace.logs / f"{number}.jsonl").write_bytes(log(*records[number::2]))
        workspace.run()
    (workspace.root / "winnow.toml").write_text(CONFIG)
    return workspace


@pytest.fixture
def filled(workspace: Any, interaction: Make, thumb: Make, log: Log) -> Any:
    return fill(workspace, interaction, thumb, log)


@pytest.fixture
def without_ann(workspace: Any, tmp_path_factory: Any, interaction: Make, thumb: Make, log: Log) -> dict[str, Any]:
    """The tables of a lake that never heard of ann."""
    other = type(workspace)(tmp_path_factory.mktemp("without"))
    (other.logs / "a.jsonl").write_bytes(log(*of_bob(interaction, thumb)))
    other.run()
    return tables(other)


def test_nothing_of_the_user_is_left_and_nothing_of_others_is_missing(filled: Any, without_ann: dict[str, Any]) -> None:
    name = pseudonym(filled, "ann")
    assert holding(filled, "ann's", name) == {"ann's", name}
    before = tables(filled)
    done = erase(filled.settings, user="ann")
    assert holding(filled, "ann's", name, "int-1001") == set()
    after = tables(filled)
    assert after == without_ann
    assert [len(before[table]) - len(after[table]) for table in TABLES[:3]] == [5, 4, 3]
    assert {table: done.removed[table] for table in TABLES[:3]} == {"interactions": 5, "feedback": 4, "quarantine": 3}
    assert done.of_others == 1
    assert [len(offsets) for offsets in done.raw_logs.values()] == [6, 6]
    assert done.proof and done.proof.hits == {}
    assert [path for path in filled.settings.lake.rglob("_delta_log/*.json") if b"ann" in path.read_bytes()] == []


def test_the_rows_of_others_keep_every_byte(filled: Any) -> None:
    """All columns, provenance too."""
    theirs = {table: filled.arrow(table).to_pylist() for table in TABLES[:3]}
    erase(filled.settings, user="ann")
    for table, rows in theirs.items():
        left = filled.arrow(table).to_pylist()
        assert left == [row for row in rows if row in left]


def test_reading_the_logs_again_brings_nobody_back(
    filled: Any, without_ann: dict[str, Any], interaction: Make, log: Log
) -> None:
    """A new lake, the old logs and the ledger; then the logs joined in one new file, which begins with more of ann.

    In another place, two of her lines that nobody can read are known no more: they name her nowhere. They wait in
    quarantine, which nobody trains on, until she is erased again.
    """
    erase(filled.settings, pseudonym=pseudonym(filled, "ann"))
    shutil.rmtree(filled.settings.lake)
    summary = filled.run()
    assert summary.skipped() == {"erased": 12}
    assert summary.erasure is None
    assert tables(filled) == without_ann
    more = log(interaction(1099, "ann's newest question", user_id="ann", conversation_id="conv-99"))
    logs = [path.read_bytes() for path in sorted(filled.logs.iterdir())]
    (filled.logs / "2.jsonl").write_bytes(more + b"".join(logs))
    summary = filled.run()
    assert summary.skipped() == {"erased": 11, "duplicate": 6}
    assert summary.quarantined().total() == 3
    again = tables(filled)
    assert [again[name] for name in TABLES if name != "quarantine"] == [
        without_ann[name] for name in TABLES if name != "quarantine"
    ]


def test_a_dry_run_says_what_would_go_and_changes_nothing(filled: Any) -> None:
    before = {path: path.read_bytes() for path in filled.root.rglob("*") if path.is_file() and path.name != ".lock"}
    told = erase(filled.settings, user="ann", dry_run=True)
    after = {path: path.read_bytes() for path in filled.root.rglob("*") if path.is_file() and path.name != ".lock"}
    assert after == before
    done = erase(filled.settings, user="ann")
    assert (told.removed, told.of_others, told.raw_logs) == (
        {table: count for table, count in done.removed.items() if table in told.removed}, done.of_others, done.raw_logs
    )  # fmt: skip


def test_again_and_of_nobody(filled: Any) -> None:
    erase(filled.settings, user="ann")
    before = tables(filled)
    again = erase(filled.settings, user="ann")
    nobody = erase(filled.settings, user="nobody")
    assert not any(again.removed.values()) and not any(nobody.removed.values())
    assert "is the name as the logs have it?" in nobody.remarks()[0]
    assert tables(filled) == before


def test_what_turns_out_later_to_be_of_an_erased_user_goes_then(
    workspace: Any, interaction: Make, thumb: Make, log: Log
) -> None:
    """Turns 1 and 2 name no user and come first; an edit of turn 2 waits; then turn 3 names ann, who was erased."""
    first = [interaction(n, f"turn {n}", user_id=None, conversation_id="conv-1") for n in (1, 2)]
    edit = thumb(1, 2, signal="edit", text="A far better answer", value=None, scale=None, rater=None)
    (workspace.logs / "0.jsonl").write_bytes(log(*first, edit, interaction(9, user_id="bob")))
    assert workspace.run().paired.total == 1
    erase(workspace.settings, user="ann")
    assert len(workspace.rows("interactions", "source_id")) == 3
    (workspace.logs / "1.jsonl").write_bytes(log(interaction(3, user_id="ann", conversation_id="conv-1")))
    summary = workspace.run()
    assert summary.skipped() == {"erased": 1}
    assert summary.erasure is not None
    assert {table: summary.erasure.removed[table] for table in TABLES[:2]} == {"interactions": 2, "feedback": 1}
    assert workspace.rows("interactions", "source_id") == ["int-9"]
    assert summary.paired.total == 0
    assert workspace.run().erasure is None


@pytest.mark.parametrize(
    ("given_names", "message"),
    [
        ({}, "Name one user"),
        ({"user": "ann", "pseudonym": "u:" + "0" * 32}, "Name one user"),
        ({"pseudonym": "ann"}, "is no pseudonym"),
        ({"user": "ann\udcff"}, "is not UTF-8"),
    ],
    ids=["nobody", "two names", "no pseudonym", "no text"],
)
def test_names_that_are_none_are_refused(filled: Any, given_names: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        erase(filled.settings, **given_names)
    assert not filled.settings.subjects.exists()


def test_without_the_key_nobody_is_erased_by_a_new_one(filled: Any) -> None:
    filled.settings.pseudonym_key.unlink()
    with pytest.raises(SettingsError, match="No pseudonym key"):
        erase(filled.settings, user="ann")
    assert not filled.settings.pseudonym_key.exists()


def test_two_at_once_wait_for_each_other(filled: Any) -> None:
    with filled.lake.locked("another"), pytest.raises(LakeBusyError):
        erase(filled.settings, user="ann")


def test_a_file_that_winnow_did_not_write_is_found_and_named(filled: Any) -> None:
    """Somebody's own notes in the folder of training runs: the last 32 characters of what ann said."""
    filled.settings = filled.settings.model_copy(
        update={"train": filled.settings.train.model_copy(update={"output": filled.root / "runs"})}
    )
    notes = filled.root / "runs" / "mine" / "notes.json"
    notes.parent.mkdir(parents=True)
    notes.write_text(json.dumps(["somebody said: the violet submarine", "it's violet submarine sails at dawn"]))
    with pytest.raises(ErasureError, match=r"1 files still hold .*notes\.json"):
        erase(filled.settings, user="ann")
    notes.unlink()
    assert filled.run().erasure is not None  # the next run ends it
    proof = erase(filled.settings, user="ann").proof
    assert proof and proof.hits == {}


KILLS = 7


def test_killed_anywhere_and_run_again(filled: Any, without_ann: dict[str, Any], tmp_path_factory: Any) -> None:
    """SIGKILL at the beginning of each step and within them; then `erase` again, or every other time `ingest run`."""
    name = pseudonym(filled, "ann")
    killed = 0
    for number in range(KILLS):
        folder = tmp_path_factory.mktemp("killed") / "workspace"
        shutil.copytree(filled.root, folder)
        ended = _kill(folder, step=1 + number % 7, after=0.004 * (number // 7) * number)
        killed += ended == -signal.SIGKILL
        began = (folder / "subjects.jsonl").exists()
        other = moved(filled, folder)
        if number % 2 or not began:
            erase(other.settings, user="ann")
        else:
            other.run()
        assert holding(other, "ann's", name) == set(), number
        assert tables(other) == without_ann
    assert killed >= KILLS - 2


def moved(workspace: Any, folder: Path) -> Any:
    """Return the workspace that was copied to `folder`."""
    other = copy.copy(workspace)
    other.root, other.logs, other.settings = folder, folder / "logs", load(folder / "winnow.toml")
    return other


def _kill(folder: Path, *, step: int, after: float) -> int:
    """Start an erasure, kill it so many seconds after it said that the step begins, and return how it ended."""
    command = [sys.executable, "-m", "ingest", "erase", "--user", "ann", "--config", str(folder / "winnow.toml")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr
    for line in process.stderr:
        if line.startswith(f"erase {step}/"):
            time.sleep(after)
            os.kill(process.pid, signal.SIGKILL)
            break
    process.stderr.close()
    return process.wait()


ACTORS = st.sampled_from(["ann", "bob", "cyd", None])
SERVED = st.tuples(ACTORS, st.sampled_from([None, "c-1", "c-2", "c-3"]), st.sampled_from([None, 0, 1, 2, 3]))
RATED = st.tuples(ACTORS, st.integers(0, 7), st.sampled_from([1, -1]))


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(served=st.lists(SERVED, min_size=1, max_size=8), rated=st.lists(RATED, max_size=6))
def test_an_erasure_equals_logs_without_the_user(
    workspace: Any, interaction: Make, thumb: Make, log: Log, tmp_path_factory: Any, served: Any, rated: Any
) -> None:
    """An independent reading of the definition: what one naive pass after the other finds to be ann's."""
    theirs = {number for number, (user, _, _) in enumerate(served) if user == "ann"}
    for _ in served:
        talks = {served[number][1] for number in theirs} - {None}
        parents = {served[number][2] for number in theirs}
        theirs |= {n for n, (_, talk, parent) in enumerate(served) if talk in talks or parent in theirs or n in parents}
    events = {n for n, (rater, target, _) in enumerate(rated) if rater == "ann" or target in theirs}

    def records(without: bool) -> list[dict[str, Any]]:
        responses = [
            interaction(n, "Same question", f"Answer {n}", user_id=user, conversation_id=talk, shown=True,
                        parent_id=None if parent is None else f"int-{parent}")
            for n, (user, talk, parent) in enumerate(served) if not (without and n in theirs)
        ]  # fmt: skip
        thumbs = [
            thumb(n, target, value, rater={"kind": "user", "id": rater} if rater else None)
            for n, (rater, target, value) in enumerate(rated) if not (without and n in events)
        ]  # fmt: skip
        return responses + thumbs

    found = []
    for without in (False, True):
        one = type(workspace)(tmp_path_factory.mktemp("random"))
        (one.logs / "a.jsonl").write_bytes(log(*records(without)) or b"\n")
        one.run()
        if not without:
            done = erase(one.settings, user="ann")
            assert (done.removed["interactions"], done.removed["feedback"]) == (len(theirs), len(events))
        found.append(tables(one))
    assert found[0] == found[1]
