"""What the collector takes: events per second and latencies on loopback, each answered only when it is on the disk.

A generator of its own process keeps connections busy, one request at a time each. The arms are one service: with its
group commit, with one fsync a request, and without any fsync, which no log that is acknowledged may do. Gate: every
acknowledged event is in the files, once. Baseline: one fsync a request = 1.

    python -m bench.collector --seconds 5 --connections 32
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from rich.console import Console
from rich.table import Table

from ingest.collector import Collector, CollectorSettings, serve
from ingest.group_commit import GroupCommit

ARMS: Final = {"one fsync a request": (True, 1), "group commit": (True, None), "no fsync": (False, None)}
"""Arm -> whether a group is synced, and of how many requests it is at most."""
SPANS: Final = 20
"""Of one OTLP request."""
_ID: Final = re.compile(rb'"(?:id|spanId)":"([0-9a-f]{16})"')


def main() -> None:
    """Run the arms in turn for each kind of request, and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--serve", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        _serve(given.serve, given.folder)
        return
    columns = ("events a second", "ratio", "p50 ms", "p99 ms", "service's CPU µs an event", "requests a commit")
    table = Table("request", "arm", *columns)
    for kind, size in (("feedback", 1), ("traces", SPANS)):
        baseline = 0.0
        for arm in ARMS:
            rate, p50, p99, cpu, grouped = _measure(arm, kind, given.seconds, given.connections)
            baseline = baseline or rate
            name = f"{kind}, {size} a request"
            ratio = f"{rate / baseline:.2f}"
            cost = f"{cpu / size:.0f}"
            table.add_row(name, arm, f"{rate * size:,.0f}", ratio, f"{p50:.1f}", f"{p99:.1f}", cost, f"{grouped:.1f}")
    Console(width=140).print(table)


def _measure(arm: str, kind: str, seconds: float, connections: int) -> tuple[float, ...]:
    """Return requests a second, their median and 99th percentile in ms, CPU µs of each, and requests a commit."""
    folder = Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    try:
        command = [sys.executable, "-m", "bench.collector", "--serve", arm, "--folder", str(folder)]
        with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as service:
            assert service.stdout is not None
            assert service.stderr is not None
            port = int(service.stderr.readline().split(" into ")[0].rsplit(":", 1)[1])
            context = multiprocessing.get_context("spawn")
            with context.Pool(1) as pool:
                took, acknowledged = pool.apply(_load, (port, kind, seconds, connections))
            service.terminate()
            summary = json.loads(service.stdout.read())
        found = [match for path in folder.glob("*.jsonl") for match in _ID.findall(path.read_bytes())]
        missing = set(acknowledged) - {match.decode() for match in found}
        if missing or len(found) != len(set(found)):
            sys.exit(f"FAIL, no speed: {len(missing)} acknowledged events missing, {len(found)} found")
        took.sort()
        p50, p99 = (took[len(took) * share // 100] * 1000 for share in (50, 99))
        return len(took) / seconds, p50, p99, summary["cpu_s"] * 1e6 / len(took), len(took) / summary["commits"]
    finally:
        shutil.rmtree(folder)


def _serve(arm: str, folder: Path) -> None:
    collector = Collector(CollectorSettings(folder=folder))
    sync, most = ARMS[arm]
    collector.commit = GroupCommit(collector.files, sync=sync, most_requests=most)
    started = time.process_time()
    summary = serve(collector, "127.0.0.1", 0)
    print(json.dumps({**summary, "cpu_s": time.process_time() - started}))


def _load(port: int, kind: str, seconds: float, connections: int) -> tuple[list[float], list[str]]:
    """Return how long each request took, and the ids of the events that were acknowledged."""
    took: list[float] = []
    acknowledged: list[str] = []

    async def send(until: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < until:
            ids, request = _request(kind)
            start = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            assert length, head
            await reader.readexactly(int(length[1]))
            took.append(time.perf_counter() - start)
            if b" 200 " not in head.split(b"\r\n")[0]:
                sys.exit(f"FAIL, no speed: {head!r}")
            acknowledged.extend(ids)
        writer.close()

    async def all_of_them() -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(*[send(until) for _ in range(connections)])

    asyncio.run(all_of_them())
    return took, acknowledged


def _request(kind: str) -> tuple[list[str], bytes]:
    """Return the ids of a request's events, and the request."""
    if kind == "feedback":
        ids = [os.urandom(8).hex()]
        event = {"id": ids[0], "signal": "thumb", "target": {"id": "int-1"}, "value": 1, "scale": [-1, 1]}
        body, content = json.dumps(event).encode(), "application/json"
    else:
        message = trace_service_pb2.ExportTraceServiceRequest()
        scope = message.resource_spans.add().scope_spans.add()
        for _ in range(SPANS):
            span = scope.spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), name="chat m")
            for key in ("gen_ai.operation.name", "gen_ai.request.model", "gen_ai.input.messages"):
                span.attributes.add(key=key).value.string_value = "a text of a hundred characters " * 3
        ids = [span.span_id.hex() for span in scope.spans]
        body, content = message.SerializeToString(), "application/x-protobuf"
    head = (
        f"POST /v1/{kind} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return ids, head.encode() + body


if __name__ == "__main__":
    main()
