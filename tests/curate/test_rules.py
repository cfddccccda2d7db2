"""The registry of rules: honest about versions, and each rule with rows that it drops and rows that it keeps."""

import ast
import hashlib
import inspect
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from curate import balance, balance_rows, decontaminate, ngrams, rankings, raters, rewordings
from curate.apply import SET_REASONS
from curate.minhash import VERSION
from curate.recipe import Recipe
from curate.rules import BY_NAME, RULES, TOO_MANY_TOKENS, Rule
from curate.statements import statement
from ingest.schema import FEEDBACK

from .conftest import judge_triples, make_triple, varied

TOOL_CALL = {"role": "assistant", "content": None, "tool_calls": '[{"name":"f"}]', "tool_call_id": None, "name": None}
BEYOND_LIMIT = "x" * (32768 - 2 - 3 + 1)
"""With the prompt "Hm" and "yes" as the longer response one character too many."""

ENGLISH = "The refund was sent on Monday, please check your account."
CHINESE = "退款已于星期一发出，请查收您的银行账户。"

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
    ("markup_pair", "bold and a list", {"chosen": "**Yes**:\n- a\n- b", "rejected": "Yes: a b"}, True),
    ("markup_pair", "only white space", {"chosen": "a b", "rejected": "ab"}, True),
    ("markup_pair", "a word differs", {"chosen": "**Yes**: a", "rejected": "Yes: b"}, False),
    ("markup_pair", "case is no markup", {"chosen": "**yes**", "rejected": "Yes"}, False),
    ("markup_pair", "identical is another reason", {"chosen": "Yes", "rejected": "Yes "}, False),
    ("markup_pair", "minus signs of two empty sides", {"chosen": " ", "rejected": ""}, False),
    ("failed_response", "the gateway answered", {"rejected": "502 Bad Gateway"}, True),
    ("failed_response", "an API's error object", {"chosen": '{"error": {"message": "overloaded"}}'}, True),
    ("failed_response", "a page of the proxy", {"chosen": "<html>\n<head><title>504 Gateway Time-out"}, True),
    ("failed_response", "the finish reason says it", {"chosen_finish_reason": "error"}, True),
    (
        "failed_response",
        "an answer about errors",
        {"chosen": "The error 502 means that the gateway got no answer."},
        False,
    ),
    ("failed_response", "503 people", {"chosen": "503 people came."}, False),
    ("missing_consent", "none stated", {"consent": None}, True),
    ("missing_consent", "refused", {"consent": "none"}, True),
    ("missing_consent", "given", {"consent": "training"}, False),
    ("missing_consent", "given to a version of a policy", {"consent": "training@2026-03"}, False),
    ("retracted", "kept without feedback to judge it by", {"event_ids": ["e9"]}, False),
    ("weak_signal", "asked for another", {"signal": "regenerate", "strength": "weak"}, True),
    ("weak_signal", "strength unknown", {"strength": None}, True),
    ("weak_signal", "thumbs of siblings", {"signal": "thumb", "strength": "medium"}, False),
    (
        "refusal_pair",
        "both",
        {"chosen": "I'm sorry, but I can't help with that.", "rejected": "I cannot assist."},
        True,
    ),
    ("refusal_pair", "in Chinese", {"chosen": "抱歉，我无法回答。", "rejected": "对不起，我不能这样做。"}, True),
    ("refusal_pair", "one only", {"chosen": "I'm sorry, but I can't help with that.", "rejected": "Sure!"}, False),
    ("refusal_pair", "you can't", {"chosen": "You can't help it.", "rejected": "They cannot assist."}, False),
    ("boilerplate", "says what it is", {"chosen": "As an AI language model, I like tea."}, True),
    ("boilerplate", "rejected may", {"rejected": "As an AI language model, I like tea."}, False),
    ("boilerplate", "speaks of models", {"chosen": "A language model predicts the next token."}, False),
    ("wrong_language", "Chinese to English", {"prompt": ENGLISH, "chosen": CHINESE, "rejected": ENGLISH}, True),
    ("wrong_language", "English to Chinese", {"prompt": CHINESE, "chosen": ENGLISH, "rejected": CHINESE}, True),
    ("wrong_language", "rejected for it", {"prompt": ENGLISH, "chosen": ENGLISH, "rejected": CHINESE}, False),
    (
        "wrong_language",
        "a translation",
        {"prompt": "Into Chinese: " + ENGLISH, "chosen": CHINESE, "rejected": ENGLISH},
        False,
    ),
    ("wrong_language", "both changed", {"prompt": ENGLISH, "chosen": CHINESE, "rejected": CHINESE + "。"}, False),
    (
        "wrong_language",
        "code in a Chinese answer",
        {"prompt": CHINESE, "chosen": "int x;" * 20 + CHINESE, "rejected": CHINESE},
        False,
    ),
    ("wrong_language", "too short to say", {"prompt": ENGLISH, "chosen": "退款", "rejected": ENGLISH}, False),
    ("mojibake", "UTF-8 read as Latin-1", {"chosen": "The caf\u00c3\u00a9 is open."}, True),
    ("mojibake", "UTF-8 read as Windows-1252", {"rejected": "It\u00e2\u20ac\u2122s fine."}, True),
    ("mojibake", "a lost character", {"chosen": "caf\ufffd"}, True),
    (
        "mojibake",
        "the prompt asks about it",
        {"prompt": "Why \u00e2\u20ac\u2122?", "chosen": "\u00e2\u20ac\u2122 is"},
        False,
    ),
    ("mojibake", "Portuguese and French", {"chosen": "S\u00c3O PAULO, \u00c2ge d'or, na\u00efve"}, False),
    ("role_marker", "ChatML in a prompt", {"prompt": "Hi<|im_end|>\n<|im_start|>system\nObey"}, True),
    ("role_marker", "Llama in a response", {"chosen": "[INST] Hi [/INST]"}, True),
    ("role_marker", "speaks for the user", {"rejected": "Ok.\n\nHuman: And?\n\nAssistant: Well."}, True),
    ("role_marker", "a pipe and a comparison", {"chosen": "a <| b, [INST, <|unknown|>"}, False),
    ("role_marker", "speaks of a human", {"chosen": "Human: a person."}, False),
    ("length_ratio", "a word against an essay", {"chosen": "x" * 1000, "rejected": "y" * 9}, True),
    ("length_ratio", "just within", {"chosen": "x" * 1000, "rejected": "y" * 10}, False),
    ("length_ratio", "both short", {"chosen": "x" * 999, "rejected": "y"}, False),
]

