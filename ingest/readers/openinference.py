"""Reads OpenInference: spans as Phoenix's API and dataframes give them, and Phoenix's annotations.

Of spans only those of kind LLM are calls of a model. The root span of another kind is the exchange as the user saw it,
under the trace's id, so that annotations of the trace have a target. An annotation is a thumb where its name says which
way is up. One that came later stands on a span of its own, whose link, never its parent, names the target.

Sources: Arize-ai/openinference spec/semantic_conventions.md, spec/annotations.md; Arize-ai/phoenix
src/phoenix/server/api/routers/v1.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from ingest.readers import conversations, dialects, exchange, scores, times
from ingest.readers.conversations import Prompt, Reply
from ingest.readers.fields import Fields, json_text
from ingest.readers.parts import Parts
from ingest.readers.reading import Feedback, Reading, Ref
from ingest.readers.spans import Span, at, count_at, text_at, tree
from ingest.schema import Message

RATERS: Final = {"HUMAN": "annotator", "LLM": "model", "CODE": "code"}
DATAFRAME: Final = "context.span_id"
"""Column of a dataframe of spans."""


class OpenInference:
    """The reader of the format."""

    name: str = "openinference"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this is a span with OpenInference's attributes, an annotation, or a page of them."""
        rows = record.get("data")
        if isinstance(rows, list) and "next_cursor" in record:
            return all(isinstance(row, Mapping) and _is_row(row) for row in rows[:1])
        return _is_row(record)

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return what the record says; of a page, what each of its rows says."""
        if "next_cursor" in record:
            parts = Parts()
            for row in Fields(record).children("data"):
                parts.try_to_add(partial(_row, row), "unreadable_row")
            return parts.reading("empty_page")
        return _row(Fields(record))


def _is_row(record: Mapping[str, object]) -> bool:
    if "annotator_kind" in record and "name" in record:
        return any(key in record for key in ("span_id", "trace_id", "session_id"))
    if DATAFRAME in record:
        return True
    context = record.get("context")
    return isinstance(context, Mapping) and "span_id" in context and isinstance(record.get("attributes"), Mapping)


def _row(row: Fields) -> Reading:
    if row.has("annotator_kind"):
        return _annotation(row, row.maybe_id("span_id") or row.maybe_id("trace_id"))
    values = tree(row.values, deep=True)
    context = Fields(values, row.where).child("context")
    stated = Fields(values, row.where)
    return read_span(
        Span(
            span_id=context.text("span_id"),
            trace_id=context.name("trace_id"),
            parent_id=stated.name("parent_id"),
            attributes=stated.child("attributes"),
            start=times.stated(stated, "start_time"),
            end=times.stated(stated, "end_time"),
            failed=stated.values.get("status_code") == "ERROR",
        )
    )


def is_openinference(attributes: Fields) -> bool:
    """Return whether a span's attributes follow this convention."""
    return text_at(attributes, "openinference.span.kind") is not None or isinstance(
        attributes.values.get("llm"), Mapping
    )


def read_span(span: Span) -> Reading:
    """Return what a span and the annotations on it say."""
    parts = Parts()
    target = span.links[0] if span.links else span.span_id
    for target_id, annotation in _annotations(span, target):
        parts.add(_annotation(annotation, target_id))
    kind = text_at(span.attributes, "openinference.span.kind")
    if kind == "LLM" or (kind is None and isinstance(span.attributes.values.get("llm"), Mapping)):
        parts.add(Reading(skipped="error_response") if span.failed else _call(span))
    elif span.parent_id is None and span.trace_id is not None and not span.links:
        parts.try_to_add(lambda: _trace(span), "trace_without_messages")
    else:
        parts.skipped["not_an_llm_span"] += 1
    return parts.reading("not_an_llm_span")


def _trace(span: Span) -> Reading:
    """Return the exchange of a root span; most hold it as text or JSON."""
    attributes = span.attributes
    stated = span.stated(conversation_id=text_at(attributes, "session.id"), user=text_at(attributes, "user.id"))
    asked, answered = at(attributes, "input.value"), at(attributes, "output.value")
    return exchange.reading(
        replace(stated, source_id=str(span.trace_id), parent_id=None),
        asked,
        answered,
        where=(attributes.path("input.value"), attributes.path("output.value")),
    )


