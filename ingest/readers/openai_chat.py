"""Reads OpenAI chat completions: `{"request": {...}, "response": {...}}`, one exchange a line.

Also rows of a gateway that recorded the bytes: kind, request, response_raw (JSON, or a stream of events), status.
"""

import json
from collections.abc import Mapping

from ingest.errors import RecordError
from ingest.readers import chat, event_stream
from ingest.readers.fields import Fields
from ingest.readers.reading import Reading

KIND = "openai_chat"
"""What a gateway that records several APIs calls this one."""


class OpenAIChat:
    """The reader of the format."""

    name: str = "openai_chat"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this is a chat request with its response, and no other API's."""
        request = record.get("request")
        if "winnow" in record or not isinstance(request, Mapping):
            return False
        if "kind" in record:
            return record["kind"] == KIND
        response = record.get("response")
        if isinstance(response, Mapping):
            answers = "choices" in response or "error" in response
            return response.get("object") == "chat.completion" or ("messages" in request and answers)
        return "messages" in request and "response" in record

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return one interaction for each choice; a call without an answer is skipped with its reason."""
        row = Fields(record)
        if row.has("kind") and record["kind"] != KIND:
            raise RecordError("unknown_format", f"kind: expected {KIND}, got the record of another API")
        status = row.maybe_integer("status")
        if status is not None and status != 200:
            return Reading(skipped=f"http_status_{status}")
        response = _response(row)
        if response is None:
            return Reading(skipped="no_response")
        if not response.values.get("choices"):
            return Reading(skipped="error_response" if response.has("error") else "no_choice")
        return Reading(interactions=tuple(chat.interactions(row.child("request"), response)))


def _response(row: Fields) -> Fields | None:
    """Return the response body, streams joined, or None where nothing was recorded."""
    if not row.has("response_raw"):
        return row.maybe_child("response")
    body = row.text("response_raw")
    if not body.strip():
        return None
    if event_stream.is_event_stream(body):
        return event_stream.join(body, "response_raw")
    try:
        value = json.loads(body)
    except ValueError as error:
        raise RecordError("bad_value", "response_raw: expected JSON or a stream of events") from error
    return Fields({"response_raw": value}).child("response_raw")
