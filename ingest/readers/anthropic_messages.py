"""Reads Anthropic Messages: `{"request": {...}, "response": {"type": "message", ...}}`, one exchange a line.

Also rows of a gateway that recorded the bytes (`ingest.readers.recorded`), streams joined. A request that ends with an
assistant's turn began the answer: the reply continues it, so both are one response.
"""

import json
from collections.abc import Mapping
from typing import Final

from ingest.errors import RecordError
from ingest.readers import event_stream, recorded
from ingest.readers.fields import Fields, json_text
from ingest.readers.reading import Interaction, Reading
from ingest.readers.turns import Turns, function_call, function_tool
from ingest.schema import Message, canonical_json, content_id

KIND = "anthropic_messages"

SAMPLING: Final = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "stop_sequences",
    "tool_choice",
    "thinking",
    "output_config",
    "output_format",
)
"""Request fields that decide how a response is drawn."""

FINISH: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",  # the answer goes on in another request: what is here is not all of it
    "refusal": "content_filter",  # the provider's classifier cut it off
}
"""Stop reason -> finish reason; one that is new stays as it came."""

REASONING: Final = ("thinking", "redacted_thinking")


class AnthropicMessages:
    """The reader of the format."""

    name: str = "anthropic_messages"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this is a request with the message that answers it."""
        return recorded.sniff(record, KIND, _is_message)

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return the interaction; a call without an answer is skipped with its reason."""
        call = recorded.exchange(record, KIND, join)
        if call.skipped is not None:
            return Reading(skipped=call.skipped)
        return Reading(interactions=(interaction(call.request, call.response),))


def _is_message(request: Mapping[str, object], response: object) -> bool:
    return "messages" in request and isinstance(response, Mapping) and response.get("type") in ("message", "error")


def interaction(request: Fields, response: Fields) -> Interaction:
    """Return the interaction of `POST /v1/messages` and its answer."""
    asked = list(request.children("messages"))
    begun = asked.pop() if asked and asked[-1].values.get("role") == "assistant" else None
    prompt = _system(request) + [said for item in asked for said in _messages(item).messages()]
    if not prompt:
        request.bad("messages", "at least one message before the answer")
    reply = _messages(begun) if begun else Turns("assistant")
    _add(reply, response, "content")
    said = reply.messages(reply=True)
    model, requested = response.name("model"), request.name("model")
    sampling = {key: request.values[key] for key in SAMPLING if request.has(key)}
    usage = response.maybe_child("usage") or Fields({}, response.path("usage"))
    stopped = response.name("stop_reason")
    return Interaction(
        source_id=response.name("id") or content_id([prompt, said, model or requested]),
        prompt=prompt,
        response=said,
        user=(request.maybe_child("metadata") or Fields({})).maybe_id("user_id"),
        tools=_tools(request),
        model=model,
        model_requested=requested,
        sampling=canonical_json(sampling | ({"prefill": True} if begun else {})).decode()
        if sampling or begun
        else None,
        finish_reason=FINISH.get(stopped, stopped) if stopped else None,
        tokens_in=_tokens_in(usage),
        tokens_out=usage.maybe_integer("output_tokens"),
    )


def _tokens_in(usage: Fields) -> int | None:
    """Return the length of the prompt: `input_tokens` leaves out what came from the cache or went into it."""
    cached = ("cache_read_input_tokens", "cache_creation_input_tokens")
    if not usage.has("input_tokens"):
        return None
    return usage.integer("input_tokens") + sum(usage.maybe_integer(key) or 0 for key in cached)


def _system(request: Fields) -> list[Message]:
    """Return the system prompt, text or a list of text blocks, as the message it is in other APIs."""
    if not request.has("system"):
        return []
    turns = Turns("system")
    _add(turns, request, "system")
    return turns.messages()


def _messages(item: Fields) -> Turns:
    """Return what one message of the request says."""
    turns = Turns(item.one_of("role", ("user", "assistant", "system")))
    _add(turns, item, "content")
    return turns


