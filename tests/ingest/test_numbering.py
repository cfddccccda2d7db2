"""Placeholders of texts that were redacted apart from each other: one value, one placeholder, and no other value."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.numbering import Side, numbered_as, paired
from ingest.redact import Placeholders
from ingest.schema import messages_hash
from tests.ingest.conftest import Workspace

Make = Callable[..., dict[str, Any]]
Log = Callable[..., bytes]

VALUES = {letter: f"{letter}@example.com" for letter in "abcde"}
"""Short name -> address. A text is written with short names: "x a b" for "x a@example.com b@example.com"."""


def spelt(text: str) -> str:
    return " ".join(VALUES.get(word, word) for word in text.split(" "))


def message(role: str, content: str) -> dict[str, str | None]:
    return {"role": role, "content": content, "tool_calls": None, "tool_call_id": None, "name": None}


NUMBERED = [
    # name, text, its placeholders, those kept, expected
    ("no placeholder", "<STEP_1>", {}, {"EMAIL_1": "a"}, "<STEP_1>"),
    ("the same value", "to <EMAIL_1>", {"EMAIL_1": "b"}, {"EMAIL_1": "a", "EMAIL_2": "b"}, "to <EMAIL_2>"),
    ("a new value", "to <EMAIL_1>", {"EMAIL_1": "c"}, {"EMAIL_1": "a", "EMAIL_2": "b"}, "to <EMAIL_3>"),
    ("another kind", "<IP_1> <EMAIL_1>", {"IP_1": "i", "EMAIL_1": "b"}, {"EMAIL_1": "a"}, "<IP_1> <EMAIL_2>"),
    ("swapped", "<EMAIL_1> <EMAIL_2>", {"EMAIL_1": "b", "EMAIL_2": "a"}, {"EMAIL_1": "a", "EMAIL_2": "b"},
     "<EMAIL_2> <EMAIL_1>"),
    ("ten", "<EMAIL_1>", {"EMAIL_1": "z"}, {"EMAIL_9": "a", "EMAIL_10": "b"}, "<EMAIL_11>"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "own", "kept", "expected"), [n[1:] for n in NUMBERED], ids=[n[0] for n in NUMBERED])
def test_numbered_as(text: str, own: dict[str, str], kept: dict[str, str], expected: str) -> None:
    assert numbered_as(text, own, kept) == expected


def side(text: str, **placeholders: str) -> Side:
    messages: Any = [message("assistant", text)]
    return Side(messages, messages_hash(messages), placeholders)


def test_a_pair_is_the_same_pair_whichever_comes_first() -> None:
    """The prompt holds a; one answer adds b, the other c and then b."""
    prompt: Any = [message("user", "I am <EMAIL_1>")]
    one = side("<EMAIL_2>", EMAIL_1="a", EMAIL_2="b")
    two = side("<EMAIL_2> and <EMAIL_3>", EMAIL_1="a", EMAIL_2="c", EMAIL_3="b")
    forward, backward = paired(prompt, None, (one, two)), paired(prompt, None, (two, one))
    assert forward and backward
    assert forward == backward[::-1]
    texts = {s.response[0]["content"] for s in forward}
    assert texts in ({"<EMAIL_2>", "<EMAIL_3> and <EMAIL_2>"}, {"<EMAIL_3>", "<EMAIL_2> and <EMAIL_3>"})
    assert all(s.response_hash == messages_hash(s.response) for s in forward)


def test_prompts_that_differ_in_what_was_redacted_are_no_pair() -> None:
    prompt: Any = [message("user", "I am <EMAIL_1>")]
    assert paired(prompt, None, (side("x", EMAIL_1="a"), side("y", EMAIL_1="b"))) is None
    assert paired([], "<EMAIL_1>", (side("x", EMAIL_1="a"), side("y", EMAIL_1="b"))) is None


def test_a_placeholder_that_a_user_types_is_a_value_of_its_own() -> None:
    placeholders = Placeholders()
    assert placeholders.text("<EMAIL_1> a@example.com <EMAIL_7> <EMAIL_1>") == "<EMAIL_1> <EMAIL_2> <EMAIL_3> <EMAIL_1>"
    assert Placeholders().text("<EMAIL_2> <STEP_1> <EMAIL_0>") == "<EMAIL_1> <STEP_1> <EMAIL_0>"


def test_values_are_told_apart_as_their_kind_spells_them() -> None:
    placeholders = Placeholders(digest=lambda value: value)
    assert placeholders.text("1.12.3.4 11.2.3.4 fe80::1 FE80:0::1") == "<IP_1> <IP_2> <IP_3> <IP_3>"
    assert placeholders.text("a.b@example.com ab@example.com AB@Example.com") == "<EMAIL_1> <EMAIL_2> <EMAIL_2>"
    assert placeholders.text("4111 1111 1111 1111, 4111-1111-1111-1111") == "<CARD_1>, <CARD_1>"
    assert list(placeholders.digests) == ["IP_1", "IP_2", "IP_3", "EMAIL_1", "EMAIL_2", "CARD_1"]


def values_behind(texts: Mapping[str, str], raw: Mapping[str, str]) -> dict[str, set[str]]:
    """Return placeholder -> addresses that stand at its places, by comparing the texts word by word."""
    found: dict[str, set[str]] = {}
    for name, text in texts.items():
        for word, value in zip(text.split(" "), spelt(raw[name]).split(" "), strict=True):
            if re.fullmatch("<EMAIL_[0-9]+>", word):
                found.setdefault(word, set()).add(value)
            else:
                assert word == value
    return found


words = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "x", "y"]), min_size=1, max_size=5).map(" ".join)


def exchange(number: int, prompt: str, answer: str) -> dict[str, Any]:
    return {
        "winnow": 1, "kind": "interaction", "id": f"i{number}", "time": "2026-10-01T08:15:30Z", "conversation_id": "c",
        "status": 200,
        "request": {"model": "m", "messages": [{"role": "user", "content": prompt}]},
        "response": {"choices": [{"index": 0, "message": {"role": "assistant", "content": answer}}]},
    }  # fmt: skip


def event(number: int, signal: str, others: list[str], text: str | None) -> dict[str, Any]:
    return {
        "winnow": 1, "kind": "feedback", "id": f"f{number}", "time": "2026-10-01T08:16:00Z", "signal": signal,
        "target": {"id": "i1", "choice": 0}, "others": [{"id": other, "choice": 0} for other in others], "text": text,
    }  # fmt: skip


@given(prompt=words, chosen=words, rejected=words, edit=words, turned=st.booleans())
@settings(max_examples=15, deadline=None)
def test_in_a_triple_one_placeholder_is_one_value(
    prompt: str, chosen: str, rejected: str, edit: str, turned: bool
) -> None:
    """Over prompt, both responses and an edit; files in the other order give the same triples."""
    records = [
        exchange(1, spelt(prompt), spelt(chosen)),
        exchange(2, spelt(prompt), spelt(rejected)),
        event(1, "choice", ["i2"], None),
        event(2, "edit", [], spelt(edit)),
    ]
    expected = (chosen != rejected) + (edit != chosen)
    found = []
    for order in (records, records[::-1] if turned else records[2:] + records[:2]):
        with TemporaryDirectory() as folder:
            workspace = Workspace(Path(folder))
            for number, record in enumerate(order):
                (workspace.logs / f"{number}.jsonl").write_text(json.dumps(record) + "\n")
            workspace.run()
            found.append(workspace.arrow("triples").to_pylist() if workspace.lake.files("triples") else [])
    assert found[0] == found[1]
    assert len(found[0]) == expected
    for triple in found[0]:
        assert triple["chosen_hash"] == messages_hash(triple["chosen"])
        assert triple["rejected_hash"] == messages_hash(triple["rejected"])
        sides = {"prompt": prompt, "rejected": rejected, "chosen": chosen}
        if triple["rule"] == "edit":
            sides |= {"rejected": chosen, "chosen": edit}
        behind = values_behind({name: triple[name][-1]["content"] for name in sides}, sides)
        assert all(len(values) == 1 for values in behind.values())
        assert len(set.union(set(), *behind.values())) == len(behind)


def test_prompts_of_other_people_are_other_prompts(workspace: Any, log: Log) -> None:
    ann, bob = exchange(1, spelt("a"), "yes"), exchange(2, spelt("b"), "no")
    (workspace.logs / "a.jsonl").write_bytes(log(ann, bob, event(1, "choice", ["i2"], None)))
    found = workspace.run().paired
    assert (found.total, found.mismatched) == (0, 1)


def test_turns_that_are_logged_apart_agree_when_they_are_joined(workspace: Any, log: Log) -> None:
    """The second request adds to the first by previous_response_id; read again, both are duplicates."""

    def call(name: str, parent: str | None, asked: str, answer: str) -> dict[str, Any]:
        said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": spelt(answer)}]}
        response = {"id": name, "object": "response", "status": "completed", "output": [said]}
        return {"request": {"model": "m", "input": spelt(asked), "previous_response_id": parent}, "response": response}

    records = [call("r2", "r1", "b c", "c a d"), call("r1", None, "a", "b a")]
    (workspace.logs / "a.jsonl").write_bytes(log(*records))
    assert workspace.run().completed == 1
    [row] = [row for row in workspace.arrow("interactions").to_pylist() if row["source_id"] == "r2"]
    assert [m["content"] for m in row["prompt"]] == ["<EMAIL_1>", "<EMAIL_2> <EMAIL_1>", "<EMAIL_2> <EMAIL_3>"]
    assert row["response"][0]["content"] == "<EMAIL_3> <EMAIL_1> <EMAIL_4>"
    assert [name for name, _ in row["placeholders"]] == ["EMAIL_1", "EMAIL_2", "EMAIL_3", "EMAIL_4"]
    (workspace.logs / "b.jsonl").write_bytes(log(*records[::-1]))
    assert workspace.run().totals()["skipped"] == 2
