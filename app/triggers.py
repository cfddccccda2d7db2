"""The triggers that make table `event` append-only, whoever writes to the database and with what."""

from collections.abc import Mapping, Sequence
from typing import Final

APPEND_ONLY: Final[Mapping[str, Sequence[str]]] = {
    "sqlite": (
        *(
            f"CREATE TRIGGER IF NOT EXISTS event_no_{verb.lower()} BEFORE {verb} ON event"
            f" BEGIN SELECT RAISE(ABORT, 'label events are append-only: {verb} refused'); END"
            for verb in ("UPDATE", "DELETE")
        ),
        # INSERT OR REPLACE deletes the old row without firing the DELETE trigger.
        "CREATE TRIGGER IF NOT EXISTS event_no_replace BEFORE INSERT ON event"
        " WHEN EXISTS (SELECT 1 FROM event WHERE event_id = NEW.event_id OR seq = NEW.seq OR retracts = NEW.retracts)"
        " BEGIN SELECT RAISE(ABORT, 'label events are append-only: REPLACE refused'); END",
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION event_refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION USING MESSAGE = 'label events are append-only: ' || TG_OP || ' refused'; END $$",
        "CREATE OR REPLACE TRIGGER event_no_change BEFORE UPDATE OR DELETE ON event"
        " FOR EACH ROW EXECUTE FUNCTION event_refuse()",
        "CREATE OR REPLACE TRIGGER event_no_truncate BEFORE TRUNCATE ON event"
        " FOR EACH STATEMENT EXECUTE FUNCTION event_refuse()",
    ),
}
"""Dialect -> statements; running them again changes nothing."""
