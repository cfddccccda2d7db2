"""Interactions as readers gave them -> as they are stored: without personal data and secrets, in texts, ids and names.

One vectorised pass over all texts of many interactions finds those that may hold something; only they are looked at one
by one (`ingest.redact`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Final

import msgspec

from ingest import redact
from ingest.readers.reading import Interaction
from ingest.schema import Message

IDS: Final = ("source_id", "conversation_id", "parent_id")
"""Fields of an interaction by which others find it."""
NAMES: Final = ("model", "model_requested", "finish_reason", "logprob_model", "arm", "consent")
"""Fields of an interaction that hold a name, by which nothing is joined."""
TEXTS: Final = ("content", "tool_calls", "name", "tool_call_id")
"""Fields of a message that hold text."""
SETTINGS: Final = ("tools", "sampling")
"""Fields of an interaction that hold JSON text, often the same in many of them."""

Entries = dict[int, list[tuple[str, object]]]
"""Row -> entries of a map, sorted; rows without any are absent."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """Interactions as they are stored, in the order they came."""

    rows: list[Interaction]
    counts: Entries
    """Kind -> places where it stood."""
    digests: Entries
    """Placeholder -> digest of what stood there."""


def interactions(
    found: Sequence[Interaction], fresh: Callable[[int], redact.Placeholders], pseudonym: Callable[[str], str]
) -> Redacted:
    """Return copies of those that hold something, the others as they are.

    `fresh` makes the placeholders of a row, `pseudonym` an id as it is stored.
    """
    texts, suspects = _suspects(found)
    settings, names = _rows_with(suspects, found, SETTINGS), _rows_with(suspects, found, (*IDS, *NAMES))
    redacted = Redacted(list(found), {}, {})
    for row in sorted(texts.keys() | names.keys() | settings.keys()):
        placeholders = fresh(row)
        one = redacted.rows[row] = msgspec.structs.replace(found[row])
        if row in texts or row in settings:
            _redact(one, texts.get(row, set()), settings.get(row, []), placeholders)
        for name in names.get(row, ()):
            stored = pseudonym if name in IDS else placeholders.without_names().text
            setattr(one, name, stored(getattr(one, name)))
        if placeholders.counts:
            redacted.counts[row] = sorted(placeholders.counts.items())
            redacted.digests[row] = sorted(placeholders.digests.items())
    return redacted


def _suspects(found: Sequence[Interaction]) -> tuple[dict[int, set[str]], set[str]]:
    """Return row -> texts of its messages that may hold something to redact, and the values of other fields that may.

    One pass over everything, because each has its price; of equal values one is looked at.
    """
    messages = [message for one in found for part in (one.prompt, one.response) for message in part]
    owner = [row for row, one in enumerate(found) for _ in range(len(one.prompt) + len(one.response))]
    texts: list[str] = []
    owners: list[int] = []
    for key in TEXTS:
        column = [message[key] for message in messages]
        texts += filter(None, column)
        owners += compress(owner, column)
    values = {getattr(one, name) for name in (*SETTINGS, *IDS, *NAMES) for one in found}
    distinct = [value for value in values if value]
    hits = redact.suspects([*texts, *distinct], prose=len(texts))
    suspect: dict[int, set[str]] = {}
    for row, text in compress(zip(owners, texts, strict=True), hits):
        suspect.setdefault(row, set()).add(text)
    return suspect, set(compress(distinct, hits[len(texts) :]))


def _rows_with(suspects: set[str], found: Sequence[Interaction], fields: Sequence[str]) -> dict[int, list[str]]:
    """Return row -> those of `fields` whose value is one of `suspects`."""
    rows: dict[int, list[str]] = {}
    for name in fields if suspects else ():
        for row in (row for row, one in enumerate(found) if getattr(one, name) in suspects):
            rows.setdefault(row, []).append(name)
    return rows


def _redact(one: Interaction, texts: set[str], settings: Sequence[str], placeholders: redact.Placeholders) -> None:
    """Put placeholders into those messages that are one of `texts`, and into the fields `settings`."""
    # First what siblings and turns share: there the numbers agree by themselves.
    if "tools" in settings:
        one.tools = placeholders.without_names().json_text(one.tools or "")
    one.prompt = [_message(message, texts, placeholders) for message in one.prompt]
    before = placeholders.counts.total()
    one.response = [_message(message, texts, placeholders) for message in one.response]
    changed = placeholders.counts.total() > before
    if "sampling" in settings:
        one.sampling = placeholders.without_names().json_text(one.sampling or "")
    if changed:
        # Tokens and log-probabilities belong to the text as it was sampled: of another text they would be wrong.
        nulled = {"token_ids": len(one.token_ids or ()), "token_logprobs": len(one.token_logprobs or ())}
        placeholders.counts.update({name: entries for name, entries in nulled.items() if entries})
        one.token_ids = one.token_logprobs = None


def _message(message: Message, suspect: set[str], placeholders: redact.Placeholders) -> Message:
    redacted = message.copy()
    for key in TEXTS:
        if (text := message[key]) in suspect:
            redacted[key] = placeholders.json_text(text) if key == "tool_calls" else placeholders.text(text)
    return redacted
