"""The registry of rules: honest about versions, and each rule with rows that it drops and rows that it keeps."""

import ast
import hashlib
import inspect
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curate import balance, balance_rows
from curate.apply import SET_REASONS
from curate.minhash import VERSION
from curate.recipe import Recipe
from curate.rules import BY_NAME, RULES, Rule
from curate.statements import statement

from .conftest import judge_triples, make_triple, varied

TOOL_CALL = {"role": "assistant", "content": None, "tool_calls": '[{"name":"f"}]', "tool_call_id": None, "name": None}
BEYOND_LIMIT = "x" * (32768 - 2 - 3 + 1)
"""With the prompt "Hm" and "yes" as the longer response one character too many."""

EXAMPLES: list[tuple[str, str, dict[str, Any], bool]] = [
    ("empty_side", "chosen without text", {"chosen": ""}, True),
    ("empty_side", "rejected of white space", {"rejected": " \n\u3000\xa0"}, True),
    ("empty_side", "only a zero-width space", {"chosen": "\u200b"}, True),
    ("empty_side", "no message at all", {"chosen": []}, True),
    ("empty_side", "a full stop", {"chosen": "."}, False),
    ("empty_side", "a tool call without text", {"chosen": [TOOL_CALL]}, False),
    ("identical_pair", "case", {"chosen": "Yes.", "rejected": "YES."}, True),
    ("identical_pair", "white space, no-break space", {"chosen": "a  b\n", "rejected": "a\xa0b"}, True),
    ("identical_pair", "composed and decomposed", {"chosen": "caf\u00e9", "rejected": "cafe\u0301"}, True),
    ("identical_pair", "an accent differs", {"chosen": "cafe", "rejected": "caf\u00e9"}, False),
    ("identical_pair", "a space is missing", {"chosen": "a b", "rejected": "ab"}, False),
    ("truncated_response", "chosen ran out of tokens", {"chosen_finish_reason": "length"}, True),
    ("truncated_response", "rejected was filtered", {"rejected_finish_reason": "content_filter"}, True),
    ("truncated_response", "both stopped", {"chosen_finish_reason": "stop", "rejected_finish_reason": "stop"}, False),
    ("truncated_response", "nothing is known", {}, False),
    ("too_long", "one character over", {"prompt": "Hm", "rejected": BEYOND_LIMIT + "yes"}, True),
    ("too_long", "exactly the limit", {"prompt": "Hm", "rejected": BEYOND_LIMIT + "ye"}, False),
    ("too_long", "sides are not added up", {"chosen": "a" * 30000, "rejected": "b" * 30000}, False),
    ("missing_consent", "none stated", {"consent": None}, True),
    ("missing_consent", "refused", {"consent": "none"}, True),
    ("missing_consent", "given", {"consent": "training"}, False),
    ("missing_consent", "given to a version of a policy", {"consent": "training@2026-03"}, False),
    ("weak_signal", "asked for another", {"signal": "regenerate", "strength": "weak"}, True),
    ("weak_signal", "strength unknown", {"strength": None}, True),
    ("weak_signal", "thumbs of siblings", {"signal": "thumb", "strength": "medium"}, False),
]

HASHES = {
    "empty_side@v1": "8181627e39e6f054",
    "identical_pair@v1": "11ba9124a6da2fcf",
    "truncated_response@v1": "7c0b62f5b719b1c8",
    "too_long@v1": "c4694b13bd879270",
    "missing_consent@v2": "02f75f4687fa50b4",
    "weak_signal@v1": "8db3c51873dcb67b",
    "exact_duplicate@v1": "d3ede0275d325b67",
    "near_duplicate@v2": "e4a92b3140f8259e",
    "over_cap@v1": "c367e0681a4b356b",
    "balanced_out@v1": "2244513cd1344d76",
    "bridges_splits@v1": "e3eed104c688ec77",
    "contradiction_minority@v1": "0425c34c98955633",
    "contradiction_tied@v1": "0425c34c98955633",
}
"""Who changes what a rule does raises its version, and then this table."""


@pytest.mark.parametrize(
    ("name", "columns", "dropped"),
    [(name, columns, dropped) for name, _, columns, dropped in EXAMPLES],
    ids=[f"{name}: {title}" for name, title, _, _ in EXAMPLES],
)
def test_example(name: str, columns: dict[str, Any], dropped: bool) -> None:
    row = make_triple(**columns)
    judged = judge_triples([row, *varied(2)], Recipe())
    reasons = {reason: detail for reason, _, detail in judged.dropped.get(row["triple_id"], [])}
    assert (name in reasons) == dropped
    assert all(reasons.values()), "a reason says what was seen"


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_every_rule_has_a_dropped_and_a_kept_example(rule: Rule) -> None:
    assert {dropped for name, _, _, dropped in EXAMPLES if name == rule.name} == {True, False}


def test_ids_are_unique() -> None:
    names = [reason.name for reason in (*RULES, *SET_REASONS)]
    assert len(set(names)) == len(names)


def test_parameters_are_used_and_belong_to_one_rule() -> None:
    for rule in RULES:
        assert set(re.findall(r"\$(\w+)", rule.drop_if)) == set(rule.params), rule.name
    owned = [name for rule in RULES for name in rule.params]
    assert len(set(owned)) == len(owned)


def code(name: str) -> str:
    """Return a statement without its comments and line breaks, which may change freely."""
    return " ".join(re.sub(r"--.*", "", statement(name)).split())


def python(function: Callable[..., object]) -> str:
    """Return a function without its comments."""
    return ast.unparse(ast.parse(inspect.getsource(function)))


def test_a_changed_rule_has_a_new_version() -> None:
    made_of = {rule.id: [rule.drop_if, dict(rule.params), code("features.sql")] for rule in RULES}
    duplicate, minority, tied, bridge, near, capped, balanced = SET_REASONS
    made_of[duplicate.id] = [code("exact_duplicates.sql")]
    alike = ("near_duplicate_triples.sql", "near_duplicate_round.sql", "questions.sql")
    made_of[near.id] = [*map(code, alike), str(VERSION)]
    made_of[capped.id] = [python(balance_rows.cap)]
    made_of[balanced.id] = [python(balance._write)]
    made_of[bridge.id] = [code("split.sql")]
    made_of[minority.id] = made_of[tied.id] = [code("contradictions.sql")]
    found = {key: hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16] for key, value in made_of.items()}
    assert found == HASHES


def test_with_params_leaves_the_registered_rule_alone() -> None:
    changed = BY_NAME["too_long"].with_params({"max_chars": 5})
    assert changed.params == {"max_chars": 5}
    assert replace(changed, params={"max_chars": 32768}) == BY_NAME["too_long"]


def test_documented(repository: Path) -> None:
    page = (repository / "docs" / "curation.md").read_text(encoding="utf-8")
    for reason in (*RULES, *SET_REASONS):
        assert f"| `{reason.name}` |" in page
    for rule in RULES:
        (line,) = (line for line in page.splitlines() if line.startswith(f"| `{rule.name}` |"))
        for name, value in rule.params.items():
            default = json.dumps(value)
            assert f"`{name}`" in line
            assert default in line or name == "consent_allow"
