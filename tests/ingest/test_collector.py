"""The collector: what it acknowledged is in files that ingest reads, after SIGKILL too; the rest is told why."""

import asyncio
import gzip
import http.client
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from starlette.testclient import TestClient

from ingest import otlp_requests
from ingest.collector import Collector, CollectorSettings, read_token
from ingest.errors import SettingsError
from ingest.group_commit import GroupCommit
from ingest.log_files import LogFiles
from ingest.otlp_requests import LOGS, TRACES
from ingest.request_bodies import BodyLimits

from .collector_process import lines, serving
from .conftest import Workspace, run_async

THUMB = {"signal": "thumb", "target": {"id": "int-1"}, "value": 1, "scale": [-1, 1]}
TRACE_ID, SPAN_ID = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
JSON = {"content-type": "application/json"}
PROTOBUF = {"content-type": "application/x-protobuf"}


def spans(*found: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": list(found)}]}]}


SPAN = {"traceId": TRACE_ID, "spanId": SPAN_ID, "name": "chat m", "startTimeUnixNano": "1760000000000000000"}


@contextmanager
def collecting(folder: Path, **settings: Any) -> Iterator[TestClient]:
    """Serve within this process."""
    collector = Collector(CollectorSettings(folder=folder, **settings))
    with TestClient(collector.application(), base_url="http://127.0.0.1:4318") as client:
        yield client


def test_feedback_is_in_the_file_when_it_is_answered(tmp_path: Path) -> None:
    with collecting(tmp_path / "raw") as client:
        one = client.post("/v1/feedback", json=THUMB)
        more = client.post("/v1/feedback", json=[THUMB | {"id": "fb-2"}, THUMB | {"id": "fb-3", "revision": 4}])
        found = lines(tmp_path / "raw")
        metrics = client.get("/metrics").text
    assert (one.status_code, more.status_code) == (200, 200)
    assert more.json() == {"accepted": 2, "ids": ["fb-2", "fb-3"]}
    assert [record["id"] for record in found] == [*one.json()["ids"], "fb-2", "fb-3"]
    assert found[2].items() >= (THUMB | {"winnow": 1, "kind": "feedback", "revision": 4}).items()
    assert 'winnow_requests_total{path="/v1/feedback",code="200"} 2' in metrics.splitlines()
    assert 'winnow_records_total{kind="feedback"} 3' in metrics.splitlines()
    assert "winnow_held_bytes 0" in metrics.splitlines()


REFUSED: list[tuple[str, str, dict[str, str], bytes, int, str]] = [
    ("no type", "/v1/feedback", {}, b"{}", 415, "Content-Type: expected application/json."),
    ("a web page's type", "/v1/feedback", {"content-type": "text/plain"}, b"{}", 415, "application/json"),
    ("protobuf of feedback", "/v1/feedback", PROTOBUF, b"", 415, "application/json"),
    ("text of traces", "/v1/traces", {"content-type": "text/plain"}, b"", 415, "application/x-protobuf or"),
    ("brotli", "/v1/traces", JSON | {"content-encoding": "br"}, b"{}", 415, "gzip or identity"),
    ("no JSON", "/v1/feedback", JSON, b"{", 400, "not JSON"),
    ("no UTF-8", "/v1/feedback", JSON, b'"\xff"', 400, "not JSON"),
    ("half of a surrogate pair", "/v1/feedback", JSON, b'"\\ud800"', 400, "not JSON"),
    ("nested too deeply", "/v1/feedback", JSON, b"[" * 100_000, 400, "not JSON"),
    ("no object", "/v1/feedback", JSON, b"[1]", 400, "event 0: expected an object."),
    ("no signal", "/v1/feedback", JSON, b"{}", 400, "signal"),
    ("second event", "/v1/feedback", JSON, json.dumps([THUMB, {}]).encode(), 400, "event 1: signal"),
    ("value off its scale", "/v1/feedback", JSON, json.dumps(THUMB | {"value": 2}).encode(), 400, "on the scale"),
    ("an interaction", "/v1/feedback", JSON, json.dumps(THUMB | {"kind": "interaction"}).encode(), 400, "kind"),
    ("number out of range", "/v1/feedback", JSON, b'{"value":1e999}', 400, "not JSON"),
    ("no protobuf", "/v1/traces", PROTOBUF, b"\xff\xff", 400, "no protobuf message of OTLP traces"),
    ("cut gzip", "/v1/traces", JSON | {"content-encoding": "gzip"}, gzip.compress(b"{}")[:-3], 400, "cut off"),
    ("two gzips", "/v1/traces", JSON | {"content-encoding": "gzip"}, gzip.compress(b"{}") * 2, 400, "follows"),
    ("no gzip", "/v1/traces", JSON | {"content-encoding": "gzip"}, b"{}", 400, "is no gzip"),
    ("list of traces", "/v1/traces", JSON, b"[]", 400, "not a JSON object"),
    ("spans of no list", "/v1/traces", JSON, b'{"resourceSpans":[{"scopeSpans":{}}]}', 400, "scopeSpans"),
    ("too large", "/v1/traces", JSON, b" " * 100_001, 413, "larger than 100000 bytes"),
    ("bomb", "/v1/traces", JSON | {"content-encoding": "gzip"}, gzip.compress(b" " * 9_000_000), 413, "larger than"),
]


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "said"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_bad_requests_get_a_clear_answer_and_leave_nothing(
    tmp_path: Path, path: str, headers: dict[str, str], body: bytes, status: int, said: str
) -> None:
    with collecting(tmp_path / "raw", body=BodyLimits(most_bytes=100_000)) as client:
        response = client.post(path, headers=headers, content=body)
        held = [line for line in client.get("/metrics").text.splitlines() if line.startswith("winnow_held")]
    assert (response.status_code, held) == (status, ["winnow_held_bytes 0", "winnow_held_requests 0"])
    if headers == PROTOBUF and path != "/v1/feedback":  # google.rpc.Status: field 2 is the message
        assert response.headers["content-type"] == PROTOBUF["content-type"]
        assert response.content == b"\x12" + bytes([len(response.content) - 2]) + response.content[2:]
    assert said in response.content.decode()
    assert lines(tmp_path / "raw") == []


def test_body_without_a_length_is_limited_too(tmp_path: Path) -> None:
    with collecting(tmp_path / "raw", body=BodyLimits(most_bytes=1000)) as client:
        response = client.post("/v1/feedback", headers=JSON, content=iter([b" " * 600] * 2))
    assert response.status_code == 413


@pytest.mark.parametrize("limit", [{"most_bytes": 200}, {"most_requests": 0}], ids=["bytes", "requests"])
def test_more_than_it_may_hold_is_told_to_come_again(tmp_path: Path, limit: dict[str, int]) -> None:
    with collecting(tmp_path / "raw", **limit) as client:
        response = client.post("/v1/feedback", json=THUMB | {"text": "x" * 200})
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    assert lines(tmp_path / "raw") == []


def test_disk_that_takes_nothing_is_no_acknowledgement(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    with collecting(folder) as client:
        folder.write_text("in the way")
        refused = client.post("/v1/feedback", json=THUMB | {"id": "fb-1"})
        folder.unlink()
        taken = client.post("/v1/feedback", json=THUMB | {"id": "fb-2"})
    assert (refused.status_code, refused.headers["retry-after"], taken.status_code) == (503, "1", 200)
    assert [record["id"] for record in lines(folder)] == ["fb-2"]


TOKEN = "k3jhg4kj5hg6kjh5g4"
ADMITTED: list[tuple[str, str | None, dict[str, str], int]] = [
    ("right token", TOKEN, {"authorization": f"Bearer {TOKEN}"}, 200),
    ("from anywhere", TOKEN, {"authorization": f"bearer {TOKEN}", "host": "collector.example:4318"}, 200),
    ("no token", TOKEN, {}, 401),
    ("wrong token", TOKEN, {"authorization": f"Bearer {TOKEN[:-1]}"}, 401),
    ("no ASCII", TOKEN, {"authorization": b"Bearer \xff".decode("latin-1")}, 401),
    ("other scheme", TOKEN, {"authorization": f"Basic {TOKEN}"}, 401),
    ("this machine", None, {"host": "localhost:4318"}, 200),
    ("this machine, IPv6", None, {"host": "[::1]:4318"}, 200),
    ("a page under a name of its own", None, {"host": "evil.example"}, 403),
    ("a name that begins so", None, {"host": "127.0.0.1.evil.example"}, 403),
    ("an address of this machine after a sign", None, {"host": "evil.example@localhost"}, 403),
    ("a name that is none", None, {"host": "[::1"}, 403),
]


@pytest.mark.parametrize(("token", "headers", "status"), [c[1:] for c in ADMITTED], ids=[c[0] for c in ADMITTED])
def test_who_is_admitted(tmp_path: Path, token: str | None, headers: dict[str, str], status: int) -> None:
    with collecting(tmp_path / "raw", token=token) as client:
        sent = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
        answers = [client.post("/v1/feedback", json=THUMB, headers=sent), client.get("/metrics", headers=sent)]
        health = client.get("/healthz", headers=sent)
    assert [answer.status_code for answer in answers] == [status, status]
    assert health.status_code == 200
    assert len(lines(tmp_path / "raw")) == (status == 200)


@pytest.mark.parametrize(
    "content",
    [b"short", b"two words of a token", b"\xff" * 20, "ü".encode() * 20],
    ids=["short", "words", "bytes", "umlauts"],
)
def test_weak_token_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(SettingsError):
        read_token(tmp_path / "token")


def test_without_a_token_it_listens_on_this_machine_only(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ingest", "collect", "--host", "0.0.0.0", "--port", "0", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: Without --token-file the collector listens on this machine only, not on 0.0.0.0.\n"


def test_protobuf_becomes_the_json_of_otlp(tmp_path: Path) -> None:
    """Ids as hexadecimal digits, int64 as digits, enums as numbers, bytes as base64: by hand, as specified."""
    request = trace_service_pb2.ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id = bytes.fromhex(TRACE_ID), bytes.fromhex(SPAN_ID)
    span.parent_span_id = bytes.fromhex("00000000000000ff")
    span.name, span.kind, span.start_time_unix_nano = "chat m", 3, 1760000000000000000
    span.links.add(trace_id=bytes.fromhex(TRACE_ID), span_id=bytes.fromhex("0123456789abcdef"))
    for key, value in {
        "int_value": -(2**62),
        "bytes_value": b"\x00\xff",
        "double_value": 0.1,
        "bool_value": False,
    }.items():
        setattr(span.attributes.add(key=key).value, key, value)
    with collecting(tmp_path / "raw") as client:
        body = gzip.compress(request.SerializeToString())
        answer = client.post("/v1/traces", content=body, headers=PROTOBUF | {"content-encoding": "gzip"})
    assert (answer.status_code, answer.content) == (200, b"")  # an empty message: everything was accepted
    (line,) = lines(tmp_path / "raw")
    assert line == {
        "resourceSpans": [
            {
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": TRACE_ID,
                                "spanId": SPAN_ID,
                                "parentSpanId": "00000000000000ff",
                                "name": "chat m",
                                "kind": 3,
                                "startTimeUnixNano": "1760000000000000000",
                                "attributes": [
                                    {"key": "int_value", "value": {"intValue": str(-(2**62))}},
                                    {"key": "bytes_value", "value": {"bytesValue": "AP8="}},
                                    {"key": "double_value", "value": {"doubleValue": 0.1}},
                                    {"key": "bool_value", "value": {"boolValue": False}},
                                ],
                                "links": [{"traceId": TRACE_ID, "spanId": "0123456789abcdef"}],
                            }
                        ]
                    }
                ]
            }
        ]
    }


