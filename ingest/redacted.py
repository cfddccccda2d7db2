"""Served responses as readers gave them -> as they are stored: without personal data, in texts, ids and names.

One vectorised pass over all texts of many responses finds those that may hold something; only they are looked at one by
one (`ingest.redact`).
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Final, NamedTuple

from ingest import redact
from ingest.served import Served

IDS: Final = ("source_id", "conversation_id", "parent_id")
"""Fields of a response by which others find it."""
NAMES: Final = ("model", "model_requested", "finish_reason", "logprob_model", "arm", "consent")
"""Fields of a response that hold a name, by which nothing is joined."""
TEXTS: Final = ("content", "tool_calls", "name", "tool_call_id")
"""Fields of a message that hold text."""
SETTINGS: Final = ("tools", "sampling")
"""Fields of a response that hold JSON text, often the same in many of them."""

Entries = dict[int, list[tuple[str, object]]]
"""Row -> entries of a map, sorted; rows without any are absent."""


class _Place(NamedTuple):
    """Where a text of a row stands. Sorted, places are in the order in which they are read."""

    in_response: bool
    message: int
    field: int
    """Of TEXTS."""


def interactions(
    served: Served, fresh: Callable[[int], redact.Placeholders], pseudonym: Callable[[str], str]
) -> tuple[Entries, Entries]:
    """Redact `served`, in place; return kind -> places where it stood, and placeholder -> digest of what stood there.

    `fresh` makes the placeholders of a row, `pseudonym` an id as it is stored.
    """
    texts, values = _suspects(served)
    settings, names = _rows_with(values, served, SETTINGS), _rows_with(values, served, (*IDS, *NAMES))
    counts: Entries = {}
    digests: Entries = {}
    for row in sorted(texts.keys() | names.keys() | settings.keys()):
        placeholders = fresh(row)
        _redact(served, row, sorted(texts.get(row, ())), settings.get(row, ()), placeholders)
        for name in names.get(row, ()):
            stored = pseudonym if name in IDS else placeholders.without_names().text
            served.values[name][row] = stored(served.values[name][row])
        if placeholders.counts:
            counts[row] = sorted(placeholders.counts.items())
            digests[row] = sorted(placeholders.digests.items())
    return counts, digests


def _suspects(served: Served) -> tuple[dict[int, list[_Place]], set[str]]:
    """Return row -> texts of its messages that may hold something to redact, and the values of other fields that may.

    One pass over everything, because each has its price; of equal values one is looked at.
    """
    texts: list[str] = []
    sections: list[tuple[int, _Place, list[int], list[int]]] = []
    for in_response, turns in enumerate((served.prompt, served.response)):
        bounds = turns.bounds()
        for field, key in enumerate(TEXTS):
            column = turns.columns[key]
            stated = [i for i, text in enumerate(column) if text] if any(column) else []
            sections.append((len(texts), _Place(bool(in_response), 0, field), stated, bounds))
            texts += filter(None, column)
    values = {value for name in (*SETTINGS, *IDS, *NAMES) for value in served.values[name]}
    distinct = [value for value in values if value]
    hits = redact.suspects([*texts, *distinct], prose=len(texts))
    suspect: dict[int, list[_Place]] = {}
    for begin, place, stated, bounds in sections:
        for message in compress(stated, hits[begin : begin + len(stated)]):
            row = bisect_right(bounds, message) - 1
            suspect.setdefault(row, []).append(place._replace(message=message))
    return suspect, set(compress(distinct, hits[len(texts) :]))


def _rows_with(suspects: set[str], served: Served, fields: Sequence[str]) -> dict[int, list[str]]:
    """Return row -> those of `fields` whose value is one of `suspects`."""
    rows: dict[int, list[str]] = {}
    for name in fields if suspects else ():
        for row in (row for row, value in enumerate(served.values[name]) if value in suspects):
            rows.setdefault(row, []).append(name)
    return rows


def _redact(
    served: Served, row: int, texts: Sequence[_Place], settings: Sequence[str], placeholders: redact.Placeholders
) -> None:
    """Put placeholders into those messages' `texts` of a row, and into its fields `settings`."""
    values = served.values
    # First what siblings and turns share: there the numbers agree by themselves.
    if "tools" in settings:
        values["tools"][row] = placeholders.without_names().json_text(values["tools"][row])
    asked = [place for place in texts if not place.in_response]
    _replace(served, asked, placeholders)
    before = placeholders.counts.total()
    _replace(served, texts[len(asked) :], placeholders)
    changed = placeholders.counts.total() > before
    if "sampling" in settings:
        values["sampling"][row] = placeholders.without_names().json_text(values["sampling"][row])
    if changed:
        # Tokens and log-probabilities belong to the text as it was sampled: of another text they would be wrong.
        for name in ("token_ids", "token_logprobs"):
            if values[name][row]:
                placeholders.counts[name] += len(values[name][row])
            values[name][row] = None


def _replace(served: Served, texts: Sequence[_Place], placeholders: redact.Placeholders) -> None:
    for place in texts:
        turns = served.response if place.in_response else served.prompt
        column = turns.columns[TEXTS[place.field]]
        text = column[place.message] or ""
        redacted = placeholders.json_text if TEXTS[place.field] == "tool_calls" else placeholders.text
        column[place.message] = redacted(text)
