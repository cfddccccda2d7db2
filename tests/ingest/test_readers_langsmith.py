"""LangSmith: runs, batches of the SDKs, feedback, comparisons and corrections."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.errors import RecordError
from ingest.readers.langsmith import LangSmith
from ingest.readers.reading import Ref

READER = LangSmith()
START = datetime(2026, 10, 1, 8, 15, 30, tzinfo=UTC)

RUN: dict[str, Any] = {
    "id": "r-1",
    "trace_id": "r-0",
    "parent_run_id": "r-0",
    "run_type": "llm",
    "start_time": "2026-10-01T08:15:30",
    "end_time": "2026-10-01T08:15:30.250000+00:00",
    "inputs": {"messages": [{"role": "user", "content": "hi"}], "model": "m", "temperature": 0.5},
    "outputs": {
        "model": "m-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hey"}, "finish_reason": "stop"}],
        "usage_metadata": {"input_tokens": 9, "output_tokens": 3},
    },
    "extra": {"metadata": {"thread_id": "th-1", "ls_model_name": "m"}},
    "error": None,
}
FEEDBACK: dict[str, Any] = {
    "id": "f-1",
    "run_id": "r-1",
    "key": "user_feedback",
    "score": 1,
    "value": None,
    "comment": "nice",
    "correction": None,
    "feedback_group_id": None,
    "feedback_source": {"type": "app", "user_id": "u-1"},
    "created_at": "2026-10-01T08:15:30+00:00",
    "modified_at": "1970-01-01T00:00:02+00:00",
}


def said(role: str, content: str | None) -> dict[str, str | None]:
    return {"role": role, "content": content, "tool_calls": None, "tool_call_id": None, "name": None}


def test_a_run() -> None:
    [one] = READER.read(RUN).interactions
    assert (one.source_id, one.choice_index, one.parent_id, one.conversation_id) == ("r-1", 0, "r-0", "th-1")
    assert (one.prompt, one.response) == ([said("user", "hi")], [said("assistant", "hey")])
    assert (one.model, one.model_requested, one.sampling) == ("m-1", "m", '{"temperature":0.5}')
    assert (one.finish_reason, one.tokens_in, one.tokens_out) == ("stop", 9, 3)
    assert (one.latency_ms, one.event_time) == (250.0, START)


def test_a_row_of_a_bulk_export_holds_json_texts() -> None:
    row = RUN | {
        "inputs": '{"messages":[[{"lc":1,"type":"constructor","id":["langchain","schema","HumanMessage"],"kwargs":'
        '{"content":"hi"}}]]}',
        "outputs": '{"generations":[[{"text":"hey","generation_info":{"finish_reason":"stop"},"message":{"lc":1,'
        '"type":"constructor","id":["AIMessage"],"kwargs":{"content":"hey","tool_calls":'
        '[{"name":"f","args":{"a":1},"id":"c-1"}]}}}]]}',
        "extra": '{"metadata":{"ls_model_name":"m-2"},"invocation_params":{"model":"m","seed":7}}',
        "start_time": datetime(2026, 10, 1, 8, 15, 30),
        "end_time": None,
        "prompt_tokens": 4,
    }
    [one] = READER.read(row).interactions
    assert one.prompt == [said("user", "hi")]
    calls = '[{"id":"c-1","type":"function","function":{"name":"f","arguments":"{\\"a\\":1}"}}]'
    assert one.response == [said("assistant", "hey") | {"tool_calls": calls}]
    assert (one.model, one.model_requested, one.sampling, one.tokens_in) == ("m-2", "m", '{"seed":7}', 4)
    assert (one.finish_reason, one.event_time, one.latency_ms) == ("stop", START, None)


def test_a_batch_is_completed_by_its_patches() -> None:
    """The JavaScript client's patch has no id; the last 36 characters of its dotted_order are the run's."""
    run_id = "dc34609e-3eeb-459d-bc2a-6fedb01d2e6e"
    batch = {
        "post": [RUN | {"id": run_id, "outputs": {}}, RUN | {"id": "r-2", "run_type": "chain"}, RUN | {"outputs": {}}],
        "patch": [{"dotted_order": f"20241013T070537170001Z{run_id}", "outputs": RUN["outputs"]}],
    }
    reading = READER.read(batch)
    assert [(i.source_id, i.response) for i in reading.interactions] == [(run_id, [said("assistant", "hey")])]
    assert reading.skipped_parts == {"not_an_llm_run": 1, "no_response": 1}


def test_children_are_read_with_their_run() -> None:
    reading = READER.read(RUN | {"id": "r-0", "run_type": "chain", "child_runs": [RUN, RUN | {"inputs": {"x": 1}}]})
    assert [i.source_id for i in reading.interactions] == ["r-1"]
    assert reading.skipped_parts == {"not_an_llm_run": 1, "unreadable_run": 1}


def test_a_thumb() -> None:
    [one] = READER.read(FEEDBACK).feedback
    assert (one.source_id, one.signal, one.target, one.value) == ("f-1", "thumb", Ref("r-1"), 1.0)
    assert (one.rater_kind, one.rater, one.text, one.revision) == ("annotator", "u-1", "nice", 2_000_000)
    assert one.event_time == START


def test_rows_of_one_group_are_ratings_by_one_rater() -> None:
    rows = [
        FEEDBACK | {"id": f"f-{i}", "run_id": f"r-{i}", "key": "preference", "score": score, "feedback_group_id": "g-1"}
        for i, score in enumerate((True, 0))
    ]
    events = [READER.read(row | {"feedback_source": {"type": "api"}}).feedback[0] for row in rows]
    assert [(e.signal, e.target, e.value, e.scale_min, e.scale_max) for e in events] == [
        ("rating", Ref("r-0"), 1.0, 0.0, 1.0),
        ("rating", Ref("r-1"), 0.0, 0.0, 1.0),
    ]
    assert {e.rater for e in events} == {"feedback group g-1"}
    assert READER.read(rows[0]).feedback[0].rater == "u-1"


def test_a_correction_is_an_edit_beside_the_score() -> None:
    edit, thumb = READER.read(FEEDBACK | {"correction": {"output": "better"}}).feedback
    assert (edit.source_id, edit.signal, edit.text, edit.value) == ("f-1:correction", "edit", "better", None)
    assert (thumb.source_id, thumb.signal) == ("f-1", "thumb")


SKIPPED: list[tuple[str, dict[str, Any], dict[str, int] | str]] = [
    ("another run", RUN | {"run_type": "tool"}, "not_an_llm_run"),
    ("failed", RUN | {"error": "boom"}, "error_response"),
    ("unfinished", RUN | {"outputs": None}, "no_response"),
    ("feedback of a session", FEEDBACK | {"run_id": None}, "feedback_of_no_run"),
    ("only a comment", FEEDBACK | {"score": None}, "no_score"),
    ("no direction", FEEDBACK | {"key": "toxicity"}, {"score_not_a_thumb": 1}),
    ("out of scale", FEEDBACK | {"score": 4, "feedback_group_id": "g"}, {"score_out_of_scale": 1}),
    ("correction of two texts", FEEDBACK | {"score": None, "correction": {"a": "b"}}, {"correction_without_text": 1}),
]


@pytest.mark.parametrize(("record", "reason"), [s[1:] for s in SKIPPED], ids=[s[0] for s in SKIPPED])
def test_what_says_nothing_is_skipped(record: dict[str, Any], reason: dict[str, int] | str) -> None:
    assert READER.sniff(record)
    reading = READER.read(record)
    assert (reading.interactions, reading.feedback) == ((), ())
    assert (reading.skipped or reading.skipped_parts) == reason


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("inputs of no known form", RUN | {"inputs": {"x": "SECRET"}}, "bad_value", "inputs: "),
    ("no id", FEEDBACK | {"id": None}, "missing_field", "id: "),
    ("score is a text", FEEDBACK | {"score": "SECRET", "feedback_group_id": "g"}, "wrong_type", "score: "),
]


@pytest.mark.parametrize(("record", "reason", "detail"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_bad_rows_are_refused(record: dict[str, Any], reason: str, detail: str) -> None:
    with pytest.raises(RecordError) as caught:
        READER.read(record)
    assert caught.value.reason == reason
    assert detail in caught.value.detail
    assert "SECRET" not in caught.value.detail
