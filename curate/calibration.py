"""Which rows to keep and what weights to give them, so that weighted shares and means come near their targets.

Pure numbers, no table: `curate.balance` makes the cells and carries out the answer. A cell is all rows that no target
tells apart, so everything here costs by the number of cells, whatever the number of rows. K cells, J targets.

A target is met where |sum(t part) / sum(t whole) - goal| <= tolerance, t being the total weight of each cell: two
linear inequalities U t <= 0, which hold for any scale of t.

Sources: Deville & Särndal 1992, Calibration estimators in survey sampling (case 7, truncated linear); HiGHS, Huangfu &
Hall 2018, through scipy. Ratios of linear functions are made linear as Charnes & Cooper 1962 do it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import LinearConstraint, milp, minimize
from scipy.sparse import csr_array, diags_array, hstack, vstack

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

ROUNDING: Final = 1e-7
"""By how much a share may miss its bound from rounding in the solvers."""
EXACT_CELLS: Final = 40
"""Up to so many cells an integer programme is solved; 100 cells and 12 targets took it half a minute, for 4 rows."""


@dataclass(frozen=True)
class Cells:
    """Rows that no target tells apart are one cell."""

    rows: I64
    """(K,) how many rows each cell has."""
    weight: F64
    """(K,) weight of one row of each, before balancing; above 0."""

    @property
    def total(self) -> F64:
        """(K,) weight of each cell."""
        return self.rows * self.weight


@dataclass(frozen=True)
class Target:
    """sum(t part) / sum(t whole) shall be within `tolerance` of `goal`."""

    name: str
    """As the recipe has it: "chosen_has_more.length"."""
    goal: float
    tolerance: float
    part: F64
    """(K,) per unit of weight: 1 where a row counts for the share, 0 elsewhere; or the number a mean is of."""
    whole: F64
    """(K,) 1 where a row can count at all, 0 elsewhere."""

    def value(self, total: F64) -> float | None:
        """Return the share or mean under `total` (K,), the weight of each cell; None where no row can count."""
        whole = float(total @ self.whole)
        return float(total @ self.part) / whole if whole > 0 else None

    def miss(self, total: F64) -> float:
        """Return by how much the value under `total` is outside the tolerance, 0 where it is inside."""
        value = self.value(total)
        outside = 0.0 if value is None else abs(value - self.goal) - self.tolerance
        return outside if outside > ROUNDING else 0.0

    def sides(self) -> F64:
        """(2, K): the rows of U."""
        return np.stack(
            [
                self.part - (self.goal + self.tolerance) * self.whole,
                (self.goal - self.tolerance) * self.whole - self.part,
            ]
        )


@dataclass(frozen=True)
class Bounds:
    """What a row's weight may be multiplied by; the mean over all rows kept is 1."""

    low: float
    high: float

    @property
    def fixed(self) -> bool:
        """Whether rows can only be kept or dropped."""
        return self.low == self.high


def keep_most(cells: Cells, targets: Sequence[Target], bounds: Bounds) -> F64:
    """Return (K,) how many rows of each cell to keep: the most weight with which every target can be met.

    Exact, by an integer programme, where there are at most EXACT_CELLS. Else that of `most_weight`, rounded down: its
    corner has at most one fractional cell for each inequality, and where losing these fractions breaks a target it is
    solved again, that much tighter. Nothing may be left: keeping nothing always meets every target.
    """
    if len(cells.rows) <= EXACT_CELLS:
        return np.round(_solve(cells, targets, bounds, whole_rows=True))
    tighter = list(targets)
    for _ in range(10):
        kept: F64 = np.floor(_solve(cells, tighter, bounds, whole_rows=False) + 1e-6)
        missed = _missed(replace(cells, rows=kept.astype(np.int64)), targets, bounds)
        if not any(missed):
            return kept
        tighter = [
            replace(target, tolerance=max(0.0, target.tolerance - 1.5 * by))
            for target, by in zip(tighter, missed, strict=True)
        ]
    return np.round(_solve(cells, targets, bounds, whole_rows=True))


