"""Reads MLflow traces (`Trace.to_dict`, `mlflow traces get`) and assessments.

Of spans those of type CHAT_MODEL or LLM are calls of a model. The root span is the exchange as the user saw it, under
the trace's id: assessments without a span are about it. Feedback is a thumb where its name says which way is up; an
expectation, the answer that should have been given, is an edit.

Source: mlflow/mlflow mlflow/entities/{trace,trace_info,span,assessment}.py.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from ingest.readers import conversations, exchange, scores, times
from ingest.readers.dialects import unpacked
from ingest.readers.fields import Fields
from ingest.readers.parts import Parts
from ingest.readers.reading import Feedback, Reading, Ref
from ingest.readers.spans import Span

CALLS: Final = ("CHAT_MODEL", "LLM")
RATERS: Final = {"HUMAN": "annotator", "LLM_JUDGE": "model", "AI_JUDGE": "model", "CODE": "code"}
ANSWERS: Final = frozenset(
    {"expectedresponse", "expectedanswer", "expectedoutput", "groundtruth", "response", "answer"}
)
"""Names of expectations, written as `scores.plain` writes them, that are a whole answer."""
EDITED: Final = ("response", "answer", "output", "content", "text")


class MLflowTraces:
    """The reader of the format."""

    name: str = "mlflow_traces"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this is a trace or an assessment."""
        info, data = record.get("info"), record.get("data")
        if isinstance(info, Mapping) and isinstance(data, Mapping):
            return ("trace_id" in info or "request_id" in info) and "spans" in data
        return "source" in record and ("feedback" in record or "expectation" in record) and "trace_id" in record

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return what the spans and assessments of a trace say, or one assessment alone."""
        row = Fields(record)
        if "info" not in record:
            return _assessment(row, row.text("trace_id"))
        info = row.child("info")
        trace_id = info.name("trace_id") or info.text("request_id")
        parts = Parts()
        for item in row.child("data").children("spans"):
            parts.try_to_add(partial(_span, item, info, trace_id), "unreadable_span")
        for item in info.children("assessments") if info.has("assessments") else ():
            parts.try_to_add(partial(_assessment, item, trace_id), "unreadable_assessment")
        return parts.reading("empty_trace")


def _attribute(item: Fields, key: str) -> object:
    """Return an attribute, which is stored as JSON text, quotes and all."""
    attributes = item.maybe_child("attributes")
    value = attributes.values.get(key) if attributes is not None else None
    if isinstance(value, str) and value[:1] == '"' == value[-1:] and len(value) > 1:
        found = unpacked(f"[{value}]")
        return found[0] if isinstance(found, list) else value
    return unpacked(value)


def _id(item: Fields, key: str) -> str | None:
    """Return a span's id, which newer versions keep within `context`."""
    context = item.maybe_child("context") or Fields({}, item.path("context"))
    return item.name(key) or context.name(key)


def _key(trace_id: str, span_id: str) -> str:
    """Return what names a span: its own id does so only within its trace."""
    return f"{trace_id}:{span_id}"


def _span(item: Fields, info: Fields, trace_id: str) -> Reading:
    status = item.values.get("status") or item.values.get("status_code")
    code = status.get("code") if isinstance(status, Mapping) else status
    span_id = _id(item, "span_id")
    if span_id is None:
        item.text("span_id")
    start = _time(item, "start_time")
    span = Span(
        span_id=_key(trace_id, str(span_id)),
        trace_id=trace_id,
        parent_id=item.name("parent_span_id") or item.name("parent_id"),
        attributes=item.maybe_child("attributes") or Fields({}),
        start=start,
        end=_time(item, "end_time"),
        failed=code in ("ERROR", "STATUS_CODE_ERROR", 2),
    )
    kind = item.maybe_text("span_type") or _attribute(item, "mlflow.spanType")
    if kind not in CALLS and span.parent_id is not None:
        return Reading(skipped="not_a_model_call")
    if span.failed:
        return Reading(skipped="error_response")
    parts = Parts()
    if kind in CALLS:
        parts.add(_exchange(span, item, info, item.values.get("inputs") or _attribute(item, "mlflow.spanInputs")))
    if span.parent_id is None:
        root = replace(span, span_id=trace_id)
        asked = exchange.question(item.values.get("inputs") or _attribute(item, "mlflow.spanInputs"))
        parts.try_to_add(lambda: _exchange(root, item, info, asked), "trace_without_messages")
    return parts.reading("no_response")


