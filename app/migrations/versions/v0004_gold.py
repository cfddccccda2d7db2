"""Pairs whose answer is known, and how many checks each annotator was given."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add table `gold`, and two counts."""
    op.create_table(
        "gold",
        sa.Column("pair_id", sa.Text, sa.ForeignKey("pair.pair_id"), primary_key=True),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("added_by", sa.Text, nullable=False),
        sa.Column("added_time", sa.Text, nullable=False),
        sa.CheckConstraint("purpose IN ('gold', 'attention')", name="gold_purpose"),
        sa.CheckConstraint("answer IN ('a', 'b', 'tie', 'both_bad')", name="gold_answer"),
    )
    for name in ("checked", "repeated"):
        op.add_column("annotator", sa.Column(name, sa.Integer, nullable=False, server_default="0"))
