"""Erasing a user from a real label store, SQLite and PostgreSQL, beside an app that goes on."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.candidates import load
from app.leases import next_pair
from app.store import Event, Store, append
from app.tables import EVENT, PAIR, SLOT
from ingest import labels
from ingest.erasure import label_store
from ingest.erasure.label_store import Removed
from ingest.erasure.proof import Needles
from ingest.errors import StoreError
from ingest.pseudonyms import Pseudonyms
from ingest.schema import interaction_id
from ingest.subjects import Subjects
from tests.app.conftest import candidate, write_candidates

SECRET = "the violet submarine sails at dawn, says ann"
EDITED = "the yellow submarine sails at noon, says"
WHY = "thought that a number, of the pier, was missing"


@pytest.fixture
def subjects(tmp_path: Path) -> Subjects:
    """A ledger that erases the user whose response is interaction a-1, and the annotator zoe."""
    found = Subjects(tmp_path / "subjects.jsonl", Pseudonyms(tmp_path / "pseudonym.key"))
    found.erased.responses.add(found.response(interaction_id("demo", "a-1")))
    found.erased.users.add(str(found.pseudonyms.of("zoe")))
    return found


@pytest.fixture
def pairs(store: Store, tmp_path: Path) -> list[str]:
    """Four pairs with two slots each; bea and zoe judged pairs 1 and 2, zoe took one back and holds pair 3."""
    rows = [candidate(number, a=SECRET if number == 1 else "") for number in range(1, 5)]
    load(store, write_candidates(tmp_path / "candidates.parquet", rows), k=2)
    ids = [str(row["pair_id"]) for row in rows]
    judged = [("e1", "bea", 0), ("e2", "zoe", 0), ("e3", "bea", 1), ("e4", "zoe", 1)]
    with store.writing() as connection:
        for event_id, annotator, index in judged:
            row = rows[index]
            sides = (str(row["interaction_a"]), str(row["interaction_b"]))
            verdict = Event(
                event_id, "2026-10-05T09:30:00+00:00", annotator, "verdict", "left", None, ids[index], *sides,
                edited_side="left", edited_text=f"{EDITED} {event_id}", rationale=f"{annotator} {WHY}",
            )  # fmt: skip
            append(connection, verdict)
            slot = sa.and_(SLOT.c.pair_id == ids[index], SLOT.c.slot == int(annotator == "zoe"))
            connection.execute(sa.update(SLOT).where(slot).values(state="done", annotator=annotator))
        taken_back = {"event_id": "e5", "kind": "retract", "verdict": None, "retracts": "e4"}
        written = dict.fromkeys(("edited_side", "edited_text", "rationale"))
        append(connection, Event(**(asdict(verdict) | taken_back | written)))
        held = sa.and_(SLOT.c.pair_id == ids[2], SLOT.c.slot == 0)
        connection.execute(sa.update(SLOT).where(held).values(state="leased", annotator="zoe", lease_until=1))
    return ids


def rows(store: Store, table: sa.Table, *columns: str) -> list[tuple[object, ...]]:
    with store.reading() as connection:
        query = sa.select(*(table.c[name] for name in columns)).order_by(*(table.c[name] for name in columns))
        return [tuple(row) for row in connection.execute(query)]


def test_what_shows_or_says_something_of_the_user_goes_and_the_rest_stays(
    store: Store, store_url: str, pairs: list[str], subjects: Subjects
) -> None:
    """Of pair 1 everything; of pair 2 zoe's verdict, its retraction and her slot; and her lease on pair 3."""
    with labels.opened(store_url) as before:
        head = before and before.head
    with label_store.opened(store_url) as engine:
        assert engine
        gone = label_store.find(engine, subjects)
        assert (gone.pairs, gone.annotators) == ([pairs[0]], ["zoe"])
        written = {f"{EDITED} {event}" for event in ("e1", "e2", "e4")} | {f"bea {WHY}", f"zoe {WHY}"}
        assert {*written, SECRET} <= set(gone.texts)
        assert f"{EDITED} e3" not in gone.texts
        assert label_store.held(engine, Needles.of((), gone.texts)) == {"pair": 3, "event": 8}
        removed = label_store.remove(engine, gone, "erasure 1")
        label_store.purge(engine)
        needles = Needles.of((), [SECRET, f"zoe {WHY}"[:32]])
        assert label_store.held(engine, needles) == {}
        again = label_store.find(engine, subjects)
        assert not again
        assert label_store.remove(engine, again, "erasure 2") == Removed()
    assert removed == Removed(pairs=1, slots=2, events=4, reopened=2)
    assert rows(store, PAIR, "pair_id") == sorted((pair,) for pair in pairs[1:])
    assert rows(store, EVENT, "event_id", "annotator") == [("e3", "bea")]
    slots = {
        (pair, slot): (state, who)
        for pair, slot, state, who in rows(store, SLOT, "pair_id", "slot", "state", "annotator")
    }
    assert slots.pop((pairs[1], 0)) == ("done", "bea")
    assert set(slots.values()) == {("open", None)}
    assert len(slots) == 5
    with store.reading() as connection:
        [audit] = connection.execute(sa.text("SELECT * FROM erasure")).mappings().all()
    assert dict(audit) | {"event_time": ""} == {
        "erasure_id": "erasure 1", "event_time": "", "first_event_id": "e1",
        "pairs": 1, "slots": 2, "events": 4, "reopened": 2,
    }  # fmt: skip
    with labels.opened(store_url) as after:
        assert after and after.head == head  # the store is still the one whose events were read


