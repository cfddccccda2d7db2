"""The thread that writes a deployment's log, so that the serving path never waits for a disk.

`put` takes an encoded line into a bounded queue and returns. One thread per process writes what has gathered, syncs it
by policy, and rotates. What is lost (queue full, disk full, an event that cannot be encoded) is counted by reason,
reported by one warning a period, and written into the log itself as soon as writing works again.
Standard library only, as everything a serving process imports.
"""

import atexit
import os
import sys
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ingest.log_files import LogFiles, WriteStoppedError
from ingest.log_losses import Losses

Fsync = Literal["each", "interval", "never"]
_UNSYNCED: Final = "could not sync its file, of which the last lines may be lost with the power"


@dataclass(frozen=True, kw_only=True)
class WriterSettings:
    """How a process writes its log."""

    fsync: Fsync = "interval"
    """"each": every batch as it is written; "interval": every `fsync_seconds`; "never": left to the system."""
    fsync_seconds: float = 1.0
    linger_seconds: float = 0.02
    """How long the thread lets lines gather before it writes them: what a killed process may lose."""
    rotate_bytes: int = 128 * 1024 * 1024
    rotate_seconds: float = 3600.0
    max_events: int = 10_000
    """Lines in memory; further ones are lost as `queue_full`."""
    max_bytes: int = 64 * 1024 * 1024
    """Bytes in memory; further ones are lost as `queue_full`."""
    retry_seconds: float = 1.0
    """How long after a failed write the next one is tried."""
    warn_seconds: float = 60.0
    """The least time between two warnings."""


@dataclass(frozen=True)
class Counters:
    """What became of the events of this process so far: accepted = written + lost after that + queued."""

    logged: int
    """Events that were handed in."""
    written: int
    """Lines in the files."""
    queued: int
    """Lines in memory."""
    lost: dict[str, int]
    """Reason -> events: queue_full, unserialisable, write_failed, closed, internal_error, not_logged."""
    files: int
    """Files begun."""


