"""What a verdict becomes, and on which side a response stands."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.candidates import load
from app.store import Event, Store
from app.tally import Annotator, Queue, annotators, queue
from app.voting import VERDICTS, Desk, a_stands_left
from ingest.settings import Labels
from tests.app.conftest import candidate, write_candidates


def test_each_response_stands_left_half_of_the_time() -> None:
    """10,000 fair coins: 4,800 to 5,200 is 4 standard deviations of 50 on either side."""
    pairs = [str(candidate(n)["pair_id"]) for n in range(100)]
    left = sum(a_stands_left(f"annotator {i}", pair, seed=3) for i in range(100) for pair in pairs)
    assert 4_800 <= left <= 5_200


@pytest.mark.parametrize("changed", ["annotator", "pair", "seed"])
def test_the_side_depends_on_annotator_pair_and_seed(changed: str) -> None:
    sides = {
        a_stands_left(
            f"ada{n if changed == 'annotator' else 0}",
            f"b2:{n if changed == 'pair' else 0}",
            n if changed == "seed" else 0,
        )
        for n in range(40)
    }
    assert sides == {True, False}


def test_a_revisit_shows_the_same_sides(store: Store, tmp_path: Path) -> None:
    load(store, write_candidates(tmp_path / "c.parquet", [candidate(0)]), k=1)
    first, again = Desk(store, "ada", Labels(seed=5)).next(), Desk(store, "ada", Labels(seed=5)).next()
    assert first and again
    assert (first.left, first.right) == (again.left, again.right)


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("annotator", ["ada", "bob", "cyd", "dan"])
def test_the_event_names_what_stood_left_and_right(store: Store, tmp_path: Path, verdict: str, annotator: str) -> None:
    load(store, write_candidates(tmp_path / "c.parquet", [candidate(0)]), k=1)
    desk = Desk(store, annotator, Labels(), lambda: datetime(2026, 11, 20, 12, 0, 0, 5, tzinfo=UTC))
    showing = desk.next()
    assert showing
    ids = {"First answer 0.": "a", "Second answer 0.": "b"}
    keys = {side: f"interaction_{side}" for side in "ab"}
    row = candidate(0)
    by_text = {str(row[f"response_{s}"][0]["content"]): row[keys[s]] for s in "ab"}  # type: ignore[index]
    assert set(by_text) == set(ids)
    assert desk.vote(showing, verdict) == Event(
        event_id=showing.event_id,
        event_time="2026-11-20T12:00:00.000005+00:00",
        annotator=annotator,
        kind="verdict",
        verdict=verdict,
        retracts=None,
        pair_id=str(row["pair_id"]),
        left_interaction_id=str(by_text[str(showing.left[0]["content"])]),
        right_interaction_id=str(by_text[str(showing.right[0]["content"])]),
        guidelines_version=None,
        late=0,
    )


def test_the_tally_counts_what_stands(store: Store, tmp_path: Path) -> None:
    """k = 2, 4 pairs, 8 slots. Ada: left, tie, then takes the tie back and skips. Bob: right, and holds one lease."""
    load(store, write_candidates(tmp_path / "c.parquet", [candidate(n) for n in range(4)]), k=2)
    times = iter(datetime(2026, 11, 20, 12, 0, second, tzinfo=UTC) for second in range(60))
    now = {"time": next(times)}
    labels = Labels(annotators_per_pair=2)
    ada, bob = (Desk(store, name, labels, lambda: now["time"]) for name in ("ada", "bob"))

    def say(desk: Desk, verdict: str) -> None:
        showing = desk.next()
        assert showing and desk.vote(showing, verdict)
        now["time"] = next(times)

    say(ada, "left")
    say(ada, "tie")
    last = ada.last_verdict()
    assert last and ada.undo(last.event_id)
    say(ada, "skip")
    say(bob, "right")
    assert bob.next()
    assert queue(store, k=2) == Queue(pairs=4, complete=0, leased=1, wanted=6)
    assert annotators(store) == [
        Annotator("ada", 1, 0, 0, 0, 1, retracted=1, late=0, last_time="2026-11-20T12:00:02.000000+00:00"),
        Annotator("bob", 0, 1, 0, 0, 0, retracted=0, late=0, last_time="2026-11-20T12:00:03.000000+00:00"),
    ]
