"""What the fictional deployment produces before it becomes lines: exchanges, their drafts, and feedback."""

from dataclasses import dataclass, field
from datetime import datetime

Messages = tuple[tuple[str, str], ...]
"""(role, content) of each message, oldest first."""
Ref = tuple[str, int]
"""A served response: the exchange's id and the choice's index."""


@dataclass(frozen=True)
class Draft:
    """One response."""

    text: str
    quality: float
    """What a voter sees of it, see answers.py; in [0, 4.2]."""
    finish_reason: str = "stop"

    @property
    def words(self) -> int:
        """Length as a voter sees it."""
        return len(self.text.split())


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and what came back: one line of the log."""

    id: str
    time: datetime
    conversation_id: str
    parent_id: str | None
    turn_index: int
    user: str
    consent: str | None
    """As logged; None where the field is absent."""
    model: str
    messages: Messages
    drafts: tuple[Draft, ...]
    latency_ms: float
    status: int = 200
    position: str | None = None
    arm: str | None = None
    propensity: float | None = None


@dataclass(frozen=True, kw_only=True)
class Event:
    """One feedback event: one line of the log."""

    id: str
    time: datetime
    signal: str
    target: Ref
    rater: str
    others: tuple[Ref, ...] = ()
    revision: int = 0
    value: float | None = None
    scale: tuple[float, float] | None = None
    text: str | None = None
    position: str | None = None
    retracted: bool = False


@dataclass
class Planted:
    """What was put in on purpose, by name; each item holds the ids it is about."""

    items: dict[str, list[dict[str, object]]] = field(default_factory=dict)

    def note(self, name: str, /, **item: object) -> None:
        """Add one item."""
        self.items.setdefault(name, []).append(item)

    def ids(self, name: str, key: str) -> list[str]:
        """Return one key of every item of that name."""
        return [str(item[key]) for item in self.items.get(name, [])]
