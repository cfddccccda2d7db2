"""The role of docs/operations.md, on a real PostgreSQL: it reads what annotators said, and can do no more."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from app.store import Store
from ingest import labels

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "operations.md"


def test_the_role_of_the_page_reads_and_can_do_no_more(postgres: Any, open_url: Callable[[str], Store]) -> None:
    url = postgres.database()
    store = open_url(url)
    [statements] = re.findall(r"^```sql\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    with store.engine.begin() as connection:
        connection.exec_driver_sql(statements)
        connection.exec_driver_sql(f"CREATE TABLE {labels.ERASURE} (first_event_id TEXT)")  # made later than the role
        connection.exec_driver_sql(f"INSERT INTO {labels.ERASURE} VALUES ('first')")
    role = url.replace("winnow@", "winnow_ingest@")
    try:
        with labels.opened(role) as found:
            assert found is not None
            assert found.path == role
            assert list(found.events(0)) == []
        engine = sa.create_engine(role)
        for statement in ("DELETE FROM event", "INSERT INTO pair DEFAULT VALUES", "CREATE TABLE more (a INTEGER)"):
            with engine.connect() as connection, pytest.raises(ProgrammingError, match="permission denied"):
                connection.exec_driver_sql(statement)
        engine.dispose()
    finally:
        with store.engine.begin() as connection:
            connection.exec_driver_sql("DROP OWNED BY winnow_ingest")
            connection.exec_driver_sql("DROP ROLE winnow_ingest")
