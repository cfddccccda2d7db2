"""Runs as a scheduler starts them: real processes, their exit codes, their signals, and what they leave."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from ingest import errors
from ingest.__main__ import EXIT_CODES
from ingest.run import run
from ingest.stop import Stop

CONFIG = """
lake = "lake"
[[sources]]
name = "app"
path = "logs/*"
[labels]
url = "sqlite:///labels.db"
[limits]
commit_bytes = 20000
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]

HOLD = """
import sys
from pathlib import Path
from ingest.lake import Lake
with Lake(Path(sys.argv[1])).locked("the other run"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def command(workspace: Any) -> list[str]:
    """The command line of a run, with small commits."""
    (workspace.root / "winnow.toml").write_text(CONFIG)
    return [sys.executable, "-m", "ingest", "run", "--config", str(workspace.root / "winnow.toml")]


@pytest.fixture
def ingest(command: list[str]) -> Run:
    return lambda *more: subprocess.run([*command, *more], check=False, capture_output=True, text=True)


@pytest.fixture
def logs(workspace: Any, interaction: Any, thumb: Any, log: Any) -> Any:
    """Three logs of 100 interactions and 40 thumbs each, about 60 kB, the last with a bad line."""
    for number in range(3):
        records = [interaction(i, answer="x" * (i % 90)) for i in range(number * 100, number * 100 + 100)]
        thumbs = [thumb(i, i) for i in range(number * 100, number * 100 + 40)]
        (workspace.logs / f"{number}.jsonl").write_bytes(log(*records, *thumbs) + b"bad\n" * (number == 2))
    return workspace.logs


@contextmanager
def another_process_holding(lake: Path) -> Iterator["subprocess.Popen[str]"]:
    """Hold the lake in a second process, until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lake)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        yield holder  # with the block its input ends, and then it does


@pytest.mark.parametrize(
    ("code", "change", "said"),
    [
        (0, None, "records = interactions + feedback + quarantined + skipped: 421 = 300 + 120 + 1 + 0"),
        (2, lambda root: (root / "winnow.toml").write_text("lakes = 1"), "winnow.toml is wrong: lakes"),
        (
            3,
            lambda root: write_deltalake(root / "lake" / "feedback", pa.table({"other": [1]})),
            "does not keep its contract",
        ),
        (4, lambda root: (root / "winnow.toml").write_text('lake = "a%b"'), "error: The lake's path"),
        (8, lambda root: (root / "labels.db").write_bytes(b"no database" * 99), "error: Cannot read label events"),
        (12, lambda root: append(root / "winnow.toml", "quarantine_lines = 0"), "error: 1 of 421 records"),
        (12, lambda root: append(root / "winnow.toml", "quarantine_share = 0.002"), "error: 1 of 421 records"),
        (0, lambda root: append(root / "winnow.toml", "quarantine_lines = 1\nquarantine_share = 0.01"), "421 = 300"),
    ],
    ids=["all_well", "settings", "contract", "lake", "labels", "too_many_lines", "too_large_a_share", "below_limits"],
)
def test_an_exit_code_for_each_thing_that_is_wrong(
    workspace: Any, logs: Path, ingest: Run, code: int, change: Callable[[Path], object] | None, said: str
) -> None:
    if change:
        change(workspace.root)
    done = ingest()
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.count("\n") == (code in (0, 12))
    assert f"\n  {code:<4} " in EXIT_CODES


def append(path: Path, line: str) -> None:
    path.write_text(f"{path.read_text()}{line}\n")


def test_what_went_to_quarantine_over_the_limit_is_in_the_lake_all_the_same(
    workspace: Any, logs: Path, ingest: Run
) -> None:
    append(workspace.root / "winnow.toml", "quarantine_lines = 0")
    assert json.loads(ingest().stdout)["interactions"] == 300
    assert workspace.rows("quarantine", "raw") == ["bad"]
    assert ingest().returncode == 0  # nothing new went to quarantine


@pytest.mark.parametrize(("argument", "value"), [("--max-seconds", "-1"), ("--wait-seconds", "nan"), ("--soon", "1")])
def test_a_wrong_argument_is_a_wrong_setting(ingest: Run, argument: str, value: str) -> None:
    done = ingest(argument, value)
    assert (done.returncode, done.stdout) == (errors.SettingsError.exit_code, "")
    assert argument in done.stderr


def test_every_code_that_ingest_can_end_with_is_in_its_help(ingest: Run) -> None:
    ends = (errors.SettingsError, errors.ContractError, errors.LakeError, errors.LakeBusyError, errors.StoreError)
    codes = [0, errors.WinnowError.exit_code, *(e.exit_code for e in ends), errors.QuarantineError.exit_code, 130, 143]
    shown = ingest("--help").stdout
    assert EXIT_CODES.strip() in shown
    assert [int(code) for code in re.findall(r"^  (\d+) ", EXIT_CODES, re.MULTILINE)] == codes


def test_a_lake_that_another_process_holds_is_said(workspace: Any, logs: Path, ingest: Run) -> None:
    with another_process_holding(workspace.settings.lake) as holder:
        busy = ingest()
    assert (busy.returncode, busy.stdout) == (5, "")
    assert f'"pid": {holder.pid}, "run_id": "the other run"' in busy.stderr
    assert not (workspace.settings.lake / "files").exists()


