"""The command line of curate/: triples in, a data set out, and for every triple that is not in it why.

    python -m curate run [--config winnow.toml] [--recipe recipe.toml]
    python -m curate verify [SNAPSHOT]     whether a snapshot is what its manifest says
    python -m curate diff A B              which rows came, went and changed, and why
    python -m curate export --format trl --out FILE [SNAPSHOT]   the triples as others train from them

A SNAPSHOT is a folder; left out, it is the latest of the workspace. stdout gets one line of JSON; progress and
tables go to stderr.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from curate import recipe as recipes
from curate.balance import Balance
from curate.curation import STAGES, Curation, curate
from curate.diff import Differences, diff
from curate.export import export
from curate.export_formats import FORMATS, REASONS
from curate.published import find
from curate.verify import Verified, verify
from ingest import settings as workspaces
from ingest.errors import SnapshotError, WinnowError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_show_locals=False)
NARRATION = Console(stderr=True, markup=False, emoji=False)
"""Names are shown as they are, also where they look like markup."""


Named = Annotated[Path | None, typer.Argument(metavar="SNAPSHOT", help="Its folder; default the latest one.")]
Config = Annotated[Path | None, typer.Option(help="Settings of the workspace; default ./winnow.toml.")]


@app.callback()
def main() -> None:
    """Curate preference triples into a data set."""


@app.command()
def run(
    config: Config = None,
    recipe: Annotated[Path | None, typer.Option(help="Curation recipe; default curate/default_recipe.toml.")] = None,
) -> None:
    """Curate the lake's triples and publish the snapshot; the same input publishes nothing twice."""
    with _errors():
        settings, chosen = workspaces.load(config), recipes.load(recipe)
        with Progress(
            TextColumn("curate: {task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=NARRATION,
        ) as bar:
            task = bar.add_task("", total=len(STAGES))
            done = curate(
                settings, chosen, lambda name: bar.update(task, description=name, completed=STAGES.index(name))
            )
            bar.update(task, description="done", completed=len(STAGES))
    _narrate(done)
    typer.echo(json.dumps(_summary(done)))


@app.command(name="verify")
def verify_command(snapshot: Named = None, config: Config = None) -> None:
    """Hash a snapshot again, files and rows, and count it; ends with 15 where it is not what its manifest says."""
    with _errors():
        found = verify(find(snapshot, config))
        if found.differences:
            NARRATION.print(_wrong(found))
        typer.echo(json.dumps(asdict(found)))
        if found.differences:
            raise SnapshotError(
                f"Snapshot {found.snapshot} is not as it was published: {len(found.differences)} differences. "
                "Curate again, or bring it back from a copy."
            )
    NARRATION.print(
        f"{found.snapshot} is as published: {found.files} files, {found.bytes:,} bytes, {found.row_groups:,} row groups"
    )


@app.command(name="diff")
def diff_command(
    before: Annotated[Path, typer.Argument(metavar="A", help="A snapshot's folder.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The folder of another, newer one.")],
    out: Annotated[Path | None, typer.Option(help="New Parquet file for all rows that differ.")] = None,
    show: Annotated[int, typer.Option(min=0, help="Rows that are printed.")] = 20,
) -> None:
    """Say which rows came, went and changed from snapshot A to B, and why."""
    with _errors():
        found = diff(find(before, None), find(after, None), show=show, out=out)
    NARRATION.print(_differences(found))
    typer.echo(json.dumps(asdict(found)))


@app.command(name="export")
def export_command(
    form: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")],
    out: Annotated[Path, typer.Option(help="New file of JSON lines.")],
    split: Annotated[str | None, typer.Option(help="train, validation or test alone; default all.")] = None,
    snapshot: Named = None,
    config: Config = None,
) -> None:
    """Write a snapshot's triples as others train from them; what a format cannot express is left out, and counted."""
    with _errors():
        done = export(find(snapshot, config), form, out, split)
    for reason, count in done.left_out.items():
        NARRATION.print(f"left out: {count:,} triples, {REASONS[reason]}", soft_wrap=True)
    if done.weighted:
        NARRATION.print(f"{done.weighted:,} of the exported triples have weights, which {form} does not hold")
    NARRATION.print(f"{done.exported:,} of {done.triples:,} triples are in {out}", soft_wrap=True)
    typer.echo(json.dumps(asdict(done)))


@contextmanager
def _errors() -> Iterator[None]:
    """End a command with one line and the exit code of what is wrong."""
    try:
        yield
    except WinnowError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error


def _wrong(found: Verified) -> Table:
    table = Table(title="not as published", title_justify="left")
    for name in ("file", "what", "detail"):
        table.add_column(name)
    for difference in found.differences:
        table.add_row(*(Text(value) for value in (difference.file, difference.kind, difference.detail)))
    return table


def _differences(found: Differences) -> Table:
    title = f"{found.before} -> {found.after}: {found.same:,} rows are the same"
    table = Table(title=title, title_justify="left")
    table.add_column("what, and why")
    table.add_column("rows", justify="right")
    for why, rows in found.why.items():
        table.add_row(Text(why), f"{rows:,}", end_section=why == list(found.why)[-1])
    for row in found.rows:
        seen = " ".join(filter(None, (row["rule"], row["detail"])))
        table.add_row(Text(f"{row['what']} {row['triple_id']}  {seen}"), "")
    return table


def _summary(done: Curation) -> dict[str, object]:
    """Return what stdout gets."""
    return {
        "snapshot": str(done.folder),
        "published": done.published,
        "triples": done.counts.triples,
        "curated": done.counts.curated,
        "dropped": done.counts.dropped,
        "dropped_by_reason": {name: reach.first for name, reach in done.counts.by_reason.items()},
        "by_split": done.counts.by_split,
        "candidates": done.offer.offered,
        "report": str(done.report),
    }


def _narrate(done: Curation) -> None:
    """Print the counts that add up, and where the snapshot is."""
    table = Table(title="in = dropped + curated", title_justify="left")
    table.add_column("triples")
    table.add_column("count", justify="right")
    table.add_column("holds for", justify="right")
    table.add_row(Text("in", "bold"), f"{done.counts.triples:,}", "")
    for name, reach in done.counts.by_reason.items():
        table.add_row(Text(f"  {name}"), f"{reach.first:,}", f"{reach.holds_for:,}")
    table.add_row(Text("dropped", "bold"), f"{done.counts.dropped:,}", "", end_section=True)
    for name, count in done.counts.by_split.items():
        table.add_row(f"  {name}", f"{count:,}", "")
    table.add_row(Text("curated", "bold"), f"{done.counts.curated:,}", "")
    NARRATION.print(table)
    if done.balanced:
        NARRATION.print(_balance(done.balanced))
    contests = done.contests
    NARRATION.print(
        f"pairs with votes both ways: {contests.contradicted:,}; weighed by {contests.raters:,} known raters: "
        f"{contests.weighed:,}; circles of preferences: {contests.cycles:,}, of {contests.in_cycles:,} triples"
    )
    NARRATION.print(f"pairs offered to annotators: {done.offer.offered:,}; beyond the caps: {done.offer.left_out:,}")
    state = "published" if done.published else "nothing new: this snapshot was published already"
    NARRATION.print(f"{state}: {done.folder}", soft_wrap=True)


def _balance(done: Balance) -> Table:
    """Return what each cap and target of [balance] did, and what it cost."""
    kept = f"{done.kept:,} of {done.rows:,} triples kept"
    size = f"effective sample size {done.effective_before:,.1f} -> {done.effective:,.1f}"
    table = Table(title=f"balance: {kept}, {size}", title_justify="left")
    for name in ("target", "goal", "before", "after", "costs triples", "costs effective size"):
        table.add_column(name, justify="left" if name == "target" else "right")
    for column, dropped in done.caps.items():
        table.add_row(Text(f"caps.{column}"), "", "", "", f"{dropped:,}", "")
    for met in done.targets:
        before, after = ("-" if value is None else f"{value:.3f}" for value in (met.before, met.after))
        costs = (f"{met.rows_cost:,}", f"{met.effective_cost:,.1f}")
        table.add_row(Text(met.name), f"{met.goal:g}", before, after, *costs)
    return table


if __name__ == "__main__":
    sys.exit(app())
