"""Served responses by column, as readers give them: one Python list for each field.

Making, and walking over, an object for each response and message costs more than all else that is done to a line.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate, chain
from operator import attrgetter, itemgetter
from typing import Any, Final

from ingest.readers.reading import Interaction
from ingest.schema import MESSAGE_KEYS, Message

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

FIELDS: Final = tuple(
    name for name in Interaction.__struct_fields__ if name not in ("prompt", "response", "event_time")
)
"""Fields of an interaction that are columns as they are."""


@dataclass(slots=True)
class Turns:
    """The messages of many conversations, one behind the other."""

    lengths: list[int] = field(default_factory=list)
    """Messages of each conversation."""
    columns: dict[str, list[str | None]] = field(default_factory=lambda: {key: [] for key in MESSAGE_KEYS})
    """Field of a message -> its value in each of them."""

    @classmethod
    def of(cls, conversations: Sequence[Sequence[Message]]) -> "Turns":
        """Return the messages of `conversations`."""
        flat = [message for messages in conversations for message in messages]
        return cls(list(map(len, conversations)), {key: list(map(itemgetter(key), flat)) for key in MESSAGE_KEYS})

    @classmethod
    def concat(cls, parts: "Sequence[Turns]") -> "Turns":
        """Return all conversations of `parts`, in lists of their own."""
        columns = {key: list(chain.from_iterable(part.columns[key] for part in parts)) for key in MESSAGE_KEYS}
        return cls(list(chain.from_iterable(part.lengths for part in parts)), columns)

    def bounds(self) -> list[int]:
        """Return where each conversation begins among the messages, and where the last one ends."""
        return list(accumulate(self.lengths, initial=0))


@dataclass(slots=True)
class Served:
    """Many served responses."""

    offsets: list[int]
    """Of the line that each comes from."""
    values: dict[str, list[Any]]
    """Name -> column, for FIELDS and `event_time` in microseconds since 1970."""
    prompt: Turns
    response: Turns

    @classmethod
    def of(cls, interactions: Sequence[Interaction], offsets: list[int]) -> "Served":
        """Return interactions by column. Raises TypeError for a time without a zone, which is no point in time."""
        values: dict[str, list[Any]] = {name: list(map(attrgetter(name), interactions)) for name in FIELDS}
        values["event_time"] = [micros(one.event_time) for one in interactions]
        prompt, response = Turns.of([i.prompt for i in interactions]), Turns.of([i.response for i in interactions])
        return cls(offsets, values, prompt, response)

    @classmethod
    def concat(cls, parts: "Sequence[Served]") -> "Served":
        """Return all responses of `parts`, in lists of their own; there is at least one part."""
        return cls(
            list(chain.from_iterable(part.offsets for part in parts)),
            {name: list(chain.from_iterable(part.values[name] for part in parts)) for name in parts[0].values},
            Turns.concat([part.prompt for part in parts]),
            Turns.concat([part.response for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.offsets)


def micros(moment: datetime | None) -> int | None:
    """Return microseconds since 1970. Raises TypeError for a time without a zone."""
    if moment is None:
        return None
    since = moment - EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds
