"""A press counts only for a pair that was on screen and could be seen."""

import dataclasses
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.candidates import load
from app.sitting import MINIMUM_LOOK_SECONDS, Sitting
from app.store import Store
from app.task import Task
from app.voting import Desk
from ingest.settings import Labels
from tests.app.conftest import candidate, write_candidates


class Stopwatch:
    """Seconds that a test sets."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def watch() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def sitting(tmp_path: Path, watch: Stopwatch, open_url: Callable[[str], Store]) -> Sitting:
    store = open_url(f"sqlite:///{tmp_path}/labels.db")
    load(store, write_candidates(tmp_path / "c.parquet", [candidate(n) for n in range(3)]), k=1)
    return Sitting(Desk(store, "ada", Labels()), Task(mode="choice"), clock=watch)


def draw(sitting: Sitting) -> str:
    """Draw the page; return the pair that is on screen."""
    showing = sitting.ensure()
    sitting.drawn()
    assert showing
    return showing.pair_id


@pytest.mark.parametrize(
    ("waited", "counts"),
    [(0.0, False), (2 * MINIMUM_LOOK_SECONDS - 0.01, False), (2 * MINIMUM_LOOK_SECONDS, True), (60.0, True)],
)
def test_a_press_counts_after_a_look(sitting: Sitting, watch: Stopwatch, waited: float, counts: bool) -> None:
    pair = draw(sitting)
    watch.seconds += waited
    sitting.press(pair, "left")
    assert sitting.desk.progress().done == int(counts)
    assert sitting.notice and sitting.notice.kind == ("saved" if counts else "refused")


def test_the_look_begins_when_the_pair_is_first_drawn(sitting: Sitting, watch: Stopwatch) -> None:
    """Drawing it again, in the raw view for instance, does not begin it anew."""
    pair = draw(sitting)
    watch.seconds += sitting.floor
    draw(sitting)
    sitting.press(pair, "left")
    assert sitting.desk.progress().done == 1


def test_a_press_before_the_page_was_drawn_does_not_count(sitting: Sitting, watch: Stopwatch) -> None:
    showing = sitting.ensure()
    assert showing
    watch.seconds += 60
    sitting.press(showing.pair_id, "left")
    assert sitting.desk.progress().done == 0


def test_a_double_press_judges_one_pair(sitting: Sitting, watch: Stopwatch) -> None:
    """The second press names the old pair, or the new one that nobody has seen: neither counts."""
    first = draw(sitting)
    watch.seconds += 1
    sitting.press(first, "left")
    assert sitting.notice and (sitting.notice.kind, sitting.notice.text) == ("saved", "Saved: left is better")
    second = draw(sitting)
    watch.seconds += 0.15
    sitting.press(first, "left")
    sitting.press(second, "left")
    assert sitting.notice and sitting.notice.kind == "refused"
    assert sitting.desk.progress().done == 1
    assert draw(sitting) == second


def test_a_double_press_of_undo_takes_one_verdict_back(sitting: Sitting, watch: Stopwatch) -> None:
    for _ in range(2):
        pair = draw(sitting)
        watch.seconds += 1
        sitting.press(pair, "tie")
    draw(sitting)
    watch.seconds += 1
    for _ in range(2):
        last = sitting.desk.last_verdict()
        assert last
        sitting.undo(last.event_id)
        assert draw(sitting) == pair
    assert sitting.desk.progress().done == 1


def test_nothing_is_called_saved_when_the_store_fails(sitting: Sitting, watch: Stopwatch) -> None:
    """The pair stays on screen, and the same vote counts once the store works again."""
    pair = draw(sitting)
    watch.seconds += 1
    with sitting.desk.store.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE slot RENAME TO elsewhere")
    sitting.press(pair, "left")
    assert sitting.notice and sitting.notice.kind == "failed"
    assert sitting.notice.text.startswith("Not saved: ")
    with sitting.desk.store.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO slot")
    assert draw(sitting) == pair
    sitting.press(pair, "left")
    assert sitting.notice and (sitting.notice.kind, sitting.notice.text) == ("saved", "Saved: left is better")


def test_a_pair_judged_in_another_window_is_not_judged_twice(sitting: Sitting, watch: Stopwatch) -> None:
    other = Sitting(sitting.desk, sitting.task, clock=watch)
    pair = draw(sitting)
    assert draw(other) == pair
    watch.seconds += 1
    sitting.press(pair, "left")
    other.press(pair, "right")
    assert other.notice and other.notice.kind == "refused"
    assert draw(other) != pair
    assert sitting.desk.progress().done == 1


# --- the component: it shows the next pair by itself, and says for how long a pair was on screen ---


@pytest.fixture
def quick(sitting: Sitting) -> Sitting:
    sitting.page = "component"
    return sitting


def vote(to: Sitting, pair_id: str, elapsed_ms: int, **more: object) -> dict[str, object]:
    sent = {"pair_id": pair_id, "event_id": str(uuid.uuid4()), "verdict": "left", "elapsed_ms": elapsed_ms}
    ballot = sent | {"sitting": to.name} | more
    to.cast(ballot)
    return ballot


def judged(sitting: Sitting) -> list[str]:
    return [past.event.pair_id for past in sitting.desk.history(9)][::-1]


def test_the_component_has_the_pair_after_the_next(quick: Sitting, watch: Stopwatch) -> None:
    draw(quick)
    following = quick.following
    assert quick.showing and following and quick.showing.pair_id != following.pair_id
    watch.seconds += 1
    vote(quick, quick.showing.pair_id, 900)
    assert draw(quick) == following.pair_id
    watch.seconds += 1
    vote(quick, following.pair_id, 900)
    last = draw(quick)
    assert quick.following is None
    assert judged(quick) == [candidate(n)["pair_id"] for n in range(2)]
    assert last == candidate(2)["pair_id"]


@pytest.mark.parametrize(
    ("elapsed_ms", "drawn_for", "counts"),
    [
        pytest.param(500, 0.5, True, id="seen"),
        pytest.param(399, 60.0, False, id="the-browser-says-too-soon"),
        pytest.param(5_000, 0.3, False, id="the-browser-says-longer-than-it-had-it"),
        pytest.param(0, 60.0, False, id="at-once"),
    ],
)
def test_how_long_a_pair_was_seen_is_what_both_agree_on(
    quick: Sitting, watch: Stopwatch, elapsed_ms: int, drawn_for: float, counts: bool
) -> None:
    pair = draw(quick)
    watch.seconds += drawn_for
    vote(quick, pair, elapsed_ms)
    assert judged(quick) == ([pair] if counts else [])


def test_a_pair_that_is_only_prepared_takes_no_vote(quick: Sitting, watch: Stopwatch) -> None:
    draw(quick)
    watch.seconds += 60
    assert quick.following
    vote(quick, quick.following.pair_id, 900)
    assert judged(quick) == []


def test_a_vote_that_is_sent_again_counts_once_and_is_answered(quick: Sitting, watch: Stopwatch) -> None:
    pair = draw(quick)
    watch.seconds += 1
    ballot = vote(quick, pair, 900)
    answers = quick.answers
    after = draw(quick)
    quick.cast(ballot)
    assert (quick.notice and quick.notice.kind, quick.notice and quick.notice.event_id) == ("saved", ballot["event_id"])
    assert quick.answers == answers + 1
    assert draw(quick) == after
    assert judged(quick) == [pair]


def test_a_vote_on_what_an_earlier_sitting_showed_counts(quick: Sitting, watch: Stopwatch) -> None:
    """The server was started anew: what stood on screen is still leased, and nobody else has judged it."""
    pair = draw(quick)
    later = Sitting(quick.desk, quick.task, "component", clock=watch)
    assert draw(later) == pair
    vote(later, pair, 900, sitting=quick.name)
    assert judged(later) == [pair]
    assert draw(later) != pair


def test_a_vote_on_a_pair_that_was_never_held_does_not_count(quick: Sitting, watch: Stopwatch) -> None:
    draw(quick)
    watch.seconds += 60
    vote(quick, str(candidate(2)["pair_id"]), 900, sitting="another")
    assert quick.notice and quick.notice.kind == "refused"
    assert judged(quick) == []


def test_anybody_elses_event_id_is_refused(quick: Sitting, watch: Stopwatch) -> None:
    pair = draw(quick)
    watch.seconds += 1
    ballot = vote(quick, pair, 900)
    other = Sitting(Desk(quick.desk.store, "bea", quick.desk.labels), quick.task, "component", clock=watch)
    theirs = draw(other)
    watch.seconds += 1
    vote(other, theirs, 900, event_id=ballot["event_id"])
    assert other.notice and other.notice.kind == "failed"
    assert judged(other) == []


def test_any_verdict_of_ones_own_can_be_taken_back(quick: Sitting, watch: Stopwatch) -> None:
    ballots = []
    for _ in range(2):
        pair = draw(quick)
        watch.seconds += 1
        ballots.append(vote(quick, pair, 900))
    third = draw(quick)
    watch.seconds += 1
    quick.undo(str(ballots[0]["event_id"]), 900)
    assert draw(quick) == ballots[0]["pair_id"]
    assert quick.following and quick.following.pair_id == third
    assert [past.stands for past in quick.desk.history(9)] == [True, False]


def test_leases_are_kept_while_the_page_is_read_and_let_go_when_it_is_left(quick: Sitting, watch: Stopwatch) -> None:
    """Lease of 600 s: renewed from 150 s on, for as long as the pair has been on screen for under half an hour."""
    start = datetime(2026, 11, 20, tzinfo=UTC)
    quick.desk = dataclasses.replace(quick.desk, clock=lambda: start + timedelta(seconds=watch.seconds))
    pair = draw(quick)
    for _ in range(16):
        watch.seconds += 200
        quick.alive()
    bea = Desk(quick.desk.store, "bea", quick.desk.labels, quick.desk.clock)
    first = bea.next()
    assert first and first.pair_id == pair  # 3,200 s later


def test_a_lease_that_was_kept_is_nobody_elses(quick: Sitting, watch: Stopwatch) -> None:
    start = datetime(2026, 11, 20, tzinfo=UTC)
    quick.desk = dataclasses.replace(quick.desk, clock=lambda: start + timedelta(seconds=watch.seconds))
    pair = draw(quick)
    for _ in range(8):
        watch.seconds += 200
        quick.alive()
    bea = Desk(quick.desk.store, "bea", quick.desk.labels, quick.desk.clock)
    first = bea.next()
    assert first and first.pair_id == candidate(2)["pair_id"]
    vote(quick, pair, 900)
    assert quick.notice and quick.notice.text == "Saved: left is better"
