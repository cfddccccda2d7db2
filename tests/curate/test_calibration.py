"""Weights and rows that meet targets: against brute force, general solvers, and numbers worked by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from curate.calibration import Bounds, Cells, Target, calibrate, keep_most, most_weight, nearest

ROWS = Bounds(1.0, 1.0)
WEIGHTS = Bounds(0.1, 5.0)


def cells_of(rows: list[int], weight: list[float] | None = None) -> Cells:
    return Cells(np.array(rows), np.array(weight or [1.0] * len(rows)))


def share(cells: Cells, goal: float, members: list[int], tolerance: float = 0.01) -> Target:
    part = np.zeros(len(cells.rows))
    part[members] = 1
    return Target(f"share{members}", goal, tolerance, part, np.ones(len(cells.rows)))


def test_85_percent_to_half_by_weights() -> None:
    """850 longer at a = 0.51 / 0.85 = 0.6 and 150 shorter at b = 0.49 / 0.15 = 3.2667: mean 1, 51 % longer.

    Effective size 1000^2 / (850 * 0.36 + 150 * 10.6711) = 1e6 / 1906.67 = 524.48, where down-sampling keeps 300.
    """
    cells = cells_of([850, 150])
    factor = calibrate(cells, [share(cells, 0.5, [0])], WEIGHTS)
    assert factor == pytest.approx([0.6, 0.49 / 0.15], abs=1e-9)


def test_85_percent_to_half_by_rows() -> None:
    """150 shorter are 49 % of 306.12, so 156 longer stay: 156 / 306 = 0.5098; naive keeps 150 + 150."""
    cells = cells_of([850, 150])
    assert keep_most(cells, [share(cells, 0.5, [0])], ROWS).tolist() == [156, 150]


def test_rows_go_where_weights_alone_cannot() -> None:
    """Within 0.5 to 2: 150 shorter weigh 300 at most, 49 % of 612.2; so 612 rows stay, 462 of them longer."""
    cells = cells_of([850, 150])
    target = share(cells, 0.5, [0])
    assert calibrate(cells, [target], Bounds(0.5, 2.0)) is None
    assert keep_most(cells, [target], Bounds(0.5, 2.0)).tolist() == [462, 150]


def test_the_nearest_that_can_be_met() -> None:
    """With all 1000 rows the shorter weigh 150 * 2 = 300 at most: 70 % stay longer. With 900 rows 600 / 900 = 2 / 3."""
    cells = cells_of([850, 150])
    target = share(cells, 0.5, [0])
    assert nearest(cells, [], target, Bounds(0.5, 2.0), 1.0) == pytest.approx(0.7, abs=1e-6)
    assert nearest(cells, [], target, Bounds(0.5, 2.0), 0.9) == pytest.approx(2 / 3, abs=1e-6)
    assert nearest(cells, [], target, ROWS, 0.9) == pytest.approx(750 / 900, abs=1e-6)


def test_nearest_beside_another_target() -> None:
    """Cells (longer, a), (shorter, b): half of the rows from a means half of them longer, whatever is asked."""
    cells = cells_of([60, 40])
    assert nearest(cells, [share(cells, 0.5, [0], 0.001)], share(cells, 0.9, [0]), ROWS, 0.5) == pytest.approx(
        0.501, abs=1e-6
    )


def test_nobody_can_count() -> None:
    cells = cells_of([5])
    assert nearest(cells, [], Target("x", 0.5, 0.01, np.zeros(1), np.zeros(1)), ROWS, 0.5) is None


problems = st.integers(2, 5).flatmap(
    lambda k: st.tuples(
        st.lists(st.integers(1, 6), min_size=k, max_size=k),
        st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=k, max_size=k),
        st.lists(
            st.tuples(st.lists(st.booleans(), min_size=k, max_size=k), st.sampled_from([0.3, 0.5, 0.6])),
            min_size=1,
            max_size=2,
        ),
        st.sampled_from([0.01, 0.05, 0.1]),
    )
)


def targets_of(cells: Cells, asked: list[tuple[list[bool], float]], tolerance: float) -> list[Target]:
    return [share(cells, goal, list(np.flatnonzero(members)), tolerance) for members, goal in asked]


@settings(max_examples=60, deadline=None)
@given(problems)
def test_the_kept_weight_is_the_optimum(
    problem: tuple[list[int], list[float], list[tuple[list[bool], float]], float],
) -> None:
    """Against every choice of rows that there is."""
    rows, weight, asked, tolerance = problem
    cells = cells_of(rows, weight)
    targets = targets_of(cells, asked, tolerance)
    kept = keep_most(cells, targets, ROWS)
    assert all(target.miss(kept * cells.weight) == 0 for target in targets)
    best = max(
        float(np.array(choice) @ cells.weight)
        for choice in itertools.product(*(range(n + 1) for n in rows))
        if all(target.miss(np.array(choice) * cells.weight) == 0 for target in targets)
    )
    assert kept @ cells.weight == pytest.approx(best, abs=1e-6)
    assert best <= most_weight(cells, targets, ROWS) + 1e-6


@settings(max_examples=15, deadline=None)
@given(problems)
def test_weights_are_within_bounds_and_nearest_to_equal(
    problem: tuple[list[int], list[float], list[tuple[list[bool], float]], float],
) -> None:
    """Against a general solver (SLSQP) of the same quadratic programme; None only where there are none."""
    rows, weight, asked, tolerance = problem
    cells = cells_of(rows, weight)
    targets = targets_of(cells, asked, tolerance)
    w = cells.total / cells.total.sum()
    sides = np.concatenate([target.sides() for target in targets])
    oracle = minimize(
        lambda f: w @ (f - 1) ** 2,
        np.ones(len(w)),
        jac=lambda f: 2 * w * (f - 1),
        bounds=[(WEIGHTS.low, WEIGHTS.high)] * len(w),
        constraints=[
            {"type": "ineq", "fun": lambda f: -sides @ (w * f), "jac": lambda _: -sides * w},
            {"type": "eq", "fun": lambda f: w @ f - 1, "jac": lambda _: w},
        ],
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    factor = calibrate(cells, targets, WEIGHTS)
    if factor is None:
        assert keep_most(cells, targets, WEIGHTS).sum() < sum(rows)
        return
    assert factor.min() >= WEIGHTS.low and factor.max() <= WEIGHTS.high
    assert w @ factor == pytest.approx(1, abs=1e-7)
    assert all(target.miss(cells.total * factor) == 0 for target in targets)
    assert oracle.success
    assert w @ (factor - 1) ** 2 == pytest.approx(oracle.fun, abs=1e-6)


@pytest.mark.parametrize("bounds", [ROWS, Bounds(0.7, 1.5)], ids=["rows", "narrow weights"])
def test_many_cells_lose_a_few_rows_at_most_against_the_bound(bounds: Bounds) -> None:
    rng = np.random.default_rng(3)
    k = 300
    cells = Cells(rng.integers(1, 200, k), rng.choice([1.0, 0.5], k))
    targets = [share(cells, 0.5, list(np.flatnonzero(rng.random(k) < 0.6))) for _ in range(4)]
    kept = keep_most(cells, targets, bounds)
    remaining = Cells(kept.astype(np.int64), cells.weight)
    if bounds.fixed:
        assert all(target.miss(remaining.total) == 0 for target in targets)
    else:
        assert calibrate(remaining, targets, bounds) is not None
    assert most_weight(cells, targets, bounds) - kept @ cells.weight <= 0.005 * cells.total.sum()