def most_weight(cells: Cells, targets: Sequence[Target], bounds: Bounds) -> float:
    """Return the weight that `keep_most` could keep if rows were divisible: no choice of rows keeps more."""
    return float(_solve(cells, targets, bounds, whole_rows=False) @ cells.weight)


def _solve(cells: Cells, targets: Sequence[Target], bounds: Bounds, *, whole_rows: bool) -> F64:
    """Solve for k, the rows kept, and t, their weight: low k w <= t <= high k w, sum t = sum k w, U t <= 0."""
    k = len(cells.rows)
    size = k if bounds.fixed else 2 * k
    found = milp(
        c=np.r_[-cells.weight, np.zeros(size - k)],
        integrality=np.r_[np.full(k, int(whole_rows)), np.zeros(size - k)],
        bounds=(np.zeros(size), np.r_[cells.rows, np.full(size - k, np.inf)]),
        constraints=[_constraint(matrix) for matrix in _programme(cells, targets, bounds)],
        options={"mip_rel_gap": 0.1 / max(1, cells.rows.sum()), "node_limit": 1_000},
    )
    if found.x is None:
        raise AssertionError(f"keeping nothing is always possible, and yet: {found.message}")
    kept: F64 = found.x[:k]
    return kept


def _missed(cells: Cells, targets: Sequence[Target], bounds: Bounds) -> list[float]:
    """Return by how much these rows miss each target; with weights, the rounding of each where none meet them all."""
    if bounds.fixed:
        return [target.miss(cells.total) for target in targets]
    if not cells.rows.any() or calibrate(cells, targets, bounds) is not None:
        return [0.0] * len(targets)
    return [1 / cells.total.sum() for _ in targets]


def nearest(cells: Cells, others: Sequence[Target], target: Target, bounds: Bounds, keep: float) -> float | None:
    """Return what comes nearest to the target's goal while `others` are met and a share of at least `keep` is kept.

    None where no row can count for it. The ratio is made linear: everything is scaled so that its whole is 1.
    """
    k = len(cells.rows)
    if not (cells.rows @ target.whole) > 0:
        return None
    one = csr_array(np.ones((1, 1)))
    size = k if bounds.fixed else 2 * k
    rules = [
        _constraint(hstack([matrix, csr_array((matrix.shape[0], 2))])) for matrix in _programme(cells, others, bounds)
    ]
    # Columns: k, (t,) the scale z, the distance s.
    pad = csr_array((k, size - k))
    rules.append(
        _constraint(
            hstack([diags_array(np.ones(k)), pad, csr_array(-cells.rows[:, None].astype(float)), csr_array((k, 1))])
        )
    )
    kept = np.r_[-cells.weight, np.zeros(size - k), keep * cells.total.sum(), 0.0]
    rules.append(LinearConstraint(kept[None, :], -np.inf, 0))
    t = _weights_of(cells, bounds)
    whole = hstack([csr_array(target.whole[None, :]) @ t, csr_array((1, 2))])
    rules.append(LinearConstraint(whole, 1, 1))
    for sign in (1.0, -1.0):
        part = hstack(
            [csr_array(sign * (target.part - target.goal * target.whole)[None, :]) @ t, csr_array((1, 1)), -one]
        )
        rules.append(LinearConstraint(part, -np.inf, 0))
    found = milp(c=np.r_[np.zeros(size + 1), 1.0], bounds=(0, np.inf), constraints=rules)
    if found.x is None:
        return None
    total = found.x[:k] * cells.weight if bounds.fixed else found.x[k:size]
    return target.value(total)


