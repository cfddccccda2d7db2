"""Command line of ingest: logs and label events in, lake out.

    python -m ingest run [--config winnow.toml] [--max-seconds N] [--wait-seconds N]   read everything new
    python -m ingest run --format NAME [--source NAME]   the same, with the reader that is named
    python -m ingest status [--config winnow.toml]   what was read, from where, and what waits
    python -m ingest explain ID                      where a triple comes from, or why an event made none
    python -m ingest collect [--folder data/raw]     take traces and feedback over HTTP until it is stopped
    python -m ingest withdraw --user ID              note that a user takes back their consent to training
    python -m ingest erase --user ID                 remove a user from everything that Winnow wrote, with proof
    python -m ingest replay [--config winnow.toml]   read quarantined records again, after a fix

Reads winnow.toml and what it names, writes the lake. One JSON line on stdout; progress and tables on stderr.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ingest import without_pandas
from ingest.errors import LakeError, SettingsError, WinnowError

if TYPE_CHECKING:
    from rich.console import Console

# Start-up is most of what a scheduled run with nothing new costs, so this is argparse, and a command imports what it
# needs inside its function. To add a command: write its function, whose docstring is its help and which raises
# WinnowError or ends with one `_print_data`; then name it and its options in `_parser`.

EPILOG: Final = "One line of JSON on stdout; progress and tables on stderr."
EXIT_CODES: Final = """exit codes:
  0    nothing wrong; "complete": false in the JSON says that --max-seconds left work to the next run
  1    an error that no other code names
  2    winnow.toml or an argument is wrong
  3    a table of the lake, or a reader, does not keep its contract
  4    a file or the lake cannot be read or written
  5    another run holds the lake
  8    the label store cannot be read
  12   more went to quarantine than [limits] allows; the rest is in the lake
  130  stopped by SIGINT (Ctrl-C) at a commit; run again to go on
  143  stopped by SIGTERM at a commit; run again to go on
"""


def run(given: argparse.Namespace) -> None:
    """Read everything new into the lake, and pair it. Safe to run again at any time."""
    from ingest import unchanged

    if given.format is None and given.source is None and (idle := unchanged.look(given.config)) is not None:
        print(f"Nothing new: all {idle['files']} files are as the last run left them.", file=sys.stderr)  # noqa: T201
        _say_unmatched(idle["sources_without_files"])
        _print_data(idle)
        return

    from ingest import schedule, settings
    from ingest.account import summary_json, summary_table

    console = _console()
    if given.format is None and given.source is not None:
        raise SettingsError("--source says whose format --format is. Name that, too, or leave both out.")
    workspace = settings.forced(settings.load(given.config), given.format, given.source)
    summary, stop = schedule.run(workspace, console, given.max_seconds, given.wait_seconds)
    _say_unmatched(summary.unmatched)
    console.print(summary_table(summary))
    _print_data(summary_json(summary))
    stop.check()
    schedule.check_quarantine(summary, workspace.limits)


def replay(given: argparse.Namespace) -> None:
    """Read quarantined records again, after a fix: of a reader, of winnow.toml, of a file."""
    from rich.progress import Progress

    from ingest import settings
    from ingest.account import replay_json, replay_table
    from ingest.replay import replay as read_again
    from ingest.rereading import Chosen

    console, workspace = _console(), settings.forced(settings.load(given.config), given.format, given.source)
    chosen = Chosen(given.source, given.reason, given.file)
    with Progress(console=console) as bar:
        task = bar.add_task("replaying", total=None)
        done = read_again(
            workspace,
            chosen,
            dry_run=given.dry_run,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    console.print(replay_table(done))
    _print_data(replay_json(done))


def status(given: argparse.Namespace) -> None:
    """Show what was read from where, how far behind it is, and what is missing."""
    from datetime import UTC, datetime

    from ingest import settings
    from ingest.errors import GapError
    from ingest.lake import Lake
    from ingest.status import tables, workspace_status

    workspace = settings.load(given.config)
    found = workspace_status(workspace, Lake(workspace.lake), datetime.now(UTC))
    _console().print(tables(found))
    _print_data(found)
    if given.check and found["gaps"]:
        raise GapError(f"{len(found['gaps'])} gaps. docs/completeness.md says what each kind means and what to do.")


def explain(given: argparse.Namespace) -> None:
    """Show where a triple, an unpaired row or a feedback event comes from, and which rule made what of it."""
    from ingest import settings
    from ingest.explain import explain, explained_table

    found = explain(settings.load(given.config), given.id)
    _console().print(explained_table(found))
    _print_data(found)


def collect(given: argparse.Namespace) -> None:
    """Take OpenTelemetry traces and logs and feedback events over HTTP, and write them as log files."""
    try:
        from ingest import collector
    except ImportError as error:
        raise SettingsError(f'The collector needs {error.name}: pip install "winnow[collector]".') from error

    token = collector.read_token(given.token_file) if given.token_file else None
    settings = collector.CollectorSettings(folder=given.folder, token=token)
    _print_data(collector.serve(collector.Collector(settings), given.host, given.port))


def withdraw(given: argparse.Namespace) -> None:
    """Note that a user takes back the consent to everything they said until now; the next run applies it."""
    from ingest import consent, settings

    _print_data(consent.withdraw(settings.load(given.config), user=given.user, pseudonym=given.pseudonym))


def erase(given: argparse.Namespace) -> None:
    """Erase a user: rows, labels and snapshots, with proof; later runs skip what the logs still hold of them."""
    from ingest import settings
    from ingest.erase import STEPS
    from ingest.erase import erase as erase_user

    console = _console()
    steps = [*STEPS]
    done = erase_user(
        settings.load(given.config),
        user=given.user,
        pseudonym=given.pseudonym,
        dry_run=given.dry_run,
        progress=lambda step: console.print(f"erase {steps.index(step) + 1}/{len(steps)}: {step}", highlight=False),
    )
    console.print(done.table())
    for remark in done.remarks():
        console.print(remark, soft_wrap=True, highlight=False)
    _print_data(done.summary())


def _parser() -> argparse.ArgumentParser:
    """Return the command line: every command with its options."""
    parser = argparse.ArgumentParser(prog="python -m ingest", description="Logs in, lake out.", epilog=EPILOG)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command = _add(commands, run, EXIT_CODES)
    command.add_argument(
        "--max-seconds",
        type=_seconds,
        metavar="N",
        help="stop at the first commit after N seconds; pairing is then left to the run that finds time",
    )
    command.add_argument(
        "--wait-seconds",
        type=_seconds,
        default=0.0,
        metavar="N",
        help="wait so long for another run that holds the lake; default 0: say so and end with 5",
    )
    _force_format(command).add_argument("--source", metavar="NAME", help="the source that --format is about")
    command = _add(commands, status)
    command.add_argument("--check", action="store_true", help="end with 14 where anything is missing")
    explaining = _add(commands, explain)
    explaining.add_argument("id", metavar="ID", help="triple_id, unpaired_id or feedback_id")
    collecting = _add(commands, collect, config=False)
    collecting.add_argument("--host", default="127.0.0.1", help="address to listen on; others need a token")
    collecting.add_argument("--port", type=int, default=4318, help="default 4318, OTLP's; 0 takes a free one")
    collecting.add_argument(
        "--folder", type=Path, default=Path("data/raw"), help="where log files go; default data/raw"
    )
    collecting.add_argument("--token-file", type=Path, metavar="FILE", help="holds the bearer token that senders need")
    _name_user(_add(commands, withdraw))
    command = _name_user(_add(commands, erase))
    command.add_argument("--dry-run", action="store_true", help="say what would go, and change nothing")
    command = _force_format(_add(commands, replay))
    command.add_argument("--source", metavar="NAME", help="only what this source holds")
    command.add_argument("--reason", metavar="REASON", help="only what is quarantined for it")
    command.add_argument("--file", metavar="GLOB", help="only lines of the files with such a path, or name")
    command.add_argument("--dry-run", action="store_true", help="say what would become of them, and write nothing")
    return parser


def _force_format(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the way in which a command names a reader."""
    command.add_argument("--format", metavar="NAME", help="read with this reader, whatever winnow.toml says")
    return command


