"""The label store keeps what it acknowledged, once, and lets nobody change it."""

import dataclasses
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.candidates import load
from app.store import Event, Store, append, last_verdict, open_store
from app.tables import EVENT
from ingest.errors import StoreError
from ingest.schema import LABEL_EVENT_COLUMNS
from tests.app.conftest import candidate, write_candidates


@pytest.fixture
def loaded(store: Store, tmp_path: Path) -> Store:
    load(store, write_candidates(tmp_path / "c.parquet", [candidate(n) for n in range(3)]), k=1)
    return store


def event(event_id: str, **changes: object) -> Event:
    pair = candidate(0)
    values: dict[str, object] = {
        "event_id": event_id,
        "event_time": "2026-11-20T10:00:00.000000+00:00",
        "annotator": "ada",
        "kind": "verdict",
        "verdict": "left",
        "retracts": None,
        "pair_id": pair["pair_id"],
        "left_interaction_id": pair["interaction_a"],
        "right_interaction_id": pair["interaction_b"],
    }
    return Event(**(values | changes))  # type: ignore[arg-type]


def test_event_has_exactly_the_columns_that_ingest_reads(store: Store) -> None:
    columns = [column["name"] for column in sa.inspect(store.engine).get_columns("event")]
    assert tuple(columns) == LABEL_EVENT_COLUMNS


def test_an_event_sent_twice_is_one_event(loaded: Store) -> None:
    with loaded.writing() as connection:
        assert append(connection, event("e1")) is True
    with loaded.writing() as connection:
        assert append(connection, event("e1")) is False
    with loaded.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(EVENT)).scalar_one() == 1


def test_another_event_with_the_same_id_is_an_error(loaded: Store) -> None:
    with loaded.writing() as connection:
        append(connection, event("e1"))
    with pytest.raises(StoreError, match="e1 is already another event"), loaded.writing() as connection:
        append(connection, event("e1", verdict="right"))


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE event SET verdict = 'right'", id="update"),
        pytest.param("UPDATE event SET seq = seq + 1", id="renumber"),
        pytest.param("DELETE FROM event", id="delete"),
        pytest.param("{wipe}", id="replace-or-truncate"),
    ],
)
def test_what_was_said_cannot_be_changed(loaded: Store, statement: str) -> None:
    with loaded.writing() as connection:
        append(connection, event("e1"))
    columns = ", ".join(field.name for field in dataclasses.fields(Event))
    wipe = {
        "sqlite": f"INSERT OR REPLACE INTO event (seq, {columns}) SELECT seq, {columns} FROM event",
        "postgresql": "TRUNCATE event",
    }[loaded.engine.dialect.name]
    with pytest.raises(StoreError, match="append-only"), loaded.writing() as connection:
        connection.exec_driver_sql(statement.format(wipe=wipe))
    with loaded.reading() as connection:
        assert last_verdict(connection, "ada") == event("e1")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"verdict": "maybe"}, id="unknown-verdict"),
        pytest.param({"verdict": None}, id="verdict-without-one"),
        pytest.param({"kind": "retract"}, id="retraction-with-verdict"),
        pytest.param({"kind": "retract", "verdict": None}, id="retraction-of-nothing"),
        pytest.param({"kind": "retract", "verdict": None, "retracts": "gone"}, id="retraction-of-unknown"),
        pytest.param({"pair_id": "b2:unknown"}, id="unknown-pair"),
        pytest.param({"purpose": "fun"}, id="unknown-purpose"),
        pytest.param({"scale": 5}, id="scale-of-another-verdict"),
        pytest.param({"scale": 0}, id="off-the-scale"),
        pytest.param({"edited_side": "left"}, id="edit-without-text"),
        pytest.param({"edited_text": "Better."}, id="edit-without-side"),
        pytest.param({"edited_side": "both", "edited_text": "Better."}, id="edit-of-no-side"),
        pytest.param({"verdict": "skip", "edited_side": "left", "edited_text": "Better."}, id="edit-of-a-skip"),
        pytest.param({"skip_reason": "unclear"}, id="reason-without-skip"),
    ],
)
def test_the_database_refuses_an_event_that_means_nothing(loaded: Store, changes: dict[str, object]) -> None:
    with pytest.raises(StoreError), loaded.writing() as connection:
        append(connection, event("e1", **changes))


