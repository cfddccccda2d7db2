"""Runs that are killed anywhere, for real, and two runs at once: the lake ends as that of one whole run.

Each round makes a lake from the same logs in a process that is killed (SIGKILL) at a random moment: after a random
share of a whole run's time, or as soon as a random number of files and folders is in the lake. The next run must
complete what it left. 200 kills instead of 20:

    pytest -m slow tests/ingest/test_kills.py
"""

import gzip
import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.ingest.conftest import Workspace, _interaction, _thumb

CONFIG: Final = """
lake = "lake"
[[sources]]
name = "app"
path = "logs/*"
[limits]
commit_bytes = 25000
[labels]
url = "sqlite:///labels.db"
"""

SERVER: Final = """
import os, sys
from ingest import account, run, schedule, settings
from ingest.__main__ import main
for line in sys.stdin:
    order, value = line.split(maxsplit=1)
    if order == "run":
        pid = os.fork()
        if not pid:
            sys.argv = ["ingest", "run", "--config", value.strip()]
            log = os.open(value.strip() + ".log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os._exit(main())
        print(pid, flush=True)
    else:
        print(os.waitstatus_to_exitcode(os.waitpid(int(value), 0)[1]), flush=True)
"""
"""Runs are forks of a process that has loaded everything, so that kills fall into the run and not into its start."""


