"""The label store: pairs to ask about, their slots, and the append-only log of what annotators said.

Reads and writes one SQL database through SQLAlchemy Core: SQLite by default (WAL, synchronous=FULL), PostgreSQL by
URL. Its tables are those of `app.tables`; `ingest` reads `event` by the columns of
`ingest.schema.LABEL_EVENT_COLUMNS`.

A write transaction is BEGIN IMMEDIATE on SQLite, so that it waits for the lock instead of failing half-way. Everything
that belongs together, an event and the slot it fills, is written in one transaction of the caller.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from app.migrations import bring_up_to_date
from app.tables import EVENT, PAIR
from ingest.errors import StoreError

BUSY_SECONDS: Final = 30
"""How long a SQLite writer waits for another one before it fails."""

ASK_AGAIN_MS: Final = 20

EVENT_LOCK: Final = 0x77696E6E6F77
"""PostgreSQL advisory lock ("winnow") held while events are appended, so that `seq` becomes visible in its own order
and a reader that remembers the last `seq` misses none."""
QUEUE_LOCK: Final = EVENT_LOCK + 1
"""PostgreSQL advisory lock held while pairs are loaded."""


@dataclass(frozen=True)
class Event:
    """One thing an annotator said; columns of `ingest.schema.LABEL_EVENT_COLUMNS` without the store's own `seq`."""

    event_id: str
    """UUID made where the vote was cast: the same vote sent twice is one event."""
    event_time: str
    """ISO 8601, UTC."""
    annotator: str
    kind: str
    """"verdict" or "retract"."""
    verdict: str | None
    """"left", "right", "tie", "both_bad" or "skip"; None of a retraction."""
    retracts: str | None
    """event_id of the verdict that this event takes back."""
    pair_id: str
    left_interaction_id: str
    """Of the response that stood left on this annotator's screen."""
    right_interaction_id: str
    guidelines_version: str | None = None
    late: int = 0
    """1 when the lease had run out before the vote arrived."""
    purpose: str = "ask"
    """A key of `ingest.schema.LABEL_PURPOSES`."""
    scale: int | None = None
    """1 (left is much better) to 7 (right is much better) as shown; 1-3 is the verdict left, 4 tie, 5-7 right."""
    edited_side: str | None = None
    edited_text: str | None = None
    """The last message of that side, improved."""
    skip_reason: str | None = None
    rationale: str | None = None
    tags: str | None = None
    """JSON list of text."""
    aspects: str | None = None
    """JSON object: aspect -> "left", "right" or "tie"."""
    shown_time: str | None = None
    """ISO 8601, UTC."""
    elapsed_ms: int | None = None
    page: str | None = None
    """"component" or "buttons"."""
    layout: str | None = None
    """JSON object."""


@dataclass(frozen=True)
class Store:
    """An open label store."""

    engine: sa.Engine

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Give a connection that sees one state of the store."""
        try:
            with self.engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreError(f"The label store could not be read: {_cause(error)}.") from error

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Give a connection whose changes become durable together when the block ends, or not at all."""
        try:
            with self.engine.execution_options(writes=True).begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreError(f"Not saved: {_cause(error)}. Nothing was changed; try again.") from error


def open_store(url: str) -> Store:
    """Open the store at SQLAlchemy URL `url`, making its tables and, of SQLite, the file (mode 0600) when absent.

    A store of an older version gets the newest tables (`app.migrations`). Raises StoreError when it cannot be opened.
    """
    shown = url.rsplit("@", maxsplit=1)[-1]  # never a password
    try:
        engine = _engine(sa.make_url(url))
    except (SQLAlchemyError, OSError, ImportError) as error:
        raise StoreError(f"No label store at {shown}: {_cause(error)}. See `labels.url` in winnow.toml.") from error
    try:
        with engine.execution_options(writes=True, rebuilds=True).begin() as connection:
            lock(connection, EVENT_LOCK)  # two servers that start together make the tables once
            bring_up_to_date(connection)
        engine.dispose()  # of the connection that checks no foreign keys
    except SQLAlchemyError as error:
        engine.dispose()
        raise StoreError(f"No label store at {shown}: {_cause(error)}. See `labels.url` in winnow.toml.") from error
    except StoreError:
        engine.dispose()
        raise
    return Store(engine)


def append(connection: sa.Connection, event: Event) -> bool:
    """Append `event` unless it is there already; return whether it is new.

    Raises StoreError when another event has its event_id.
    """
    lock(connection, EVENT_LOCK)
    there = find(connection, event.event_id)
    if there is None:
        connection.execute(sa.insert(EVENT).values(**asdict(event)))
        return True
    if there != event:
        raise StoreError(f"Event {event.event_id} is already another event. A UUID is made anew for every vote.")
    return False


def find(connection: sa.Connection, event_id: str) -> Event | None:
    """Return the event with this id."""
    row = connection.execute(_events().where(EVENT.c.event_id == event_id)).one_or_none()
    return Event(**row._mapping) if row else None


