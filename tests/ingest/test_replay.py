"""Replay: what each reason becomes after its fix, in exact numbers; exactly once; and the books add up afterwards."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest import pairing
from ingest.errors import RecordError, SettingsError
from ingest.lake import Lake
from ingest.pseudonyms import Pseudonyms
from ingest.readers.reading import Reading
from ingest.readers.trl_preference import TRLPreference
from ingest.readers.winnow import Winnow
from ingest.replay import NOTE, Replayed, replay
from ingest.rereading import Chosen
from ingest.subjects import Subjects
from tests.ingest.conftest import Workspace

Make = Callable[..., dict[str, Any]]
Log = Callable[..., bytes]
ALL = Chosen()


def books(workspace: Workspace) -> dict[str, Any]:
    """Return the life's accounts, checked: they add up, and quarantine holds as many rows as they say."""
    total = dict.fromkeys(("lines", "records", "interactions", "feedback", "quarantined", "skipped"), 0)
    reasons: dict[str, int] = {}
    for row in workspace.arrow("files").to_pylist():
        for name in total:
            total[name] += row[name]
        for reason, count in row["quarantined_by_reason"]:
            reasons[reason] = reasons.get(reason, 0) + count
    assert total["records"] == total["interactions"] + total["feedback"] + total["quarantined"] + total["skipped"]
    assert total["interactions"] == len(workspace.rows("interactions", "interaction_id"))
    assert total["feedback"] == len(workspace.rows("feedback", "feedback_id"))
    held: dict[str, int] = {}
    for reason in workspace.rows("quarantine", "reason"):
        held[reason] = held.get(reason, 0) + 1
    assert {reason: count for reason, count in reasons.items() if count} == held
    assert total["quarantined"] == sum(held.values())
    return total


def again(workspace: Workspace, chosen: Chosen = ALL, **options: Any) -> Replayed:
    """Replay; what was chosen is all accounted for, and the books add up."""
    done = replay(workspace.settings, chosen, **options)
    assert done.before == done.read.total() + done.still.total() + done.lost.total()
    books(workspace)
    return done


