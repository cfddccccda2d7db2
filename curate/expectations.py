"""The gate: Great Expectations judges a data set before it is published; DuckDB computes what it judges.

Two suites: of the lake, over curate/lake_metrics.sql, and of what was curated, over curate/metrics.sql, which reads the
staged curated.parquet, dropped.parquet and decontaminated.parquet; part of `python -m curate run`. Writes
gate-lake.html and gate-curated.html beside them. Great Expectations sees one row of numbers for each and never a text
(`curate.checkpoint`). It decides about the data set, never about a row.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import duckdb

from curate import data_docs
from curate.recipe import Recipe
from curate.snapshot import write_text
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
    "evaluation_items_inside": "No evaluation item is inside. This is a fault of Winnow; please report it.",
}
"""Metrics of what was curated that must be 0 -> what that means and what to do."""
AGAIN: Final = "Run `python -m ingest run` again; where it stays so, look at the logs with `python -m ingest explain`."
LAKE: Final = {
    "lake_repeated_ids": f"Each triple has an id of its own. {AGAIN}",
    "lake_without_hash": f"Each triple has the hashes of its texts and its prompt group. {AGAIN}",
    "lake_more_agree_than_vote": f"No triple has more votes for it than votes. {AGAIN}",
    "lake_impossible_weights": "Weights are finite and not negative. See [pairing] weights in winnow.toml.",
    "lake_impossible_logprobs": "Log-probabilities are not above 0. See what the deployment logs.",
    "lake_reversed_times": f"No triple's last event is before its first. {AGAIN}",
}
"""Metrics of the lake that must be 0 -> what that means and what to do."""
RULES: Final = {
    "empty_sides": "empty_side",
    "identical_pairs": "identical_pair",
    "contradictory_pairs": "contradiction_minority, contradiction_tied",
    "groups_in_two_splits": "bridges_splits",
    "evaluation_items_inside": "evaluation_overlap",
    "chosen_longer": "gate.chosen_longer_min, gate.chosen_longer_max",
    "agreement": "gate.agreement_min",
    "curated_rows": "gate.min_rows",
}
"""Metric -> the rule or the recipe's key that answers for it; where there is none, the invariant's own name."""


@dataclass(frozen=True)
class Expectation:
    """A bound on one metric."""

    metric: str
    """A column of curate/metrics.sql."""
    low: float
    high: float | None
    advice: str
    """What the bound is for, and what to do when it is not kept."""
    place: int = 0
    """Among those of its suite."""

    @property
    def rule(self) -> str:
        """The rule or the recipe's key that answers for the metric."""
        return RULES.get(self.metric, self.metric)

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


Suites = Mapping[str, tuple[dict[str, float | None], Sequence[Expectation]]]
"""Name of a suite -> its metrics, and what is expected of them."""


def check(connection: duckdb.DuckDBPyConnection, folder: Path, triples: int, recipe: Recipe) -> list[Finding]:
    """Judge the lake and the data set in `folder`, made of `triples` triples; leave the pages of both suites there.

    Raises GateError naming every failed expectation, and rows because of which it failed.
    """
    metrics, lake = measure(connection, folder, triples), measure_lake(connection)
    suites = {"lake": (lake, lake_expectations()), "curated": (metrics, expectations(recipe, metrics))}
    docs = folder.parent / "data-docs"
    findings = judge(suites, docs)
    failed = [finding for finding in findings if not finding.success]
    if failed:
        rows = failing_rows(connection, folder, failed)
        lines = "".join(
            f"\n  {f.expectation.metric}: {f.observed_text}, expected {f.expectation.bounds}. {f.expectation.advice}"
            + (f"\n    rows: {', '.join(rows[f.expectation.metric])}" if f.expectation.metric in rows else "")
            for f in failed
        )
        raise GateError(f"Nothing was published: {len(failed)} of {len(findings)} expectations failed.{lines}")
    for suite in suites:
        write_text(folder / f"gate-{suite}.html", data_docs.page(docs, suite))
    shutil.rmtree(docs)
    return findings


def measure(connection: duckdb.DuckDBPyConnection, folder: Path, triples: int) -> dict[str, float | None]:
    """Return the row of curate/metrics.sql: metric -> value."""
    files = {name: str(folder / f"{name}.parquet") for name in ("curated", "dropped", "decontaminated")}
    return _row(connection, "metrics.sql", files | {"triples": triples})


def measure_lake(connection: duckdb.DuckDBPyConnection) -> dict[str, float | None]:
    """Return the row of curate/lake_metrics.sql: metric -> value."""
    return _row(connection, "lake_metrics.sql", {})


def _row(
    connection: duckdb.DuckDBPyConnection, name: str, parameters: Mapping[str, str | int]
) -> dict[str, float | None]:
    result = connection.execute(statement(name), parameters)
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
    if metrics["agreement"] is not None:
        agree = "Annotators and users disagree too much. See the report of an earlier snapshot, or lower the bound."
        found.append(Expectation("agreement", gate.agreement_min, 1, agree))
    return [replace(expectation, place=place) for place, expectation in enumerate(found)]


def lake_expectations() -> list[Expectation]:
    """Return what every lake must be like."""
    found = [Expectation("triples", 1, None, "The lake holds triples. Run `python -m ingest run`.")]
    found += [Expectation(metric, 0, 0, advice) for metric, advice in LAKE.items()]
    return [replace(expectation, place=place) for place, expectation in enumerate(found)]


def judge(suites: Suites, docs: Path | None = None) -> list[Finding]:
    """Let Great Expectations judge one row of metrics for each suite; returns a finding for each expectation, in order.

    Its Data Docs go to the folder `docs`, where it is one.
    """
    from curate import checkpoint  # noqa: PLC0415 - seconds of import, which only a gate costs

    verdicts = checkpoint.run(suites, docs)
    return [
        Finding(expected, metrics[expected.metric], success)
        for name, (metrics, all_expected) in suites.items()
        for expected, success in zip(all_expected, verdicts[name], strict=True)
    ]


def failing_rows(
    connection: duckdb.DuckDBPyConnection, folder: Path, failed: Sequence[Finding]
) -> dict[str, list[str]]:
    """Return metric -> triple_ids of some rows because of which it failed; none of a metric that counts too few."""
    for name, file in (("curated", "curated"), ("dropped", "dropped"), ("contaminated", "decontaminated")):
        path = folder / f"{file}.parquet"
        connection.read_parquet(str(path)).create_view(f"gate_{name}", replace=True)
    names = [finding.expectation.metric for finding in failed]
    rows: dict[str, list[str]] = {}
    for metric, triple_id in connection.execute(statement("gate_rows.sql"), {"failed": names}).fetchall():
        rows.setdefault(metric, []).append(triple_id)
    return rows