def calibrate(cells: Cells, targets: Sequence[Target], bounds: Bounds) -> F64 | None:
    """Return (K,) what to multiply each cell's weight by, or None where no factors within the bounds meet the targets.

    Of all factors f with low <= f <= high, mean 1 and U f w <= 0 it is the one of least sum(w (f - 1)^2): with equal
    weights, that of the largest effective sample size. Solved by its dual, of 2 J + 1 variables:
    f = clip(1 - U' mu - nu, low, high).
    """
    if not targets or not cells.rows.any():
        return np.ones(len(cells.rows))
    w = cells.total / cells.total.sum()
    sides = np.concatenate([target.sides() for target in targets])
    scale = np.maximum(np.sqrt((sides**2) @ w), 1e-12)
    u = np.concatenate([sides / scale[:, None], np.ones((1, len(w)))])

    def dual(x: F64) -> tuple[float, F64]:
        pull = x @ u
        f = np.clip(1 - pull, bounds.low, bounds.high)
        return -float(w @ (0.5 * (f - 1) ** 2 + pull * f) - x[-1]), -(u @ (w * f) - np.r_[np.zeros(len(sides)), 1.0])

    limits = [(0.0, None)] * len(sides) + [(None, None)]
    options = {"maxiter": 2_000, "maxfun": 20_000, "ftol": 1e-16, "gtol": 1e-12, "maxcor": 30}
    x: F64 = minimize(dual, np.zeros(len(u)), jac=True, method="L-BFGS-B", bounds=limits, options=options).x
    f = np.clip(1 - _polished(x, u, w, bounds) @ u, bounds.low, bounds.high)
    missed = max((sides @ (w * f)).max(), abs(w @ f - 1))
    return f if missed <= ROUNDING else None


def _polished(x: F64, u: F64, w: F64, bounds: Bounds) -> F64:
    """Return the dual variables after Newton's method on the constraints and cells that are active at `x`.

    L-BFGS stops some digits early; on the active set the problem is a linear system, solved exactly.
    """
    for _ in range(20):
        f = 1 - x @ u
        free = (f > bounds.low) & (f < bounds.high)
        active = np.r_[x[:-1] > 1e-10, True]
        fixed = np.where(free, 0.0, np.clip(f, bounds.low, bounds.high))
        a = u[active]
        left = (a * (w * free)) @ a.T
        right = a @ (w * (free + fixed)) - np.r_[np.zeros(active.sum() - 1), 1.0]
        solved, *_ = np.linalg.lstsq(left, right, rcond=1e-12)
        new = np.zeros_like(x)
        new[active] = solved
        if (new[:-1] < 0).any() or _miss(new, u, w, bounds) > _miss(x, u, w, bounds):
            return x
        if np.allclose(new, x, rtol=1e-13, atol=1e-15):
            return new
        x = new
    return x


def _miss(x: F64, u: F64, w: F64, bounds: Bounds) -> float:
    """Return by how much the factors of these dual variables miss the constraints, at most."""
    reached = u @ (w * np.clip(1 - x @ u, bounds.low, bounds.high))
    return float(max(reached[:-1].max(), abs(reached[-1] - 1)))


def _weights_of(cells: Cells, bounds: Bounds) -> Any:
    """Return the sparse matrix that gives t from the programme's variables: (K, K) from k, or (K, 2K) from k and t."""
    k = len(cells.rows)
    return diags_array(cells.weight).tocsr() if bounds.fixed else hstack([csr_array((k, k)), diags_array(np.ones(k))])


def _programme(cells: Cells, targets: Sequence[Target], bounds: Bounds) -> list[Any]:
    """Return sparse matrices M over the variables k (and t), each meaning M x <= 0."""
    t = _weights_of(cells, bounds)
    found = [csr_array(target.sides()) @ t for target in targets]
    if not bounds.fixed:
        w, one = diags_array(cells.weight), diags_array(np.ones(len(cells.rows)))
        found += [hstack([bounds.low * w, -one]), hstack([-bounds.high * w, one])]
        mean = csr_array(np.r_[cells.weight, -np.ones(len(cells.rows))][None, :])
        found.append(vstack([mean, -mean]))
    return found


def _constraint(matrix: Any) -> LinearConstraint:
    return LinearConstraint(csr_array(matrix), -np.inf, 0)
