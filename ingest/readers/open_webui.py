"""Reads Open WebUI's feedback export: a JSON array of votes, each with a snapshot of its chat.

The snapshot alone has the texts. The rated message and its siblings, the other answers to the same message, become
interactions; the vote becomes a thumb, and its details a rating from 1 to 10. A message that its user has rewritten in
place is an edit.

Source: open-webui/open-webui routers/evaluations.py, components/chat/Messages/ResponseMessage.svelte.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from ingest.readers import branches, times
from ingest.readers.branches import Node
from ingest.readers.conversations import Prompt, Reply
from ingest.readers.exchange import Exchange, of
from ingest.readers.fields import Fields
from ingest.readers.parts import Parts
from ingest.readers.preference import turn
from ingest.readers.reading import Feedback, Reading, Ref

VOTES: Final = {1: 1.0, -1: -1.0}
DETAILS: Final = (1.0, 10.0)
"""Ends of the rating that a user may add to a vote."""


class OpenWebUI:
    """The reader of the format."""

    name: str = "open_webui"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this is one vote of the export."""
        meta, data = record.get("meta"), record.get("data")
        return isinstance(data, Mapping) and isinstance(meta, Mapping) and "message_id" in meta and "type" in record

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return the rated message, its siblings, and what the vote says of them."""
        row = Fields(record)
        if row.text("type") != "rating":
            return Reading(skipped="feedback_of_another_type")
        rated = row.child("meta").text("message_id")
        parts = Parts()
        parts.feedback += _votes(row, rated)
        if not parts.feedback:
            parts.skipped["no_rating"] += 1
        messages, chat = _messages(row)
        if rated not in messages:
            parts.skipped["message_not_in_snapshot"] += 1
        else:
            nodes = {key: _node(message) for key, message in messages.items()}
            for key in _siblings(messages, nodes, rated):
                parts.add(_answer(row, chat, messages[key], nodes, key))
                parts.feedback += _edit(row, messages[key], key)
        return parts.reading("no_rating")


def _messages(row: Fields) -> tuple[dict[str, Fields], Fields]:
    """Return the messages of the snapshot by id, and the chat that holds them; both may be empty."""
    chat = row
    for key in ("snapshot", "chat", "chat"):
        inner = chat.maybe_child(key)
        if inner is None:
            return {}, Fields({}, chat.path(key))
        chat = inner
    history = chat.maybe_child("history")
    if history is None or not history.has("messages"):
        return {}, chat
    messages = history.child("messages")
    return {key: messages.child(key) for key in messages.values}, chat


def _node(message: Fields) -> Node:
    """Return what the message says; of one that was rewritten, as the model reads it now."""
    text = message.maybe_text("content")
    return Node(message.name("parentId"), [turn(message.one_of("role", ("user", "assistant")), text)] if text else [])


def _siblings(messages: Mapping[str, Fields], nodes: Mapping[str, Node], rated: str) -> Iterator[str]:
    """Yield the rated message and every other answer to the same one."""
    yield rated
    for key, message in messages.items():
        if key != rated and nodes[key].parent == nodes[rated].parent and message.text("role") == "assistant":
            yield key


def _answer(row: Fields, chat: Fields, message: Fields, nodes: Mapping[str, Node], key: str) -> Reading:
    asked = branches.prompt(nodes, key)
    if asked is None:
        return Reading(skipped="missing_parent")
    if message.values.get("error"):
        return Reading(skipped="error_response")
    if message.maybe_flag("done") is False:
        return Reading(skipped="unfinished")
    text = message.maybe_text("originalContent") or message.maybe_text("content")
    params = chat.maybe_child("params") or Fields({}, chat.path("params"))
    system = params.name("system") or chat.name("system")
    prompt = [turn("system", system), *asked] if system else asked
    named = message.name("selectedModelId")  # of an arena: the model that was drawn
    stated = Exchange(
        source_id=key,
        conversation_id=row.child("meta").maybe_id("chat_id"),
        parent_id=nodes[key].parent,
        user=row.maybe_id("user_id"),
        model=named or message.name("model"),
        model_requested=message.name("model") if named else None,
        event_time=message.maybe_unix("timestamp"),
    )
    reading = of(stated, Prompt(prompt), [Reply([turn("assistant", text)] if text else [])])
    for interaction in reading.interactions:
        # The page draws every answer while it is written, those of several models side by side.
        interaction.shown = True
    return reading


def _event(row: Fields, suffix: str, signal: str, target: str) -> Feedback:
    changed = row.maybe_unix("updated_at")
    return Feedback(
        source_id=row.text("id") + suffix,
        revision=times.revision(changed),
        signal=signal,
        target=Ref(target),
        rater_kind="user",
        rater=row.maybe_id("user_id"),
        event_time=changed or row.maybe_unix("created_at"),
    )


def _votes(row: Fields, rated: str) -> Iterator[Feedback]:
    """Yield the thumb and the rating; the latest revision of a vote, by `updated_at`, is what counts."""
    data = row.child("data")
    if (vote := data.maybe_number("rating")) is not None:
        if vote not in VOTES:
            data.bad("rating", "1 or -1")
        thumb = _event(row, "", "thumb", rated)
        thumb.value, thumb.scale_min, thumb.scale_max = VOTES[int(vote)], -1.0, 1.0
        thumb.text = data.name("comment") or data.name("reason")
        yield thumb
    details = data.maybe_child("details")
    if details is not None and (degree := details.maybe_number("rating")) is not None:
        if not DETAILS[0] <= degree <= DETAILS[1]:
            details.bad("rating", "a number from 1 to 10")
        rating = _event(row, ":details", "rating", rated)
        rating.value, rating.scale_min, rating.scale_max = degree, *DETAILS
        yield rating


def _edit(row: Fields, message: Fields, key: str) -> list[Feedback]:
    """Return the edit of a message that its user rewrote: the page keeps what stood there before."""
    before, after = message.maybe_text("originalContent"), message.maybe_text("content")
    if not before or not after or before == after:
        return []
    edit = _event(row, "", "edit", key)
    # Of one message, however many votes hold a snapshot of it.
    edit.source_id, edit.text = f"{key}:edit", after
    return [edit]
