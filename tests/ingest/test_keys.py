"""The index of keys: what it calls new is new, and whatever is new to a set of texts is new to it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.keys import Keys


@settings(deadline=None)  # the first example loads Polars
@given(st.lists(st.lists(st.integers(0, 60).map(str), max_size=20), max_size=12))
def test_new_is_what_neither_an_earlier_batch_nor_another_row_has(batches: list[list[str]]) -> None:
    keys, held = Keys(), set[str]()
    for batch in batches:
        found = keys.are_new(pa.chunked_array([batch], pa.string())).tolist()
        assert found == [key not in held and batch.count(key) == 1 for key in batch]
        keys.add(pa.chunked_array([batch], pa.string()))
        held |= set(batch)


def test_keys_of_files_are_those_of_their_column(tmp_path: Path) -> None:
    for name, values in (("a", ["x", "y"]), ("b", []), ("c", ["z"])):
        pq.write_table(
            pa.table({"text": pa.array(["?"] * len(values), pa.string()), "id": pa.array(values, pa.string())}),
            tmp_path / name,
        )
    keys = Keys.of_files([str(tmp_path / name) for name in "abc"], "id")
    assert keys.are_new(pa.chunked_array([["x", "w", "z", "?"]])).tolist() == [False, True, False, True]
