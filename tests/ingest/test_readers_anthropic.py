"""Anthropic Messages: plain, streamed, begun by the request."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import RecordError
from ingest.readers.anthropic_messages import AnthropicMessages
from ingest.readers.reading import Interaction

READER = AnthropicMessages()


def text(role: str, content: str | None, **fields: Any) -> dict[str, str | None]:
    return {"role": role, "content": content, "tool_calls": None, "tool_call_id": None, "name": None} | fields


def call(name: str, arguments: str, call_id: str | None = None) -> str:
    stated = {} if call_id is None else {"id": call_id}
    return json.dumps(
        [stated | {"type": "function", "function": {"name": name, "arguments": arguments}}], separators=(",", ":")
    )


def read_one(request: dict[str, Any], response: dict[str, Any], **row: Any) -> Interaction:
    record = {"request": request, "response": response} | row
    assert READER.sniff(record)
    [one] = READER.read(record).interactions
    return one


def events(*values: dict[str, Any]) -> str:
    """Return a stream; OpenAI's ends with [DONE], and no other API minds it."""
    return "".join(f"event: x\ndata: {json.dumps(v, ensure_ascii=False)}\n\n" for v in values) + "data: [DONE]\n\n"


def streamed(body: str) -> Interaction:
    record = {"kind": "anthropic_messages", "status": 200, "request": ASKED, "response_raw": body}
    assert READER.sniff(record)
    [one] = READER.read(record).interactions
    return one


ASKED: dict[str, Any] = {"model": "c", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


def said(*blocks: dict[str, Any], stop: str | None = "end_turn", **fields: Any) -> dict[str, Any]:
    usage = {"input_tokens": 3, "output_tokens": 2}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "c-1", "content": list(blocks)}
    return message | {"stop_reason": stop, "usage": usage} | fields


def block(content: str) -> dict[str, str]:
    return {"type": "text", "text": content}


def test_an_anthropic_exchange() -> None:
    request = ASKED | {"system": "s", "temperature": 0.5, "metadata": {"user_id": "u-1"}, "stream": False}
    one = read_one(request, said(block("hey")))
    assert (one.source_id, one.user, one.model, one.model_requested) == ("msg_1", "u-1", "c-1", "c")
    assert one.prompt == [text("system", "s"), text("user", "hi")]
    assert one.response == [text("assistant", "hey")]
    assert one.sampling == '{"max_tokens":9,"temperature":0.5}'
    assert (one.finish_reason, one.tokens_in, one.tokens_out, one.event_time) == ("stop", 3, 2, None)


def test_cached_tokens_are_part_of_the_prompt() -> None:
    usage = {"input_tokens": 3, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 7, "output_tokens": 2}
    assert read_one(ASKED, said(block("a"), usage=usage)).tokens_in == 50


STOPS = [
    ("end_turn", "stop"),
    ("stop_sequence", "stop"),
    ("tool_use", "tool_calls"),
    ("max_tokens", "length"),
    ("model_context_window_exceeded", "length"),
    ("pause_turn", "length"),
    ("refusal", "content_filter"),
    ("of_tomorrow", "of_tomorrow"),
    (None, None),
]


@pytest.mark.parametrize(("stop", "expected"), STOPS)
def test_stop_reasons(stop: str | None, expected: str | None) -> None:
    assert read_one(ASKED, said(block("a"), stop=stop)).finish_reason == expected


def test_the_reply_continues_the_turn_that_the_request_began() -> None:
    request = ASKED | {"messages": [*ASKED["messages"], {"role": "assistant", "content": "My answer is"}]}
    one = read_one(request, said(block(" no.")))
    assert one.prompt == [text("user", "hi")]
    assert one.response == [text("assistant", "My answer is no.")]
    assert one.sampling == '{"max_tokens":9,"prefill":true}'


def test_anthropic_tools() -> None:
    used = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}
    answered = {"type": "tool_result", "tool_use_id": "t1", "content": [block("x"), block("y")]}
    failed = {"type": "tool_result", "tool_use_id": "t2", "content": "no", "is_error": True}
    request = ASKED | {
        "messages": [
            *ASKED["messages"],
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "..."}, block("wait"), used]},
            {"role": "user", "content": [answered, failed, block("and"), block("now?")]},
        ],
        "tools": [
            {"name": "f", "description": "d", "input_schema": {"type": "object"}},
            {"type": "web_search_20250305", "name": "web_search"},
        ],
    }
    one = read_one(request, said(used, stop="tool_use"))
    assert one.prompt == [
        text("user", "hi"),
        text("assistant", "wait", tool_calls=call("f", '{"a":1}', "t1")),
        text("tool", "x\ny", tool_call_id="t1"),
        text("tool", '{"is_error":true,"content":"no"}', tool_call_id="t2"),
        text("user", "and\nnow?"),
    ]
    assert one.response == [text("assistant", None, tool_calls=call("f", '{"a":1}', "t1"))]
    assert json.loads(one.tools or "") == [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}},
        {"type": "web_search_20250305", "name": "web_search"},
    ]


