r"""Reads HH-RLHF: `{"chosen": transcript, "rejected": transcript}`, turns marked "\n\nHuman: " and "\n\nAssistant: ".

The prompt is the turns that both transcripts share, up to a Human's; a response is every turn after them, more than
one where the histories part early. White space stays as it came: `render` gives the transcript back byte for byte.
A marker that somebody typed within a turn cannot be told from a real one; it splits the turn.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from ingest.readers.fields import Fields
from ingest.readers.preference import Side, common_prompt, judgement, turn
from ingest.readers.reading import Reading
from ingest.schema import Message

MARKER: Final = re.compile(r"\n\n(Human|Assistant): ")
ROLES: Final = {"Human": "user", "Assistant": "assistant"}
SPEAKERS: Final = {role: speaker for speaker, role in ROLES.items()}


class HHRLHF:
    """The reader of the format."""

    name: str = "hh_rlhf"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether both transcripts begin as the format's do."""
        sides = (record.get("chosen"), record.get("rejected"))
        return "prompt" not in record and all(isinstance(s, str) and s.startswith("\n\nHuman: ") for s in sides)

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return both responses and the choice between them; no degree, no rater, no id: the format has none."""
        row = Fields(record)
        chosen, rejected = _turns(row, "chosen"), _turns(row, "rejected")
        shared = common_prompt(chosen, rejected)
        prompt = chosen[:shared]
        return judgement(None, prompt, Side(chosen[shared:]), Side(rejected[shared:]), record=record)


def render(messages: Sequence[Message]) -> str:
    """Return the transcript of `messages`; the inverse of the parser."""
    return "".join(f"\n\n{SPEAKERS[m['role']]}: {m['content']}" for m in messages)


def _turns(row: Fields, key: str) -> list[Message]:
    """Return the turns of a transcript, white space kept."""
    # split() with one group: text before the first marker, then speaker, text, speaker, text, ...
    before, *parts = MARKER.split(row.text(key))
    if before or not parts:
        row.bad(key, r'a transcript that begins with "\n\nHuman: "')
    return [turn(ROLES[speaker], text) for speaker, text in zip(parts[::2], parts[1::2], strict=True)]
