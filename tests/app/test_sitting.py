"""A press counts only for a pair that was on screen and could be seen."""

from collections.abc import Callable
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
    [(0.0, False), (MINIMUM_LOOK_SECONDS - 0.01, False), (MINIMUM_LOOK_SECONDS, True), (60.0, True)],
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
    watch.seconds += MINIMUM_LOOK_SECONDS
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
