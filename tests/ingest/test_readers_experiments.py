"""MLflow's traces and assessments, Weave's calls and feedback."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.errors import RecordError
from ingest.readers.mlflow_traces import MLflowTraces
from ingest.readers.reading import Ref
from ingest.readers.weave import Weave

MLFLOW, WEAVE = MLflowTraces(), Weave()
START = datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)


def lines(messages: Any) -> list[str]:
    return [f"{m['role']}: {m['content']}" for m in messages]


def span(key: str, parent: str | None, kind: str, inputs: Any, outputs: Any, **fields: Any) -> dict[str, Any]:
    stored = {"mlflow.spanType": kind, "mlflow.spanInputs": inputs, "mlflow.spanOutputs": outputs}
    return {
        "span_id": key,
        "parent_span_id": parent,
        "start_time_unix_nano": 1760000000000000000,
        "end_time_unix_nano": 1760000000250000000,
        "status": {"code": "OK"},
        "attributes": {name: json.dumps(value) for name, value in stored.items()},
    } | fields


CALL = (
    {"messages": [{"role": "user", "content": "hi"}]},
    {"model": "m-1", "choices": [{"message": {"content": "hey"}}]},
)
FEEDBACK: dict[str, Any] = {
    "assessment_id": "a-1",
    "assessment_name": "helpful",
    "trace_id": "tr-1",
    "source": {"source_type": "HUMAN", "source_id": "u"},
    "create_time": "2025-10-09T08:53:20Z",
    "last_update_time": "1970-01-01T00:00:01Z",
    "feedback": {"value": True},
    "rationale": "good",
}


def trace(*spans: dict[str, Any], assessments: Any = ()) -> dict[str, Any]:
    metadata = {"mlflow.trace.session": "s", "mlflow.trace.user": "u"}
    info = {"trace_id": "tr-1", "state": "OK", "trace_metadata": metadata, "assessments": list(assessments)}
    return {"info": info, "data": {"spans": list(spans)}}


def test_mlflow_a_trace() -> None:
    """Four spans (root, call, tool, failed call) and two assessments."""
    record = trace(
        span("r", None, "CHAIN", {"question": "hi"}, "hey"),
        span("c", "r", "CHAT_MODEL", *CALL),
        span("t", "r", "TOOL", {"x": 1}, "y"),
        span("f", "r", "LLM", *CALL, status={"code": "ERROR"}),
        assessments=[FEEDBACK, FEEDBACK | {"assessment_id": "a-2", "span_id": "c", "feedback": {"value": "no"}}],
    )
    reading = MLFLOW.read(record)
    assert [(i.source_id, i.parent_id, lines(i.prompt), lines(i.response), i.model) for i in reading.interactions] == [
        ("tr-1", None, ["user: hi"], ["assistant: hey"], None),
        ("tr-1:c", "r", ["user: hi"], ["assistant: hey"], "m-1"),
    ]
    for one in reading.interactions:
        assert (one.conversation_id, one.user, one.latency_ms, one.event_time) == ("s", "u", 250.0, START)
    assert [(f.source_id, f.target, f.value) for f in reading.feedback] == [
        ("a-1", Ref("tr-1"), 1.0),
        ("a-2", Ref("tr-1:c"), -1.0),
    ]
    first = reading.feedback[0]
    assert (first.rater_kind, first.rater, first.text, first.revision) == ("annotator", "u", "good", 1_000_000)
    assert reading.skipped_parts == {"not_a_model_call": 1, "error_response": 1}


def test_mlflow_older_spans_and_a_root_that_is_a_call() -> None:
    older = {
        "context": {"span_id": "c", "trace_id": "x"},
        "parent_id": None,
        "start_time": 1760000000000000000,
        "span_type": "CHAT_MODEL",
        "inputs": CALL[0],
        "outputs": CALL[1],
        "status_code": "OK",
    }
    reading = MLFLOW.read(trace(older))
    assert [(i.source_id, i.event_time) for i in reading.interactions] == [("tr-1:c", START), ("tr-1", START)]


EXPECTED: list[tuple[str, str, Any, str | None]] = [
    ("a response", "expected_response", "better", "better"),
    ("within an object", "expected_response", {"response": "better"}, "better"),
    ("facts", "expected_facts", ["a", "b"], None),
    ("a label", "category", "billing", None),
]


@pytest.mark.parametrize(("name", "value", "text"), [e[1:] for e in EXPECTED], ids=[e[0] for e in EXPECTED])
def test_mlflow_an_expected_answer_is_an_edit(name: str, value: Any, text: str | None) -> None:
    reading = MLFLOW.read(FEEDBACK | {"assessment_name": name, "feedback": None, "expectation": {"value": value}})
    assert [(f.signal, f.text, f.target, f.value) for f in reading.feedback] == (
        [("edit", text, Ref("tr-1"), None)] if text else []
    )
    assert reading.skipped == (None if text else "expectation_of_no_answer")


SKIPPED: list[tuple[str, dict[str, Any], str]] = [
    ("no direction", FEEDBACK | {"assessment_name": "latency", "feedback": {"value": 3}}, "score_not_a_thumb"),
    ("a judge's failure", FEEDBACK | {"feedback": {"error": {"error_code": "x"}}}, "no_score"),
    ("overridden", FEEDBACK | {"valid": False}, "overridden"),
]


@pytest.mark.parametrize(("record", "reason"), [s[1:] for s in SKIPPED], ids=[s[0] for s in SKIPPED])
def test_mlflow_assessments_that_are_no_thumb(record: dict[str, Any], reason: str) -> None:
    assert MLFLOW.sniff(record)
    assert MLFLOW.read(record).skipped == reason


def test_mlflow_what_cannot_be_read() -> None:
    reading = MLFLOW.read(
        trace(span("r", None, "CHAIN", {"a": 1}, "y"), {"name": "x"}, assessments=[FEEDBACK | {"assessment_id": None}])
    )
    assert reading.skipped_parts == {"trace_without_messages": 1, "unreadable_span": 1, "unreadable_assessment": 1}
    assert MLFLOW.read(trace()).skipped == "empty_trace"
    with pytest.raises(RecordError, match="either feedback or an expectation"):
        MLFLOW.read(FEEDBACK | {"expectation": {"value": "x"}})


REACTION: dict[str, Any] = {
    "id": "f-1",
    "feedback_type": "wandb.reaction.1",
    "weave_ref": "weave:///e/p/call/c-1",
    "creator": "u",
    "created_at": "2025-10-09T08:53:20",
    "payload": {"emoji": "👎🏽", "detoned": "👎"},
}
WEAVE_CALL: dict[str, Any] = {
    "id": "c-1",
    "op_name": "weave:///e/p/op/openai.chat.completions.create:abc",
    "trace_id": "t",
    "parent_id": "c-0",
    "thread_id": "th",
    "started_at": "2025-10-09T08:53:20Z",
    "ended_at": "2025-10-09T08:53:20.250000Z",
    "inputs": {"self": {}, "model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5},
    "output": {"model": "m-1", "choices": [{"message": {"content": "hey"}}], "usage": {"prompt_tokens": 9}},
}


def test_weave_a_call_with_its_feedback() -> None:
    reading = WEAVE.read(WEAVE_CALL | {"summary": {"weave": {"feedback": [REACTION, {"id": "f-2"}]}}})
    [one] = reading.interactions
    assert (one.source_id, one.parent_id, one.conversation_id) == ("c-1", "c-0", "th")
    assert (lines(one.prompt), lines(one.response)) == (["user: hi"], ["assistant: hey"])
    assert (one.model, one.model_requested, one.sampling) == ("m-1", "m", '{"temperature":0.5}')
    assert (one.tokens_in, one.latency_ms, one.event_time) == (9, 250.0, START)
    [thumb] = reading.feedback
    assert (thumb.source_id, thumb.target, thumb.value, thumb.rater, thumb.event_time) == (
        "f-1",
        Ref("c-1"),
        -1.0,
        "u",
        START,
    )
    assert reading.skipped_parts == {"unreadable_feedback": 1}


def test_weave_the_root_is_the_users_exchange() -> None:
    root = WEAVE_CALL | {"op_name": "weave:///e/p/op/answer:1", "parent_id": None}
    [one] = WEAVE.read(root | {"inputs": {"self": {}, "question": "hi"}, "output": "hey"}).interactions
    assert (one.source_id, lines(one.prompt), lines(one.response)) == ("c-1", ["user: hi"], ["assistant: hey"])
    assert WEAVE.read(root | {"inputs": {"topic": "x"}}).skipped_parts == {"trace_without_messages": 1}


FEEDBACKS: list[tuple[str, dict[str, Any], float | str, str | None]] = [
    ("thumb up", {"payload": {"emoji": "👍"}}, 1.0, None),
    ("another emoji", {"payload": {"emoji": "🎉"}}, "reaction_not_a_thumb", None),
    ("a note", {"feedback_type": "wandb.note.1", "payload": {"note": "x"}}, "note", None),
    ("an annotation", {"feedback_type": "wandb.annotation.helpful", "payload": {"value": True}}, 1.0, "annotator"),
    ("a scorer", {"feedback_type": "wandb.runnable.correctness", "payload": {"output": {"score": 0}}}, -1.0, "model"),
    ("its own type", {"feedback_type": "thumbs", "payload": {"value": -1}}, -1.0, None),
    ("no direction", {"feedback_type": "wandb.annotation.tone", "payload": {"value": 1}}, "score_not_a_thumb", None),
    ("of an object", {"weave_ref": "weave:///e/p/object/x:1"}, "feedback_of_no_call", None),
]


@pytest.mark.parametrize(("fields", "expected", "rater"), [f[1:] for f in FEEDBACKS], ids=[f[0] for f in FEEDBACKS])
def test_weave_feedback(fields: dict[str, Any], expected: float | str, rater: str | None) -> None:
    reading = WEAVE.read(REACTION | fields)
    assert [(f.value, f.rater_kind) for f in reading.feedback] == ([(expected, rater)] if reading.feedback else [])
    assert reading.skipped == (expected if isinstance(expected, str) else None)


CALLS: list[tuple[str, dict[str, Any], str]] = [
    ("deleted", WEAVE_CALL | {"deleted_at": "2025-10-09T08:53:20Z"}, "deleted"),
    ("a step", WEAVE_CALL | {"op_name": "step"}, "not_a_model_call"),
    ("embeddings", WEAVE_CALL | {"op_name": "openai.embeddings.create"}, "not_a_model_call"),
    ("failed", WEAVE_CALL | {"exception": "boom"}, "error_response"),
    ("unfinished", WEAVE_CALL | {"output": None}, "no_response"),
]


@pytest.mark.parametrize(("record", "reason"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS])
def test_weave_calls_without_an_answer_are_counted(record: dict[str, Any], reason: str) -> None:
    assert WEAVE.sniff(record)
    reading = WEAVE.read(record)
    assert (reading.skipped or dict(reading.skipped_parts)) in (reason, {reason: 1})
    assert reading.interactions == ()


def test_weave_bad_records_are_refused() -> None:
    with pytest.raises(RecordError, match=r"inputs\.messages\[0\]\.role"):
        WEAVE.read(WEAVE_CALL | {"inputs": {"messages": [{"role": "x", "content": "a"}]}})
    with pytest.raises(RecordError, match=r"payload\.emoji"):
        WEAVE.read(REACTION | {"payload": {}})
