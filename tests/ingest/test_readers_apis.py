"""APIs of other forms than chat completions: text completions, Gemini, Ollama."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.errors import RecordError
from ingest.readers.gemini import Gemini
from ingest.readers.ollama import Ollama
from ingest.readers.openai_completions import OpenAICompletions
from ingest.readers.reading import Interaction, Reader
from ingest.schema import content_id

COMPLETIONS, GEMINI, OLLAMA = OpenAICompletions(), Gemini(), Ollama()


def text(role: str, content: str | None, **fields: Any) -> dict[str, str | None]:
    return {"role": role, "content": content, "tool_calls": None, "tool_call_id": None, "name": None} | fields


def call(name: str, arguments: str, call_id: str | None = None) -> str:
    stated = {} if call_id is None else {"id": call_id}
    return json.dumps(
        [stated | {"type": "function", "function": {"name": name, "arguments": arguments}}], separators=(",", ":")
    )


def read_one(reader: Reader, request: dict[str, Any], response: dict[str, Any], **row: Any) -> Interaction:
    record = {"request": request, "response": response} | row
    assert reader.sniff(record)
    [one] = reader.read(record).interactions
    return one


def events(*values: dict[str, Any]) -> str:
    """Return a stream; OpenAI's ends with [DONE], and no other API minds it."""
    return "".join(f"event: x\ndata: {json.dumps(v, ensure_ascii=False)}\n\n" for v in values) + "data: [DONE]\n\n"


def streamed(reader: Reader, kind: str, request: dict[str, Any], body: str) -> Interaction:
    record = {"kind": kind, "status": 200, "request": request, "response_raw": body}
    assert reader.sniff(record)
    [one] = reader.read(record).interactions
    return one


# Text completions

PROMPT = {"model": "m", "prompt": "Once", "max_tokens": 5}


def completion(*choices: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "cmpl-1", "object": "text_completion", "created": 1760000000, "choices": list(choices), **fields}


def test_a_completion() -> None:
    choice = {"index": 0, "text": " upon", "finish_reason": "length", "logprobs": {"token_logprobs": [-0.5, -1]}}
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    one = read_one(COMPLETIONS, PROMPT, completion(choice, model="m-1", usage=usage))
    assert (one.prompt, one.response) == ([text("user", "Once")], [text("assistant", " upon")])
    assert (one.source_id, one.finish_reason, one.tokens_in, one.tokens_out) == ("cmpl-1", "length", 1, 2)
    assert (one.token_logprobs, one.logprob_model, one.sampling) == ([-0.5, -1.0], "m-1", '{"max_tokens":5}')
    assert one.event_time == datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)


def test_two_prompts_with_two_choices_each() -> None:
    choices = [{"index": i, "text": f"r{i}"} for i in range(4)]
    record = {"request": PROMPT | {"prompt": ["a", "b"], "n": 2}, "response": completion(*choices)}
    found = [
        (i.choice_index, i.prompt[0]["content"], i.response[0]["content"])
        for i in COMPLETIONS.read(record).interactions
    ]
    assert found == [(0, "a", "r0"), (1, "a", "r1"), (2, "b", "r2"), (3, "b", "r3")]


def test_an_echoed_prompt_is_no_part_of_the_completion() -> None:
    logged = {"token_logprobs": [None, -1.0]}
    one = read_one(
        COMPLETIONS, PROMPT | {"echo": True}, completion({"index": 0, "text": "Once upon", "logprobs": logged})
    )
    assert (one.response, one.token_logprobs) == ([text("assistant", " upon")], None)


def test_streams_of_completions_are_joined() -> None:
    chunk = {"id": "cmpl-1", "choices": [{"index": 0, "text": " up", "logprobs": {"token_logprobs": [-0.5]}}]}
    last = {"choices": [{"index": 0, "text": "on", "finish_reason": "stop"}], "usage": {"completion_tokens": 2}}
    one = streamed(COMPLETIONS, "openai_completions", PROMPT, events(chunk, last))
    assert (one.response, one.finish_reason, one.token_logprobs) == ([text("assistant", " upon")], "stop", [-0.5])
    writer = events({"value": " up"}, {"value": "on"})
    assert streamed(COMPLETIONS, "openai_completions", PROMPT, writer).response == [text("assistant", " upon")]


# Gemini

