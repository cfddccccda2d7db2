"""When a run ends before everything is read: its time is up, or a signal asks it to end.

A run asks between two commits, so what is read is committed with its position, and the next run goes on behind it.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ingest.errors import StoppedError


class Stop:
    """Says whether one run is to end early: `max_seconds` after it was made, or at one of `signals`."""

    def __init__(self, max_seconds: float | None = None, signals: tuple[signal.Signals, ...] = ()) -> None:
        self._end = None if max_seconds is None else time.monotonic() + max_seconds
        self._signals = signals
        self._received: signal.Signals | None = None
        self.reason: str | None = None
        """Why work was left: "max_seconds" or the signal's name; None as long as none was."""

    def due(self, *, progressed: bool) -> bool:
        """Return whether to leave the work that is next; `reason` then says why.

        A signal ends a run at once. A run whose time is up first reads something: runs of any length, one after the
        other, come to the end of the log.
        """
        if self._received is not None:
            self.reason = self._received.name
        elif self._end is not None and progressed and time.monotonic() >= self._end:
            self.reason = "max_seconds"
        return self.reason is not None

    def check(self) -> None:
        """Raise StoppedError where a signal ended the run; that its time was up is no error."""
        if self._received is not None and self.reason is not None:
            raise StoppedError(self._received)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take note of the first signal instead of dying of it; a second one kills, which loses nothing either."""
        before = {number: signal.signal(number, self._note) for number in self._signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._received = signal.Signals(number)
        for each in self._signals:
            signal.signal(each, signal.SIG_DFL)
