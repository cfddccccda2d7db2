"""A server that speaks as much of OpenAI's API as the `openai` client of the tests needs; it runs in this process.

What it answers follows from the request alone, so a test knows it without asking. Models: "refuses-logprobs",
"busy" (429), "slow" (no answer), "cuts" (a stream that breaks after its first chunk); every other one answers.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = ("Choose", " Reset", ", ok?")
"""The tokens of every answer; the n-th choice has the first n + 1 of them more at its end."""


def tokens(index: int) -> list[str]:
    return [*WORDS, *WORDS[: index + 1]]


def logprob(index: int, place: int) -> float:
    """Exact in binary, so that it is the same in JSON, Python and the lake's 32 bits."""
    return -(index + 1) / 4 - place / 64


def logprobs_of(index: int, places: range) -> dict[str, Any]:
    said = tokens(index)
    content: list[dict[str, Any]] = [
        {"token": said[i], "logprob": logprob(index, i), "bytes": None, "top_logprobs": []} for i in places
    ]
    return {"content": content, "refusal": None}


class Stub(ThreadingHTTPServer):
    """Keeps the bodies of all requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def stub() -> Iterator[Stub]:
    server = Stub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Stub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append(body)
        number = len(self.server.requests)
        if body["model"] == "slow":
            time.sleep(0.3)  # longer than its caller waits
        elif body["model"] == "busy":
            self._send(429, {"error": {"message": "busy"}})
        elif body["model"] == "refuses-logprobs" and "logprobs" in body:
            self._send(400, {"error": {"message": "logprobs are not supported", "param": "logprobs"}})
        elif self.path == "/v1/responses":
            self._respond(body, number)
        elif body.get("stream"):
            self._stream(_chunks(body, number), cut=body["model"] == "cuts")
        else:
            self._send(200, _completion(body, number))

    def _respond(self, body: dict[str, Any], number: int) -> None:
        whole = response(number, body["model"])
        if not body.get("stream"):
            self._send(200, whole)
            return
        begun = whole | {"status": "in_progress", "output": []}
        said = {"item_id": f"msg_{number}", "output_index": 0, "content_index": 0, "logprobs": []}
        deltas = [{"type": "response.output_text.delta", "delta": word, **said} for word in WORDS]
        events: list[dict[str, Any]] = [{"type": "response.created", "response": begun}, *deltas]
        events.append({"type": "response.completed", "response": whole})
        self._stream([event | {"sequence_number": i} for i, event in enumerate(events)], cut=False)

    def _send(self, status: int, body: dict[str, Any]) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def _stream(self, events: list[dict[str, Any]], *, cut: bool) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        if cut:
            self.send_header("content-length", "1000000")  # more than comes: the connection breaks
        self.end_headers()
        for event in events[:1] if cut else events:
            name = f"event: {event['type']}\n" if "type" in event else ""
            self.wfile.write(f"{name}data: {json.dumps(event)}\n\n".encode())
        if not cut:
            self.wfile.write(b"data: [DONE]\n\n")


def response(number: int, model: str) -> dict[str, Any]:
    """Return the answer of the responses API."""
    text = {"type": "output_text", "text": "".join(WORDS), "annotations": []}
    message = {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed", "content": [text]}
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1790842530,
        "status": "completed",
        "model": f"{model}-01",
        "output": [message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 7,
            "output_tokens": 3,
            "total_tokens": 10,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


def _head(body: dict[str, Any], number: int, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{number}", "object": kind, "created": 1790842530, "model": body["model"] + "-01"}


def _completion(body: dict[str, Any], number: int) -> dict[str, Any]:
    choices = [
        {
            "index": i,
            "message": {"role": "assistant", "content": "".join(tokens(i))},
            "finish_reason": "stop",
            "logprobs": logprobs_of(i, range(len(tokens(i)))) if body.get("logprobs") else None,
        }
        for i in range(body.get("n") or 1)
    ]
    usage = {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}
    return {**_head(body, number, "chat.completion"), "choices": choices, "usage": usage}


def _chunks(body: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """Return the chunks of all choices, woven: one token at a time, then why each ends."""
    head = _head(body, number, "chat.completion.chunk")
    pieces: list[dict[str, Any]] = []
    count = body.get("n") or 1
    for place in range(max(len(tokens(i)) for i in range(count))):
        for i in range(count):
            if place < len(tokens(i)):
                delta = {"content": tokens(i)[place]} | ({"role": "assistant"} if place == 0 else {})
                logged = logprobs_of(i, range(place, place + 1)) if body.get("logprobs") else None
                pieces.append({"index": i, "delta": delta, "finish_reason": None, "logprobs": logged})
    pieces += [{"index": i, "delta": {}, "finish_reason": "stop", "logprobs": None} for i in range(count)]
    return [{**head, "choices": [piece]} for piece in pieces]
