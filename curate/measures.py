"""What a data set is like before and after curation: how long, in which style, from where, and how agreed on.

Reads what a run found in DuckDB, narrow columns only (curate/measures.sql); part of `python -m curate run`. The report,
the data card and the manifest say the same numbers, because they are measured once, here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Final

import duckdb

from curate.balance_rows import STYLES
from curate.statements import statement

COLUMNS: Final = ("signal", "source", "model", "language", "week")
"""Columns of table phases whose values are counted."""
SHOWN_VALUES: Final = 12
"""Of a column's values, the most frequent; the rest is counted together."""


@dataclass(frozen=True)
class Share:
    """How often the chosen response has more of something, among the triples whose two responses differ in it."""

    feature: str
    phase: str
    """"before" or "after"."""
    triples: int
    """Whose responses differ in it."""
    share: float | None
    """None where none differ."""
    weighted: float | None
    """The same by the triples' weights."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of the unweighted share."""
        if self.share is None:
            return None
        n, z = self.triples, 1.959964
        middle = (self.share + z * z / (2 * n)) / (1 + z * z / n)
        half = z * sqrt(self.share * (1 - self.share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Measures:
    """Of one run, before and after."""

    shares: tuple[Share, ...]
    """Of length and of each style, before and after."""
    log_ratio: dict[str, float | None]
    """Phase -> mean of ln(characters of chosen / characters of rejected)."""
    columns: dict[str, list[dict[str, str | int]]]
    """Column -> {value, phase, rows}: its most frequent values, and "others"; "unknown" where a triple does not say."""
    votes: int
    """On the curated pairs."""
    agree: int
    """Of them, votes for the chosen response."""

    def share(self, feature: str, phase: str) -> float | None:
        """Return one of `shares`."""
        return next(one.share for one in self.shares if (one.feature, one.phase) == (feature, phase))

    def values(self, column: str) -> list[str]:
        """Return the values of a column, in the order in which they are shown."""
        return list(dict.fromkeys(str(row["value"]) for row in self.columns[column]))


def measure(connection: duckdb.DuckDBPyConnection) -> Measures:
    """Make table phases, and measure it."""
    connection.execute(statement("measures.sql"))
    ((votes, agree),) = connection.execute(
        "SELECT coalesce(sum(n_votes), 0)::BIGINT, coalesce(sum(n_agree), 0)::BIGINT FROM kept"
    ).fetchall()
    # Integers, and one division: a sum of floats depends on the order of rows.
    ratios: Mapping[str, float] = dict(
        connection.execute("""
            SELECT phase, sum(round(1e6 * ln(chosen_chars / rejected_chars))::BIGINT) / 1e6 / count(*)
            FROM phases WHERE chosen_chars > 0 AND rejected_chars > 0 GROUP BY phase""").fetchall()
    )
    return Measures(
        shares=_shares(connection),
        log_ratio={phase: None if phase not in ratios else round(ratios[phase], 6) for phase in ("before", "after")},
        columns={column: _values(connection, column) for column in COLUMNS},
        votes=votes,
        agree=agree,
    )


def _shares(connection: duckdb.DuckDBPyConnection) -> tuple[Share, ...]:
    sides = {"length": ("chosen_chars", "rejected_chars")}
    sides |= {name: (f"(chosen_style & {1 << n})", f"(rejected_style & {1 << n})") for n, name in enumerate(STYLES)}
    counts = ", ".join(
        f"count(*) FILTER ({a} != {b}), count(*) FILTER ({a} > {b}), "
        f"sum(millionths) FILTER ({a} != {b}), sum(millionths) FILTER ({a} > {b})"
        for a, b in sides.values()
    )
    rows = connection.execute(f"""
        SELECT phase, {counts}
        FROM (SELECT *, round(1e6 * coalesce(weight, 1))::BIGINT AS millionths FROM phases)
        GROUP BY phase""").fetchall()
    by_phase = {row[0]: row[1:] for row in rows}
    found = []
    for n, feature in enumerate(sides):
        for phase in ("before", "after"):
            differ, more, weight, weight_more = by_phase.get(phase, (0,) * 4 * len(sides))[4 * n : 4 * n + 4]
            share = more / differ if differ else None
            weighted = int(weight_more or 0) / int(weight) if weight else None
            found.append(Share(feature, phase, differ, share, weighted))
    return tuple(found)


def _values(connection: duckdb.DuckDBPyConnection, column: str) -> list[dict[str, str | int]]:
    """Return how many triples each value of a column has; weeks in their order, others by how frequent they are."""
    order = "value" if column == "week" else "sum(rows) OVER (PARTITION BY value) DESC, value"
    rows = connection.execute(
        f"""
        WITH counted AS (SELECT coalesce({column}, 'unknown') AS value, phase, count(*) AS rows
                         FROM phases GROUP BY ALL),
        top AS (SELECT value FROM counted WHERE phase = 'before' ORDER BY rows DESC, value LIMIT $shown),
        named AS (SELECT CASE WHEN value IN (FROM top) THEN value ELSE 'others' END AS value, phase,
                         sum(rows)::BIGINT AS rows
                  FROM counted GROUP BY ALL)
        SELECT value, phase, rows FROM named ORDER BY value = 'others', {order}, phase DESC""",
        {"shown": SHOWN_VALUES},
    ).fetchall()
    return [{"value": value, "phase": phase, "rows": count} for value, phase, count in rows]
