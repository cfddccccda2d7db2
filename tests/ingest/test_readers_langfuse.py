"""Langfuse: rows of blob exports, API objects and pages, exported traces, corrections."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.errors import RecordError
from ingest.readers.langfuse import Langfuse
from ingest.readers.reading import Ref

READER = Langfuse()
START = datetime(2026, 10, 1, 8, 15, 30, 123000, tzinfo=UTC)

OBSERVATION: dict[str, Any] = {
    "id": "o-1",
    "trace_id": "t-1",
    "type": "GENERATION",
    "start_time": "2026-10-01 08:15:30.123000",
    "end_time": "2026-10-01 08:15:31.623000",
    "provided_model_name": "m-1",
    "model_parameters": '{"temperature":0.5,"region":"eu","seed":null}',
    "usage_details": {"input": 9, "output": 3},
    "input": '{"messages":[{"role":"user","content":"hi"}],"model":"m"}',
    "output": {"role": "assistant", "content": "hey"},
}
SCORE: dict[str, Any] = {
    "id": "s-1",
    "timestamp": "2026-10-01 08:15:30.123000",
    "trace_id": "t-1",
    "observation_id": "o-1",
    "name": "user-feedback",
    "value": 1,
    "source": "API",
    "data_type": "NUMERIC",
    "updated_at": "1970-01-01T00:00:01.000002Z",
}


def said(role: str, content: str | None) -> dict[str, str | None]:
    return {"role": role, "content": content, "tool_calls": None, "tool_call_id": None, "name": None}


def test_an_observation() -> None:
    [one] = READER.read(OBSERVATION).interactions
    assert (one.source_id, one.prompt, one.response) == ("o-1", [said("user", "hi")], [said("assistant", "hey")])
    assert (one.model, one.model_requested, one.sampling) == ("m-1", "m", '{"temperature":0.5}')
    assert (one.tokens_in, one.tokens_out, one.latency_ms, one.event_time) == (9, 3, 1500.0, START)
    assert (one.conversation_id, one.user, one.tools, one.shown) == (None, None, None, None)


def test_a_score_of_a_generation() -> None:
    [one] = READER.read(SCORE | {"comment": "nice"}).feedback
    assert (one.source_id, one.signal, one.target, one.value) == ("s-1", "thumb", Ref("o-1"), 1.0)
    assert (one.scale_min, one.scale_max, one.text, one.rater_kind) == (-1.0, 1.0, "nice", None)
    assert (one.revision, one.event_time) == (1_000_002, START)


def test_a_correction_is_an_edit_of_the_trace_where_it_names_no_observation() -> None:
    correction = {
        "id": "c-1",
        "traceId": "t-1",
        "observationId": None,
        "name": "output",
        "value": 0,
        "dataType": "CORRECTION",
        "source": "ANNOTATION",
        "authorUserId": "a-1",
        "longStringValue": "better",
        "timestamp": "2026-10-01T08:15:30.123Z",
    }
    [one] = READER.read(correction).feedback
    assert (one.signal, one.target, one.text, one.value) == ("edit", Ref("t-1"), "better", None)
    assert (one.rater_kind, one.rater, one.revision) == ("annotator", "a-1", 0)
    [newer] = READER.read(correction | {"longStringValue": None, "value": "version 3"}).feedback
    assert newer.text == "version 3"


SCORES: list[tuple[str, dict[str, Any], float | str | None]] = [
    ("true", {"data_type": "BOOLEAN", "value": 1, "string_value": "True"}, 1.0),
    ("false", {"data_type": "BOOLEAN", "value": 0, "string_value": "False"}, -1.0),
    ("label", {"data_type": "CATEGORICAL", "value": 0, "string_value": "Thumbs-Up"}, 1.0),
    ("minus one", {"value": -1}, -1.0),
    ("half", {"value": 0.5}, "score_not_a_thumb"),
    ("no direction", {"name": "hallucination"}, "score_not_a_thumb"),
    ("a session's", {"trace_id": None, "observation_id": None, "session_id": "s"}, "score_of_a_session"),
]


@pytest.mark.parametrize(("fields", "expected"), [s[1:] for s in SCORES], ids=[s[0] for s in SCORES])
def test_only_approval_is_a_thumb(fields: dict[str, Any], expected: float | str) -> None:
    reading = READER.read(SCORE | fields)
    assert [event.value for event in reading.feedback] == ([expected] if isinstance(expected, float) else [])
    assert reading.skipped == (expected if isinstance(expected, str) else None)


def test_a_trace_with_its_observations_and_scores() -> None:
    """Six parts: the trace, two generations, a span, a broken generation, a score."""
    camel = {"id": "o-2", "traceId": "t-1", "type": "GENERATION", "startTime": "2026-10-01T08:15:30.123Z"}
    answered = {"input": [{"role": "user", "content": "a"}], "output": "b"}
    reading = READER.read(
        {
            "trace": {
                "id": "t-1",
                "timestamp": "2026-10-01T08:15:30.123Z",
                "userId": "u-1",
                "sessionId": "conv-1",
                "input": '"hi"',
                "output": '"hey"',
                "scores": [{**SCORE, "observation_id": None}],
            },
            "observations": [
                camel | answered | {"model": "m", "parentObservationId": "o-0"},
                camel | answered | {"id": "o-3", "level": "ERROR"},
                camel | {"id": "o-4", "type": "SPAN"},
                camel | {"id": "o-5", "input": [{"role": "weather", "content": "a"}], "output": "b"},
            ],
        }
    )
    assert [(i.source_id, i.prompt, i.response, i.parent_id) for i in reading.interactions] == [
        ("t-1", [said("user", "hi")], [said("assistant", "hey")], None),
        ("o-2", [said("user", "a")], [said("assistant", "b")], "o-0"),
    ]
    assert {(i.user, i.conversation_id) for i in reading.interactions} == {("u-1", "conv-1")}
    assert [(f.signal, f.target) for f in reading.feedback] == [("thumb", Ref("t-1"))]
    assert reading.skipped_parts == {"error_response": 1, "not_a_generation": 1, "unreadable_generation": 1}


def test_a_page_keeps_what_can_be_read() -> None:
    page = {"data": [SCORE, SCORE | {"id": None}, OBSERVATION], "meta": {"page": 1}}
    reading = READER.read(page)
    assert (len(reading.interactions), len(reading.feedback), reading.skipped_parts) == (1, 1, {"unreadable_row": 1})
    assert READER.read({"data": [], "meta": {"page": 2}}).skipped == "empty_page"


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("no id", OBSERVATION | {"id": None}, "missing_field", "id: "),
    ("input is a number", OBSERVATION | {"input": 3}, "bad_value", "input: expected messages or text, got a number"),
    ("unknown role", OBSERVATION | {"input": [{"role": "x", "content": "SECRET"}]}, "bad_value", "input[0].role: "),
    ("printed chat", OBSERVATION | {"input": "system: SECRET\nuser: a"}, "bad_value", "a chat printed as one text"),
    ("no time", OBSERVATION | {"start_time": "SECRET"}, "bad_value", "start_time: expected an ISO 8601 time"),
    ("correction of nothing", SCORE | {"data_type": "CORRECTION"}, "missing_field", "string_value: "),
]


@pytest.mark.parametrize(("record", "reason", "detail"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_bad_rows_are_refused(record: dict[str, Any], reason: str, detail: str) -> None:
    assert READER.sniff(record)
    with pytest.raises(RecordError) as caught:
        READER.read(record)
    assert caught.value.reason == reason
    assert detail in caught.value.detail
    assert "SECRET" not in caught.value.detail
