"""The deployment's log: what is logged is what the reader reads; no loss is silent, none reaches the caller."""

import errno
import json
import logging
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.errors import SettingsError
from ingest.log_files import LogFiles
from ingest.logger import DeploymentLog, current_turn
from ingest.readers.reading import Feedback, Interaction, Ref
from ingest.readers.winnow import Winnow

from .conftest import Workspace

REQUEST = {"model": "m", "messages": [{"role": "user", "content": "Ünïcode “q”"}], "temperature": 0.5}
RESPONSE = {
    "model": "m-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}],
}


def records(folder: Path) -> list[dict[str, Any]]:
    """Return the records of all files, each of which must be whole lines."""
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        raw = path.read_bytes()
        assert raw.endswith(b"\n") or not raw, f"{path} ends in a torn line"
        found += [json.loads(line) for line in raw.splitlines()]
    return found


def ids(folder: Path) -> list[str]:
    return sorted(record["id"] for record in records(folder) if record["kind"] != "loss")


def losses(folder: Path) -> list[dict[str, int]]:
    return [record["lost"] for record in records(folder) if record["kind"] == "loss"]


def read_interaction(record: dict[str, Any]) -> Interaction:
    (interaction,) = Winnow().read(record).interactions
    return interaction


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., DeploymentLog]]:
    """Make logs in tmp_path/"raw" with short waits; all are closed at the end."""
    made = []

    def new(**settings: Any) -> DeploymentLog:
        defaults: dict[str, Any] = {"linger_seconds": 0.001, "retry_seconds": 0.02, "warn_seconds": 0.01}
        made.append(DeploymentLog(tmp_path / "raw", **{**defaults, **settings}))
        return made[-1]

    yield new
    for log in made:
        log.close()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


def test_interaction_says_what_was_stated(make: Callable[..., DeploymentLog], raw: Path) -> None:
    log = make()
    stated: dict[str, Any] = {
        "conversation_id": "c-1",
        "parent_id": "int-0",
        "turn_index": 2,
        "user_id": "u-1",
        "consent": "training",
        "shown": False,
        "position": "left",
        "arm": "b",
        "propensity": 0.25,
        "latency_ms": 12.5,
        "logprob_model": "m-1",
    }
    given = log.interaction(REQUEST, RESPONSE, **stated)
    assert log.close()
    (record,) = records(raw)
    read = read_interaction(record)
    assert read.source_id == given
    assert read.prompt[0]["content"] == "Ünïcode “q”"
    assert {name: getattr(read, name) for name in stated if name != "user_id"} | {"user_id": read.user} == stated


FEEDBACK: list[tuple[str, Callable[[DeploymentLog], str], dict[str, Any]]] = [
    ("thumb", lambda log: log.thumb("i", up=False, rater="u"), {"value": -1, "scale_min": -1, "scale_max": 1}),
    ("rating", lambda log: log.rating("i", 4, (1, 5), rater="u", text="good"), {"value": 4, "text": "good"}),
    ("choice", lambda log: log.choice("i", [("j", 1)], rater="u", position="left"), {"others": [Ref("j", 1)]}),
    ("tie", lambda log: log.tie("i", ["j"], rater="u"), {"others": [Ref("j")]}),
    ("both_bad", lambda log: log.both_bad("i", ["j"], rater="u"), {"others": [Ref("j")]}),
    ("edit", lambda log: log.edit("i", "better", rater="u"), {"text": "better"}),
    ("regenerate", lambda log: log.regenerate("i", ["h"], rater="u"), {"others": [Ref("h")]}),
    ("accept", lambda log: log.accept("i", rater="u"), {"rater_kind": "user"}),
    ("copy", lambda log: log.copied("i", rater="u", rater_kind="annotator"), {"rater_kind": "annotator"}),
]


@pytest.mark.parametrize(("signal_name", "give", "expected"), FEEDBACK, ids=[case[0] for case in FEEDBACK])
def test_feedback_says_what_was_given(
    make: Callable[..., DeploymentLog],
    raw: Path,
    signal_name: str,
    give: Callable[[DeploymentLog], str],
    expected: dict[str, Any],
) -> None:
    log = make()
    given = give(log)
    assert log.close()
    (event,) = Winnow().read(records(raw)[0]).feedback
    assert (event.source_id, event.signal, event.target, event.rater) == (given, signal_name, Ref("i"), "u")
    assert (event.revision, event.retracted) == (0, False)
    assert {name: getattr(event, name) for name in expected} == expected


