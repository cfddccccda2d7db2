"""Runs that read one file by several processes, killed and stopped for real: nothing is lost, and no process stays."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ingest.conftest import Workspace, _interaction
from tests.ingest.test_kills import CONFIG, SERVER, Runs, ended, entries

SMALL_RANGES = "from ingest import workers; workers.RANGE_BYTES = 10_000; workers.LEAST_BYTES = 20_000\n"
ANSWERS = 300


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    server = Runs(SMALL_RANGES + SERVER)
    yield server
    server.close()


def fill(workspace: Workspace) -> None:
    """Write one file of answers, every tenth behind a bad line; two processes read it, commit by commit."""
    lines = [json.dumps(_interaction(i, f"Q{i}", "x" * 200 + str(i))) for i in range(ANSWERS)]
    lines[::10] = ["{bad\n" + line for line in lines[::10]]
    (workspace.logs / "0.jsonl").write_text("\n".join(lines) + "\n")
    (workspace.root / "winnow.toml").write_text(
        CONFIG.replace("commit_bytes = 25000", "commit_bytes = 25000\nworkers = 2")
    )
    workspace.limited(commit_bytes=25_000)  # the run that completes reads alone


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def gone(processes: list[int]) -> bool:
    """Wait until every process has ended, for ten seconds."""
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in processes) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(Path(f"/proc/{pid}").exists() for pid in processes)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_run_with_workers_that_ends_early_changes_nothing(
    workspace: Workspace, runs: Runs, sent: signal.Signals
) -> None:
    fill(workspace)
    assert runs.end(runs.start(workspace)) == 0
    expected, whole = ended(workspace), entries(workspace)
    assert [len(expected[name]) for name in ("interactions", "quarantine")] == [ANSWERS, ANSWERS // 10]
    chance, seen = random.Random(4), 0
    for _ in range(2):
        shutil.rmtree(workspace.settings.lake)
        wanted, pid = chance.randint(1, whole * 2 // 3), runs.start(workspace)
        workers: list[int] = []
        deadline = time.monotonic() + 20
        while (entries(workspace) < wanted or not workers) and time.monotonic() < deadline:
            workers = workers or children(pid)
            time.sleep(0.002)
        assert workers, "the file is read by processes of its own"
        os.kill(pid, sent)
        seen += runs.end(pid) == (-sent if sent == signal.SIGKILL else 128 + sent)
        assert gone(workers)
        workspace.run()
        assert ended(workspace) == expected
    assert seen, "no run was still reading"
