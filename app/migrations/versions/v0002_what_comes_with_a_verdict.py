"""A verdict comes with a place on the scale, an improved text, reasons, what the page was like, and why it was asked.

A constraint is written at its last column: so SQLite can add it without making the table anew and losing its triggers.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

COLUMNS = (
    "purpose TEXT NOT NULL DEFAULT 'ask' CONSTRAINT event_purpose"
    " CHECK (purpose IN ('ask', 'review', 'gold', 'attention', 'repeat'))",
    "scale INTEGER CONSTRAINT event_scale CHECK (scale IS NULL OR (verdict IS NOT NULL AND ("
    "(scale IN (1, 2, 3) AND verdict = 'left') OR (scale = 4 AND verdict = 'tie')"
    " OR (scale IN (5, 6, 7) AND verdict = 'right'))))",
    "edited_side TEXT",
    "edited_text TEXT CONSTRAINT event_edit CHECK ("
    "(edited_side IS NULL AND edited_text IS NULL) OR (edited_side IS NOT NULL AND edited_text IS NOT NULL"
    " AND edited_side IN ('left', 'right') AND verdict IS NOT NULL AND verdict <> 'skip'))",
    "skip_reason TEXT CONSTRAINT event_skip_reason"
    " CHECK (skip_reason IS NULL OR (verdict IS NOT NULL AND verdict = 'skip'))",
    "rationale TEXT",
    "tags TEXT",
    "aspects TEXT",
    "shown_time TEXT",
    "elapsed_ms BIGINT",
    "page TEXT",
    "layout TEXT",
)


def upgrade() -> None:
    """Add the columns to `event`; what was said before was asked for itself."""
    for column in COLUMNS:
        op.execute(f"ALTER TABLE event ADD COLUMN {column}")
