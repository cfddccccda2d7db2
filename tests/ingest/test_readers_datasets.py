"""Data sets of thumbs, ratings and ranks, and of pairs in the forms of their publishers."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.errors import RecordError
from ingest.readers.kto import KTO
from ingest.readers.llmbar import LLMBar
from ingest.readers.oasst_tree import OASSTTree
from ingest.readers.openai_preference import OpenAIPreference
from ingest.readers.reading import Reader, Ref
from ingest.readers.sharegpt_preference import ShareGPTPreference
from ingest.readers.ultrafeedback import UltraFeedback
from ingest.schema import content_id


def text(role: str, content: str | None, **fields: Any) -> dict[str, str | None]:
    return {"role": role, "content": content, "tool_calls": None, "tool_call_id": None, "name": None} | fields


def user(content: str) -> dict[str, str | None]:
    return text("user", content)


def bot(content: str) -> dict[str, str | None]:
    return text("assistant", content)


def say(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def spoken(who: str, content: str) -> dict[str, str]:
    return {"from": who, "value": content}


TOOLS = [{"type": "function", "function": {"name": "f"}}]
SHAREGPT = {"conversations": [spoken("human", "q")], "chosen": spoken("gpt", "a"), "rejected": spoken("gpt", "b")}
OPENAI: dict[str, Any] = {
    "input": {"messages": [say("system", "s"), say("user", "q")], "tools": TOOLS},
    "preferred_output": [say("assistant", "a")],
    "non_preferred_output": [say("assistant", "b")],
}
LLMBAR = {"input": "q", "output_1": "b", "output_2": "a", "label": 2}

PAIRS: list[tuple[str, Reader, dict[str, Any], list[Any], str | None]] = [
    ("sharegpt", ShareGPTPreference(), SHAREGPT, [user("q")], None),
    (
        "sharegpt with a system prompt, tools and calls",
        ShareGPTPreference(),
        SHAREGPT
        | {
            "system": "s",
            "tools": '[{"name":"f"}]',
            "conversations": [
                spoken("human", "q"),
                spoken("function_call", '{"name": "f", "arguments": {"x": 1}}'),
                spoken("observation", "5"),
            ],
        },
        [
            text("system", "s"),
            user("q"),
            text(
                "assistant", None, tool_calls='[{"type":"function","function":{"name":"f","arguments":"{\\"x\\":1}"}}]'
            ),
            text("tool", "5"),
        ],
        '[{"name":"f"}]',
    ),
    (
        "openai",
        OpenAIPreference(),
        OPENAI,
        [text("system", "s"), user("q")],
        '[{"type":"function","function":{"name":"f"}}]',
    ),
    ("llmbar", LLMBar(), LLMBAR, [user("q")], None),
    ("llmbar, the first", LLMBar(), {"input": "q", "output_1": "a", "output_2": "b", "label": 1}, [user("q")], None),
]


@pytest.mark.parametrize(("reader", "record", "prompt", "tools"), [p[1:] for p in PAIRS], ids=[p[0] for p in PAIRS])
def test_pairs(reader: Reader, record: dict[str, Any], prompt: list[Any], tools: str | None) -> None:
    """In each of them "a" is preferred over "b"."""
    assert reader.sniff(record)
    reading = reader.read(record)
    better, worse = reading.interactions
    [event] = reading.feedback
    assert (better.prompt, better.response, worse.prompt, worse.response) == (prompt, [bot("a")], prompt, [bot("b")])
    assert (better.tools, worse.tools) == (tools, tools)
    assert (event.signal, event.target, event.others) == ("choice", Ref(better.source_id), [Ref(worse.source_id)])
    assert better.source_id == content_id([prompt, [bot("a")], None])
    assert (event.value, event.rater, event.rater_kind, event.event_time) == (None,) * 4


THUMBS: list[tuple[str, dict[str, Any], list[Any], list[Any], float]] = [
    ("standard", {"prompt": "q", "completion": "a", "label": True}, [user("q")], [bot("a")], 1.0),
    (
        "conversational",
        {"prompt": [say("user", "q")], "completion": [say("assistant", "a")], "label": False},
        [user("q")],
        [bot("a")],
        -1.0,
    ),
    (
        "messages",
        {
            "messages": [say("user", "q"), say("assistant", "a"), say("user", "r"), say("assistant", "b")],
            "label": True,
        },
        [user("q"), bot("a"), user("r")],
        [bot("b")],
        1.0,
    ),
]


@pytest.mark.parametrize(("record", "prompt", "response", "value"), [t[1:] for t in THUMBS], ids=[t[0] for t in THUMBS])
def test_thumbs(record: dict[str, Any], prompt: list[Any], response: list[Any], value: float) -> None:
    assert KTO().sniff(record)
    reading = KTO().read(record)
    [one], [thumb] = reading.interactions, reading.feedback
    assert (one.prompt, one.response) == (prompt, response)
    assert (thumb.signal, thumb.value, thumb.scale_min, thumb.scale_max) == ("thumb", value, -1.0, 1.0)
    assert thumb.target == Ref(one.source_id)
    assert KTO().read(record | {"id": 7}).feedback[0].source_id == "7"


def test_ratings() -> None:
    completions = [
        {"model": "m1", "response": "a", "overall_score": 8.5, "critique": "good", "custom_system_prompt": "s"},
        {"model": "m2", "response": "b", "overall_score": 10, "annotations": {"honesty": {"Rating": "N/A"}}},
        {"model": "m3", "response": "c", "overall_score": 10, "annotations": {"honesty": {"Rating": "3"}}},
        {"model": "m4", "response": "d"},
    ]
    reading = UltraFeedback().read({"instruction": "q", "completions": completions})
    assert [(i.model, i.prompt, i.response, i.sampling) for i in reading.interactions] == [
        ("m1", [user("q")], [bot("a")], '{"system_prompt":"s"}'),
        ("m2", [user("q")], [bot("b")], None),
        ("m3", [user("q")], [bot("c")], None),
        ("m4", [user("q")], [bot("d")], None),
    ]
    ids = [i.source_id for i in reading.interactions]
    assert [(f.signal, f.target.source_id, f.value, f.text, f.rater_kind) for f in reading.feedback] == [
        ("rating", ids[0], 8.5, "good", "model"),
        ("rating", ids[1], 10.0, None, "model"),
        ("rating", ids[2], 10.0, None, "model"),
    ]
    assert {(f.scale_min, f.scale_max) for f in reading.feedback} == {(1.0, 10.0)}
    assert len({f.source_id for f in reading.feedback}) == 3
    assert UltraFeedback().read({"instruction": "q", "completions": []}).skipped == "no_choice"


def node(name: str, *replies: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a message that says its own name; prompters' names begin with p."""
    role = "prompter" if name[0] == "p" else "assistant"
    return {"message_id": name, "text": name, "role": role, "replies": list(replies)} | fields