@pytest.mark.parametrize("statement", ["DELETE FROM event", "UPDATE event SET verdict = 'right'"])
def test_afterwards_events_are_append_only_again(
    store: Store, store_url: str, pairs: list[str], subjects: Subjects, statement: str
) -> None:
    with label_store.opened(store_url) as engine:
        assert engine
        label_store.remove(engine, label_store.find(engine, subjects), "erasure 1")
    with pytest.raises(StoreError, match="append-only"), store.writing() as connection:
        connection.execute(sa.text(statement))
    assert rows(store, EVENT, "event_id") == [("e3",)]


def test_an_erasure_that_fails_half_way_leaves_events_and_triggers(
    store: Store, store_url: str, pairs: list[str], subjects: Subjects
) -> None:
    """The audit's id is taken: the last statement of the transaction fails."""
    with store.writing() as connection:
        connection.execute(sa.text(label_store.AUDIT))
        connection.execute(sa.text("INSERT INTO erasure VALUES ('erasure 1', '', 'e1', 0, 0, 0, 0)"))
    with pytest.raises(StoreError, match="Run erase again"), label_store.opened(store_url) as engine:
        assert engine
        label_store.remove(engine, label_store.find(engine, subjects), "erasure 1")
    assert len(rows(store, EVENT, "event_id")) == 5
    with pytest.raises(StoreError, match="append-only"), store.writing() as connection:
        connection.execute(sa.text("DELETE FROM event"))


def test_no_page_and_no_log_of_sqlite_holds_the_text_while_the_app_is_open(
    tmp_path: Path, open_url: Callable[[str], Store], subjects: Subjects
) -> None:
    """The app's connection stays open, so that SQLite does not tidy up by itself."""
    url = f"sqlite:///{tmp_path}/labels.db"
    store = open_url(url)
    load(store, write_candidates(tmp_path / "candidates.parquet", [candidate(1, a=SECRET), candidate(2)]), k=1)
    with store.writing() as connection:
        assert next_pair(connection, "bea", k=1, now=0, until=1)
    files = [*tmp_path.glob("labels.db*")]
    assert SECRET.encode() in b"".join(file.read_bytes() for file in files)
    with label_store.opened(url) as engine:
        assert engine
        label_store.remove(engine, label_store.find(engine, subjects), "erasure 1")
        label_store.purge(engine)
    assert SECRET.encode() not in b"".join(file.read_bytes() for file in tmp_path.glob("labels.db*"))
    assert len(rows(store, PAIR, "pair_id")) == 1


def test_a_reader_that_holds_the_log_is_named(
    tmp_path: Path, open_url: Callable[[str], Store], subjects: Subjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_store, "BUSY_SECONDS", 0.1)
    url = f"sqlite:///{tmp_path}/labels.db"
    store = open_url(url)
    load(store, write_candidates(tmp_path / "candidates.parquet", [candidate(1, a=SECRET)]), k=1)
    with store.reading() as reader:
        reader.execute(sa.select(PAIR.c.pair_id)).all()
        with pytest.raises(StoreError), label_store.opened(url) as engine:
            assert engine
            label_store.remove(engine, label_store.find(engine, subjects), "erasure 1")
            label_store.purge(engine)


def test_without_a_store_nothing_is_made(tmp_path: Path) -> None:
    with label_store.opened(f"sqlite:///{tmp_path}/labels.db") as engine:
        assert engine is None
    assert not list(tmp_path.iterdir())
