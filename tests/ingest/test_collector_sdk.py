"""OpenTelemetry's own SDK and exporters send to the real collector; the lake holds what they sent."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, Status, StatusCode, format_span_id, set_span_in_context

from .collector_process import lines, serving
from .conftest import Workspace

QUESTIONS = [f"Question {i}, “ünïcode” \N{PARTY POPPER} \U0001f600" for i in range(40)]


def span_id(span: Span) -> str:
    return format_span_id(span.get_span_context().span_id)


def messages(role: str, text: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


@contextmanager
def providers(port: int, **exporting: Any) -> Iterator[tuple[TracerProvider, LoggerProvider]]:
    """The SDK as an application sets it up; everything is sent when it is shut down."""
    resource = Resource.create({"service.name": "support"})
    traces, logs = TracerProvider(resource=resource), LoggerProvider(resource=resource)
    url = f"http://127.0.0.1:{port}/v1/"
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url + "traces", **exporting)))
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(url + "logs", **exporting)))
    yield traces, logs
    traces.shutdown()
    logs.shutdown()


def serve(traces: TracerProvider, logs: LoggerProvider) -> list[str]:
    """Trace one model call per question, each with a verdict; return the span ids."""
    tracer, logger, ids = traces.get_tracer("app"), logs.get_logger("app"), []
    for i, question in enumerate(QUESTIONS):
        with tracer.start_as_current_span("chat m") as span:
            span.set_attributes(
                {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.request.model": "m",
                    "gen_ai.response.model": "m-01",
                    "gen_ai.request.temperature": 0.25,
                    "gen_ai.usage.output_tokens": 10**9 + i,
                    "gen_ai.conversation.id": f"c-{i}",
                    "gen_ai.input.messages": messages("user", question),
                    "gen_ai.output.messages": messages("assistant", question[::-1]),
                }
            )
        ids.append(span_id(span))
        verdict: dict[str, str | float] = {
            "gen_ai.evaluation.name": "helpful",
            "gen_ai.evaluation.score.value": float(i % 2),
        }
        context = set_span_in_context(span)
        logger.emit(LogRecord(event_name="gen_ai.evaluation.result", attributes=verdict, context=context))
    with tracer.start_as_current_span("chat m") as failed:
        failed.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"})
        failed.set_status(Status(StatusCode.ERROR))
    with tracer.start_as_current_span("GET /"):
        pass
    return ids


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip], ids=["plain", "gzip"])
def test_what_the_sdk_sends_is_what_the_lake_holds(workspace: Workspace, compression: Compression) -> None:
    with serving(workspace.logs) as (process, port):
        with providers(port, compression=compression) as (traces, logs):
            ids = serve(traces, logs)
        process.terminate()
        summary = json.loads(process.communicate(timeout=60)[0])
    assert summary["accepted"] == {"traces": 42, "logs": 40}
    run = workspace.run()
    assert run.skipped() == {"error_response": 1, "not_a_genai_span": 1}
    assert run.totals()["quarantined"] == 0
    columns = ("source_id", "prompt", "response", "conversation_id", "model", "sampling", "tokens_out")
    found = {row[0]: row[1:] for row in workspace.rows("interactions", *columns)}
    assert sorted(found) == sorted(ids)
    for i, (served, question) in enumerate(zip(ids, QUESTIONS, strict=True)):
        prompt, response, conversation, model, sampling, tokens_out = found[served]
        assert ([m["content"] for m in prompt], [m["content"] for m in response]) == ([question], [question[::-1]])
        assert (conversation, model, tokens_out) == (f"c-{i}", "m-01", 10**9 + i)
        assert json.loads(sampling) == {"temperature": 0.25}
    keys = dict(workspace.rows("interactions", "source_id", "interaction_id"))
    votes = dict(workspace.rows("feedback", "interaction_id", "value"))
    assert votes == {keys[served]: (1.0 if i % 2 else -1.0) for i, served in enumerate(ids)}


def test_the_sdk_comes_again_when_it_is_told_to(workspace: Workspace) -> None:
    """The disk is not there for a while: 503 with Retry-After; the exporter waits and sends the same again."""
    folder = workspace.logs
    with serving(folder) as (process, port), providers(port) as (traces, _):
        folder.rmdir()
        folder.write_text("in the way")
        with traces.get_tracer("app").start_as_current_span("chat m") as span:
            pass
        sending = threading.Thread(target=traces.force_flush)
        sending.start()
        assert process.stderr is not None
        assert "Could not write" in process.stderr.readline()  # so the first answer is 503
        folder.unlink()
        sending.join(60)
        (line,) = lines(folder)
    assert line["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["spanId"] == span_id(span)
