"""Reads rows of one response and a thumb: TRL's unpaired preference `{"prompt", "completion", "label"}`.

Text or messages, as in `ingest.readers.trl_preference`; also LLaMA-Factory's `{"messages", "label"}`, whose last
message is the response.
"""

import json
from collections.abc import Mapping

from ingest.readers import chat
from ingest.readers.fields import Fields
from ingest.readers.preference import turn
from ingest.readers.reading import Feedback, Interaction, Reading, Ref
from ingest.schema import Message, content_id


class KTO:
    """The reader of the format."""

    name: str = "kto"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether the record holds one response and whether it is wanted."""
        whole = "prompt" in record and "completion" in record
        return isinstance(record.get("label"), bool) and (whole or isinstance(record.get("messages"), list))

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return the response and a thumb on it."""
        row = Fields(record)
        prompt, response = _parts(row) if row.has("completion") else _conversation(row)
        model = row.name("model")
        one = Interaction(
            source_id=content_id([prompt, response, model]),
            prompt=prompt,
            response=response,
            model=model,
            tools=chat.tools(row),
        )
        thumb = Feedback(
            # default=str: a row of a table may hold times.
            source_id=row.maybe_id("id") or content_id(json.dumps(record, sort_keys=True, default=str)),
            signal="thumb",
            target=Ref(one.source_id),
            value=1.0 if row.maybe_flag("label") else -1.0,
            scale_min=-1.0,
            scale_max=1.0,
        )
        return Reading(interactions=(one,), feedback=(thumb,))


def _parts(row: Fields) -> tuple[list[Message], list[Message]]:
    return _said(row, "prompt", "user"), _said(row, "completion", "assistant")


def _said(row: Fields, key: str, role: str) -> list[Message]:
    """Return a list of messages, or the one that a text is."""
    return chat.messages(row, key) if isinstance(row.values.get(key), list) else [turn(role, row.text(key))]


def _conversation(row: Fields) -> tuple[list[Message], list[Message]]:
    messages = chat.messages(row, "messages")
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        row.bad("messages", "a conversation that ends with an assistant's message")
    return messages[:-1], messages[-1:]
