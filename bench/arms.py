"""Runs a command and says what it cost: wall seconds, CPU seconds of it and its children, peak memory."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """What one run took."""

    wall_s: float
    cpu_s: float
    """User and system time."""
    peak_mib: float
    """Largest resident set of the process."""


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run `command` to its end. Raises RuntimeError when it fails."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    wall = time.perf_counter() - started
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def in_turn(arms: Mapping[str, Callable[[], Cost]], repeats: int) -> dict[str, Cost]:
    """Run the arms alternately, so that a noisy minute meets them all; return the medians."""
    costs: dict[str, list[Cost]] = {name: [] for name in arms}
    for _ in range(repeats):
        for name, arm in arms.items():
            costs[name].append(arm())
    return {
        name: Cost(*(statistics.median(getattr(c, part) for c in found) for part in ("wall_s", "cpu_s", "peak_mib")))
        for name, found in costs.items()
    }