def last_verdict(connection: sa.Connection, annotator: str, *, review: bool = False) -> Event | None:
    """Return the annotator's newest verdict that was not taken back; with `review` one given as adjudicator."""
    kind = EVENT.c.purpose == "review" if review else EVENT.c.purpose != "review"
    query = _events().where(standing(EVENT), EVENT.c.annotator == annotator, kind).order_by(EVENT.c.seq.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return Event(**row._mapping) if row else None


def standing_verdict(connection: sa.Connection, annotator: str, event_id: str) -> Event | None:
    """Return this verdict of the annotator's unless it was taken back."""
    mine = sa.and_(EVENT.c.event_id == event_id, EVENT.c.annotator == annotator)
    row = connection.execute(_events().where(standing(EVENT), mine)).one_or_none()
    return Event(**row._mapping) if row else None


def past_verdicts(
    connection: sa.Connection, annotator: str, most: int, *, review: bool = False
) -> list[tuple[Event, str, bool]]:
    """Return the annotator's newest verdicts, newest first: each with its pair's prompt, and whether it stands."""
    query = (
        _events()
        .add_columns(PAIR.c.prompt, standing(EVENT).label("stands"))
        .join(PAIR, PAIR.c.pair_id == EVENT.c.pair_id)
        .where(EVENT.c.kind == "verdict", EVENT.c.annotator == annotator)
        .where(EVENT.c.purpose == "review" if review else EVENT.c.purpose != "review")
        .order_by(EVENT.c.seq.desc())
        .limit(most)
    )
    found = []
    for *values, prompt, stands in connection.execute(query):
        found.append((Event(*values), str(prompt), bool(stands)))
    return found


def standing(event: sa.FromClause) -> sa.ColumnElement[bool]:
    """Return the condition that a row of `event` is a verdict that was not taken back."""
    retraction = EVENT.alias()
    return sa.and_(event.c.kind == "verdict", ~sa.exists().where(retraction.c.retracts == event.c.event_id))


def judged(annotator: str, pair_id: sa.ColumnElement[str] | str) -> sa.ColumnElement[bool]:
    """Return the condition that `annotator` has a standing verdict, a skip too, on the pair; repeats apart."""
    own = EVENT.alias()
    return sa.exists().where(
        own.c.annotator == annotator, own.c.pair_id == pair_id, own.c.purpose != "repeat", standing(own)
    )


def judged_again(annotator: str, pair_id: str) -> sa.ColumnElement[bool]:
    """Return the condition that `annotator` has a standing verdict on the pair as it was repeated."""
    own = EVENT.alias()
    return sa.exists().where(
        own.c.annotator == annotator, own.c.pair_id == pair_id, own.c.purpose == "repeat", standing(own)
    )


def lock(connection: sa.Connection, key: int) -> None:
    """Wait until no other transaction holds advisory lock `key`; SQLite's one writer needs none."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def _events() -> sa.Select[tuple[object, ...]]:
    """Select the columns of an `Event`."""
    return sa.select(*(column for column in EVENT.c if column.name != "seq"))


def _engine(url: sa.URL) -> sa.Engine:
    """Return an engine that keeps this module's promises on either database."""
    backend = url.get_backend_name()
    if backend == "postgresql":
        return sa.create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    if backend != "sqlite" or url.database in {None, "", ":memory:"}:
        raise StoreError(f"A label store is a SQLite file or a PostgreSQL database, not {url.drivername}.")
    _make_private(Path(str(url.database)))
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_private(file: Path) -> None:
    """Create the database file for its owner alone, before SQLite would create it for everyone."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """Set what SQLite forgets when a connection closes."""
    connection.isolation_level = None  # sqlite3 begins no transaction by itself
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    """Begin: a writer takes the one write lock at once, a reader never does.

    Who rebuilds tables does so without foreign keys, which SQLite would check while the old table is dropped.
    """
    options = connection.get_execution_options()
    if options.get("rebuilds", False):
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")  # has no effect within a transaction
    if options.get("writes", False):
        _take_write_lock(connection)
    else:
        connection.exec_driver_sql("BEGIN")


def _take_write_lock(connection: sa.Connection) -> None:
    """Begin a write transaction as soon as no other writer is in one, asking every few milliseconds.

    SQLite itself would ask every 100 ms after a while, and never be lucky beside others who ask more often.
    """
    driver: Any = connection.connection.driver_connection
    ends = time.monotonic() + BUSY_SECONDS
    driver.execute(f"PRAGMA busy_timeout = {ASK_AGAIN_MS}")
    try:
        while time.monotonic() < ends:
            try:
                driver.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    break
            else:
                return
    finally:
        driver.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # which says why it cannot


def _cause(error: Exception) -> str:
    """Return what the database said, without the statement and its parameters, which hold user text."""
    return " ".join(str(getattr(error, "orig", None) or error).split())
