"""A hash of values: of other values it differs, of the same values written in another way it does not."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate import column_digests

SCHEMA = pa.schema(
    [
        ("said", pa.string()),
        ("turns", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("count", pa.int32()),
        ("share", pa.float64()),
        ("first", pa.bool_()),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)
TEXT = st.none() | st.sampled_from(["", "a", "b", "ab"])
ROW = st.fixed_dictionaries(
    {
        "said": TEXT,
        "turns": st.none() | st.lists(st.none() | st.fixed_dictionaries({"role": TEXT, "content": TEXT}), max_size=2),
        "count": st.none() | st.integers(0, 1),
        "share": st.none() | st.sampled_from([0.0, 0.5]),
        "first": st.none() | st.booleans(),
        "at": st.none() | st.just(0),
    }
)


def digest(folder: Path, rows: list[dict[str, Any]], rows_of_group: int = 100, compression: str = "zstd") -> list[str]:
    path = folder / "rows.parquet"
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    pq.write_table(table, path, row_group_size=rows_of_group, compression=compression)
    return list(column_digests.of(path, 2))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROW, max_size=3), st.lists(ROW, max_size=3))
def test_two_tables_have_one_hash_where_they_say_the_same(
    tmp_path: Path, rows: list[dict[str, Any]], others: list[dict[str, Any]]
) -> None:
    assert (digest(tmp_path, rows) == digest(tmp_path, others)) == (rows == others)


@pytest.mark.parametrize("rows_of_group", [1, 2, 3])
@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_neither_row_groups_nor_compression_count(tmp_path: Path, rows_of_group: int, compression: str) -> None:
    row = dict.fromkeys(SCHEMA.names) | {"said": "é", "turns": [{"role": None, "content": "x"}], "count": 3}
    rows = [row, dict.fromkeys(SCHEMA.names), row | {"said": "yes", "first": True}, row, row | {"turns": []}]
    assert digest(tmp_path, rows, rows_of_group, compression) == digest(tmp_path, rows)


def test_a_border_between_two_texts_counts(tmp_path: Path) -> None:
    nothing = dict.fromkeys(SCHEMA.names)
    pairs = [("ab", "c"), ("a", "bc"), ("abc", ""), ("abc", None), ("", "abc")]
    found = {tuple(digest(tmp_path, [nothing | {"said": left}, nothing | {"said": right}])) for left, right in pairs}
    assert len(found) == len(pairs)