class Runs:
    """Starts `python -m ingest run` in processes of their own."""

    def __init__(self, code: str = SERVER) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def _ask(self, order: str) -> int:
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(order + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def start(self, workspace: Workspace) -> int:
        """Return the process id of a new run."""
        return self._ask(f"run {workspace.root / 'winnow.toml'}")

    def end(self, pid: int) -> int:
        """Wait for a run, and return its exit code, below 0 for a signal."""
        return self._ask(f"wait {pid}")

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    """Hold the server of runs."""
    server = Runs()
    yield server
    server.close()


def turn(number: int) -> dict[str, Any]:
    """Return one of three responses, each to the one before: pairing waits until threads are whole."""
    content = [{"type": "output_text", "text": f"a{number}", "annotations": []}]
    message = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": content}
    response = {"id": f"r{number}", "object": "response", "created_at": 1760000000, "status": "completed", "model": "m"}
    previous = f"r{number - 1}" if number else None
    return {
        "request": {"model": "m", "input": f"q{number}", "previous_response_id": previous},
        "response": response | {"previous_response_id": previous, "output": [message]},
    }


def fill(workspace: Workspace) -> None:
    """Write six files: answers in pairs with thumbs, copies of some, bad lines, conflicts, a table, a thread."""

    def log(*records: dict[str, Any]) -> bytes:
        return b"".join(json.dumps(record).encode() + b"\n" for record in records)

    def served(numbers: range) -> list[dict[str, Any]]:
        return [
            _interaction(i, f"Q{i // 2}", "x" * (i % 90) + str(i), conversation_id=f"c-{i // 2}", shown=True)
            for i in numbers
        ]

    for number in range(3):
        votes = [_thumb(i, i, 1 if i % 2 else -1) for i in range(number * 30, number * 30 + 30)]
        content = log(*served(range(number * 30, number * 30 + 50)), *votes) + b'{"torn":"\n'
        packed = number == 1
        path = workspace.logs / f"{number}.jsonl{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content) if packed else content)
    (workspace.logs / "4.jsonl").write_bytes(
        log(_interaction(3, answer="another text"), *map(turn, (2, 1, 0))) + b"[1]\n"
    )
    rows = b"".join(b"p%d,c%d,r%d\n" % (i, i, i) for i in range(40))
    (workspace.logs / "5.csv").write_bytes(b"prompt,chosen,rejected\n" + rows + b"p,c\n")
    (workspace.logs / "6.jsonl").write_bytes(log(*served(range(110, 120))) + b'{"torn at the end')
    os.utime(workspace.logs / "6.jsonl", (1, 1))
    (workspace.root / "winnow.toml").write_text(CONFIG)
    workspace.limited(commit_bytes=25_000)


COUNTED: Final = ("lines", "records", "interactions", "feedback", "quarantined", "skipped")


def ended(workspace: Workspace) -> dict[str, Any]:
    """Return every table, and what `files` counts of each file; pieces and runs differ with every interruption."""
    counts: dict[str, Counter[str]] = {}
    for row in workspace.arrow("files").to_pylist():
        counts.setdefault(row["path"], Counter()).update({name: row[name] for name in COUNTED})
    pairs = {name: workspace.arrow(name).to_pylist() for name in ("triples", "unpaired")}
    return workspace.stable() | pairs | {"files": counts}


def entries(workspace: Workspace) -> int:
    return sum(1 for _ in workspace.settings.lake.rglob("*"))


class Rounds:
    """One set of logs, how long a whole run over it takes, and how it ends."""

    def __init__(self, workspace: Workspace, runs: Runs) -> None:
        self.workspace, self.runs = workspace, runs
        fill(workspace)
        begun = time.monotonic()
        assert runs.end(runs.start(workspace)) == 0
        self.seconds = time.monotonic() - begun
        self.entries = entries(workspace)
        self.expected = ended(workspace)
        sizes = [len(self.expected[name]) for name in ("interactions", "feedback", "quarantine", "triples")]
        # 120 answers of files 0 to 2 and 6, 3 turns, 80 sides; 90 thumbs, 40 choices; the bad lines.
        assert sizes == [120 + 3 + 80, 90 + 40, 3 + 1 + 1 + 1 + 1, 45 + 40]

    def killed(self, chance: random.Random) -> bool:
        """Start a run, kill it at a random moment, and return whether it had not ended before."""
        pid = self.runs.start(self.workspace)
        if chance.random() < 0.5:
            time.sleep(chance.uniform(0, self.seconds))
        else:
            wanted, deadline = chance.randint(1, self.entries), time.monotonic() + 2 * self.seconds
            while entries(self.workspace) < wanted and time.monotonic() < deadline:
                time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)
        return self.runs.end(pid) == -signal.SIGKILL

    def play(self, kills: int) -> None:
        """Make so many lakes in runs that are killed, a third of them in two, and compare each with the whole one."""
        seed = secrets.randbits(32)
        print("seed", seed)
        chance, done = random.Random(seed), 0
        while done < kills:
            shutil.rmtree(self.workspace.settings.lake, ignore_errors=True)
            done += self.killed(chance)
            if chance.random() < 1 / 3:
                done += self.killed(chance)
            self.workspace.run()
            assert ended(self.workspace) == self.expected, f"kill {done} of seed {seed}"
        assert self.workspace.run().totals()["lines"] == 0


def test_twenty_kills_anywhere_in_a_run_change_nothing(workspace: Workspace, runs: Runs) -> None:
    Rounds(workspace, runs).play(20)


@pytest.mark.slow
def test_two_hundred_kills_anywhere_in_a_run_change_nothing(workspace: Workspace, runs: Runs) -> None:
    Rounds(workspace, runs).play(200)


def test_of_two_runs_at_once_one_says_that_the_other_is_there(workspace: Workspace, runs: Runs) -> None:
    """Five times over: whichever comes second ends with the lake's exit code, and the lake is that of one run."""
    rounds = Rounds(workspace, runs)
    for _ in range(5):
        shutil.rmtree(workspace.settings.lake)
        (workspace.root / "winnow.toml.log").unlink()
        pids = [runs.start(workspace) for _ in range(2)]
        assert sorted(runs.end(pid) for pid in pids) == [0, 5]
        assert "error: Another run holds" in (workspace.root / "winnow.toml.log").read_text()
        assert ended(workspace) == rounds.expected
        assert workspace.run().totals()["lines"] == 0