VALUES = st.recursive(
    st.one_of(
        st.builds(lambda v: {"stringValue": v}, st.text()),
        st.builds(lambda v: {"intValue": str(v)}, st.integers(-(2**63), 2**63 - 1)),
        st.builds(lambda v: {"doubleValue": v}, st.floats(allow_nan=False, allow_infinity=False)),
        st.builds(lambda v: {"boolValue": v}, st.booleans()),
        st.just({}),
    ),
    lambda inner: st.one_of(
        st.builds(lambda v: {"arrayValue": {"values": v}}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(
            lambda v: {"kvlistValue": {"values": [{"key": k, "value": x} for k, x in v.items()]}},
            st.dictionaries(st.text(min_size=1), inner, min_size=1, max_size=3),
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(min_size=1), VALUES, max_size=4), st.text())
def test_json_and_protobuf_of_one_request_give_the_same_line(values: dict[str, Any], name: str) -> None:
    """The oracle is protobuf's own parser of JSON, which wants ids in base64."""
    attributes = [{"key": key, "value": value} for key, value in values.items()]
    span = {"traceId": "AAAAAAAAAAAAAAAAAAAAAQ==", "spanId": "AAAAAAAAAAE=", "name": name, "attributes": attributes}
    message = json_format.ParseDict(spans(span), trace_service_pb2.ExportTraceServiceRequest())
    told = spans({**span, "traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1"})
    first = otlp_requests.from_protobuf(TRACES, message.SerializeToString())
    second = otlp_requests.from_json(TRACES, json.dumps(told).encode())
    assert (first.accepted, second.accepted, first.rejected, second.rejected) == (1, 1, 0, 0)
    assert _without_empty(json.loads(first.lines[0])) == _without_empty(json.loads(second.lines[0]))


def _without_empty(value: Any) -> Any:
    """Leave out what protobuf's JSON leaves out: absent and default say the same."""
    if isinstance(value, dict):
        held = {key: _without_empty(inner) for key, inner in value.items()}
        return {key: inner for key, inner in held.items() if inner not in ("", [], {}) or key.endswith("Value")}
    return [_without_empty(inner) for inner in value] if isinstance(value, list) else value


NAMELESS: list[tuple[str, dict[str, Any]]] = [
    ("no ids", {}),
    ("zeros", {"traceId": "0" * 32, "spanId": SPAN_ID}),
    ("base64", {"traceId": "W47/95gDgQPSabYzgT/GDA==", "spanId": SPAN_ID}),
    ("number", {"traceId": 7, "spanId": SPAN_ID}),
]


@pytest.mark.parametrize("nameless", [case[1] for case in NAMELESS], ids=[case[0] for case in NAMELESS])
def test_spans_without_ids_are_a_partial_success(tmp_path: Path, nameless: dict[str, Any]) -> None:
    with collecting(tmp_path / "raw") as client:
        answer = client.post("/v1/traces", json=spans(nameless, SPAN, nameless))
        nothing = client.post("/v1/traces", json=spans(nameless))
    message = "2 of the traces: one has no valid traceId and spanId"
    assert answer.json() == {"partialSuccess": {"rejectedSpans": "2", "errorMessage": message}}
    assert (answer.status_code, nothing.status_code) == (200, 200)
    assert lines(tmp_path / "raw") == [spans(SPAN)]


def test_partial_success_in_protobuf() -> None:
    batch = otlp_requests.from_json(TRACES, json.dumps(spans({})).encode())
    response = trace_service_pb2.ExportTraceServiceResponse.FromString(otlp_requests.answer(TRACES, batch, json=False))
    assert response.partial_success.rejected_spans == 1
    assert "traceId" in response.partial_success.error_message


def test_empty_requests_are_accepted_and_write_nothing(tmp_path: Path) -> None:
    with collecting(tmp_path / "raw") as client:
        answers = [client.post(f"/v1/{kind}", content=b"", headers=PROTOBUF) for kind in ("traces", "logs")]
    assert [(a.status_code, a.content) for a in answers] == [(200, b""), (200, b"")]
    assert lines(tmp_path / "raw") == []


def test_logs_need_no_span() -> None:
    body = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"eventName": "e"}, {"eventName": "f"}]}]}]}
    batch = otlp_requests.from_json(LOGS, json.dumps(body).encode())
    assert (batch.accepted, batch.rejected, [json.loads(line) for line in batch.lines]) == (2, 0, [body])


