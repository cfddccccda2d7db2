"""Of triples that are alike on every side the best stays; what differs on one side is another judgement."""

import pytest

from .conftest import Row, judge_triples, make_triple, varied

ASKED = "How do I set the heating of the living room to nineteen degrees for the night, please?"
GOOD = "Open the plan of the room, choose the night, and set nineteen degrees with the small wheel on the right."
BAD = "Somebody of our team will surely be happy to set the heating of the living room for you one day, good bye."


def alike(better: bool = False, prompt: str = ASKED, chosen: str = GOOD, rejected: str = BAD, **columns: object) -> Row:
    return make_triple(prompt, chosen, rejected, strength="strong" if better else "weak", **columns)


BEST = alike(better=True)


def test_the_better_one_stays_and_the_detail_names_it() -> None:
    other = alike(chosen=GOOD.replace("right", "left"))
    words = GOOD.lower().replace(",", "").replace(".", "").split()
    shared, triples = len(words) - 3, len(words) - 2  # only the last triple holds the last word
    expected = shared / (2 * triples - shared)
    judged = judge_triples([other, BEST, *varied(2)])
    detail = f"like {BEST['triple_id']}: question 1.00, chosen {expected:.2f}, rejected 1.00"
    assert judged.dropped == {other["triple_id"]: [("near_duplicate", True, detail)]}
    assert judged.curated[BEST["triple_id"]]["n_votes"] == 1


@pytest.mark.parametrize(
    "other",
    [
        alike(prompt=ASKED.upper() + " ?"),
        alike(prompt=f"{ASKED} Thanks!"),
        alike(rejected=BAD.replace(",", " -")),
    ],
    ids=["case and punctuation", "a word more", "punctuation of the rejected"],
)
def test_near_duplicates(other: Row) -> None:
    assert judge_triples([BEST, other, *varied(2)]).first(other) == "near_duplicate"


@pytest.mark.parametrize(
    "other",
    [
        alike(prompt="What does the small wheel on the right of the hub do, and may I turn it at night?"),
        alike(chosen="Nineteen degrees is a good choice. Press the wheel twice, and the night begins at ten."),
        alike(rejected="No."),
        alike(chosen=BAD, rejected=GOOD.replace("right", "left")),
        alike(tools='[{"type":"function"}]', prompt_hash="b2:with tools", triple_id="b2:other tools"),
        alike(prompt=ASKED.replace("nineteen", "20").replace("night", "day").replace("living", "bed")),
    ],
    ids=["other question", "other chosen", "other rejected", "the other way round", "other tools", "three other words"],
)
def test_another_judgement(other: Row) -> None:
    assert judge_triples([BEST, other, *varied(2)]).first(other) is None


def test_another_system_message_is_another_triple() -> None:
    def under(system: str) -> Row:
        said = {"role": "system", "content": system, "tool_calls": None, "tool_call_id": None, "name": None}
        return make_triple([said, *BEST["prompt"]], GOOD, BAD)

    assert not judge_triples([under("Be short."), under("Be polite."), *varied(2)]).dropped


def test_likeness_is_not_handed_on() -> None:
    """Each variant changes one more of 40 words, each word in three of the 38 triples: 35 / 41 = 0.85 of the one before
    in common; of the best 35 / 41, then 32 / 44 = 0.73, then 29 / 47 = 0.62, which is too little: that one stays."""
    words = [f"word{n}" for n in range(40)]
    rows = []
    for step in range(5):
        said = [f"other{n}" if n in (5, 12, 19, 26, 33)[:step] else word for n, word in enumerate(words)]
        rows.append(make_triple(ASKED, " ".join(said), BAD, n_agree=9 - step))
    judged = judge_triples([*rows, *varied(2)])
    assert [judged.first(row) for row in rows] == [None, "near_duplicate", "near_duplicate", None, "near_duplicate"]


def test_a_dropped_triple_stands_in_for_nothing() -> None:
    best = alike(better=True, consent=None)
    other = alike(chosen=GOOD.replace("right", "left"))
    judged = judge_triples([best, other, *varied(2)])
    assert judged.first(best) == "missing_consent"
    assert judged.first(other) is None
