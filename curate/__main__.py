"""The command line of curate/: triples in, a data set out, and for every triple that is not in it why.

    python -m curate run [--config winnow.toml] [--recipe recipe.toml]

stdout gets one line of JSON; progress and the table of counts go to stderr.
"""

import json
import sys
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
from ingest import settings as workspaces
from ingest.errors import WinnowError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_show_locals=False)
NARRATION = Console(stderr=True, markup=False, emoji=False)
"""Names are shown as they are, also where they look like markup."""


@app.callback()
def main() -> None:
    """Curate preference triples into a data set."""


@app.command()
def run(
    config: Annotated[Path | None, typer.Option(help="Settings of the workspace; default ./winnow.toml.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="Curation recipe; default curate/default_recipe.toml.")] = None,
) -> None:
    """Curate the lake's triples and publish the snapshot; the same input publishes nothing twice."""
    try:
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
    except WinnowError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    _narrate(done)
    typer.echo(json.dumps(_summary(done)))


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
