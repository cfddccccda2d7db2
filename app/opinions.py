"""The verdicts that stand, as a table that quality is computed from.

Reads tables event, pair and gold of the label store; writes nothing. Sides are those of the pair, a and b, and no more
those of a screen, except in `verdict` and `a_is_left`.
"""

from typing import Final

import polars as pl
import sqlalchemy as sa

from app.store import Store, standing
from app.tables import EVENT, GOLD, PAIR

SCHEMA: Final = {
    "seq": pl.Int64,
    "event_time": pl.String,  # ISO 8601, UTC
    "annotator": pl.String,
    "pair_id": pl.String,
    "purpose": pl.String,
    "verdict": pl.String,  # as shown: left, right, tie, both_bad or skip
    "scale": pl.Int64,  # as shown: 1 to 7; null where there was none
    "elapsed_ms": pl.Int64,
    "a_is_left": pl.Boolean,
    "chars_a": pl.Int64,  # of the response as JSON text, like chars_b
    "chars_b": pl.Int64,
    "answer": pl.String,  # of a gold pair: a, b, tie or both_bad
}
"""What is read; `read` adds outcome and place."""


def read(store: Store) -> pl.DataFrame:
    """Return the standing verdicts in their order: columns `SCHEMA`, and

    outcome  a, b, tie, both_bad or skip
    place    1 (a is much better) to 7 (b is much better); without a scale 2, 4 or 6; null of both bad and skip
    """
    query = (
        sa.select(
            *(EVENT.c[name] for name in list(SCHEMA)[:8]),
            (EVENT.c.left_interaction_id == PAIR.c.interaction_a).label("a_is_left"),
            sa.func.length(PAIR.c.response_a).label("chars_a"),
            sa.func.length(PAIR.c.response_b).label("chars_b"),
            GOLD.c.answer,
        )
        .join_from(EVENT, PAIR, EVENT.c.pair_id == PAIR.c.pair_id)
        .join(GOLD, GOLD.c.pair_id == EVENT.c.pair_id, isouter=True)
        .where(standing(EVENT))
        .order_by(EVENT.c.seq)
    )
    with store.reading() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    return of_the_pair(pl.DataFrame(rows, schema=SCHEMA, orient="row"))


def of_the_pair(table: pl.DataFrame) -> pl.DataFrame:
    """Add outcome and place to a table of `SCHEMA`."""
    sided = pl.col("verdict").is_in(["left", "right"])
    left = pl.col("verdict") == "left"
    shown = pl.coalesce(
        pl.col("scale"),
        pl.col("verdict").replace_strict({"left": 2, "tie": 4, "right": 6}, default=None, return_dtype=pl.Int64),
    )
    return table.with_columns(
        outcome=pl.when(sided)
        .then(pl.when(left == pl.col("a_is_left")).then(pl.lit("a")).otherwise(pl.lit("b")))
        .otherwise(pl.col("verdict")),
        place=pl.when(pl.col("a_is_left")).then(shown).otherwise(8 - shown),
    )
