"""Reads W&B Weave: calls, with the feedback that was asked for beside them, and feedback alone.

A call is one of a model where its operation is named like a provider's API. The root of a trace is the exchange as the
user saw it, under its own call id. A thumb emoji is a thumb; an annotation or a scorer's result is one where its name
says which way is up. Deleted calls are skipped.

Sources: wandb/weave weave/trace_server/{trace_server_interface,feedback}.py.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from ingest.readers import conversations, exchange, scores, times
from ingest.readers.exchange import Exchange
from ingest.readers.fields import Fields
from ingest.readers.parts import Parts
from ingest.readers.reading import Feedback, Reading, Ref

REACTION: Final = "wandb.reaction."
NOTE: Final = "wandb.note."
ANNOTATION: Final = "wandb.annotation."
SCORER: Final = "wandb.runnable."

_MODEL_CALL: Final = re.compile(
    r"^(?!.*(?:embed|image|audio|speech|moderation|transcri))"
    r"(?:openai|anthropic|groq|mistral\w*|cohere|together|cerebras|litellm|google|vertexai|genai|bedrock|huggingface)\b"
    r".*(?:create|complet\w*|generate\w*|chat\w*|parse|stream\w*|messages)",
    re.IGNORECASE,
)
_REF: Final = re.compile(r"^weave:///[^/]+/[^/]+/call/([^/?#]+)")
"""`weave:///entity/project/call/<id>`: what feedback is about."""


class Weave:
    """The reader of the format."""

    name: str = "weave"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this is a call or feedback."""
        if "weave_ref" in record and "feedback_type" in record:
            return True
        return "op_name" in record and "trace_id" in record and "inputs" in record

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return the exchange of a call and what was said of it, or one feedback event."""
        row = Fields(record)
        if "feedback_type" in record:
            return _feedback(row)
        if row.has("deleted_at"):
            return Reading(skipped="deleted")
        parts = Parts()
        parts.add(_call(row))
        for event in _beside(row):
            parts.try_to_add(partial(_feedback, event), "unreadable_feedback")
        return parts.reading("not_a_model_call")


def _summary(row: Fields, *path: str) -> Fields | None:
    fields: Fields | None = row
    for key in path:
        fields = fields.maybe_child(key) if fields is not None else None
    return fields


def _beside(row: Fields) -> Iterator[Fields]:
    weave = _summary(row, "summary", "weave")
    yield from weave.children("feedback") if weave is not None and weave.has("feedback") else ()


def operation(op_name: str) -> str:
    """Return the name of an operation: of a reference what stands between `/op/` and its version."""
    return op_name.rpartition("/op/")[2].partition(":")[0]


def _call(row: Fields) -> Reading:
    is_root = not row.has("parent_id")
    is_model = bool(_MODEL_CALL.search(operation(row.text("op_name"))))
    if not is_root and not is_model:
        return Reading(skipped="not_a_model_call")
    if row.values.get("exception"):
        return Reading(skipped="error_response")
    inputs, start = row.child("inputs"), times.stated(row, "started_at")
    asked = dict(inputs.values) if is_model else exchange.question(inputs.values)
    answered, usage = row.values.get("output"), Fields({})
    if isinstance(answered, Mapping) and isinstance(answered.get("usage"), Mapping):
        usage = row.child("output").child("usage")
    stated = Exchange(
        source_id=row.text("id"),
        conversation_id=row.name("thread_id"),
        parent_id=row.name("parent_id"),
        user=row.maybe_id("wb_user_id"),
        model=answered["model"] if isinstance(answered, Mapping) and isinstance(answered.get("model"), str) else None,
        tools=conversations.tools(inputs.values.get("tools")),
        tokens_in=usage.maybe_integer("prompt_tokens") or usage.maybe_integer("input_tokens"),
        tokens_out=usage.maybe_integer("completion_tokens") or usage.maybe_integer("output_tokens"),
        latency_ms=times.latency_ms(start, times.stated(row, "ended_at")),
        event_time=start,
    )
    where = (row.path("inputs"), row.path("output"))
    if is_model:
        return exchange.reading(stated, asked, answered, where=where)
    parts = Parts()
    parts.try_to_add(lambda: exchange.reading(stated, asked, answered, where=where), "trace_without_messages")
    return parts.reading("no_response")


def _feedback(row: Fields) -> Reading:
    found = _REF.match(row.text("weave_ref"))
    if found is None:
        return Reading(skipped="feedback_of_no_call")
    kind, payload = row.text("feedback_type"), row.child("payload")
    if kind.startswith(NOTE):
        return Reading(skipped="note")
    value, text, rater = _judged(kind, payload)
    if value is None:
        return Reading(skipped="reaction_not_a_thumb" if kind.startswith(REACTION) else "score_not_a_thumb")
    event = Feedback(
        source_id=row.text("id"),
        signal="thumb",
        target=Ref(found[1]),
        value=value,
        scale_min=scores.THUMB_SCALE[0],
        scale_max=scores.THUMB_SCALE[1],
        text=text,
        rater_kind=rater,
        rater=row.maybe_id("creator") or row.maybe_id("wb_user_id"),
        event_time=times.stated(row, "created_at", zone_is_utc=True),
    )
    return Reading(feedback=(event,))


def _judged(kind: str, payload: Fields) -> tuple[float | None, str | None, str | None]:
    """Return thumb, comment and kind of rater. Who reacts with an emoji may be anybody: an app passes its users' on."""
    if kind.startswith(REACTION):
        return scores.thumb("reaction", None, payload.name("detoned") or payload.text("emoji")), None, None
    if kind.startswith(ANNOTATION):
        name = kind.removeprefix(ANNOTATION)
        return scores.thumb(name, payload.values.get("value")), None, "annotator"
    if kind.startswith(SCORER):
        output = payload.values.get("output")
        value = output.get("passed", output.get("score")) if isinstance(output, Mapping) else output
        return scores.thumb(kind.removeprefix(SCORER), value), None, "model"
    score = next((payload.values[key] for key in ("value", "score") if payload.has(key)), None)
    return scores.thumb(kind, score), payload.maybe_text("comment"), None
