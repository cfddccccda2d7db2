"""Reads OpenTelemetry's file exports (OTLP in JSON, one batch a line): spans and log events of generative AI.

Three generations of the conventions: messages as attributes (JSON text or typed values) of the span or of an event
`gen_ai.client.inference.operation.details`; one event per message (`gen_ai.user.message`, ..., `gen_ai.choice`), of
the span or of the log; numbered attributes (`gen_ai.prompt.0.role`). Spans with OpenInference's attributes are read as
that. A `gen_ai.evaluation.result` is a thumb where its name says which way is up.

Sources: open-telemetry/semantic-conventions-genai docs/gen-ai; opentelemetry-specification protocol/file-exporter.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from ingest.readers import conversations, dialects, exchange, openinference, otlp, scores, times
from ingest.readers.conversations import Prompt, Reply
from ingest.readers.fields import Fields
from ingest.readers.parts import Parts
from ingest.readers.reading import Feedback, Reading, Ref
from ingest.readers.spans import Span, at, count_at, text_at, tree
from ingest.schema import Message, content_id

EVALUATION: Final = "gen_ai.evaluation.result"
DETAILS: Final = "gen_ai.client.inference.operation.details"
CHOICE: Final = "gen_ai.choice"
ROLES: Final = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
"""Event of the older convention -> role."""
NOT_CALLS: Final = ("embeddings", "execute_tool", "create_agent", "invoke_agent", "invoke_workflow", "retrieval")
"""Operations that are no call of a model; an agent's holds the calls that it made as spans of their own."""
PARAMETERS: Final = {"stop_sequences": "stop", "choice.count": "n"}
"""Request attribute -> its name in OpenAI's API, where it has another one."""


@dataclass(frozen=True)
class Event:
    """An event of a span, or a log record."""

    name: str | None
    attributes: Fields
    body: object
    span_id: str | None
    trace_id: str | None
    time: datetime | None


class OTelGenAI:
    """The reader of the format."""

    name: str = "otel_genai"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this is a batch of spans or of logs."""
        return any(isinstance(record.get(signal), list) for signal in otlp.SIGNALS)

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return what the spans or events of a batch say; each is a record of its own in the accounts."""
        line, parts = Fields(record), Parts()
        if "resourceSpans" in record:
            for item in otlp.records(line, "resourceSpans"):
                parts.try_to_add(partial(_span, item), "unreadable_span")
            return parts.reading("no_span")
        for events in _grouped([_log(item) for item in otlp.records(line, "resourceLogs")]):
            parts.try_to_add(partial(_logged, events), "unreadable_event")
        return parts.reading("no_event")


def _span(item: Fields) -> Reading:
    span = otlp.span(item)
    events = [_event(event, span) for event in item.children("events")] if item.has("events") else []
    parts = Parts()
    for event in events:
        if event.name == EVALUATION:
            parts.add(_evaluation(event))
    if openinference.is_openinference(span.attributes):
        parts.add(openinference.read_span(span))
    elif not isinstance(span.attributes.values.get("gen_ai"), Mapping):
        parts.skipped["not_a_genai_span"] += 1
    elif text_at(span.attributes, "gen_ai.operation.name") in NOT_CALLS:
        parts.skipped["not_a_model_call"] += 1
    elif span.failed or text_at(span.attributes, "error.type") is not None:
        parts.skipped["error_response"] += 1
    else:
        parts.add(_call(span, events))
    return parts.reading("not_a_genai_span")


def _event(item: Fields, span: Span) -> Event:
    attributes = Fields(tree(otlp.attributes(item)), item.path("attributes"))
    time = times.nanoseconds(item, "timeUnixNano")
    return Event(item.name("name"), attributes, None, span.span_id, span.trace_id, time)


def _log(item: Fields) -> Event:
    attributes = Fields(tree(otlp.attributes(item)), item.path("attributes"))
    time = times.nanoseconds(item, "timeUnixNano") or times.nanoseconds(item, "observedTimeUnixNano")
    name = item.name("eventName") or text_at(attributes, "event.name")
    body = otlp.value(item.values.get("body"))
    return Event(name, attributes, body, otlp.span_of(item), item.name("traceId"), time)


def _grouped(events: list[Event]) -> list[list[Event]]:
    """Return the events one by one, but the messages of one call together."""
    groups: list[list[Event]] = []
    calls: dict[str, list[Event]] = {}
    for event in events:
        if event.span_id is not None and (event.name in ROLES or event.name == CHOICE):
            if event.span_id not in calls:
                groups.append(calls.setdefault(event.span_id, []))
            calls[event.span_id].append(event)
        else:
            groups.append([event])
    return groups


def _logged(events: list[Event]) -> Reading:
    first = events[0]
    if first.name == EVALUATION:
        return _evaluation(first)
    if first.span_id is None or (first.name != DETAILS and first.name not in ROLES and first.name != CHOICE):
        return Reading(skipped="not_a_genai_event")
    span = Span(first.span_id, first.trace_id, first.attributes, start=first.time)
    return _call(span, [] if first.name == DETAILS else events)


