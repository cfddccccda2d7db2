"""Reads OpenAI Responses: `{"request": {"input": ...}, "response": {"object": "response", "output": [...]}}`.

Also rows of a gateway that recorded the bytes (`ingest.readers.recorded`), streams joined. A request that names a
`previous_response_id` logs only what it adds to that conversation. Its interaction says so, with the previous response
as its parent and the status "awaits_parent", until `ingest.threads` finds the parent in the lake.
"""

from collections.abc import Mapping
from typing import Final

from ingest.readers import event_stream, recorded
from ingest.readers.chat import ROLES
from ingest.readers.fields import Fields, json_text
from ingest.readers.reading import Interaction, Reading
from ingest.readers.turns import Turns, function_call
from ingest.schema import Message, canonical_json, content_id

KIND = "openai_responses"

SAMPLING: Final = (
    "temperature",
    "top_p",
    "max_output_tokens",
    "max_tool_calls",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "tool_choice",
    "top_logprobs",
    "truncation",
)
"""Request fields that decide how a response is drawn."""

TEXTS: Final = ("input_text", "output_text", "text")
ELSEWHERE: Final = ("item_reference", "compaction")
"""Items that stand for text which only OpenAI can read."""
LAST_EVENTS: Final = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
UNANSWERED: Final = ("failed", "cancelled", "queued", "in_progress", "cut_off")
"""Status of a response that is none; "cut_off" is what `join` says of half a stream."""
FINISH: Final[Mapping[str, str]] = {"max_output_tokens": "length", "content_filter": "content_filter"}
"""Why a response is incomplete -> finish reason."""


class OpenAIResponses:
    """The reader of the format."""

    name: str = "openai_responses"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this is a request with the response object that answers it."""
        return recorded.sniff(record, KIND, _is_response)

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return the interaction; a call without an answer, or without a prompt to read, is skipped with its reason."""
        call = recorded.exchange(record, KIND, join)
        if call.skipped is not None:
            return Reading(skipped=call.skipped)
        status = call.response.name("status") or "completed"
        if status in UNANSWERED:
            return Reading(skipped=f"response_{status}")
        if status not in ("completed", "incomplete"):
            call.response.bad("status", "completed, incomplete or one of " + ", ".join(UNANSWERED))
        if _is_elsewhere(call.request):
            return Reading(skipped="prompt_not_logged")
        return Reading(interactions=(interaction(call.request, call.response),))


def _is_response(request: Mapping[str, object], response: object) -> bool:
    return "input" in request and isinstance(response, Mapping) and response.get("object") == "response"


def _is_elsewhere(request: Fields) -> bool:
    """Return whether part of the prompt is kept by OpenAI alone: a conversation, a prompt template, an item."""
    items = request.values.get("input")
    referred = isinstance(items, list) and any(
        isinstance(item, Mapping) and item.get("type") in ELSEWHERE for item in items
    )
    return request.has("conversation") or request.has("prompt") or referred


def interaction(request: Fields, response: Fields) -> Interaction:
    """Return the interaction of `POST /v1/responses` and its answer."""
    instructions = request.name("instructions")
    prompt = [_system(instructions)] if instructions else []
    prompt += _input(request)
    said = _output(response)
    model, requested = response.name("model"), request.name("model")
    sampling = {key: request.values[key] for key in SAMPLING if request.has(key)}
    if instructions:
        sampling["instructions"] = True  # the first message: it does not carry over to the next response
    usage = response.maybe_child("usage") or Fields({}, response.path("usage"))
    parent = request.name("previous_response_id")
    return Interaction(
        source_id=response.name("id") or content_id([parent, prompt, said, model or requested]),
        parent_id=parent,
        status="awaits_parent" if parent else "ok",
        prompt=prompt,
        response=said,
        user=request.maybe_id("user") or request.maybe_id("safety_identifier"),
        tools=tools(request),
        model=model,
        model_requested=requested,
        sampling=canonical_json(sampling).decode() if sampling else None,
        finish_reason=_finish(response, said),
        tokens_in=usage.maybe_integer("input_tokens"),
        tokens_out=usage.maybe_integer("output_tokens"),
        event_time=response.maybe_unix("created_at"),
    )


def _system(text: str) -> Message:
    return Message(role="system", content=text, tool_calls=None, tool_call_id=None, name=None)


def _input(request: Fields) -> list[Message]:
    """Return what the request adds to the conversation."""
    if isinstance(request.values.get("input"), str):
        turns = Turns("user")
        turns.say(request.text("input"), None)
        return turns.messages()
    found = _messages(request, "input")
    if not found:
        request.bad("input", "at least one message")
    return found


def _output(response: Fields) -> list[Message]:
    """Return what the response says; at least one message, which may say nothing."""
    return _messages(response, "output") or Turns("assistant").messages(reply=True)


def _messages(fields: Fields, key: str) -> list[Message]:
    """Return the items of a list as messages, in order; reasoning is not kept."""
    found: list[Message] = []
    turns = Turns("assistant")
    for item in fields.children(key):
        kind = item.maybe_text("type") or "message"
        if kind == "message":
            found += turns.messages()
            turns = Turns(item.one_of("role", ROLES))
            _add(turns, item)
        elif kind.endswith("_output"):
            turns.result(_result(item), call_id=item.name("call_id"))
        elif kind != "reasoning":
            if turns.role != "assistant":
                found += turns.messages()
                turns = Turns("assistant")
            turns.call(_call(item) if kind == "function_call" else item.values)
    return found + turns.messages()


def _add(turns: Turns, item: Fields) -> None:
    """Add the text or the parts of a message."""
    if isinstance(item.values.get("content"), str):
        turns.say(item.text("content"), None)
        return
    for part in item.children("content"):
        kind = part.text("type")
        if kind in TEXTS:
            turns.say(part.text("text"), part.values)
        elif kind == "refusal":
            turns.say(part.text("refusal"), part.values)
        else:
            turns.show(part.values)


def _call(item: Fields) -> dict[str, object]:
    return function_call(item.text("name"), item.text("arguments"), item.name("call_id"))


def _result(item: Fields) -> str:
    """Return what a tool gave back: text, the texts of its parts, or anything else as JSON text."""
    value = item.values.get("output")
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, Mapping) and part.get("type") in TEXTS for part in value):
        return "\n".join(part.text("text") for part in item.children("output"))
    return json_text(value)


def tools(request: Fields) -> str | None:
    """Return the offered tools in the form of chat completions; those that OpenAI runs stay as they came."""
    offered = [
        {"type": "function", "function": {key: value for key, value in tool.values.items() if key != "type"}}
        if tool.values.get("type") == "function"
        else tool.values
        for tool in (request.children("tools") if request.has("tools") else ())
    ]
    return json_text(offered) if offered else None


def _finish(response: Fields, said: list[Message]) -> str | None:
    """Return the finish reason in the words of chat completions."""
    if response.values.get("status") == "incomplete":
        details = response.maybe_child("incomplete_details")
        reason = details.name("reason") if details else None
        return FINISH.get(reason, reason) if reason else "length"
    # A function's call ends a response; what OpenAI runs itself is followed by what it found.
    return "tool_calls" if said[-1]["tool_calls"] else "stop"


def join(body: str, where: str) -> Fields:
    """Return the response that the events of `body` end with; it has `error` where the stream says that it failed.

    A stream that was cut lacks that event: its response has only the status "cut_off".
    """
    for event in event_stream.events(body, where):
        kind = event.text("type")
        if kind == "error":
            return Fields({"error": True}, where)
        if kind in LAST_EVENTS:
            return event.child("response")
    return Fields({"status": "cut_off"}, where)