def test_changed_and_retracted_feedback_is_later_than_the_first(make: Callable[..., DeploymentLog], raw: Path) -> None:
    log = make()
    event = log.thumb("i", up=True)
    assert log.thumb("i", up=False, id=event) == event
    time.sleep(0.001)  # revisions are microseconds
    assert log.retract(event, "thumb", "i") == event
    log.close()
    read: list[Feedback] = [Winnow().read(record).feedback[0] for record in records(raw)]
    assert [e.source_id for e in read] == [event] * 3
    assert read[0].revision == 0 < read[1].revision < read[2].revision
    assert [(e.value, e.retracted) for e in read] == [(1, False), (-1, False), (None, True)]


def test_turns_state_once_what_holds_for_all_calls(make: Callable[..., DeploymentLog], raw: Path) -> None:
    log = make()
    with log.turn(conversation_id="c-1", user_id="u-1") as turn:
        first = turn.log(REQUEST, RESPONSE, arm="a")
        with log.turn(user_id="u-2", shown=False) as inner:
            second = log.interaction(REQUEST, RESPONSE)
        assert (turn.ids, inner.ids, current_turn()) == ([first], [second], turn)
    third = log.interaction(REQUEST, RESPONSE)
    log.close()
    read = [read_interaction(record) for record in records(raw)]
    assert [(i.source_id, i.conversation_id, i.user, i.arm, i.shown) for i in read] == [
        (first, "c-1", "u-1", "a", None),
        (second, "c-1", "u-2", None, False),
        (third, None, None, None, None),
    ]


def test_threads_lose_and_repeat_nothing(make: Callable[..., DeploymentLog], raw: Path) -> None:
    log = make(rotate_bytes=100_000, max_events=100_000)
    given: list[str] = []

    def serve() -> None:
        given.extend([log.interaction(REQUEST, RESPONSE) for _ in range(300)])

    threads = [threading.Thread(target=serve) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.flush()
    assert ids(raw) == sorted(given)
    assert len(set(given)) == 2400
    counters = log.counters()
    assert (counters.logged, counters.written, counters.queued, counters.lost) == (2400, 2400, 0, {})
    assert counters.files == len(list(raw.iterdir())) > 1


SERVE = """
import sys
from ingest.logger import DeploymentLog
log = DeploymentLog(sys.argv[1], fsync=sys.argv[2])
for n in range(int(sys.argv[3])):
    log.interaction({"model": "m", "messages": []}, {"choices": []}, id=f"{sys.argv[4]}-{n}")
    if len(sys.argv) > 5:
        assert log.flush()
        print(n, flush=True)
"""


def serve(*arguments: object, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SERVE, *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_processes_write_one_folder_and_end_without_losing_anything(raw: Path) -> None:
    running = [serve(raw, fsync, 200, name) for name, fsync in [("a", "each"), ("b", "interval"), ("c", "never")]]
    for process in running:
        _, stderr = process.communicate(timeout=60)
        assert (process.returncode, stderr) == (0, "")  # nobody called close: the end of the process did
    assert ids(raw) == sorted(f"{name}-{n}" for name in "abc" for n in range(200))
    assert len(list(raw.iterdir())) == 3


def test_killed_process_keeps_what_was_flushed(raw: Path) -> None:
    with serve(raw, "each", 1_000_000, "k", "flush") as process:
        assert process.stdout is not None
        seen = [int(process.stdout.readline()) for _ in range(50)]
        process.send_signal(signal.SIGKILL)
        seen += [int(line) for line in process.stdout.read().splitlines()]
    (path,) = raw.iterdir()
    whole = path.read_bytes().rsplit(b"\n", 1)[0].splitlines()
    written = [json.loads(line)["id"] for line in whole]
    assert written[: len(seen)] == [f"k-{n}" for n in seen]


def _child(log: DeploymentLog, name: str) -> None:
    for n in range(50):
        log.interaction(REQUEST, RESPONSE, id=f"{name}-{n}")


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_children_write_files_of_their_own(make: Callable[..., DeploymentLog], raw: Path) -> None:
    log = make(linger_seconds=0.2)  # so that the queue is full of the parent's lines when it forks
    _child(log, "parent")
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_child, args=(log, f"child{i}")) for i in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    assert log.close()
    assert ids(raw) == sorted(f"{name}-{n}" for name in ("parent", "child0", "child1", "child2") for n in range(50))
    assert len(list(raw.iterdir())) == 4


def test_files_are_rotated_by_size_and_hold_whole_lines_in_order(make: Callable[..., DeploymentLog], raw: Path) -> None:
    log = make(rotate_bytes=2000)
    given = [log.thumb(f"i-{n}", up=True) for n in range(100)]
    assert log.close()
    sizes = [path.stat().st_size for path in raw.iterdir()]
    assert max(sizes) <= 2000 < sum(sizes)
    assert len(sizes) == log.counters().files > 5
    assert [record["id"] for record in records(raw)] == given  # names sort by time


def test_files_are_rotated_by_age(make: Callable[..., DeploymentLog], raw: Path) -> None:
    log = make(rotate_seconds=0.05)
    log.thumb("i", up=True)
    assert log.flush()
    time.sleep(0.06)
    log.thumb("i", up=True)
    assert log.close()
    assert [path.read_bytes().count(b"\n") for path in raw.iterdir()] == [1, 1]


def test_files_are_private(make: Callable[..., DeploymentLog], raw: Path) -> None:
    log = make()
    log.thumb("i", up=True)
    log.close()
    (path,) = raw.iterdir()
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(raw.stat().st_mode)) == (0o600, 0o700)


