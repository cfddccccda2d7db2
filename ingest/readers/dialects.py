"""One message as tracing tools store it -> messages as Winnow keeps them.

A tool stores what its instrumentation saw, so one trace may hold several forms: OpenAI's chat messages and Responses
items, Anthropic's content blocks, Gemini's and OpenTelemetry's parts, LangChain's constructors, the Vercel AI SDK's
tool calls. All of them become role, content and OpenAI's tool calls. Reasoning is not kept; media stay as JSON text.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from ingest.errors import RecordError
from ingest.readers.chat import ROLES
from ingest.readers.fields import Fields, json_text, kind_of
from ingest.schema import Message

ALIASES: Final = {
    "human": "user",
    "HumanMessage": "user",
    "HumanMessageChunk": "user",
    "ai": "assistant",
    "AIMessage": "assistant",
    "AIMessageChunk": "assistant",
    "model": "assistant",
    "SystemMessage": "system",
    "ToolMessage": "tool",
    "FunctionMessage": "function",
}
"""What LangChain and Gemini call the roles."""

TEXTS: Final = ("text", "input_text", "output_text")
REASONING: Final = ("thinking", "redacted_thinking", "reasoning", "Microsoft.Extensions.AI.TextReasoningContent")
CALLS: Final = ("tool_use", "tool_call", "tool-call", "function_call")
RESULTS: Final = ("tool_result", "tool_call_response", "tool-result", "function_call_output")


@dataclass
class _Turn:
    """What the parts of one message have said so far."""

    texts: list[str] = field(default_factory=list)
    calls: list[object] = field(default_factory=list)
    results: list[Message] = field(default_factory=list)
    other: bool = False
    """Whether a part is neither text, call, result nor reasoning."""


def unpacked(value: object) -> object:
    """Return the object or list that a JSON text holds; any other value, plain text too, as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return found if isinstance(found, dict | list) else value
    return value


def text_of(value: object) -> str:
    """Return a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json_text(value)


def call(name: str, arguments: object, call_id: str | None) -> dict[str, object]:
    """Return a tool call in OpenAI's form; arguments are JSON text there."""
    made: dict[str, object] = {"id": call_id} if call_id else {}
    text = arguments if isinstance(arguments, str) else json_text(arguments if arguments is not None else {})
    return made | {"type": "function", "function": {"name": name, "arguments": text}}


def plain(role: str, content: str | None, *, calls: list[object] | None = None, **fields: str | None) -> Message:
    """Return a message; `fields` are tool_call_id and name."""
    return Message(
        role=role,
        content=content,
        tool_calls=json_text(calls) if calls else None,
        tool_call_id=fields.get("tool_call_id"),
        name=fields.get("name"),
    )


def messages(values: Fields, key: str, *, role: str | None = None) -> list[Message]:
    """Return the messages of a required list; `role` stands in where a message has none."""
    found: list[Message] = []
    called: set[str] = set()
    for item in values.children(key):
        for one in message(item, role=role, tools=called):
            called.update(_names(one))
            found.append(one)
    return found


def message(item: Fields, *, role: str | None = None, tools: set[str] | frozenset[str] = frozenset()) -> list[Message]:
    """Return what one stored message says: several messages where it holds the results of several tools.

    `tools` are the names of tools called before: LangChain's exporters write one of them in place of the role "tool".
    """
    if not item.has("role"):
        bare = _without_role(item, role, tools)
        if bare is not None:
            return bare
    if _is_tool_definition(item):
        return []
    said = _role(item, role, tools)
    turn = _turn(item)
    calls = turn.calls + _stated_calls(item)
    name = item.name("name")
    if said == "tool" and item.has("role") and item.text("role") in tools:
        name = item.text("role")
    if turn.results and not turn.texts and not calls:
        return turn.results
    own = plain(said, _content(item, turn), calls=calls, tool_call_id=item.name("tool_call_id"), name=name)
    if own["content"] is None and not calls and said != "assistant":
        raise RecordError("missing_field", f"{item.path('content')}: expected what the {said} says")
    return [*turn.results, own]


def _without_role(item: Fields, role: str | None, tools: set[str] | frozenset[str]) -> list[Message] | None:
    """Return what an item of another form than a message says, None where it is of none of these forms."""
    kind = item.values.get("type")
    if kind in REASONING:
        return []
    if kind in RESULTS:
        return [_result(item)]
    if kind in CALLS or (item.has("toolCallId") and item.has("toolName") and kind is None):
        return [plain("assistant", None, calls=[_call(item)])]
    inner = _wrapped(item)
    return None if inner is None else message(inner, role=role, tools=tools)


def _wrapped(item: Fields) -> Fields | None:
    """Return the message that stands within LangChain's constructor or data, or within a choice."""
    if item.has("kwargs") and isinstance(item.values.get("id"), list):
        # {"lc": 1, "id": [..., "HumanMessage"], "kwargs": {...}}
        names = [name for name in item.items("id") if isinstance(name, str)]
        kwargs = item.child("kwargs")
        return Fields({**kwargs.values, "type": names[-1] if names else None}, kwargs.where)
    if isinstance(item.values.get("data"), Mapping):
        data = item.child("data")
        return Fields({**data.values, "type": item.values.get("type")}, data.where)
    return item.child("message") if isinstance(item.values.get("message"), Mapping) else None


