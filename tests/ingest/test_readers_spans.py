"""Spans: attributes as a tree, OpenInference and Phoenix, OpenTelemetry's conventions in OTLP files."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.errors import RecordError
from ingest.readers.openinference import OpenInference
from ingest.readers.otel_genai import OTelGenAI
from ingest.readers.reading import Ref
from ingest.readers.spans import tree

PHOENIX, OTEL = OpenInference(), OTelGenAI()
START = datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)


def lines(messages: Any) -> list[str]:
    return [f"{m['role']}: {m['content']}" for m in messages]


def test_indices_are_sorted_as_numbers_and_values_stay_whole() -> None:
    flat = {f"m.{i}.role": f"r{i}" for i in (10, 9, 0)} | {"m.0.args": {"1": "x", "a.b": 2}, "p": 1, "p.q": 2}
    assert tree(flat) == {
        "m": [{"role": "r0", "args": {"1": "x", "a.b": 2}}, {"role": "r9"}, {"role": "r10"}],
        "p": {"": 1, "q": 2},
    }
    assert tree({"a": [{"b.c": 1}]}, deep=True) == {"a": [{"b": {"c": 1}}]}


LLM: dict[str, Any] = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "m-1",
    "llm.invocation_parameters": '{"model":"m","temperature":0.5}',
    "llm.input_messages.0.message.role": "system",
    "llm.input_messages.0.message.content": "Be brief.",
    "llm.input_messages.1.message.role": "user",
    "llm.input_messages.1.message.contents.0.message_content.type": "text",
    "llm.input_messages.1.message.contents.0.message_content.text": "hi",
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c-1",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "f",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": "{}",
    "llm.tools.0.tool.json_schema": '{"type":"function","function":{"name":"f"}}',
    "llm.token_count.prompt": 9,
    "llm.token_count.completion": 3,
    "session.id": "s",
    "user.id": "u",
}


def phoenix(attributes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    times = {"start_time": "2025-10-09T08:53:20+00:00", "end_time": "2025-10-09T08:53:20.500000+00:00"}
    context = {"trace_id": "t", "span_id": "s-1"}
    return {"name": "x", "context": context, "parent_id": "s-0", "attributes": attributes} | times | fields


def test_openinference_a_span() -> None:
    [one] = PHOENIX.read(phoenix(LLM)).interactions
    assert (one.source_id, one.parent_id, one.conversation_id, one.user) == ("s-1", "s-0", "s", "u")
    assert lines(one.prompt) == ["system: Be brief.", "user: hi"]
    calls = '[{"id":"c-1","type":"function","function":{"name":"f","arguments":"{}"}}]'
    assert (lines(one.response), one.response[0]["tool_calls"]) == (["assistant: None"], calls)
    assert (one.model, one.model_requested, one.sampling) == ("m-1", "m", '{"temperature":0.5}')
    assert one.tools == '[{"type":"function","function":{"name":"f"}}]'
    assert (one.tokens_in, one.tokens_out, one.latency_ms, one.event_time) == (9, 3, 500.0, START)


def test_openinference_a_row_of_a_dataframe() -> None:
    row = {
        "context.span_id": "s-1",
        "context.trace_id": "t",
        "parent_id": "s-0",
        "start_time": START,
        "attributes.openinference.span.kind": "LLM",
        "attributes.llm.input_messages": [{"message.role": "user", "message.content": "hi"}],
        "attributes.llm.output_messages": [{"message.role": "assistant", "message.content": "hey"}],
    }
    [one] = PHOENIX.read(row).interactions
    assert (lines(one.prompt), lines(one.response), one.event_time) == (["user: hi"], ["assistant: hey"], START)


def test_openinference_a_root_is_the_users_exchange_and_other_spans_are_counted() -> None:
    values = {
        "openinference.span.kind": "AGENT",
        "input.value": "hi",
        "output.value": '{"role":"assistant","content":"hey"}',
    }
    [one] = PHOENIX.read(phoenix(values, parent_id=None)).interactions
    assert (one.source_id, lines(one.prompt), lines(one.response)) == ("t", ["user: hi"], ["assistant: hey"])
    assert PHOENIX.read(phoenix(values)).skipped_parts == {"not_an_llm_span": 1}
    assert PHOENIX.read(phoenix(values | {"input.value": '{"x":1}'}, parent_id=None)).skipped_parts == {
        "trace_without_messages": 1
    }
    assert PHOENIX.read(phoenix(LLM, status_code="ERROR")).skipped_parts == {"error_response": 1}
    unanswered = {key: value for key, value in LLM.items() if "output" not in key}
    assert PHOENIX.read(phoenix(unanswered)).skipped_parts == {"no_response": 1}
    text = {"openinference.span.kind": "LLM", "input.value": "hi", "output.value": "hey"}
    assert lines(PHOENIX.read(phoenix(text)).interactions[0].response) == ["assistant: hey"]


def test_openinference_annotations_on_a_span() -> None:
    """Four: of the span, of its trace, one without direction, one of the session."""
    noted = {
        "annotations.0.annotation.name": "helpful",
        "annotations.0.annotation.label": "up",
        "annotations.0.annotation.annotator_kind": "HUMAN",
        "annotations.0.annotation.explanation": "good",
        "evaluations.0.evaluation.name": "toxicity",
        "evaluations.0.evaluation.score": 1,
        "trace.annotations.0.annotation.name": "correctness",
        "trace.annotations.0.annotation.score": 0,
        "trace.annotations.0.annotation.annotator_kind": "LLM",
        "session.annotations.0.annotation.name": "helpful",
        "session.annotations.0.annotation.score": 1,
    }
    reading = PHOENIX.read(phoenix(LLM | noted))
    assert [(f.source_id, f.target, f.value, f.rater_kind, f.text) for f in reading.feedback] == [
        ("s-1:helpful:", Ref("s-1"), 1.0, "annotator", "good"),
        ("t:correctness:", Ref("t"), -1.0, "model", None),
    ]
    assert reading.skipped_parts == {"score_not_a_thumb": 1, "score_of_a_session": 1}
    assert len(reading.interactions) == 1


ANNOTATION: dict[str, Any] = {
    "id": "a-1",
    "span_id": "s-1",
    "name": "helpful",
    "annotator_kind": "HUMAN",
    "identifier": "",
    "result": {"label": "thumbs-down", "score": None, "explanation": "wrong"},
    "user_id": "u",
    "created_at": "2025-10-09T08:53:20+00:00",
    "updated_at": "1970-01-01T00:00:01+00:00",
}


def test_phoenix_annotations_and_pages() -> None:
    [one] = PHOENIX.read(ANNOTATION).feedback
    assert (one.source_id, one.target, one.value, one.text) == ("a-1", Ref("s-1"), -1.0, "wrong")
    assert (one.rater_kind, one.rater, one.revision, one.event_time) == ("annotator", "u", 1_000_000, START)
    of_trace = {key: value for key, value in ANNOTATION.items() if key != "span_id"} | {"trace_id": "t"}
    page = {"data": [ANNOTATION, of_trace, phoenix(LLM), {"name": "x"}], "next_cursor": None}
    assert PHOENIX.sniff(page)
    reading = PHOENIX.read(page)
    assert [f.target for f in reading.feedback] == [Ref("s-1"), Ref("t")]
    assert (len(reading.interactions), reading.skipped_parts) == (1, {"unreadable_row": 1})
    assert PHOENIX.read(ANNOTATION | {"result": None}).skipped == "no_score"


def typed(value: Any) -> dict[str, Any]:
    """Return a value as OTLP's JSON types it."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [typed(v) for v in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": pairs(value)}}
    return {"stringValue": value}