class LineWriter:
    """A queue, its thread and its files."""

    def __init__(self, folder: Path, prefix: str, settings: WriterSettings) -> None:
        self.settings = settings
        self._files = LogFiles(
            folder,
            prefix,
            rotate_bytes=settings.rotate_bytes,
            rotate_seconds=settings.rotate_seconds,
            durable=settings.fsync != "never",
        )
        self._begin()
        _WRITERS.add(self)

    def _begin(self) -> None:
        """Set everything that belongs to this process alone."""
        # Reentrant: a signal handler, or the collector of garbage that closes a stream, may log within `put`.
        self._lock = threading.RLock()
        self._answer = threading.Condition(self._lock)
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._waiting: list[bytes] = []
        self._held_bytes = 0
        self._held = 0
        self._logged = self._written = 0
        self._losses = Losses(self._files.folder, self.settings.warn_seconds)
        self._asked = self._answered = 0
        self._closing = False
        self._dirty_since: float | None = None
        self._retry_at = 0.0

    def in_child(self) -> None:
        """Begin anew in a forked child: queue and file are the parent's to write."""
        self._files.abandon()
        self._files.opened = 0
        self._begin()

    def put(self, line: bytes) -> None:
        """Take one line, ending in a newline, or count it as lost. Never waits for the disk."""
        limits, first = self.settings, False
        with self._lock:
            self._logged += 1
            if self._closing:
                self._losses.count("closed", 1)
                first = self._losses.total["closed"] == 1
            elif self._held >= limits.max_events or self._held_bytes + len(line) > limits.max_bytes:
                self._losses.count("queue_full", 1)
            else:
                self._waiting.append(line)
                self._held += 1
                self._held_bytes += len(line)
        self._rouse()
        if first:
            self._losses.report("was closed: the events that come now are lost")

    def lose(self, reason: str) -> None:
        """Count an event that never became a line."""
        with self._lock:
            self._logged += 1
            self._losses.count(reason, 1)
        self._rouse()

    def flush(self, timeout: float) -> bool:
        """Return whether everything that was put before is in the files, and synced unless the policy is "never"."""
        deadline = time.monotonic() + timeout
        with self._lock:
            if self._closing:
                return not self._held
            self._asked += 1
            mine, before = self._asked, self._written + self._held
            lost = self._losses.total["write_failed"]
        self._hurry.set()
        self._rouse()
        with self._lock:
            self._answer.wait_for(lambda: self._answered >= mine, max(0.0, deadline - time.monotonic()))
            return self._answered >= mine and self._written >= before and self._losses.total["write_failed"] == lost

    def close(self, timeout: float) -> bool:
        """Write what is queued, end the file and the thread; return whether all of it is in the files."""
        with self._lock:
            self._closing = True
        if self._thread is None and not self._held:
            return True
        self._hurry.set()
        self._wake.set()
        thread = self._thread
        if thread is not None and thread.is_alive():
            thread.join(timeout)
        else:  # the interpreter refused it, or it was killed
            self._step()
        return not self._held and not self._losses.total["write_failed"] and (thread is None or not thread.is_alive())

    def counters(self) -> Counters:
        """Return what became of the events of this process."""
        with self._lock:
            return Counters(self._logged, self._written, self._held, dict(self._losses.total), self._files.opened)

    def _rouse(self) -> None:
        """Wake the thread; start it where this process has none, or where it died."""
        if not self._closing and (self._thread is None or not self._thread.is_alive()):
            self._start()
        if not self._wake.is_set():
            self._wake.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            if self._thread is None:
                _close_at_exit(self)  # before the thread: nothing may start threads once the interpreter ends
            thread = threading.Thread(target=self._run, name="winnow-log", daemon=True)
            with suppress(RuntimeError):  # no thread is to be had now: the next event tries again, `close` at last
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while True:
            self._wake.wait(self._sleep_seconds())
            if not self._closing:
                self._hurry.wait(self.settings.linger_seconds)
            self._wake.clear()
            self._hurry.clear()
            closing = self._closing  # asked before the last step, which must see it
            try:
                self._step()
            except Exception as error:  # a bug here must not end the log: its lines wait, and it is reported
                self._losses.trouble = f"{type(error).__name__}: {error}"
                self._retry_at = time.monotonic() + self.settings.retry_seconds
                if self._losses.may_report():
                    self._losses.report(f"met an error of its own, {self._losses.trouble}")
            if closing:
                return

    def _sleep_seconds(self) -> float | None:
        """Return how long nothing is due; None: until an event comes."""
        if self._closing:
            return 0.0
        now = time.monotonic()
        due = []
        if self._waiting or self._losses.unwritten():
            due.append(self._retry_at - now)
        if (warning := self._losses.warning_due()) is not None:
            due.append(warning - now)
        if self._dirty_since is not None and self.settings.fsync == "interval":
            due.append(self._dirty_since + self.settings.fsync_seconds - now)
        if (left := self._files.seconds_left()) is not None:
            due.append(left)
        return max(0.0, min(due)) if due else None

    def _step(self) -> None:
        """Write what waits, sync and rotate where that is due, and answer whoever waits for it."""
        with self._lock:
            asked, closing = self._asked, self._closing
            flushing = closing or asked > self._answered
        if flushing or time.monotonic() >= self._retry_at:
            self._write()
        self._sync(flushing)
        if self._files.seconds_left() == 0.0 or closing:
            self._end_file()
        with self._lock:
            if closing and self._waiting:
                self._losses.count("write_failed", len(self._waiting))
                self._release(self._waiting)
                self._waiting = []
            self._answered = asked
            self._answer.notify_all()
            warning = self._losses.warning(now=closing)
        if warning is not None:
            self._losses.report(warning)

    def _write(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
            loss = self._losses.unwritten()
            lines = [*batch, self._losses.line(loss)] if loss else batch
        done, error = len(lines), None
        try:
            if lines:
                self._files.write(lines)
        except WriteStoppedError as stopped:
            done, error = stopped.done, stopped.error
        except BaseException:
            done = 0  # some may be written; a line that is written twice is a duplicate, one that is not is lost
            raise
        finally:
            with self._lock:
                kept = batch[:done]
                self._release(kept)
                self._written += len(kept)
                self._waiting = batch[done:] + self._waiting
                if done > len(batch):
                    self._losses.wrote(loss)
                if kept and self._dirty_since is None:
                    self._dirty_since = time.monotonic()
        if error is not None:
            self._losses.trouble = f"{type(error).__name__}: {error}"
            self._retry_at = time.monotonic() + self.settings.retry_seconds

    def _release(self, lines: list[bytes]) -> None:
        self._held -= len(lines)
        self._held_bytes -= sum(map(len, lines))

    def _sync(self, flushing: bool) -> None:
        if self._dirty_since is None or self.settings.fsync == "never":
            self._dirty_since = None
            return
        waited = time.monotonic() - self._dirty_since
        if flushing or self.settings.fsync == "each" or waited >= self.settings.fsync_seconds:
            self._dirty_since = None
            try:
                self._files.sync()
            except OSError as error:
                self._losses.report(f"{_UNSYNCED}: {error}")

    def _end_file(self) -> None:
        try:
            self._files.close()
        except OSError as error:
            self._losses.report(f"{_UNSYNCED}: {error}")


_WRITERS: Final["weakref.WeakSet[LineWriter]"] = weakref.WeakSet()


def _begin_in_child() -> None:
    for writer in list(_WRITERS):
        writer.in_child()


os.register_at_fork(after_in_child=_begin_in_child)


def _close_at_exit(writer: LineWriter) -> None:
    """Close the log when this process ends, also where `multiprocessing` ends it without the usual hooks."""
    reference = weakref.ref(writer)

    def close() -> None:
        if (living := reference()) is not None:
            living.close(5.0)

    atexit.register(close)
    if "multiprocessing.util" in sys.modules:
        sys.modules["multiprocessing.util"].Finalize(None, close, exitpriority=0)