def test_tools_that_the_provider_runs_keep_their_place_in_the_answer() -> None:
    used = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"type": "web_search_result"}]}
    one = read_one(ASKED, said(block("Let me look."), used, found, block("It is "), block("so.")))
    assert one.response == [
        text("assistant", "Let me look.", tool_calls=json.dumps([used], separators=(",", ":"))),
        text("tool", '[{"type":"web_search_result"}]', tool_call_id="s1"),
        text("assistant", "It is so."),
    ]


def test_media_are_kept_as_their_json() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "x"}}
    request = ASKED | {"messages": [{"role": "user", "content": [block("see"), image]}]}
    one = read_one(request, said(block("a")))
    assert one.prompt == [text("user", json.dumps([block("see"), image], separators=(",", ":")))]


def test_an_answer_without_blocks_says_nothing() -> None:
    assert read_one(ASKED, said()).response == [text("assistant", None)]


START = {"type": "message_start", "message": said(stop=None, usage={"input_tokens": 3, "output_tokens": 1})}
STOP = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 8}}


def part(index: int, kind: str, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind} | delta}


def begin(index: int, **content: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": content}


def test_an_anthropic_stream_is_joined() -> None:
    body = events(
        START,
        begin(0, type="thinking", thinking=""),
        part(0, "thinking_delta", thinking="hm"),
        part(0, "signature_delta", signature="s"),
        begin(1, type="text", text=""),
        {"type": "ping"},
        part(1, "text_delta", text="he"),
        part(1, "text_delta", text="y\u2028"),
        begin(2, type="tool_use", id="t", name="f", input={}),
        part(2, "input_json_delta", partial_json=""),
        part(2, "input_json_delta", partial_json='{"a":'),
        part(2, "input_json_delta", partial_json=" 1}"),
        begin(3, type="tool_use", id="t2", name="g", input={}),
        STOP,
        {"type": "message_stop"},
    )
    one = streamed(body)
    calls = json.loads(call("f", '{"a":1}', "t")) + json.loads(call("g", "{}", "t2"))
    assert one.response == [text("assistant", "hey\u2028", tool_calls=json.dumps(calls, separators=(",", ":")))]
    assert (one.finish_reason, one.tokens_in, one.tokens_out, one.source_id) == ("tool_calls", 3, 8, "msg_1")


@given(st.text(min_size=1), st.lists(st.integers(0, 200), max_size=5))
def test_however_a_text_is_cut_an_anthropic_stream_gives_it_back(content: str, cuts: list[int]) -> None:
    ends = sorted({min(c, len(content)) for c in cuts} | {0, len(content)})
    pieces = [part(0, "text_delta", text=content[a:b]) for a, b in pairwise(ends)]
    one = streamed(events(START, begin(0, type="text", text=""), *pieces))
    assert (one.response, one.finish_reason) == ([text("assistant", content)], None)


SKIPPED: list[tuple[str, dict[str, Any], str]] = [
    (
        "anthropic error",
        {"request": ASKED, "response": {"type": "error", "error": {"type": "overloaded_error"}}},
        "error_response",
    ),
    (
        "anthropic error in a stream",
        {"kind": "anthropic_messages", "request": ASKED, "response_raw": events(START, {"type": "error", "error": {}})},
        "error_response",
    ),
    (
        "status",
        {"kind": "anthropic_messages", "request": ASKED, "status": 529, "response_raw": ""},
        "http_status_529",
    ),
]


@pytest.mark.parametrize(("record", "reason"), [s[1:] for s in SKIPPED], ids=[s[0] for s in SKIPPED])
def test_calls_without_an_answer_are_skipped(record: dict[str, Any], reason: str) -> None:
    assert READER.sniff(record)
    reading = READER.read(record)
    assert (reading.skipped, reading.interactions, reading.feedback) == (reason, (), ())


BAD: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "role",
        {"request": {"messages": [{"role": "SECRET", "content": "a"}]}, "response": said()},
        "bad_value",
        "request.messages[0].role: expected one of assistant,",
    ),
    (
        "only the beginning of the answer",
        {"request": {"messages": [{"role": "assistant", "content": "SECRET"}]}, "response": said()},
        "bad_value",
        "request.messages: expected at least one message before the answer",
    ),
    (
        "delta before its block",
        {
            "kind": "anthropic_messages",
            "request": ASKED,
            "response_raw": events(START, part(0, "text_delta", text="SECRET")),
        },
        "bad_value",
        "response_raw.event[1].index: expected the index of a block that has begun",
    ),
    (
        "no start",
        {"kind": "anthropic_messages", "request": ASKED, "response_raw": events({"type": "ping"})},
        "bad_value",
        "response_raw: expected a stream that begins with message_start",
    ),
]


@pytest.mark.parametrize(("record", "reason", "detail"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_what_the_formats_do_not_allow(record: dict[str, Any], reason: str, detail: str) -> None:
    with pytest.raises(RecordError) as caught:
        READER.read(record)
    assert (caught.value.reason, caught.value.detail[: len(detail)]) == (reason, detail)
    assert "SECRET" not in caught.value.detail