def settled(path: Path) -> None:
    """Make a file look as if it had not been written for long."""
    old = time.time() - 7200
    os.utime(path, (old, old))


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the reader refuse every arm "b" until the function is called: then it is fixed."""
    read = Winnow.read

    def refusing(reader: Winnow, record: Any) -> Reading:
        if record.get("arm") == "b":
            raise RecordError("bad_value", "arm: expected a.")
        return read(reader, record)

    monkeypatch.setattr(Winnow, "read", refusing)
    return lambda: monkeypatch.setattr(Winnow, "read", read)


def test_a_fixed_reader_gives_the_lake_of_a_clean_run(
    workspace: Workspace, interaction: Make, thumb: Make, log: Log, broken: Callable[[], None], tmp_path: Path
) -> None:
    """Of 8 lines 3 fail and one is text; one of the 3 has two choices, one repeats a response that was read."""
    two = interaction(2, arm="b")
    two["response"]["choices"].append({"index": 1, "message": {"role": "assistant", "content": "Other"}})
    records = [interaction(1), two, thumb(1, 2), interaction(3, arm="b"), interaction(4), interaction(4, arm="b")]
    content = log(*records) + b"no json\n" + log(interaction(5))
    path = workspace.logs / "a.jsonl"
    path.write_bytes(content)
    assert workspace.run().totals() == {
        "lines": 8, "records": 8, "interactions": 3, "feedback": 1, "quarantined": 4, "skipped": 0,
    }  # fmt: skip
    nothing = again(workspace)
    assert (nothing.still, nothing.read.total()) == ({"bad_value": 3, "not_json": 1}, 0)
    versions = workspace.versions()
    broken()
    tried = again(workspace, dry_run=True)
    assert workspace.versions() == versions
    path.rename(workspace.logs / "b.jsonl")
    (workspace.logs / "b.jsonl.gz").write_bytes(gzip.compress(content))
    (workspace.logs / "b.jsonl").unlink()
    done = again(workspace)
    assert (done.read, done.still, done.lost) == ({"bad_value": 3}, {"not_json": 1}, {})
    assert (done.interactions, done.feedback, done.skipped) == (3, 0, {"duplicate": 1})
    assert (tried.read, tried.still, tried.interactions, tried.skipped) == (
        done.read, done.still, done.interactions, done.skipped,
    )  # fmt: skip
    assert list(books(workspace).values()) == [8, 9, 6, 1, 1, 1]
    (tmp_path / "clean").mkdir()
    other = Workspace(tmp_path / "clean")
    (other.logs / "a.jsonl").write_bytes(content)
    other.run()
    clean = other.stable()
    here = workspace.stable()
    for table in ("interactions", "feedback", "quarantine"):
        for row in (*clean[table], *here[table]):
            row.pop("file_id")  # made of the file's name
    assert here == clean
    assert len(workspace.rows("unpaired", "unpaired_id")) == len(other.rows("unpaired", "unpaired_id")) == 1
    twice = again(workspace)
    assert (twice.before, twice.read.total()) == (1, 0)
    assert workspace.run().totals()["records"] == 0


def test_filters_choose_by_source_reason_and_file(workspace: Workspace, log: Log) -> None:
    (workspace.logs / "a.jsonl").write_bytes(b"x\n[1]\n")
    (workspace.logs / "b.jsonl").write_bytes(b"y\n")
    workspace.run()
    assert [
        again(workspace, Chosen(**given)).before
        for given in ({}, {"source": "app"}, {"reason": "not_json"}, {"file": "a.jsonl"}, {"file": "*/logs/b*"},
                      {"file": "c.jsonl"}, {"reason": "not_an_object", "file": "a.*"})
    ] == [3, 3, 2, 2, 1, 0, 1]  # fmt: skip
    with pytest.raises(SettingsError, match='No source is named "none"'):
        again(workspace, Chosen(source="none"))
    with pytest.raises(SettingsError, match='No reason is named "none"'):
        again(workspace, Chosen(reason="none"))


def test_a_raised_limit_reads_what_was_oversized(workspace: Workspace, interaction: Make, log: Log) -> None:
    """Lines of 5,000 and 9,000 bytes and more: more than the 4,096 that are kept of them, and a limit between."""
    records = [interaction(1), interaction(2, answer="x" * 5_000), interaction(3, answer="y" * 9_000)]
    (workspace.logs / "a.jsonl").write_bytes(log(*records))
    workspace.limited(line_bytes=1_000)
    assert workspace.run().quarantined() == {"oversized": 2}
    workspace.limited(line_bytes=7_000)
    done = again(workspace)
    assert (done.read, done.still) == ({"oversized": 1}, {"oversized": 1})
    workspace.limited()
    done = again(workspace)
    assert (done.read, done.interactions) == ({"oversized": 1}, 1)
    assert list(books(workspace).values()) == [3, 3, 3, 0, 0, 0]
    [offset] = [o for s, o in workspace.rows("interactions", "source_id", "byte_offset") if s == "int-3"]
    assert offset == len(log(*records[:2]))


def test_a_torn_line_that_was_completed_is_read_by_run(workspace: Workspace, interaction: Make, log: Log) -> None:
    """The line's end came in two pieces, each after the run before had given up: two torn rows, then one record."""
    path, second = workspace.logs / "a.jsonl", log(interaction(2))
    content = b""
    for nth, piece in enumerate((log(interaction(1)) + second[:40], second[40:90], second[90:] + log(interaction(3)))):
        content += piece
        path.write_bytes(content)
        settled(path)
        assert again(workspace).waits.total() == nth
        workspace.run()
    assert list(books(workspace).values()) == [5, 5, 3, 0, 2, 0]
    done = again(workspace)
    assert (done.read, done.interactions) == ({"torn": 2}, 0)
    assert list(books(workspace).values()) == [3, 3, 3, 0, 0, 0]


