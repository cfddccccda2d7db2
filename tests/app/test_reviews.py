"""The review queue: lowest agreement first, blind first, once a pair, by nobody who judged it."""

from pathlib import Path

import pytest

from app.ballot import Said
from app.candidates import load
from app.reviews import Opinion, ReviewDesk
from app.store import Store
from app.voting import Desk, Progress
from ingest.settings import Labels
from tests.app.conftest import candidate, write_candidates

LABELS = Labels(annotators_per_pair=3)
SAID = {0: "aab", 1: "abt", 2: "aaa", 3: "ab"}
"""Pair -> what is said on it: a, b or tie. Agreement: 1/3, 0, 1, and 0 of fewer votes."""


@pytest.fixture
def judged(store: Store, tmp_path: Path) -> Store:
    """Annotators 0 to 2 say `SAID`."""
    load(store, write_candidates(tmp_path / "c.parquet", [candidate(n) for n in range(4)]), k=3)
    keys = {candidate(n)["pair_id"]: n for n in SAID}
    for place in range(3):
        desk = Desk(store, f"person {place}", LABELS)
        while showing := desk.next():
            says = SAID[keys[showing.pair_id]]
            if place >= len(says):
                desk.vote(showing, "skip")
                continue
            left = showing.order == says[place] + ("b" if says[place] == "a" else "a")
            verdict = "tie" if says[place] == "t" else "left" if left else "right"
            desk.vote(showing, verdict, Said(scale={"left": 1, "tie": 4, "right": 7}[verdict], rationale=says[place]))
    return store


def pair(number: int) -> object:
    return candidate(number)["pair_id"]


def test_lowest_agreement_comes_first_and_votes_come_after_ones_own(judged: Store) -> None:
    desk = ReviewDesk(judged, "rae", LABELS)
    seen = []
    while showing := desk.next():
        seen.append(showing.pair_id)
        assert showing.purpose == "review"
        assert desk.opinions(showing) == []
        event = desk.vote(showing, "left")
        assert event
        assert (event.purpose, event.late) == ("review", 0)
        said = desk.opinions(showing)
        assert len(said) == len(SAID[[pair(n) for n in SAID].index(showing.pair_id)])
        for opinion in said:
            left = {"a": showing.order == "ab", "b": showing.order == "ba"}.get(str(opinion.rationale))
            wanted = "tie" if left is None else "left" if left else "right"
            scale = {"left": 1, "tie": 4, "right": 7}[wanted]
            assert opinion == Opinion(wanted, scale, opinion.rationale, None)
    assert seen == [pair(1), pair(3), pair(0)]
    assert desk.progress() == Progress(done=3, skipped=0, left=0)


def test_a_pair_is_with_one_adjudicator_and_reviewed_once(judged: Store) -> None:
    rae, sam = ReviewDesk(judged, "rae", LABELS), ReviewDesk(judged, "sam", LABELS)
    first, again, other = rae.next(), rae.next(), sam.next()
    assert first
    assert again
    assert other
    assert first.pair_id == again.pair_id == pair(1)
    assert other.pair_id == pair(3)
    assert rae.vote(again, "tie")
    assert sam.vote(other, "tie")
    last = sam.next()
    assert last
    assert last.pair_id == pair(0)
    assert rae.next() is None


def test_who_judged_a_pair_does_not_review_it(judged: Store) -> None:
    showing = ReviewDesk(judged, "person 2", LABELS).next()
    assert showing is None or showing.pair_id not in (pair(0), pair(1), pair(3))


def test_an_abandoned_review_goes_to_the_next_one(judged: Store) -> None:
    rae = ReviewDesk(judged, "rae", LABELS)
    held = rae.next()
    later = ReviewDesk(judged, "sam", LABELS, lambda: rae.clock().replace(year=2099))
    taken = later.next()
    assert held
    assert taken
    assert held.pair_id == taken.pair_id


def test_undo_brings_the_pair_back_and_labelling_knows_nothing_of_it(judged: Store) -> None:
    rae = ReviewDesk(judged, "rae", LABELS)
    showing = rae.next()
    assert showing
    event = rae.vote(showing, "left")
    assert event
    assert Desk(judged, "rae", LABELS).last_verdict() is None
    assert rae.last_verdict() == event
    again = rae.undo(event.event_id)
    assert again
    assert (again.pair_id, again.purpose, again.order) == (showing.pair_id, "review", showing.order)
    assert rae.opinions(again) == []
    assert rae.vote(again, "right")


def test_an_adjudicator_who_labels_too_gets_no_review_there(judged: Store) -> None:
    rae = ReviewDesk(judged, "rae", LABELS)
    assert rae.next()
    showing = Desk(judged, "rae", LABELS.model_copy(update={"annotators_per_pair": 4})).next()
    assert showing is None or showing.purpose == "ask"
