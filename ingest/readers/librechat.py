"""Reads LibreChat: exported conversations (linear or with branches, flat or nested) and single message documents.

Every answer of the model is an interaction whose prompt is the path from the root down to it; answers that share a
`parentMessageId` are siblings. A message document holds no conversation: of it only the thumb is read.

Source: danny-avila/LibreChat packages/data-schemas/src/schema/message.ts.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from ingest.readers import branches, times
from ingest.readers.branches import Node
from ingest.readers.conversations import Prompt, Reply
from ingest.readers.exchange import Exchange, of, sampling
from ingest.readers.fields import Fields, json_text
from ingest.readers.parts import Parts
from ingest.readers.preference import turn
from ingest.readers.reading import Feedback, Reading, Ref

NO_PARENT: Final = "00000000-0000-0000-0000-000000000000"
RATINGS: Final = {"thumbsUp": 1.0, "thumbsDown": -1.0}
UNSEEN: Final = ("think", "reasoning")
"""Parts of a content that are not the answer."""


class LibreChat:
    """The reader of the format."""

    name: str = "librechat"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this is an exported conversation or a message document."""
        if "conversationId" not in record:
            return False
        return isinstance(record.get("messages"), list) or ("messageId" in record and "isCreatedByUser" in record)

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return one interaction for each finished answer, and the thumbs."""
        row = Fields(record)
        if "messages" not in record:
            thumb = _thumb(row)
            return Reading(feedback=(thumb,)) if thumb else Reading(skipped="message_outside_its_conversation")
        options = row.maybe_child("options") or Fields({}, row.path("options"))
        system = options.name("promptPrefix") or options.name("system")
        messages = {message.text("messageId"): message for message in _flat(row.children("messages"))}
        nodes = {key: _node(message) for key, message in messages.items()}
        parts = Parts()
        for key, message in messages.items():
            if message.maybe_flag("isCreatedByUser"):
                continue
            asked = branches.prompt(nodes, key)
            if (reason := _unusable(message)) is not None or asked is None:
                parts.skipped[reason or "missing_parent"] += 1
            else:
                prompt = [turn("system", system), *asked] if system else asked
                parts.add(_answer(message, nodes[key], Prompt(prompt), row, options))
            if (thumb := _thumb(message)) is not None:
                parts.feedback.append(thumb)
        return parts.reading("no_answer")


def _flat(messages: Iterator[Fields]) -> Iterator[Fields]:
    """Yield the messages and their children, parents first."""
    waiting = list(messages)
    while waiting:
        message = waiting.pop(0)
        yield message
        waiting += message.children("children") if message.has("children") else ()


def _node(message: Fields) -> Node:
    parent = message.name("parentMessageId")
    role = "user" if message.maybe_flag("isCreatedByUser") else "assistant"
    text = _text(message)
    return Node(None if parent == NO_PARENT else parent, [turn(role, text)] if text else [])


def _text(message: Fields) -> str:
    """Return the text, or that of the content's parts; a content with other parts is kept as JSON text."""
    text = message.maybe_text("text")
    if text or not message.has("content"):
        return text or ""
    if isinstance(message.values["content"], str):
        return message.text("content")
    parts = [part for part in message.children("content") if part.values.get("type") not in UNSEEN]
    if any(part.values.get("type") != "text" for part in parts):
        return json_text([dict(part.values) for part in parts])
    return "\n".join(_part_text(part) for part in parts)


def _part_text(part: Fields) -> str:
    """Return a part's text, which stands in an object of its own in assistants' answers."""
    return part.child("text").text("value") if isinstance(part.values.get("text"), Mapping) else part.text("text")


def _unusable(message: Fields) -> str | None:
    for flag, reason in (("error", "error_response"), ("unfinished", "unfinished"), ("isTemporary", "temporary")):
        if message.maybe_flag(flag):
            return reason
    return "temporary" if message.has("expiredAt") else None


def _answer(message: Fields, node: Node, prompt: Prompt, row: Fields, options: Fields) -> Reading:
    stated = Exchange(
        source_id=message.text("messageId"),
        conversation_id=message.maybe_id("conversationId") or row.maybe_id("conversationId"),
        parent_id=node.parent,
        user=message.maybe_id("user"),
        model=message.name("model"),
        model_requested=options.name("model"),
        sampling=sampling(options.values),
        event_time=times.stated(message, "createdAt"),
    )
    return of(stated, prompt, [Reply(node.says, message.name("finish_reason"))])


def _thumb(message: Fields) -> Feedback | None:
    """Return the user's thumb; LibreChat keeps only the latest on the message itself."""
    if (given := message.maybe_child("feedback")) is None or message.maybe_flag("isTemporary"):
        return None
    value = RATINGS[given.one_of("rating", RATINGS)]
    changed = times.stated(message, "updatedAt")
    return Feedback(
        source_id=message.text("messageId") + ":feedback",
        revision=times.revision(changed),
        signal="thumb",
        target=Ref(message.text("messageId")),
        value=value,
        scale_min=-1.0,
        scale_max=1.0,
        text=given.name("text") or given.name("tag"),
        rater_kind="user",
        rater=message.maybe_id("user"),
        event_time=changed,
    )
