"""What alembic runs around the steps: they take place in the transaction of `app.migrations.bring_up_to_date`."""

from alembic import context

from app.migrations import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transactional_ddl=True,  # of SQLite, too: app.store begins its transactions itself
)
with context.begin_transaction():
    context.run_migrations()
