"""Runs the migrations on the app's own engine, and keeps a record of every run."""

import os
from logging.config import fileConfig

from alembic import context
from sqlalchemy import Connection, insert

from notes.database import engine
from notes.models import Base, MigrationRun

if context.config.config_file_name is not None:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)


def record_run(connection: Connection) -> None:
    """After a downgrade to nothing there is no table left to write to."""
    revision = context.get_context().get_current_revision()
    if revision is None:
        return
    connection.execute(insert(MigrationRun).values(pid=os.getpid(), revision=revision))
    connection.commit()


def run() -> None:
    with engine.connect() as connection:
        # SQLite cannot ALTER most things: batch mode copies the table.
        context.configure(
            connection=connection, target_metadata=Base.metadata, render_as_batch=True
        )
        with context.begin_transaction():
            context.run_migrations()
        record_run(connection)


if context.is_offline_mode():
    raise SystemExit("notes: migrations run on a database; --sql is not supported")
run()
