"""Bodies of HTTP requests, read within bounds: of size, of what gzip unpacks to, of time, of what the service holds."""

import asyncio
import zlib
from dataclasses import dataclass
from typing import Final

from starlette.requests import ClientDisconnect, Request

from ingest.group_commit import Holding

RETRY_AFTER: Final = "1"
"""Seconds, of answers that ask to come again."""


class RefusedError(Exception):
    """The request gets this answer instead of the one it wants."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    def headers(self) -> dict[str, str]:
        """Return the headers that belong to the status."""
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        return {"Retry-After": RETRY_AFTER} if self.status in (429, 503) else {}


BUSY: Final = "Too much is being written already; come again."


@dataclass(frozen=True)
class BodyLimits:
    """What one body may be."""

    most_bytes: int = 16 * 1024 * 1024
    """As sent, and unpacked."""
    seconds: float = 30.0
    """To arrive in."""


async def read(request: Request, holding: Holding, limits: BodyLimits) -> bytes:
    """Return the body, unpacked; what it needs is held in `holding`. Raises RefusedError."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise RefusedError(415, "Content-Encoding: expected gzip or identity.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.most_bytes:
        raise _too_large(limits)
    unpack = _Unpacking(limits) if encoding == "gzip" else None
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limits.most_bytes:
                    raise _too_large(limits)
                parts.append(unpack.add(chunk) if unpack else chunk)
                if not holding.take(len(parts[-1])):
                    raise RefusedError(429, BUSY)
    except TimeoutError as error:
        raise RefusedError(408, f"The body did not arrive within {limits.seconds:g} s.") from error
    except ClientDisconnect as error:
        raise RefusedError(400, "The body ended early.") from error
    if unpack:
        unpack.end()
    return b"".join(parts)


def _too_large(limits: BodyLimits) -> RefusedError:
    return RefusedError(413, f"The body is larger than {limits.most_bytes} bytes. Send smaller batches.")


class _Unpacking:
    """One gzip member, never unpacked beyond the limit."""

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits
        self._inflate = zlib.decompressobj(wbits=31)
        self._size = 0

    def add(self, chunk: bytes) -> bytes:
        """Return what a chunk unpacks to."""
        try:
            plain = self._inflate.decompress(chunk, self._limits.most_bytes - self._size + 1)
        except zlib.error as error:
            raise RefusedError(400, "The body is no gzip, as its Content-Encoding says.") from error
        self._size += len(plain)
        if self._size > self._limits.most_bytes:
            raise _too_large(self._limits)
        return plain

    def end(self) -> None:
        """Refuse what is not one whole member."""
        if not self._inflate.eof or self._inflate.unused_data:
            raise RefusedError(400, "The gzip body is cut off, or something follows it.")
