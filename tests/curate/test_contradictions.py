"""Votes both ways on one pair, worked by hand."""

from fractions import Fraction

import pytest

from .conftest import Row, judge_triples, make_triple, varied

YES = {"chosen": "yes", "rejected": "no"}
NO = {"chosen": "no", "rejected": "yes"}


@pytest.mark.parametrize(
    ("yes", "no", "kept", "n_votes", "n_agree", "agreement", "noise"),
    [
        (1, 0, "yes", 1, 1, 1.0, None),
        (5, 0, "yes", 5, 5, 1.0, Fraction(1, 7)),
        (2, 1, "yes", 3, 2, Fraction(2, 3), Fraction(2, 5)),
        (1, 3, "no", 4, 3, Fraction(3, 4), Fraction(2, 6)),
    ],
    ids=["one vote", "five of five", "two of three", "one against three"],
)
def test_majority(
    yes: int, no: int, kept: str, n_votes: int, n_agree: int, agreement: Fraction | float, noise: Fraction | None
) -> None:
    """agreement = for / all; noise = (against + 1) / (all + 2): 2 of 3 gives (1 + 1) / (3 + 2) = 0.4."""
    rows = [make_triple(**side, n_agree=n, n_votes=n) for side, n in ((YES, yes), (NO, no)) if n]
    judged = judge_triples([*rows, *varied(2)])
    (row,) = [row for row in judged.curated.values() if row["prompt"][0]["content"] == "Hello?"]
    assert row["chosen"][0]["content"] == kept
    assert (row["n_votes"], row["n_agree"]) == (n_votes, n_agree)
    assert row["agreement"] == pytest.approx(float(agreement), abs=1e-15)
    assert row["label_noise"] == (None if noise is None else pytest.approx(float(noise), abs=1e-15))
    lost = [reasons for key, reasons in judged.dropped.items() if key in {r["triple_id"] for r in rows}]
    expected = [[("contradiction_minority", True, f"{min(yes, no)} for, {max(yes, no)} against")]] if no and yes else []
    assert lost == expected


@pytest.mark.parametrize("votes", [1, 2], ids=["one each", "two each"])
def test_deadlock_drops_both(votes: int) -> None:
    rows = [make_triple(**YES, n_agree=votes), make_triple(**NO, n_agree=votes)]
    judged = judge_triples([*rows, *varied(2)])
    for row in rows:
        assert judged.dropped[row["triple_id"]] == [
            ("contradiction_tied", True, f"{votes} for, {votes} against"),
        ]


def test_duplicates_vote_too() -> None:
    """A choice and an edit for yes make two votes against one for no; the duplicate of yes is not a second row."""
    choice, edit, against = make_triple(**YES), make_triple(**YES, rule="edit"), make_triple(**NO)
    judged = judge_triples([choice, edit, against, *varied(2)])
    assert sorted(filter(None, (judged.first(row) for row in (choice, edit, against)))) == [
        "contradiction_minority",
        "exact_duplicate",
    ]
    (row,) = [judged.curated[key] for key in (choice["triple_id"], edit["triple_id"]) if key in judged.curated]
    assert (row["n_votes"], row["n_agree"]) == (3, 2)


def test_a_duplicate_of_a_deadlock_has_both_reasons() -> None:
    """One vote each by choice and edit for yes, two at once for no: 2 against 2."""
    rows: list[Row] = [
        make_triple(**YES),
        make_triple(**YES, rule="edit", strength="weak"),
        make_triple(**NO, n_agree=2),
    ]
    judged = judge_triples([*rows, *varied(2)])
    assert [[name for name, _, _ in judged.dropped[row["triple_id"]]] for row in rows] == [
        ["contradiction_tied"],
        ["exact_duplicate", "contradiction_tied"],
        ["contradiction_tied"],
    ]


def test_other_prompts_and_other_pairs_do_not_contradict() -> None:
    rows = [
        make_triple(**YES),
        make_triple("Bye?", **NO),
        make_triple(chosen="no", rejected="maybe"),
        make_triple(chosen="maybe", rejected="yes"),
    ]
    judged = judge_triples([*rows, *varied(2)])
    assert not judged.dropped


def test_a_triple_without_a_count_is_one_vote() -> None:
    row = make_triple(**YES, n_agree=None, n_votes=None)
    judged = judge_triples([row, *varied(2)])
    assert judged.curated[row["triple_id"]]["n_votes"] == 1
