"""Command line of ingest: logs and label events in, lake out.

    python -m ingest run [--config winnow.toml]      read everything new
    python -m ingest status [--config winnow.toml]   what was read, from where, and what waits

Reads winnow.toml and what it names, writes the lake. One JSON line on stdout; progress and tables on stderr.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.errors import WinnowError

if TYPE_CHECKING:
    from rich.console import Console

# Start-up is most of what a scheduled run with nothing new costs: a command imports what it needs inside its function.
# It wraps its work in `_one_clear_error`, shows tables with `_console`, and ends with one `_print_data`.

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Config = Annotated[Path | None, typer.Option(help="Settings file; default $WINNOW_CONFIG, else ./winnow.toml.")]


@app.command()
def run(config: Config = None) -> None:
    """Read everything new into the lake, and pair it. Safe to run again at any time."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from ingest import scan, settings
    from ingest.account import summary_json, summary_table
    from ingest.run import run as ingest

    console = _console()
    with _one_clear_error():
        workspace = settings.load(config)
        total = sum(_size(path) for source in workspace.sources for path in scan.find(source.path))
        columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn()
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("reading", total=total)
            summary = ingest(workspace, lambda name, done: bar.update(task, description=name, completed=done))
        for source in workspace.sources:
            if not scan.find(source.path):
                console.print(f'Source "{source.name}": no file matches {source.path}', style="yellow", highlight=False)
        console.print(summary_table(summary))
        _print_data(summary_json(summary))


@app.command()
def status(config: Config = None) -> None:
    """Show, for each source, what all runs so far have read and what waits."""
    from ingest import settings
    from ingest.account import workspace_status, workspace_table
    from ingest.lake import Lake

    with _one_clear_error():
        workspace = settings.load(config)
        found = workspace_status(workspace, Lake(workspace.lake))
        _console().print(workspace_table(found))
        _print_data(found)


def _print_data(data: object) -> None:
    """Print the command's one line of JSON on stdout."""
    print(json.dumps(data), flush=True)  # noqa: T201


def _size(path: Path) -> int:
    """Return the file's size; 0 where a rotation has just renamed it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _console() -> "Console":
    """Return the console of narration; a file or a pipe gets lines wide enough for every column.

    Names of files and sources are shown as they are, also where they look like markup or an emoji's code.
    """
    from rich.console import Console

    console = Console(stderr=True, markup=False, emoji=False)
    return console if console.is_terminal else Console(stderr=True, markup=False, emoji=False, width=160)


@contextmanager
def _one_clear_error() -> Iterator[None]:
    try:
        yield
    except WinnowError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(error.exit_code) from error


if __name__ == "__main__":
    app()
