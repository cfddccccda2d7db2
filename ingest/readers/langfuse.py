"""Reads Langfuse: rows of its blob exports (snake_case), API objects and pages (camelCase), and exported traces.

Of observations only generations are calls of a model. A trace is the exchange as the user saw it, under the trace's
own id, so that scores of the trace have a target. A CORRECTION score is an edit; another score is a thumb where its
name says which way is up (`ingest.readers.scores`).

Sources: langfuse/langfuse fern/apis/server/definition, packages/shared/src/server/repositories.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from ingest.readers import exchange, scores, times
from ingest.readers.dialects import unpacked
from ingest.readers.exchange import Exchange
from ingest.readers.fields import Fields, json_text
from ingest.readers.parts import Parts
from ingest.readers.reading import Feedback, Reading, Ref

GENERATION: Final = "GENERATION"
KINDS: Final = (
    *(GENERATION, "SPAN", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING", "GUARDRAIL"),
)
"""Types of observations."""
SCORE_KINDS: Final = ("NUMERIC", "BOOLEAN", "CATEGORICAL", "CORRECTION", "TEXT")
RATERS: Final = {"ANNOTATION": "annotator", "EVAL": "model"}
"""Source of a score -> kind of rater; an API score may come from anybody."""

_UPPER: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")


class Langfuse:
    """The reader of the format."""

    name: str = "langfuse"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this is a trace, an observation, a score, an exported trace or a page of one of them."""
        if isinstance(record.get("trace"), Mapping) and isinstance(record.get("observations"), list):
            return True
        rows = record.get("data")
        if isinstance(rows, list) and isinstance(record.get("meta"), Mapping):
            return all(isinstance(row, Mapping) and _kind(row) is not None for row in rows[:1])
        return _kind(record) is not None

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return what the record says; of a page or a trace with observations, what each of its parts says."""
        if isinstance(record.get("trace"), Mapping):
            return _exported(Fields(record))
        if "data" in record and "meta" in record:
            parts = Parts()
            for row in Fields(record).children("data"):
                parts.try_to_add(partial(_row, _snake(row)), "unreadable_row")
            return parts.reading("empty_page")
        return _row(_snake(Fields(record)))


def _kind(record: Mapping[str, object]) -> str | None:
    """Return what a row is, by its keys: "observation", "score", "trace" or None."""
    in_trace = "traceId" in record or "trace_id" in record
    if str(record.get("type")) in KINDS and ("startTime" in record or "start_time" in record) and in_trace:
        return "observation"
    if str(record.get("dataType") or record.get("data_type")) in SCORE_KINDS and "name" in record and "value" in record:
        return "score"
    stated = "timestamp" in record and "input" in record and "output" in record and "id" in record
    known = ("projectId", "project_id", "bookmarked", "htmlPath", "environment")
    return "trace" if stated and not in_trace and any(key in record for key in known) else None


def _snake(row: Fields) -> Fields:
    """Return the row with the keys of the blob exports."""
    values = {_UPPER.sub(lambda m: "_" + m[1].lower(), key): value for key, value in row.values.items()}
    return Fields(values, row.where)


def _exported(record: Fields) -> Reading:
    """Return what a `{"trace", "observations"}` object says; its trace's input and output are JSON within JSON."""
    trace = _snake(record.child("trace"))
    values = dict(trace.values)
    for key in ("input", "output"):
        if isinstance(value := values.get(key), str):
            values[key] = _once_decoded(value)
    parts = Parts()
    _add_trace(parts, Fields(values, trace.where))
    for row in record.children("observations"):
        parts.try_to_add(partial(_observation, _snake(row), values), "unreadable_generation")
    return parts.reading("empty_trace")


