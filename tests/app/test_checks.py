"""Gold items, attention checks and swapped repeats come at their rate, to everybody, and are no feedback."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from app import gold
from app.candidates import load
from app.store import Store
from app.tables import ANNOTATOR, GOLD, SLOT
from app.tally import queue
from app.voting import Desk, Progress, Showing
from ingest.errors import ContractError, StoreError
from ingest.settings import Labels
from tests.app.conftest import candidate, write_candidates

LABELS = Labels(gold_share=0.1, repeat_share=0.1, repeat_distance=5, seed=3)


def gold_file(folder: Path, items: int) -> Path:
    file = folder / "gold.jsonl"
    rows: list[dict[str, object]] = [
        {"prompt": f"What is {n} + {n}?", "better": f"It is {2 * n}.", "worse": "I like cheese."} for n in range(items)
    ]
    rows[0]["purpose"] = "attention"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def filled(store: Store, tmp_path: Path) -> Store:
    load(store, write_candidates(tmp_path / "c.parquet", [candidate(n) for n in range(200)]), k=1)
    assert gold.load(store, gold_file(tmp_path, 8), "root") == 8
    return store


def texts(showing: Showing) -> tuple[object, object]:
    return showing.left[0]["content"], showing.right[0]["content"]


def work(desk: Desk, votes: int, verdict: Callable[[Showing], str] = lambda _: "left") -> list[Showing]:
    seen = []
    for _ in range(votes):
        showing = desk.next()
        assert showing
        assert desk.vote(showing, verdict(showing))
        seen.append(showing)
    return seen


def test_a_tenth_are_gold_and_a_tenth_are_repeats_with_sides_swapped(filled: Store) -> None:
    """60 verdicts: one of each kind in every ten, the first repeat only when something lies five verdicts back."""
    seen = work(Desk(filled, "ada", LABELS), 60)
    kinds = Counter(showing.purpose for showing in seen)
    assert kinds["gold"] + kinds["attention"] == 6
    assert kinds["repeat"] in (5, 6)
    for tenth in range(0, 60, 10):
        assert sum(showing.purpose in ("gold", "attention") for showing in seen[tenth : tenth + 10]) in (0, 1, 2)
    first = {showing.pair_id: (n, showing) for n, showing in enumerate(seen) if showing.purpose == "ask"}
    for n, showing in enumerate(seen):
        if showing.purpose == "repeat":
            before, original = first[showing.pair_id]
            assert n - before >= 5
            assert texts(showing) == texts(original)[::-1]
    repeated = [showing.pair_id for showing in seen if showing.purpose == "repeat"]
    assert len(set(repeated)) == len(repeated)


def test_everybody_gets_every_gold_item_once_and_then_no_more(filled: Store) -> None:
    for name in ("ada", "bob"):
        seen = work(Desk(filled, name, LABELS.model_copy(update={"repeat_share": 0.0})), 95)
        asked = [showing.pair_id for showing in seen if showing.purpose in ("gold", "attention")]
        assert len(asked) == len(set(asked)) == 8


def test_a_check_comes_back_after_a_reload_and_never_goes_to_others(filled: Store) -> None:
    always = Labels(gold_share=0.5, lease_seconds=10)
    ada = Desk(filled, "ada", always)
    work(ada, 2)
    while (showing := ada.next()) and showing.purpose == "ask":
        ada.vote(showing, "left")
    assert showing
    assert ada.release([showing.pair_id]) == set()
    later = Desk(filled, "ada", always, lambda: ada.clock().replace(year=2099))
    again = later.next()
    assert again
    assert (again.pair_id, again.purpose) == (showing.pair_id, showing.purpose)
    event = later.vote(again, "left")
    assert event
    assert event.late == 0


def test_skip_and_undo_of_a_check(filled: Store) -> None:
    desk = Desk(filled, "ada", Labels(gold_share=0.5))
    showing = desk.next()
    while showing and showing.purpose == "ask":
        desk.vote(showing, "left")
        showing = desk.next()
    assert showing
    event = desk.vote(showing, "skip")
    assert event
    assert event.purpose == showing.purpose
    again = desk.undo(event.event_id)
    assert again
    assert (again.pair_id, again.purpose) == (showing.pair_id, showing.purpose)
    assert desk.vote(again, "right")
    undone = desk.history(3)[1].event.event_id
    assert undone == event.event_id


def test_counts_of_an_annotator_are_made_again_from_what_is_there(filled: Store) -> None:
    desk = Desk(filled, "ada", LABELS)
    work(desk, 40)
    with filled.writing() as connection:
        before = connection.execute(sa.select(ANNOTATOR)).one()._mapping
        connection.execute(sa.delete(ANNOTATOR))
    desk.next()
    with filled.reading() as connection:
        after = connection.execute(sa.select(ANNOTATOR)).one()._mapping
        assert connection.execute(sa.select(sa.func.count()).where(SLOT.c.purpose == "gold")).scalar_one() <= 4
    for name in ("done", "skipped", "repeated"):
        assert before[name] == after[name]
    assert before["checked"] <= after["checked"] <= before["checked"] + 1  # `next` may have given one


def test_checks_change_no_count_of_the_queue(filled: Store) -> None:
    desk = Desk(filled, "ada", LABELS)
    asked = sum(showing.purpose == "ask" for showing in work(desk, 30))
    counts = queue(filled, k=1)
    assert (counts.complete, counts.wanted, counts.leased) == (asked, 200 - asked, 0)
    assert desk.progress() == Progress(done=30, skipped=0, left=200 - asked)


def test_disagreement_on_checks_asks_nobody_else(filled: Store) -> None:
    labels = Labels(gold_share=0.5, annotators_per_pair=2, annotators_on_disagreement=3)
    work(Desk(filled, "ada", labels), 30, lambda _: "left")
    work(Desk(filled, "bob", labels), 30, lambda _: "tie")
    with filled.reading() as connection:
        golden = sa.select(GOLD.c.pair_id)
        more = sa.select(sa.func.count()).where(SLOT.c.purpose == "more", SLOT.c.pair_id.in_(golden))
        assert connection.execute(more).scalar_one() == 0


def test_marking_takes_a_pair_out_of_the_queue_for_good(filled: Store, tmp_path: Path) -> None:
    first = Desk(filled, "ada", Labels()).next()
    assert first
    other = next(candidate(n) for n in range(200) if candidate(n)["pair_id"] != first.pair_id)
    gold.mark(filled, str(other["pair_id"]), "b", "root")
    assert queue(filled, k=1).wanted == 199
    load(filled, tmp_path / "c.parquet", k=2)
    assert queue(filled, k=2).wanted == 199 + 199
    with pytest.raises(StoreError, match="already"):
        gold.mark(filled, str(other["pair_id"]), "a", "root")
    with pytest.raises(StoreError, match="no such pair"):
        gold.mark(filled, "b2:0", "a", "root")
    with pytest.raises(StoreError, match="No such answer"):
        gold.mark(filled, str(other["pair_id"]), "left", "root")


def test_the_same_file_again_adds_nothing(filled: Store, tmp_path: Path) -> None:
    assert gold.load(filled, gold_file(tmp_path, 8), "root") == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "q", "better": "a"}', "row 1: Object missing required field `worse`"),
        ('{"prompt": "q", "better": "a", "worse": "a"}', "better and worse are the same"),
        ('{"prompt": "q", "better": "a", "worse": "b", "answer": "left"}', "Invalid enum value 'left'"),
        ('{"prompt": "q", "better": "a", "worse": "b", "more": 1}', "unknown field `more`"),
        ("[", "not a readable file"),
        ("3", "Expected `object`"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_added(store: Store, tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "gold.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(ContractError, match=said):
        gold.load(store, file, "root")
    assert gold.count(store) == 0
