"""What a run shows while it works, on stderr, and the log that it leaves: metrics.jsonl, one JSON object a line."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ingest.errors import ResumeError
from train.checkpoint import read_numbers
from train.metrics import HeldOut

# A pipe or a log file has no width of its own; rich would assume 80 and break lines.
# Of several processes the first alone speaks.
NARRATION = Console(
    stderr=True,
    width=None if sys.stderr.isatty() else 140,
    highlight=False,
    quiet=os.environ.get("RANK", "0") != "0",
)


class MetricsFile(TrainerCallback):
    """Appends every log of the trainer to a file as it comes, so that a run can be watched and a dead one read.

    The last step is always logged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Have the last step logged, whatever --log-every is."""
        if state.global_step >= state.max_steps:
            control.should_log = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write one line: step first, then what was logged. It is on the disk before a checkpoint that counts on it."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **(logs or {})}, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def keep_metrics(path: Path, checkpoint: Path | None) -> None:
    """Take away the lines that were written after `checkpoint`: the resumed run writes them again.

    Raises ResumeError when lines before it are gone.
    """
    length = 0 if checkpoint is None else int(read_numbers(checkpoint)["metrics_bytes"])
    path.touch()
    if path.stat().st_size < length:
        raise ResumeError(f"{path} has lost lines that were there at {checkpoint}. Put them back, or start a new run.")
    os.truncate(path, length)


class StatusFile(TrainerCallback):
    """Keeps status.json, by which others see where a run is; it is replaced, never half written."""

    def __init__(self, path: Path) -> None:
        self.path, self.written = path, 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say that training begins, or goes on."""
        write_status(self.path, "training", state.global_step, state.max_steps)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Say which step is done, at most once a second."""
        if time.monotonic() - self.written >= 1:
            write_status(self.path, "training", state.global_step, state.max_steps)
            self.written = time.monotonic()


def write_status(path: Path, state: str, step: int, steps: int) -> None:
    """Replace status.json: what the run does now, optimiser steps done and in all, and when this was written (UTC)."""
    status = {"state": state, "step": step, "steps": steps, "updated": datetime.now(UTC).isoformat(timespec="seconds")}
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(status) + "\n", encoding="utf-8")
    unfinished.replace(path)


class TrainingBar(TrainerCallback):
    """Shows steps done, time left and the last logged loss and accuracy."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task: TaskID | None = None
        self.shown = "training"

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the bar."""
        self.task = self.progress.add_task(self.shown, total=state.max_steps, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Show the newest loss and accuracy."""
        if logs and "rewards/accuracies" in logs:
            self.shown = f"training  loss {logs['loss']:.4f}  accuracy {logs['rewards/accuracies']:.3f}"

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move the bar."""
        if self.task is not None:
            self.progress.update(self.task, completed=state.global_step, description=self.shown)


@contextmanager
def bars() -> Iterator[Progress]:
    """Progress bars on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=NARRATION) as progress:
        yield progress


def counter(progress: Progress, description: str, total: int | None) -> Callable[[int], None]:
    """Return a function that moves a new bar on by so many rows."""
    task = progress.add_task(description, total=total)

    def on_rows(count: int) -> None:
        progress.advance(task, count)

    return on_rows


def print_held_out(before: Mapping[str, HeldOut], after: Mapping[str, HeldOut], rows: Mapping[str, int]) -> None:
    """Print held-out metrics before and after training, a column pair for each split."""
    table = Table(title="Held-out preferences", title_justify="left")
    table.add_column("metric")
    for split, count in rows.items():
        table.add_column(f"{split} ({count:,}) before", justify="right")
        table.add_column("after", justify="right")
    for name in ("accuracy", "loss", "margin", "ranking_accuracy", "reference_ranking_accuracy"):
        cells = [f"{getattr(side[split], name):.4f}" for split in rows for side in (before, after)]
        table.add_row(name.replace("_", " "), *cells)
    intervals = [
        f"{low:.3f} - {high:.3f}"
        for split in rows
        for low, high in (s[split].accuracy_interval for s in (before, after))
    ]
    table.add_row("accuracy, 95 % interval", *intervals)
    NARRATION.print(table)
