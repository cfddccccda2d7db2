"""A record that holds many: a trace with its spans, a page of an API, a conversation with its messages."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from ingest.errors import RecordError
from ingest.readers.reading import Feedback, Interaction, Reading


@dataclass
class Parts:
    """What the parts of one record have said so far; each part is read, or skipped with a reason."""

    interactions: list[Interaction] = field(default_factory=list)
    feedback: list[Feedback] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def add(self, part: Reading) -> None:
        """Add what one part says."""
        self.interactions += part.interactions
        self.feedback += part.feedback
        self.skipped.update(part.skipped_parts)
        if part.skipped is not None:
            self.skipped[part.skipped] += 1

    def try_to_add(self, read: Callable[[], Reading], unreadable: str) -> None:
        """Add what a part says that may be unreadable: then it is skipped, so that its neighbours are kept."""
        try:
            self.add(read())
        except RecordError:
            self.skipped[unreadable] += 1

    def reading(self, empty: str) -> Reading:
        """Return all of it; `empty` is the reason to skip a record without any part."""
        if not (self.interactions or self.feedback or self.skipped):
            return Reading(skipped=empty)
        return Reading(tuple(self.interactions), tuple(self.feedback), skipped_parts=dict(self.skipped))
