"""An HTTP endpoint for what applications send: OpenTelemetry's traces and logs, and feedback events.

    python -m ingest collect [--host 127.0.0.1] [--port 4318] [--folder data/raw] [--token-file FILE]

POST /v1/traces and /v1/logs take OTLP/HTTP, protobuf or JSON; POST /v1/feedback takes one event of docs/formats.md
(winnow) or a list; GET /healthz and /metrics say how it does. Writes lines that `python -m ingest run` reads; answers
2xx only when they are on the disk. Without a token it listens on this machine alone. docs/logging.md is the guide.
"""

import asyncio
import hmac
import ipaddress
import logging
import os
import re
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ingest import otlp_requests, request_bodies
from ingest.errors import RecordError, SettingsError
from ingest.group_commit import Budget, GroupCommit, Holding
from ingest.log_files import LogFiles
from ingest.logger import LOG_VERSION, new_id
from ingest.otlp_requests import BadRequestError, Signal
from ingest.readers.winnow import Winnow
from ingest.request_bodies import BodyLimits, RefusedError

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
TOKEN_CHARACTERS: Final = 16
"""A shorter token is refused: it could be guessed."""
WARN_SECONDS: Final = 60.0
"""The least time between two warnings of a disk that takes nothing."""
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::[0-9]*)?", re.ASCII)
_INLINE_BYTES: Final = 64 * 1024
"""A larger body is decoded beside the event loop."""
_LOG: Final = logging.getLogger("winnow.collector")


@dataclass(frozen=True, kw_only=True)
class CollectorSettings:
    """What a collector is started with."""

    folder: Path
    token: str | None = None
    body: BodyLimits = field(default_factory=BodyLimits)
    most_bytes: int = 128 * 1024 * 1024
    """Bytes of requests in memory; beyond them the answer is 429."""
    most_requests: int = 1024
    """Requests at once; beyond them the answer is 429."""
    rotate_bytes: int = 128 * 1024 * 1024
    rotate_seconds: float = 3600.0


