"""What a deployment's log lost: counted by reason, warned of once a period, and written into the log itself.

Standard library only, as everything a serving process imports.
"""

import json
import logging
import secrets
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_REPORTS: Final = logging.getLogger("winnow.logger")


class Losses:
    """The losses of one process. Its caller holds the lock, except for `report`, which may wait for a handler."""

    def __init__(self, folder: Path, warn_seconds: float) -> None:
        self.folder = folder
        self.warn_seconds = warn_seconds
        self.total: Counter[str] = Counter()
        self.trouble = ""
        """What the system last said against a write."""
        self._unwritten: Counter[str] = Counter()
        self._unwarned: Counter[str] = Counter()
        self._since = ""
        self._warn_at = 0.0

    def count(self, reason: str, number: int) -> None:
        """Count lost events."""
        self._since = self._since or datetime.now(UTC).isoformat()
        for counter in (self.total, self._unwritten, self._unwarned):
            counter[reason] += number

    def unwritten(self) -> Counter[str]:
        """Return the losses that the log does not say yet."""
        return self._unwritten.copy()

    def wrote(self, loss: Counter[str]) -> None:
        """Note that a line in the log says `loss`."""
        self._unwritten -= loss
        self._since = ""

    def line(self, loss: Counter[str]) -> bytes:
        """Return the line that says `loss`."""
        record = {
            "winnow": 1,
            "kind": "loss",
            "id": f"loss-{secrets.token_hex(16)}",
            "time": datetime.now(UTC).isoformat(),
            "since": self._since,
            "lost": dict(loss),
        }
        return json.dumps(record).encode() + b"\n"

    def warning_due(self) -> float | None:
        """Return when the next warning is due, of the monotonic clock; None where there is nothing to warn of."""
        return self._warn_at if self._unwarned else None

    def warning(self, *, now: bool) -> str | None:
        """Return the warning that is due, or with `now` any that is left."""
        if not self._unwarned or (time.monotonic() < self._warn_at and not now):
            return None
        lost, self._unwarned = self._unwarned, Counter()
        self._warn_at = time.monotonic() + self.warn_seconds
        counts = ", ".join(f"{reason} {number}" for reason, number in sorted(lost.items()))
        trouble = f"; the last trouble was {self.trouble}" if self.trouble else ""
        return f"lost {lost.total()} events ({counts}){trouble}"

    def may_report(self) -> bool:
        """Return whether the period since the last warning is over, and begin another if so."""
        now = time.monotonic()
        if now < self._warn_at:
            return False
        self._warn_at = now + self.warn_seconds
        return True

    def report(self, what: str) -> None:
        """Warn."""
        with suppress(Exception):  # a handler may be as broken as the disk
            _REPORTS.warning("The log in %s %s.", self.folder, what)
