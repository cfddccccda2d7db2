"""A run as a scheduler starts it: it waits for the lake, shows how far it is, ends in time, and says what is wrong.

Part of `python -m ingest run`; docs/operations.md has the cron line, the systemd timer and the CronJob.
"""

import signal
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from ingest.account import idle_summary
from ingest.errors import LakeBusyError, QuarantineError
from ingest.globs import find
from ingest.run import Summary
from ingest.run import run as ingest
from ingest.settings import Limits, Settings
from ingest.stop import Stop
from ingest.unchanged import Record

RETRY_SECONDS: Final = 0.5
"""Between two looks at a lake that another run holds."""
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
"""What cron, systemd, Kubernetes and a keyboard end a process with."""


def run(settings: Settings, console: Console, max_seconds: float | None, wait_seconds: float) -> tuple[Summary, Stop]:
    """Ingest as `ingest.run.run` does, and return what it did and whether it was stopped.

    Where another run holds the lake it tries again for `wait_seconds`, then raises LakeBusyError.
    """
    stop = Stop(max_seconds, SIGNALS)
    give_up = time.monotonic() + wait_seconds
    waiting = False
    while True:
        try:
            return _shown(settings, console, stop), stop
        except LakeBusyError as busy:
            if time.monotonic() >= give_up:
                raise
            if not waiting:
                said = f"Waiting up to {wait_seconds:g} seconds. {busy}"
                console.print(said, style="yellow", highlight=False, soft_wrap=True)
            waiting = True
            time.sleep(RETRY_SECONDS)


def check_quarantine(summary: Summary, limits: Limits) -> None:
    """Raise QuarantineError where this run put more into quarantine than `limits` allows."""
    lines, records = summary.quarantined().total(), summary.totals()["records"]
    over = []
    if limits.quarantine_lines is not None and lines > limits.quarantine_lines:
        over.append(f"limits.quarantine_lines = {limits.quarantine_lines}")
    if limits.quarantine_share is not None and lines > limits.quarantine_share * records:
        over.append(f"limits.quarantine_share = {limits.quarantine_share:g}")
    if over:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(summary.quarantined().items()))
        raise QuarantineError(
            f"{lines} of {records} records went to quarantine ({reasons}), more than {' and '.join(over)} allows. "
            "The rest is in the lake. Look at the quarantine, and mend what writes such lines."
        )


def _shown(settings: Settings, console: Console, stop: Stop) -> Summary:
    """Ingest with a progress bar where somebody looks."""
    record = Record(settings)

    def keep(summary: Summary) -> None:
        record.keep(idle_summary(summary), summary.changes_at)

    if not console.is_terminal:
        return ingest(settings, stop=stop, finished=keep)
    total = sum(_size(path) for source in settings.sources for path in find(source.path))
    columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("reading", total=total)
        return ingest(settings, lambda name, done: bar.update(task, description=name, completed=done), stop, keep)


def _size(path: Path) -> int:
    """Return the file's size; 0 where a rotation has just renamed it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
