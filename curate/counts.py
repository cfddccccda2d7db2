"""What became of every triple, in numbers that add up: in = curated + dropped, by reason and by split.

Reads tables kept, reasons, splits and view dropped; the same numbers go to the terminal, the manifest and the report.
"""

from dataclasses import dataclass
from typing import Final

import duckdb

SPLITS: Final = ("train", "validation", "test")


@dataclass(frozen=True)
class Reach:
    """How many triples one reason drops."""

    first: int
    """Triples of which it is the first reason: these add up to all that were dropped."""
    holds_for: int
    """Triples that it holds for, whatever else does."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Of one run: triples = curated + dropped."""

    triples: int
    curated: int
    dropped: int
    by_reason: dict[str, Reach]
    """Reason's name -> its reach, in the order in which the first reason counts."""
    by_split: dict[str, int]
    """Split -> curated triples; adds up to `curated`."""


def count(connection: duckdb.DuckDBPyConnection) -> Counts:
    """Count, each number from its own table, and make sure that they add up."""
    ((triples, curated),) = connection.execute(
        "SELECT (SELECT count(*) FROM triples), (SELECT count(*) FROM kept)"
    ).fetchall()
    reach = connection.execute("""
        SELECT name, count(triple_id) FILTER (first), count(triple_id)
        FROM reasons LEFT JOIN dropped USING (name)
        GROUP BY name, reasons.ordinal ORDER BY reasons.ordinal""").fetchall()
    rows = dict(
        connection.execute(
            "SELECT split, count(*) FROM kept JOIN splits USING (prompt_group) GROUP BY split"
        ).fetchall()
    )
    counts = Counts(
        triples=triples,
        curated=curated,
        dropped=sum(first for _, first, _ in reach),
        by_reason={name: Reach(first, holds_for) for name, first, holds_for in reach},
        by_split={name: rows.get(name, 0) for name in SPLITS},
    )
    assert counts.triples == counts.curated + counts.dropped, "a triple is neither curated nor dropped, or both"
    assert counts.curated == sum(counts.by_split.values()), "a curated triple has no split"
    return counts
