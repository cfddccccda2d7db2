"""A recipe's own rules and token limit: one honest expression each, or an error that names it."""

import re
from pathlib import Path
from typing import Any

import pytest

from curate import curation, expressions
from curate.recipe import Recipe
from ingest.errors import RecipeError, RuleError

from .conftest import judge_triples, make_triple, varied

OWN = {"name": "names_acme", "version": 3, "reason": "It names a competitor."}


def recipe(drop_if: str, **more: str) -> Recipe:
    return Recipe.model_validate({"own_rules": [{**OWN, "drop_if": drop_if, **more}]})


def test_an_own_rule_drops_with_its_reason() -> None:
    row = make_triple(chosen="Acme is better")
    own = recipe(
        "contains(lower(chosen[1].content), 'acme') -- whole words?", detail="concat(chosen_chars, ' characters')"
    )
    assert judge_triples([row, *varied(2)], own).dropped == {row["triple_id"]: [("names_acme", True, "14 characters")]}


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("true) FROM judged; DROP TABLE ledger; SELECT (true", "is no expression"),
        ("true) FROM judged; SELECT (true", "is a statement or several expressions"),
        ("true), (false", "is a statement or several expressions"),
        ("true) FROM judged WHERE (true", "is no expression"),
        ("(SELECT true)", "holds a subquery"),
        ("EXISTS (FROM read_text('/etc/hostname'))", "holds a subquery"),
        ("count(*) OVER () > 1", "holds a window"),
        ("random() < 0.5", "calls random()"),
        ("first_time < now()", "calls now()"),
        ("first_time < current_date", "calls current_date()"),
        ("first_time < Current_Timestamp", "calls "),
        ("age(first_time) > INTERVAL 1 DAY", "calls age()"),
        ("first_time < ago(INTERVAL 1 DAY)", "calls ago()"),
        ("user = 'me'", "calls user()"),
        ("getenv('HOME') = ''", "calls getenv()"),
        ("count(*) > 1", "calls count_star()"),
        ("chosen_chars > $limit", "holds a parameter"),
        ("chosen_chars >", "is no expression"),
    ],
)
def test_what_is_no_expression_over_one_row(sql: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        expressions.check(sql)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("colour = 'red'", "Rule names_acme@v3 cannot be run: .*colour"),
        ("chosen_chars", "Rule names_acme@v3 gives INTEGER, expected true or false"),
        ("margin > 1", "Rule names_acme@v3 gave NULL"),
        ("chosen_chars > 0", "Rule names_acme@v3 drops all 3 triples"),
        ("chosen[1].content::INTEGER > 1", "Rule names_acme@v3 cannot be run: .*convert"),
    ],
)
def test_an_own_rule_that_cannot_be_right_is_named(sql: str, message: str) -> None:
    with pytest.raises(RuleError, match=f"(?is){message}"):
        judge_triples(varied(3), recipe(sql))


@pytest.mark.parametrize(("most", "dropped"), [(18, True), (19, False)])
def test_too_many_tokens(most: int, dropped: bool, sample: Path) -> None:
    """By the tokenizer of data/sample: tokens of the prompt and of the longer response, 3 a message."""
    from tokenizers import Tokenizer

    tokenizer: Any = Tokenizer.from_file(str(sample / "model" / "tokenizer.json"))
    row = make_triple("How do I pair a new lamp?", "Open the app.", "Hold the button for ten seconds and wait.")
    prompt, longer = (len(tokenizer.encode(row[side][0]["content"]).ids) for side in ("prompt", "rejected"))
    limit = {"folder": str(sample / "model"), "max_tokens": prompt + longer + 6 - (most == 18), "message_tokens": 3}
    judged = judge_triples([row, make_triple("A?", "b", "c")], Recipe.model_validate({"tokens": limit}))
    assert (judged.first(row) == "too_many_tokens") == dropped


def test_a_tokenizer_that_cuts_and_pads_counts_all_the_same(sample: Path, tmp_path: Path) -> None:
    """tokenizer.json says to cut at 4 tokens and to fill up to 64; one text has 100 tokens or more, the other fewer."""
    from tokenizers import Tokenizer

    tokenizer: Any = Tokenizer.from_file(str(sample / "model" / "tokenizer.json"))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    long, short = make_triple("How?", "lamp " * 100, "Yes."), make_triple("A" * 20, "b", "c")
    limit = {"folder": str(tmp_path), "max_tokens": 100, "message_tokens": 3}
    judged = judge_triples([long, short, *varied(2)], Recipe.model_validate({"tokens": limit}))
    assert (judged.first(long), judged.first(short)) == ("too_many_tokens", None)


@pytest.mark.parametrize("name", ["near_duplicate", "too_many_tokens"])
def test_an_own_rule_may_not_be_called_like_another_reason(name: str, sample: Path) -> None:
    """The ledger tells reasons apart by their names: each drop would be there twice."""
    own = {**OWN, "name": name, "drop_if": "chosen_chars > 1000"}
    tokens = {"folder": str(sample / "model")}
    with pytest.raises(RecipeError, match=f"own_rules: {name} is a reason of Winnow"):
        judge_triples(varied(3), Recipe.model_validate({"own_rules": [own], "tokens": tokens}))


def test_the_hour_of_a_time_is_that_of_utc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine of another time zone the same own rule drops the same triples."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    with curation._connect(tmp_path / "spill") as connection:
        (found,) = connection.execute(
            "SELECT current_setting('TimeZone'), hour(TIMESTAMPTZ '2026-10-01 12:00:00+00')"
        ).fetchall()
    assert found == ("UTC", 12)


def test_no_tokenizer() -> None:
    with pytest.raises(RecipeError, match=r"No tokenizer can be read from nowhere/tokenizer\.json"):
        judge_triples(varied(3), Recipe.model_validate({"tokens": {"folder": "nowhere"}}))
