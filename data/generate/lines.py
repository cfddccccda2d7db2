"""Turns exchanges and feedback into lines of Winnow's own log format."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from data.generate.deployment import FIRST_DAY
from data.generate.rows import Draft, Event, Exchange, Ref
from data.generate.tokens import Codec

SCORED_MODEL: Final = "support-3"
"""Only this version's log-probabilities are logged."""
ALIAS: Final = "lumio-support"
"""What clients ask for."""


@dataclass
class Line:
    """One line of a file, and what a reader must make of it."""

    raw: bytes
    ids: tuple[str, ...] = ()
    """Ids of the exchange or event that it holds."""
    interactions: int = 0
    feedback: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    quarantined: str | None = None
    end: bytes = b"\n"

    @property
    def records(self) -> int:
        """Records it unfolds to."""
        return self.interactions + self.feedback + sum(self.skipped.values()) + (self.quarantined is not None)

    def again(self) -> "Line":
        """Return the same bytes a second time: every record of it is a duplicate."""
        return Line(self.raw, self.ids, skipped={"duplicate": self.interactions + self.feedback})


def dump(value: object) -> bytes:
    """Return compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def stamp(moment: datetime) -> str:
    """Return ISO 8601 with microseconds and Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def day_of(moment: datetime) -> int:
    """Return the number of the day, 1 for the first."""
    return (moment - FIRST_DAY).days + 1


def of_exchange(exchange: Exchange, codec: Codec, logprobs: Mapping[Ref, list[float]]) -> Line:
    """Return the line of an exchange."""
    line = Line(dump(interaction(exchange, codec, logprobs)), (exchange.id,), interactions=len(exchange.drafts))
    if exchange.status != 200:
        line.skipped = {f"http_status_{exchange.status}": 1}
    return line


def of_event(event: Event) -> Line:
    """Return the line of a feedback event."""
    return Line(dump(feedback(event)), (event.id,), feedback=1)


def interaction(exchange: Exchange, codec: Codec, logprobs: Mapping[Ref, list[float]]) -> dict[str, Any]:
    """Return an exchange as the log states it; `logprobs` holds those of the scored model's responses."""
    scored = exchange.model == SCORED_MODEL and exchange.status == 200
    said: dict[str, Any] = {
        "winnow": 1,
        "kind": "interaction",
        "id": exchange.id,
        "time": stamp(exchange.time),
        "conversation_id": exchange.conversation_id,
        "parent_id": exchange.parent_id,
        "turn_index": exchange.turn_index,
        "user_id": exchange.user,
    }
    if exchange.consent is not None:
        said["consent"] = exchange.consent
    return said | {
        "shown": exchange.status == 200,
        "position": exchange.position,
        "arm": exchange.arm,
        "propensity": exchange.propensity,
        "latency_ms": exchange.latency_ms,
        "status": exchange.status,
        "request": _request(exchange, codec, scored=scored),
        "response": _response(exchange, codec, logprobs, scored=scored),
        "logprob_model": SCORED_MODEL if scored else None,
    }


def _request(exchange: Exchange, codec: Codec, *, scored: bool) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": ALIAS,
        "messages": [{"role": role, "content": content} for role, content in exchange.messages],
        "temperature": 1.0,
        "top_p": 1.0,
        "max_tokens": _max_tokens(exchange, codec),
    }
    if scored:
        request["logprobs"] = True
    if len(exchange.drafts) > 1:
        request["n"] = len(exchange.drafts)
    return request


def _max_tokens(exchange: Exchange, codec: Codec) -> int:
    """Return the limit asked for: the one that an answer ran into, or one that none does."""
    for draft in exchange.drafts:
        length = len(codec.ids(draft.text))
        if draft.finish_reason == "length" or length > 200:
            return length if draft.finish_reason == "length" else 16_384
    return 200


def _response(exchange: Exchange, codec: Codec, logprobs: Mapping[Ref, list[float]], *, scored: bool) -> dict[str, Any]:
    if exchange.status == 429:
        return {"error": {"message": "Too many requests, slow down.", "type": "rate_limit_error", "code": 429}}
    if exchange.status != 200:
        return {"error": {"message": "The engine stopped.", "type": "server_error", "code": exchange.status}}
    ids = [codec.response_ids(draft.text, draft.finish_reason) for draft in exchange.drafts]
    tokens_in, tokens_out = len(codec.prompt_ids(exchange.messages)), sum(map(len, ids))
    return {
        "id": "chatcmpl-" + exchange.id.removeprefix("int-"),
        "object": "chat.completion",
        "created": int(exchange.time.timestamp()),
        "model": exchange.model,
        "choices": [
            _choice(i, draft, codec, ids[i], logprobs[exchange.id, i] if scored else None)
            for i, draft in enumerate(exchange.drafts)
        ],
        "usage": {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
        },
    }


def _choice(index: int, draft: Draft, codec: Codec, ids: list[int], logprobs: list[float] | None) -> dict[str, Any]:
    choice: dict[str, Any] = {
        "index": index,
        "message": {"role": "assistant", "content": draft.text},
        "finish_reason": draft.finish_reason,
        "logprobs": None,
    }
    if logprobs is None:
        return choice
    tokens = zip(codec.token_bytes(ids), logprobs, strict=True)
    content = [
        {"token": raw.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(raw), "top_logprobs": []}
        for raw, logprob in tokens
    ]
    return choice | {"logprobs": {"content": content}, "token_ids": ids}


def feedback(event: Event) -> dict[str, Any]:
    """Return a feedback event as the log states it."""
    return {
        "winnow": 1,
        "kind": "feedback",
        "id": event.id,
        "revision": event.revision,
        "time": stamp(event.time),
        "signal": event.signal,
        "target": {"id": event.target[0], "choice": event.target[1]},
        "others": [{"id": source_id, "choice": choice} for source_id, choice in event.others],
        "value": event.value,
        "scale": list(event.scale) if event.scale else None,
        "text": event.text,
        "rater": {"kind": "user", "id": event.rater},
        "position": event.position,
        "retracted": event.retracted,
    }
