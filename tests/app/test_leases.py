"""Who gets which pair: never the same slot twice, never the same pair twice, nothing lost when someone leaves."""

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from app.candidates import load
from app.store import Store, open_store, standing
from app.tables import ANNOTATOR, EVENT, SLOT
from app.voting import VERDICTS, Desk, Progress, Showing
from ingest.errors import StoreError
from ingest.settings import Labels
from tests.app.conftest import candidate, write_candidates

LEASE = 600


@dataclass
class Clock:
    """A clock that a test turns."""

    time: datetime = datetime(2026, 11, 20, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def turn(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(store: Store, clock: Clock, tmp_path: Path) -> Callable[..., Desk]:
    """Desks at a store of three pairs, which are asked in the order of their numbers."""
    file = write_candidates(tmp_path / "c.parquet", [candidate(n) for n in range(3)])
    labels = Labels(lease_seconds=LEASE, annotators_per_pair=1)

    def sit(annotator: str, k: int = 1) -> Desk:
        load(store, file, k=k)
        return Desk(store, annotator, with_k(labels, k), clock)

    return sit


def with_k(labels: Labels, k: int) -> Labels:
    return labels.model_copy(update={"annotators_per_pair": k})


def number(showing: Showing | None) -> int | None:
    """Which of the three pairs this is."""
    if showing is None:
        return None
    return next(n for n in range(3) if candidate(n)["pair_id"] == showing.pair_id)


def given(showing: Showing | None) -> Showing:
    assert showing is not None
    return showing


def test_pairs_come_by_priority_and_end(desk: Callable[..., Desk]) -> None:
    ada = desk("ada")
    seen = []
    while showing := ada.next():
        seen.append(number(showing))
        ada.vote(showing, "left")
    assert seen == [0, 1, 2]


def test_every_pair_gets_its_first_opinion_before_any_gets_its_second(desk: Callable[..., Desk]) -> None:
    desks = [desk(name, k=2) for name in ("ada", "bob", "cyd", "dan", "eve", "fay", "gil")]
    assert [number(d.next()) for d in desks] == [0, 1, 2, 0, 1, 2, None]


def test_one_slot_is_with_one_annotator(desk: Callable[..., Desk]) -> None:
    assert [number(desk(name).next()) for name in ("ada", "bob", "cyd", "dan")] == [0, 1, 2, None]


def test_one_annotator_gets_a_pair_once_whatever_k_is(desk: Callable[..., Desk]) -> None:
    ada = desk("ada", k=3)
    seen = []
    while showing := ada.next():
        seen.append(number(showing))
        ada.vote(showing, "both_bad")
    assert seen == [0, 1, 2]


def test_after_a_reload_the_same_pair_comes_back(desk: Callable[..., Desk], clock: Clock) -> None:
    """The second window votes; the first one's vote on it is then refused, and nothing is stored twice."""
    before = given(desk("ada").next())
    clock.turn(LEASE - 1)
    after = given(desk("ada").next())
    assert after.pair_id == before.pair_id
    clock.turn(LEASE - 1)  # the resumed lease was renewed
    assert number(desk("bob").next()) == 1
    event = desk("ada").vote(after, "left")
    assert event and event.late == 0
    assert desk("ada").vote(before, "right") is None
    assert desk("ada").progress() == Progress(done=1, skipped=0, left=1)


def test_an_expired_lease_goes_to_the_next_one(desk: Callable[..., Desk], clock: Clock) -> None:
    held = given(desk("ada").next())
    clock.turn(LEASE - 1)
    assert number(desk("bob").next()) == 1
    clock.turn(1)
    assert number(desk("cyd").next()) == number(held) == 0


def test_a_vote_after_the_lease_was_lost_is_stored_and_marked_late(
    desk: Callable[..., Desk], clock: Clock, store: Store
) -> None:
    held = given(desk("ada").next())
    clock.turn(LEASE)
    taken = given(desk("bob").next())
    assert taken.pair_id == held.pair_id
    late, in_time = desk("ada").vote(held, "left"), desk("bob").vote(taken, "tie")
    assert late and in_time
    assert (late.late, in_time.late) == (1, 0)
    with store.reading() as connection:
        slots = connection.execute(sa.select(SLOT.c.annotator, SLOT.c.state).where(SLOT.c.pair_id == held.pair_id))
        assert [tuple(row) for row in slots] == [("bob", "done")]


def test_a_late_vote_fills_the_slot_that_nobody_took(desk: Callable[..., Desk], clock: Clock) -> None:
    held = given(desk("ada").next())
    clock.turn(LEASE)
    late = desk("ada").vote(held, "left")
    assert late and late.late == 1
    assert number(desk("bob").next()) == 1


def test_a_skipped_pair_goes_to_others_but_not_back(desk: Callable[..., Desk]) -> None:
    ada = desk("ada")
    ada.vote(given(ada.next()), "skip")
    assert number(ada.next()) == 1
    assert number(desk("bob").next()) == 0
    assert ada.progress() == Progress(done=0, skipped=1, left=2)  # pair 1, on her screen, and pair 2


def test_the_pair_after_the_one_on_screen_can_be_had_and_given_back(desk: Callable[..., Desk]) -> None:
    ada, bob = desk("ada"), desk("bob")
    on_screen = given(ada.next())
    ahead = given(ada.next(on_screen.pair_id))
    assert (number(on_screen), number(ahead), number(ada.next(on_screen.pair_id))) == (0, 1, 1)
    assert number(ada.next()) == 0  # after a reload the pair that was on screen comes first
    assert ada.release([ahead.pair_id, on_screen.pair_id, "b2:no pair"]) == {on_screen.pair_id, ahead.pair_id}
    assert number(bob.next()) == 0


def test_a_page_that_is_still_open_keeps_its_pairs(desk: Callable[..., Desk], clock: Clock) -> None:
    ada, bob = desk("ada"), desk("bob")
    showing = given(ada.next())
    clock.turn(LEASE - 1)
    assert ada.extend([showing.pair_id]) == {showing.pair_id}
    clock.turn(LEASE - 1)
    assert number(bob.next()) == 1
    clock.turn(1)
    assert ada.extend([showing.pair_id]) == set()  # it ran out, and a heartbeat does not take it back
    assert number(desk("cyd").next()) == 0


@pytest.mark.parametrize(
    ("said", "further"),
    [
        pytest.param(["a", "a"], [], id="agree"),
        pytest.param(["a", "b"], ["cyd"], id="disagree"),
        pytest.param(["a", "tie"], ["cyd"], id="tie-against-a-side"),
        pytest.param(["tie", "both_bad"], ["cyd"], id="tie-against-both-bad"),
        pytest.param(["a", "b", "a"], ["cyd"], id="settled-by-the-third"),
        pytest.param(["a", "b", "tie"], ["cyd", "dan"], id="no-majority-of-three"),
        pytest.param(["a", "b", "tie", "both_bad"], ["cyd", "dan"], id="no-more-than-the-most"),
    ],
)
def test_a_pair_on_which_they_disagree_is_asked_once_more(
    store: Store, tmp_path: Path, clock: Clock, said: list[str], further: list[str]
) -> None:
    """k = 2, at most 4: one further slot at a time, until more than half say the same."""
    load(store, write_candidates(tmp_path / "c.parquet", [candidate(0)]), k=2)
    labels = Labels(lease_seconds=LEASE, annotators_per_pair=2, annotators_on_disagreement=4, seed=3)
    people = ["ada", "bob", "cyd", "dan", "eve", "fay"]
    for name, outcome in zip(people, said, strict=False):
        desk = Desk(store, name, labels, clock)
        showing = given(desk.next())
        a_left = showing.left_interaction_id == candidate(0)["interaction_a"]
        sides = {"a": "left" if a_left else "right", "b": "right" if a_left else "left"}
        assert desk.vote(showing, sides.get(outcome, outcome))
    asked = [name for name in people[2:] if name in people[: len(said)] or Desk(store, name, labels, clock).next()]
    assert asked == further


def test_an_annotators_row_is_made_again_from_what_they_said(desk: Callable[..., Desk], store: Store) -> None:
    ada = desk("ada")
    ada.vote(given(ada.next()), "left")
    ada.vote(given(ada.next()), "skip")
    with store.writing() as connection:
        connection.execute(sa.delete(ANNOTATOR))
    assert number(ada.next()) == 2
    assert ada.progress() == Progress(done=1, skipped=1, left=1)


def test_the_same_showing_sent_twice_is_one_event(desk: Callable[..., Desk], store: Store) -> None:
    ada = desk("ada")
    showing = given(ada.next())
    assert ada.vote(showing, "right") == ada.vote(showing, "right")
    with store.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(EVENT)).scalar_one() == 1


def test_undo_brings_the_pair_back_and_keeps_what_was_said(desk: Callable[..., Desk], store: Store) -> None:
    ada = desk("ada")
    first = ada.vote(given(ada.next()), "left")
    assert first
    next_up = given(ada.next())
    again = given(ada.undo(first.event_id))
    assert (number(next_up), number(again)) == (1, 0)
    assert again.event_id != first.event_id
    second = ada.vote(again, "right")
    assert second and second.late == 0
    assert number(ada.next()) == 1  # the pair that was on screen comes back
    with store.reading() as connection:
        rows = connection.execute(sa.select(EVENT.c.kind, EVENT.c.verdict, EVENT.c.retracts).order_by(EVENT.c.seq))
        said = [tuple(row) for row in rows]
    assert said == [("verdict", "left", None), ("retract", None, first.event_id), ("verdict", "right", None)]


def test_undo_of_a_skip_whose_pair_is_with_someone_else(desk: Callable[..., Desk]) -> None:
    ada = desk("ada")
    skip = ada.vote(given(ada.next()), "skip")
    assert skip
    assert number(desk("bob").next()) == 0
    assert ada.undo(skip.event_id) is None
    assert ada.last_verdict() is None


@pytest.mark.parametrize("which", ["unknown", "others", "twice"])
def test_only_ones_own_standing_verdict_can_be_taken_back(desk: Callable[..., Desk], which: str) -> None:
    ada, bob = desk("ada"), desk("bob")
    last = ada.vote(given(ada.next()), "left")
    others = bob.vote(given(bob.next()), "left")
    assert last and others
    if which == "twice":
        ada.undo(last.event_id)
    event_id = {"unknown": "no such event", "others": others.event_id, "twice": last.event_id}
    with pytest.raises(StoreError, match="does not stand any more"):
        ada.undo(event_id[which])


def test_an_unknown_verdict_is_refused_before_anything_changes(desk: Callable[..., Desk]) -> None:
    ada = desk("ada")
    showing = given(ada.next())
    with pytest.raises(StoreError, match="No such verdict: 'up'"):
        ada.vote(showing, "up")
    event = ada.vote(showing, "left")
    assert event and event.late == 0


def test_eight_workers_share_300_pairs(store_url: str, store: Store, tmp_path: Path, repository: Path) -> None:
    """4 processes of 2 annotators, k = 2: 600 verdicts, 2 on each pair, by 2 people; none doubled, none over k."""
    load(store, write_candidates(tmp_path / "c.parquet", [candidate(n) for n in range(300)]), k=2)
    command = [sys.executable, str(repository / "tests/app/labelling_worker.py"), store_url, "2"]
    workers = [
        subprocess.Popen(
            [*command, f"{i}a", f"{i}b"],
            stdout=subprocess.PIPE,
            cwd=repository,
            text=True,
        )
        for i in range(4)
    ]
    acknowledged = [line for worker in workers for line in worker.communicate(timeout=120)[0].split()]
    assert [worker.returncode for worker in workers] == [0] * 4
    with store.reading() as connection:
        events = connection.execute(sa.select(EVENT.c.event_id, EVENT.c.pair_id, EVENT.c.annotator, EVENT.c.late)).all()
        slots = connection.execute(sa.select(SLOT.c.state, SLOT.c.pair_id, SLOT.c.annotator)).all()
    assert sorted(acknowledged) == sorted(event.event_id for event in events)
    assert len(events) == len(set(acknowledged)) == 600
    assert set(Counter(event.pair_id for event in events).values()) == {2}
    assert len({(event.pair_id, event.annotator) for event in events}) == 600
    assert {event.late for event in events} == {0}
    assert {("done", event.pair_id, event.annotator) for event in events} == {tuple(slot) for slot in slots}


class Labelling(RuleBasedStateMachine):
    """Any order of asking, voting, leaving, undoing, loading: the promises of app.leases hold after every step.

    What comes next is what a search of the whole queue finds, so that no place hides a pair.
    """

    folder: Path
    opened = 0
    K = 2
    MOST = 3

    @initialize()
    def open(self) -> None:
        Labelling.opened += 1
        self.clock = Clock()
        if Labelling.opened == 1:
            open_store(f"sqlite:///{self.folder}/empty.db").engine.dispose()
        file = shutil.copy(self.folder / "empty.db", self.folder / f"{Labelling.opened}.db")
        self.store = open_store(f"sqlite:///{file}")
        self.pairs = {n: float(-n) for n in range(3)}
        self.load()
        labels = Labels(lease_seconds=LEASE, annotators_per_pair=self.K, annotators_on_disagreement=self.MOST)
        self.desks = {name: Desk(self.store, name, labels, self.clock) for name in ("ada", "bob", "cyd", "dan")}
        self.on_screen: dict[str, Showing] = {}

    def load(self) -> None:
        rows = [candidate(n, priority=priority) for n, priority in self.pairs.items()]
        load(self.store, write_candidates(self.folder / "c.parquet", rows), k=self.K)

    names = st.sampled_from(["ada", "bob", "cyd", "dan"])

    @rule(name=names, ahead=st.booleans())
    def ask(self, name: str, ahead: bool) -> None:
        screen = self.on_screen.get(name)
        besides = screen.pair_id if ahead and screen else None
        expected = self.first_of_all(name, besides)
        showing = self.desks[name].next(besides)
        assert (showing and showing.pair_id) == expected
        if showing and not besides:
            self.on_screen[name] = showing

    @rule(name=names, verdict=st.sampled_from(VERDICTS))
    def vote(self, name: str, verdict: str) -> None:
        if showing := self.on_screen.pop(name, None):
            judged = self.stands(name, showing.pair_id)
            assert (self.desks[name].vote(showing, verdict) is None) == judged

    @rule(name=names)
    def undo(self, name: str) -> None:
        if last := self.desks[name].last_verdict():
            if again := self.desks[name].undo(last.event_id):
                self.on_screen[name] = again
            assert not self.stands(name, last.pair_id)

    @rule(name=names)
    def release(self, name: str) -> None:
        if showing := self.on_screen.pop(name, None):
            self.desks[name].release([showing.pair_id])

    @rule(name=names)
    def stay(self, name: str) -> None:
        if showing := self.on_screen.get(name):
            self.desks[name].extend([showing.pair_id])

    @rule(seconds=st.sampled_from([1, LEASE // 2, LEASE]))
    def wait(self, seconds: int) -> None:
        self.clock.turn(seconds)

    @rule(pair=st.integers(0, 4), priority=st.sampled_from([-9.0, -1.0, 0.0, 9.0]))
    def offer(self, pair: int, priority: float) -> None:
        self.pairs[pair] = priority
        self.load()

    @invariant()
    def promises(self) -> None:
        slots, verdicts = self.rows()
        taken = [slot for slot in slots if slot.state != "open"]
        asked_anyway = [slot for slot in slots if slot.purpose == "opinion"]
        assert len(asked_anyway) == len(self.pairs) * self.K
        assert max(Counter(slot.pair_id for slot in slots).values()) <= self.MOST
        assert len({(slot.pair_id, slot.annotator) for slot in taken}) == len(taken)
        assert len({(event.pair_id, event.annotator) for event in verdicts}) == len(verdicts)
        votes = {(event.pair_id, event.annotator) for event in verdicts if event.verdict != "skip"}
        assert {(slot.pair_id, slot.annotator) for slot in slots if slot.state == "done"} <= votes
        in_time = Counter(event.pair_id for event in verdicts if event.verdict != "skip" and not event.late)
        assert max(in_time.values(), default=0) <= self.MOST
        for name, desk in self.desks.items():
            skips = [event.verdict == "skip" for event in verdicts if event.annotator == name]
            progress = desk.progress()
            assert (progress.done, progress.skipped) == (skips.count(False), skips.count(True))

    def first_of_all(self, name: str, besides: str | None) -> str | None:
        """What a search of every slot gives: one's own live leases first, then what is open or ran out, in order."""
        slots, verdicts = self.rows()
        now = round(self.clock().timestamp() * 1_000_000)
        slots.sort(key=lambda slot: (slot.turn, slot.rank, slot.pair_id))
        live = [slot for slot in slots if slot.state == "leased" and slot.lease_until > now]
        own = [slot.pair_id for slot in live if slot.annotator == name]
        for pair_id in own:
            if pair_id != besides:
                return str(pair_id)
        done = {slot.pair_id for slot in slots if slot.state == "done" and slot.annotator == name}
        refused = done | set(own) | {event.pair_id for event in verdicts if event.annotator == name}
        free = [slot for slot in slots if slot.state != "done" and slot not in live and slot.pair_id not in refused]
        return str(free[0].pair_id) if free else None

    def rows(self) -> tuple[list[sa.Row[Any]], list[sa.Row[Any]]]:
        with self.store.reading() as connection:
            verdicts = connection.execute(sa.select(EVENT).where(standing(EVENT))).all()
            return list(connection.execute(sa.select(SLOT)).all()), list(verdicts)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.engine.dispose()

    def stands(self, name: str, pair_id: str) -> bool:
        with self.store.reading() as connection:
            mine = sa.select(EVENT).where(standing(EVENT), EVENT.c.annotator == name, EVENT.c.pair_id == pair_id)
            return connection.execute(mine).first() is not None


def test_any_order_of_events_keeps_the_promises(tmp_path: Path) -> None:
    Labelling.folder = tmp_path
    run_state_machine_as_test(
        Labelling,
        settings=settings(
            max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