def _name_user(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the two ways in which a command names a user."""
    command.add_argument("--user", metavar="ID", help="the user as the logs name them")
    command.add_argument("--pseudonym", metavar="u:...", help="the user as the lake names them")
    return command


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    function: Callable[[argparse.Namespace], None],
    exit_codes: str = "",
    *,
    config: bool = True,
) -> argparse.ArgumentParser:
    """Add the command that `function` is; return its parser, for options of its own."""
    text = function.__doc__ or ""
    command = commands.add_parser(
        function.__name__,
        help=text.splitlines()[0],
        description=text,
        epilog=f"{EPILOG}\n\n{exit_codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    help_of_config = "settings file; default $WINNOW_CONFIG, else ./winnow.toml"
    if config:
        command.add_argument("--config", type=Path, metavar="FILE", help=help_of_config)
    command.set_defaults(function=function)
    return command


def _seconds(text: str) -> float:
    """Return the seconds that an argument states."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f'"{text}" is no number of seconds, 0 or more')
    return seconds


def main() -> int:
    """Run the command that the arguments name, and return the exit code; every error of ours is one line on stderr."""
    without_pandas.keep_out()
    given = _parser().parse_args()
    try:
        given.function(given)
    except WinnowError as error:
        _fail(error)
        return error.exit_code
    except OSError as error:  # of the lake's folders, of the summary's reader: the system says what and why
        wrong = LakeError(f"{error.filename or 'stdout'}: {error.strerror}. Look at permissions and at free space.")
        _fail(wrong)
        return wrong.exit_code
    except KeyboardInterrupt:
        print("error: Interrupted. What was committed stays; run again to go on.", file=sys.stderr)  # noqa: T201
        return 130
    return 0


def _say_unmatched(sources: Sequence[str]) -> None:
    """Say on stderr which sources have no files: their glob may be wrong."""
    for name in sources:
        print(f'Source "{name}": no file matches its path.', file=sys.stderr)  # noqa: T201


def _print_data(data: object) -> None:
    """Print the command's one line of JSON on stdout."""
    print(json.dumps(data), flush=True)  # noqa: T201


def _console() -> "Console":
    """Return the console of narration."""
    from ingest.terminal import Narration

    return Narration()


def _fail(error: Exception) -> None:
    """Say in one line on stderr what is wrong; file names in it can hold anything."""
    from ingest.terminal import shown

    print(f"error: {shown(str(error))}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
