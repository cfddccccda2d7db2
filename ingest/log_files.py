"""Log files that one process alone writes: lines of JSON, rotated by size and age, private to their owner.

Writes `<folder>/<prefix>-<UTC time>-<process id>-<random>.jsonl`. A file has one writer for its whole life, so no lock
is shared between processes and no line is woven into another. Standard library only: a serving process imports this.
"""

import errno
import os
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_AT_ONCE: Final = 1 << 20
"""Bytes that are joined for one write."""


class WriteStoppedError(OSError):
    """The file system took only the first `done` of the lines; `error` says why."""

    def __init__(self, done: int, error: OSError) -> None:
        super().__init__(error.errno, error.strerror)
        self.done = done
        self.error = error


class LogFiles:
    """The current file of one process, and when the next one begins. Not thread-safe: one thread writes."""

    def __init__(
        self, folder: Path, prefix: str, *, rotate_bytes: int, rotate_seconds: float, durable: bool = True
    ) -> None:
        self.folder = folder
        self.prefix = prefix
        self.rotate_bytes = rotate_bytes
        self.rotate_seconds = rotate_seconds
        self.durable = durable
        """Whether a file is synced before it is left for the next one."""
        self.opened = 0
        """Files begun so far."""
        self._path = Path()
        self._fd = -1
        self._size = 0
        self._born = 0.0

    def write(self, lines: Sequence[bytes]) -> None:
        """Append `lines`, each ending in a newline.

        Raises WriteStoppedError with the number of lines that are in the files when the system refuses to go on. What a
        full disk cut in two is taken back, so a line is whole or absent; the next call begins another file.
        """
        done = 0
        while done < len(lines):
            count, before = 0, self._size
            try:
                if self._is_over(len(lines[done])):
                    self.close()
                if self._fd < 0:
                    self._open()
                count, before = self._fitting(lines, done), self._size
                self._append(b"".join(lines[done : done + count]))
            except OSError as error:
                kept = self._take_back(lines[done : done + count], self._size - before)
                raise WriteStoppedError(done + kept, error) from error
            done += count

    def sync(self) -> None:
        """Wait until what was written is on the disk. Raises OSError: then it may not be, and another file begins."""
        if self._fd >= 0:
            try:
                os.fdatasync(self._fd)
            except OSError:
                self._drop()
                raise

    def close(self) -> None:
        """End the current file; the next line begins another. Raises OSError where it cannot be synced."""
        if self.durable:
            self.sync()
        self._drop()

    def abandon(self) -> None:
        """Let go of a file that belongs to the parent process, in a child that was forked."""
        with suppress(OSError):
            self._drop()

    def seconds_left(self) -> float | None:
        """Return the seconds until the current file is too old, None where there is none."""
        return None if self._fd < 0 else max(0.0, self._born + self.rotate_seconds - time.monotonic())

    def _is_over(self, size: int) -> bool:
        too_big = self._size > 0 and self._size + size > self.rotate_bytes
        return self._fd >= 0 and (too_big or self.seconds_left() == 0.0)

    def _fitting(self, lines: Sequence[bytes], start: int) -> int:
        """Return how many lines from `start` on go into the current file at once; at least one."""
        most = min(self.rotate_bytes, self._size + _AT_ONCE)
        count, size = 1, self._size + len(lines[start])
        while start + count < len(lines) and (size := size + len(lines[start + count])) <= most:
            count += 1
        return count

    def _open(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self._path = self.folder / f"{self.prefix}-{stamp}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        # Exclusive: containers that share a folder share process ids too.
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size, self._born = 0, time.monotonic()
        self.opened += 1
        if self.durable:
            self._sync_folder()

    def _sync_folder(self) -> None:
        """Make the new file's name durable: synced bytes without a name would be lost with the power."""
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno != errno.EINVAL:  # some network file systems sync no folders
                raise
        finally:
            os.close(fd)

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self._size += written
            view = view[written:]

    def _take_back(self, lines: Sequence[bytes], written: int) -> int:
        """After an error: cut the file behind its last whole line, leave it, and return how many of `lines` it has.

        A line that lacks nothing but its newline is whole: a reader may have read it already.
        """
        count, whole = 0, 0
        while count < len(lines) and whole + len(lines[count]) - 1 <= written:
            whole += len(lines[count])
            count += 1
        with suppress(OSError):  # what cannot be cut stays torn, and goes to quarantine as that
            if written > whole:
                os.truncate(self._fd, self._size - (written - whole))
            if self._fd >= 0 and os.fstat(self._fd).st_size == 0:
                self._path.unlink()
        with suppress(OSError):
            self.close()
        with suppress(OSError):
            self._drop()
        return count

    def _drop(self) -> None:
        fd, self._fd, self._size = self._fd, -1, 0
        if fd >= 0:
            os.close(fd)