def test_group_is_synced_once_and_nobody_is_answered_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What 50 append while the first group is synced is one group more: 2 syncs in all, each before its answers."""
    events: list[str] = []
    sync = LogFiles.sync

    def syncing(files: LogFiles) -> None:
        sync(files)
        events.append("sync")

    monkeypatch.setattr(LogFiles, "sync", syncing)

    async def appending(commit: GroupCommit, name: str) -> None:
        await commit.append([name.encode() + b"\n"])
        events.append(name)

    async def scenario() -> int:
        commit = GroupCommit(LogFiles(tmp_path, "log", rotate_bytes=10**6, rotate_seconds=10**6, durable=False))
        running = asyncio.create_task(commit.run())
        first = asyncio.create_task(appending(commit, "first"))
        await asyncio.sleep(0)  # it is queued; then its group is at work
        await asyncio.sleep(0)
        rest = [asyncio.create_task(appending(commit, str(i))) for i in range(50)]
        await asyncio.gather(first, *rest)
        commit.close()
        await running
        return commit.commits

    assert run_async(scenario()) == 2
    # The next group may be synced before the first one's request comes to run again.
    assert events in (
        ["sync", "first", "sync", *map(str, range(50))],
        ["sync", "sync", "first", *map(str, range(50))],
    )


def post(port: int, connection: http.client.HTTPConnection, event: dict[str, Any]) -> int:
    connection.request("POST", "/v1/feedback", json.dumps(event), JSON)
    response = connection.getresponse()
    response.read()
    return response.status


def load(port: int, name: str, acknowledged: list[str], enough: threading.Event, most: int) -> None:
    """Send events one after the other until the connection breaks."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        for n in range(100_000):
            if post(port, connection, THUMB | {"id": f"{name}-{n}", "text": "x" * 200}) == 200:
                acknowledged.append(f"{name}-{n}")
            if len(acknowledged) >= most:
                enough.set()
    except (OSError, http.client.HTTPException):
        return
    finally:
        connection.close()


