"""Brings a label store of any age to the tables of this version, in the caller's transaction.

`app.store.open_store` runs it, a new store too, so that old and new stores cannot differ. versions/ holds one file per
step, in the order of its revisions; a step that was published is never edited, and imports nothing of `app`, whose
tables move on. To change the tables: change `app.tables`, add a step, raise `NEWEST`.

SQLite can add a column and little more: for the rest, constraints too, a step rebuilds the table, with
`op.batch_alter_table`. Foreign keys are off meanwhile, and checked at the end; a table's triggers go with it.
"""

from pathlib import Path
from typing import Final

import sqlalchemy as sa

from ingest.errors import StoreError

VERSION_TABLE: Final = "schema_version"
NEWEST: Final = "0004"
"""Revision of the last step; a store that has it is opened without importing alembic."""
BEFORE_VERSIONS: Final = "0001"
"""What a store has that was made before stores noted their version."""


def bring_up_to_date(connection: sa.Connection) -> None:
    """Take the steps that the store lacks. Hold the store's lock, so that two servers that start together do so once.

    Raises StoreError for a store of a newer Winnow.
    """
    found = version(connection)
    if found == NEWEST:
        return
    from alembic import command  # noqa: PLC0415 - a fifth of a second that an up-to-date store need not cost
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise StoreError(
            f"The label store has version {found}, and this Winnow knows {NEWEST} at most. Start the newer one."
        )
    if found is None and sa.inspect(connection).has_table("event"):
        command.stamp(config, BEFORE_VERSIONS)
    command.upgrade(config, NEWEST)
    if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        raise StoreError("The label store has rows that name rows which are not there. It was left as it was.")


def version(connection: sa.Connection) -> str | None:
    """Return the revision that the store has; None of a new store, and of one from before versions."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))).scalar()
