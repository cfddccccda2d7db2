"""A workspace with hand-made logs in Winnow's own format, and ways to look into its lake."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa
import pytest

from ingest.lake import SCHEMAS, Lake
from ingest.run import Summary, run
from ingest.settings import Labels, Limits, Settings, Source

T = TypeVar("T")


def run_async(scenario: Coroutine[Any, Any, T]) -> T:
    """Return what the scenario returns; its loop has a thread of its own, since Playwright's runs in the tests'."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, scenario).result()


VOLATILE = ("run_id", "ingest_time", "day")
"""Columns that differ between two runs over the same log (`day` only where a record has no time)."""


class Workspace:
    """One source, "app", that reads logs/* of a temporary folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.logs = root / "logs"
        self.logs.mkdir()
        self.settings = Settings(
            root=root,
            lake=root / "lake",
            curated=root / "curated",
            pseudonym_key=root / "pseudonym.key",
            sources=(Source(name="app", path=str(self.logs / "*")),),
            labels=Labels(url=f"sqlite:///{root}/labels.db"),
        )
        (root / "pseudonym.key").write_text("ab" * 32)

    def limited(self, **limits: int) -> None:
        """Set limits."""
        self.settings = self.settings.model_copy(update={"limits": Limits(**limits)})

    @property
    def lake(self) -> Lake:
        """The workspace's lake."""
        return Lake(self.settings.lake)

    def run(self) -> Summary:
        """Ingest."""
        return run(self.settings)

    def run_until(self, monkeypatch: pytest.MonkeyPatch, *, commits: int) -> None:
        """Ingest, and stop right before the commit that follows so many."""
        append, done = Lake.append, [0]

        def stopping(lake: Lake, *args: Any) -> None:
            if done[0] == commits:
                raise KeyboardInterrupt
            append(lake, *args)
            done[0] += 1

        with monkeypatch.context() as patch:
            patch.setattr(Lake, "append", stopping)
            with pytest.raises(KeyboardInterrupt):
                self.run()

    def rows(self, table: str, *columns: str) -> list[Any]:
        """Return the rows of a table in the order of its key: values of one column, tuples of several."""
        arrow = self.arrow(table)
        lists = [arrow[name].to_pylist() for name in columns]
        return lists[0] if len(lists) == 1 else list(zip(*lists, strict=True))

    def arrow(self, table: str) -> pa.Table:
        """Return a table sorted by its key, with the contract's types."""
        with duckdb.connect() as connection:
            self.lake.view(connection, table)
            found = connection.sql(f'SELECT * FROM "{table}" ORDER BY 1').to_arrow_table()
        return found.cast(SCHEMAS[table])

    def stable(self) -> dict[str, Any]:
        """Return what must be the same in every lake made from the same logs, however often it was interrupted."""
        tables = {name: self.arrow(name).drop_columns(list(VOLATILE)) for name in ("interactions", "feedback")}
        quarantine = self.arrow("quarantine").drop_columns([*VOLATILE, "path"])
        return {name: table.to_pylist() for name, table in {**tables, "quarantine": quarantine}.items()}

    def versions(self) -> dict[str, int | None]:
        """Return each table's last commit."""
        return {table: self.lake.version(table) for table in SCHEMAS}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return Workspace(tmp_path)


def _interaction(number: int, prompt: str = "Question", answer: str = "Answer", **fields: Any) -> dict[str, Any]:
    return {
        "winnow": 1,
        "kind": "interaction",
        "id": f"int-{number}",
        "time": "2026-10-01T08:15:30.123456Z",
        "conversation_id": f"conv-{number}",
        "parent_id": None,
        "turn_index": 0,
        "user_id": "u-017",
        "status": 200,
        "request": {"model": "m", "messages": [{"role": "user", "content": prompt}]},
        "response": {
            "model": "m-1",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"},
            ],
        },
        "logprob_model": None,
    } | fields


def _thumb(number: int, target: int, value: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "winnow": 1,
        "kind": "feedback",
        "id": f"fb-{number}",
        "revision": 0,
        "time": "2026-10-01T08:16:30Z",
        "signal": "thumb",
        "target": {"id": f"int-{target}", "choice": 0},
        "others": [],
        "value": value,
        "scale": [-1, 1],
        "rater": {"kind": "user", "id": "u-017"},
        "retracted": False,
    } | fields


@pytest.fixture
def interaction() -> Callable[..., dict[str, Any]]:
    """Make one served response: (number, prompt, answer, other fields)."""
    return _interaction


@pytest.fixture
def thumb() -> Callable[..., dict[str, Any]]:
    """Make one thumb: (number, number of its target, value, other fields)."""
    return _thumb


@pytest.fixture
def log() -> Callable[..., bytes]:
    """Make the bytes of a log of records."""
    return lambda *records: b"".join(json.dumps(record).encode() + b"\n" for record in records)
