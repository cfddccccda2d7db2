"""OpenAI chat completions: plain, recorded and streamed."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import RecordError
from ingest.readers.openai_chat import OpenAIChat
from ingest.schema import content_id

REQUEST: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
READER = OpenAIChat()


def text(role: str, content: str | None) -> dict[str, str | None]:
    return {"role": role, "content": content, "tool_calls": None, "tool_call_id": None, "name": None}


def completion(*choices: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "c-1", "object": "chat.completion", "model": "m-1", "choices": list(choices), **fields}


def choice(content: Any = "hey", index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"index": index, "message": {"role": "assistant", "content": content}, "finish_reason": "stop", **fields}


def read_one(record: dict[str, Any]) -> Any:
    [one] = READER.read(record).interactions
    return one


def test_a_plain_exchange() -> None:
    request = REQUEST | {"temperature": 0.5, "seed": 7, "stream": False, "user": "u-1", "n": None}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    one = read_one({"request": request, "response": completion(choice(), created=1760000000, usage=usage)})
    assert (one.source_id, one.choice_index, one.user) == ("c-1", 0, "u-1")
    assert one.prompt == [text("user", "hi")]
    assert one.response == [text("assistant", "hey")]
    assert (one.model, one.model_requested, one.sampling) == ("m-1", "m", '{"seed":7,"temperature":0.5}')
    assert (one.finish_reason, one.tokens_in, one.tokens_out) == ("stop", 3, 2)
    assert one.event_time == datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)
    assert (one.tools, one.token_ids, one.token_logprobs, one.logprob_model, one.shown) == (None,) * 5


CREATED = [
    ("seconds", 1760000000, datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)),
    ("milliseconds", 1760000000000, datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)),
    ("zero is unknown", 0, None),
    ("absent", None, None),
]


@pytest.mark.parametrize(("created", "expected"), [c[1:] for c in CREATED], ids=[c[0] for c in CREATED])
def test_created(created: int | None, expected: datetime | None) -> None:
    assert read_one({"request": REQUEST, "response": completion(choice(), created=created)}).event_time == expected


def test_n_choices_are_n_interactions_and_their_usage_is_nobodys() -> None:
    response = completion(choice("a", 0), choice("b", 1), usage={"prompt_tokens": 3, "completion_tokens": 9})
    reading = READER.read({"request": REQUEST, "response": response})
    assert [(i.source_id, i.choice_index, i.response[0]["content"]) for i in reading.interactions] == [
        ("c-1", 0, "a"),
        ("c-1", 1, "b"),
    ]
    assert [(i.tokens_in, i.tokens_out) for i in reading.interactions] == [(3, None), (3, None)]


def test_choices_without_an_index_are_numbered_by_their_place() -> None:
    response = completion(*({k: v for k, v in choice(text).items() if k != "index"} for text in "ab"))
    reading = READER.read({"request": REQUEST, "response": response})
    assert [(i.choice_index, i.response[0]["content"]) for i in reading.interactions] == [(0, "a"), (1, "b")]


def test_without_an_id_the_content_is_the_id() -> None:
    response = completion(choice()) | {"id": ""}
    one = read_one({"request": REQUEST, "response": response})
    assert one.source_id == content_id([[text("user", "hi")], [text("assistant", "hey")], "m-1"])


CONTENTS = [
    ("null with a tool call", {"content": None, "tool_calls": [{"id": "t", "function": {"name": "f"}}]}, None),
    ("one text part", {"content": [{"type": "text", "text": "a"}]}, "a"),
    ("text parts", {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb"),
    ("refusal", {"content": None, "refusal": "I cannot."}, "I cannot."),
    ("both", {"content": "a", "refusal": "b"}, "a"),
    ("empty", {"content": ""}, ""),
    (
        "an image",
        {"content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        '[{"type":"image_url","image_url":{"url":"x"}}]',
    ),
]


@pytest.mark.parametrize(("message", "expected"), [c[1:] for c in CONTENTS], ids=[c[0] for c in CONTENTS])
def test_contents(message: dict[str, Any], expected: str | None) -> None:
    one = read_one({"request": REQUEST, "response": completion(choice() | {"message": message})})
    assert one.response[0]["content"] == expected


def test_tool_calls_and_tools_keep_their_order_and_the_older_forms_become_the_newer() -> None:
    call = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    newer = read_one(
        {
            "request": REQUEST | {"tools": [{"type": "function", "function": {"name": "f"}}]},
            "response": completion(choice() | {"message": {"content": None, "tool_calls": [call]}}),
        }
    )
    assert newer.response[0]["tool_calls"] == (
        '[{"id":"t","type":"function","function":{"name":"f","arguments":"{}"}}]'
    )
    assert newer.tools == '[{"type":"function","function":{"name":"f"}}]'
    older = read_one(
        {
            "request": REQUEST | {"functions": [{"name": "f"}]},
            "response": completion(choice() | {"message": {"function_call": {"name": "f", "arguments": "{}"}}}),
        }
    )
    assert older.response[0]["tool_calls"] == '[{"type":"function","function":{"name":"f","arguments":"{}"}}]'
    assert older.tools == newer.tools


def test_log_probabilities_and_token_ids() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1}]}
    one = read_one({"request": REQUEST, "response": completion(choice(logprobs=logprobs, token_ids=[3, 4]))})
    assert (one.token_ids, one.token_logprobs, one.logprob_model) == ([3, 4], [-0.5, -1.0], "m-1")


def test_a_filtered_choice_said_nothing() -> None:
    one = read_one({"request": REQUEST, "response": completion({"index": 0, "finish_reason": "content_filter"})})
    assert (one.response, one.finish_reason) == ([text("assistant", None)], "content_filter")


SKIPPED: list[tuple[str, dict[str, Any], str]] = [
    ("status", {"request": REQUEST, "response": {"error": {}}, "status": 429}, "http_status_429"),
    ("null response", {"request": REQUEST, "response": None}, "no_response"),
    ("empty body", {"kind": "openai_chat", "request": REQUEST, "response_raw": " \n"}, "no_response"),
    ("error", {"request": REQUEST, "response": {"error": {"code": "x"}}}, "error_response"),
    ("no choice", {"request": REQUEST, "response": completion()}, "no_choice"),
    (
        "error in a stream",
        {"kind": "openai_chat", "request": REQUEST, "response_raw": 'data: {"error":{"code":1}}\n\n'},
        "error_response",
    ),
]


@pytest.mark.parametrize(("record", "reason"), [s[1:] for s in SKIPPED], ids=[s[0] for s in SKIPPED])
def test_calls_without_an_answer_are_skipped(record: dict[str, Any], reason: str) -> None:
    assert READER.sniff(record)
    reading = READER.read(record)
    assert (reading.skipped, reading.interactions, reading.feedback) == (reason, (), ())


def with_message(**fields: Any) -> dict[str, Any]:
    return {"request": {"messages": [{"role": "user", "content": "SECRET"} | fields]}, "response": completion(choice())}


BAD: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "content is a number",
        with_message(content=7),
        "wrong_type",
        "request.messages[0].content: expected text or a list of parts, got a number",
    ),
    ("no role", with_message(role=None), "missing_field", "request.messages[0].role: "),
    ("unknown role", with_message(role="SECRET"), "bad_value", "request.messages[0].role: expected one of assistant,"),
    ("a user says nothing", with_message(content=None), "missing_field", "request.messages[0].content: "),
    (
        "no messages",
        {"request": {}, "response": completion(choice())},
        "missing_field",
        "request.messages: expected a list, and it is absent or null",
    ),
    ("empty messages", {"request": {"messages": []}, "response": completion(choice())}, "bad_value", "at least one"),
    (
        "message is a text",
        {"request": {"messages": ["SECRET"]}, "response": completion(choice())},
        "wrong_type",
        "request.messages[0]: expected an object, got text",
    ),
    (
        "choices is an object",
        {"request": REQUEST, "response": completion() | {"choices": {"a": 1}}},
        "wrong_type",
        "response.choices: expected a list, got an object",
    ),
    (
        "choice without a message",
        {"request": REQUEST, "response": completion({"index": 0})},
        "missing_field",
        "response.choices[0].message: ",
    ),
    (
        "unaligned tokens",
        {
            "request": REQUEST,
            "response": completion(choice(token_ids=[1, 2], logprobs={"content": [{"logprob": -1.0}]})),
        },
        "bad_value",
        "one id for each of the 1 log-probabilities, got 2",
    ),
    (
        "token id is a text",
        {"request": REQUEST, "response": completion(choice(token_ids=["SECRET"]))},
        "wrong_type",
        "response.choices[0].token_ids[0]",
    ),
    (
        "token id does not fit",
        {"request": REQUEST, "response": completion(choice(token_ids=[2**31]))},
        "bad_value",
        "a whole number from 0 to 2147483647",
    ),
    (
        "body is no JSON",
        {"kind": "openai_chat", "request": REQUEST, "response_raw": "SECRET"},
        "bad_value",
        "response_raw: expected JSON or a stream of events",
    ),
    (
        "event is no JSON",
        {"kind": "openai_chat", "request": REQUEST, "response_raw": 'data: {}\n\ndata: {"SECRET'},
        "bad_value",
        "response_raw: event 1 is not JSON",
    ),
    (
        "before 1970",
        {"request": REQUEST, "response": completion(choice(), created=-1)},
        "bad_value",
        "response.created: expected seconds since 1970",
    ),
    ("another API", {"kind": "gemini", "request": {}, "response_raw": "SECRET"}, "unknown_format", "kind: "),
    ("true is no number", {"request": REQUEST, "status": True, "response": {}}, "wrong_type", "got true or false"),
]


@pytest.mark.parametrize(("record", "reason", "detail"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_what_the_format_does_not_allow(record: dict[str, Any], reason: str, detail: str) -> None:
    with pytest.raises(RecordError) as caught:
        READER.read(record)
    assert caught.value.reason == reason
    assert detail in caught.value.detail
    assert "SECRET" not in caught.value.detail


def chunk(delta: dict[str, Any], index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"id": "c-1", "model": "m-1", "choices": [{"index": index, "delta": delta, **fields}]}


def stream(*chunks: dict[str, Any]) -> dict[str, Any]:
    body = "".join(f"data: {json.dumps(c, ensure_ascii=False)}\n\n" for c in chunks)
    return {"kind": "openai_chat", "request": REQUEST, "response_raw": ": ping\n" + body + "data: [DONE]\n\n"}


def test_a_stream_is_joined() -> None:
    one = read_one(
        stream(
            {"id": "", "model": "", "created": 0, "choices": []},
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "he"}, logprobs={"content": [{"logprob": -0.5}]}, token_ids=[1]),
            chunk({"content": "y\u2028"}, logprobs={"content": [{"logprob": -0.25}]}, token_ids=[2]),
            chunk({}, finish_reason="stop"),
            {"id": "c-1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
        )
    )
    assert (one.source_id, one.model) == ("c-1", "m-1")
    assert one.response == [text("assistant", "hey\u2028")]
    assert (one.finish_reason, one.tokens_in, one.tokens_out) == ("stop", 3, 2)
    assert (one.token_ids, one.token_logprobs) == ([1, 2], [-0.5, -0.25])


def test_streamed_tool_calls_are_joined_by_index() -> None:
    one = read_one(
        stream(
            chunk({"tool_calls": [{"index": 0, "id": "t0", "type": "function", "function": {"name": "f"}}]}),
            chunk({"tool_calls": [{"index": 1, "id": "t1", "function": {"name": "g", "arguments": ""}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}, finish_reason="tool_calls"),
        )
    )
    assert json.loads(one.response[0]["tool_calls"]) == [
        {"id": "t0", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"id": "t1", "function": {"name": "g", "arguments": ""}},
    ]
    assert one.response[0]["content"] is None


def test_streamed_choices_and_refusals_are_kept_apart() -> None:
    reading = READER.read(
        stream(chunk({"content": "a"}, 1), chunk({"refusal": "I "}, 0), chunk({"refusal": "cannot."}, 0))
    )
    assert [(i.choice_index, i.response[0]["content"]) for i in reading.interactions] == [(0, "I cannot."), (1, "a")]


@given(st.text(min_size=1), st.lists(st.integers(0, 200), max_size=5))
def test_however_a_text_is_cut_its_stream_gives_it_back(content: str, cuts: list[int]) -> None:
    ends = sorted({min(c, len(content)) for c in cuts} | {0, len(content)})
    pieces = [content[a:b] for a, b in pairwise(ends)]
    one = read_one(stream(*(chunk({"content": piece}) for piece in pieces)))
    assert one.response[0]["content"] == content