def test_a_failed_transaction_leaves_nothing(loaded: Store) -> None:
    with pytest.raises(StoreError), loaded.writing() as connection:
        append(connection, event("e1"))
        append(connection, event("e2", pair_id="b2:unknown"))
    with loaded.reading() as connection:
        assert last_verdict(connection, "ada") is None


def test_an_error_quotes_no_user_text(loaded: Store) -> None:
    with pytest.raises(StoreError) as raised, loaded.writing() as connection:
        connection.execute(sa.text("INSERT INTO nowhere VALUES (:text)"), {"text": "my secret"})
    assert "secret" not in str(raised.value)


def test_the_file_is_its_owners_alone(tmp_path: Path, open_url: Callable[[str], Store]) -> None:
    """Also the -wal and -shm files, which hold the newest rows."""
    before = os.umask(0)
    try:
        store = open_url(f"sqlite:///{tmp_path}/new/labels.db")
        with store.writing() as connection:
            connection.exec_driver_sql("SELECT 1")
        files = sorted((tmp_path / "new").iterdir())
        assert [file.name for file in files] == ["labels.db", "labels.db-shm", "labels.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_sqlite_is_durable_and_does_not_block_readers(tmp_path: Path, open_url: Callable[[str], Store]) -> None:
    store = open_url(f"sqlite:///{tmp_path}/labels.db")
    with store.reading() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_opening_again_keeps_everything(store_url: str, loaded: Store, open_url: Callable[[str], Store]) -> None:
    with loaded.writing() as connection:
        append(connection, event("e1"))
    with open_url(store_url).reading() as connection:
        assert last_verdict(connection, "ada") == event("e1")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        pytest.param("mysql://h/db", "SQLite file or a PostgreSQL database", id="other-database"),
        pytest.param("sqlite://", "SQLite file or a PostgreSQL database", id="in-memory"),
        pytest.param("not a url", "No label store at not a url", id="no-url"),
        pytest.param("postgresql://me:hunter2@127.0.0.1:1/db", "No label store at 127.0.0.1:1/db", id="nobody-listens"),
    ],
)
def test_a_url_that_cannot_be_opened_is_one_clear_error(url: str, says: str) -> None:
    with pytest.raises(StoreError, match=says) as raised:
        open_store(url)
    assert "hunter2" not in str(raised.value)


def test_a_writer_killed_at_any_moment_loses_no_acknowledged_event(
    tmp_path: Path, repository: Path, open_url: Callable[[str], Store]
) -> None:
    url = f"sqlite:///{tmp_path}/labels.db"
    store = open_url(url)
    load(store, write_candidates(tmp_path / "c.parquet", [candidate(n) for n in range(2_000)]), k=1)
    acknowledged: list[str] = []
    for round_number in range(3):
        worker = subprocess.Popen(
            [sys.executable, str(repository / "tests/app/labelling_worker.py"), url, "1", f"a{round_number}", "b"],
            stdout=subprocess.PIPE, text=True, cwd=repository,
        )  # fmt: skip
        assert worker.stdout
        with worker:
            acknowledged += [worker.stdout.readline().strip() for _ in range(60 + 17 * round_number)]
            worker.send_signal(signal.SIGKILL)
            acknowledged += [line.strip() for line in worker.stdout if line.endswith("\n")]
    with store.reading() as connection:
        stored = set(connection.execute(sa.select(EVENT.c.event_id)).scalars())
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    assert len(acknowledged) >= 60 + 77 + 94
    assert set(acknowledged) <= stored
    assert len(stored) <= len(acknowledged) + 2 * 3  # at most the one vote in flight of each of 2 threads, 3 times
