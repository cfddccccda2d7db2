"""What data sets of human preferences share: two responses to one prompt, and which is the better one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ingest.errors import RecordError
from ingest.readers.reading import Feedback, Interaction, Reading, Ref
from ingest.schema import Message, content_id


def turn(role: str, content: str) -> Message:
    """Return a message that is only text."""
    return Message(role=role, content=content, tool_calls=None, tool_call_id=None, name=None)


@dataclass(frozen=True)
class Side:
    """One of the two responses."""

    response: list[Message]
    model: str | None = None


def common_prompt(first: Sequence[Message], second: Sequence[Message]) -> int:
    """Return how many leading turns two conversations share, cut back to end with a turn that asks for a response.

    Raises RecordError when they share no such turn, or when nothing follows it on one side.
    """
    shared = 0
    while shared < min(len(first), len(second)) and first[shared] == second[shared]:
        shared += 1
    while shared and first[shared - 1]["role"] not in ("user", "tool"):
        shared -= 1
    if not shared:
        raise RecordError("bad_value", "the two conversations share no first turns that end with a user's")
    if shared in (len(first), len(second)):
        raise RecordError("bad_value", "one of the two conversations ends before a response")
    return shared


@dataclass(frozen=True)
class Verdict:
    """What was said of the two responses, and by whom. Fields as in `ingest.readers.reading.Feedback`."""

    signal: str = "choice"
    degree: float | None = None
    """How much better, above 0 and at most 1; None where the format has no degrees."""
    rater_kind: str | None = None
    rater: str | None = None
    position: str | None = None
    event_time: datetime | None = None


def judgement(
    source_id: str | None,
    prompt: list[Message],
    target: Side,
    other: Side,
    verdict: Verdict = Verdict(),
    *,
    tools: str | None = None,
    record: Mapping[str, object],
) -> Reading:
    """Return both responses, and the event that prefers `target` (or, by its signal, neither).

    The same response to the same prompt by the same model is one interaction, in however many records it stands. A
    record without an id is known by its whole content.
    """
    sides = [
        Interaction(
            source_id=content_id([prompt, side.response, side.model]),
            prompt=prompt,
            response=side.response,
            model=side.model,
            tools=tools,
        )
        for side in (target, other)
    ]
    scale = (None, None) if verdict.degree is None else (0.0, 1.0)
    event = Feedback(
        # default=str: a row of a table may hold times.
        source_id=source_id or content_id(json.dumps(record, sort_keys=True, default=str)),
        signal=verdict.signal,
        target=Ref(sides[0].source_id),
        others=[Ref(sides[1].source_id)],
        value=verdict.degree,
        scale_min=scale[0],
        scale_max=scale[1],
        rater_kind=verdict.rater_kind,
        rater=verdict.rater,
        position=verdict.position,
        event_time=verdict.event_time,
    )
    return Reading(interactions=tuple(sides), feedback=(event,))
