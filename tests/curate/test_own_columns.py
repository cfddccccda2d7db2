"""Own Python columns: a function's values reach the recipe's own rules, or an error names column and function."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from curate.recipe import Recipe
from ingest.errors import RecipeError, RuleError

from .conftest import Judged, Row, judge_triples, make_triple, varied

MODULE = """
import pyarrow as pa
import pyarrow.compute as pc

NOT_A_FUNCTION = 1


def shouting(batch):
    said = pc.struct_field(pc.list_element(batch.column("chosen"), 0), "content")
    return pc.and_(pc.equal(said, pc.utf8_upper(said)), pc.match_substring_regex(said, "[A-Z]"))


def numbers(batch):
    return pa.array(range(batch.num_rows))


def too_few(batch):
    return pa.array([1] * (batch.num_rows - 1))


def a_list(batch):
    return [1] * batch.num_rows


def broken(batch):
    raise ZeroDivisionError("by nothing")
"""
RULE = {"name": "shouts", "version": 1, "reason": "It shouts."}


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_scores.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))


def judged(function: str, rows: Sequence[Row], name: str = "loud", drop_if: str = "loud") -> Judged:
    values = {
        "own_columns": [{"name": name, "version": 1, "function": function}],
        "own_rules": [{**RULE, "drop_if": drop_if, "detail": "'loud'"}],
    }
    return judge_triples(rows, Recipe.model_validate(values))


def test_an_own_rule_judges_by_an_own_column() -> None:
    row = make_triple(chosen="BECAUSE I SAID SO", strength="strong")
    found = judged("my_scores:shouting", [row, *varied(3)])
    assert found.dropped == {row["triple_id"]: [("shouts", True, "loud")]}
    assert len(found.curated) == 3


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        ("no_such_module:f", RecipeError, "own_columns.loud: no_such_module:f cannot be imported: No module named"),
        ("my_scores:absent", RecipeError, "own_columns.loud: my_scores:absent cannot be imported"),
        ("my_scores:NOT_A_FUNCTION", RecipeError, "my_scores:NOT_A_FUNCTION is no function but a int"),
        ("my_scores:too_few", RuleError, "gave an array of 2 for 3 triples"),
        ("my_scores:a_list", RuleError, "gave a list for 3 triples, expected a pyarrow.Array"),
        ("my_scores:broken", RuleError, "ZeroDivisionError: by nothing"),
    ],
)
def test_a_function_that_gives_no_column(function: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        judged(function, varied(3))


def test_a_column_that_rules_see_already() -> None:
    with pytest.raises(RecipeError, match="triples have chosen_chars already"):
        judged("my_scores:numbers", varied(3), name="chosen_chars", drop_if="chosen_chars > 1")


@pytest.mark.parametrize("function", ["my_scores", "my_scores:", ":f", "my scores:f", "a:b.c"])
def test_a_name_that_is_no_function(function: str) -> None:
    with pytest.raises(ValueError, match="own_columns"):
        judged(function, varied(1))
