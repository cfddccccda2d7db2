"""Command line of the labelling app: pairs in, counts and labels out. The page itself is `streamlit run app/label.py`.

    python -m app load [CANDIDATES.parquet]           put pairs into the queue; default: those of the latest snapshot
    python -m app status                              how far the queue is, and who did how much
    python -m app gold FILE.jsonl|FILE.parquet        add pairs whose answer is known (app.gold)
    python -m app quality [--output FILE.parquet]     agreement, and what each annotator is like (app.quality)
    python -m app export events|verdicts [--output FILE.parquet|FILE.jsonl]   what annotators said

Reads winnow.toml and the label store that it names. stdout is data: one line of JSON, or the exported rows as JSON
Lines; tables and errors go to stderr.
"""

import argparse
import getpass
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from app import candidates, export, gold, tally
from app.store import Store, open_store
from ingest import settings
from ingest.errors import SettingsError, StoreError, WinnowError
from ingest.pseudonyms import Pseudonyms
from ingest.settings import Settings

EPILOG: Final = """exit codes: 0 done; 2 winnow.toml or an argument is wrong; 3 the file of pairs does not keep its
contract; 8 the label store refused or failed."""


def load(given: argparse.Namespace) -> None:
    """Put the pairs of a candidates.parquet into the queue; the same file again changes nothing."""
    workspace, store = _open(given)
    file = given.file or candidates.latest(workspace)
    if file is None:
        raise SettingsError(f"{workspace.curated} has no snapshot yet. Run `python -m curate run`, or name a file.")
    done = candidates.load(store, file, k=workspace.labels.annotators_per_pair)
    _print(asdict(done) | {"unchanged": done.unchanged, "file": str(file)})


def status(given: argparse.Namespace) -> None:
    """Count the queue, and what each annotator did."""
    workspace, store = _open(given)
    queue = tally.queue(store, k=workspace.labels.annotators_per_pair)
    people = tally.annotators(store)
    table = Table(title=f"{queue.pairs:,} pairs: {queue.complete:,} complete, {queue.wanted:,} verdicts still wanted")
    columns = ("annotator", "left", "right", "tie", "both_bad", "skip", "retracted", "late", "last_time")
    for name in columns:
        table.add_column(name, justify="left" if name in ("annotator", "last_time") else "right")
    for person in people:
        table.add_row(*(Text(str(getattr(person, name))) for name in columns))
    Console(stderr=True, markup=False, emoji=False).print(table)
    _print({"queue": asdict(queue), "annotators": [asdict(person) for person in people]})


def add_gold(given: argparse.Namespace) -> None:
    """Add pairs whose answer is known, to be asked among the others; the same file again changes nothing."""
    _, store = _open(given)
    new = gold.load(store, given.file, getpass.getuser())
    _print({"new": new, "gold": gold.count(store), "file": str(given.file)})


def tell_quality(given: argparse.Namespace) -> None:
    """Tell how far annotators agree and what each of them is like; --output is what `curate run` reads."""
    from app import opinions, quality  # noqa: PLC0415 - polars, SciPy and crowd-kit

    workspace, store = _open(given)
    said = opinions.read(store)
    found = quality.report(said)
    if given.output:
        if given.output.suffix != ".parquet":
            raise SettingsError(f"Cannot write {given.output.name}: the name of this file ends in .parquet.")
        quality.reliability_file(said, Pseudonyms(workspace.pseudonym_key)).write_parquet(given.output, mkdir=True)
    people = [
        asdict(meter) | {"flags": meter.flags, "models": found.reliability.get(meter.annotator)}
        for meter in found.meters
    ]
    kappas = [{"annotators": both, "kappa": kappa} for both, kappa in found.cohen.items()]
    _print({"agreement": asdict(found.agreement), "cohen": kappas, "annotators": people})


def export_labels(given: argparse.Namespace) -> None:
    """Write what annotators said: every event, or the verdicts that stand."""
    _, store = _open(given)
    if given.output is None:
        export.to_lines(store, given.what, sys.stdout)
        return
    rows = export.to_file(store, given.what, given.output)
    _print({"rows": rows, "file": str(given.output)})


def _open(given: argparse.Namespace) -> tuple[Settings, Store]:
    """Return the workspace and its store."""
    workspace = settings.load(given.config)
    return workspace, open_store(workspace.labels.url)


def _print(data: object) -> None:
    """Print the command's one line of JSON on stdout."""
    print(json.dumps(data, default=vars), flush=True)  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    """Return the grammar of the command line."""
    parser = argparse.ArgumentParser(prog="python -m app", description="The labelling app's store.", epilog=EPILOG)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    made = {}
    named = {"load": load, "status": status, "gold": add_gold, "quality": tell_quality, "export": export_labels}
    for name, function in named.items():
        made[name] = commands.add_parser(name, help=function.__doc__, description=function.__doc__, epilog=EPILOG)
        made[name].add_argument(
            "--config", type=Path, metavar="FILE", help="settings file; default $WINNOW_CONFIG, else ./winnow.toml"
        )
        made[name].set_defaults(function=function)
    made["load"].add_argument("file", type=Path, nargs="?", metavar="CANDIDATES", help="default: the latest snapshot's")
    made["gold"].add_argument("file", type=Path, metavar="FILE", help="ends in .jsonl or .parquet")
    made["quality"].add_argument("--output", type=Path, metavar="FILE", help="reliability of raters, Parquet")
    made["export"].add_argument("what", choices=sorted(export.WHAT))
    made["export"].add_argument(
        "--output", type=Path, metavar="FILE", help="ends in .parquet or .jsonl; default: JSON Lines on stdout"
    )
    return parser


def main() -> int:
    """Run the command that the arguments name, and return the exit code; every error of ours is one line on stderr."""
    given = _parser().parse_args()
    try:
        given.function(given)
    except WinnowError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except OSError as error:
        print(f"error: {error.filename or 'stdout'}: {error.strerror}.", file=sys.stderr)  # noqa: T201
        return StoreError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