def _time(item: Fields, key: str) -> datetime | None:
    """Return a time of nanoseconds, under whichever name a version gives it."""
    return next((found for end in ("_unix_nano", "_ns", "") if (found := times.nanoseconds(item, key + end))), None)


def _exchange(span: Span, item: Fields, info: Fields, asked: object) -> Reading:
    answered = item.values.get("outputs") or _attribute(item, "mlflow.spanOutputs")
    metadata = info.maybe_child("trace_metadata") or Fields({}, info.path("trace_metadata"))
    usage = _attribute(item, "mlflow.chat.tokenUsage")
    tokens = Fields(usage if isinstance(usage, Mapping) else {}, item.path("mlflow.chat.tokenUsage"))
    reply = unpacked(answered)
    stated = span.stated(
        conversation_id=metadata.name("mlflow.trace.session"),
        user=metadata.name("mlflow.trace.user"),
        model=_model(reply),
        tools=conversations.tools(_attribute(item, "mlflow.chat.tools")),
        tokens_in=tokens.maybe_integer("input_tokens"),
        tokens_out=tokens.maybe_integer("output_tokens"),
    )
    return exchange.reading(stated, asked, answered, where=(item.path("inputs"), item.path("outputs")))


def _model(reply: object) -> str | None:
    model = reply.get("model") if isinstance(reply, Mapping) else None
    return model if isinstance(model, str) and model else None


def _assessment(row: Fields, trace_id: str) -> Reading:
    """Return feedback or an expectation: never both."""
    if row.has("feedback") == row.has("expectation"):
        row.bad("feedback", "either feedback or an expectation")
    if row.values.get("valid") is False:
        return Reading(skipped="overridden")
    name = row.name("assessment_name") or row.text("name")
    source = row.maybe_child("source") or Fields({}, row.path("source"))
    changed = _stated(row, "last_update_time")
    event = Feedback(
        source_id=row.text("assessment_id"),
        revision=times.revision(changed),
        signal="thumb",
        target=Ref(_key(trace_id, span_id) if (span_id := row.name("span_id")) else trace_id),
        text=row.name("rationale"),
        rater_kind=RATERS.get(source.maybe_text("source_type") or ""),
        rater=source.maybe_id("source_id"),
        event_time=_stated(row, "create_time") or changed,
    )
    if row.has("expectation"):
        text = _answer(name, _value(row.child("expectation")))
        if text is None:
            return Reading(skipped="expectation_of_no_answer")
        event.signal, event.text = "edit", text
        return Reading(feedback=(event,))
    given = row.child("feedback")
    if given.values.get("error") or not given.has("value"):
        return Reading(skipped="no_score")
    event.value = scores.thumb(name, given.values["value"])
    if event.value is None:
        return Reading(skipped="score_not_a_thumb")
    event.scale_min, event.scale_max = scores.THUMB_SCALE
    return Reading(feedback=(event,))


def _stated(row: Fields, key: str) -> datetime | None:
    """Return a time, ISO 8601 or (`..._ms`) milliseconds."""
    milliseconds = row.maybe_number(f"{key}_ms")
    return times.stated(row, key) if milliseconds is None else Fields({key: milliseconds / 1000}).maybe_unix(key)


def _value(expectation: Fields) -> object:
    """Return the value of an expectation; one that is no plain value is kept as JSON text."""
    serialized = expectation.maybe_child("serialized_value")
    return unpacked(serialized.values.get("value")) if serialized else expectation.values.get("value")


def _answer(name: str, value: object) -> str | None:
    """Return the text of an expectation that is a whole answer; facts to mention or a label are none."""
    if scores.plain(name).replace("_", "") not in ANSWERS:
        return None
    if isinstance(value, Mapping):
        found = [value[key] for key in EDITED if isinstance(value.get(key), str) and value[key]]
        return found[0] if len(found) == 1 else None
    return value if isinstance(value, str) and value else None
