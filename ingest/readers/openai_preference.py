"""Reads OpenAI's preference fine-tuning: `{"input", "preferred_output", "non_preferred_output"}`, all chat messages."""

from collections.abc import Mapping

from ingest.readers import chat
from ingest.readers.fields import Fields
from ingest.readers.preference import Side, judgement
from ingest.readers.reading import Reading


class OpenAIPreference:
    """The reader of the format."""

    name: str = "openai_preference"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether the record holds an input and two outputs."""
        return "preferred_output" in record and "non_preferred_output" in record

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return both outputs and the choice between them."""
        row = Fields(record)
        asked = row.child("input")
        prompt = chat.messages(asked, "messages")
        better, worse = (Side(chat.messages(row, key)) for key in ("preferred_output", "non_preferred_output"))
        return judgement(row.maybe_id("id"), prompt, better, worse, tools=chat.tools(asked), record=record)
