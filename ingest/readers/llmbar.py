"""Reads LLMBar: `{"input", "output_1", "output_2", "label"}`, of which the label is the better output's number."""

from collections.abc import Mapping

from ingest.readers.fields import Fields
from ingest.readers.preference import Side, judgement, turn
from ingest.readers.reading import Reading


class LLMBar:
    """The reader of the format."""

    name: str = "llmbar"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether the record has the format's fields."""
        return {"input", "output_1", "output_2", "label"} <= record.keys()

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return both outputs and the choice between them."""
        row = Fields(record)
        label = row.integer("label")
        if label not in (1, 2):
            row.bad("label", "1 or 2")
        better, worse = (Side([turn("assistant", row.text(f"output_{n}"))]) for n in (label, 3 - label))
        return judgement(row.maybe_id("id"), [turn("user", row.text("input"))], better, worse, record=record)