CONTENTS: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def candidate(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP"} | fields


def test_a_gemini_exchange() -> None:
    request = CONTENTS | {
        "systemInstruction": {"parts": [{"text": "s"}]},
        "generationConfig": {"temperature": 0, "topK": None},
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}, {"codeExecution": {}}],
    }
    response = {
        "candidates": [
            candidate({"text": "no", "thought": True}, {"text": "he"}, {"text": "y", "thoughtSignature": "x"})
        ],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "thoughtsTokenCount": 5},
        "modelVersion": "g-1",
        "responseId": "r1",
        "createTime": "2025-10-10T15:56:32.819932Z",
    }
    one = read_one(GEMINI, request, response, path_only="/v1beta/models/g:generateContent")
    assert one.prompt == [text("system", "s"), text("user", "hi")]
    assert one.response == [text("assistant", "hey")]
    assert (one.source_id, one.model, one.model_requested, one.sampling) == ("r1", "g-1", "g", '{"temperature":0}')
    assert (one.finish_reason, one.tokens_in, one.tokens_out) == ("stop", 3, 7)
    assert one.event_time == datetime(2025, 10, 10, 15, 56, 32, 819932, tzinfo=UTC)
    assert json.loads(one.tools or "") == [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "OBJECT"}}},
        {"codeExecution": {}},
    ]


def test_gemini_calls_and_results_in_either_spelling() -> None:
    request = {
        "contents": [
            {"parts": [{"text": "a"}, {"text": "b"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"x": 1}}}]},
            {"role": "user", "parts": [{"function_response": {"name": "f", "response": {"y": 2}}}]},
        ]
    }
    one = read_one(GEMINI, request, {"candidates": [candidate({"function_call": {"name": "g"}}, finishReason=2)]})
    assert one.prompt == [
        text("user", "a\nb"),
        text("assistant", None, tool_calls=call("f", '{"x":1}')),
        text("tool", '{"y":2}', name="f"),
    ]
    assert (one.response, one.finish_reason) == ([text("assistant", None, tool_calls=call("g", "{}"))], "length")


def test_gemini_candidates_are_siblings_and_chunks_are_joined() -> None:
    tokens = {"chosenCandidates": [{"token": "a", "logProbability": -0.5}]}
    chunks = [
        {
            "responseId": "r",
            "candidates": [candidate({"text": "a"}, index=0, logprobsResult=tokens, finishReason=None)],
        },
        {"responseId": "r", "candidates": [candidate({"text": "b"}, index=0), candidate({"text": "c"}, index=1)]},
    ]
    for body in (events(*chunks), json.dumps(chunks)):
        record = {"kind": "gemini", "status": 200, "request": CONTENTS, "response_raw": body}
        found = GEMINI.read(record).interactions
        assert [(i.choice_index, i.response[0]["content"]) for i in found] == [(0, "ab"), (1, "c")]
        assert [(i.token_logprobs, i.finish_reason) for i in found] == [([-0.5], "stop"), (None, "stop")]


# Ollama

CHAT: dict[str, Any] = {"model": "l", "messages": [{"role": "user", "content": "hi"}], "options": {"seed": 1}}
DONE = {"model": "l", "created_at": "2024-06-06T18:17:48.123456789Z", "done": True, "done_reason": "stop"}


def test_an_ollama_chat() -> None:
    function = {"function": {"name": "f", "arguments": {"a": 1}}}
    messages = [
        *CHAT["messages"],
        {"role": "assistant", "content": "", "tool_calls": [function]},
        {"role": "tool", "content": "5", "tool_name": "f"},
    ]
    message = {"role": "assistant", "content": "hey", "thinking": "hm"}
    counts = {"prompt_eval_count": 3, "eval_count": 2, "total_duration": 1_500_000}
    one = read_one(OLLAMA, CHAT | {"messages": messages, "format": ""}, DONE | counts | {"message": message})
    assert one.prompt == [
        text("user", "hi"),
        text("assistant", None, tool_calls=call("f", '{"a":1}')),
        text("tool", "5", name="f"),
    ]
    assert one.response == [text("assistant", "hey")]
    assert one.source_id == content_id([one.prompt, one.response, "l"])
    assert (one.sampling, one.finish_reason, one.tokens_in, one.tokens_out) == ('{"options":{"seed":1}}', "stop", 3, 2)
    assert one.latency_ms == 1.5
    assert one.event_time == datetime(2024, 6, 6, 18, 17, 48, 123456, tzinfo=UTC)