def test_a_tree() -> None:
    """The tree: p1 -> a1 (rank 2), a2 (rank 0) -> p2 -> a4, a3 (rank 1), and one reply that was deleted."""
    deeper = node("a2", node("p2", node("a4"), created_date="2023-02-05T14:23:50+00:00"), rank=0)
    gone = node("a5", node("p3", node("a6"), node("a7")), deleted=True)
    root = node(
        "p1", node("a1", rank=2, model_name="m"), deeper, node("a3", rank=1), gone, node("a8", review_result=False)
    )
    reading = OASSTTree().read({"message_tree_id": "t", "tree_state": "ready_for_export", "prompt": root})
    found = [(i.source_id, [m["content"] for m in i.prompt], i.parent_id, i.turn_index) for i in reading.interactions]
    assert found == [
        ("a1", ["p1"], None, 0),
        ("a2", ["p1"], None, 0),
        ("a4", ["p1", "a2", "p2"], "a2", 1),
        ("a3", ["p1"], None, 0),
    ]
    assert reading.interactions[2].prompt == [user("p1"), bot("a2"), user("p2")]
    assert reading.interactions[2].response == [bot("a4")]
    assert {i.conversation_id for i in reading.interactions} == {"t"}
    assert [i.model for i in reading.interactions] == ["m", None, None, None]
    [ranking] = reading.feedback
    assert (ranking.source_id, ranking.signal, ranking.target) == ("p1", "rank", Ref("a2"))
    assert ranking.others == [Ref("a3"), Ref("a1")]
    assert reading.skipped_parts == {"deleted": 3, "failed_review": 1}


