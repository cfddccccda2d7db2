"""Server-sent events: the objects of any API's stream, and the chat completion that its chunks spell."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ingest.errors import RecordError
from ingest.readers.fields import Fields


@dataclass
class _Choice:
    """What the chunks have said of one choice so far."""

    content: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    calls: dict[int, dict[str, object]] = field(default_factory=dict)
    function_call: dict[str, object] = field(default_factory=dict)
    logprobs: list[object] = field(default_factory=list)
    token_ids: list[object] = field(default_factory=list)
    finish_reason: str | None = None

    def add(self, chunk: Fields) -> None:
        """Add one chunk's part of this choice."""
        delta = chunk.maybe_child("delta") or Fields({}, chunk.path("delta"))
        self.content += [delta.text("content")] if delta.has("content") else []
        self.refusal += [delta.text("refusal")] if delta.has("refusal") else []
        for call in delta.children("tool_calls") if delta.has("tool_calls") else ():
            # A provider that gives no index sends each call whole.
            index = call.integer("index") if call.has("index") else len(self.calls)
            self._add_call(self.calls.setdefault(index, {}), call)
        if (call_part := delta.maybe_child("function_call")) is not None:
            _extend_function(self.function_call, call_part)
        if (logged := chunk.maybe_child("logprobs")) is not None and logged.has("content"):
            self.logprobs += logged.items("content")
        self.token_ids += chunk.items("token_ids") if chunk.has("token_ids") else []
        self.finish_reason = chunk.name("finish_reason") or self.finish_reason

    @staticmethod
    def _add_call(call: dict[str, object], part: Fields) -> None:
        for key in ("id", "type"):
            if (value := part.name(key)) is not None:
                call[key] = value
        if (function := part.maybe_child("function")) is not None:
            known = call.setdefault("function", {})
            assert isinstance(known, dict)
            _extend_function(known, function)

    def completion(self, index: int) -> dict[str, object]:
        """Return the choice as a plain completion holds it."""
        message = {
            "role": "assistant",
            "content": "".join(self.content) or None,
            "refusal": "".join(self.refusal) or None,
            "tool_calls": [self.calls[i] for i in sorted(self.calls)] or None,
            "function_call": self.function_call or None,
        }
        return {
            "index": index,
            "message": message,
            "finish_reason": self.finish_reason,
            "logprobs": {"content": self.logprobs} if self.logprobs else None,
            "token_ids": self.token_ids or None,
        }


def _extend_function(function: dict[str, object], part: Fields) -> None:
    """Add one part of a call: the name comes once, the arguments piece by piece."""
    if (name := part.name("name")) is not None:
        function["name"] = name
    function["arguments"] = str(function.get("arguments", "")) + (part.maybe_text("arguments") or "")


def is_event_stream(body: str) -> bool:
    """Return whether `body` begins as server-sent events do, not as JSON."""
    return body.lstrip()[:6].startswith(("data:", "event:", "id:", ":", "retry:"))


def join(body: str, where: str) -> Fields:
    """Return the chat completion that the events of `body` spell.

    The result has `error` instead of `choices` when the stream says that it failed. Raises RecordError for an event
    that is no JSON object.
    """
    return join_chunks(events(body, where), where)


def join_chunks(chunks: Iterable[Fields], where: str) -> Fields:
    """Return the chat completion that chunks spell, or what has the `error` that one of them says."""
    joined: dict[str, object] = {}
    choices: dict[int, _Choice] = {}
    for chunk in chunks:
        if chunk.has("error"):
            return Fields({"error": chunk.values["error"]}, where)
        for key in ("id", "model", "created"):
            # The first chunk of some gateways names nothing: "" and 0 give way to what follows.
            joined[key] = joined.get(key) or chunk.values.get(key)
        if chunk.has("usage"):
            joined["usage"] = chunk.values["usage"]
        for choice in chunk.children("choices") if chunk.has("choices") else ():
            choices.setdefault(choice.maybe_integer("index") or 0, _Choice()).add(choice)
    joined["choices"] = [choices[i].completion(i) for i in sorted(choices)]
    return Fields(joined, where)


def events(body: str, where: str) -> Iterator[Fields]:
    """Yield the objects of the `data:` lines up to [DONE], of any API. Raises RecordError for one that is no object."""
    number = 0
    for line in body.split("\n"):  # not splitlines: JSON text may hold U+2028
        if not line.lstrip().startswith("data:"):
            continue
        data = line.lstrip().removeprefix("data:").strip()
        if data == "[DONE]":
            return
        try:
            value = json.loads(data)
        except ValueError as error:
            raise RecordError("bad_value", f"{where}: event {number} is not JSON") from error
        if not isinstance(value, dict):
            raise RecordError("wrong_type", f"{where}: expected event {number} to be an object")
        yield Fields(value, f"{where}.event[{number}]")
        number += 1
