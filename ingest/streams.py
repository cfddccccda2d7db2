"""Stored log files as blocks of plain bytes: as they are, gzip or Zstandard, recognised by their first bytes.

Reads one file at a time and never holds more than a block. A damaged or cut archive gives everything that can be
decoded; then `Stream.damage` says what is wrong with the rest.
"""

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

import zstandard

BLOCK_BYTES: Final = 2 << 20
ARCHIVE_BLOCK_BYTES: Final = 1 << 13
"""Small, because a hostile archive unpacks to thousands of times its size."""

PARQUET_MAGIC: Final = b"PAR1"


class _Decompressor(Protocol):
    """One frame's decoder, as zlib and zstandard both have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


_ARCHIVES: Final[tuple[tuple[bytes, Callable[[], _Decompressor]], ...]] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),
    (b"\x28\xb5\x2f\xfd", lambda: zstandard.ZstdDecompressor().decompressobj()),
)

_ERRORS: Final = (zlib.error, zstandard.ZstdError)


class Stream:
    """The plain bytes of the file at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: str | None = None
        """What is wrong with the archive from the end of the last block on; None while all is well."""
        self.stored_read = 0
        """Bytes of the stored file that the current pass has used up."""
        with path.open("rb") as file:
            self.magic = file.read(4)
        self._frame = next((make for magic, make in _ARCHIVES if self.magic.startswith(magic)), None)

    @property
    def is_archive(self) -> bool:
        """Return whether the file is compressed; such a file cannot grow."""
        return self._frame is not None

    def blocks(self, start: int = 0) -> Iterator[bytes]:
        """Yield the plain bytes from offset `start` to the end, in blocks of at least one byte."""
        self.damage = None
        if self._frame is None:
            yield from self._plain(start)
            return
        skip = start
        for block in _gathered(self._unpacked(self._frame)):
            if skip >= len(block):
                skip -= len(block)
            else:
                yield block[skip:]
                skip = 0

    def read(self, start: int, size: int) -> bytes:
        """Return the `size` plain bytes from offset `start`, fewer where the file ends before."""
        if self._frame is None:
            with self.path.open("rb") as file:
                file.seek(start)
                return file.read(size)
        parts: list[bytes] = []
        missing = size
        for block in self.blocks(start):
            parts.append(block[:missing])
            missing -= len(parts[-1])
            if missing == 0:
                break
        return b"".join(parts)

    def _plain(self, start: int) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            self.stored_read = file.seek(start)
            while block := file.read(BLOCK_BYTES):
                self.stored_read += len(block)
                yield block

    def _unpacked(self, make: Callable[[], _Decompressor]) -> Iterator[bytes]:
        frame, frame_start = make(), 0
        self.stored_read = 0
        with self.path.open("rb") as file:
            while data := file.read(ARCHIVE_BLOCK_BYTES):
                self.stored_read += len(data)
                while data:
                    if frame.eof:
                        data = data.lstrip(b"\0")  # zeros after a frame are padding
                        if not data:
                            break
                        frame, frame_start = make(), self.stored_read - len(data)
                    try:
                        block = frame.decompress(data)
                    except _ERRORS as error:
                        self.damage = f"It cannot be decompressed: {type(error).__name__}."
                        yield from self._rest(make(), frame_start, self.stored_read - len(data))
                        return
                    data = frame.unused_data if frame.eof else b""
                    if block:
                        yield block
        if not frame.eof:
            self.damage = "It ends in the middle of a compressed frame."

    def _rest(self, frame: _Decompressor, frame_start: int, good_end: int) -> Iterator[bytes]:
        """Yield what can still be decoded after `good_end`: bytewise, for an error gives back no part of a block."""
        with self.path.open("rb") as file:
            file.seek(frame_start)
            try:
                while file.tell() < good_end:
                    frame.decompress(file.read(min(ARCHIVE_BLOCK_BYTES, good_end - file.tell())))
                while byte := file.read(1):
                    if block := frame.decompress(byte):
                        yield block
            except _ERRORS:
                return


def _gathered(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in blocks of at least `BLOCK_BYTES` / 4, but for the last: many lines are read at once."""
    parts: list[bytes] = []
    size = 0
    for block in blocks:
        parts.append(block)
        size += len(block)
        if size >= BLOCK_BYTES // 4:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)