def tool_definitions(values: object) -> list[object]:
    """Return the tools that LangChain's exporters put among the messages."""
    items = values if isinstance(values, list) else []
    return [v["content"] for v in items if isinstance(v, Mapping) and _is_tool_definition(Fields(v))]


def _is_tool_definition(item: Fields) -> bool:
    content = item.values.get("content")
    if item.values.get("role") != "tool" or not isinstance(content, Mapping):
        return False
    return content.get("type") == "function" and isinstance(content.get("function"), Mapping)


def _names(one: Message) -> Iterator[str]:
    for made in json.loads(one["tool_calls"] or "[]"):
        if isinstance(made, Mapping) and isinstance(made.get("function"), Mapping):
            yield str(made["function"].get("name"))


def _role(item: Fields, default: str | None, tools: set[str] | frozenset[str]) -> str:
    stated = item.values.get("role") or item.values.get("type")
    known = ALIASES.get(stated, stated) if isinstance(stated, str) else None
    if known in ROLES:
        return str(known)
    if isinstance(stated, str) and item.has("role") and stated in tools:
        return "tool"
    if item.has("role") or default is None:
        item.bad("role", "one of " + ", ".join(ROLES))
    return default


def _turn(item: Fields) -> _Turn:
    """Return what the content or the parts say, calls and results apart."""
    key = "parts" if isinstance(item.values.get("parts"), list) else "content"
    value = item.values.get(key)
    if isinstance(value, list):
        return _turn_of([Fields({"text": p, "type": "text"}) if isinstance(p, str) else p for p in _parts(item, key)])
    return _Turn(texts=[text_of(value)] if value is not None else [])


def _parts(item: Fields, key: str) -> Iterator[Fields | str]:
    for i, value in enumerate(item.items(key)):
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield Fields(value, f"{item.path(key)}[{i}]")
        else:
            raise RecordError("wrong_type", f"{item.path(key)}[{i}]: expected a part, got {kind_of(value)}")


def _turn_of(parts: list[Fields]) -> _Turn:
    turn = _Turn()
    for part in parts:
        kind = part.values.get("type")
        gemini_call = part.maybe_child("functionCall") or part.maybe_child("function_call")
        gemini_result = part.maybe_child("functionResponse") or part.maybe_child("function_response")
        if gemini_call is not None and kind is None:
            turn.calls.append(call(gemini_call.text("name"), gemini_call.values.get("args"), gemini_call.name("id")))
        elif gemini_result is not None and kind is None:
            content = text_of(gemini_result.values.get("response"))
            turn.results.append(
                plain("tool", content, tool_call_id=gemini_result.name("id"), name=gemini_result.name("name"))
            )
        elif kind in CALLS:
            turn.calls.append(_call(part))
        elif kind in RESULTS:
            turn.results.append(_result(part))
        elif kind in REASONING or part.values.get("thought") is True:
            continue
        elif kind in TEXTS or (kind is None and part.has("text")):
            turn.texts.append(part.text("text") if part.has("text") else part.text("content"))
        else:
            turn.other = True
    return turn


def _first(part: Fields, *keys: str) -> object:
    return next((part.values[key] for key in keys if part.has(key)), None)


def _call(part: Fields) -> dict[str, object]:
    name = _first(part, "name", "toolName")
    call_id = _first(part, "call_id", "toolCallId", "id")
    if not isinstance(name, str):
        part.bad("name", "the name of a tool")
    return call(name, _first(part, "arguments", "input", "args"), call_id if isinstance(call_id, str) else None)


def _result(part: Fields) -> Message:
    call_id = _first(part, "tool_use_id", "call_id", "toolCallId", "id")
    value = _first(part, "content", "response", "result", "output")
    if isinstance(value, list):
        turn = _turn_of([Fields(v) for v in value if isinstance(v, Mapping)])
        value = json_text(value) if turn.other or len(turn.texts) != len(value) else "\n".join(turn.texts)
    elif isinstance(value, Mapping) and value.get("type") == "text" and isinstance(value.get("value"), str):
        value = value["value"]
    name = _first(part, "name", "toolName")
    return plain(
        "tool",
        text_of(value),
        tool_call_id=call_id if isinstance(call_id, str) else None,
        name=name if isinstance(name, str) else None,
    )


def _content(item: Fields, turn: _Turn) -> str | None:
    if turn.other:
        return json_text(item.values["parts" if isinstance(item.values.get("parts"), list) else "content"])
    return "\n".join(turn.texts) if turn.texts else item.maybe_text("refusal")


def _stated_calls(item: Fields) -> list[object]:
    """Return the calls beside the content: OpenAI's, LangChain's, and the older function_call."""
    extra = item.maybe_child("additional_kwargs") or Fields({})
    found: list[object] = []
    for source in (item, extra):
        if not found and isinstance(source.values.get("tool_calls"), list):
            for made in source.children("tool_calls"):
                inner = made.maybe_child("function")
                found.append(
                    call(inner.text("name"), inner.values.get("arguments"), made.name("id")) if inner else _call(made)
                )
        if not found and isinstance(source.values.get("function_call"), Mapping):
            found.append(_call(source.child("function_call")))
    return found
