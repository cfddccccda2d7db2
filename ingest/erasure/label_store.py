"""Erasing a user from the label store: pairs that show their responses, and what they said as an annotator.

Writes the store that `app` made (tables pair, slot, event, annotator), SQLite or PostgreSQL, and adds table `erasure`:
one row per erasure that removed something, with counts and no text. The store's triggers refuse to delete events; they
are taken off and put back within the one transaction that deletes, so that no other writer ever finds the store without
them.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from ingest import labels
from ingest.erasure.proof import Needles
from ingest.errors import SettingsError, StoreError
from ingest.subjects import Subjects

BUSY_SECONDS: Final = 30
"""How long to wait for the app's own transactions."""
TEXTS: Final = ("prompt", "response_a", "response_b")
WRITTEN: Final = ("edited_text", "rationale")
"""Columns of an event that hold what an annotator wrote."""
BATCH: Final = 5_000

AUDIT: Final = f"""
    CREATE TABLE IF NOT EXISTS {labels.ERASURE} (
        erasure_id TEXT PRIMARY KEY, event_time TEXT NOT NULL, first_event_id TEXT,
        pairs INTEGER NOT NULL, slots INTEGER NOT NULL, events INTEGER NOT NULL, reopened INTEGER NOT NULL
    )
"""


@dataclass(frozen=True)
class Gone:
    """What of a store is an erased user's."""

    pairs: list[str] = field(default_factory=list)
    """pair_id of those that show a response of theirs."""
    annotators: list[str] = field(default_factory=list)
    """Names under which they judged."""
    texts: list[str] = field(default_factory=list, repr=False)
    """What the pairs show, and what was written about them or by those annotators."""

    def __bool__(self) -> bool:
        return bool(self.pairs or self.annotators)


@dataclass(frozen=True)
class Removed:
    """Rows of a store that were deleted."""

    pairs: int = 0
    slots: int = 0
    events: int = 0
    reopened: int = 0
    """Slots of other pairs that the user held or had filled: somebody else is asked now."""


@contextmanager
def opened(url: str) -> Iterator[sa.Engine | None]:
    """Open the store for writing; None where none was made yet. Raises SettingsError or StoreError."""
    try:
        address = sa.make_url(url)
        sqlite = address.get_backend_name() == "sqlite"
        if labels.is_absent(address):
            yield None
            return
        if sqlite:
            engine = sa.create_engine(address, connect_args={"timeout": BUSY_SECONDS})
            sa.event.listen(engine, "connect", _prepare)
            sa.event.listen(engine, "begin", _begin)
        else:
            engine = sa.create_engine(address.set(drivername="postgresql+psycopg"))
    except (SQLAlchemyError, ImportError) as error:
        raise SettingsError(f"labels.url does not name a store that can be opened: {error}.") from error
    try:
        yield engine if sa.inspect(engine).has_table("event") else None
    except (SQLAlchemyError, sqlite3.Error) as error:
        place = address.render_as_string(hide_password=True)
        raise StoreError(
            f"Cannot erase from {place}: {type(error).__name__}. Is it up, and its owner asking? Run erase again."
        ) from error
    finally:
        engine.dispose()


def find(engine: sa.Engine, subjects: Subjects) -> Gone:
    """Return what the ledger names."""
    erased = subjects.erased
    with engine.begin() as connection:
        shown = connection.execute(sa.text("SELECT pair_id, interaction_a, interaction_b FROM pair")).all()
        pairs = [
            pair for pair, *keys in shown if not erased.responses.isdisjoint(subjects.response(key) for key in keys)
        ]
        asked = "SELECT annotator FROM event UNION SELECT annotator FROM slot WHERE annotator IS NOT NULL"
        names = connection.execute(sa.text(asked)).scalars()
        annotators = sorted(name for name in names if subjects.pseudonyms.of(name) in erased.users)
        texts = [*_texts(connection, pairs)]
        for column, values in (("pair_id", pairs), ("annotator", annotators)):
            texts += _written(connection, column, values)
        return Gone(sorted(pairs), annotators, texts)