def _once_decoded(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _row(row: Fields) -> Reading:
    match _kind(row.values):
        case "observation":
            return _observation(row, {})
        case "score":
            return _score(row)
        case _:
            parts = Parts()
            _add_trace(parts, row)
            for nested in _objects(row, "observations"):
                parts.try_to_add(partial(_observation, _snake(nested), row.values), "unreadable_generation")
            return parts.reading("empty_trace")


def _objects(row: Fields, key: str) -> Iterator[Fields]:
    """Yield the objects of a list; lists of traces name their observations and scores by id alone."""
    values = row.values.get(key)
    for i, value in enumerate(values if isinstance(values, list) else []):
        if isinstance(value, Mapping):
            yield Fields(value, f"{row.path(key)}[{i}]")


def _add_trace(parts: Parts, trace: Fields) -> None:
    stated = Exchange(
        source_id=trace.text("id"),
        conversation_id=trace.maybe_id("session_id"),
        user=trace.maybe_id("user_id"),
        event_time=times.stated(trace, "timestamp", zone_is_utc=True),
    )
    asked, answered = trace.values.get("input"), trace.values.get("output")
    parts.try_to_add(
        lambda: exchange.reading(stated, asked, answered, where=(trace.path("input"), trace.path("output"))),
        "trace_without_messages",
    )
    for key in ("scores", "corrections"):
        for score in _objects(trace, key):
            parts.try_to_add(partial(_score, _snake(score)), "unreadable_score")


def _observation(row: Fields, trace: Mapping[str, object]) -> Reading:
    """Return what a generation says, or why an observation is none; `trace` is the one it stands in."""
    if row.one_of("type", KINDS) != GENERATION:
        return Reading(skipped="not_a_generation")
    if row.values.get("level") == "ERROR":
        return Reading(skipped="error_response")
    start = times.stated(row, "start_time", zone_is_utc=True)
    usage = unpacked(row.values.get("usage_details"))
    usage = Fields(usage if isinstance(usage, Mapping) else {}, row.path("usage_details"))
    owner = Fields(trace, "trace")
    stated = Exchange(
        source_id=row.text("id"),
        conversation_id=owner.maybe_id("session_id"),
        parent_id=row.name("parent_observation_id"),
        user=owner.maybe_id("user_id"),
        model=row.name("provided_model_name") or row.name("model"),
        tools=_tools(row),
        sampling=exchange.sampling(row.values.get("model_parameters")),
        tokens_in=usage.maybe_integer("input"),
        tokens_out=usage.maybe_integer("output"),
        latency_ms=times.latency_ms(start, times.stated(row, "end_time", zone_is_utc=True)),
        event_time=start,
    )
    where = (row.path("input"), row.path("output"))
    return exchange.reading(stated, row.values.get("input"), row.values.get("output"), where=where)


def _tools(row: Fields) -> str | None:
    """Return the offered tools: Langfuse keeps them by name, each as JSON text."""
    offered = unpacked(row.values.get("tool_definitions"))
    if not isinstance(offered, Mapping) or not offered:
        return None
    return json_text([unpacked(tool) for tool in offered.values()])


def _score(row: Fields) -> Reading:
    kind = row.one_of("data_type", SCORE_KINDS)
    target = row.maybe_id("observation_id") or row.maybe_id("trace_id")
    if target is None:
        return Reading(skipped="score_of_a_session")
    text = row.maybe_text("string_value") or row.maybe_text("long_string_value")
    if text is None and isinstance(row.values.get("value"), str):  # version 3 of the API
        text = row.text("value")
    value = None if kind == "CORRECTION" else scores.thumb(row.text("name"), row.values.get("value"), text)
    if kind != "CORRECTION" and value is None:
        return Reading(skipped="score_not_a_thumb")
    if kind == "CORRECTION" and not text:
        row.text("string_value")
    event = Feedback(
        source_id=row.text("id"),
        revision=times.revision(times.stated(row, "updated_at", zone_is_utc=True)),
        signal="edit" if kind == "CORRECTION" else "thumb",
        target=Ref(target),
        value=value,
        scale_min=None if value is None else scores.THUMB_SCALE[0],
        scale_max=None if value is None else scores.THUMB_SCALE[1],
        text=text if kind == "CORRECTION" else row.maybe_text("comment"),
        rater_kind=RATERS.get(row.maybe_text("source") or ""),
        rater=row.maybe_id("author_user_id"),
        event_time=times.stated(row, "timestamp", zone_is_utc=True),
    )
    return Reading(feedback=(event,))
