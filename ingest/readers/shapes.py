"""Lines of a common shape -> what their reader says of them, many at once, in a tenth of its time.

A shape is the strictest form of a log's record: its fields have their plainest types, and what is rare is absent. A
line of that shape is decoded straight into structs, and what the reader would say is known without asking it. Every
other line goes the reader's way, which also finds what is wrong with it. A test compares both ways on every reader's
examples and on mutations of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Meta, Raw, Struct

from ingest import withheld
from ingest.errors import RecordError
from ingest.readers import apis, chat
from ingest.readers.fields import INT32_MAX, UNIX_MAX, Fields, json_text
from ingest.readers.litellm import LiteLLM
from ingest.schema import canonical_json
from ingest.served import FIELDS, Served, Turns, micros
from ingest.splitting import Run

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
_UNCOUNTED: Final = _Usage()
_NONE: Final = Served.of([], [])
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _OtherError(Exception):
    """Lines have the shape, and something in one of them is for the reader to judge."""


def litellm(run: Run) -> tuple[list[int], Served]:
    """Return which lines of a run are of the shape, and what `ingest.readers.litellm` says of them."""
    rows = _decoded(run)
    found = list(_fitting(run, [line for line, row in enumerate(rows) if row is not None], rows))
    lines = [line for part, _ in found for line in part]
    return lines, Served.concat([served for _, served in found]) if len(found) > 1 else found[0][1] if found else _NONE


def _decoded(run: Run) -> list[_Payload | None]:
    """Return what each line of a run says, None for one that has another shape."""
    view = memoryview(run.raw)
    texts = (view[start:end] for start, end in pairwise(run.bounds))
    rows: list[_Payload | None] = []
    while len(rows) < len(run):
        try:
            rows.extend(map(_PAYLOAD.decode, texts))  # all up to one that is not of the shape
        except _UNREADABLE:
            rows.append(None)
    # Bytes of fields that are passed over are not looked at while decoding.
    if is_utf8(view[run.bounds[0] : run.bounds[-1]]):
        return rows
    return [row if is_utf8(run.text(line)) else None for line, row in enumerate(rows)]


def is_utf8(text: bytes | memoryview) -> bool:
    """Return whether the bytes are UTF-8; many at once in a fraction of the time that decoding them takes."""
    bounds = pa.array([0, len(text)], pa.int32()).buffers()[1]
    binary = pa.Array.from_buffers(pa.binary(), 1, [None, bounds, pa.py_buffer(text)])
    try:
        binary.cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def _fitting(run: Run, lines: list[int], rows: list[_Payload | None]) -> Iterator[tuple[list[int], Served]]:
    """Yield those of `lines` in which there is nothing odd, found by halves, and what they say."""
    if not lines:
        return
    try:
        found = [row for line in lines if (row := rows[line]) is not None]
        yield lines, _served([run.offset(line) for line in lines], found)
    except _OtherError:
        if len(lines) > 1:
            middle = len(lines) // 2
            yield from _fitting(run, lines[:middle], rows)
            yield from _fitting(run, lines[middle:], rows)


def _served(offsets: list[int], rows: list[_Payload]) -> Served:
    """Return what the payloads say, a row for each choice. Raises _OtherError where one of them is odd."""
    if True in [row.cache_hit for row in rows]:
        raise _OtherError
    choices = [choice for row in rows for choice in row.response.choices]
    places = [place for row in rows for place in range(len(row.response.choices))]
    offsets = [offset for offset, row in zip(offsets, rows, strict=True) for _ in row.response.choices]
    rows = [row for row in rows for _ in row.response.choices]
    asked = [_parameters(bytes(row.model_parameters)) for row in rows]
    times, latencies = _times(rows)
    sole = [row if len(row.response.choices) == 1 else None for row in rows]  # usage is of all choices together
    values: dict[str, list[Any]] = {
        **dict.fromkeys(FIELDS, [None] * len(rows)),
        "status": ["ok"] * len(rows),
        "source_id": [row.id for row in rows],
        "conversation_id": [row.trace_id or None for row in rows],
        "choice_index": [
            place if choice.index is None else choice.index for place, choice in zip(places, choices, strict=True)
        ],
        "user": [_name(row.end_user) or said.user for row, said in zip(rows, asked, strict=True)],
        "tools": [said.tools for said in asked],
        "sampling": [said.sampling for said in asked],
        "model": [row.response.model or row.model or None for row in rows],
        "model_requested": [row.model_group or row.model or None for row in rows],
        "finish_reason": [choice.finish_reason or None for choice in choices],
        "tokens_in": [(row.response.usage or _UNCOUNTED).prompt_tokens or row.prompt_tokens or None for row in rows],
        "tokens_out": [
            ((row.response.usage or _UNCOUNTED).completion_tokens or row.completion_tokens or None) if row else None
            for row in sole
        ],
        "latency_ms": latencies,
        "event_time": times,
    }
    prompt = _turns([len(row.messages) for row in rows], [message for row in rows for message in row.messages], None)
    return Served(offsets, values, prompt, _turns([1] * len(rows), [c.message for c in choices], "assistant"))


def _name(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _turns(lengths: list[int], messages: list[_Message], otherwise: Role | None) -> Turns:
    """Return the messages of conversations of such `lengths`; `otherwise` is the role of those that name none."""
    roles = [message.role or otherwise for message in messages]
    contents = [message.content or message.refusal or message.content for message in messages]
    silent = {role for role, message in zip(roles, messages, strict=True) if message.content is None}
    hidden = [text for text in contents if text and len(text) <= withheld.LONGEST and text in withheld.SENTINELS]
    if None in roles or silent - {"assistant"} or hidden:
        raise _OtherError
    columns: dict[str, list[str | None]] = {
        "role": [*roles],
        "content": contents,
        "tool_calls": [_calls(message.tool_calls) if message.tool_calls else None for message in messages],
        "tool_call_id": [message.tool_call_id or None for message in messages],
        "name": [message.name or None for message in messages],
    }
    return Turns(lengths, columns)


def _calls(calls: list[object]) -> str:
    try:
        return json_text(calls)
    except (ValueError, TypeError) as error:
        raise _OtherError from error


@lru_cache(maxsize=1024)
def _parameters(raw: bytes) -> _Parameters:
    """Return what the JSON of a call's parameters says, often the same in many calls."""
    try:
        request = Fields(_PARAMETERS.decode(raw) if raw != b"null" else {})
        if request.values.get("system"):
            raise _OtherError
        sampling = {key: request.values[key] for key in chat.SAMPLING if request.has(key)}
        text = canonical_json(sampling).decode() if sampling else None
        return _Parameters(request.maybe_id("user"), chat.tools(request), text)
    except (RecordError, ValueError, TypeError, *_UNREADABLE) as error:
        raise _OtherError from error


