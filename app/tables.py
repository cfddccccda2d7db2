"""The label store's tables. `app.store` opens them; app/migrations makes them, one step for every change here.

pair   one row per question: a prompt and two responses, as candidates.parquet gave them
gold   of the pairs whose answer is known: what it is
slot   k rows per pair: open, leased by one annotator until a time, or done; and one for every further asking
event  one row per verdict or retraction; triggers refuse UPDATE and DELETE
annotator  one row each: counts, and how far through the queue they are
"""

from typing import Any, Final

import sqlalchemy as sa

TABLES: Final = sa.MetaData()

PAIR: Final = sa.Table(
    "pair",
    TABLES,
    sa.Column("pair_id", sa.Text, primary_key=True),
    sa.Column("prompt", sa.Text, nullable=False),  # messages as JSON text, like both responses
    sa.Column("response_a", sa.Text, nullable=False),
    sa.Column("response_b", sa.Text, nullable=False),
    sa.Column("interaction_a", sa.Text, nullable=False),
    sa.Column("interaction_b", sa.Text, nullable=False),
    sa.Column("source", sa.Text),
    sa.Column("prompt_group", sa.Text),
    sa.Column("priority", sa.Double, nullable=False),
    sa.Column("why", sa.Text),
)

GOLD: Final = sa.Table(
    "gold",
    TABLES,
    sa.Column("pair_id", sa.Text, sa.ForeignKey("pair.pair_id"), primary_key=True),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),  # which response is better, or neither
    sa.Column("added_by", sa.Text, nullable=False),
    sa.Column("added_time", sa.Text, nullable=False),  # ISO 8601, UTC
    sa.CheckConstraint("purpose IN ('gold', 'attention')", name="gold_purpose"),
    sa.CheckConstraint("answer IN ('a', 'b', 'tie', 'both_bad')", name="gold_answer"),
)

OPEN: Final[sa.ColumnElement[str]] = sa.literal_column("'open'")
"""Literal, because SQLite uses a partial index only for a condition it can read in the statement's text."""
LEASED: Final[sa.ColumnElement[str]] = sa.literal_column("'leased'")
DONE: Final[sa.ColumnElement[str]] = sa.literal_column("'done'")
RETURNED: Final[sa.ColumnElement[int]] = sa.literal_column("1")

SLOT: Final = sa.Table(
    "slot",
    TABLES,
    sa.Column("pair_id", sa.Text, sa.ForeignKey("pair.pair_id"), primary_key=True),
    sa.Column("slot", sa.Integer, primary_key=True),
    sa.Column("purpose", sa.Text, nullable=False),  # a key of PURPOSES
    sa.Column("turn", sa.Integer, nullable=False),  # what has turn 0 is asked before anything that has turn 1
    sa.Column("rank", sa.Double, nullable=False),  # within a turn the smallest first: the pair's priority, negated
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("annotator", sa.Text),  # null exactly when open
    sa.Column("lease_until", sa.BigInteger),  # UTC microseconds, null unless leased
    sa.Column("returned", sa.Integer, nullable=False),  # 1 when it opened after annotators may have passed its place
    sa.CheckConstraint(
        "(state = 'open' AND annotator IS NULL AND lease_until IS NULL)"
        " OR (state = 'leased' AND annotator IS NOT NULL AND lease_until IS NOT NULL)"
        " OR (state = 'done' AND annotator IS NOT NULL AND lease_until IS NULL)",
        name="slot_state",
    ),
    sqlite_with_rowid=False,
)
PURPOSES: Final = {
    "opinion": "One of the k opinions on a pair that are wanted anyway.",
    "more": "A further opinion, because those before it disagree.",
    "repeat": "The same pair for the same annotator once more, sides swapped: the one purpose that may come twice.",
    "gold": "For one annotator: the answer is known.",
    "attention": "For one annotator: one side is plainly wrong.",
    "review": "For an adjudicator, because verdicts disagree.",
}
"""What a slot is for. Those of the last four are made when they are given, to one person, and never pass to another
but of a review."""
ASKED: Final = ("opinion", "more")
CHECKS: Final = ("gold", "attention", "repeat")
FIRST_OF_CHECKS: Final = 1_000
"""Number of a pair's first slot for a check or a review; below it are the k opinions that are wanted."""
IN_ORDER: Final = (SLOT.c.turn, SLOT.c.rank, SLOT.c.pair_id)
"""The queue's order."""


