"""The gate: Great Expectations judges a data set before it is published; DuckDB computes what it judges.

Reads the staged curated.parquet and dropped.parquet through curate/metrics.sql; part of `python -m curate run`. Great
Expectations sees one row of numbers and never a text, in an ephemeral context with its analytics off: it writes no file
and opens no connection. It decides about the data set, never about a row.
"""

import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from curate.recipe import Recipe
from curate.statements import statement
from ingest.errors import GateError

NOTHING_WRONG: Final = {
    "unaccounted": "Every triple is either curated or dropped. This is a fault of Winnow; please report it.",
    "kept_and_dropped": "No triple is both curated and dropped. This is a fault of Winnow; please report it.",
    "drops_without_first": "Each dropped triple has one first reason. This is a fault of Winnow; please report it.",
    "repeated_ids": "Each row has an id of its own. Run `python -m ingest run` again.",
    "empty_sides": "No response is empty. Put empty_side back among the recipe's rules.",
    "identical_pairs": "No pair says the same on both sides. Put identical_pair back among the recipe's rules.",
    "contradictory_pairs": "No pair of responses is there twice. This is a fault of Winnow; please report it.",
    "groups_in_two_splits": "No prompt group is in two splits. This is a fault of Winnow; please report it.",
}
"""Metrics that must be 0 -> what that means and what to do."""


@dataclass(frozen=True)
class Expectation:
    """A bound on one metric."""

    metric: str
    """A column of curate/metrics.sql."""
    low: float
    high: float | None
    advice: str
    """What the bound is for, and what to do when it is not kept."""

    @property
    def bounds(self) -> str:
        """The bound in words: "0", "at least 20", "0.1 to 0.9"."""
        if self.low == self.high:
            return f"{self.low:,}"
        return f"at least {self.low:,}" if self.high is None else f"{self.low} to {self.high}"


@dataclass(frozen=True)
class Finding:
    """What the gate found for one expectation."""

    expectation: Expectation
    observed: float | None
    success: bool

    @property
    def observed_text(self) -> str:
        """The observed value as a person reads it."""
        if self.observed is None:
            return "nothing"
        return f"{self.observed:,.3f}" if isinstance(self.observed, float) else f"{self.observed:,}"


def check(connection: duckdb.DuckDBPyConnection, folder: Path, triples: int, recipe: Recipe) -> list[Finding]:
    """Judge the data set in `folder`, made of `triples` triples. Raises GateError naming every failed expectation."""
    metrics = measure(connection, folder, triples)
    findings = judge(metrics, expectations(recipe, metrics))
    failed = [finding for finding in findings if not finding.success]
    if failed:
        lines = "".join(
            f"\n  {f.expectation.metric}: {f.observed_text}, expected {f.expectation.bounds}. {f.expectation.advice}"
            for f in failed
        )
        raise GateError(f"Nothing was published: {len(failed)} of {len(findings)} expectations failed.{lines}")
    return findings


def measure(connection: duckdb.DuckDBPyConnection, folder: Path, triples: int) -> dict[str, float | None]:
    """Return the row of curate/metrics.sql: metric -> value."""
    result = connection.execute(
        statement("metrics.sql"),
        {"curated": str(folder / "curated.parquet"), "dropped": str(folder / "dropped.parquet"), "triples": triples},
    )
    names = [column[0] for column in result.description or ()]
    (row,) = result.fetchall()
    return dict(zip(names, row, strict=True))


def expectations(recipe: Recipe, metrics: dict[str, float | None]) -> list[Expectation]:
    """Return what the recipe demands; a share of nothing cannot be judged and is left out."""
    gate, split = recipe.gate, recipe.split
    rows = "Collect or label more, or lower gate.min_rows in the recipe."
    longer = (
        "Where length decides, a model learns length. See the report of an earlier snapshot, or widen "
        "gate.chosen_longer_min and gate.chosen_longer_max."
    )
    found = [Expectation("curated_rows", gate.min_rows, None, rows)]
    found += [Expectation(metric, 0, 0, advice) for metric, advice in NOTHING_WRONG.items()]
    for name, share in (("train", 1.0), ("validation", split.validation), ("test", split.test)):
        advice = f"Split by {metrics['curated_rows']:,} rows' prompt groups, {name} got none: collect more, or set the "
        advice += f"split's share of {name} to 0 in the recipe." if name != "train" else "shares of the others lower."
        if share > 0:
            found.append(Expectation(f"{name}_rows", 1, None, advice))
    if metrics["chosen_longer"] is not None:
        found.append(Expectation("chosen_longer", gate.chosen_longer_min, gate.chosen_longer_max, longer))
    return found


def judge(metrics: dict[str, float | None], expected: list[Expectation]) -> list[Finding]:
    """Let Great Expectations judge one row of metrics; returns one finding for each expectation, in order."""
    gx, pandas, types = _great_expectations()
    in_memory = types.DataContextConfig(
        store_backend_defaults=types.InMemoryStoreBackendDefaults(),  # or it makes a folder for a web site
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=in_memory)
    context.variables.progress_bars = {"globally": False}
    suite = gx.ExpectationSuite(
        name="curated",
        expectations=[
            gx.expectations.ExpectColumnMaxToBeBetween(
                column=e.metric, min_value=e.low, max_value=e.high, meta={"place": place, "advice": e.advice}
            )
            for place, e in enumerate(expected)
        ],
    )
    frame = pandas.DataFrame([metrics])
    rows = context.data_sources.add_pandas("curate").add_dataframe_asset("metrics")
    batch = rows.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    results = sorted(batch.validate(suite).results, key=lambda result: result.expectation_config.meta["place"])
    return [Finding(e, metrics[e.metric], bool(result.success)) for e, result in zip(expected, results, strict=True)]


def _great_expectations() -> tuple[Any, Any, Any]:
    """Import Great Expectations: seconds, so only here. Its own use of deprecated modules is not our user's concern."""
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations  # noqa: PLC0415
        import great_expectations.expectations  # noqa: PLC0415
        import pandas  # noqa: PLC0415
        from great_expectations.data_context.types import base  # noqa: PLC0415
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    return great_expectations, pandas, base
