"""API calls as a gateway keeps them: `{"request": {...}, "response": {...}}`, or with the response as it was sent.

The latter has kind (the API's name here), request, status, and response_raw: JSON, or the text of a stream.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ingest.errors import RecordError
from ingest.readers import event_stream
from ingest.readers.fields import Fields

Form = Callable[[Mapping[str, object], object], bool]
"""Whether a request and its response, where no kind names them, are those of one API."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer."""

    request: Fields
    response: Fields
    """Empty where the call is skipped."""
    skipped: str | None = None
    """Why the call has no answer: "http_status_429", "no_response", "error_response"; None where it has one."""


def sniff(record: Mapping[str, object], kind: str, form: Form) -> bool:
    """Return whether `record` is a call of the API that is named `kind`."""
    request = record.get("request")
    if "winnow" in record or not isinstance(request, Mapping):
        return False
    return record["kind"] == kind if "kind" in record else form(request, record.get("response"))


def exchange(
    record: Mapping[str, object],
    kind: str,
    join: Callable[[str, str], Fields],
    is_stream: Callable[[str], bool] = event_stream.is_event_stream,
) -> Exchange:
    """Return the call; `join` makes the response that a stream spells of its text and its field's name."""
    row = Fields(record)
    if row.has("kind") and record["kind"] != kind:
        raise RecordError("unknown_format", f"kind: expected {kind}, got the record of another API")
    request, nothing = row.child("request"), Fields({}, "response")
    if row.has("status") and (status := row.http_status("status")) != 200:
        return Exchange(request, nothing, f"http_status_{status}")
    response = _response(row, join, is_stream)
    if response is None:
        return Exchange(request, nothing, "no_response")
    if response.has("error") and not response.values.get("choices"):
        return Exchange(request, nothing, "error_response")
    return Exchange(request, response)


def _response(row: Fields, join: Callable[[str, str], Fields], is_stream: Callable[[str], bool]) -> Fields | None:
    """Return the response's body, streams joined, or None where nothing was recorded."""
    if not row.has("response_raw"):
        return row.maybe_child("response")
    body = row.text("response_raw")
    if not body.strip():
        return None
    if is_stream(body):
        return join(body, "response_raw")
    try:
        value = json.loads(body)
    except ValueError as error:
        raise RecordError("bad_value", "response_raw: expected JSON or a stream of events") from error
    return Fields({"response_raw": value}).child("response_raw")
