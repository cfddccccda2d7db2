"""What annotators said in the labelling app -> feedback.

Reads table `event` of the label store (`ingest.schema.LABEL_EVENT_COLUMNS`) through SQLAlchemy and never writes to it.
The store's own `seq` is the read position. `app` writes the table; the two share nothing else.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ingest.errors import RecordError, SettingsError, StoreError
from ingest.readers.reading import Feedback, Reading, Ref
from ingest.schema import LABEL_EVENT_COLUMNS, content_id
from ingest.unchanged import sqlite_file

if TYPE_CHECKING:
    import sqlalchemy as sa  # of those who have a store: it is a fifth of a CPU second

SOURCE: Final = "labels"
READER: Final = "label@1"
ERASURE: Final = "erasure"
"""Table of the store's erasures (`ingest.erasure.label_store`)."""

_EVENTS: Final = (
    f"SELECT {', '.join(f'e.{column}' for column in LABEL_EVENT_COLUMNS)}, "
    "v.verdict AS verdict_taken_back, v.kind AS kind_taken_back FROM event AS e "
    "LEFT JOIN event AS v ON v.event_id = e.retracts WHERE e.seq >= :start ORDER BY e.seq"
)
_FIRST: Final = "SELECT event_id FROM event ORDER BY seq LIMIT 1"
_FIRST_EVER: Final = f"SELECT min(first_event_id) FROM {ERASURE}"
"""Every row has the same."""

_SIGNALS: Final = {"left": "label", "right": "label", "tie": "tie", "both_bad": "both_bad"}
"""Verdict -> signal; a skip has none."""


@dataclass(frozen=True, slots=True)
class LabelEvent:
    """One event as the store has it."""

    seq: int
    raw: str
    """Its columns as JSON text."""
    outcome: Reading | RecordError


class LabelStore:
    """A label store that has events."""

    def __init__(self, connection: "sa.Connection", first_event_id: str) -> None:
        self._connection = connection
        self.head = content_id(["label store", first_event_id])
        """Identifies the store wherever it is moved; a store made anew begins with another event."""
        self.path = connection.engine.url.render_as_string(hide_password=True)

    def events(self, start: int) -> Iterator[LabelEvent]:
        """Yield the events from `seq` `start` on, in order."""
        import sqlalchemy as sa

        rows = self._connection.execute(sa.text(_EVENTS), {"start": start}).mappings()
        for row in rows:
            raw = json.dumps({column: row[column] for column in LABEL_EVENT_COLUMNS}, ensure_ascii=False, default=str)
            yield LabelEvent(int(row["seq"]), raw, _outcome(row))


@contextmanager
def opened(url: str) -> Iterator[LabelStore | None]:
    """Open the store for reading; None where it does not exist yet or holds no event.

    Raises SettingsError for a URL that is none, StoreError where the store cannot be read.
    """
    if (file := sqlite_file(url)) and not Path(file).exists():
        yield None
        return
    import sqlalchemy as sa
    from sqlalchemy.exc import SQLAlchemyError

    try:
        address = sa.make_url(url)
        if is_absent(address):
            yield None
            return
        engine = sa.create_engine(address)
    except (SQLAlchemyError, ImportError) as error:
        raise SettingsError(f"labels.url does not name a store that can be opened: {error}.") from error
    try:
        with engine.connect() as connection:
            if address.get_backend_name() == "sqlite":
                connection.execute(sa.text("PRAGMA query_only = ON"))
            else:
                connection.execution_options(postgresql_readonly=True)
            first = first_event(connection)
            yield LabelStore(connection, str(first)) if first is not None else None
    except SQLAlchemyError as error:
        place = address.render_as_string(hide_password=True)
        raise StoreError(f"Cannot read label events from {place}: {type(error).__name__}. Is the store up?") from error
    finally:
        engine.dispose()


def first_event(connection: "sa.Connection") -> object:
    """Return the id of the event with which the store began, even if it was erased since; None where it has none."""
    import sqlalchemy as sa

    tables = sa.inspect(connection)
    first = connection.execute(sa.text(_FIRST_EVER)).scalar() if tables.has_table(ERASURE) else None
    return first or (connection.execute(sa.text(_FIRST)).scalar() if tables.has_table("event") else None)


def is_absent(address: "sa.URL") -> bool:
    """Return whether `address` is a SQLite file that is not there: connecting would make it."""
    return address.get_backend_name() == "sqlite" and not (address.database and Path(address.database).is_file())


def _outcome(row: "sa.RowMapping") -> Reading | RecordError:
    """Return what the event says; a retraction is revision 1 of the verdict it takes back."""
    retraction = row["kind"] == "retract"
    verdict = row["verdict_taken_back"] if retraction else row["verdict"]
    if row["kind"] not in ("verdict", "retract"):
        return RecordError("bad_value", "kind is neither verdict nor retract.")
    if retraction and row["kind_taken_back"] != "verdict":
        return RecordError("bad_value", "retracts names no verdict of this store.")
    if verdict == "skip":
        return Reading(skipped="annotator_skip_retracted" if retraction else "annotator_skip")
    signal = _SIGNALS.get(str(verdict))
    if signal is None:
        return RecordError("bad_value", f"verdict is none of {', '.join(_SIGNALS)}, skip.")
    try:
        time = datetime.fromisoformat(str(row["event_time"]))
    except ValueError:
        return RecordError("bad_value", "event_time is not ISO 8601.")
    sides = ("right", "left") if verdict == "right" else ("left", "right")
    target, other = (Ref(str(row[f"{side}_interaction_id"])) for side in sides)
    return Reading(
        feedback=(
            Feedback(
                source_id=str(row["retracts"] if retraction else row["event_id"]),
                revision=int(retraction),
                signal=signal,
                target=target,
                others=[other],
                value=1.0 if signal == "label" else None,
                rater_kind="annotator",
                rater=str(row["annotator"]),
                position=sides[0],
                retracted=retraction,
                event_time=time,
            ),
        )
    )
