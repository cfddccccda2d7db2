"""The first tables: pairs, their slots, and the append-only log of events."""

from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

APPEND_ONLY: Final[Mapping[str, Sequence[str]]] = {
    "sqlite": (
        *(
            f"CREATE TRIGGER event_no_{verb.lower()} BEFORE {verb} ON event"
            f" BEGIN SELECT RAISE(ABORT, 'label events are append-only: {verb} refused'); END"
            for verb in ("UPDATE", "DELETE")
        ),
        # INSERT OR REPLACE deletes the old row without firing the DELETE trigger.
        "CREATE TRIGGER event_no_replace BEFORE INSERT ON event"
        " WHEN EXISTS (SELECT 1 FROM event WHERE event_id = NEW.event_id OR seq = NEW.seq OR retracts = NEW.retracts)"
        " BEGIN SELECT RAISE(ABORT, 'label events are append-only: REPLACE refused'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION event_refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION USING MESSAGE = 'label events are append-only: ' || TG_OP || ' refused'; END $$",
        "CREATE TRIGGER event_no_change BEFORE UPDATE OR DELETE ON event FOR EACH ROW EXECUTE FUNCTION event_refuse()",
        "CREATE TRIGGER event_no_truncate BEFORE TRUNCATE ON event FOR EACH STATEMENT EXECUTE FUNCTION event_refuse()",
    ),
}
"""Dialect -> triggers that refuse every change, whoever writes to the database and with what."""


def upgrade() -> None:
    """Make the tables, their indexes and triggers."""
    op.create_table(
        "pair",
        sa.Column("pair_id", sa.Text, primary_key=True),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("response_a", sa.Text, nullable=False),
        sa.Column("response_b", sa.Text, nullable=False),
        sa.Column("interaction_a", sa.Text, nullable=False),
        sa.Column("interaction_b", sa.Text, nullable=False),
        sa.Column("source", sa.Text),
        sa.Column("prompt_group", sa.Text),
        sa.Column("priority", sa.Double, nullable=False),
        sa.Column("why", sa.Text),
    )
    _slot()
    _event()
    for statement in APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)


def _slot() -> None:
    op.create_table(
        "slot",
        sa.Column("pair_id", sa.Text, sa.ForeignKey("pair.pair_id"), primary_key=True),
        sa.Column("slot", sa.Integer, primary_key=True),
        sa.Column("priority", sa.Double, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("annotator", sa.Text),
        sa.Column("lease_until", sa.BigInteger),
        sa.UniqueConstraint("pair_id", "annotator", name="slot_one_per_annotator"),
        sa.CheckConstraint(
            "(state = 'open' AND annotator IS NULL AND lease_until IS NULL)"
            " OR (state = 'leased' AND annotator IS NOT NULL AND lease_until IS NOT NULL)"
            " OR (state = 'done' AND annotator IS NOT NULL AND lease_until IS NULL)",
            name="slot_state",
        ),
    )
    is_open, is_leased = sa.text("state = 'open'"), sa.text("state = 'leased'")
    op.create_index(
        "slot_queue", "slot", ["slot", sa.text("priority DESC"), "pair_id"],
        sqlite_where=is_open, postgresql_where=is_open,
    )  # fmt: skip
    op.create_index(
        "slot_leases", "slot", ["lease_until", "annotator"], sqlite_where=is_leased, postgresql_where=is_leased
    )


def _event() -> None:
    op.create_table(
        "event",
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
        sa.CheckConstraint(
            "(kind = 'verdict' AND verdict IS NOT NULL AND retracts IS NULL"
            " AND verdict IN ('left', 'right', 'tie', 'both_bad', 'skip'))"
            " OR (kind = 'retract' AND verdict IS NULL AND retracts IS NOT NULL)",
            name="event_kind",
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("event_of_annotator", "event", ["annotator", "pair_id"])