def _call(span: Span) -> Reading:
    attributes = span.attributes
    parameters = dialects.unpacked(at(attributes, "llm.invocation_parameters"))
    parameters = parameters if isinstance(parameters, Mapping) else {}
    requested = parameters.get("model")
    stated = span.stated(
        conversation_id=text_at(attributes, "session.id"),
        user=text_at(attributes, "user.id"),
        model=text_at(attributes, "llm.model_name"),
        model_requested=requested if isinstance(requested, str) else None,
        tools=_tools(at(attributes, "llm.tools")) or conversations.tools(parameters.get("tools")),
        sampling=exchange.sampling(parameters),
        tokens_in=count_at(attributes, "llm.token_count.prompt"),
        tokens_out=count_at(attributes, "llm.token_count.completion"),
    )
    asked, answered = at(attributes, "llm.input_messages"), at(attributes, "llm.output_messages")
    where = (attributes.path("llm.input_messages"), attributes.path("llm.output_messages"))
    if not asked:
        asked, where = at(attributes, "input.value"), (attributes.path("input.value"), where[1])
        if asked is None:
            return Reading(skipped="no_prompt")
        prompt = conversations.prompt(asked, where[0])
    else:
        prompt = Prompt(_messages(asked, where[0]))
    if answered:
        replies = [Reply([m], index=i) for i, m in enumerate(_messages(answered, where[1], role="assistant"))]
        return exchange.of(stated, prompt, replies)
    answered = at(attributes, "output.value")
    if answered in (None, ""):
        return Reading(skipped="no_response")
    return exchange.of(stated, prompt, conversations.replies(answered, attributes.path("output.value")))


def _messages(value: object, where: str, *, role: str | None = None) -> list[Message]:
    """Return messages of `{"message": {...}}` objects, whose contents and calls are wrapped in the same way."""
    items = [_unwrapped(item) for item in Fields({where: value}).children(where)]
    return dialects.messages(Fields({where: items}), where, role=role)


def _unwrapped(item: Fields) -> dict[str, object]:
    message = dict((item.maybe_child("message") or item).values)
    if isinstance(contents := message.get("contents"), list):
        message["content"] = [_inside(part, "message_content") for part in contents]
    if isinstance(calls := message.get("tool_calls"), list):
        message["tool_calls"] = [_inside(made, "tool_call") for made in calls]
    if isinstance(message.get("function_call_name"), str):
        arguments = message.get("function_call_arguments_json")
        message["tool_calls"] = [{"function": {"name": message["function_call_name"], "arguments": arguments}}]
    return message


def _inside(value: object, key: str) -> object:
    return value[key] if isinstance(value, Mapping) and isinstance(value.get(key), Mapping) else value


def _tools(value: object) -> str | None:
    if not isinstance(value, list) or not value:
        return None
    schemas = [tool.get("tool", {}).get("json_schema") for tool in value if isinstance(tool, Mapping)]
    return json_text([dialects.unpacked(schema) for schema in schemas if schema is not None]) if any(schemas) else None


def _annotations(span: Span, target: str) -> Iterator[tuple[str | None, Fields]]:
    """Yield (what it is about, annotation) for both spellings, of the span, its trace and its session."""
    scopes = (("", target), ("trace.", span.trace_id), ("session.", None))
    for scope, target_id in scopes:
        for plural, singular in (("annotations", "annotation"), ("evaluations", "evaluation")):
            items = at(span.attributes, scope + plural)
            for i, item in enumerate(items if isinstance(items, list) else []):
                inner = _inside(item, singular)
                if isinstance(inner, Mapping):
                    where = f"{span.attributes.path(scope + plural)}[{i}]"
                    yield target_id, Fields({"result": inner, "time": span.end or span.start, **inner}, where)


def _annotation(row: Fields, target: str | None) -> Reading:
    if target is None:
        return Reading(skipped="score_of_a_session")
    result = row.maybe_child("result")
    if result is None:
        return Reading(skipped="no_score")
    value = scores.thumb(row.text("name"), result.values.get("score"), result.name("label"))
    if value is None:
        return Reading(skipped="score_not_a_thumb")
    changed = times.stated(row, "updated_at")
    event = Feedback(
        # Without an id of its own: the same target, name and identifier are the same result.
        source_id=row.maybe_id("id") or f"{target}:{row.text('name')}:{row.maybe_text('identifier') or ''}",
        revision=times.revision(changed),
        signal="thumb",
        target=Ref(target),
        value=value,
        scale_min=scores.THUMB_SCALE[0],
        scale_max=scores.THUMB_SCALE[1],
        text=result.name("explanation"),
        rater_kind=RATERS.get(row.maybe_text("annotator_kind") or ""),
        rater=row.maybe_id("user_id"),
        event_time=times.stated(row, "created_at") or times.stated(row, "time"),
    )
    return Reading(feedback=(event,))
