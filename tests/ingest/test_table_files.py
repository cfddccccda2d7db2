"""A file of a table: what it says of its columns, and what the log says of it."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ingest import table_files
from ingest.schema import INTERACTION, Message


def said(role: str, content: str) -> Message:
    return {"role": role, "content": content, "tool_calls": None, "tool_call_id": None, "name": None}


def rows() -> pa.Table:
    empty = dict.fromkeys(INTERACTION.names)
    one = {"prompt": [said("user", "CANARY asks"), said("assistant", "and waits")], "redactions": [("email", 2)]}
    return pa.Table.from_pylist([empty | one | {"interaction_id": key} for key in ("a", "b")], schema=INTERACTION)


def test_it_holds_the_rows_and_the_log_gets_their_number_alone(tmp_path: Path) -> None:
    action = table_files.write(tmp_path, rows())
    (path,) = tmp_path.iterdir()
    assert (action.path, action.size, action.data_change) == (path.name, path.stat().st_size, True)
    assert json.loads(action.stats) == {"numRecords": 2, "minValues": {}, "maxValues": {}, "nullCount": {}}
    assert pq.ParquetFile(path).read().equals(rows())
    assert table_files.write(tmp_path, rows()).path != action.path


def test_no_column_has_statistics_and_only_what_repeats_has_a_dictionary(tmp_path: Path) -> None:
    path = tmp_path / table_files.write(tmp_path, rows()).path
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = {(column := group.column(i)).path_in_schema: column for i in range(group.num_columns)}
    assert not any(column.is_stats_set for column in columns.values())
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    with_dictionary = {name for name, column in columns.items() if column.has_dictionary_page}
    assert {"prompt.list.element.role", "redactions.key_value.key"} <= with_dictionary
    assert not with_dictionary & {"prompt.list.element.content", "interaction_id", "prompt_hash", "byte_offset"}
