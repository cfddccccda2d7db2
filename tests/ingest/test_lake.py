"""The lake: one commit for rows and positions, private files, no text in the log."""

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from ingest.errors import ContractError, LakeBusyError, LakeError
from ingest.lake import SCHEMAS, Lake, sql_type
from ingest.schema import FEEDBACK


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "it's a *?#" / "lake")


def feedback(*keys: str) -> pa.Table:
    empty = dict.fromkeys(FEEDBACK.names)
    return pa.Table.from_pylist([empty | {"feedback_id": key, "text": "CANARY text"} for key in keys], schema=FEEDBACK)


def test_a_lake_that_is_not_there_is_empty_and_reading_does_not_make_it(lake: Lake) -> None:
    with duckdb.connect() as connection:
        for table, contract in SCHEMAS.items():
            lake.view(connection, table)
            found = connection.sql(f"SELECT * FROM {table}").to_arrow_table()
            assert found.num_rows == 0
            assert found.cast(contract).schema == contract
            assert (lake.files(table), lake.version(table), lake.cursor(table, "f")) == ([], None, 0)
    assert not lake.path.exists()


def test_rows_and_positions_land_in_one_commit(lake: Lake) -> None:
    lake.append("feedback", feedback("a", "b"), {"f1": 10, "f2": 20})
    assert lake.version("feedback") == 1  # 0 made the table
    assert lake.cursors("feedback", ["f1", "f2", "f3"]) == {"f1": 10, "f2": 20, "f3": 0}
    lake.append("feedback", feedback("c"), {"f1": 30})
    assert (lake.version("feedback"), len(lake.files("feedback"))) == (2, 2)
    assert lake.cursors("feedback", ["f1", "f2"]) == {"f1": 30, "f2": 20}


def test_nothing_new_is_no_commit(lake: Lake) -> None:
    lake.append("feedback", feedback(), {})
    assert lake.version("feedback") is None
    lake.append("feedback", feedback("a"), {"f": 10})
    before = lake.version("feedback")
    lake.append("feedback", feedback(), {"f": 10})
    assert lake.version("feedback") == before


def test_a_view_follows_and_has_the_contracts_columns(lake: Lake) -> None:
    with duckdb.connect() as connection:
        lake.view(connection, "feedback")
        lake.append("feedback", feedback("a"), {})
        lake.view(connection, "feedback")  # the empty view is replaced
        assert connection.sql("SELECT feedback_id FROM feedback").fetchall() == [("a",)]
        assert connection.sql("SELECT * FROM feedback").columns == FEEDBACK.names


def test_overwrite_replaces_rows_in_one_commit_and_keeps_positions(lake: Lake) -> None:
    lake.append("feedback", feedback("a", "b"), {"f": 10})
    lake.overwrite("feedback", pa.RecordBatchReader.from_batches(FEEDBACK, feedback("c").to_batches()))
    with duckdb.connect() as connection:
        lake.view(connection, "feedback")
        assert connection.sql("SELECT feedback_id FROM feedback").fetchall() == [("c",)]
    assert lake.cursor("feedback", "f") == 10


def test_no_text_reaches_the_log_and_no_one_else_may_read(lake: Lake) -> None:
    lake.append("feedback", feedback("a"), {"f": 10})
    lake.overwrite("feedback", feedback("b"))
    with lake.locked("run"):
        everything = [lake.path, *lake.path.rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in everything if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in everything if path.is_file()} == {0o600}
    logs = [path for path in everything if "_delta_log" in path.parts and path.is_file()]
    assert len(logs) >= 3
    assert not any(b"CANARY" in path.read_bytes() for path in logs)


def test_checkpoints_keep_the_positions(lake: Lake) -> None:
    """Delta writes a checkpoint every 100 commits and forgets older log entries; positions must outlive them."""
    lake.append("feedback", feedback("a"), {"early": 7})
    for offset in range(1, 102):
        lake.append("feedback", feedback(), {"late": offset})
    assert list((lake.path / "feedback" / "_delta_log").glob("*.checkpoint.parquet"))
    assert lake.cursors("feedback", ["early", "late"]) == {"early": 7, "late": 101}


