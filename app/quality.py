"""How good the labels are, all in one: agreement, its course, a meter an annotator; and the file that curation reads.

Reads opinions as `app.opinions.read` gives them. `python -m app quality` prints the report, and with --output writes
reliability.parquet: rater_id (the pseudonym that the lake knows), n_right and n_wrong (gold items, attention checks).
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Final

import polars as pl

from app import meters, reliability
from app.agreement import alpha_ordinal, cohen_kappa, fleiss_kappa, pairwise_agreement
from app.meters import CHECKS, Meter
from app.reliability import Reliability
from ingest.pseudonyms import Pseudonyms

BOTH_JUDGED: Final = 10
"""Pairs that two annotators both judged, below which their kappa is not given."""


@dataclass(frozen=True)
class Agreement:
    """How far annotators agree on pairs of the queue; None is undefined: unanimous, or nothing judged twice."""

    pairs: int
    """Judged by two or more."""
    same: float | None
    """0 to 1, share of pairs of verdicts with the same outcome, a mean over pairs."""
    alpha: float | None
    """Krippendorff's, ordinal, of places 1 to 7 without both bad."""
    fleiss: float | None
    """Fleiss' kappa of outcomes."""


@dataclass(frozen=True)
class Quality:
    """What is known of the labels."""

    agreement: Agreement
    cohen: dict[tuple[str, str], float | None]
    """Two annotators -> their kappa, where they both judged `BOTH_JUDGED` pairs."""
    meters: list[Meter]
    reliability: dict[str, Reliability]
    """Empty where it was not asked for, or too few pairs are shared."""


def report(opinions: pl.DataFrame, *, models: bool = True) -> Quality:
    """Compute everything; without `models` nothing that needs more than a second."""
    asked = _asked(opinions)
    return Quality(
        agreement=agreement(asked),
        cohen=_cohen(asked),
        meters=meters.meters(opinions),
        reliability=reliability.estimate(opinions) if models else {},
    )


def agreement(asked: pl.DataFrame) -> Agreement:
    """Return the agreement in a table of verdicts, skips left out."""
    shared = asked.filter(pl.len().over("pair_id") > 1).group_by("pair_id", maintain_order=True)
    units = shared.agg("outcome", "place")
    outcomes: list[list[str]] = units["outcome"].to_list()
    places = [[place for place in unit if place is not None] for unit in units["place"].to_list()]
    return Agreement(
        pairs=len(outcomes),
        same=sum(map(pairwise_agreement, outcomes)) / len(outcomes) if outcomes else None,
        alpha=alpha_ordinal(places),
        fleiss=fleiss_kappa(outcomes),
    )


def by_week(opinions: pl.DataFrame) -> list[tuple[str, Agreement]]:
    """Return (Monday, agreement) of the weeks in which pairs got their last verdict, in order."""
    time = pl.col("event_time").str.slice(0, 10).str.to_date()
    asked = _asked(opinions).with_columns(week=time.max().over("pair_id").dt.truncate("1w"))
    return [(str(week), agreement(asked.filter(pl.col("week") == week))) for week in asked["week"].unique().sort()]


def by_day(opinions: pl.DataFrame) -> pl.DataFrame:
    """Return day, annotator and verdicts: what stands, skips left out, whatever it was asked for."""
    said = opinions.filter(pl.col("verdict") != "skip")
    day = pl.col("event_time").str.slice(0, 10).alias("day")
    return said.group_by(day, "annotator").agg(verdicts=pl.len()).sort("day", "annotator")


def reliability_file(opinions: pl.DataFrame, pseudonyms: Pseudonyms) -> pl.DataFrame:
    """Return rater_id, n_right and n_wrong: what checks say of each annotator, for `curate run`. Holds no name."""
    checked = opinions.filter(
        pl.col("purpose").is_in(CHECKS), pl.col("verdict") != "skip", pl.col("answer").is_not_null()
    )
    right = pl.col("outcome") == pl.col("answer")
    counts = checked.group_by("annotator").agg(n_right=right.sum(), n_wrong=(~right).sum()).cast({pl.UInt32: pl.Int64})
    names: list[str] = counts["annotator"].to_list()
    ids = pl.Series("rater_id", [pseudonyms.of(name) for name in names], dtype=pl.String)
    return counts.select(ids, "n_right", "n_wrong").sort("rater_id")


def _asked(opinions: pl.DataFrame) -> pl.DataFrame:
    return opinions.filter(pl.col("purpose") == "ask", pl.col("verdict") != "skip")


def _cohen(asked: pl.DataFrame) -> dict[tuple[str, str], float | None]:
    """Return the kappas of all two who share enough pairs."""
    said = {
        str(name): dict(mine.select("pair_id", "outcome").iter_rows()) for (name,), mine in asked.group_by("annotator")
    }
    found = {}
    for one, other in combinations(sorted(said), 2):
        both = sorted(said[one].keys() & said[other].keys())
        if len(both) >= BOTH_JUDGED:
            found[one, other] = cohen_kappa([said[one][p] for p in both], [said[other][p] for p in both])
    return found
