"""Command line of ingest: logs and label events in, lake out.

    python -m ingest run [--config winnow.toml]      read everything new
    python -m ingest status [--config winnow.toml]   what was read, from where, and what waits

Reads winnow.toml and what it names, writes the lake. One JSON line on stdout; progress and tables on stderr.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ingest.errors import WinnowError

if TYPE_CHECKING:
    from rich.console import Console

# Start-up is most of what a scheduled run with nothing new costs, so this is argparse, and a command imports what it
# needs inside its function. To add a command: write its function, whose docstring is its help and which raises
# WinnowError or ends with one `_print_data`; then name it and its options in `_parser`.

EPILOG: Final = "One line of JSON on stdout; progress and tables on stderr."


def run(given: argparse.Namespace) -> None:
    """Read everything new into the lake, and pair it. Safe to run again at any time."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from ingest import scan, settings
    from ingest.account import summary_json, summary_table
    from ingest.run import run as ingest

    console = _console()
    workspace = settings.load(given.config)
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


def status(given: argparse.Namespace) -> None:
    """Show, for each source, what all runs so far have read and what waits."""
    from ingest import settings
    from ingest.account import workspace_status, workspace_table
    from ingest.lake import Lake

    workspace = settings.load(given.config)
    found = workspace_status(workspace, Lake(workspace.lake))
    _console().print(workspace_table(found))
    _print_data(found)


def _parser() -> argparse.ArgumentParser:
    """Return the command line: every command with its options."""
    parser = argparse.ArgumentParser(prog="python -m ingest", description="Logs in, lake out.", epilog=EPILOG)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add(commands, run)
    _add(commands, status)
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    function: Callable[[argparse.Namespace], None],
) -> argparse.ArgumentParser:
    """Add the command that `function` is; return its parser, for options of its own."""
    text = function.__doc__ or ""
    command = commands.add_parser(function.__name__, help=text, description=text, epilog=EPILOG)
    help_of_config = "settings file; default $WINNOW_CONFIG, else ./winnow.toml"
    command.add_argument("--config", type=Path, metavar="FILE", help=help_of_config)
    command.set_defaults(function=function)
    return command


def main() -> int:
    """Run the command that the arguments name, and return the exit code; every error of ours is one line on stderr."""
    given = _parser().parse_args()
    try:
        given.function(given)
    except WinnowError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
