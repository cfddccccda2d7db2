"""Rows that are deleted by key are gone from the table, and after a purge from the disk."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ingest import schema


def rows(first: int, end: int) -> pa.Table:
    empty = dict.fromkeys(schema.FEEDBACK.names)
    made = [empty | {"feedback_id": f"f'{n}", "text": f"text {n}", "redactions": []} for n in range(first, end)]
    return pa.Table.from_pylist(made, schema=schema.FEEDBACK)


def texts_on_disk(workspace: Any) -> set[str]:
    files = (workspace.settings.lake / "feedback").glob("*.parquet")
    return {text for file in files for text in pq.read_table(file)["text"].to_pylist()}


def test_rows_are_deleted_by_key_and_purged(workspace: Any) -> None:
    """Three files of ten rows. f'3, f'14 and f'15 lie in the first two: the third is not written anew."""
    lake = workspace.lake
    for first in (0, 10, 20):
        lake.append("feedback", rows(first, first + 10), {"a file": first + 10})
    before = set(lake.files("feedback"))
    assert lake.delete("feedback", ["f'3", "f'14", "f'15", "f'99"]) == 3
    assert len(before & set(lake.files("feedback"))) == 1
    left = [f"text {n}" for n in range(30) if n not in (3, 14, 15)]
    assert sorted(workspace.rows("feedback", "text")) == sorted(left)
    assert "text 14" in texts_on_disk(workspace)
    lake.purge("feedback")
    assert texts_on_disk(workspace) == set(left)
    assert sorted(workspace.rows("feedback", "text")) == sorted(left)
    assert lake.cursor("feedback", "a file") == 30
    assert len(list((workspace.settings.lake / "feedback" / "_delta_log").glob("*.json"))) == 1


def test_nothing_to_delete_is_no_commit(workspace: Any) -> None:
    lake = workspace.lake
    assert lake.delete("feedback", ["f'1"]) == 0
    lake.purge("feedback")
    lake.append("feedback", rows(0, 2), {})
    version = lake.version("feedback")
    assert lake.delete("feedback", []) == 0
    assert lake.delete("feedback", ["f'7"]) == 0
    assert lake.version("feedback") == version
