"""Texts that tools write in place of what was said: such a call is counted and never becomes a row.

A logger or a tracer that was told not to keep text writes a sentinel where the text would stand, and other tools pass
it on as if someone had said it: a trace store holds LiteLLM's, which its reader never sees. So every reading is sifted,
whichever reader made it.
"""

from collections import Counter
from datetime import UTC, datetime
from typing import Final

from msgspec import structs

from ingest.readers.reading import Feedback, Interaction, Reading

SENTINELS: Final = {
    "redacted-by-litellm": "redacted_by_litellm",
    "default-message-value": "default_message_value",
    "__REDACTED__": "redacted_by_openinference",
}
"""What stands in place of a whole text -> reason to skip the call."""

REASONS: Final = {
    "redacted_by_litellm": "LiteLLM was told not to log messages.",
    "default_message_value": "LiteLLM logged the default of its own field.",
    "redacted_by_openinference": "A tracer of OpenInference was told to hide inputs or outputs.",
    "stub_body": "Helicone keeps the body elsewhere and gave a stub.",
    "prompt_not_logged": "The record holds a response and not what was asked.",
    "no_response": "The call is there, and succeeded where it says how it ended; its answer is not.",
    "no_prompt": "The call is there; what was asked is not.",
    "no_choice": "The answer is there and holds no choice.",
}
"""Reasons to skip a call that mean: it took place, and its text is not in the log."""

LONGEST: Final = max(map(len, SENTINELS))


def days(reason: str, moment: datetime | None) -> dict[tuple[str, str], int]:
    """Return `Reading.skipped_days` of one skipped call; empty where the record states no time."""
    return {(reason, moment.astimezone(UTC).date().isoformat()): 1} if moment is not None and moment.tzinfo else {}


def sift(reading: Reading) -> Reading:
    """Return the reading without what holds a sentinel in place of a text; each is a skipped part of it."""
    found = [(row, _of_interaction(row)) for row in reading.interactions]
    events = [(row, _of_feedback(row)) for row in reading.feedback]
    if not (any(reason for _, reason in found) or any(reason for _, reason in events)):
        return reading
    skipped, skipped_days = Counter(reading.skipped_parts), Counter(reading.skipped_days)
    moments = [(row.event_time, reason) for row, reason in found] + [(row.event_time, reason) for row, reason in events]
    for moment, reason in moments:
        if reason is not None:
            skipped[reason] += 1
            skipped_days.update(days(reason, moment))
    kept = tuple(row for row, reason in found if reason is None)
    said = tuple(row for row, reason in events if reason is None)
    if not (kept or said) and skipped.total() == 1:
        return Reading(skipped=next(iter(skipped)), skipped_days=skipped_days)
    return structs.replace(reading, interactions=kept, feedback=said, skipped_parts=skipped, skipped_days=skipped_days)


def _of_interaction(row: Interaction) -> str | None:
    for message in (*row.prompt, *row.response):
        if (reason := _of_text(message["content"])) is not None:
            return reason
    return None


def _of_feedback(row: Feedback) -> str | None:
    return _of_text(row.text) if row.signal == "edit" else None


def _of_text(text: str | None) -> str | None:
    return SENTINELS.get(text) if text is not None and len(text) <= LONGEST else None