def remove(engine: sa.Engine, gone: Gone, erasure: str) -> Removed:
    """Delete `gone` in one transaction."""
    if not gone:
        return Removed()
    with engine.begin() as connection, _without_triggers(connection):
        first = labels.first_event(connection)
        events = 0
        for kind in ("retract", "verdict"):  # a retraction names the event it takes back: it goes first
            for column, values in (("pair_id", gone.pairs), ("annotator", gone.annotators)):
                events += _each(connection, f"DELETE FROM event WHERE kind = '{kind}' AND {column} IN :values", values)
        slots = _each(connection, "DELETE FROM slot WHERE pair_id IN :values", gone.pairs)
        opened_again = "UPDATE slot SET state = 'open', annotator = NULL, lease_until = NULL WHERE annotator IN :values"
        reopened = _each(connection, opened_again, gone.annotators)
        if sa.inspect(connection).has_table("annotator"):  # counts and places, which the app makes again
            connection.execute(sa.text("DELETE FROM annotator"))
        pairs = _each(connection, "DELETE FROM pair WHERE pair_id IN :values", gone.pairs)
        removed = Removed(pairs, slots, events, reopened)
        connection.execute(sa.text(AUDIT))
        audit = f"INSERT INTO {labels.ERASURE} VALUES (:id, :time, :first, :pairs, :slots, :events, :reopened)"
        note = {"id": erasure, "time": datetime.now(UTC).isoformat(timespec="seconds"), "first": first}
        connection.execute(sa.text(audit), note | asdict(removed))
    return removed


def purge(engine: sa.Engine) -> None:
    """Rewrite the store's files without what was deleted, SQLite's write-ahead log included.

    Raises StoreError where somebody holds a transaction open for too long.
    """
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in ("event", "slot", "pair"):
                connection.execute(sa.text(f"VACUUM FULL {table}"))
        return
    with closing(sqlite3.connect(str(engine.url.database), timeout=BUSY_SECONDS, isolation_level=None)) as file:
        file.execute("PRAGMA secure_delete = ON")
        file.execute("VACUUM")
        ((busy, _, _),) = file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    if busy:
        raise StoreError("Another process reads the label store and holds its log. Stop it, and run erase again.")


def held(engine: sa.Engine, needles: Needles) -> dict[str, int]:
    """Return table -> rows that still hold a piece, of a store whose files cannot be searched."""
    with engine.begin() as connection:
        found = {
            table: needles.hold([str(text) for row in connection.execute(sa.text(query)) for text in row if text])
            for table, query in (
                ("pair", f"SELECT {', '.join(TEXTS)} FROM pair"),
                ("event", f"SELECT {', '.join(WRITTEN)} FROM event"),
            )
        }
    return {table: sum(hits) for table, hits in found.items() if any(hits)}


def _texts(connection: sa.Connection, pairs: Sequence[str]) -> Iterator[str]:
    """Yield what the messages of the pairs say."""
    query = sa.text(f"SELECT {', '.join(TEXTS)} FROM pair WHERE pair_id IN :values")
    for some in _batches(pairs):
        for row in connection.execute(query.bindparams(sa.bindparam("values", some, expanding=True))):
            for messages in map(json.loads, row):
                yield from (text for message in messages for text in message.values() if text)


def _written(connection: sa.Connection, column: str, values: Sequence[str]) -> Iterator[str]:
    """Yield what annotators wrote in the events whose `column` is one of `values`."""
    query = sa.text(f"SELECT {', '.join(WRITTEN)} FROM event WHERE {column} IN :values")
    for some in _batches(values):
        for row in connection.execute(query.bindparams(sa.bindparam("values", some, expanding=True))):
            yield from (text for text in row if text)


def _each(connection: sa.Connection, statement: str, values: Sequence[str]) -> int:
    """Run `statement` for all of `values`; return how many rows it changed."""
    query = sa.text(statement)
    return sum(
        connection.execute(query.bindparams(sa.bindparam("values", some, expanding=True))).rowcount
        for some in _batches(values)
    )


def _batches(values: Sequence[str]) -> Iterator[list[str]]:
    yield from (list(values[first : first + BATCH]) for first in range(0, len(values), BATCH))


@contextmanager
def _without_triggers(connection: sa.Connection) -> Iterator[None]:
    """Take the triggers of `event` off for this transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("ALTER TABLE event DISABLE TRIGGER USER"))
        yield
        connection.execute(sa.text("ALTER TABLE event ENABLE TRIGGER USER"))
        return
    named = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'event' ORDER BY name"
    triggers = connection.execute(sa.text(named)).all()
    for name, _ in triggers:
        connection.exec_driver_sql(f'DROP TRIGGER "{name}"')
    yield
    for _, statement in triggers:
        connection.exec_driver_sql(statement)


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 begins no transaction by itself, and so ends none before a DROP
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