def pairs(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": typed(value)} for key, value in values.items()]


def spans(*items: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": list(items)}]}]}


def logs(*items: dict[str, Any]) -> dict[str, Any]:
    return {"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {}, "logRecords": list(items)}]}]}


def span(attributes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    times = {"startTimeUnixNano": "1760000000000000000", "endTimeUnixNano": "1760000000250000000"}
    return {"traceId": "t", "spanId": "s-1", "attributes": pairs(attributes)} | times | fields


INPUT = [
    {"role": "user", "parts": [{"type": "text", "content": "hi"}]},
    {"role": "assistant", "parts": [{"type": "tool_call", "id": "c-1", "name": "f", "arguments": {"a.b": {"0": 1}}}]},
    {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c-1", "response": {"x": 2}}]},
]
OUTPUT = [
    {"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"}, {"type": "text", "content": "hey"}]},
    {"role": "assistant", "parts": [{"type": "text", "content": "yo"}], "finish_reason": "length"},
]
CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "m",
    "gen_ai.request.temperature": 0.5,
    "gen_ai.request.choice.count": 2,
    "gen_ai.request.stop_sequences": ["x"],
    "gen_ai.response.model": "m-1",
    "gen_ai.response.finish_reasons": ["stop", "length"],
    "gen_ai.usage.input_tokens": 9,
    "gen_ai.conversation.id": "conv",
}
STATED = {
    "gen_ai.input.messages": INPUT,
    "gen_ai.output.messages": OUTPUT,
    "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
}


@pytest.mark.parametrize("form", ["JSON text", "typed values"])
def test_otel_messages_as_attributes(form: str) -> None:
    stated = {key: json.dumps(value) for key, value in STATED.items()} if form == "JSON text" else STATED
    first, second = OTEL.read(spans(span(CALL | stated))).interactions
    assert lines(first.prompt) == ["system: Be brief.", "user: hi", "assistant: None", 'tool: {"x":2}']
    calls = json.loads(str(first.prompt[2]["tool_calls"]))
    assert calls == [{"id": "c-1", "type": "function", "function": {"name": "f", "arguments": '{"a.b":{"0":1}}'}}]
    assert first.prompt[3]["tool_call_id"] == "c-1"
    assert [(i.choice_index, lines(i.response), i.finish_reason) for i in (first, second)] == [
        (0, ["assistant: hey"], "stop"),
        (1, ["assistant: yo"], "length"),
    ]
    assert (first.source_id, first.conversation_id, first.model, first.model_requested) == ("s-1", "conv", "m-1", "m")
    assert first.sampling == '{"n":2,"stop":["x"],"temperature":0.5}'
    assert (first.tokens_in, first.latency_ms, first.event_time) == (9, 250.0, START)


def test_otel_details_as_an_event_of_the_span_or_of_the_log() -> None:
    name = "gen_ai.client.inference.operation.details"
    event = {"name": name, "attributes": pairs(STATED), "timeUnixNano": "1"}
    record = {"eventName": name, "spanId": "s-1", "traceId": "t", "attributes": pairs(CALL | STATED)}
    for batch in (spans(span(CALL, events=[event])), logs(record)):
        assert [lines(i.response) for i in OTEL.read(batch).interactions] == [["assistant: hey"], ["assistant: yo"]]


def test_otel_one_event_per_message() -> None:
    """In the log the body holds the fields; they are joined by their span, whatever stands between."""
    said: list[tuple[str, dict[str, Any]]] = [
        ("gen_ai.system.message", {"content": "Be brief."}),
        ("gen_ai.user.message", {"content": "hi"}),
        ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hey"}}),
    ]
    records = [
        {"spanId": "s-1", "attributes": pairs({"event.name": name}), "body": typed(body), "timeUnixNano": "1000"}
        for name, body in said
    ]
    reading = OTEL.read(logs(records[0], {"eventName": "other", "spanId": "s-1"}, *records[1:]))
    [one] = reading.interactions
    assert (lines(one.prompt), lines(one.response)) == (["system: Be brief.", "user: hi"], ["assistant: hey"])
    assert (one.source_id, one.finish_reason) == ("s-1", "stop")
    assert reading.skipped_parts == {"not_a_genai_event": 1}
    events = [
        {"name": name, "attributes": pairs(body | {"message": json.dumps(body.get("message"))})} for name, body in said
    ]
    [same] = OTEL.read(spans(span(CALL, events=events))).interactions
    assert (same.prompt, same.response) == (one.prompt, one.response)


def test_otel_numbered_attributes() -> None:
    numbered = {
        f"gen_ai.prompt.{i}.{key}": value for i in range(11) for key, value in (("role", "user"), ("content", f"{i}"))
    }
    numbered |= {
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.finish_reason": "tool_calls",
        "gen_ai.completion.0.tool_calls.0.name": "f",
        "gen_ai.completion.0.tool_calls.0.arguments": "{}",
    }
    [one] = OTEL.read(spans(span(numbered))).interactions
    assert lines(one.prompt) == [f"user: {i}" for i in range(11)]
    assert one.response[0]["tool_calls"] == '[{"type":"function","function":{"name":"f","arguments":"{}"}}]'
    assert one.finish_reason == "tool_calls"


def test_otel_evaluations_name_the_span_they_are_of_else_the_response() -> None:
    result = {
        "gen_ai.evaluation.name": "helpful",
        "gen_ai.evaluation.score.label": "down",
        "gen_ai.evaluation.explanation": "w",
    }
    of_response = result | {"gen_ai.response.id": "resp-1"}
    name = "gen_ai.evaluation.result"
    records = [
        {"eventName": name, "spanId": "s-1", "attributes": pairs(of_response), "timeUnixNano": "1760000000000000000"},
        {"eventName": name, "spanId": "0000000000000000", "attributes": pairs(of_response)},
        {"eventName": name, "attributes": pairs(result)},
        {"eventName": name, "spanId": "s-1", "attributes": pairs(result | {"gen_ai.evaluation.name": "hallucination"})},
    ]
    reading = OTEL.read(logs(*records))
    assert [(f.target, f.value, f.text, f.event_time) for f in reading.feedback] == [
        (Ref("s-1"), -1.0, "w", START),
        (Ref("resp-1"), -1.0, "w", None),
    ]
    assert reading.skipped_parts == {"evaluation_of_nothing": 1, "score_not_a_thumb": 1}
    within = OTEL.read(spans(span(CALL | STATED, events=[{"name": name, "attributes": pairs(result)}])))
    assert ([f.target for f in within.feedback], len(within.interactions)) == ([Ref("s-1")], 2)


SKIPPED: list[tuple[str, dict[str, Any], str]] = [
    ("another span", span({"http.method": "GET"}), "not_a_genai_span"),
    ("a tool", span(CALL | {"gen_ai.operation.name": "execute_tool"}), "not_a_model_call"),
    ("failed", span(CALL | STATED, status={"code": 2}), "error_response"),
    ("contents not recorded", span(CALL), "no_messages"),
    ("no answer", span(CALL | {"gen_ai.input.messages": "[]"} | {"gen_ai.output.messages": OUTPUT}), "no_prompt"),
    (
        "unknown role",
        span(CALL | STATED | {"gen_ai.input.messages": [{"role": "x", "content": "a"}]}),
        "unreadable_span",
    ),
    ("no id", span(CALL | STATED, spanId=None), "unreadable_span"),
]


@pytest.mark.parametrize(("item", "reason"), [s[1:] for s in SKIPPED], ids=[s[0] for s in SKIPPED])
def test_otel_what_says_nothing_is_counted(item: dict[str, Any], reason: str) -> None:
    reading = OTEL.read(spans(item))
    assert (reading.interactions, reading.feedback, reading.skipped_parts) == ((), (), {reason: 1})


def test_otel_openinference_spans_and_links() -> None:
    """Feedback that came later: its span's parent is another one, its link is the target."""
    later = {
        "annotations.0.annotation.name": "helpful",
        "annotations.0.annotation.score": 1,
        "openinference.span.kind": "EVALUATOR",
    }
    linked = span(later, spanId="s-9", parentSpanId="s-8", links=[{"traceId": "t", "spanId": "s-1"}])
    reading = OTEL.read(spans(span(LLM), linked))
    assert [i.source_id for i in reading.interactions] == ["s-1"]
    assert [(f.source_id, f.target) for f in reading.feedback] == [("s-1:helpful:", Ref("s-1"))]
    assert reading.skipped_parts == {"not_an_llm_span": 1}
    assert OTEL.read(spans()).skipped == "no_span"


def test_a_batch_of_another_form_is_refused() -> None:
    with pytest.raises(RecordError, match=r"resourceSpans\[0\]: expected an object"):
        OTEL.read({"resourceSpans": [1]})
    with pytest.raises(RecordError, match=r"llm.output_messages\[0\].role"):
        PHOENIX.read(phoenix(LLM | {"llm.output_messages.0.message.role": "x"}))
