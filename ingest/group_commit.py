"""Lines of many requests -> the disk, in groups: one write and one fsync for all that came while the last was at work.

`append` returns when its lines would survive a loss of power, or raises; memory is bounded by `Budget`.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from ingest.log_files import LogFiles


class Budget:
    """Bytes and requests that a service holds at once."""

    def __init__(self, most_bytes: int, most_requests: int) -> None:
        self.most_bytes = most_bytes
        self.most_requests = most_requests
        self.bytes = 0
        """Held now."""
        self.requests = 0
        """Held now."""

    def enter(self) -> "Holding | None":
        """Return a holding of nothing yet for one more request, or None when there are too many."""
        if self.requests >= self.most_requests:
            return None
        self.requests += 1
        return Holding(self)


class Holding:
    """What one request holds of a budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._bytes = 0

    def take(self, size: int) -> bool:
        """Hold so many bytes more, or return False when there is no room for them."""
        if self._budget.bytes + size > self._budget.most_bytes:
            return False
        self._budget.bytes += size
        self._bytes += size
        return True

    def leave(self) -> None:
        """Give back everything."""
        self._budget.bytes -= self._bytes
        self._budget.requests -= 1


class GroupCommit:
    """The one writer of a service's files."""

    def __init__(self, files: LogFiles, *, sync: bool = True, most_requests: int | None = None) -> None:
        """`sync` False and `most_requests` 1 are the baselines of bench/collector.py; a service leaves them alone."""
        self.commits = 0
        """Groups that are on the disk."""
        self._files = files
        self._sync = sync
        self._most = most_requests
        self._waiting: list[tuple[Sequence[bytes], asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._closing = False

    async def append(self, lines: Sequence[bytes]) -> None:
        """Write the lines, each ending in a newline. Raises OSError when they may not be on the disk."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((lines, done))
        self._wake.set()
        await done

    async def run(self) -> None:
        """Write group after group until `close`, and rotate files that no request writes to."""
        while self._waiting or not self._closing:
            with suppress(TimeoutError):
                async with asyncio.timeout(None if self._waiting else self._files.seconds_left()):
                    await self._wake.wait()
            self._wake.clear()
            group, self._waiting = self._waiting[: self._most], self._waiting[self._most or len(self._waiting) :]
            if self._waiting:
                self._wake.set()
            error = await asyncio.to_thread(self._write, [line for lines, _ in group for line in lines])
            for _, done in group:
                if not done.cancelled():
                    done.set_result(None) if error is None else done.set_exception(error)
        with suppress(OSError):  # everything in it is synced
            await asyncio.to_thread(self._files.close)

    def close(self) -> None:
        """End `run` as soon as everything that was appended is written."""
        self._closing = True
        self._wake.set()

    def _write(self, lines: list[bytes]) -> Exception | None:
        """Write one group; return why it is not on the disk."""
        try:
            if self._files.seconds_left() == 0.0:
                self._files.close()
            if lines:
                self._files.write(lines)
                if self._sync:
                    self._files.sync()
                self.commits += 1
        except Exception as error:  # not raised: it would end `run`, and every later request would wait for ever
            return error
        return None