def loaded(port: int, stop: Callable[[], None]) -> list[str]:
    """Send from 8 connections, call `stop` when 300 events are acknowledged, and return all that were."""
    acknowledged: list[str] = []
    enough = threading.Event()
    senders = [threading.Thread(target=load, args=(port, f"s{i}", acknowledged, enough, 300)) for i in range(8)]
    for sender in senders:
        sender.start()
    assert enough.wait(60)
    stop()
    for sender in senders:
        sender.join(60)
    return acknowledged


def test_sigkill_under_load_loses_nothing_that_was_acknowledged(workspace: Workspace) -> None:
    with serving(workspace.logs) as (process, port):
        acknowledged = loaded(port, process.kill)
    assert len(acknowledged) >= 300
    summary = workspace.run()
    kept = set(workspace.rows("feedback", "source_id"))
    assert set(acknowledged) <= kept
    totals = summary.totals()
    assert (totals["lines"], totals["quarantined"], totals["skipped"]) == (len(kept), 0, 0)


def test_sigterm_under_load_answers_what_it_has_and_ends_in_order(workspace: Workspace) -> None:
    with serving(workspace.logs) as (process, port):
        acknowledged = loaded(port, process.terminate)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, "")
    summary = json.loads(stdout)
    assert summary["accepted"] == {"feedback": len(lines(workspace.logs))}
    assert {record["id"] for record in lines(workspace.logs)} >= set(acknowledged)
    assert summary["commits"] <= len(acknowledged) + 8


def test_port_in_use_is_one_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "ingest", "collect", "--port", port, "--folder", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: The collector cannot write .* or listen on 127\.0\.0\.1:\d+: .*\n", done.stderr)
