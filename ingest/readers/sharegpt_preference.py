"""Reads ShareGPT rows with two answers: `{"conversations": [{"from", "value"}], "chosen": {...}, "rejected": {...}}`.

The form in which LLaMA-Factory keeps preferences; `system` and `tools` may stand beside the conversation.
"""

import json
from collections.abc import Mapping
from typing import Final

from ingest.errors import RecordError
from ingest.readers.fields import Fields, json_text
from ingest.readers.preference import Side, judgement, turn
from ingest.readers.reading import Reading
from ingest.readers.turns import function_call
from ingest.schema import Message

ROLES: Final = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
    "observation": "tool",
    "tool": "tool",
    "function_call": "assistant",
}
"""What the format calls the roles."""


class ShareGPTPreference:
    """The reader of the format."""

    name: str = "sharegpt_preference"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether the record is a conversation with two answers."""
        return isinstance(record.get("conversations"), list) and "chosen" in record and "rejected" in record

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return both answers and the choice between them."""
        row = Fields(record)
        prompt = [_message(item) for item in row.children("conversations")]
        if row.name("system"):
            prompt.insert(0, turn("system", row.text("system")))
        if not prompt or prompt[-1]["role"] not in ("user", "tool"):
            row.bad("conversations", "a conversation that ends with a user's turn")
        better, worse = (Side([_message(row.child(key))]) for key in ("chosen", "rejected"))
        return judgement(row.maybe_id("id"), prompt, better, worse, tools=_tools(row), record=record)


def _message(item: Fields) -> Message:
    """Return one turn; the calls of a `function_call` are JSON text."""
    spoken = item.one_of("from", ROLES)
    if spoken != "function_call":
        return turn(ROLES[spoken], item.text("value"))
    try:
        value = json.loads(item.text("value"))
    except ValueError as error:
        raise RecordError("bad_value", f"{item.path('value')}: expected the JSON text of a function call") from error
    calls = Fields({"value": value if isinstance(value, list) else [value]}, item.where).children("value")
    made = [function_call(call.text("name"), call.values.get("arguments"), None) for call in calls]
    return Message(role="assistant", content=None, tool_calls=json_text(made), tool_call_id=None, name=None)


def _tools(row: Fields) -> str | None:
    """Return the tools as JSON text; the format has them as that text, or as a list."""
    if not row.has("tools") or isinstance(row.values["tools"], str):
        return row.name("tools")
    return json_text(row.items("tools")) if row.items("tools") else None