def _where(condition: sa.ColumnElement[bool]) -> dict[str, Any]:
    """Return the arguments of an index over the rows that `condition` is true of."""
    return {"sqlite_where": condition, "postgresql_where": condition}


sa.Index("slot_queue", *IN_ORDER, SLOT.c.slot, **_where(SLOT.c.state == OPEN))
sa.Index("slot_returned", *IN_ORDER, SLOT.c.slot, **_where(sa.and_(SLOT.c.state == OPEN, SLOT.c.returned == RETURNED)))
sa.Index("slot_leases", SLOT.c.lease_until, SLOT.c.annotator, **_where(SLOT.c.state == LEASED))
sa.Index(
    "slot_one_per_annotator",
    SLOT.c.pair_id,
    SLOT.c.annotator,
    unique=True,
    **_where(sa.and_(SLOT.c.annotator.is_not(None), SLOT.c.purpose != sa.literal_column("'repeat'"))),
)

ANNOTATOR: Final = sa.Table(
    "annotator",
    TABLES,
    sa.Column("annotator", sa.Text, primary_key=True),
    sa.Column("done", sa.Integer, nullable=False),  # standing verdicts that are not skips
    sa.Column("skipped", sa.Integer, nullable=False),
    sa.Column("turn", sa.Integer),  # what is open before this place in the queue is not for this annotator,
    sa.Column("rank", sa.Double),  # returned slots excepted; null when nothing is known
    sa.Column("pair_id", sa.Text),
    sa.Column("checked", sa.Integer, nullable=False, server_default="0"),  # gold items and attention checks given
    sa.Column("repeated", sa.Integer, nullable=False, server_default="0"),  # repeats given
)
"""What can be told from events and slots, but not fast. A row may be deleted at any time: it is made again."""

EVENT: Final = sa.Table(
    "event",
    TABLES,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(), primary_key=True),
    sa.Column("event_id", sa.Text, nullable=False, unique=True),
    sa.Column("event_time", sa.Text, nullable=False),
    sa.Column("annotator", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text),
    sa.Column("retracts", sa.Text, sa.ForeignKey("event.event_id"), unique=True),
    sa.Column("pair_id", sa.Text, sa.ForeignKey("pair.pair_id"), nullable=False),
    sa.Column("left_interaction_id", sa.Text, nullable=False),
    sa.Column("right_interaction_id", sa.Text, nullable=False),
    sa.Column("guidelines_version", sa.Text),
    sa.Column("late", sa.Integer, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False, server_default="ask"),
    sa.Column("scale", sa.Integer),
    sa.Column("edited_side", sa.Text),
    sa.Column("edited_text", sa.Text),
    sa.Column("skip_reason", sa.Text),
    sa.Column("rationale", sa.Text),
    sa.Column("tags", sa.Text),  # JSON, like aspects and layout
    sa.Column("aspects", sa.Text),
    sa.Column("shown_time", sa.Text),
    sa.Column("elapsed_ms", sa.BigInteger),
    sa.Column("page", sa.Text),
    sa.Column("layout", sa.Text),
    sa.CheckConstraint(
        "(kind = 'verdict' AND verdict IS NOT NULL AND retracts IS NULL"
        " AND verdict IN ('left', 'right', 'tie', 'both_bad', 'skip'))"  # NULL IN (...) alone would pass
        " OR (kind = 'retract' AND verdict IS NULL AND retracts IS NOT NULL)",
        name="event_kind",
    ),
    sa.CheckConstraint("purpose IN ('ask', 'review', 'gold', 'attention', 'repeat')", name="event_purpose"),
    sa.CheckConstraint(
        "scale IS NULL OR (verdict IS NOT NULL AND ("
        "(scale IN (1, 2, 3) AND verdict = 'left') OR (scale = 4 AND verdict = 'tie')"
        " OR (scale IN (5, 6, 7) AND verdict = 'right')))",
        name="event_scale",
    ),
    sa.CheckConstraint(
        "(edited_side IS NULL AND edited_text IS NULL) OR (edited_side IS NOT NULL AND edited_text IS NOT NULL"
        " AND edited_side IN ('left', 'right') AND verdict IS NOT NULL AND verdict <> 'skip')",
        name="event_edit",
    ),
    sa.CheckConstraint("skip_reason IS NULL OR (verdict IS NOT NULL AND verdict = 'skip')", name="event_skip_reason"),
    sqlite_autoincrement=True,  # a seq is never used twice
)
sa.Index("event_of_annotator", EVENT.c.annotator, EVENT.c.pair_id)
