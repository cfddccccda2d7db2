"""The collector as a process of its own, and what it wrote."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()]


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """Start the real service, and give its process and its port."""
    command = [sys.executable, "-m", "ingest", "collect", "--port", "0", "--folder", str(folder), *options]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        started = process.stderr.readline()
        port = re.search(r":(\d+) into", started)
        assert port, started + process.stderr.read()
        try:
            yield process, int(port[1])
        finally:
            process.kill()
