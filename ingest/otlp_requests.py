"""OTLP/HTTP requests, protobuf or JSON -> lines of OTLP in JSON that `ingest.readers.otel_genai` reads; and answers.

The JSON is OTLP's own mapping: ids as hexadecimal digits (protobuf's general mapping has base64), int64 as digits,
enums as numbers. One line holds one resource. Spans that nobody could name, without valid ids, are rejected as the
protocol's partial success says; a body that is not of the protocol is refused whole.

Source: opentelemetry.io/docs/specs/otlp, "OTLP/HTTP" and "JSON Protobuf Encoding".
"""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

LINE_BYTES: Final = 32 * 1024 * 1024
"""A longer line, half of what ingest reads by default, is rejected."""
_TRACE_ID: Final = re.compile(r"(?!0{32})[0-9a-fA-F]{32}")
_SPAN_ID: Final = re.compile(r"(?!0{16})[0-9a-fA-F]{16}")
_IDS: Final = ("traceId", "spanId", "parentSpanId")


class BadRequestError(ValueError):
    """The body is not a request of the protocol; the message quotes nothing of it."""


@dataclass(frozen=True)
class Signal:
    """Traces or logs."""

    name: str
    resources: str
    scopes: str
    records: str
    rejected: str
    """The partial success's count."""
    request: Callable[[], Any]
    response: Callable[[], Any]


TRACES: Final = Signal(
    "traces",
    "resourceSpans",
    "scopeSpans",
    "spans",
    "rejectedSpans",
    trace_service_pb2.ExportTraceServiceRequest,
    trace_service_pb2.ExportTraceServiceResponse,
)
LOGS: Final = Signal(
    "logs",
    "resourceLogs",
    "scopeLogs",
    "logRecords",
    "rejectedLogRecords",
    logs_service_pb2.ExportLogsServiceRequest,
    logs_service_pb2.ExportLogsServiceResponse,
)


@dataclass(frozen=True)
class Batch:
    """What a request holds."""

    lines: list[bytes]
    accepted: int
    """Spans or log records in the lines."""
    rejected: int
    """Spans or log records that are not."""
    reason: str
    """Why, for whoever sent them; empty where none is rejected."""


def from_protobuf(signal: Signal, body: bytes) -> Batch:
    """Return the lines of a protobuf request. Raises BadRequestError."""
    request = signal.request()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise BadRequestError(f"The body is no protobuf message of OTLP {signal.name}.") from error
    value = MessageToDict(request, use_integers_for_enums=True)
    for record in _records(signal, value):
        _with_hex_ids(record)
        for link in record.get("links", ()):
            _with_hex_ids(link)
    return _batch(signal, value)


def from_json(signal: Signal, body: bytes) -> Batch:
    """Return the lines of a JSON request. Raises BadRequestError."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequestError("The body is not JSON in UTF-8.") from error
    if not isinstance(value, dict):
        raise BadRequestError("The body is not a JSON object.")
    return _batch(signal, value)


def _with_hex_ids(record: dict[str, Any]) -> None:
    for key in _IDS:
        if key in record:
            record[key] = base64.b64decode(record[key]).hex()


def _objects(holder: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return a list of objects, empty where it is absent. Raises BadRequestError."""
    found = holder.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise BadRequestError(f"{key}: expected a list of objects.")
    return found


def _records(signal: Signal, value: Mapping[str, Any]) -> list[dict[str, Any]]:
    scopes = [scope for resource in _objects(value, signal.resources) for scope in _objects(resource, signal.scopes)]
    return [record for scope in scopes for record in _objects(scope, signal.records)]


def _batch(signal: Signal, value: Mapping[str, Any]) -> Batch:
    lines: list[bytes] = []
    accepted, reasons = 0, dict.fromkeys(("has no valid traceId and spanId", "is too long for a line"), 0)
    for resource in _objects(value, signal.resources):
        nameless = _drop_nameless(signal, resource) if signal is TRACES else 0
        reasons["has no valid traceId and spanId"] += nameless
        count = len(_records(signal, {signal.resources: [resource]}))
        if not count:
            continue
        line = msgspec.json.encode({signal.resources: [resource]}) + b"\n"
        if len(line) > LINE_BYTES:
            reasons["is too long for a line"] += count
        else:
            lines.append(line)
            accepted += count
    said = [f"{number} of the {signal.name}: one {what}" for what, number in reasons.items() if number]
    return Batch(lines, accepted, sum(reasons.values()), "; ".join(said))


def _drop_nameless(signal: Signal, resource: dict[str, Any]) -> int:
    """Take out the spans without valid ids, and return how many."""
    dropped = 0
    for scope in _objects(resource, signal.scopes):
        spans = _objects(scope, signal.records)
        named = [span for span in spans if _is_id(_TRACE_ID, span, "traceId") and _is_id(_SPAN_ID, span, "spanId")]
        dropped += len(spans) - len(named)
        scope[signal.records] = named
    return dropped


def _is_id(form: re.Pattern[str], span: Mapping[str, Any], key: str) -> bool:
    return isinstance(value := span.get(key), str) and form.fullmatch(value) is not None


def answer(signal: Signal, batch: Batch, *, json: bool) -> bytes:
    """Return the body of the answer; it names a partial success only where something was rejected."""
    if json:
        partial = {"partialSuccess": {signal.rejected: str(batch.rejected), "errorMessage": batch.reason}}
        return msgspec.json.encode(partial if batch.rejected else {})
    message = signal.response()
    if batch.rejected:
        partial_success = message.partial_success
        count = "rejected_spans" if signal is TRACES else "rejected_log_records"
        setattr(partial_success, count, batch.rejected)
        partial_success.error_message = batch.reason
    encoded: bytes = message.SerializeToString()
    return encoded


def refusal(message: str, *, json: bool) -> bytes:
    """Return a google.rpc.Status with the message, as the protocol wants the body of a 4xx or 5xx."""
    if json:
        return msgspec.json.encode({"message": message})
    text = message.encode()
    length = bytes([len(text)]) if len(text) < 128 else bytes([len(text) & 127 | 128, len(text) >> 7])
    return b"\x12" + length + text  # field 2 of the message, a text
