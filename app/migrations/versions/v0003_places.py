"""The queue finds the next pair without a scan: slots in one ascending order, and each annotator's place in it.

One annotator may have one slot of a pair, except for repeats; third opinions get slots beyond the first k.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

STATE = (
    "(state = 'open' AND annotator IS NULL AND lease_until IS NULL)"
    " OR (state = 'leased' AND annotator IS NOT NULL AND lease_until IS NOT NULL)"
    " OR (state = 'done' AND annotator IS NOT NULL AND lease_until IS NULL)"
)


def upgrade() -> None:
    """Make `slot` anew, which every step of the queue reads, and add `annotator`."""
    for name in ("slot_queue", "slot_leases"):
        op.drop_index(name, "slot")
    op.rename_table("slot", "slot_before")
    if op.get_bind().dialect.name == "postgresql":  # names of constraints are the schema's there
        for old in ("slot_pkey", "slot_pair_id_fkey", "slot_one_per_annotator", "slot_state"):
            op.execute(f"ALTER TABLE slot_before RENAME CONSTRAINT {old} TO {old}_before")
    op.create_table(
        "slot",
        sa.Column("pair_id", sa.Text, sa.ForeignKey("pair.pair_id"), primary_key=True),
        sa.Column("slot", sa.Integer, primary_key=True),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("rank", sa.Double, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("annotator", sa.Text),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("returned", sa.Integer, nullable=False),
        sa.CheckConstraint(STATE, name="slot_state"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO slot SELECT pair_id, slot, 'opinion', slot, -priority, state, annotator, lease_until, 0"
        " FROM slot_before"
    )
    op.drop_table("slot_before")
    _index("slot_queue", ["turn", "rank", "pair_id", "slot"], "state = 'open'")
    _index("slot_returned", ["turn", "rank", "pair_id", "slot"], "state = 'open' AND returned = 1")
    _index("slot_leases", ["lease_until", "annotator"], "state = 'leased'")
    one = "annotator IS NOT NULL AND purpose != 'repeat'"
    _index("slot_one_per_annotator", ["pair_id", "annotator"], one, unique=True)
    op.create_table(
        "annotator",
        sa.Column("annotator", sa.Text, primary_key=True),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("skipped", sa.Integer, nullable=False),
        sa.Column("turn", sa.Integer),
        sa.Column("rank", sa.Double),
        sa.Column("pair_id", sa.Text),
    )


def _index(name: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    """Make an index of the slots that `where` is true of."""
    condition = sa.text(where)
    op.create_index(name, "slot", columns, unique=unique, sqlite_where=condition, postgresql_where=condition)
