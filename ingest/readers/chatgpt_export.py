"""Reads the conversations.json of a ChatGPT data export: one tree of messages per conversation.

Every finished answer is an interaction, calls of ChatGPT's own tools included; answers to the same message are
siblings.
"""

from collections.abc import Mapping
from typing import Final

from ingest.readers import branches, dialects
from ingest.readers.branches import Node
from ingest.readers.conversations import Prompt, Reply
from ingest.readers.exchange import Exchange, of
from ingest.readers.fields import Fields, json_text
from ingest.readers.parts import Parts
from ingest.readers.reading import Reading
from ingest.schema import Message

REASONING: Final = ("thoughts", "reasoning_recap")
"""Content types that are not said to the user."""
EVERYBODY: Final = "all"
"""Recipient of what is no call of a tool."""


class ChatGPTExport:
    """The reader of the format."""

    name: str = "chatgpt_export"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this is one conversation of an export."""
        return isinstance(record.get("mapping"), Mapping) and "current_node" in record

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return one interaction for each finished answer."""
        row = Fields(record)
        mapping = row.child("mapping")
        entries = {key: mapping.child(key) for key in mapping.values}
        nodes = {key: Node(entry.name("parent"), _says(entry.maybe_child("message"))) for key, entry in entries.items()}
        parts = Parts()
        for key, entry in entries.items():
            message = entry.maybe_child("message")
            if message is None or message.child("author").text("role") != "assistant":
                continue
            if message.name("status") != "finished_successfully":
                parts.skipped["unfinished"] += 1
                continue
            if message.child("content").text("content_type") in REASONING:
                parts.skipped["reasoning"] += 1
                continue
            asked = branches.prompt(nodes, key)
            if asked is None:
                parts.skipped["missing_parent"] += 1
                continue
            parts.add(_answer(row, key, message, Prompt(asked), nodes[key]))
        return parts.reading("no_answer")


def _answer(row: Fields, key: str, message: Fields, prompt: Prompt, node: Node) -> Reading:
    metadata = message.maybe_child("metadata") or Fields({}, message.path("metadata"))
    finish = metadata.maybe_child("finish_details")
    stated = Exchange(
        source_id=key,
        conversation_id=row.maybe_id("conversation_id") or row.maybe_id("id"),
        parent_id=node.parent,
        model=metadata.name("model_slug"),
        event_time=message.maybe_unix("create_time"),
    )
    return of(stated, prompt, [Reply(node.says, finish.name("type") if finish else None)])


def _says(message: Fields | None) -> list[Message]:
    """Return what a message adds to the conversation; ChatGPT's hidden, empty system message adds nothing."""
    if message is None:
        return []
    author, content = message.child("author"), message.child("content")
    role = dialects.ALIASES.get(author.text("role"), author.text("role"))
    text = _text(content)
    if content.text("content_type") in REASONING or (not text and role != "assistant"):
        return []
    recipient = message.name("recipient") or EVERYBODY
    if role == "assistant" and recipient != EVERYBODY:
        return [dialects.plain(role, None, calls=[dialects.call(recipient, text, None)])]
    return [dialects.plain(role, text, name=author.name("name"))] if text else []


def _text(content: Fields) -> str:
    """Return text parts joined as the site shows them; content with other parts is kept as JSON text."""
    if content.has("parts"):
        parts = content.items("parts")
        texts = [part for part in parts if isinstance(part, str)]
        return "\n".join(texts) if len(texts) == len(parts) else json_text(parts)
    for key in ("text", "result"):
        if isinstance(content.values.get(key), str):
            return content.text(key)
    return json_text(dict(content.values))
