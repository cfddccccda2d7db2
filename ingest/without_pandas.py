"""Keeps pandas out of a process that has no use for it.

pyarrow finds out whether pandas is there by importing it, at the first array that is made of a list. That costs 0.3 CPU
seconds, more than all else that a small run does; nothing in ingest is a data frame of pandas.
"""

import sys
from collections.abc import Sequence
from types import ModuleType


class _NotThere:
    """A finder of modules, to which pandas is not installed."""

    @staticmethod
    def find_spec(name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("ingest runs without pandas", name=name)


def keep_out() -> None:
    """Let this process, a command line, find no pandas; a library or a server must not call it."""
    sys.meta_path.insert(0, _NotThere)
