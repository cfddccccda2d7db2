"""Where the CPU seconds of an ingest run go: runs one in this process, with a clock around each stage.

Stages nest (`rows` holds `redact`); each is charged without those within it, so that they add up. What the table calls
"other" is start-up and imports. "Without redaction" is the total less the stage `redact`: there is no switch for it.

    python -m bench.stages winnow.toml
"""

import argparse
import functools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from ingest import columns, pairing, redacted, run, settings, threads
from ingest.batch import Batch
from ingest.lake import Lake
from ingest.outcomes import Ways
from ingest.rows import RowBuilder
from ingest.scan import LogFile

STAGES: Final[tuple[tuple[str, Any, str], ...]] = (
    ("read lines", LogFile, "pieces"),
    ("parse", Ways, "read"),
    ("redact", redacted, "interactions"),
    ("hash, columns of messages", columns, "conversations"),
    ("rows", RowBuilder, "build"),
    ("known keys", Batch, "_admit"),
    ("write", Lake, "append"),
    ("prompts of parents", threads, "complete"),
    ("pair", pairing, "build"),
    ("loop", run, "run"),
)
"""What it is called, and the function that does it."""


class Clock:
    """CPU seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._since = time.process_time()

    def _charge(self) -> None:
        now = time.process_time()
        name = self._open[-1] if self._open else "other"
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now

    def enter(self, name: str) -> None:
        """Charge the stage that runs so far, and go into the next one."""
        self._charge()
        self._open.append(name)

    def leave(self) -> None:
        """Charge the stage that ends, and go back to the one around it."""
        self._charge()
        self._open.pop()

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` with the clock around it; of a generator around each of its steps."""

        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            self.enter(name)
            try:
                found = function(*arguments, **named)
            finally:
                self.leave()
            return self._steps(name, found) if isinstance(found, Iterator) else found

        return timed

    def _steps(self, name: str, steps: Iterator[Any]) -> Iterator[Any]:
        while True:
            self.enter(name)
            step = next(steps, None)
            self.leave()
            if step is None:
                return
            yield step


def measure(config: Path) -> dict[str, float]:
    """Ingest what `config` names in this process, and return stage -> CPU seconds."""
    clock = Clock()
    clock.seconds["other"] = time.process_time()
    for name, owner, function in STAGES:
        setattr(owner, function, clock.around(name, getattr(owner, function)))
    run.run(settings.load(config))
    return clock.seconds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    print(json.dumps(measure(parser.parse_args().config)))
