"""The meters: Wilson's interval by hand, and who is flagged."""

import numpy as np
import polars as pl
import pytest

from app.meters import FEWEST, Rate, at_least, beside, meters, wilson
from app.opinions import SCHEMA, of_the_pair


def test_wilson_by_hand() -> None:
    """z = 2, 8 of 16: (0.5 + 4/32) / (1 + 4/16) = 0.5; 2 * sqrt(1/64 + 4/1024) / 1.25 = 0.22361."""
    assert wilson(8, 16, z=2) == pytest.approx((0.27639, 0.72361), abs=1e-5)


@pytest.mark.parametrize(("hits", "of"), [(0, 0), (0, 40), (40, 40)])
def test_wilson_stays_within_0_and_1(hits: int, of: int) -> None:
    low, high = wilson(hits, of)
    assert 0 <= low <= (hits / of if of else 0.5) <= high <= 1
    assert Rate(0, 0).value is None


def opinions(left: float, *, n: int, seed: int, longer: float = 0.5, annotator: str = "ada") -> pl.DataFrame:
    """`n` verdicts with that chance of left; which response is longer has nothing to do with the side."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        says_left = bool(random.random() < left)
        a_left = bool(random.random() < 0.5)
        wins_a = says_left == a_left
        a_longer = wins_a == bool(random.random() < longer)
        verdict = "left" if says_left else "right"
        rows.append(
            (number, "2026-11-20T09:00:00+00:00", annotator, f"p{number}", "ask", verdict, None,
             1_000 * (number % 3 + 1), a_left, 200 if a_longer else 100, 100 if a_longer else 200, None)
        )  # fmt: skip
    return of_the_pair(pl.DataFrame(rows, schema=SCHEMA, orient="row"))


@pytest.mark.parametrize("seed", range(20))
def test_65_percent_left_is_flagged_and_50_is_not(seed: int) -> None:
    """At 300 verdicts 65 % lies 5.2 standard deviations from a half; the interval is 2.6 wide to each side."""
    (biased,) = meters(opinions(0.65, n=300, seed=seed))
    assert biased.left.flagged
    assert "chooses one side" in biased.flags


def test_of_50_percent_left_one_in_a_hundred_is_flagged_at_most() -> None:
    """200 annotators with no bias: 1 % of them are expected beyond a 99 % interval, 8 or more in 1 of 2,000 worlds."""
    flagged = sum(meters(opinions(0.5, n=300, seed=seed))[0].left.flagged for seed in range(100, 300))
    assert flagged < 8
    assert not meters(opinions(0.5, n=300, seed=0))[0].flags


def test_nothing_is_flagged_below_thirty() -> None:
    assert not beside(FEWEST - 1, FEWEST - 1, 0.5).flagged
    assert beside(FEWEST, FEWEST, 0.5).flagged
    assert not at_least(0, FEWEST - 1, 0.8).flagged
    assert at_least(0, FEWEST, 0.8).flagged


def test_longer_is_flagged_beside_the_others() -> None:
    many = pl.concat(
        [
            opinions(0.5, n=300, seed=1, longer=0.6, annotator="ada"),
            opinions(0.5, n=300, seed=2, longer=0.6, annotator="bob"),
            opinions(0.5, n=300, seed=3, longer=0.9, annotator="lee"),
        ]
    )
    assert [meter.annotator for meter in meters(many) if "chooses by length" in meter.flags] == ["lee"]


def test_gold_repeats_and_time() -> None:
    """40 gold items, 20 right; 4 repeats of which one contradicts; 1, 2 and 3 seconds in turn: 2 is in the middle."""
    table = opinions(1.0, n=90, seed=0).drop("outcome", "place")
    gold = table.with_columns(
        purpose=pl.when(pl.col("seq") < 40).then(pl.lit("gold")).otherwise(pl.lit("ask")),
        answer=pl.when(pl.col("seq") < 20).then(pl.when("a_is_left").then(pl.lit("a")).otherwise(pl.lit("b")))
        .when(pl.col("seq") < 40).then(pl.lit("tie")),
    )  # fmt: skip
    again = gold.filter(pl.col("seq").is_between(50, 53)).with_columns(
        purpose=pl.lit("repeat"),
        a_is_left=~pl.col("a_is_left"),
        verdict=pl.when(pl.col("seq") == 50).then(pl.lit("left")).otherwise(pl.lit("right")),
    )
    (meter,) = meters(of_the_pair(pl.concat([gold, again])))
    assert meter.verdicts == 94
    assert meter.gold == Rate(20, 40, flagged=True)
    assert meter.consistent == Rate(3, 4)
    assert meter.left == Rate(90, 90, flagged=True)
    assert meter.median_seconds == 2.0


def test_place_is_as_of_response_a() -> None:
    table = opinions(1.0, n=2, seed=0).drop("outcome", "place")
    table = table.with_columns(a_is_left=pl.Series([True, False]), scale=pl.Series([1, 3]))
    found = of_the_pair(table)
    assert found["outcome"].to_list() == ["a", "b"]
    assert found["place"].to_list() == [1, 5]