class _Thing:
    """Has no form in JSON."""


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)
UNSERIALISABLE: list[tuple[str, Any]] = [
    ("object", _Thing()),
    ("half of a surrogate pair", "\ud800"),
    ("class", _Thing),
    ("key that is no text", {("a",): 1}),
    ("endless", ENDLESS),
]


@pytest.mark.parametrize("content", [case[1] for case in UNSERIALISABLE], ids=[case[0] for case in UNSERIALISABLE])
def test_what_json_cannot_hold_is_counted_and_said_in_the_log(
    make: Callable[..., DeploymentLog], raw: Path, content: Any
) -> None:
    log = make()
    lost = log.interaction({"model": "m", "messages": [{"role": "user", "content": content}]}, RESPONSE)
    kept = log.interaction(REQUEST, RESPONSE)
    assert lost != kept
    assert log.close()
    assert ids(raw) == [kept]
    (counted,) = losses(raw)
    assert sum(counted.values()) == 1
    assert counted == log.counters().lost


def test_wrong_arguments_of_feedback_reach_nobody(make: Callable[..., DeploymentLog], raw: Path) -> None:
    log = make()
    log.thumb(None, up=True)  # type: ignore[arg-type]
    log.choice("i", None)  # type: ignore[arg-type]
    log.close()
    assert losses(raw) == [{"unserialisable": 2}]


