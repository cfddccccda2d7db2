"""What has changed in the lake since it was last paired: which files were added, and whether rows have gone.

Reads the transaction logs of `interactions` and `feedback`. The versions up to which they are paired are cursors of
`outcomes`, the last table that pairing commits: a run that is killed before is done again by the next one.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ingest.lake import Lake

READ: Final = ("interactions", "feedback")
WRITTEN: Final = ("triples", "unpaired")
POLICY: Final = "policy"
"""Cursor that is no version: a hash of the rules and of the settings they were run with."""

_KEEP_ROWS: Final = ("CREATE TABLE", "OPTIMIZE", "VACUUM START", "VACUUM END")
"""Operations on a table that neither add rows nor remove any."""


@dataclass(frozen=True)
class Changes:
    """How the lake differs from what was paired last."""

    cursors: Mapping[str, int]
    """Where the lake stands now: table -> its version + 1, 0 where it is not there; and the hash of the policy."""
    added: Mapping[str, list[str]] | None
    """Table -> files added since; None where everything must be paired again, because rows, settings or rules changed
    in another way than by being added."""

    @property
    def nothing(self) -> bool:
        """Whether what was paired last is still right."""
        return self.added is not None and not any(self.added.values())


def since_last_pairing(lake: Lake, policy: int) -> Changes:
    """Compare the lake with the last pairing."""
    now = {**versions(lake), POLICY: policy}
    if not any(now[table] for table in ("feedback", *WRITTEN)):  # nobody ever said anything
        return Changes(now, {table: [] for table in READ})
    before = lake.cursors("outcomes", list(now))
    if any(before[name] != now[name] for name in (*WRITTEN, POLICY)):
        return Changes(now, None)
    added: dict[str, list[str]] = {}
    for table in READ:
        files = [] if before[table] == now[table] else _added(lake, table, before[table] - 1)
        if files is None:
            return Changes(now, None)
        added[table] = files
    return Changes(now, added)


def versions(lake: Lake) -> dict[str, int]:
    """Return the versions of the tables that pairing reads and writes, as cursors."""
    found = {table: lake.version(table) for table in (*READ, *WRITTEN)}
    return {table: 0 if version is None else version + 1 for table, version in found.items()}


def _added(lake: Lake, table: str, since: int) -> list[str] | None:
    """Return the files that the commits after version `since` added; None where one of them may have removed rows."""
    files, version = lake.files(table), lake.version(table)
    if since < 0:
        return files
    if version is None or version < since:
        return None
    names: set[str] = set()
    for number in range(since + 1, version + 1):
        path = lake.path / table / "_delta_log" / f"{number:020d}.json"
        if not path.is_file():  # cleaned up with an old checkpoint
            return None
        actions = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not all(_keeps_rows(action["commitInfo"]) for action in actions if "commitInfo" in action):
            return None
        names.update(_added_names(actions))
    return [file for file in files if file.rsplit("/", 1)[-1] in names]


def _added_names(actions: list[dict[str, Any]]) -> Iterator[str]:
    return (action["add"]["path"] for action in actions if "add" in action and action["add"]["dataChange"])


def _keeps_rows(commit: Mapping[str, Any]) -> bool:
    """Return whether every row from before the commit is there after it, changed or not."""
    operation = commit["operation"]
    if operation == "WRITE":
        return bool(commit["operationParameters"]["mode"] == "Append")
    if operation == "MERGE":
        return bool(commit["operationMetrics"]["num_target_rows_deleted"] == 0)
    return operation in _KEEP_ROWS
