"""Loggers between client and provider: LiteLLM's payloads, Helicone's requests."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.errors import RecordError
from ingest.readers.helicone import Helicone
from ingest.readers.litellm import LiteLLM
from ingest.readers.reading import Interaction, Reader, Ref


def text(role: str, content: str) -> dict[str, str | None]:
    return {"role": role, "content": content, "tool_calls": None, "tool_call_id": None, "name": None}


def completion(*contents: str, **fields: Any) -> dict[str, Any]:
    choices = [
        {"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
        for i, content in enumerate(contents)
    ]
    stated = {"id": "chatcmpl-9", "object": "chat.completion", "created": 1760000000, "model": "m-01"}
    return stated | {"choices": choices} | fields


ASKED = [{"role": "user", "content": "hi"}]
PAYLOAD: dict[str, Any] = {
    "id": "chatcmpl-1",
    "trace_id": "t1",
    "call_type": "acompletion",
    "status": "success",
    "startTime": 1760000000.25,
    "endTime": 1760000000.75,
    "model": "gpt-x",
    "model_group": "support",
    "end_user": "u-1",
    "messages": ASKED,
    "response": completion("hey"),
    "model_parameters": {"temperature": 0.5, "tools": [{"type": "function", "function": {"name": "f"}}]},
    "prompt_tokens": 8,
    "completion_tokens": 1,
    "cache_hit": None,
}
REQUEST: dict[str, Any] = {
    "request_id": "r1",
    "request_created_at": "2025-10-09T08:53:20Z",
    "request_user_id": "u-1",
    "request_properties": {"Helicone-Session-Id": "s1"},
    "request_model": "m",
    "request_body": {"messages": ASKED},
    "response_body": completion("hey"),
    "response_status": 200,
    "delay_ms": 412,
}


def read_all(reader: Reader, record: dict[str, Any]) -> tuple[Interaction, ...]:
    assert reader.sniff(record)
    return reader.read(record).interactions


def test_a_payload() -> None:
    [one] = read_all(LiteLLM(), PAYLOAD)
    assert (one.prompt, one.response) == ([text("user", "hi")], [text("assistant", "hey")])
    assert (one.source_id, one.choice_index, one.conversation_id, one.user) == ("chatcmpl-1", 0, "t1", "u-1")
    assert (one.model, one.model_requested, one.finish_reason) == ("m-01", "support", "stop")
    assert (one.tokens_in, one.tokens_out, one.latency_ms) == (8, 1, 500.0)
    assert (one.sampling, one.tools) == ('{"temperature":0.5}', '[{"type":"function","function":{"name":"f"}}]')
    assert one.event_time == datetime(2025, 10, 9, 8, 53, 20, 250000, tzinfo=UTC)


def test_times_without_a_zone_give_a_latency_and_no_time() -> None:
    """As LiteLLM's own fixture writes them; the response's `created` stays."""
    naive = {"startTime": "2025-01-24 09:20:46.500000", "endTime": "2025-01-24 09:20:46.502000"}
    [one] = read_all(LiteLLM(), PAYLOAD | naive)
    assert (one.latency_ms, one.event_time) == (2.0, datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC))
    zoned = {"startTime": "2025-01-24T09:20:46+01:00", "endTime": None}
    [one] = read_all(LiteLLM(), PAYLOAD | zoned)
    assert (one.latency_ms, one.event_time) == (None, datetime(2025, 1, 24, 8, 20, 46, tzinfo=UTC))


def test_choices_share_the_payloads_id_and_no_token_count() -> None:
    found = read_all(LiteLLM(), PAYLOAD | {"response": completion("a", "b")})
    assert [(i.source_id, i.choice_index, i.tokens_in, i.tokens_out) for i in found] == [
        ("chatcmpl-1", 0, 8, None),
        ("chatcmpl-1", 1, 8, None),
    ]


def test_a_cached_answer_says_so() -> None:
    for hit in (True, "True"):
        [one] = read_all(LiteLLM(), PAYLOAD | {"id": "chatcmpl-1_cache_hit1", "cache_hit": hit})
        assert (one.source_id, one.sampling) == ("chatcmpl-1_cache_hit1", '{"cache_hit":true,"temperature":0.5}')
    [one] = read_all(LiteLLM(), PAYLOAD | {"cache_hit": "None"})
    assert one.sampling == '{"temperature":0.5}'


CLAUDE = {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "hey"}]}
OUTPUT = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hey"}]}
OTHER_APIS: list[tuple[str, dict[str, Any]]] = [
    ("text", {"call_type": "atext_completion", "response": {"choices": [{"index": 0, "text": "hey"}]}}),
    (
        "a prompt as text",
        {"call_type": "text_completion", "messages": "hi", "response": {"choices": [{"text": "hey"}]}},
    ),
    ("anthropic", {"call_type": "anthropic_messages", "response": CLAUDE}),
    (
        "responses",
        {"call_type": "aresponses", "messages": "hi", "response": {"object": "response", "output": [OUTPUT]}},
    ),
    ("chat of a text", {"messages": "hi"}),
]


@pytest.mark.parametrize("fields", [o[1] for o in OTHER_APIS], ids=[o[0] for o in OTHER_APIS])
def test_payloads_of_other_apis(fields: dict[str, Any]) -> None:
    [one] = read_all(LiteLLM(), PAYLOAD | fields)
    assert (one.prompt, one.response) == ([text("user", "hi")], [text("assistant", "hey")])
    assert (one.source_id, one.model_requested) == ("chatcmpl-1", "support")


@pytest.mark.parametrize("response", [completion("hey"), CLAUDE], ids=["translated", "as it came"])
def test_an_anthropic_system_prompt_is_never_lost(response: dict[str, Any]) -> None:
    stated = {"call_type": "anthropic_messages", "model_parameters": {"system": "s"}, "response": response}
    [one] = read_all(LiteLLM(), PAYLOAD | stated)
    assert one.prompt == [text("system", "s"), text("user", "hi")]


RESPONSE_API = {
    "object": "response",
    "output": [OUTPUT | {"content": [{"type": "output_text", "text": "redacted-by-litellm"}]}],
}
SKIPPED: list[tuple[str, Reader, dict[str, Any], str]] = [
    (
        "redacted prompt",
        LiteLLM(),
        PAYLOAD | {"messages": [{"role": "user", "content": "redacted-by-litellm"}]},
        "redacted_by_litellm",
    ),
    ("redacted answer", LiteLLM(), PAYLOAD | {"response": completion("redacted-by-litellm")}, "redacted_by_litellm"),
    ("redacted text", LiteLLM(), PAYLOAD | {"response": {"text": "redacted-by-litellm"}}, "redacted_by_litellm"),
    ("redacted output", LiteLLM(), PAYLOAD | {"response": RESPONSE_API}, "redacted_by_litellm"),
    ("placeholder", LiteLLM(), PAYLOAD | {"messages": "default-message-value"}, "default_message_value"),
    (
        "placeholder message",
        LiteLLM(),
        PAYLOAD | {"messages": [{"role": "user", "content": "default-message-value"}]},
        "default_message_value",
    ),
    (
        "rate limit",
        LiteLLM(),
        PAYLOAD | {"status": "failure", "response": {}, "error_information": {"error_code": "429"}},
        "http_status_429",
    ),
    ("failure", LiteLLM(), PAYLOAD | {"status": "failure", "response": None}, "failure"),
    ("embedding", LiteLLM(), PAYLOAD | {"call_type": "aembedding"}, "call_type_aembedding"),
    ("strange type", LiteLLM(), PAYLOAD | {"call_type": "Jane Doe"}, "call_type_unknown"),
    ("nothing asked", LiteLLM(), PAYLOAD | {"messages": {}}, "no_prompt"),
    ("nothing said", LiteLLM(), PAYLOAD | {"response": {}}, "no_response"),
    (
        "stub",
        Helicone(),
        REQUEST | {"response_body": {"helicone_message": "fetching body from signed_url"}},
        "stub_body",
    ),
    ("stub as text", Helicone(), REQUEST | {"request_body": '{"helicone_message":"fetching"}'}, "stub_body"),
    ("error", Helicone(), REQUEST | {"response_status": 500}, "http_status_500"),
    ("cancelled", Helicone(), REQUEST | {"response_status": -3}, "no_response"),
    ("no body", Helicone(), REQUEST | {"response_body": ""}, "no_response"),
    ("no request", Helicone(), REQUEST | {"request_body": None}, "no_prompt"),
    ("error as an answer", Helicone(), REQUEST | {"response_body": {"error": {"code": 1}}}, "error_response"),
]


@pytest.mark.parametrize(("reader", "record", "reason"), [s[1:] for s in SKIPPED], ids=[s[0] for s in SKIPPED])
def test_what_is_skipped(reader: Reader, record: dict[str, Any], reason: str) -> None:
    assert reader.sniff(record)
    reading = reader.read(record)
    assert (reading.skipped, reading.interactions, reading.feedback) == (reason, (), ())


def test_a_request_of_helicone() -> None:
    [one] = read_all(Helicone(), REQUEST)
    assert (one.prompt, one.response) == ([text("user", "hi")], [text("assistant", "hey")])
    assert (one.source_id, one.conversation_id, one.user, one.latency_ms) == ("r1", "s1", "u-1", 412.0)
    assert (one.model, one.model_requested, one.sampling) == ("m-01", "m", None)
    assert one.event_time == datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)
    as_text = {key: json.dumps(REQUEST[key]) for key in ("request_body", "response_body")}
    assert read_all(Helicone(), REQUEST | as_text) == (one,)
    [cached] = read_all(Helicone(), REQUEST | {"cache_reference_id": "0c1"})
    assert cached.sampling == '{"cache_hit":true}'


def test_feedback_of_helicone() -> None:
    stated = {"feedback_id": 7, "feedback_rating": False, "feedback_created_at": "2025-10-09T08:54:00Z"}
    scores = {"helpful": {"value": 1, "valueType": "boolean"}, "length": 3, "helicone-score-feedback": 0}
    reading = Helicone().read(REQUEST | stated | {"scores": scores})
    assert [(f.source_id, f.value, f.rater_kind) for f in reading.feedback] == [
        ("r1:helpful", 1.0, None),
        ("7", -1.0, "user"),
    ]
    assert {(f.signal, f.scale_min, f.scale_max, f.target) for f in reading.feedback} == {
        ("thumb", -1.0, 1.0, Ref("r1"))
    }
    assert reading.feedback[1].event_time == datetime(2025, 10, 9, 8, 54, tzinfo=UTC)
    assert reading.skipped_parts == {"score_not_a_thumb": 1}


def test_a_thumb_that_only_the_scores_keep_and_that_changes() -> None:
    first = REQUEST | {"scores": {"helicone-score-feedback": 1}, "updated_at": "2025-10-09T08:54:00Z"}
    later = REQUEST | {"scores": {"helicone-score-feedback": 0}, "updated_at": "2025-10-09T08:55:00Z"}
    [before], [after] = Helicone().read(first).feedback, Helicone().read(later).feedback
    assert (before.source_id, before.value, after.source_id, after.value) == ("r1:feedback", 1.0, "r1:feedback", -1.0)
    assert after.revision - before.revision == 60_000_000


def test_feedback_on_a_stub_is_kept() -> None:
    stub = {"helicone_message": "fetching body from signed_url"}
    reading = Helicone().read(REQUEST | {"request_body": stub, "response_body": stub, "feedback_rating": True})
    assert (reading.interactions, len(reading.feedback), reading.skipped_parts) == ((), 1, {"stub_body": 1})


BAD: list[tuple[str, Reader, dict[str, Any], str, str]] = [
    (
        "another API",
        LiteLLM(),
        PAYLOAD | {"response": {"SECRET": 1}},
        "bad_value",
        "request and response: expected the bodies of an API that has a reader",
    ),
    ("message", LiteLLM(), PAYLOAD | {"messages": [{"role": "SECRET"}]}, "bad_value", "request.messages[0].role: "),
    ("time", LiteLLM(), PAYLOAD | {"startTime": "SECRET"}, "bad_value", "startTime: expected an ISO 8601 time"),
    ("body", Helicone(), REQUEST | {"request_body": "SECRET"}, "wrong_type", "request_body: expected an object"),
]


@pytest.mark.parametrize(("reader", "record", "reason", "detail"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_what_the_formats_do_not_allow(reader: Reader, record: dict[str, Any], reason: str, detail: str) -> None:
    with pytest.raises(RecordError) as caught:
        reader.read(record)
    assert (caught.value.reason, caught.value.detail[: len(detail)]) == (reason, detail)
    assert "SECRET" not in caught.value.detail


def test_files_of_one_object_and_json_lines_are_one_source(workspace: Any, log: Callable[..., bytes]) -> None:
    """S3: one object a file, on one line or printed over several; three of the five calls are answers."""
    failed = PAYLOAD | {"id": "failure-1", "status": "failure", "response": None}
    (workspace.logs / "chatcmpl-1.json").write_text(json.dumps(PAYLOAD))
    (workspace.logs / "chatcmpl-2.json").write_text(json.dumps(PAYLOAD | {"id": "chatcmpl-2"}, indent=2) + "\n")
    (workspace.logs / "failure-1.json").write_text(json.dumps(failed))
    redacted = PAYLOAD | {"id": "chatcmpl-4", "messages": "redacted-by-litellm"}
    (workspace.logs / "more.jsonl").write_bytes(log(PAYLOAD | {"id": "chatcmpl-3"}, redacted, PAYLOAD))
    summary = workspace.run()
    assert sorted(workspace.rows("interactions", "source_id")) == ["chatcmpl-1", "chatcmpl-2", "chatcmpl-3"]
    assert summary.skipped() == {"failure": 1, "redacted_by_litellm": 1, "duplicate": 1}
    # A retry shares its trace: what it says is a sibling of what the first call said.
    assert len(set(workspace.rows("interactions", "sibling_group"))) == 1