class Collector:
    """The service: routes, counters and the one writer."""

    def __init__(self, settings: CollectorSettings) -> None:
        self.settings = settings
        self.files = LogFiles(
            settings.folder, "collected", rotate_bytes=settings.rotate_bytes, rotate_seconds=settings.rotate_seconds
        )
        self.commit = GroupCommit(self.files)
        self._warn_at = 0.0
        self.budget = Budget(settings.most_bytes, settings.most_requests)
        self.answers: Counter[tuple[str, int]] = Counter()
        """(path, status) -> requests."""
        self.accepted: Counter[str] = Counter()
        """Kind -> records on the disk."""
        self.rejected: Counter[str] = Counter()
        """Kind -> records of requests that were otherwise accepted."""

    def application(self) -> Starlette:
        """Return the ASGI application."""
        routes = [
            self._post("/v1/traces", partial(self._otlp, otlp_requests.TRACES)),
            self._post("/v1/logs", partial(self._otlp, otlp_requests.LOGS)),
            self._post("/v1/feedback", self._feedback),
            Route("/healthz", self._healthz, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
        ]
        return Starlette(routes=routes, lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        writing = asyncio.create_task(self.commit.run())
        yield
        self.commit.close()
        await writing

    def _post(self, path: str, take: Callable[[Request, Holding], Awaitable[Response]]) -> Route:
        """Return a route that admits requests, holds what they need, and answers refusals."""

        async def endpoint(request: Request) -> Response:
            holding = self.budget.enter()
            try:
                self._admit(request)
                if holding is None:
                    raise RefusedError(429, request_bodies.BUSY)
                response = await take(request, holding)
            except RefusedError as refused:
                response = _refused(request, refused)
            finally:
                if holding is not None:
                    holding.leave()
            self.answers[path, response.status_code] += 1
            return response

        return Route(path, endpoint, methods=["POST"])

    def _admit(self, request: Request) -> None:
        """Refuse whoever has no token; without one, web pages that reach this machine under a name of their own."""
        if self.settings.token is not None:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            # Of bytes: compare_digest takes no text beyond ASCII.
            same = hmac.compare_digest(given.strip().encode(), self.settings.token.encode())
            if scheme.lower() != "bearer" or not same:
                raise RefusedError(401, "Authorization: expected the collector's bearer token.")
        elif not _names_this_machine(request):
            raise RefusedError(403, "Host: expected this machine's own name; start the collector with --token-file.")

    async def _otlp(self, signal_: Signal, request: Request, holding: Holding) -> Response:
        kind = _content_type(request, PROTOBUF, JSON)
        body = await request_bodies.read(request, holding, self.settings.body)
        decode = otlp_requests.from_protobuf if kind == PROTOBUF else otlp_requests.from_json
        try:
            if len(body) > _INLINE_BYTES:
                batch = await asyncio.to_thread(decode, signal_, body)
            else:
                batch = decode(signal_, body)
        except BadRequestError as error:
            raise RefusedError(400, str(error)) from error
        await self._write(holding, batch.lines)
        self.accepted[signal_.name] += batch.accepted
        self.rejected[signal_.name] += batch.rejected
        return Response(otlp_requests.answer(signal_, batch, json=kind == JSON), media_type=kind)

    async def _feedback(self, request: Request, holding: Holding) -> Response:
        _content_type(request, JSON)
        body = await request_bodies.read(request, holding, self.settings.body)
        try:
            sent = msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RefusedError(400, "The body is not JSON in UTF-8.") from error
        events = sent if isinstance(sent, list) else [sent]
        records = [_event(event, f"event {i}: " if isinstance(sent, list) else "") for i, event in enumerate(events)]
        await self._write(holding, [msgspec.json.encode(record) + b"\n" for record in records])
        self.accepted["feedback"] += len(records)
        return JSONResponse({"accepted": len(records), "ids": [record["id"] for record in records]})

    async def _write(self, holding: Holding, lines: list[bytes]) -> None:
        """Return when the lines are on the disk. Raises RefusedError."""
        if not lines:
            return
        if not holding.take(sum(map(len, lines))):
            raise RefusedError(429, request_bodies.BUSY)
        try:
            await self.commit.append(lines)
        except OSError as error:
            if (now := time.monotonic()) >= self._warn_at:  # not once a request: the log would fill the disk too
                self._warn_at = now + WARN_SECONDS
                _LOG.warning("Could not write to %s: %s", self.settings.folder, error)
            raise RefusedError(503, "The collector cannot write now; come again.") from error

    async def _healthz(self, _: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _metrics(self, request: Request) -> Response:
        try:
            self._admit(request)
        except RefusedError as refused:
            return _refused(request, refused)
        lines = [f'winnow_requests_total{{path="{p}",code="{c}"}} {n}' for (p, c), n in sorted(self.answers.items())]
        lines += [f'winnow_records_total{{kind="{kind}"}} {n}' for kind, n in sorted(self.accepted.items())]
        lines += [f'winnow_rejected_records_total{{kind="{kind}"}} {n}' for kind, n in sorted(self.rejected.items())]
        lines += [f"winnow_commits_total {self.commit.commits}", f"winnow_files_total {self.files.opened}"]
        lines += [f"winnow_held_bytes {self.budget.bytes}", f"winnow_held_requests {self.budget.requests}"]
        types = dict.fromkeys(line.split("{")[0].split(" ")[0] for line in lines)
        kinds = [f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}" for name in types]
        return PlainTextResponse("\n".join([*kinds, *lines]) + "\n", media_type="text/plain; version=0.0.4")

    def summary(self) -> dict[str, object]:
        """Return what the service did."""
        answers: Counter[int] = Counter()
        for (_, status), number in self.answers.items():
            answers[status] += number
        return {
            "accepted": dict(self.accepted),
            "rejected": {kind: number for kind, number in self.rejected.items() if number},
            "answers": {str(status): number for status, number in sorted(answers.items())},
            "commits": self.commit.commits,
            "files": self.files.opened,
        }


def _content_type(request: Request, *known: str) -> str:
    """Return the body's type. A web page cannot send these to another origin without asking first."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in known:
        raise RefusedError(415, f"Content-Type: expected {' or '.join(known)}.")
    return kind


def _refused(request: Request, refused: RefusedError) -> Response:
    if request.headers.get("content-type", "").startswith(PROTOBUF):
        body, kind = otlp_requests.refusal(refused.message, json=False), PROTOBUF
    else:
        body, kind = otlp_requests.refusal(refused.message, json=True), JSON
    return Response(body, refused.status, refused.headers(), media_type=kind)


def _event(sent: object, where: str) -> dict[str, object]:
    """Return one feedback event as Winnow's log has it. Raises RefusedError for one that ingest would not read."""
    if not isinstance(sent, Mapping):
        raise RefusedError(400, f"{where}expected an object.")
    stated = {"winnow": LOG_VERSION, "kind": "feedback", "id": new_id("fb"), "time": datetime.now(UTC).isoformat()}
    record = {**stated, **sent}
    try:
        if record["kind"] != "feedback":
            raise RecordError("bad_value", "kind: expected feedback")
        Winnow().read(record)
    except RecordError as error:
        raise RefusedError(400, f"{where}{error.detail}.") from error
    return record


def _names_this_machine(request: Request) -> bool:
    """Return whether the Host header does; request.url would put the server's own address in place of an odd one."""
    named = _HOST.fullmatch(request.headers.get("host", ""))
    return named is not None and is_loopback(named[1].strip("[]"))


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(file: Path) -> str:
    """Return the token that a file holds. Raises SettingsError."""
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The token file {file} cannot be read: {error}.") from error
    if len(token) < TOKEN_CHARACTERS or not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(f"The token in {file} is no single word of at least {TOKEN_CHARACTERS} ASCII characters.")
    return token


def serve(collector: Collector, host: str, port: int) -> dict[str, object]:
    """Collect until SIGTERM or SIGINT, finish what was begun, and return the summary. Raises SettingsError."""
    settings = collector.settings
    if settings.token is None and not is_loopback(host):
        raise SettingsError(f"Without --token-file the collector listens on this machine only, not on {host}.")
    try:
        settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        what = f"cannot write to {settings.folder} or listen on {host}:{port}"
        raise SettingsError(f"The collector {what}: {error}.") from error
    if not os.access(settings.folder, os.W_OK | os.X_OK):
        raise SettingsError(f"The collector may not write to {settings.folder}.")
    config = uvicorn.Config(
        collector.application(),
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=30,
    )
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again when it has ended
        signal.signal(number, lambda *_: None)
    address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
    print(f"collecting on {address} into {settings.folder}", file=sys.stderr, flush=True)  # noqa: T201
    uvicorn.Server(config).run(sockets=[listening])
    return collector.summary()
