"""One curation, from the lake's triples to a published snapshot, stage by stage.

Reads the lake (triples, interactions, feedback), writes <curated>/<snapshot>/; `python -m curate run` prints what it
returns. DuckDB does the work within MEMORY, spilling into a private folder that is gone afterwards; texts stream from
the lake's Parquet files to the snapshot's and are never held whole.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import duckdb

from curate import (
    balance,
    candidates,
    card,
    contradictions,
    decontaminate,
    expectations,
    measures,
    report,
    sketches,
    snapshot,
    split,
)
from curate.apply import apply
from curate.counts import Counts, count
from curate.recipe import Recipe
from curate.rules import Reason, Rule
from curate.statements import statement
from ingest.erasure.snapshots import is_withdrawn
from ingest.errors import LakeError
from ingest.lake import Lake
from ingest.schema import CANDIDATE
from ingest.settings import Settings

MEMORY: Final = "3GB"
"""Of DuckDB's buffers, above which it spills to disk."""
TABLES: Final = ("triples", "interactions", "feedback")
STAGES: Final = ("read the lake", "judge", "candidates", "write", "gate", "report", "publish")
"""What `progress` is called with, in order; a run that finds nothing new leaves out the last two."""


@dataclass(frozen=True, kw_only=True)
class Curation:
    """What one run did."""

    folder: Path
    """Of the snapshot."""
    published: bool
    """False when the same snapshot was there already."""
    counts: Counts
    offer: candidates.Offer
    contests: contradictions.Contests
    balanced: balance.Balance | None = None
    """None when the recipe balances nothing."""

    @property
    def report(self) -> Path:
        """The snapshot's report."""
        return self.folder / "report.html"


def curate(settings: Settings, recipe: Recipe, progress: Callable[[str], None]) -> Curation:
    """Curate the lake and publish the snapshot, or find that it is published already.

    Raises LakeError without triples, RuleError, GateError, and what reading the lake raises; then nothing is published.
    """
    with snapshot.staging(settings.curated) as work:
        connection = _connect(work / "spill")
        try:
            return _curate(connection, settings, recipe, work / "snapshot", progress)
        finally:
            connection.close()


def _curate(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    recipe: Recipe,
    folder: Path,
    progress: Callable[[str], None],
) -> Curation:
    """Run the stages in order; `folder` is where the snapshot is put together."""
    rules = recipe.resolved_rules(settings.consent.allow)
    folder.mkdir(mode=0o700)
    progress("read the lake")
    versions = open_lake(connection, Lake(settings.lake))
    progress("judge")
    split.remember(connection, settings.curated, recipe.split)
    sketches.remember(connection, settings.curated)
    reasons = apply(connection, rules, recipe, settings.root)
    balanced = balance.balance(connection, recipe.balance)
    connection.execute(statement("kept.sql"))
    progress("candidates")
    offer = candidates.find(
        connection, recipe.candidates, cut_off=_cut_off(rules), consent_allow=settings.consent.allow
    )
    progress("write")
    snapshot.write_curated(connection, folder)
    snapshot.write_dropped(connection, folder)
    snapshot.write_table(decontaminate.found(connection), decontaminate.CONTAMINATED, folder / decontaminate.FILE)
    snapshot.write_table(candidates.read(connection), CANDIDATE, folder / "candidates.parquet")
    progress("gate")
    counts = count(connection)
    findings = expectations.check(connection, folder, counts.triples, recipe)
    resolved = _resolved(recipe, rules, reasons) | {"evaluation_sets": decontaminate.sets(connection)}
    content = snapshot.content(folder, resolved)
    digest = content.digest
    done = Curation(
        folder=settings.curated / digest[:12],
        published=False,
        counts=counts,
        offer=offer,
        contests=contradictions.contests(connection),
        balanced=balanced,
    )
    if done.folder.is_dir():
        if is_withdrawn(done.folder):
            raise LakeError(
                f"{done.folder} was withdrawn by an erasure, and the lake gives the same again: somebody brought back "
                "who was erased. Run `python -m ingest erase` for them again."
            )
        snapshot.point_latest(settings.curated, done.folder.name)
        split.record(connection, settings.curated, recipe.split)
        sketches.record(connection, settings.curated)
        return done
    progress("report")
    measured = measures.measure(connection)
    facts = report.Facts(
        name=done.folder.name,
        counts=counts,
        offer=offer,
        reasons=reasons,
        findings=findings,
        measures=measured,
        recipe=resolved["recipe"],
        balanced=balanced,
    )
    snapshot.write_text(folder / "report.html", report.render(connection, folder / "curated.parquet", facts))
    snapshot.write_text(folder / "README.md", card.render(done.folder.name, recipe.card, counts, measured, reasons))
    progress("publish")
    manifest = {"snapshot": done.folder.name, "content_hash": digest, "counts": asdict(counts)}
    manifest |= {"contests": asdict(done.contests), "measured": asdict(measured)}
    manifest |= {"balance": asdict(balanced)} if balanced else {}
    manifest |= {"candidates": asdict(offer), "lake": versions, **resolved, "row_groups": content.row_groups}
    snapshot.write_manifest(folder, manifest)
    split.record(
        connection, settings.curated, recipe.split
    )  # first: what is published is known, whatever kills the run
    sketches.record(connection, settings.curated)
    snapshot.publish(folder, done.folder)
    return replace(done, published=True)


def open_lake(connection: duckdb.DuckDBPyConnection, lake: Lake) -> dict[str, int | None]:
    """Make the views that curation reads, all of one moment; returns table -> version.

    Raises LakeError when there are no triples: there is nothing to curate yet.
    """
    before = None
    while before != (versions := {table: lake.version(table) for table in TABLES}):  # an ingest run may be committing
        before = versions
        for table in TABLES:
            lake.view(connection, table)
    ((triples,),) = connection.execute("SELECT count(*) FROM triples").fetchall()
    if not triples:
        raise LakeError(
            f"The lake {lake.path} holds no triples. Run `python -m ingest run` first, and look at its counts."
        )
    return versions


def _connect(spill: Path) -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB that spills into `spill` and never fetches an extension."""
    spill.mkdir(mode=0o700)
    connection = duckdb.connect(
        config={
            "arrow_large_buffer_size": "true",  # a batch of long texts is more than 2 GiB
            "temp_directory": str(spill),
            "memory_limit": MEMORY,
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
    )
    connection.execute("SET TimeZone = 'UTC'")  # what an own rule says of a time depends on no machine
    return connection


def _cut_off(rules: Sequence[Rule]) -> tuple[str, ...]:
    """Return the finish reasons that the recipe calls cut off; none when it keeps truncated responses."""
    found = [rule.params["cut_off"] for rule in rules if "cut_off" in rule.params]
    return tuple(reason for value in found if isinstance(value, tuple) for reason in value)


def _resolved(recipe: Recipe, rules: Sequence[Rule], reasons: Sequence[Reason]) -> dict[str, Any]:
    """Return recipe and rules as JSON values with every default filled in: what a snapshot's hash covers."""
    params = {rule.name: dict(rule.params) for rule in rules if rule.params}
    values = {**recipe.model_dump(mode="json"), "params": params}
    return {
        "recipe": json.loads(json.dumps(values)),  # tuples become lists, as in the manifest
        "rules": [{"id": reason.id, "reason": reason.reason} for reason in reasons],
    }