def test_times_and_states_of_trees() -> None:
    root = node("p1", node("a1", created_date="2023-02-05T14:23:50.983374+00:00"))
    tree = {"message_tree_id": "t", "prompt": root}
    assert OASSTTree().read(tree).interactions[0].event_time == datetime(2023, 2, 5, 14, 23, 50, 983374, tzinfo=UTC)
    assert OASSTTree().read(tree | {"tree_state": "growing"}).skipped == "tree_growing"
    assert OASSTTree().read(tree | {"prompt": node("p1")}).skipped == "no_response"


BAD: list[tuple[str, Reader, dict[str, Any], str, str]] = [
    (
        "sharegpt role",
        ShareGPTPreference(),
        SHAREGPT | {"chosen": spoken("SECRET", "a")},
        "bad_value",
        "chosen.from: expected one of assistant,",
    ),
    (
        "sharegpt without a question",
        ShareGPTPreference(),
        SHAREGPT | {"conversations": [spoken("gpt", "SECRET")]},
        "bad_value",
        "conversations: expected a conversation that ends with a user's turn",
    ),
    (
        "sharegpt call",
        ShareGPTPreference(),
        SHAREGPT | {"chosen": spoken("function_call", "SECRET")},
        "bad_value",
        "chosen.value: expected the JSON text of a function call",
    ),
    ("openai without messages", OpenAIPreference(), OPENAI | {"input": {}}, "missing_field", "input.messages: "),
    ("llmbar label", LLMBar(), LLMBAR | {"label": 3}, "bad_value", "label: expected 1 or 2"),
    (
        "nothing to rate",
        KTO(),
        {"messages": [say("user", "SECRET")], "label": True},
        "bad_value",
        "messages: expected a conversation that ends with an assistant's message",
    ),
    (
        "a ten that was a one",
        UltraFeedback(),
        {
            "instruction": "q",
            "completions": [{"response": "SECRET", "overall_score": 10, "annotations": {"honesty": {"Rating": "1"}}}],
        },
        "bad_value",
        "completions[0].overall_score: 10, but its aspects average 1.0 of 5",
    ),
    (
        "off the scale",
        UltraFeedback(),
        {"instruction": "q", "completions": [{"response": "a", "overall_score": 0}]},
        "bad_value",
        "completions[0].overall_score: expected a score from 1 to 10",
    ),
    (
        "two of one rank",
        OASSTTree(),
        {"message_tree_id": "t", "prompt": node("p1", node("a1", rank=0), node("a2", rank=0))},
        "bad_value",
        "prompt.replies: expected replies of different ranks",
    ),
    (
        "begins with an answer",
        OASSTTree(),
        {"message_tree_id": "t", "prompt": node("a1")},
        "bad_value",
        "prompt.role: expected a tree that begins with a prompter",
    ),
]


@pytest.mark.parametrize(("reader", "record", "reason", "detail"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_what_the_formats_do_not_allow(reader: Reader, record: dict[str, Any], reason: str, detail: str) -> None:
    with pytest.raises(RecordError) as caught:
        reader.read(record)
    assert (caught.value.reason, caught.value.detail[: len(detail)]) == (reason, detail)
    assert "SECRET" not in caught.value.detail
