"""What logging an interaction costs the thread that serves: DeploymentLog against a plain logging.FileHandler.

The baselines write one JSON line an interaction on the serving thread, by json.dumps and by msgspec. DeploymentLog
encodes there and writes in a thread of its own; it makes ids, rotates and syncs besides. Gate: the same records.
Baseline: FileHandler with json.dumps = 1.

    python -m bench.logger --events 4000
"""

import argparse
import hashlib
import json
import logging
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from ingest.logger import DeploymentLog

REQUEST: Final = {"model": "m", "messages": [{"role": "user", "content": "How do I reset my password? " * 10}]}
PAUSE_EVENTS: Final = 500
"""After so many events a pause: a server that does nothing but log is none."""


def response(tokens: int) -> dict[str, Any]:
    """Return an answer of so many tokens with their log-probabilities; of none, without any."""
    content = [
        {"token": f" word{i}", "logprob": -i / 64, "bytes": [32, 119], "top_logprobs": []} for i in range(tokens)
    ]
    message = {"role": "assistant", "content": "Choose Reset, then follow the letter that comes. " * 10}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    logged = {"logprobs": {"content": content}} if tokens else {}
    return {"id": "chatcmpl-1", "object": "chat.completion", "model": "m-1", "choices": [choice | logged]}


def main() -> None:
    """Log the same events in turn by each arm, compare the files, print the costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=4_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    table = Table("answer", "arm", "median µs", "p99 µs", "ratio", "CPU µs an event, all threads")
    for tokens in (0, 200):
        costs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ARMS}
        for _ in range(arguments.repeats):
            wrote = {}
            for name, arm in ARMS.items():
                folder = Path(tempfile.mkdtemp(prefix="winnow-bench-"))
                try:
                    costs[name].append(arm(folder, response(tokens), arguments.events))
                    wrote[name] = _records(folder)
                finally:
                    shutil.rmtree(folder)
            if len(set(wrote.values())) != 1 or wrote["json"][0] != arguments.events:
                sys.exit(f"FAIL, no speed: the arms wrote (records, hash of what they say) {wrote}")
        medians = {name: list(map(statistics.median, zip(*found, strict=True))) for name, found in costs.items()}
        for name, (median, p99, cpu) in medians.items():
            ratio = f"{median / medians['json'][0]:.2f}"
            label = f"{tokens} log-probabilities"
            table.add_row(label, LABELS[name], f"{median:.1f}", f"{p99:.1f}", ratio, f"{cpu:.1f}")
    Console(width=140).print(table)


def _timed(log: Callable[[], None], events: int) -> tuple[float, float]:
    """Return the median and the 99th percentile of one call, in microseconds."""
    took = []
    for i in range(events):
        start = time.perf_counter_ns()
        log()
        took.append(time.perf_counter_ns() - start)
        if i % PAUSE_EVENTS == 0:
            time.sleep(0.01)
    took.sort()
    return took[events // 2] / 1000, took[events * 99 // 100] / 1000


def _file_handler(encode: Callable[[Any], str]) -> Callable[[Path, dict[str, Any], int], tuple[float, float, float]]:
    def arm(folder: Path, answer: dict[str, Any], events: int) -> tuple[float, float, float]:
        logger = logging.Logger("bench")
        logger.addHandler(handler := logging.FileHandler(folder / "log.jsonl"))
        fields = {"conversation_id": "c-7", "user_id": "u-1", "status": 200, "request": REQUEST, "response": answer}
        cpu = time.process_time_ns()
        median, p99 = _timed(lambda: logger.info(encode({"winnow": 1, "kind": "interaction", **fields})), events)
        handler.close()
        return median, p99, (time.process_time_ns() - cpu) / 1000 / events

    return arm


def _deployment_log(folder: Path, answer: dict[str, Any], events: int) -> tuple[float, float, float]:
    log = DeploymentLog(folder)
    cpu = time.process_time_ns()
    median, p99 = _timed(lambda: _log(log, answer), events)
    if not log.close(60) or log.counters().lost:
        sys.exit(f"FAIL, no speed: {log.counters()}")
    return median, p99, (time.process_time_ns() - cpu) / 1000 / events


def _log(log: DeploymentLog, answer: dict[str, Any]) -> None:
    log.interaction(REQUEST, answer, conversation_id="c-7", user_id="u-1")


def _records(folder: Path) -> tuple[int, str]:
    """Return the number of records and the hash of what they say, without what DeploymentLog adds."""
    hashed, count = hashlib.blake2b(), 0
    for path in sorted(folder.iterdir()):
        for line in path.read_bytes().splitlines():
            record = msgspec.json.decode(line)
            said = sorted((key, value) for key, value in record.items() if key not in ("id", "time"))
            hashed.update(msgspec.json.encode(said))
            count += 1
    return count, hashed.hexdigest()


ARMS: Final = {
    "json": _file_handler(json.dumps),
    "msgspec": _file_handler(lambda value: msgspec.json.encode(value).decode()),
    "log": _deployment_log,
}
LABELS: Final = {"json": "FileHandler, json.dumps", "msgspec": "FileHandler, msgspec", "log": "DeploymentLog"}

if __name__ == "__main__":
    main()