def test_a_run_that_waits_goes_on_as_soon_as_the_lake_is_free(workspace: Any, logs: Path, command: list[str]) -> None:
    with another_process_holding(workspace.settings.lake) as holder:
        waiting = subprocess.Popen(
            [*command, "--wait-seconds", "100"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert waiting.stderr
        said = waiting.stderr.readline()
        assert holder.stdin
        holder.stdin.close()
    stdout, _ = waiting.communicate()
    assert "the other run" in said
    assert "Waiting up to 100 seconds" in said
    assert (waiting.returncode, json.loads(stdout)["interactions"]) == (0, 300)


def test_waiting_ends_with_its_time(workspace: Any, logs: Path, ingest: Run) -> None:
    with another_process_holding(workspace.settings.lake):
        assert ingest("--wait-seconds", "0.1").returncode == 5


def test_runs_that_have_no_time_read_a_commit_each_and_end_as_one_run_does(
    workspace: Any, logs: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """60 kB a file at 20 kB a commit, so three or four runs a file; the last run reads nothing, and pairs."""
    workspace.limited(commit_bytes=20_000)
    summaries = [run(workspace.settings, stop=Stop(0))]
    while summaries[-1].stopped:
        assert len(summaries) < 20
        assert workspace.lake.version("triples") is None  # pairing is left to the last
        summaries.append(run(workspace.settings, stop=Stop(0)))
    *stopped, last = summaries
    assert len(stopped) >= 9
    assert all(0 < each.totals()["lines"] < 60 and each.stopped == "max_seconds" for each in stopped)
    assert all(each.paired is None for each in stopped)
    assert last.paired
    assert (last.totals()["lines"], last.paired.unpaired_total) == (0, 120)
    assert sum(each.totals()["records"] for each in stopped) == 421
    same_as_one_run(workspace, tmp_path_factory.mktemp("clean"))


def test_a_run_without_time_says_that_it_is_not_complete(workspace: Any, logs: Path, ingest: Run) -> None:
    done = ingest("--max-seconds", "0")
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["complete"], summary["stopped_by"]) == (0, False, "max_seconds")
    assert summary["triples"] is None
    assert summary["orphans"] is None
    assert 0 < summary["interactions"] == summary["records"] < 60


def test_time_enough_stops_nothing(workspace: Any, logs: Path, ingest: Run) -> None:
    summary = json.loads(ingest("--max-seconds", "3600").stdout)
    assert (summary["complete"], summary["records"], summary["unpaired"]["total"]) == (True, 421, 120)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_a_run_after_its_commit(
    workspace: Any, logs: Path, command: list[str], ingest: Run, interaction: Any, log: Any,
    tmp_path_factory: pytest.TempPathFactory, number: signal.Signals,
) -> None:  # fmt: skip
    """The signal comes at the first commit of thirty or more."""
    for more in range(3, 7):
        records = [interaction(i, answer="x" * 900) for i in range(more * 100, more * 100 + 100)]
        (logs / f"{more}.jsonl").write_bytes(log(*records))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not any(workspace.settings.lake.glob("files/*.parquet")):
        time.sleep(0.005)
    process.send_signal(number)
    stdout, stderr = process.communicate()
    assert process.returncode == 128 + number, stderr
    assert f"error: {number.name} ended the run early" in stderr
    assert "Traceback" not in stderr
    summary = json.loads(stdout)
    assert (summary["complete"], summary["stopped_by"], summary["triples"]) == (False, number.name, None)
    assert 0 < summary["records"] < 821
    counted = sum(summary[name] for name in ("interactions", "feedback", "quarantined", "skipped"))
    assert counted == summary["records"]
    rest = json.loads(ingest().stdout)
    assert (rest["complete"], rest["records"]) == (True, 821 - summary["records"])
    same_as_one_run(workspace, tmp_path_factory.mktemp("clean"))


def test_a_second_signal_kills() -> None:
    """In this process, up to the signal's default handler."""
    stop = Stop(None, (signal.SIGUSR1,))
    before = signal.getsignal(signal.SIGUSR1)
    with stop.listening():
        assert not stop.due(progressed=True)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
        assert stop.due(progressed=False)
    assert signal.getsignal(signal.SIGUSR1) == before
    with pytest.raises(errors.StoppedError) as stopped:
        stop.check()
    assert stopped.value.exit_code == 128 + signal.SIGUSR1


def test_a_signal_that_comes_when_nothing_is_left_changes_nothing() -> None:
    stop = Stop(None, (signal.SIGUSR1,))
    with stop.listening():
        os.kill(os.getpid(), signal.SIGUSR1)
    stop.check()
    assert stop.reason is None


def same_as_one_run(workspace: Any, root: Path) -> None:
    """Compare every row with those of a lake that one run made of the same files."""
    clean = type(workspace)(root)
    for path in workspace.logs.iterdir():
        (clean.logs / path.name).write_bytes(path.read_bytes())
    clean.run()
    assert workspace.stable() == clean.stable()
    assert workspace.arrow("triples").to_pylist() == clean.arrow("triples").to_pylist()
    assert workspace.arrow("unpaired").to_pylist() == clean.arrow("unpaired").to_pylist()