@pytest.mark.parametrize("cut", [0.4, 1.0], ids=["within", "only its checksum"])
def test_a_mended_archive_is_read_by_run_and_replay_closes_the_case(
    workspace: Workspace, interaction: Make, log: Log, cut: float
) -> None:
    content = log(*(interaction(i, answer=os.urandom(200).hex()) for i in range(40)))
    packed = gzip.compress(content)
    path = workspace.logs / "a.jsonl.gz"
    path.write_bytes(packed[: int((len(packed) - 8) * cut)])
    settled(path)
    first = workspace.run()
    assert first.quarantined() == {"corrupt_archive": 1}
    assert again(workspace).still == {"corrupt_archive": 1}
    path.write_bytes(packed)
    if cut < 1:
        done = again(workspace)
        assert (done.still, done.waits.total()) == ({"corrupt_archive": 1}, 1)
    workspace.run()
    done = again(workspace)
    assert (done.read, done.interactions, done.still) == ({"corrupt_archive": 1}, 0, {})
    assert list(books(workspace).values()) == [40, 40, 40, 0, 0, 0]


def test_a_conflict_is_read_once_the_first_record_is_gone(workspace: Workspace, interaction: Make, log: Log) -> None:
    """Choice 0 conflicts, choice 1 is a duplicate, choice 2 is new: 3 records are counted as 1 + 1 + 1."""

    def line(*answers: str) -> dict[str, Any]:
        record = interaction(1)
        choices = [{"index": i, "message": {"role": "assistant", "content": text}} for i, text in enumerate(answers)]
        record["response"]["choices"] = choices
        return record

    (workspace.logs / "a.jsonl").write_bytes(log(line("a", "b")))
    (workspace.logs / "b.jsonl").write_bytes(log(line("A", "b", "c")))
    workspace.run()
    assert list(books(workspace).values()) == [2, 5, 3, 0, 1, 1]
    assert again(workspace).still == {"id_conflict": 1}
    first = [key for key, index in workspace.rows("interactions", "interaction_id", "choice_index") if index == 0]
    assert workspace.lake.delete("interactions", first) == 1
    done = replay(workspace.settings, ALL)
    assert (done.read, done.interactions, done.skipped) == ({"id_conflict": 1}, 1, {})
    said = dict(workspace.rows("interactions", "choice_index", "response"))
    assert {index: response[0]["content"] for index, response in said.items()} == {0: "A", 1: "b", 2: "c"}
    [after] = [sum(row["records"] for row in workspace.arrow("files").to_pylist())]
    assert after == 5  # 3 + 0 (the deletion keeps its own books) + 1 + 1


def test_a_fixed_line_that_conflicts_stays_for_that(
    workspace: Workspace, interaction: Make, log: Log, broken: Callable[[], None]
) -> None:
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1), interaction(1, answer="other", arm="b")))
    workspace.run()
    broken()
    done = again(workspace)
    assert (done.changed, done.still) == ({("bad_value", "id_conflict"): 1}, {"id_conflict": 1})
    assert list(books(workspace).values()) == [2, 2, 1, 0, 1, 0]
    assert again(workspace).still == {"id_conflict": 1}