def test_an_ollama_stream_is_joined() -> None:
    function = {"function": {"name": "f", "arguments": {}}}
    lines = [
        {"created_at": DONE["created_at"], "message": {"role": "assistant", "content": "he"}, "done": False},
        {"created_at": DONE["created_at"], "message": {"role": "assistant", "content": "y"}, "done": False},
        DONE | {"message": {"role": "assistant", "content": "", "tool_calls": [function]}},
    ]
    one = streamed(OLLAMA, "ollama", CHAT, "\n".join(map(json.dumps, lines)) + "\n")
    assert one.response == [text("assistant", "hey", tool_calls=call("f", "{}"))]
    assert one.finish_reason == "stop"


def test_ollama_generate() -> None:
    request = {"model": "l", "prompt": "p", "system": "s", "context": [], "images": ["aGk="], "raw": False}
    lines = [{"created_at": DONE["created_at"], "response": "a", "done": False}, DONE | {"response": "b"}]
    one = streamed(OLLAMA, "ollama", request, "\n".join(map(json.dumps, lines)))
    image = '[{"type":"text","text":"p"},{"type":"image","data":"aGk="}]'
    assert one.prompt == [text("system", "s"), text("user", image)]
    assert one.response == [text("assistant", "ab")]


# What has no answer, and what is not allowed

SKIPPED: list[tuple[str, Reader, dict[str, Any], str]] = [
    ("infill", COMPLETIONS, {"request": PROMPT | {"suffix": "end"}, "response": completion()}, "fill_in_the_middle"),
    ("no choice", COMPLETIONS, {"request": PROMPT, "response": completion()}, "no_choice"),
    (
        "blocked prompt",
        GEMINI,
        {"request": CONTENTS, "response": {"promptFeedback": {"blockReason": "SAFETY"}}},
        "prompt_blocked",
    ),
    ("null", GEMINI, {"request": CONTENTS, "response": None}, "no_response"),
    (
        "context tokens",
        OLLAMA,
        {"request": {"prompt": "p", "context": [1, 2]}, "response": DONE | {"response": "a"}},
        "prompt_not_logged",
    ),
    (
        "ollama error",
        OLLAMA,
        {"kind": "ollama", "request": CHAT, "status": 200, "response_raw": '{"error":"no model"}'},
        "error_response",
    ),
]


@pytest.mark.parametrize(("reader", "record", "reason"), [s[1:] for s in SKIPPED], ids=[s[0] for s in SKIPPED])
def test_calls_without_an_answer_are_skipped(reader: Reader, record: dict[str, Any], reason: str) -> None:
    assert reader.sniff(record)
    reading = reader.read(record)
    assert (reading.skipped, reading.interactions, reading.feedback) == (reason, (), ())


BAD: list[tuple[str, Reader, dict[str, Any], str, str]] = [
    (
        "token ids",
        COMPLETIONS,
        {"request": {"prompt": [1, 2]}, "response": completion({"text": "a"})},
        "wrong_type",
        "request.prompt[0]: expected text, got a number",
    ),
    (
        "no echo",
        COMPLETIONS,
        {"request": PROMPT | {"echo": True}, "response": completion({"text": "SECRET"})},
        "bad_value",
        "response.choices[0].text: expected a text that begins with the prompt",
    ),
    (
        "gemini role",
        GEMINI,
        {"request": {"contents": [{"role": "SECRET", "parts": []}]}, "response": {"candidates": [candidate()]}},
        "bad_value",
        "request.contents[0].role: expected one of function, model, user",
    ),
    (
        "nothing asked",
        GEMINI,
        {"request": {"contents": []}, "response": {"candidates": [candidate()]}},
        "bad_value",
        "request.contents: expected at least one part",
    ),
    (
        "not JSON",
        OLLAMA,
        {"kind": "ollama", "request": CHAT, "response_raw": '{"done":false}\nSECRET'},
        "bad_value",
        "response_raw: line 1 is not JSON",
    ),
]


@pytest.mark.parametrize(("reader", "record", "reason", "detail"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_what_the_formats_do_not_allow(reader: Reader, record: dict[str, Any], reason: str, detail: str) -> None:
    with pytest.raises(RecordError) as caught:
        reader.read(record)
    assert (caught.value.reason, caught.value.detail[: len(detail)]) == (reason, detail)
    assert "SECRET" not in caught.value.detail
