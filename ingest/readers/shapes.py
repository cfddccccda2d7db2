"""Lines of a common shape -> what their reader says of them, in a fifth of its time.

A shape is the strictest form of a log's record: its fields have their plainest types, and what is rare is absent. A
line of that shape is decoded straight into structs, and what the reader would say is known without asking it. Every
other line gives None and goes the reader's way, which also finds what is wrong with it. A test compares both ways on
every reader's examples and on mutations of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from ingest import withheld
from ingest.errors import RecordError
from ingest.readers import apis, chat
from ingest.readers.fields import INT32_MAX, UNIX_MAX, Fields, json_text
from ingest.readers.litellm import LiteLLM
from ingest.readers.reading import Interaction, Reading
from ingest.schema import Message, canonical_json

Count = Annotated[int, Meta(ge=0, le=INT32_MAX)]
Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class _NoText(Struct, gc=False):
    """Fields in which other APIs have texts: they must be absent or null."""

    text: None = None
    output: None = None
    parts: None = None
    candidates: None = None


class _Message(_NoText, gc=False):
    role: Role | None = None
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[object] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    function_call: None = None
    message: None = None
    choices: None = None


class _Choice(_NoText, gc=False, kw_only=True):
    message: _Message
    index: Count | None = None
    finish_reason: str | None = None
    logprobs: None = None
    token_ids: None = None
    content: None = None
    choices: None = None


class _Usage(Struct, gc=False):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None


class _Response(_NoText, gc=False, kw_only=True):
    choices: Annotated[list[_Choice], Meta(min_length=1)]
    id: str | None = None
    model: str | None = None
    created: Annotated[int, Meta(ge=0, le=UNIX_MAX)] | None = None
    usage: _Usage | None = None
    content: None = None
    message: None = None


class _Payload(Struct, gc=False):
    """LiteLLM's StandardLoggingPayload of a chat completion that was answered."""

    id: str
    call_type: Literal["completion", "acompletion"]
    startTime: float | str | None  # noqa: N815
    messages: Annotated[list[_Message], Meta(min_length=1)]
    response: _Response
    endTime: float | str | None = None  # noqa: N815
    status: Literal["success", ""] | None = None
    trace_id: str | None = None
    end_user: str | int | None = None
    model: str | None = None
    model_group: str | None = None
    model_parameters: Raw = Raw(b"{}")
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    cache_hit: Literal["False", "false", ""] | bool | None = None
    request: msgspec.UnsetType = msgspec.UNSET
    winnow: msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class _Parameters:
    """What a call's parameters say."""

    user: str | None
    tools: str | None
    sampling: str | None


_PAYLOAD: Final = msgspec.json.Decoder(_Payload)
_PARAMETERS: Final = msgspec.json.Decoder(dict[str, object])
_MILLISECOND: Final = timedelta(milliseconds=1)
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _OtherError(Exception):
    """The line has the shape, and something in it is for the reader to judge."""


def litellm(raw: bytes) -> Reading | None:
    """Return what `ingest.readers.litellm` says of the line, or None where the line is not of the shape."""
    try:
        row = _PAYLOAD.decode(raw)
        if not raw.isascii():
            raw.decode()  # bytes of fields that are passed over are not looked at while decoding
        return _payload(row)
    except (_OtherError, *_UNREADABLE):
        return None


def _payload(row: _Payload) -> Reading:
    response, choices = row.response, row.response.choices
    if row.cache_hit is True:
        raise _OtherError
    prompt = [_message(message, message.role) for message in row.messages]
    asked = _parameters(bytes(row.model_parameters))
    if asked is None:
        raise _OtherError
    started, latency = _span(row.startTime, row.endTime)
    usage = response.usage
    tokens_in = (usage.prompt_tokens if usage else None) or row.prompt_tokens or None
    tokens_out = None
    if len(choices) == 1:
        tokens_out = (usage.completion_tokens if usage else None) or row.completion_tokens or None
    if started is None and response.created:
        started = datetime.fromtimestamp(response.created, UTC)
    return Reading(
        tuple(
            Interaction(
                source_id=row.id,
                choice_index=i if choice.index is None else choice.index,
                conversation_id=row.trace_id or None,
                prompt=prompt,
                response=[_message(choice.message, choice.message.role or "assistant")],
                user=(str(row.end_user) if row.end_user is not None else None) or asked.user,
                tools=asked.tools,
                model=response.model or row.model or None,
                model_requested=row.model_group or row.model or None,
                sampling=asked.sampling,
                finish_reason=choice.finish_reason or None,
                tokens_in=tokens_in,
                tokens_out=tokens_out,
                latency_ms=latency,
                event_time=started,
            )
            for i, choice in enumerate(choices)
        )
    )


def _message(message: _Message, role: str | None) -> Message:
    content = message.content
    if not content:
        content = message.refusal or content
    if role is None or (message.content is None and role != "assistant"):
        raise _OtherError
    if content is not None and len(content) <= withheld.LONGEST and content in withheld.SENTINELS:
        raise _OtherError
    calls = message.tool_calls
    return {
        "role": role,
        "content": content,
        "tool_calls": _calls(calls) if calls else None,
        "tool_call_id": message.tool_call_id or None,
        "name": message.name or None,
    }


def _calls(calls: list[object]) -> str:
    try:
        return json_text(calls)
    except (ValueError, TypeError) as error:
        raise _OtherError from error


@lru_cache(maxsize=1024)
def _parameters(raw: bytes) -> _Parameters | None:
    """Return what the JSON of a call's parameters says, often the same in many calls; None where it is unusual."""
    try:
        request = Fields(_PARAMETERS.decode(raw) if raw != b"null" else {})
        if request.values.get("system"):
            return None
        sampling = {key: request.values[key] for key in chat.SAMPLING if request.has(key)}
        text = canonical_json(sampling).decode() if sampling else None
        return _Parameters(request.maybe_id("user"), chat.tools(request), text)
    except (RecordError, ValueError, TypeError, *_UNREADABLE):
        return None


def _span(start: float | str | None, end: float | str | None) -> tuple[datetime | None, float | None]:
    """Return when the call began, and the milliseconds that it took."""
    if isinstance(start, float) and isinstance(end, float) and 0 < start <= end <= UNIX_MAX:
        began = datetime.fromtimestamp(start, UTC)
        return began, (datetime.fromtimestamp(end, UTC) - began) / _MILLISECOND
    times = Fields({"startTime": start, "endTime": end})
    try:
        latency = apis.milliseconds_between(times, "startTime", "endTime")
        return apis.zoned_time(times, "startTime"), latency
    except (RecordError, ValueError, OverflowError) as error:
        raise _OtherError from error


Shape = Callable[[bytes], Reading | None]

SHAPES: Final[dict[str, Shape]] = {LiteLLM.name: litellm}
"""Reader -> the shape of its most common lines."""
