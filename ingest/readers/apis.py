"""A request and its response whose API nobody names -> what the reader of that API says; and what loggers share.

Loggers that stand between client and provider (LiteLLM, Helicone) keep the bodies of any API.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from ingest.errors import RecordError
from ingest.readers.anthropic_messages import AnthropicMessages
from ingest.readers.fields import Fields
from ingest.readers.gemini import Gemini
from ingest.readers.ollama import Ollama
from ingest.readers.openai_chat import OpenAIChat
from ingest.readers.openai_completions import OpenAICompletions
from ingest.readers.openai_responses import OpenAIResponses
from ingest.readers.reading import Interaction, Reader, Reading
from ingest.schema import canonical_json

READERS: Final[tuple[Reader, ...]] = (
    OpenAIChat(),
    OpenAIResponses(),
    AnthropicMessages(),
    OpenAICompletions(),
    Gemini(),
    Ollama(),
)


def read(request: Mapping[str, object], response: Mapping[str, object]) -> Reading:
    """Return what the exchange says. Raises RecordError where no API has bodies of this form."""
    record = {"request": request, "response": response}
    for reader in READERS:
        if reader.sniff(record):
            return reader.read(record)
    raise RecordError("bad_value", "request and response: expected the bodies of an API that has a reader")


def mark_cached(interactions: Iterable[Interaction]) -> None:
    """State in `sampling` that the answers came from a cache: nothing was drawn."""
    for one in interactions:
        one.sampling = canonical_json(json.loads(one.sampling or "{}") | {"cache_hit": True}).decode()


def zoned_time(fields: Fields, key: str) -> datetime | None:
    """Return a time of Unix seconds or ISO 8601; one without a zone is no point in time, and no zone is guessed."""
    moment = _moment(fields, key)
    return moment.astimezone(UTC) if moment is not None and moment.tzinfo is not None else None


def milliseconds_between(fields: Fields, start: str, end: str) -> float | None:
    """Return what lies between two times of one clock, None where one is unknown, or they come the wrong way round."""
    first, last = _moment(fields, start), _moment(fields, end)
    if first is None or last is None or (first.tzinfo is None) != (last.tzinfo is None) or last < first:
        return None
    return (last - first) / timedelta(milliseconds=1)


def _moment(fields: Fields, key: str) -> datetime | None:
    """Return a time, with a zone only where it states one."""
    value = fields.values.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, int | float):
        return fields.maybe_unix(key)
    try:
        return datetime.fromisoformat(fields.text(key))
    except ValueError:
        fields.bad(key, "an ISO 8601 time, or seconds since 1970")
