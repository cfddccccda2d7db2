"""What a team's lead should know of each annotator: sides, lengths, time, gold items, repeats; with what luck may do.

Reads opinions as `app.opinions.read` gives them. A rate comes with its Wilson interval at 99 %, because many rates of
many people are looked at many times, and is flagged when the interval lies outside of what it should be; below
`FEWEST` verdicts nothing is flagged at all.

Source: Wilson 1927.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Final

import polars as pl

FEWEST: Final = 30
"""Verdicts below which no rate is flagged."""
Z: Final = 2.5758
"""Of a 99 % interval."""
GOLD_WANTED: Final = 0.8
"""Share of gold items and attention checks, and of repeats, that a careful annotator gets right, or the same."""

CHECKS: Final = ("gold", "attention")


@dataclass(frozen=True)
class Rate:
    """So many of so many."""

    hits: int
    of: int
    flagged: bool = False
    """The interval lies outside of what the rate should be, and `of` is `FEWEST` or more."""

    @property
    def value(self) -> float | None:
        """0 to 1; None of nothing."""
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end of Wilson's interval."""
        return wilson(self.hits, self.of)


@dataclass(frozen=True)
class Meter:
    """What one annotator is like."""

    annotator: str
    verdicts: int
    """Those that stand and are no skips, all purposes."""
    left: Rate
    """Of left and right verdicts, repeats apart. Sides are a fair coin, so a half is right for everybody."""
    longer: Rate
    """The longer response won. What is usual is the median of all annotators: longer may well be better."""
    median_seconds: float | None
    gold: Rate
    """Gold items and attention checks answered right."""
    consistent: Rate
    """Repeats, sides swapped, with the outcome of the first time."""

    @property
    def flags(self) -> list[str]:
        """Names of what is flagged, as a sentence needs them."""
        named = {
            "chooses one side": self.left, "chooses by length": self.longer,
            "misses gold items": self.gold, "contradicts themselves": self.consistent,
        }  # fmt: skip
        return [name for name, rate in named.items() if rate.flagged]


def wilson(hits: int, of: int, z: float = Z) -> tuple[float, float]:
    """Return Wilson's score interval of a share; all of 0 to 1 for none of none."""
    if not of:
        return 0.0, 1.0
    share, square = hits / of, z * z
    centre = (share + square / (2 * of)) / (1 + square / of)
    half = z * sqrt(share * (1 - share) / of + square / (4 * of * of)) / (1 + square / of)
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def meters(opinions: pl.DataFrame) -> list[Meter]:
    """Return one meter an annotator, by name."""
    said = opinions.filter(pl.col("verdict") != "skip")
    longer = _longer(said)
    usual = _usual(longer)
    found = []
    for annotator in said["annotator"].unique().sort():
        mine = said.filter(pl.col("annotator") == annotator)
        sided = mine.filter(pl.col("verdict").is_in(["left", "right"]), pl.col("purpose") != "repeat")
        checks = mine.filter(pl.col("purpose").is_in(CHECKS), pl.col("answer").is_not_null())
        my_longer = longer.filter(pl.col("annotator") == annotator)
        seconds = mine["elapsed_ms"].median()
        found.append(
            Meter(
                annotator=annotator,
                verdicts=mine.height,
                left=beside(int((sided["verdict"] == "left").sum()), sided.height, 0.5),
                longer=beside(int(my_longer["longer"].sum()), my_longer.height, usual),
                median_seconds=float(seconds) / 1_000 if isinstance(seconds, int | float) else None,
                gold=at_least(int((checks["outcome"] == checks["answer"]).sum()), checks.height, GOLD_WANTED),
                consistent=_consistent(mine),
            )
        )
    return found


def beside(hits: int, of: int, right: float | None) -> Rate:
    """Return a rate that is flagged when `right`, if it is known, is not in its interval."""
    low, high = wilson(hits, of)
    return Rate(hits, of, right is not None and of >= FEWEST and not low <= right <= high)


def at_least(hits: int, of: int, wanted: float) -> Rate:
    """Return a rate that is flagged when even the upper end of its interval is below `wanted`."""
    return Rate(hits, of, of >= FEWEST and wilson(hits, of)[1] < wanted)


def _longer(said: pl.DataFrame) -> pl.DataFrame:
    """Return annotator and whether the longer one won, of verdicts on queue pairs for one of two unlike lengths."""
    decided = said.filter(
        pl.col("outcome").is_in(["a", "b"]), pl.col("purpose") == "ask", pl.col("chars_a") != pl.col("chars_b")
    )
    return decided.select("annotator", longer=(pl.col("outcome") == "a") == (pl.col("chars_a") > pl.col("chars_b")))


def _usual(longer: pl.DataFrame) -> float | None:
    """Return the median of annotators' rates, of those with enough verdicts; None where they are fewer than three."""
    rates = longer.group_by("annotator").agg(pl.len(), rate=pl.col("longer").mean()).filter(pl.col("len") >= FEWEST)
    middle = rates["rate"].median() if rates.height >= 3 else None
    return float(middle) if isinstance(middle, float) else None


def _consistent(mine: pl.DataFrame) -> Rate:
    """Compare repeats with the first verdict on the same pair."""
    first = mine.filter(pl.col("purpose") != "repeat").select("pair_id", first="outcome")
    again = mine.filter(pl.col("purpose") == "repeat").join(first, on="pair_id")
    return at_least(int((again["outcome"] == again["first"]).sum()), again.height, GOLD_WANTED)