def _add(turns: Turns, fields: Fields, key: str) -> None:
    """Add text, or blocks in their order; reasoning is not kept."""
    if isinstance(fields.values.get(key), str):
        turns.say(fields.text(key), {"type": "text", "text": fields.text(key)})
        return
    for block in fields.children(key):
        kind = block.text("type")
        if kind == "text":
            turns.say(block.text("text"), block.values)
        elif kind == "tool_use":
            turns.call(function_call(block.text("name"), block.values.get("input"), block.name("id")))
        elif kind.endswith("tool_use"):  # run by the provider: server_tool_use, mcp_tool_use
            turns.call(block.values)
        elif kind.endswith("tool_result"):
            turns.result(_result(block), call_id=block.name("tool_use_id"))
        elif kind not in REASONING:
            turns.show(block.values)


def _result(block: Fields) -> str:
    """Return what a tool gave back as text; of a failure also that it is one."""
    value = block.values.get("content")
    if block.maybe_flag("is_error"):
        return json_text({"is_error": True, "content": value})
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list) and all(isinstance(part, Mapping) and part.get("type") == "text" for part in value):
        return "\n".join(part.text("text") for part in block.children("content"))
    return json_text(value)


def _tools(request: Fields) -> str | None:
    """Return the offered tools in OpenAI's form; those that the provider runs stay as they came."""
    offered = [
        tool.values
        if tool.values.get("type") not in (None, "custom")
        else function_tool(tool.text("name"), tool.name("description"), tool.values.get("input_schema"))
        for tool in (request.children("tools") if request.has("tools") else ())
    ]
    return json_text(offered) if offered else None


def join(body: str, where: str) -> Fields:
    """Return the message that the events of `body` spell; it has `error` where the stream says that it failed."""
    message: dict[str, object] = {}
    blocks: dict[int, dict[str, object]] = {}
    inputs: dict[int, str] = {}
    for event in event_stream.events(body, where):
        kind = event.text("type")
        if kind == "error":
            return Fields({"error": event.values.get("error") or True}, where)
        if kind == "message_start":
            message |= event.child("message").values
        elif kind == "message_delta":
            message |= event.child("delta").values
            usage = event.maybe_child("usage")
            message["usage"] = _joined_usage(message.get("usage"), usage.values if usage else {})
        elif kind == "content_block_start":
            blocks[event.integer("index")] = dict(event.child("content_block").values)
        elif kind == "content_block_delta":
            _extend(blocks, inputs, event)
    if not message:
        raise RecordError("bad_value", f"{where}: expected a stream that begins with message_start")
    for index, text in inputs.items():
        # A cut stream leaves half of the input: it stays the text it is.
        try:
            blocks[index]["input"] = json.loads(text)
        except ValueError:
            blocks[index]["input"] = text
    message["content"] = [blocks[index] for index in sorted(blocks)]
    return Fields(message, where)


def _joined_usage(before: object, after: Mapping[str, object]) -> dict[str, object]:
    """Return the usage of the whole message: what the last event says, and of the rest what the first said."""
    known = dict(before) if isinstance(before, Mapping) else {}
    return known | {key: value for key, value in after.items() if value is not None}


def _extend(blocks: dict[int, dict[str, object]], inputs: dict[int, str], event: Fields) -> None:
    """Add one part of a block: text, or a piece of a tool's input. Reasoning and citations are not kept."""
    index, delta = event.integer("index"), event.child("delta")
    if index not in blocks:
        event.bad("index", "the index of a block that has begun")
    kind = delta.text("type")
    if kind == "text_delta":
        blocks[index]["text"] = f"{blocks[index].get('text') or ''}{delta.text('text')}"
    elif kind == "input_json_delta" and (piece := delta.text("partial_json")):
        inputs[index] = inputs.get(index, "") + piece