def test_rows_of_parquet(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,200 rows in batches of 512, each 2 interactions and a choice; the reader first refuses rows 3 and 700."""
    rows = [{"prompt": f"q{i}", "chosen": f"a{i}", "rejected": f"b{i}"} for i in range(1200)]
    pq.write_table(pa.Table.from_pylist(rows), workspace.logs / "a.parquet")
    read = TRLPreference.read

    def refusing(reader: TRLPreference, record: Any) -> Reading:
        if record["prompt"] in ("q3", "q700"):
            raise RecordError("bad_value", "prompt: refused.")
        return read(reader, record)

    with monkeypatch.context() as patch:
        patch.setattr(TRLPreference, "read", refusing)
        assert workspace.run().quarantined() == {"bad_value": 2}
        assert again(workspace).still == {"bad_value": 2}
    assert sorted(workspace.rows("quarantine", "byte_offset")) == [3, 700]
    (workspace.logs / "a.parquet").rename(workspace.logs / "b.parquet")
    done = again(workspace)
    assert (done.read, done.interactions, done.feedback) == ({"bad_value": 2}, 4, 2)
    assert list(books(workspace).values()) == [1200, 3600, 2400, 1200, 0, 0]


def test_without_its_file_only_a_text_that_nothing_was_redacted_in_is_read(
    workspace: Workspace, interaction: Make, log: Log, broken: Callable[[], None]
) -> None:
    anonymous = interaction(1, arm="b", user_id=None)
    records = [
        interaction(0),
        anonymous,
        interaction(2, arm="b"),
        interaction(3, arm="b", user_id=None, answer="a@b.org"),
    ]
    path = workspace.logs / "a.jsonl"
    path.write_bytes(log(*records))
    workspace.run()
    path.unlink()
    broken()
    done = again(workspace)
    assert (done.read, done.still, done.lost) == ({"bad_value": 1}, {}, {"file_gone": 2})
    assert sorted(workspace.rows("interactions", "source_id", "byte_offset")) == [
        ("int-0", 0), ("int-1", len(log(records[0]))),
    ]  # fmt: skip
    path.write_bytes(log(*records))
    assert again(workspace).read == {"bad_value": 2}
    assert list(books(workspace).values()) == [4, 4, 4, 0, 0, 0]


def test_another_line_at_the_place_is_not_read(
    workspace: Workspace, interaction: Make, log: Log, broken: Callable[[], None]
) -> None:
    path, filler = workspace.logs / "a.jsonl", log(*(interaction(i) for i in range(10, 30)))
    path.write_bytes(log(interaction(0), interaction(1, arm="b")) + filler)
    workspace.run()
    path.write_bytes(log(interaction(0), interaction(7, arm="b")) + filler)
    broken()
    assert again(workspace).lost == {"line_changed": 1}


@pytest.mark.parametrize(
    "stop", ["append interactions", "append feedback", "append files", "delete", "replace", "pair"]
)
def test_a_replay_that_is_stopped_anywhere_is_completed_by_the_next(
    workspace: Workspace, interaction: Make, thumb: Make, log: Log, broken: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch, stop: str,
) -> None:  # fmt: skip
    """One line gives two interactions, one a thumb, one a conflict."""
    two = interaction(2, arm="b")
    two["response"]["choices"].append({"index": 1, "message": {"role": "assistant", "content": "Other"}})
    records = [interaction(1), two, thumb(1, 2, arm="b"), interaction(1, answer="other", arm="b")]
    (workspace.logs / "a.jsonl").write_bytes(log(*records))
    workspace.run()
    broken()
    with monkeypatch.context() as patch:
        name, _, table = stop.partition(" ")
        target, name = (pairing, "build") if name == "pair" else (Lake, name)
        whole = getattr(target, name)

        def stopping(*given: Any) -> Any:
            if table and given[1] != table:
                return whole(*given)
            raise KeyboardInterrupt

        patch.setattr(target, name, stopping)
        with pytest.raises(KeyboardInterrupt):
            replay(workspace.settings, ALL)
    assert workspace.run().totals()["records"] == 0
    done = again(workspace)
    assert done.before == (3 if stop.startswith("append") and stop != "append files" else 1)
    assert workspace.rows("quarantine", "reason") == ["id_conflict"]
    assert list(books(workspace).values()) == [4, 5, 3, 1, 1, 0]
    assert len(workspace.rows("unpaired", "unpaired_id")) == 1
    assert not (workspace.settings.lake / NOTE).exists()


def test_label_events(workspace: Workspace) -> None:
    """Covered by a store whose event is unknown: it is found again by its place in the store."""
    import sqlite3

    from ingest.schema import LABEL_EVENT_COLUMNS

    with sqlite3.connect(workspace.root / "labels.db") as store:
        store.execute(f"CREATE TABLE event ({', '.join(LABEL_EVENT_COLUMNS)})")
        values = (1, "e", "2026-10-01T00:00:00Z", "ann", "verdict", "maybe", None, "p", "l", "r", "1", 0, "ask")
        padded = (*values, *[None] * (len(LABEL_EVENT_COLUMNS) - len(values)))
        store.execute(f"INSERT INTO event VALUES ({', '.join('?' * len(padded))})", padded)
    store.close()
    workspace.run()
    done = again(workspace)
    assert (done.before, done.still) == (1, {"bad_value": 1})
    (workspace.root / "labels.db").unlink()
    assert again(workspace).lost == {"file_gone": 1}


def test_the_command(workspace: Workspace, interaction: Make, log: Log) -> None:
    (workspace.root / "winnow.toml").write_text('lake = "lake"\n[[sources]]\nname = "app"\npath = "logs/*"\n')
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1)) + b"bad\n")
    workspace.run()
    command = [sys.executable, "-m", "ingest", "replay", "--config", str(workspace.root / "winnow.toml")]
    done = subprocess.run([*command, "--reason", "not_json", "--dry-run"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["chosen"], printed["still_quarantined_by_reason"], printed["dry_run"]) == (1, {"not_json": 1}, True)
    assert "chosen = read + still quarantined + not reachable: 1 = 0 + 1 + 0" in done.stderr
    wrong = subprocess.run([*command, "--source", "none"], check=False, capture_output=True, text=True)
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_real_kills_change_nothing(workspace: Workspace, interaction: Make, log: Log, tmp_path: Path) -> None:
    """60 lines are too long until the limit is raised; kill -9 as commits appear, four times, then one whole replay."""
    records = [interaction(i, answer="x" * (200 if i % 2 else 3_000)) for i in range(120)]
    (workspace.logs / "a.jsonl").write_bytes(log(*records))
    workspace.limited(line_bytes=1_000)
    assert workspace.run().quarantined() == {"oversized": 60}
    config = workspace.root / "winnow.toml"
    config.write_text(
        'lake = "lake"\n[[sources]]\nname = "app"\npath = "logs/*"\n[limits]\ncommit_bytes = 40000\n'
        '[labels]\nurl = "sqlite:///labels.db"\n'
    )
    command = [sys.executable, "-m", "ingest", "replay", "--config", str(config)]
    kills = 0
    for kill in range(4):
        before = sum(1 for _ in workspace.settings.lake.rglob("*.parquet"))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            if sum(1 for _ in workspace.settings.lake.rglob("*.parquet")) > before + kill:
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.002)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 2
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(books(workspace).values()) == [120, 120, 120, 0, 0, 0]
    assert not (workspace.settings.lake / NOTE).exists()
    assert workspace.run().totals()["records"] == 0


def test_a_line_of_an_erased_user_leaves_quarantine_and_gives_no_row(
    workspace: Workspace, interaction: Make, log: Log, broken: Callable[[], None]
) -> None:
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1, user_id="u-2"), interaction(2, arm="b")))
    workspace.run()
    pseudonyms = Pseudonyms(workspace.settings.pseudonym_key)
    ledger = Subjects(workspace.settings.subjects, pseudonyms)
    ledger.erased.users.add(pseudonyms.of("u-017") or "")
    ledger.save("erasure-1")
    broken()
    done = again(workspace)
    assert (done.read, done.interactions, done.skipped) == ({"bad_value": 1}, 0, {"erased": 1})
    assert workspace.rows("interactions", "source_id") == ["int-1"]
