"""Reads preference rows as TRL and `datasets` hold them: `{"prompt", "chosen", "rejected"}`.

Standard (text) or conversational (messages); the prompt explicit, or implicit as what both sides begin with. Texts
become a user's and an assistant's message. A text prompt beside two whole conversations must be their first user turn.
"""

from collections.abc import Mapping

from ingest.errors import RecordError
from ingest.readers import chat
from ingest.readers.fields import Fields, json_text
from ingest.readers.preference import Side, common_prompt, judgement, turn
from ingest.readers.reading import Reading
from ingest.schema import Message

Parts = tuple[list[Message], list[Message], list[Message]]
"""Prompt, chosen, rejected."""


class TRLPreference:
    """The reader of the format."""

    name: str = "trl_preference"
    version: int = 2

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether the record holds a chosen and a rejected side that are of no other format."""
        if "chosen" not in record or "rejected" not in record or "conversations" in record:
            return False
        if "instruction" in record and "prompt" not in record:  # Alpaca's: the sides lack what was asked
            return False
        sides = (record["chosen"], record["rejected"])
        return "prompt" in record or not all(isinstance(s, str) and s.startswith("\n\nHuman: ") for s in sides)

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return both responses and the choice between them."""
        row = Fields(record)
        prompt, chosen, rejected = _texts(row) if isinstance(record.get("chosen"), str) else _conversations(row)
        return judgement(
            row.maybe_id("id"),
            prompt,
            Side(chosen, row.name("chosen_model")),
            Side(rejected, row.name("rejected_model")),
            tools=_tools(row),
            record=record,
        )


def _texts(row: Fields) -> Parts:
    """Return the parts of a standard row."""
    chosen, rejected = row.text("chosen"), row.text("rejected")
    if isinstance(row.values.get("prompt"), list):
        prompt = chat.messages(row, "prompt")
    else:
        start = row.text("prompt") if row.has("prompt") else chosen[: shared_text(chosen, rejected)]
        if not row.has("prompt"):
            if not start.strip():
                row.bad("chosen", "a beginning that it shares with rejected, since there is no prompt field")
            chosen, rejected = chosen[len(start) :], rejected[len(start) :]
        prompt = [turn("user", start)]
    return prompt, [turn("assistant", chosen)], [turn("assistant", rejected)]


def shared_text(chosen: str, rejected: str) -> int:
    """Return where the implicit prompt of two texts ends; the same place as trl.data_utils.extract_prompt.

    Texts that differ part at the first differing character, or one before it when that is a space. When one text
    begins the other, its last character stays a response, so that neither side is empty.
    """
    shorter = min(len(chosen), len(rejected))
    for i in range(shorter):
        if chosen[i] != rejected[i]:
            return i - 1 if i and chosen[i - 1] == " " else i
    return max(shorter - 1, 0)


def _conversations(row: Fields) -> Parts:
    """Return the parts of a conversational row."""
    chosen, rejected = chat.messages(row, "chosen"), chat.messages(row, "rejected")
    prompt = row.values.get("prompt")
    if isinstance(prompt, list):
        stated = chat.messages(row, "prompt")
        n = len(stated)
        if chosen[:n] == rejected[:n] == stated:
            return stated, _answer(chosen[n:], "chosen"), _answer(rejected[n:], "rejected")
        return stated, _answer(chosen, "chosen"), _answer(rejected, "rejected")
    if prompt is not None and not isinstance(prompt, str):
        row.text("prompt")
    shared = common_prompt(chosen, rejected)
    first = next((m["content"] for m in chosen[:shared] if m["role"] == "user"), None)
    if prompt is not None and prompt != first:
        raise RecordError("bad_value", "prompt: expected the first user turn of the two conversations")
    return chosen[:shared], _answer(chosen[shared:], "chosen"), _answer(rejected[shared:], "rejected")


def _answer(response: list[Message], side: str) -> list[Message]:
    """Return the response, or raise where it is the prompt itself or begins with another turn of it."""
    if not response or response[0]["role"] not in ("assistant", "tool", "function"):
        raise RecordError("bad_value", f"{side}: expected an assistant's turns after the prompt")
    return response


def _tools(row: Fields) -> str | None:
    """Return the tools as JSON text; `datasets` stores them either as a list or as that text."""
    if not row.has("tools") or isinstance(row.values["tools"], str):
        return row.name("tools")
    return json_text(row.items("tools")) if row.items("tools") else None
