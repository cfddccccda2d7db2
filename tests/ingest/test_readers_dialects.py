"""Messages in the forms that tracing tools store, requests and responses around them, scores and times."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import RecordError
from ingest.readers import times
from ingest.readers.conversations import prompt, replies
from ingest.readers.fields import Fields
from ingest.readers.scores import thumb


def said(messages: Any) -> list[str]:
    """Return "role(name, call id): content -> calls" with what is there."""
    found = []
    for m in messages:
        marks = ", ".join(str(m[key]) for key in ("name", "tool_call_id") if m[key])
        calls = [f"{c['function']['name']}{c['function']['arguments']}" for c in json.loads(m["tool_calls"] or "[]")]
        found.append(f"{m['role']}{f'({marks})' if marks else ''}: {m['content']}" + "".join(f" -> {c}" for c in calls))
    return found


USER = {"role": "user", "content": "hi"}
PROMPTS: list[tuple[str, Any, list[str]]] = [
    ("text", "hi", ["user: hi"]),
    ("JSON text", '[{"role":"user","content":"hi"}]', ["user: hi"]),
    ("text that only looks like JSON", "{hi", ["user: {hi"]),
    ("a request", {"model": "m", "messages": [USER]}, ["user: hi"]),
    ("one message", USER, ["user: hi"]),
    ("a batch of one", {"messages": [[USER]]}, ["user: hi"]),
    ("Anthropic's system", {"system": "s", "messages": [USER]}, ["system: s", "user: hi"]),
    (
        "Anthropic's system in blocks",
        {"system": [{"type": "text", "text": "s"}], "messages": [USER]},
        ["system: s", "user: hi"],
    ),
    ("Responses", {"instructions": "s", "input": "hi"}, ["system: s", "user: hi"]),
    (
        "Responses' items",
        {
            "input": [
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
                {"type": "reasoning", "summary": []},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "7"},
            ]
        },
        ["user: hi", "assistant: None -> f{}", "tool(c): 7"],
    ),
    (
        "Gemini",
        {
            "config": {"system_instruction": "s"},
            "contents": [
                {"parts": [{"text": "hi"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": 1}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"b": 2}}}]},
            ],
        },
        ["system: s", "user: hi", 'assistant: None -> f{"a":1}', 'tool(f): {"b":2}'],
    ),
    (
        "Anthropic's blocks",
        [
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "t"},
                    {"type": "tool_use", "id": "c", "name": "f", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "7"}]},
                    {"type": "text", "text": "ok"},
                ],
            },
        ],
        ["assistant: None -> f{}", "tool(c): 7", "user: ok"],
    ),
    (
        "LangChain's constructors",
        [
            {"lc": 1, "id": ["langchain", "SystemMessage"], "kwargs": {"content": "s"}},
            {
                "lc": 1,
                "id": ["AIMessage"],
                "kwargs": {"content": "", "tool_calls": [{"id": "c", "name": "f", "args": {}}]},
            },
            {"lc": 1, "id": ["ToolMessage"], "kwargs": {"content": "7", "tool_call_id": "c"}},
            {"type": "human", "data": {"content": "hi"}},
        ],
        ["system: s", "assistant:  -> f{}", "tool(c): 7", "user: hi"],
    ),
    (
        "LangChain's exporters",
        [
            {
                "role": "assistant",
                "content": "",
                "additional_kwargs": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
            },
            {"role": "f", "content": "7"},
            {"role": "tool", "content": {"type": "function", "function": {"name": "f"}}},
        ],
        ["assistant:  -> f{}", "tool(f): 7"],
    ),
    (
        "the Vercel AI SDK's",
        [
            {"role": "assistant", "content": [{"type": "tool-call", "toolCallId": "c", "toolName": "f", "input": {}}]},
            {
                "role": "tool",
                "content": [
                    {
                        "type": "tool-result",
                        "toolCallId": "c",
                        "toolName": "f",
                        "output": {"type": "text", "value": "7"},
                    }
                ],
            },
        ],
        ["assistant: None -> f{}", "tool(f, c): 7"],
    ),
    ("an image", [{"role": "user", "content": [{"type": "image", "x": 1}]}], ['user: [{"type":"image","x":1}]']),
]


@pytest.mark.parametrize(("value", "expected"), [p[1:] for p in PROMPTS], ids=[p[0] for p in PROMPTS])
def test_prompts(value: Any, expected: list[str]) -> None:
    assert said(prompt(value, "input").messages) == expected


REPLIES: list[tuple[str, Any, list[tuple[int, str | None, list[str]]]]] = [
    ("text", "hey", [(0, None, ["assistant: hey"])]),
    ("a message", {"role": "assistant", "content": "hey"}, [(0, None, ["assistant: hey"])]),
    ("content alone", {"content": "hey"}, [(0, None, ["assistant: hey"])]),
    (
        "choices",
        {"choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}, {"text": "b"}]},
        [(0, "stop", ["assistant: a"]), (1, None, ["assistant: b"])],
    ),
    (
        "candidates",
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "a"}]}, "finishReason": "STOP"}]},
        [(0, "STOP", ["assistant: a"])],
    ),
    (
        "generations",
        {"generations": [[{"text": "a", "generation_info": {"finish_reason": "stop"}}]]},
        [(0, "stop", ["assistant: a"])],
    ),
    (
        "Responses' output",
        {
            "object": "response",
            "output": [{"type": "reasoning"}, {"type": "message", "role": "assistant", "content": "a"}],
        },
        [(0, None, ["assistant: a"])],
    ),
    (
        "OpenTelemetry's answers",
        [{"role": "assistant", "parts": [{"type": "text", "content": c}], "finish_reason": "stop"} for c in "ab"],
        [(0, "stop", ["assistant: a"]), (1, "stop", ["assistant: b"])],
    ),
    (
        "an agent's whole run",
        [
            {"role": "assistant", "parts": [{"type": "tool_call", "name": "f", "arguments": "{}"}]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c", "result": "7"}]},
            {"role": "assistant", "parts": [{"type": "text", "content": "a"}]},
        ],
        [(0, None, ["assistant: None -> f{}", "tool(c): 7", "assistant: a"])],
    ),
    (
        "the last chunk as reason",
        {"choices": [{"message": {"content": "a"}, "finish_reason": {"finish_reason": "stop"}}]},
        [(0, "stop", ["assistant: a"])],
    ),
]


@pytest.mark.parametrize(("value", "expected"), [r[1:] for r in REPLIES], ids=[r[0] for r in REPLIES])
def test_replies(value: Any, expected: list[tuple[int, str | None, list[str]]]) -> None:
    assert [(r.index, r.finish_reason, said(r.messages)) for r in replies(value, "output")] == expected


UNREAD: list[tuple[str, Any]] = [
    ("a number", 3),
    ("nothing", []),
    ("empty text", " "),
    ("arguments of a function", {"args": ["hi"], "kwargs": {}}),
    ("no role", [{"content": "hi"}]),
    ("unknown role", [{"role": "weather", "content": "hi"}]),
    ("texts", ["role='user' content='hi'"]),
    ("a user who says nothing", [{"role": "user", "content": None}]),
    ("a printed chat", "system: be brief\nuser: hi"),
]


@pytest.mark.parametrize("value", [u[1] for u in UNREAD], ids=[u[0] for u in UNREAD])
def test_what_holds_no_prompt_is_refused(value: Any) -> None:
    with pytest.raises(RecordError):
        prompt(value, "input")


KEYS = (
    *("role", "content", "parts", "type", "text", "tool_calls", "function", "name"),
    *("arguments", "id", "kwargs", "data", "message", "messages", "choices", "candidates"),
    *("generations", "output", "input", "contents", "prompt", "system", "config", "toolCallId"),
    *("toolName", "response", "result", "index", "finish_reason"),
)
WORDS = st.sampled_from(
    ["user", "assistant", "tool", "text", "tool_use", "tool_result", "function_call", "{}", "[1]", "x"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(ANYTHING)
def test_any_value_is_a_conversation_or_refused(value: Any) -> None:
    for read in (lambda v: [prompt(v, "input").messages], lambda v: [r.messages for r in replies(v, "output")]):
        try:
            found = read(value)
        except RecordError:
            continue
        for message in (m for messages in found for m in messages):
            assert message["role"]
            assert all(item is None or isinstance(item, str) for item in message.values())


THUMBS: list[tuple[str, Any, str | None, float | None]] = [
    ("helpful", True, None, 1.0),
    ("User Feedback", 0, None, -1.0),
    ("thumbs_up", 1.0, None, 1.0),
    ("user-thumb", -1, None, -1.0),
    ("reaction", None, "👍🏽", 1.0),
    ("helpful", None, "Not helpful", -1.0),
    ("helpful", "no", None, -1.0),
    ("helpful", None, "perhaps", None),
    ("helpful", 0.7, None, None),
    ("helpful", None, None, None),
    ("hallucination", 1, None, None),
    ("hallucination", None, "yes", None),
]


@pytest.mark.parametrize(("name", "value", "label", "expected"), THUMBS, ids=[f"{t[0]} {t[1]} {t[2]}" for t in THUMBS])
def test_thumbs_need_a_name_that_approves_and_one_of_two_ends(
    name: str, value: Any, label: str | None, expected: float | None
) -> None:
    assert thumb(name, value, label) == expected


def test_times() -> None:
    moment = datetime(2025, 10, 9, 8, 53, 20, 500000, tzinfo=UTC)
    row = Fields(
        {
            "iso": "2025-10-09T10:53:20.5+02:00",
            "bare": "2025-10-09 08:53:20.500",
            "seconds": 1760000000.5,
            "milliseconds": 1760000000500,
            "table": moment.replace(tzinfo=None),
            "nano": "1760000000500000999",
            "zero": 0,
            "bad": "yesterday",
        }
    )
    for key in ("iso", "seconds", "milliseconds"):
        assert times.stated(row, key) == moment
    for key in ("bare", "table"):
        assert times.stated(row, key, zone_is_utc=True) == moment
        with pytest.raises(RecordError, match="zone"):
            times.stated(row, key)
    assert times.nanoseconds(row, "nano") == moment
    assert (times.nanoseconds(row, "zero"), times.stated(row, "absent"), times.revision(None)) == (None, None, 0)
    assert times.revision(moment) == 1_760_000_000_500_000
    assert times.latency_ms(moment, moment) == 0.0
    assert times.latency_ms(moment, datetime(2025, 1, 1, tzinfo=UTC)) is None
    for read in (times.stated, times.nanoseconds):
        with pytest.raises(RecordError):
            read(row, "bad")
