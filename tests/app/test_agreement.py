"""Agreement equals what the packages of record compute, and is undefined where it is."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import krippendorff
import numpy as np
import polars as pl
import pytest
from sklearn.metrics import cohen_kappa_score

from app.agreement import alpha_ordinal, cohen_kappa, fleiss_kappa, pairwise_agreement

KRIPPENDORFF_2011 = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
"""Section C of his paper: four observers, twelve units, a value missing here and there."""


def columns(table: Sequence[Sequence[float | None]]) -> list[list[float]]:
    return [[value for value in unit if value is not None] for unit in zip(*table, strict=True)]


def package_alpha(table: Sequence[Sequence[float | None]]) -> float:
    values = np.array([[np.nan if value is None else value for value in row] for row in table], dtype=float)
    return float(krippendorff.alpha(values, level_of_measurement="ordinal"))


def test_alpha_of_the_papers_own_example() -> None:
    """Krippendorff gives 0.815 for these data with the ordinal metric."""
    ours = alpha_ordinal(columns(KRIPPENDORFF_2011))
    assert ours == pytest.approx(0.815, abs=5e-4)
    assert ours == pytest.approx(package_alpha(KRIPPENDORFF_2011), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_alpha_equals_the_package(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.integers(1, 8, 60)
    table: list[list[float | None]] = [
        [None if random.random() < 0.4 else float(np.clip(value + random.integers(-2, 3), 1, 7)) for value in truth]
        for _ in range(6)
    ]
    assert alpha_ordinal(columns(table)) == pytest.approx(package_alpha(table), abs=1e-12)


def test_cohen_by_hand() -> None:
    """20 + 15 of 50 the same: 0.7; chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5; (0.7 - 0.5) / 0.5 = 0.4."""
    first = ["y"] * 25 + ["n"] * 25
    second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)


def test_fleiss_by_hand() -> None:
    """Fleiss' own example (1971, as on its encyclopedia page): 10 subjects, 14 raters, 5 categories: 0.210."""
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    units = [[category for category, count in enumerate(row) for _ in range(count)] for row in table]
    assert fleiss_kappa(units) == pytest.approx(0.20993, abs=5e-6)


@pytest.mark.parametrize("units", [[], [[1.0]], [[1.0], [2.0]], [[4.0, 4.0], [4.0, 4.0]]])
def test_undefined_is_said_and_not_a_number(units: list[list[float]]) -> None:
    """Nothing, one verdict each, and unanimous: there is no agreement beyond chance to speak of."""
    assert alpha_ordinal(units) is None
    assert fleiss_kappa(units) is None
    pairs = [unit for unit in units if len(unit) == 2]
    assert cohen_kappa([a for a, _ in pairs], [b for _, b in pairs]) is None


def test_pairwise_agreement() -> None:
    assert pairwise_agreement(["a", "a", "b"]) == pytest.approx(1 / 3)


@pytest.fixture(scope="module")
def tulu(shared_data: Path) -> pl.DataFrame:
    """One verdict an evaluator and comparison, as of the model that comes first by name: -2 to 2."""
    file = shared_data / "preferences" / "tulu-human-eval" / "eval_annotations_tulu_1.parquet"
    degree = {"a-is-better": -2, "a-is-slightly-better": -1, "tie": 0, "b-is-slightly-better": 1, "b-is-better": 2}
    swapped = pl.col("model_a") > pl.col("model_b")
    place = pl.col("preference").replace_strict(degree, return_dtype=pl.Float64)
    models = pl.concat_str([pl.min_horizontal("model_a", "model_b"), pl.max_horizontal("model_a", "model_b")])
    return (
        pl.read_parquet(file)
        .select(
            "evaluator",
            pl.concat_str([pl.col("instance_id"), models]).alias("unit"),
            pl.when(swapped).then(-place).otherwise(place).alias("place"),
        )
        .unique(["evaluator", "unit"], keep="first", maintain_order=True)
    )


@pytest.mark.real_data
def test_the_tulu_evaluation_agrees_as_the_packages_say(tulu: pl.DataFrame) -> None:
    assert tulu["evaluator"].n_unique() == 16
    units = tulu.group_by("unit", maintain_order=True).agg("place")["place"].to_list()
    wide = tulu.pivot("unit", index="evaluator", values="place").drop("evaluator").to_numpy()
    assert sum(len(unit) > 1 for unit in units) > 100
    theirs = float(krippendorff.alpha(wide.astype(float), level_of_measurement="ordinal"))
    assert alpha_ordinal(units) == pytest.approx(theirs, abs=1e-12)
    compared = 0
    for one, other in combinations(wide, 2):
        both = ~np.isnan(one) & ~np.isnan(other)
        if both.sum() >= 10:
            ours = cohen_kappa(one[both].tolist(), other[both].tolist())
            assert ours == pytest.approx(cohen_kappa_score(one[both], other[both]), abs=1e-12)
            compared += 1
    assert compared >= 2
