"""A store of any age becomes a store of today, with everything that was said in it."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import app.migrations
from app.migrations import NEWEST, VERSION_TABLE, bring_up_to_date, version
from app.store import Store, _engine, open_store
from app.tables import TABLES
from ingest.errors import StoreError

OLD = Path(__file__).with_name("store_0001.sql")
"""A store of the first version: two pairs, their slots, three events of which one takes another back."""


def schema(engine: sa.Engine) -> dict[str, object]:
    """Everything that the database says of its tables."""
    seen = sa.inspect(engine)
    with engine.begin() as connection:
        triggers = connection.exec_driver_sql(
            {
                "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name",
                "postgresql": "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
            }[engine.dialect.name]
        ).all()

    def indexes(table: str) -> list[str]:
        where = f"{engine.dialect.name}_where"
        return sorted(
            str({**index, "dialect_options": str(index.get("dialect_options", {}).get(where))})
            for index in seen.get_indexes(table)
        )

    found: dict[str, object] = {"triggers": [tuple(row) for row in triggers]}
    for table in sorted(set(seen.get_table_names())):
        found[table] = {
            "columns": [{**column, "type": str(column["type"])} for column in seen.get_columns(table)],
            "key": seen.get_pk_constraint(table),
            "foreign": sorted(map(str, seen.get_foreign_keys(table))),
            "unique": sorted(map(str, seen.get_unique_constraints(table))),
            "checks": sorted(map(str, seen.get_check_constraints(table))),
            "indexes": indexes(table),
        }
    return found


def described(found: dict[str, object]) -> dict[str, object]:
    """The schema without alembic's own table and without triggers, which `TABLES` does not describe."""
    return {name: parts for name, parts in found.items() if name not in (VERSION_TABLE, "triggers")}


def make_old(url: str) -> None:
    """Make the store as the first version left it."""
    engine = _engine(sa.make_url(url))
    app.migrations.NEWEST = "0001"  # type: ignore[misc]
    try:
        with engine.execution_options(writes=True).begin() as connection:
            bring_up_to_date(connection)
            for statement in OLD.read_text().split(";\n"):
                if statement.strip():
                    connection.exec_driver_sql(statement)
            connection.exec_driver_sql(f"DROP TABLE {VERSION_TABLE}")  # it noted none
    finally:
        app.migrations.NEWEST = NEWEST  # type: ignore[misc]
        engine.dispose()


def said(store: Store) -> list[tuple[object, ...]]:
    """What the columns of the first version hold."""
    with store.reading() as connection:
        return [
            tuple(row)
            for row in connection.exec_driver_sql(
                "SELECT seq, event_id, event_time, annotator, kind, verdict, retracts, pair_id, left_interaction_id,"
                " right_interaction_id, guidelines_version, late FROM event ORDER BY seq"
            )
        ]


def test_an_old_store_keeps_every_event_and_gets_todays_schema(
    store_url: str, open_url: Callable[[str], Store], tmp_path: Path
) -> None:
    make_old(store_url)
    store = open_url(store_url)
    sides = ("b2:a1", "b2:b1")
    assert said(store) == [
        (1, "e1", "2026-10-05T09:30:00+00:00", "ada", "verdict", "left", None, "p1", *sides, None, 0),
        (2, "e2", "2026-10-05T09:31:00+00:00", "bob", "verdict", "tie", None, "p1", *sides, "v1", 1),
        (3, "e3", "2026-10-05T09:32:00+00:00", "ada", "retract", None, "e1", "p1", *sides, None, 0),
    ]
    migrated = schema(store.engine)
    if store_url.startswith("sqlite"):
        assert migrated == schema(open_url(f"sqlite:///{tmp_path}/new.db").engine)
    else:
        with store.engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
        assert migrated == schema(open_url(store_url).engine)


def test_the_steps_make_the_tables_that_the_code_describes(store: Store, store_url: str, tmp_path: Path) -> None:
    """alembic finds no difference; and reflected they equal what SQLAlchemy makes of `TABLES` itself."""
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, TABLES) == []
    stepwise = described(schema(store.engine))
    if store_url.startswith("sqlite"):
        engine = _engine(sa.make_url(f"sqlite:///{tmp_path}/direct.db"))
    else:
        engine = store.engine
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
    TABLES.create_all(engine)
    assert described(schema(engine)) == stepwise
    engine.dispose()


def test_newest_is_the_last_step() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(app.migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_current_head() == NEWEST


def test_a_store_of_a_newer_version_is_refused(store: Store, store_url: str) -> None:
    with store.writing() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(StoreError, match=f"has version 9999, and this Winnow knows {NEWEST} at most. Start the newer"):
        open_store(store_url)


def test_servers_that_start_together_take_the_steps_once(store_url: str, open_url: Callable[[str], Store]) -> None:
    make_old(store_url)
    with ThreadPoolExecutor(6) as threads:
        for store in threads.map(open_url, [store_url] * 6):
            with store.reading() as connection:
                assert version(connection) == NEWEST
            assert len(said(store)) == 3


def test_an_up_to_date_store_opens_without_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/labels.db"
    open_store(url).engine.dispose()
    code = f"import sys; from app.store import open_store; open_store({url!r}); sys.exit('alembic' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
