"""Reads Ollama's chat and generate: `{"request": {...}, "response": {"model": ..., "created_at": ..., "done": true}}`.

Also rows of a gateway that recorded the bytes (`ingest.readers.recorded`); a stream is one JSON object a line. Ollama
gives no ids: the content is the id.
"""

import json
from collections.abc import Mapping
from typing import Final

from ingest.errors import RecordError
from ingest.readers import recorded
from ingest.readers.fields import Fields, json_text
from ingest.readers.reading import Interaction, Reading
from ingest.readers.turns import Turns, function_call
from ingest.schema import Message, canonical_json, content_id

KIND = "ollama"

ROLES: Final = ("system", "user", "assistant", "tool")


class Ollama:
    """The reader of the format."""

    name: str = "ollama"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this is a request with the answer of an Ollama server."""
        return recorded.sniff(record, KIND, _is_ollama)

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return the interaction; a call without an answer is skipped with its reason."""
        call = recorded.exchange(record, KIND, join, bool)
        request, response = call.request, call.response
        if call.skipped is not None:
            return Reading(skipped=call.skipped)
        if request.has("suffix") and request.text("suffix"):
            return Reading(skipped="fill_in_the_middle")
        if request.values.get("context"):  # tokens of turns before, which the log does not spell
            return Reading(skipped="prompt_not_logged")
        return Reading(interactions=(_interaction(request, response),))


def _is_ollama(request: Mapping[str, object], response: object) -> bool:
    asks = "messages" in request or "prompt" in request
    return asks and isinstance(response, Mapping) and "done" in response and "created_at" in response


def _interaction(request: Fields, response: Fields) -> Interaction:
    chat = response.has("message")
    reply = _turns(response.child("message"), "assistant") if chat else Turns("assistant")
    if not chat:
        reply.say(response.text("response"), None)
    said = reply.messages(reply=True)
    prompt = _chat(request) if request.has("messages") else _generate(request)
    model, requested = response.name("model"), request.name("model")
    sampling = {
        key: request.values[key] for key in ("options", "format", "think", "raw", "template") if _says(request, key)
    }
    return Interaction(
        source_id=content_id([prompt, said, model or requested]),
        prompt=prompt,
        response=said,
        tools=json_text(request.items("tools")) if request.values.get("tools") else None,
        model=model,
        model_requested=requested,
        sampling=canonical_json(sampling).decode() if sampling else None,
        finish_reason=response.name("done_reason"),
        tokens_in=response.maybe_integer("prompt_eval_count"),
        tokens_out=response.maybe_integer("eval_count"),
        latency_ms=response.number("total_duration") / 1e6 if response.has("total_duration") else None,
        event_time=response.time("created_at") if response.has("created_at") else None,
    )


def _says(request: Fields, key: str) -> bool:
    """Return whether a field says anything: clients send "", {} and false for what was not set."""
    return bool(request.values.get(key))


def _chat(request: Fields) -> list[Message]:
    prompt = [m for item in request.children("messages") for m in _turns(item, None).messages()]
    if not prompt:
        request.bad("messages", "at least one message")
    return prompt


def _generate(request: Fields) -> list[Message]:
    system = Turns("system")
    if _says(request, "system"):
        system.say(request.text("system"), None)
    asked = Turns("user")
    _say(asked, request, "prompt")
    return system.messages() + asked.messages()


def _turns(item: Fields, role: str | None) -> Turns:
    """Return what one message says; reasoning is not kept."""
    role = item.one_of("role", ROLES) if item.has("role") or role is None else role
    turns = Turns(role)
    if role == "tool":
        turns.result(item.text("content"), call_id=item.name("tool_call_id"), name=item.name("tool_name"))
        return turns
    _say(turns, item, "content")
    for call in item.children("tool_calls") if item.has("tool_calls") else ():
        function = call.child("function")
        turns.call(function_call(function.text("name"), function.values.get("arguments"), call.name("id")))
    return turns


def _say(turns: Turns, fields: Fields, key: str) -> None:
    """Add a text and the images beside it."""
    calls = fields.has("tool_calls") and not fields.values.get(key)
    if not calls:
        text = fields.text(key)
        turns.say(text, {"type": "text", "text": text})
    for image in fields.items("images") if fields.has("images") else ():
        turns.show({"type": "image", "data": image})


def join(body: str, where: str) -> Fields:
    """Return the response that the lines of `body` spell, one line or many; it has `error` where one says so."""
    joined: dict[str, object] = {}
    said: dict[str, object] = {}
    for number, line in enumerate(body.strip().split("\n")):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise RecordError("bad_value", f"{where}: line {number} is not JSON") from error
        part = Fields({where: value}).child(where)
        if part.has("error"):
            return part
        text = part.maybe_text("response")
        message = part.maybe_child("message")
        joined |= part.values
        if text is not None:
            joined["response"] = said["response"] = f"{said.get('response') or ''}{text}"
        if message is not None:
            joined["message"] = _extend(said, message)
    return Fields(joined, where)


def _extend(said: dict[str, object], message: Fields) -> dict[str, object]:
    """Add one line's part of the message."""
    said["role"] = message.name("role") or said.get("role") or "assistant"
    said["content"] = f"{said.get('content') or ''}{message.maybe_text('content') or ''}"
    if message.has("tool_calls"):
        known = said.get("tool_calls")
        said["tool_calls"] = [*(known if isinstance(known, list) else []), *message.items("tool_calls")]
    return dict(said)
