"""Reads LiteLLM's StandardLoggingPayload, one call a record: files of one object (S3, GCS) and JSON lines.

Messages and response are of any API that LiteLLM speaks; what it was told not to log it replaces by a sentinel.
"""

import re
from collections.abc import Mapping
from typing import Final

from ingest import withheld
from ingest.readers import apis
from ingest.readers.fields import Fields
from ingest.readers.reading import Interaction, Reading

TEXTS: Final = ("completion", "responses", "anthropic_messages", "generate_content")
"""What the type of a call that draws text contains: acompletion, atext_completion, aresponses, ..."""

NESTING: Final = ("content", "text", "message", "choices", "output", "parts", "candidates")
"""Fields of messages and responses within which a text stands."""

_CODE: Final = re.compile(r"[1-9][0-9]{2}")
_TYPE: Final = re.compile(r"[a-z_]{1,40}")


class LiteLLM:
    """The reader of the format."""

    name: str = "litellm"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether the record has the payload's fields."""
        return {"id", "call_type", "startTime", "messages", "response"} <= record.keys()

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return one interaction for each choice; calls that failed, or whose text was not logged, are skipped."""
        row = Fields(record)
        if (reason := _unanswered(row)) is not None:
            return Reading(skipped=reason, skipped_days=withheld.days(reason, apis.zoned_time(row, "startTime")))
        found = apis.read(_request(row), row.child("response").values)
        if _is_cached(row):
            apis.mark_cached(found.interactions)
        for one in found.interactions:
            _state(row, one, len(found.interactions))
        return found


def _unanswered(row: Fields) -> str | None:
    """Return why the call says nothing, or None."""
    kind = row.text("call_type")
    if not any(word in kind for word in TEXTS):
        return f"call_type_{kind}" if _TYPE.fullmatch(kind) else "call_type_unknown"
    if (row.name("status") or "success") != "success":
        code = str((row.maybe_child("error_information") or Fields({})).values.get("error_code"))
        return f"http_status_{code}" if _CODE.fullmatch(code) else "failure"
    for key in ("messages", "response"):
        if (sentinel := _sentinel(row.values.get(key))) is not None:
            return withheld.SENTINELS[sentinel]
    if not row.values.get("messages"):
        return "no_prompt"
    return None if row.values.get("response") else "no_response"


def _sentinel(value: object) -> str | None:
    """Return the sentinel that stands in place of a text, or None."""
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, str):
            if inner in withheld.SENTINELS:
                return inner
        elif isinstance(inner, list):
            waiting += inner
        elif isinstance(inner, dict):
            waiting += [below for key in NESTING if (below := inner.get(key))]
    return None


def _request(row: Fields) -> dict[str, object]:
    """Return the request that was sent, put together from what the payload states of it."""
    parameters = row.maybe_child("model_parameters") or Fields({})
    request = {**parameters.values, "model": row.name("model_group") or row.name("model")}
    kind, messages = row.text("call_type"), row.values["messages"]
    if "responses" in kind:
        return request | {"input": messages}
    if "generate_content" in kind:
        return request | {"contents": messages}
    if "text_completion" in kind:
        return request | {"prompt": _prompt(row)}
    return request | {"messages": _chat(row, parameters.values.get("system"))}


def _chat(row: Fields, system: object) -> list[object]:
    """Return the messages; the system prompt of an Anthropic call that was answered in OpenAI's form becomes one."""
    messages = row.values["messages"]
    asked = [{"role": "user", "content": messages}] if isinstance(messages, str) else row.items("messages")
    translated = system and "choices" in row.child("response").values
    return [{"role": "system", "content": system}, *asked] if translated else [*asked]


def _prompt(row: Fields) -> object:
    """Return the prompt of a text completion; LiteLLM states it as a user's message, or several prompts as several."""
    if isinstance(row.values["messages"], str):
        return row.text("messages")
    return [message.text("content") for message in row.children("messages")]


def _is_cached(row: Fields) -> bool:
    """Return whether the answer came from the cache; older versions write the word."""
    return row.values.get("cache_hit") in (True, "True", "true")


def _state(row: Fields, one: Interaction, choices: int) -> None:
    """Add to the interaction what the payload states around the exchange."""
    one.source_id = row.text("id")
    one.conversation_id = row.name("trace_id")
    one.user = row.maybe_id("end_user") or one.user
    one.model = one.model or row.name("model")
    one.tokens_in = one.tokens_in or row.maybe_integer("prompt_tokens") or None
    tokens_out = row.maybe_integer("completion_tokens") or None
    one.tokens_out = one.tokens_out or (tokens_out if choices == 1 else None)
    one.latency_ms = apis.milliseconds_between(row, "startTime", "endTime")
    one.event_time = apis.zoned_time(row, "startTime") or one.event_time