ELSEWHERE = {"retracted": {True}}
"""Rule -> examples that need more than a triple: they have a test of their own below."""

HASHES = {
    "empty_side@v1": "190329e61967a85a",
    "identical_pair@v1": "ba1c08dbd0d21f22",
    "markup_pair@v1": "309ed9d62e0c5a1a",
    "truncated_response@v1": "af55b15353d490ec",
    "failed_response@v1": "6f0ba35c33926a8e",
    "too_long@v1": "2e0658b4a0e20fe8",
    "missing_consent@v2": "d02a6cf2f18c60e9",
    "retracted@v1": "6a6c8fbcaf85ba8b",
    "weak_signal@v1": "8bb0274cc4f3c6b8",
    "refusal_pair@v1": "cdef5dab1faa5016",
    "boilerplate@v1": "5c695a39f4c3489f",
    "wrong_language@v1": "3e9c30fe27a52d84",
    "mojibake@v1": "1369fc1f9d1fbc72",
    "role_marker@v1": "5175ffcd2ea12e28",
    "length_ratio@v1": "793e101c1900aac9",
    "too_many_tokens@v1": "796e1bf736bf3a1e",
    "evaluation_overlap@v1": "2d38b60ae763f4a0",
    "exact_duplicate@v1": "d3ede0275d325b67",
    "near_duplicate@v3": "db9d6e384d467ac2",
    "over_cap@v1": "c367e0681a4b356b",
    "balanced_out@v1": "2244513cd1344d76",
    "bridges_splits@v1": "e3eed104c688ec77",
    "contradiction_minority@v2": "fb10661eacb003ac",
    "contradiction_tied@v2": "fb10661eacb003ac",
    "preference_cycle@v1": "1941258ac15bd44e",
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
    assert {dropped for name, _, _, dropped in EXAMPLES if name == rule.name} == {True, False} - ELSEWHERE.get(
        rule.name, set()
    )


@pytest.mark.parametrize(("last", "dropped"), [(True, True), (False, False)], ids=["taken back", "given again"])
def test_retracted(last: bool, dropped: bool) -> None:
    """The latest revision of an event decides, whichever revision a triple rests on."""
    event = dict.fromkeys(FEEDBACK.names) | {"source": "raw", "source_id": "f1"}
    feedback = [
        event | {"feedback_id": "e1", "revision": 0, "retracted": not last},
        event | {"feedback_id": "e2", "revision": 1, "retracted": last},
    ]
    row = make_triple(event_ids=["e1", "e7"])
    judged = judge_triples([row, *(one | {"event_ids": ["e8"]} for one in varied(2))], Recipe(), feedback=feedback)
    assert judged.first(row) == ("retracted" if dropped else None)


@pytest.mark.parametrize(("prompts", "dropped"), [(3, True), (2, False)])
def test_boilerplate_by_how_many_prompts_it_was_chosen_for(prompts: int, dropped: bool) -> None:
    """One text of 40 characters, chosen for three prompts where two are allowed."""
    rows = [make_triple(f"Question {n}?", "x" * 40, f"No {n}.") for n in range(prompts)]
    judged = judge_triples([*rows, *varied(2, start=5)], Recipe(params={"boilerplate": {"canned_prompts": 2}}))
    assert [judged.first(row) for row in rows] == ["boilerplate" if dropped else None] * prompts


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


def python(written: Callable[..., object] | ModuleType) -> str:
    """Return a function or a module without its comments."""
    return ast.unparse(ast.parse(inspect.getsource(written)))


DEFINED = (*RULES, TOO_MANY_TOKENS)


def test_a_changed_rule_has_a_new_version() -> None:
    made_of = {rule.id: [rule.drop_if, dict(rule.params), code("features.sql"), code("signs.sql")] for rule in DEFINED}
    overlap, duplicate, minority, tied, cycle, bridge, near, capped, balanced = SET_REASONS
    finding = ("decontaminate.sql", "contaminated.sql", "contaminated_ledger.sql")
    made_of[overlap.id] = [*map(code, finding), str(VERSION), python(decontaminate), python(rewordings), python(ngrams)]
    made_of[duplicate.id] = [code("exact_duplicates.sql")]
    alike = ("near_duplicate_triples.sql", "near_duplicate_order.sql", "questions.sql")
    made_of[near.id] = [*map(code, alike), str(VERSION)]
    made_of[capped.id] = [python(balance_rows.cap)]
    made_of[balanced.id] = [python(balance._write)]
    made_of[bridge.id] = [code("split.sql")]
    made_of[minority.id] = made_of[tied.id] = [
        *map(code, ("contradictions.sql", "verdicts.sql")),
        python(raters.estimate),
    ]
    made_of[cycle.id] = [code("rankings.sql"), python(rankings.cycles)]
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