def _call(span: Span, events: Sequence[Event]) -> Reading:
    details = [event.attributes for event in events if event.name == DETAILS]
    attributes = span.attributes
    request = at(attributes, "gen_ai.request")
    parameters = request if isinstance(request, Mapping) else {}
    stated = span.stated(
        conversation_id=text_at(attributes, "gen_ai.conversation.id") or text_at(attributes, "session.id"),
        user=text_at(attributes, "user.id") or text_at(attributes, "enduser.id"),
        model=text_at(attributes, "gen_ai.response.model"),
        model_requested=text_at(attributes, "gen_ai.request.model"),
        tools=conversations.tools(at(attributes, "gen_ai.tool.definitions")),
        sampling=exchange.sampling({PARAMETERS.get(key, key): value for key, value in _flat(parameters)}),
        tokens_in=count_at(attributes, "gen_ai.usage.input_tokens"),
        tokens_out=count_at(attributes, "gen_ai.usage.output_tokens"),
    )
    for source in (attributes, *details):
        asked = dialects.unpacked(at(source, "gen_ai.input.messages"))
        answered = dialects.unpacked(at(source, "gen_ai.output.messages"))
        if asked or answered:
            if not asked or not answered:
                return Reading(skipped="no_response" if asked else "no_prompt")
            prompt = conversations.prompt(asked, source.path("gen_ai.input.messages"))
            system = _system(source)
            replies = conversations.replies(answered, source.path("gen_ai.output.messages"))
            return exchange.of(
                stated, replace(prompt, messages=[*system, *prompt.messages]), _finished(replies, source)
            )
    return _older(stated, attributes, events)


def _flat(parameters: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _system(source: Fields) -> list[Message]:
    parts = dialects.unpacked(at(source, "gen_ai.system_instructions"))
    if not isinstance(parts, list):
        return [dialects.plain("system", parts)] if isinstance(parts, str) and parts else []
    where = source.path("gen_ai.system_instructions")
    return dialects.message(Fields({"role": "system", "parts": parts}, where)) if parts else []


def _finished(replies: list[Reply], source: Fields) -> list[Reply]:
    """Return the replies with the span's finish reasons, one each, where the messages state none."""
    reasons = at(source, "gen_ai.response.finish_reasons")
    reasons = reasons if isinstance(reasons, list) and len(reasons) == len(replies) else [None] * len(replies)
    return [
        replace(reply, finish_reason=reply.finish_reason or (reason if isinstance(reason, str) else None))
        for reply, reason in zip(replies, reasons, strict=True)
    ]


def _older(stated: exchange.Exchange, attributes: Fields, events: Sequence[Event]) -> Reading:
    """Return what numbered attributes, or one event per message, say."""
    asked = at(attributes, "gen_ai.prompt")
    answered = at(attributes, "gen_ai.completion")
    if isinstance(asked, list) and isinstance(answered, list):
        said = dialects.messages(Fields({"gen_ai.prompt": asked}), "gen_ai.prompt")
        where = attributes.path("gen_ai.completion")
        found = [conversations.replies(m, where)[0] for m in answered]
        replies = [replace(reply, index=i) for i, reply in enumerate(found)]
        return exchange.of(stated, Prompt(said), _finished(replies, attributes))
    said = [m for event in events if event.name in ROLES for m in _spoken(event)]
    replies = [_chosen(event, i) for i, event in enumerate(e for e in events if e.name == CHOICE)]
    if not said and not replies:
        return Reading(skipped="no_messages")  # contents are not recorded unless an application asks for them
    return exchange.of(stated, Prompt(said), replies)


def _said(event: Event) -> dict[str, object]:
    """Return an event's own fields, which stand in its body or in its attributes."""
    body = event.body if isinstance(event.body, Mapping) else {}
    return {**event.attributes.values, **body}


def _spoken(event: Event) -> list[Message]:
    fields = _said(event)
    fields.setdefault("role", ROLES[str(event.name)])
    fields.setdefault("tool_call_id", fields.get("id"))
    return dialects.message(Fields(fields, str(event.name)))


def _chosen(event: Event, index: int) -> Reply:
    fields = _said(event)
    message = dialects.unpacked(fields.get("message"))
    return replace(conversations.replies({**fields, "message": message}, CHOICE)[0], index=index)


def _evaluation(event: Event) -> Reading:
    """Return an evaluation: of the span it was written in, else of the response it names."""
    attributes = event.attributes
    target = event.span_id or text_at(attributes, "gen_ai.response.id")
    name = text_at(attributes, "gen_ai.evaluation.name")
    if target is None or name is None:
        return Reading(skipped="evaluation_of_nothing")
    score, label = at(attributes, "gen_ai.evaluation.score.value"), text_at(attributes, "gen_ai.evaluation.score.label")
    value = scores.thumb(name, score, label)
    if value is None:
        return Reading(skipped="score_not_a_thumb")
    time = None if event.time is None else event.time.isoformat()
    thumb = Feedback(
        source_id=content_id([target, name, score, label, time]),
        signal="thumb",
        target=Ref(target),
        value=value,
        scale_min=scores.THUMB_SCALE[0],
        scale_max=scores.THUMB_SCALE[1],
        text=text_at(attributes, "gen_ai.evaluation.explanation"),
        event_time=event.time,
    )
    return Reading(feedback=(thumb,))
