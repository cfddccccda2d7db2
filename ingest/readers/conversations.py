"""What went into and came out of a model call, as a tracing tool stored it -> prompt and replies.

The forms: a list of messages, an object that holds one (a request, a response of any provider's API), the JSON text of
these, or plain text, which is a user's turn on the way in and an assistant's on the way out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ingest.errors import RecordError
from ingest.readers import dialects
from ingest.readers.chat import SAMPLING
from ingest.readers.fields import Fields, json_text, kind_of
from ingest.readers.preference import turn
from ingest.schema import Message, canonical_json

SYSTEM: Final = ("system", "instructions", "system_instruction", "systemInstruction")
"""Where APIs put the system prompt beside the messages."""
ASSISTANT: Final = ("assistant", "model", None)
TRANSCRIPTS: Final = ("system: ", "developer: ")
"""How a chat begins that an exporter has printed: a user's own text begins otherwise."""


@dataclass(frozen=True)
class Prompt:
    """What a model was asked."""

    messages: list[Message]
    tools: str | None = None
    """JSON text."""
    model: str | None = None
    sampling: str | None = None
    """Canonical JSON text."""


@dataclass(frozen=True)
class Reply:
    """One answer of a model."""

    messages: list[Message]
    finish_reason: str | None = None
    index: int = 0


def prompt(value: object, where: str) -> Prompt:
    """Return the prompt that `value` holds. Raises RecordError where it holds none."""
    value = dialects.unpacked(value)
    if isinstance(value, str):
        if value.startswith(TRANSCRIPTS):
            raise RecordError("bad_value", f"{where}: a chat printed as one text, whose turns cannot be told apart")
        return Prompt([turn("user", value)]) if value.strip() else _none(where)
    if isinstance(value, list):
        return Prompt(_listed(value, where), tools(dialects.tool_definitions(value)))
    if not isinstance(value, Mapping):
        raise RecordError("bad_value", f"{where}: expected messages or text, got {kind_of(value)}")
    return _request(Fields(value, where))


def _none(where: str) -> Prompt:
    raise RecordError("bad_value", f"{where}: expected messages, a request that holds them, or text")


def _listed(value: list[object], where: str, *, role: str | None = None) -> list[Message]:
    if len(value) == 1 and isinstance(value[0], list):  # LangChain's batch of one
        value = value[0]
    found = dialects.messages(Fields({where: value}), where, role=role)
    if not found:
        raise RecordError("bad_value", f"{where}: expected at least one message")
    return found


def _request(request: Fields) -> Prompt:
    values = request.values
    config = request.maybe_child("config") if isinstance(values.get("config"), Mapping) else None
    kept = {key: values[key] for key in SAMPLING if request.has(key)}
    sampling = canonical_json(kept).decode() if kept else None
    model = values.get("model")
    if "role" in values or ("type" in values and ("content" in values or "kwargs" in values)):
        return Prompt(dialects.message(request))
    asked = _asked(request)
    if not asked:
        return _none(request.where or "input")
    system = _system(request) or (_system(config) if config else [])
    offered = values.get("tools") or (config.values.get("tools") if config else None)
    return Prompt([*system, *asked], tools(offered), model if isinstance(model, str) else None, sampling)


def _asked(request: Fields) -> list[Message]:
    for key in ("messages", "contents", "input", "prompt"):
        value = dialects.unpacked(request.values.get(key))
        if isinstance(value, str) and value.strip():
            return [turn("user", value)]
        if isinstance(value, list) and value:
            # Gemini's contents of one user may lack the role.
            return _listed(value, request.path(key), role="user" if key == "contents" else None)
        if isinstance(value, Mapping) and (key == "input" or "role" in value):
            return prompt(value, request.path(key)).messages
    match request.values.get("prompts"):
        case [str(text)]:  # LangChain's batch of one text
            return [turn("user", text)]
    return []


def _system(request: Fields) -> list[Message]:
    for key in SYSTEM:
        value = request.values.get(key)
        if isinstance(value, str) and value:
            return [turn("system", value)]
        if isinstance(value, Mapping):
            return dialects.message(Fields({"role": "system", **value} | {"role": "system"}, request.path(key)))
        if isinstance(value, list) and value:
            return dialects.message(Fields({"role": "system", "content": value}, request.path(key)))
    return []


def tools(offered: object) -> str | None:
    """Return offered tools, a list or its JSON text, as JSON text."""
    offered = dialects.unpacked(offered)
    return json_text(offered) if isinstance(offered, list) and offered else None


def replies(value: object, where: str) -> list[Reply]:
    """Return every answer that `value` holds, at least one. Raises RecordError where it holds none."""
    value = dialects.unpacked(value)
    if isinstance(value, str):
        return [Reply([turn("assistant", value)])]
    if isinstance(value, list) and value:
        if all(
            isinstance(v, Mapping) and isinstance(v.get("parts"), list) and v.get("role") in ASSISTANT for v in value
        ):
            # OpenTelemetry: one message is one of n answers. Of an agent the list is its whole run, tools included.
            return [_reply(item, i) for i, item in enumerate(Fields({where: value}).children(where))]
        messages = _listed(value, where, role="assistant")
        last = value[-1]
        return [Reply(messages, _finish(Fields(last)) if isinstance(last, Mapping) else None)]
    if isinstance(value, Mapping):
        return _response(Fields(value, where))
    raise RecordError("bad_value", f"{where}: expected messages, a response that holds them, or text")


def _response(response: Fields) -> list[Reply]:
    values = response.values
    for key in ("choices", "candidates", "generations"):
        if isinstance(values.get(key), list):
            items = response.items(key)
            if items and isinstance(items[0], list):  # LangChain's batch of one
                items = items[0]
            found = [_reply(item, i) for i, item in enumerate(Fields({key: items}, response.where).children(key))]
            if not found:
                response.bad(key, "at least one answer")
            return found
    if isinstance(values.get("output"), list | str) and "role" not in values:
        return replies(values["output"], response.path("output"))
    if isinstance(values.get("messages"), list) and "role" not in values:
        return [Reply(_listed(list(response.items("messages")), response.path("messages"), role="assistant"))]
    return [_reply(response, 0)]


def _reply(item: Fields, index: int) -> Reply:
    """Return one choice, candidate, generation or message."""
    values = item.values
    if isinstance(values.get("message"), Mapping):
        found = dialects.message(item.child("message"), role="assistant")
    elif isinstance(values.get("content"), Mapping):  # Gemini: {"content": {"role": "model", "parts": [...]}}
        found = dialects.message(item.child("content"), role="assistant")
    elif {"content", "parts", "kwargs", "tool_calls", "toolCallId"} & set(values):
        found = dialects.message(item, role="assistant")
    elif isinstance(values.get("text"), str):
        found = [turn("assistant", item.text("text"))]
    else:
        raise RecordError("bad_value", f"{item.where or 'output'}: expected a message")
    stated = values.get("index")
    return Reply(found, _finish(item), stated if isinstance(stated, int) and stated >= 0 else index)


def _finish(item: Fields) -> str | None:
    """Return the finish reason as text; LangSmith's JavaScript client stores the last chunk in its place."""
    value = item.values.get("finish_reason") or item.values.get("finishReason")
    if isinstance(value, Mapping):
        value = value.get("finish_reason")
    if value is None and isinstance(item.values.get("generation_info"), Mapping):
        value = item.child("generation_info").values.get("finish_reason")
    return value if isinstance(value, str) and value else None
