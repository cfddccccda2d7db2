"""Makes texts that were redacted apart from each other use one placeholder for one value.

Redaction counts placeholders up over one record, so `<EMAIL_2>` of one response and `<EMAIL_2>` of its sibling, of an
edit or of an earlier turn may be two addresses. Each row says in `placeholders` what stands behind its own: a keyed
digest of the value (`ingest.redact.Placeholders`), never the value. With these digests rows are numbered jointly, and
exactly: two places get the same placeholder if, and only if, the same value stood there.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ingest.redact import PLACEHOLDER
from ingest.schema import Message, messages_hash

TEXTS: Final = ("content", "tool_calls", "tool_call_id", "name")
"""Fields of a message that hold text."""

Digests = Mapping[str, str]
"""Placeholder without its brackets, "EMAIL_1" -> digest of its value; as in the column `placeholders`."""


class Numbering:
    """Numbers given so far; it begins with those of a row that keeps its own."""

    def __init__(self, kept: Digests) -> None:
        self.digests: dict[str, str] = dict(kept)
        """Placeholder -> digest, over everything numbered."""
        self._placeholders = {(_kind(name), digest): name for name, digest in kept.items()}
        self._last: Counter[str] = Counter()
        for name in kept:
            self._last[_kind(name)] = max(self._last[_kind(name)], int(name.rsplit("_", 1)[1]))

    def text(self, text: str, own: Digests) -> str:
        """Return `text`, of a row with the placeholders `own`, with the numbers used here."""
        return PLACEHOLDER.sub(lambda found: f"<{self._name(found[1], own)}>", text)

    def messages(self, messages: Sequence[Message], own: Digests) -> list[Message]:
        """Return `messages`, of a row with the placeholders `own`, with the numbers used here."""
        numbered = [message.copy() for message in messages]
        for message in numbered:
            for key in TEXTS:
                if text := message[key]:
                    message[key] = self.text(text, own)
        return numbered

    def _name(self, name: str, own: Digests) -> str:
        kind, digest = _kind(name), own.get(name)
        if digest is None:  # nothing of this record's redaction
            return name
        if (kind, digest) not in self._placeholders:
            self._last[kind] += 1
            given = f"{kind}_{self._last[kind]}"
            self._placeholders[kind, digest] = given
            self.digests[given] = digest
        return self._placeholders[kind, digest]


def _kind(name: str) -> str:
    return name.rsplit("_", 1)[0]


def numbered_as(text: str, own: Digests, kept: Digests) -> str:
    """Return `text` of a row with the placeholders `own`, with the numbers of the row that has `kept`."""
    return Numbering(kept).text(text, own)


@dataclass(frozen=True)
class Side:
    """One of two responses to a prompt."""

    response: list[Message]
    response_hash: str
    placeholders: Digests


def paired(prompt: Sequence[Message], tools: str | None, sides: tuple[Side, Side]) -> tuple[Side, Side] | None:
    """Number two responses to one prompt jointly, the same whichever comes first.

    The one whose hash is smaller keeps its numbers, as does the prompt; the other takes them over, and counts on from
    there. So a pair is the same pair, whoever won. None where the prompts, whose texts are equal, hold other values.
    """
    texts = [message[key] or "" for message in prompt for key in TEXTS] + [tools or ""]
    shared = {name for text in texts for name in PLACEHOLDER.findall(text)}
    kept, other = sorted(sides, key=lambda side: (side.response_hash, sorted(side.placeholders.items())))
    if any(kept.placeholders.get(name) != other.placeholders.get(name) for name in shared):
        return None
    numbering = Numbering(kept.placeholders)
    response = numbering.messages(other.response, other.placeholders)
    changed = Side(response, messages_hash(response), numbering.digests)
    return (kept, changed) if sides[0] is kept else (changed, kept)
