"""Reads OpenAI chat completions: `{"request": {...}, "response": {...}}`, one exchange a line.

Also rows of a gateway that recorded the bytes (`ingest.readers.recorded`), streams joined.
"""

from collections.abc import Mapping

from ingest.readers import chat, event_stream, recorded
from ingest.readers.reading import Reading

KIND = "openai_chat"
"""What a gateway that records several APIs calls this one."""


class OpenAIChat:
    """The reader of the format."""

    name: str = "openai_chat"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this is a chat request with its response, and no other API's."""
        return recorded.sniff(record, KIND, _is_chat)

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return one interaction for each choice; a call without an answer is skipped with its reason."""
        call = recorded.exchange(record, KIND, event_stream.join)
        if call.skipped is not None:
            return Reading(skipped=call.skipped)
        if not call.response.values.get("choices"):
            return Reading(skipped="no_choice")
        return Reading(interactions=tuple(chat.interactions(call.request, call.response)))


def _is_chat(request: Mapping[str, object], response: object) -> bool:
    if not isinstance(response, Mapping):
        return "messages" in request and response is None
    answers = "choices" in response or ("error" in response and response.get("type") != "error")
    return response.get("object") == "chat.completion" or ("messages" in request and answers)