def _times(rows: list[_Payload]) -> tuple[list[int | None], list[float | None]]:
    """Return when the calls began, in microseconds since 1970, and the milliseconds that they took."""
    starts, ends = [row.startTime for row in rows], [row.endTime for row in rows]
    if {*map(type, starts), *map(type, ends)} == {float}:
        first, last = np.array(starts, np.float64), np.array(ends, np.float64)
        if first.min() > 0 and last.max() <= UNIX_MAX and (first <= last).all():
            began = _micros(first)
            return began.tolist(), ((_micros(last) - began) / 1000).tolist()
    spans = [_span(row) for row in rows]
    return [micros(moment) for moment, _ in spans], [latency for _, latency in spans]


def _micros(seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return positive Unix seconds in microseconds, rounded as `datetime.fromtimestamp` rounds them."""
    fractions, whole = np.modf(seconds)
    return whole.astype(np.int64) * 1_000_000 + np.rint(fractions * 1e6).astype(np.int64)


def _span(row: _Payload) -> tuple[datetime | None, float | None]:
    """Return when a call began, as the payload states it or as its response does, and the milliseconds it took."""
    times = Fields({"startTime": row.startTime, "endTime": row.endTime})
    try:
        latency = apis.milliseconds_between(times, "startTime", "endTime")
        started = apis.zoned_time(times, "startTime")
    except (RecordError, ValueError, OverflowError) as error:
        raise _OtherError from error
    if started is None and row.response.created:
        started = datetime.fromtimestamp(row.response.created, UTC)
    return started, latency


Shape = Callable[[Run], tuple[list[int], Served]]
"""Returns which lines of a run have the shape, and what they say."""

SHAPES: Final[dict[str, Shape]] = {LiteLLM.name: litellm}
"""Reader -> the shape of its most common lines."""
