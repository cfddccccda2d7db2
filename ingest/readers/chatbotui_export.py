"""Reads the export of Chatbot UI: `{"version", "history": [conversation, ...], "folders", "prompts"}`.

Every answer in a conversation is an interaction, named by the conversation's id and its place in it.
"""

from collections.abc import Mapping

from ingest.readers import dialects
from ingest.readers.conversations import Prompt, Reply
from ingest.readers.exchange import Exchange, of, sampling
from ingest.readers.fields import Fields
from ingest.readers.parts import Parts
from ingest.readers.preference import turn
from ingest.readers.reading import Reading


class ChatbotUIExport:
    """The reader of the format."""

    name: str = "chatbotui_export"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this is a whole export."""
        return isinstance(record.get("history"), list) and "folders" in record and "version" in record

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return one interaction for each answer of each conversation."""
        parts = Parts()
        for conversation in Fields(record).children("history"):
            system = conversation.name("prompt")
            said = [turn("system", system)] if system else []
            model = conversation.maybe_child("model")
            for place, entry in enumerate(conversation.children("messages")):
                [message] = dialects.message(entry)
                if message["role"] == "assistant":
                    stated = Exchange(
                        source_id=f"{conversation.text('id')}:{place}",
                        conversation_id=conversation.text("id"),
                        model_requested=model.name("id") if model else None,
                        sampling=sampling(conversation.values),
                    )
                    parts.add(of(stated, Prompt(list(said)), [Reply([message])]))
                said.append(message)
        return parts.reading("no_answer")
