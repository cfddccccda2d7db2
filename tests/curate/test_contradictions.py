"""Votes both ways on one pair, worked by hand."""

import math
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest

from curate.recipe import Contradictions, Recipe
from curate.rules import RULES
from ingest.errors import RecipeError
from ingest.schema import FEEDBACK

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


def cast(events: dict[str, str], kind: str = "annotator") -> list[Row]:
    """Return feedback: event -> who cast it."""
    return [
        dict.fromkeys(FEEDBACK.names) | {"feedback_id": event, "rater_id": rater, "rater_kind": kind}
        for event, rater in events.items()
    ]


def test_two_votes_of_the_unreliable_lose_against_the_reliable() -> None:
    """On 40 other pairs a, b and c agree and d and e say the other thing half of the time; here d and e outvote a."""
    rows: list[Row] = []
    events: dict[str, str] = {}
    for n in range(40):
        against = ["d", "e"] if n % 2 else []
        for side, voters in ((YES, ["a", "b", "c", *(r for r in "de" if r not in against)]), (NO, against)):
            if voters:
                ids = [f"{n}{rater}" for rater in voters]
                events |= dict(zip(ids, voters, strict=True))
                rows.append(make_triple(f"w{n}", **side, event_ids=ids, n_agree=len(ids), n_votes=5))
    right = make_triple(**YES, event_ids=["xa"], n_agree=1)
    wrong = make_triple(**NO, event_ids=["xd", "xe"], n_agree=2)
    events |= {"xa": "a", "xd": "d", "xe": "e"}
    judged = judge_triples([*rows, right, wrong], feedback=cast(events))
    assert judged.first(right) is None
    assert judged.first(wrong) == "contradiction_minority"
    row = judged.curated[right["triple_id"]]
    assert (row["n_votes"], row["n_agree"]) == (3, 1)
    assert 0.0 < row["label_noise"] < 0.2
    plain = judge_triples([*rows, right, wrong])
    assert plain.first(wrong) is None, "counted, two against one win"


def test_a_deadlock_of_equals_stays_one_where_they_are_known() -> None:
    rows = [make_triple(**YES, event_ids=["1"]), make_triple(**NO, event_ids=["2"])]
    judged = judge_triples([*rows, *varied(2)], feedback=cast({"1": "a", "2": "b"}))
    detail = "1 for, 1 against, right with probability 0.50 by its raters"
    assert [judged.dropped[row["triple_id"]] for row in rows] == [[("contradiction_tied", True, detail)]] * 2


def test_votes_of_nobody_known_count_as_those_of_a_newcomer() -> None:
    """Two known raters, 1 : 1, and three unknown for yes: odds (0.8 / 0.2)^3 = 64 to 1 before anything is learnt."""
    rows = [make_triple(**YES, event_ids=["1", "x", "y", "z"], n_agree=4), make_triple(**NO, event_ids=["2"])]
    judged = judge_triples([*rows, *varied(2)], feedback=cast({"1": "a", "2": "b"}))
    assert judged.first(rows[0]) is None
    assert judged.curated[rows[0]["triple_id"]]["label_noise"] < 1 / 64


def test_one_rater_has_one_voice_however_often_they_are_heard() -> None:
    """c says no by four rules, a and b say yes once: counted 4 to 2, weighed 1 to 2: odds 4 to 1."""
    yes = [make_triple(**YES, event_ids=["1", "2"], n_agree=2)]
    no = [make_triple(**NO, rule=rule, event_ids=[rule]) for rule in ("choice", "edit", "rank", "rating")]
    known = cast({"1": "a", "2": "b", **dict.fromkeys(("choice", "edit", "rank", "rating"), "c")})
    judged = judge_triples([*yes, *no, *varied(2)], feedback=known)
    assert judged.first(yes[0]) is None
    assert "contradiction_minority" in {name for name, _, _ in judged.dropped[no[0]["triple_id"]]}


def test_a_circle_is_marked_and_dropped_when_asked() -> None:
    """A over B, B over C, C over A; D, over which A is preferred, is in no circle."""
    circle = [make_triple(chosen=w, rejected=r) for w, r in (("A", "B"), ("B", "C"), ("C", "A"))]
    outside = make_triple(chosen="A", rejected="D")
    judged = judge_triples([*circle, outside, *varied(2)])
    assert [judged.curated[row["triple_id"]]["in_cycle"] for row in (*circle, outside)] == [True, True, True, False]
    recipe = Recipe(contradictions=Contradictions(cycles="drop"))
    judged = judge_triples([*circle, outside, *varied(2)], recipe)
    assert [judged.first(row) for row in (*circle, outside)] == ["preference_cycle"] * 3 + [None]


def test_scores_and_margins_where_three_are_compared() -> None:
    """A over B twice, B over C once. Margin = max(0, 2 P - 1); a margin that the signal states stays."""
    first = make_triple(chosen="A", rejected="B", n_agree=2, n_votes=2)
    second = make_triple(chosen="B", rejected="C", margin=0.125)
    other = make_triple("Bye?")
    judged = judge_triples([first, second, other, *varied(2)])
    row = judged.curated[first["triple_id"]]
    a, b = row["chosen_score"], row["rejected_score"]
    p = 1 / (1 + math.exp(b - a))
    assert row["margin"] == pytest.approx(2 * p - 1, abs=2e-6)
    c = judged.curated[second["triple_id"]]["rejected_score"]
    q = 1 / (1 + math.exp(c - b))
    # Where the derivative of the log posterior is 0: votes won and lost beyond what is expected equal the score.
    assert [2 * (1 - p), 1 - q - 2 * (1 - p), q - 1] == pytest.approx([a, b, c], abs=1e-5)
    assert judged.curated[second["triple_id"]]["margin"] == 0.125
    alone = judged.curated[other["triple_id"]]
    assert (alone["chosen_score"], alone["margin"], alone["in_cycle"]) == (None, None, False)


def test_gold_items_break_a_deadlock(tmp_path: Path) -> None:
    """One vote each way is a tie; but a was right in 80 gold items and b in none: odds 24 to 1 for a."""
    file = tmp_path / "reliability.parquet"
    checks = pl.DataFrame({"rater_id": ["a", "b"], "n_right": [80, 0], "n_wrong": [0, 80]})
    checks.write_parquet(file)
    rows = [make_triple(**YES, event_ids=["1"]), make_triple(**NO, event_ids=["2"])]
    weighed = Recipe(
        rules=tuple(rule.name for rule in RULES if rule.name != "weak_signal"),
        contradictions=Contradictions(reliability=str(file)),
    )
    judged = judge_triples([*rows, *varied(2)], weighed, feedback=cast({"1": "a", "2": "b"}))
    assert judged.first(rows[0]) is None
    assert judged.first(rows[1]) == "contradiction_minority"
    assert judged.curated[rows[0]["triple_id"]]["label_noise"] == pytest.approx(0.04, abs=0.002)
    file.write_bytes(b"no Parquet")
    with pytest.raises(RecipeError, match="is no file of `python -m app quality --output`"):
        judge_triples([*rows, *varied(2)], weighed)