def test_one_run_at_a_time_and_the_error_names_the_holder(lake: Lake) -> None:
    with lake.locked("first"):
        with pytest.raises(LakeBusyError, match='"run_id": "first"') as busy, lake.locked("second"):
            pass
        assert busy.value.exit_code == 5
    with lake.locked("third"):
        assert json.loads((lake.path / ".lock").read_text())["run_id"] == "third"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        pytest.param(feedback("a").drop_columns(["day"]), "day: absent, not string", id="column missing"),
        pytest.param(feedback("a").append_column("more", [[1]]), "more: unknown", id="column unknown"),
        pytest.param(
            feedback("a").set_column(3, "revision", pa.array([1], pa.int32())), "revision: int32, not int64", id="type"
        ),
        pytest.param(feedback("a").select(FEEDBACK.names[::-1]), "columns in another order", id="order"),
    ],
)
def test_rows_that_break_the_contract_are_refused(lake: Lake, table: pa.Table, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        lake.append("feedback", table, {})
    assert lake.version("feedback") is None


def test_a_null_key_is_refused(lake: Lake) -> None:
    row = pa.Table.from_pylist(
        [dict.fromkeys(FEEDBACK.names)], schema=pa.schema([f.with_nullable(True) for f in FEEDBACK])
    )
    with pytest.raises(ContractError, match="1 have no feedback_id"):
        lake.append("feedback", row, {})
    assert lake.files("feedback") == []


def test_unknown_tables_and_broken_ones_are_named(lake: Lake) -> None:
    with pytest.raises(LakeError, match='no table "votes"'):
        lake.files("votes")
    log = lake.path / "feedback" / "_delta_log"
    log.mkdir(parents=True)
    (log / "00000000000000000000.json").write_text("{broken")
    with pytest.raises(LakeError, match="not a readable Delta table"):
        lake.files("feedback")


def test_a_table_that_a_killed_run_had_begun_to_make_is_none(lake: Lake) -> None:
    """Found by a kill. A log that is lost is another matter: there are rows that it spoke of."""
    log = lake.path / "feedback" / "_delta_log"
    log.mkdir(parents=True)
    (log / "00000000000000000000.json#1").write_text('{"protocol"')
    assert (lake.files("feedback"), lake.version("feedback"), lake.cursor("feedback", "f")) == ([], None, 0)
    lake.append("feedback", FEEDBACK.empty_table(), {"f": 7})
    assert (lake.version("feedback"), lake.cursor("feedback", "f")) == (1, 7)
    (log / "00000000000000000000.json").unlink()
    (log / "00000000000000000001.json").unlink()
    (log.parent / "part-00000.parquet").touch()
    with pytest.raises(LakeError, match="not a readable Delta table"):
        lake.files("feedback")


def test_a_path_that_deltalake_would_mistake_is_refused(tmp_path: Path) -> None:
    for name in ("100%20sure", "a[1]"):
        with pytest.raises(LakeError, match="holds one of"):
            Lake(tmp_path / name)


def test_any_delta_reader_can_read_it(lake: Lake) -> None:
    lake.append("feedback", feedback("a"), {"f": 1})
    assert DeltaTable(str(lake.path / "feedback")).to_pyarrow_table().num_rows == 1


def test_a_database_spills_into_the_lakes_folder_and_leaves_nothing_there(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    with lake.locked("1"), lake.database("1") as connection:
        connection.execute("SET memory_limit = '128MB'; SET threads = 1")
        connection.execute("CREATE TEMP TABLE t AS SELECT repeat(md5(range::VARCHAR), 16) FROM range(400000)")
        assert list(lake.path.glob(".spill-1-*/*"))
        off = "SELECT current_setting('autoload_known_extensions'), current_setting('autoinstall_known_extensions')"
        assert connection.execute(off).fetchone() == (False, False)
    assert not list(lake.path.glob(".spill-*"))
    assert (lake.path.stat().st_mode & 0o777) == 0o700


def test_rows_go_by_their_keys_and_going_twice_is_going_once(lake: Lake) -> None:
    assert lake.delete("feedback", ["a"]) == 0
    assert not lake.path.exists()
    lake.append("feedback", feedback("a", "b'", "c"), {"f": 10})
    assert lake.delete("feedback", ["b'", "a", "a", "unknown"], {"erasure": 1}) == 2
    assert (lake.cursor("feedback", "erasure"), lake.cursor("feedback", "f")) == (1, 10)
    with duckdb.connect() as connection:
        lake.view(connection, "feedback")
        assert connection.sql("SELECT feedback_id FROM feedback").fetchall() == [("c",)]
    assert lake.delete("feedback", ["b'", "a"]) == 0


@pytest.mark.parametrize("table", SCHEMAS)
def test_a_type_is_what_duckdb_makes_of_it(table: str) -> None:
    with duckdb.connect() as connection:
        for kind, column in zip(connection.from_arrow(SCHEMAS[table].empty_table()).types, SCHEMAS[table], strict=True):
            [(named,)] = connection.execute(f"SELECT typeof(CAST(NULL AS {sql_type(column.type)}))").fetchall()
            assert named == str(kind)