def test_full_queue_drops_and_says_so(
    make: Callable[..., DeploymentLog], raw: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk hangs: of 25 events 10 find room, 15 are lost; none waits."""
    go, write = threading.Event(), LogFiles.write

    def hanging(files: LogFiles, lines: list[bytes]) -> None:
        go.wait(20)
        write(files, lines)

    monkeypatch.setattr(LogFiles, "write", hanging)
    log = make(max_events=10)
    given = [log.thumb("i", up=True) for _ in range(25)]
    counters = log.counters()
    assert (counters.logged, counters.written, counters.queued, counters.lost) == (25, 0, 10, {"queue_full": 15})
    assert not log.flush(timeout=0.01)
    with caplog.at_level(logging.WARNING, "winnow.logger"):
        go.set()
        assert log.close()
    assert ids(raw) == sorted(given[:10])
    assert losses(raw) == [{"queue_full": 15}]
    assert [r.message for r in caplog.records] == [f"The log in {raw} lost 15 events (queue_full 15)."]


def test_queue_is_bounded_in_bytes(make: Callable[..., DeploymentLog], raw: Path) -> None:
    log = make(max_bytes=2000)
    log.interaction({"model": "m", "messages": [{"role": "user", "content": "x" * 2000}]}, RESPONSE)
    kept = log.interaction(REQUEST, RESPONSE)
    assert log.close()
    assert (ids(raw), losses(raw)) == ([kept], [{"queue_full": 1}])


def test_folder_that_cannot_be_written_is_tried_again(
    make: Callable[..., DeploymentLog], raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file stands where the folder should be; once it is gone, everything that had room is written."""
    raw.write_text("in the way")
    log = make(max_events=3)
    with caplog.at_level(logging.WARNING, "winnow.logger"):
        given = [log.thumb("i", up=True) for _ in range(5)]
        assert not log.flush()
        until(lambda: any("NotADirectoryError" in r.message or "FileExistsError" in r.message for r in caplog.records))
    assert log.counters().lost == {"queue_full": 2}
    raw.unlink()
    assert log.flush()
    assert (ids(raw), losses(raw)) == (sorted(given[:3]), [{"queue_full": 2}])


def test_end_without_a_disk_counts_what_is_lost(
    make: Callable[..., DeploymentLog], raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw.write_text("in the way")
    log = make()
    log.thumb("i", up=True)
    with caplog.at_level(logging.WARNING, "winnow.logger"):
        assert not log.close()
        log.thumb("i", up=True)
    assert log.counters().lost == {"write_failed": 1, "closed": 1}
    assert [r.message.split(" lost ")[-1].split(";")[0] for r in caplog.records] == [
        "1 events (write_failed 1)",
        f"The log in {raw} was closed: the events that come now are lost.",
    ]


FILL = """
import json, resource, sys
from ingest.logger import DeploymentLog
log = DeploymentLog(sys.argv[1], linger_seconds=0.001, retry_seconds=0.01, max_events=5)
def limit(size): resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
given = [log.thumb(f"i-{n}", up=True) for n in range(2)]
assert log.flush()
limit(int(sys.argv[2]))
given += [log.thumb(f"i-{n}", up=True) for n in range(2, 10)]
refused = not log.flush()
limit(resource.RLIM_INFINITY)
assert log.flush(), log.counters()
print(json.dumps([given, log.counters().lost, refused]))
"""


@pytest.mark.parametrize("limit", [0, 100, 500, 700], ids=["no byte", "less than a line", "lines", "more"])
def test_full_disk_cuts_no_line_and_writing_goes_on_when_there_is_room(raw: Path, limit: int) -> None:
    """The system refuses bytes beyond `limit` of a file (EFBIG, as ENOSPC); nothing that is in a file is cut."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FILL, str(raw), str(limit)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    given, lost, refused = json.loads(done.stdout)
    found = [record["id"] for record in records(raw) if record["kind"] == "feedback"]
    assert len(set(found)) == len(found)
    assert set(found) <= set(given)
    assert len(found) + sum(lost.values()) == 10
    assert sum(sum(loss.values()) for loss in losses(raw)) == sum(lost.values())
    if limit < 500:  # a line has some 190 bytes
        assert refused
        assert lost
        assert found[:2] == given[:2]


def test_partial_write_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes 13 of the 20 bytes of two lines: the first stays, the half of the second goes."""
    files = LogFiles(tmp_path, "log", rotate_bytes=1000, rotate_seconds=1000)
    write, taken = os.write, [13]

    def short(fd: int, data: bytes) -> int:
        if not taken[0]:
            raise OSError(errno.ENOSPC, "no space")
        size = write(fd, bytes(data)[: taken[0]])
        taken[0] -= size
        return size

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="no space") as raised:
        files.write([b"first....\n", b"second...\n"])
    assert getattr(raised.value, "done", None) == 1
    taken[0] = 100
    files.write([b"second...\n"])
    files.close()
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == [b"first....\n", b"second...\n"]


def test_line_that_lacks_only_its_newline_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader may have taken it for whole, so it is not taken back, and not written again."""
    files = LogFiles(tmp_path, "log", rotate_bytes=1000, rotate_seconds=1000)
    write = os.write
    room = [9]

    def short(fd: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "no space")
        size = write(fd, bytes(data)[: room[0]])
        room[0] -= size
        return size

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="no space") as raised:
        files.write([b"first....\n"])
    assert getattr(raised.value, "done", None) == 1
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"first...."]


def test_bug_inside_loses_nothing_and_is_reported(
    make: Callable[..., DeploymentLog], raw: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = make()
    with caplog.at_level(logging.WARNING, "winnow.logger"), monkeypatch.context() as patch:
        patch.setattr(LogFiles, "write", lambda files, lines: lines.index(b"no"))
        given = log.thumb("i", up=True)
        until(lambda: bool(caplog.records))
    assert "ValueError" in caplog.records[0].message
    assert log.flush()
    assert ids(raw) == [given]


def test_losses_are_in_the_accounts_of_ingest(workspace: Workspace) -> None:
    """5 thumbs for a queue of 3, one unserialisable: lines = 3 + 1, records = 3 + 2 + 1."""
    blocked = workspace.root / "logs"
    blocked.rename(workspace.root / "aside")
    blocked.write_text("in the way")
    log = DeploymentLog(blocked, max_events=3, linger_seconds=0.001)
    for _ in range(5):
        log.thumb("i", up=True)
    log.interaction(_Thing(), RESPONSE)
    blocked.unlink()
    assert log.flush(20)
    assert log.close()
    summary = workspace.run()
    totals = summary.totals()
    assert (totals["lines"], totals["records"], totals["feedback"]) == (4, 6, 3)
    assert summary.skipped() == {"lost_queue_full": 2, "lost_unserialisable": 1}


def test_wrong_settings_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="fsync, fsync_seconds"):
        DeploymentLog(tmp_path, synced=True)
    with pytest.raises(SettingsError, match="each, interval, never"):
        DeploymentLog(tmp_path, fsync="always")


def test_import_costs_a_server_nothing_heavy() -> None:
    heavy = "{'pyarrow', 'polars', 'duckdb', 'deltalake', 'pydantic', 'openai', 'starlette', 'multiprocessing'}"
    check = (
        f"import sys, ingest.logger; sys.exit(repr({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
