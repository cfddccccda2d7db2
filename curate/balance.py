"""Balance: what the data set is like as a whole is brought near what the recipe asks, at the least cost in rows.

Reads what stands after the rules (`curate.balance_rows`); writes the ledger and table balanced(triple_id, weight); part
of `python -m curate run`. With an empty [balance] it changes nothing. In this order:

1. caps: of each value of a column so many triples stay at most;
2. weights, where they can: of all weights within the bounds that meet every target, those nearest to equal ones
   (`curate.calibration`). No row is lost;
3. rows, by a linear programme: where no weights within the bounds meet the targets, or the recipe wants no weights, the
   rows that keep the most weight stay; which of those that no target tells apart, a seeded hash decides.

A target that would drop more than the recipe allows is refused, with the nearest that would not. Of every target it is
said what it costs: how many rows, and how much of the effective sample size (sum w)^2 / sum w^2, more would be left
without it. Targets hold for all splits together; a split is a hash of the cluster, so each has them but for chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from curate import balance_rows, recipe
from curate.calibration import F64, Bounds, Cells, Target, calibrate, keep_most, most_weight, nearest
from curate.rules import Reason
from ingest.errors import RecipeError

OVER_CAP: Final = Reason(
    name="over_cap",
    version=1,
    reason="There are more triples with its prompt, user or other value than the recipe allows, and others stay.",
)
BALANCED_OUT: Final = Reason(
    name="balanced_out",
    version=1,
    reason="The recipe asks for a balance that needs fewer triples of its kind.",
)
SLACK: Final = 0.9
"""Share of the tolerance that choosing rows uses where weights follow: at the very edge no weights are left."""


@dataclass(frozen=True, kw_only=True)
class Met:
    """One target, and what it cost."""

    name: str
    goal: float
    before: float | None
    """Before balancing; None where no triple can count for it."""
    after: float | None
    """None where no triple that can count for it is left."""
    rows_cost: int
    """Rows more that could stay without it."""
    effective_cost: float
    """Effective rows more without it."""


@dataclass(frozen=True, kw_only=True)
class Balance:
    """What balancing did. rows = kept + rows of all caps + dropped."""

    rows: int
    """Triples that stood before, and have a weight above 0."""
    caps: dict[str, int]
    """Column -> triples beyond its cap."""
    dropped: int
    """Triples that targets dropped."""
    kept: int
    effective_before: float
    """Effective sample size of those within the caps, by the weights they came with."""
    effective: float
    """Effective sample size of what is kept, by its new weights."""
    targets: tuple[Met, ...]


def balance(connection: duckdb.DuckDBPyConnection, settings: recipe.Balance) -> Balance | None:
    """Cap, weigh and drop as `settings` say; None when they say nothing.

    Raises RecipeError for a target that cannot be met, with the nearest that can.
    """
    connection.execute("CREATE TEMP TABLE balanced (triple_id VARCHAR, weight DOUBLE)")
    aims = settings.chosen_has_more or settings.means or settings.shares
    if not (settings.caps or aims):
        return None
    rows = balance_rows.open_rows(connection, settings)
    caps: dict[str, int] = {
        column: balance_rows.cap(connection, column, most, settings) for column, most in settings.caps.items()
    }
    cells, targets = balance_rows.cells(connection, settings)
    within = rows - sum(caps.values())
    before = effective_size(cells, np.ones(len(cells.rows)))
    base = Balance(rows=rows, caps=caps, dropped=0, kept=within, effective_before=before, effective=before, targets=())
    return _meet(connection, cells, targets, settings, base) if aims and within else base


def _meet(
    connection: duckdb.DuckDBPyConnection,
    cells: Cells,
    targets: Sequence[Target],
    settings: recipe.Balance,
    base: Balance,
) -> Balance:
    """Meet the targets: give weights, drop rows, and say what each target cost."""
    bounds = _bounds(settings)
    balance_rows.place_rows(connection, settings)
    if any(target.value(cells.total) is None for target in targets):
        raise RecipeError(_refusal(cells, targets, bounds, settings.keep_at_least))
    keep, factor = choose(cells, targets, bounds)
    if keep @ cells.weight < settings.keep_at_least * cells.total.sum():
        raise RecipeError(_refusal(cells, targets, bounds, settings.keep_at_least))
    kept = replace(cells, rows=keep.astype(np.int64))
    _write(connection, cells, kept, factor, settings)
    effective = effective_size(kept, factor)
    met = []
    for target in targets:
        others = [other for other in targets if other is not target]
        more, size = _without(cells, others, bounds)
        met.append(
            Met(
                name=target.name,
                goal=target.goal,
                before=_rounded(target.value(cells.total)),
                after=_rounded(target.value(kept.total * factor)),
                rows_cost=max(0, more - int(keep.sum())),
                effective_cost=max(0.0, round(size - effective, 1)),
            )
        )
    dropped = int(cells.rows.sum() - keep.sum())
    return replace(base, dropped=dropped, kept=base.kept - dropped, effective=effective, targets=tuple(met))


def choose(cells: Cells, targets: Sequence[Target], bounds: Bounds) -> tuple[F64, F64]:
    """Return (K,) rows to keep of each cell and (K,) the factor of their weights: all rows, where weights suffice."""
    if bounds.fixed:
        return keep_most(cells, targets, bounds), np.ones(len(cells.rows))
    factor = calibrate(cells, targets, bounds)
    if factor is not None:
        return cells.rows.astype(np.float64), factor
    tighter = [replace(target, tolerance=SLACK * target.tolerance) for target in targets]
    keep = keep_most(cells, tighter, bounds)
    factor = calibrate(replace(cells, rows=keep.astype(np.int64)), targets, bounds)
    assert factor is not None, "rows were chosen so that weights exist, and none are found"
    return keep, factor


def effective_size(cells: Cells, factor: F64) -> float:
    """Return (sum w)^2 / sum w^2 over rows, w being weight times factor: how many equal rows say as much."""
    weight = cells.weight * factor
    squares = float(cells.rows @ weight**2)
    return round(float(cells.rows @ weight) ** 2 / squares, 1) if squares else 0.0


def _bounds(settings: recipe.Balance) -> Bounds:
    return Bounds(1.0, 1.0) if settings.method == "rows" else Bounds(settings.min_weight, settings.max_weight)


def _without(cells: Cells, others: Sequence[Target], bounds: Bounds) -> tuple[int, float]:
    """Return the rows and the effective sample size that could stay were there only these targets."""
    if not bounds.fixed and (factor := calibrate(cells, others, bounds)) is not None:
        return int(cells.rows.sum()), effective_size(cells, factor)
    keep, factor = choose(cells, others, bounds)
    return int(keep.sum()), effective_size(replace(cells, rows=keep.astype(np.int64)), factor)


def _refusal(cells: Cells, targets: Sequence[Target], bounds: Bounds, keep: float) -> str:
    """Return the message about the first target that cannot be met together with those before it."""
    least = keep * cells.total.sum()
    for n, target in enumerate(targets):
        if target.value(cells.total) is not None and most_weight(cells, targets[: n + 1], bounds) >= least:
            continue
        found = nearest(cells, targets[:n], target, bounds, keep)
        others = f" beside {', '.join(other.name for other in targets[:n])}" if n else ""
        what = f"balance.{target.name} = {target.goal:g} (tolerance {target.tolerance:g}) cannot be met{others}"
        if found is None:
            return f"{what}: no triple can count for it. Leave it out."
        return (
            f"{what} while {keep:.0%} of the weight is kept. The nearest that can is {found:.4g}. Ask for that, allow "
            "wider weights, more tolerance or a smaller balance.keep_at_least, or collect what is missing."
        )
    return (
        f"The targets of [balance] cannot be met together while {keep:.0%} of the weight is kept. Leave one "
        "out, or allow more tolerance."
    )


def _write(
    connection: duckdb.DuckDBPyConnection, cells: Cells, kept: Cells, factor: F64, settings: recipe.Balance
) -> None:
    """Enter the rows that go into the ledger, and the weights of those that stay into table balanced."""
    answer = {"cell": np.arange(len(cells.rows)), "rows": cells.rows, "keep": kept.rows, "factor": factor}
    connection.register("answer", pa.table(answer))
    connection.execute(
        """
        CREATE TEMP TABLE balance_gone AS
        SELECT triple_id, rows, keep FROM balance_places JOIN answer USING (cell) WHERE keep < rows
        QUALIFY row_number() OVER (PARTITION BY cell ORDER BY sha256(concat($seed::BIGINT, ':', triple_id)),
                                   triple_id) > keep""",
        {"seed": settings.seed},
    )
    connection.execute("""
        INSERT INTO ledger
        SELECT triple_id, 'balanced_out', format('{:d} of {:d} triples of its kind stay', keep, rows)
        FROM balance_gone""")
    if settings.method == "weights":
        connection.execute("""
            INSERT INTO balanced
            SELECT triple_id, round(weight * factor, 6)
            FROM balance_places JOIN answer USING (cell) ANTI JOIN balance_gone USING (triple_id)""")
    connection.unregister("answer")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
