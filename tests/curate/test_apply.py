"""Every triple stands or is in the ledger with every reason; a rule that cannot be right ends the run."""

from dataclasses import replace

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.apply import apply
from curate.recipe import Recipe
from curate.rules import BY_NAME, RULES, Rule
from ingest.errors import ContractError, RuleError
from ingest.schema import FEEDBACK, TRIPLE

from .conftest import Row, judge_triples, make_triple, varied


def run(rows: list[Row], *rules: Rule) -> None:
    with duckdb.connect() as connection:
        connection.register("triples", pa.Table.from_pylist(rows, schema=TRIPLE))
        connection.register("feedback", FEEDBACK.empty_table())
        apply(connection, rules, Recipe())


def test_all_reasons_are_kept_and_the_first_is_counted() -> None:
    """Empty, cut off and without consent: three reasons, and empty_side comes first in the recipe."""
    row = make_triple(chosen=" ", chosen_finish_reason="length", consent=None)
    judged = judge_triples([row, *varied(3)])
    assert judged.dropped == {
        row["triple_id"]: [
            ("empty_side", True, "chosen is empty"),
            ("truncated_response", False, "chosen: length"),
            ("missing_consent", False, "no consent is stated"),
        ]
    }


def test_a_consent_that_is_not_allowed_is_not_repeated() -> None:
    row = make_triple(consent="by jane@example.com")
    [(_, _, detail)] = judge_triples([row, *varied(3)]).dropped[row["triple_id"]]
    assert detail == "consent is not among those allowed"


def test_the_order_of_the_recipe_decides_which_reason_is_first() -> None:
    row = make_triple(chosen=" ", consent=None)
    judged = judge_triples([row, *varied(3)], Recipe(rules=("missing_consent", "empty_side")))
    assert judged.first(row) == "missing_consent"


def test_a_dropped_triple_neither_votes_nor_survives() -> None:
    """Without consent, two votes for `no` do not outvote one for `yes`, nor does a stronger duplicate replace it."""
    kept = make_triple(strength="weak", rule="thumb")
    unusable = make_triple(strength="strong", consent=None)
    against = make_triple(chosen="no", rejected="yes", n_agree=2, consent=None)
    judged = judge_triples([kept, unusable, against, *varied(2)])
    assert [judged.first(row) for row in (kept, unusable, against)] == [None, "missing_consent", "missing_consent"]
    assert judged.curated[kept["triple_id"]]["n_votes"] == 1


def test_null_verdict_names_rule_and_rows() -> None:
    rule = replace(RULES[0], name="odd", version=3, drop_if="chosen_finish_reason = 'length'")
    row = make_triple(chosen_finish_reason=None)
    fine = make_triple("Other?", chosen_finish_reason="stop")
    with pytest.raises(RuleError, match=rf"Rule odd@v3 gave NULL.*for 1 triples: {row['triple_id']}\. Make"):
        run([row, fine], rule)


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        ([make_triple(consent=None), make_triple("Other?", consent="none")], "missing_consent@v2"),
        ([make_triple(), make_triple(chosen="no", rejected="yes")], "contradiction_tied@v2"),
    ],
    ids=["row rule", "deadlock"],
)
def test_a_rule_that_drops_everything_is_named(rows: list[Row], rule: str) -> None:
    with pytest.raises(RuleError, match=f"Rule {rule} drops all 2 triples.*Seen: "):
        judge_triples(rows)


def test_two_rules_with_one_parameter_name() -> None:
    with pytest.raises(RuleError, match="length_limit@v1 uses the parameter \\$max_chars of another rule"):
        run(varied(2), BY_NAME["too_long"], replace(BY_NAME["too_long"], name="length_limit"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([make_triple(), make_triple()], "2 triples have 1 different triple_ids"),
        ([make_triple(prompt_group=None)], "1 triples lack"),
        ([make_triple(chosen_hash=None)], "1 triples lack"),
        ([make_triple(n_agree=0)], "1 triples lack"),
    ],
    ids=["repeated id", "no prompt group", "no hash", "no vote"],
)
def test_triples_that_no_rule_can_judge(rows: list[Row], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        judge_triples(rows)


TEXTS = st.sampled_from(["yes", "YES it is", "no", "maybe", " "])
TRIPLES = st.builds(
    make_triple,
    prompt=st.sampled_from(["Hello?", "Bye?"]),
    chosen=TEXTS,
    rejected=TEXTS,
    rule=st.sampled_from(["choice", "edit"]),
    strength=st.sampled_from(["strong", "weak", None]),
    n_agree=st.integers(1, 3),
    consent=st.sampled_from(["training", "training", None]),
    chosen_finish_reason=st.sampled_from(["stop", "length", None]),
)


@settings(max_examples=15, deadline=None)
@given(st.lists(TRIPLES, max_size=20, unique_by=lambda row: row["triple_id"]), st.randoms(use_true_random=False))
def test_in_is_curated_plus_dropped_whatever_the_order(rows: list[Row], random: "object") -> None:
    rows = [*rows, *varied(1, start=7)]  # one good row, so that no rule drops everything
    judged = judge_triples(rows)
    assert sorted(row["triple_id"] for row in rows) == sorted([*judged.curated, *judged.dropped])
    assert all(sum(first for _, first, _ in reasons) == 1 for reasons in judged.dropped.values())
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert judge_triples(shuffled) == judged


@settings(max_examples=25, deadline=None)
@given(st.lists(TRIPLES, max_size=20, unique_by=lambda row: row["triple_id"]))
def test_against_plain_python(rows: list[Row]) -> None:
    """The survivors of votes and duplicates, worked out with dictionaries instead of SQL."""
    rows = [*rows, *varied(1, start=7)]
    judged = judge_triples(rows)

    def said(row: Row, side: str) -> str:
        return str(row[side][0]["content"])

    usable = [
        row
        for row in rows
        if all(said(row, side).strip() for side in ("chosen", "rejected"))
        and said(row, "chosen") != said(row, "rejected")
        and row["chosen_finish_reason"] != "length"
        and row["consent"] == "training"
    ]
    votes: dict[tuple[str, str, str], int] = {}
    for row in usable:
        key = (said(row, "prompt"), said(row, "chosen"), said(row, "rejected"))
        votes[key] = votes.get(key, 0) + row["n_agree"]
    won = {key: n for key, n in votes.items() if n > votes.get((key[0], key[2], key[1]), 0)}
    kept = {
        (said(row, "prompt"), said(row, "chosen"), said(row, "rejected")): (row["n_agree"], row["n_votes"])
        for row in judged.curated.values()
    }
    assert kept == {key: (n, n + votes.get((key[0], key[2], key[1]), 0)) for key, n in won.items()}
    assert len(kept) == len(judged.curated), "one row a judgement"
