"""One judgement that several rules made is one row: the best, with everyone's evidence."""

from datetime import timedelta
from typing import Any

import pytest

from .conftest import NOON, judge_triples, make_triple, varied

LATER = NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"strength": "strong"}, {"strength": "medium", "n_agree": 9, "last_time": LATER}),
        ({"strength": "medium"}, {"strength": "weak"}),
        ({"strength": "weak"}, {"strength": None}),
        ({"n_agree": 2}, {"n_agree": 1, "last_time": LATER}),
        ({"last_time": LATER}, {}),
        ({}, {"last_time": None}),
        ({"triple_id": "b2:0"}, {"triple_id": "b2:1"}),
    ],
    ids=["strong", "medium", "weak", "votes before time", "later", "some time before none", "smaller id"],
)
@pytest.mark.parametrize("swap", [False, True], ids=["better first", "worse first"])
def test_the_best_stays(better: dict[str, Any], worse: dict[str, Any], swap: bool) -> None:
    names = ("choice", "edit") if swap else ("edit", "choice")
    good, bad = make_triple(**better, rule=names[0]), make_triple(**worse, rule=names[1])
    judged = judge_triples([bad, good, *varied(2)] if swap else [good, bad, *varied(2)])
    assert judged.first(good) is None
    assert judged.dropped == {
        bad["triple_id"]: [("exact_duplicate", True, f"the same judgement as {good['triple_id']}")]
    }


def test_the_survivor_takes_over_events_users_votes_and_times() -> None:
    rows = [
        make_triple(event_ids=["e3", "e1"], user_ids=["u:2"], n_agree=2, first_time=NOON, last_time=NOON),
        make_triple(rule="edit", strength="weak", event_ids=["e2"], user_ids=None, first_time=LATER, last_time=LATER),
        make_triple(rule="label", strength="weak", event_ids=["e1"], user_ids=["u:1"], first_time=None),
    ]
    judged = judge_triples([*rows, *varied(2)])
    row = judged.curated[rows[0]["triple_id"]]
    assert row["event_ids"] == ["e1", "e2", "e3"]
    assert row["user_ids"] == ["u:1", "u:2"]
    assert (row["n_votes"], row["n_agree"]) == (4, 4)
    assert (row["first_time"], row["last_time"]) == (NOON, LATER)


def test_without_duplicates_evidence_stays_as_it_is() -> None:
    row = make_triple(event_ids=["b", "a"], user_ids=None)
    judged = judge_triples([row, *varied(2)])
    assert judged.curated[row["triple_id"]]["event_ids"] == ["b", "a"]
    assert judged.curated[row["triple_id"]]["user_ids"] is None


def test_exact_means_exact() -> None:
    """A capital or a space makes another text, whose votes are its own; it is a near duplicate at most."""
    rows = [make_triple(), make_triple(chosen="Yes"), make_triple(chosen="yes "), make_triple(prompt="hello?")]
    judged = judge_triples([*rows, *varied(2)])
    assert {name for reasons in judged.dropped.values() for name, _, _ in reasons} == {"near_duplicate"}
    (kept,) = (row for row in judged.curated.values() if row["chosen"][0]["content"].strip().lower() == "yes")
    assert kept["n_votes"] == 1
