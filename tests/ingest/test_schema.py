"""Ids: what they are made of, and what makes two of them the same."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import schema

TURNS = [{"role": role, "content": role} for role in ("system", "user", "assistant", "user")]


def test_an_id_is_the_tagged_hash_of_canonical_json() -> None:
    expected = "b2:" + hashlib.blake2b('{"a":[1,null,"ä"],"b":true}'.encode(), digest_size=16).hexdigest()
    assert schema.content_id({"b": True, "a": [1, None, "ä"]}) == expected


def test_a_message_without_a_key_is_the_message_with_null() -> None:
    full = [{"role": "user", "content": "hi", "tool_calls": None, "tool_call_id": None, "name": None}]
    assert schema.messages_hash(full) == schema.messages_hash([{"content": "hi", "role": "user"}])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_json_has_no_id(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        schema.content_id([value])


@pytest.mark.parametrize(("turns", "root"), [(4, 2), (2, 2), (1, 1)])
def test_prompt_group_is_the_conversation_up_to_its_first_user_turn(turns: int, root: int) -> None:
    assert schema.prompt_group(TURNS[:turns]) == schema.messages_hash(TURNS[:root])


def test_a_pair_has_no_order() -> None:
    assert schema.pair_id("p", "a", "b") == schema.pair_id("p", "b", "a") != schema.pair_id("q", "a", "b")


@given(st.lists(st.text() | st.none() | st.integers(-(2**63), 2**64 - 1)))
def test_the_fast_hash_of_texts_is_that_of_canonical_json(values: list[str | int | None]) -> None:
    assert schema.texts_id(values) == schema.content_id(values)


@given(st.lists(st.tuples(*[st.none() | st.text()] * 5)))
def test_the_hash_of_a_conversation_is_that_of_canonical_json(turns: list[tuple[str | None, ...]]) -> None:
    messages = [dict(zip(schema.MESSAGE_KEYS, turn, strict=True)) for turn in turns]
    assert schema.messages_hash(messages) == schema.content_id(turns)


def test_a_lone_surrogate_has_no_hash() -> None:
    with pytest.raises(UnicodeEncodeError):
        schema.messages_hash([{"role": "user", "content": "\ud800"}])
