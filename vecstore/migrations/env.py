"""How Alembic runs the history of schema `vecstore`: all of it in one transaction.

On the connection that vecstore.installation hands over, or for Alembic's own command on the database that
sqlalchemy.url in alembic.ini or the variable DATABASE_URL names.
"""

from __future__ import annotations

import os

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, pool, text

from vecstore.installation import make_room
from vecstore.naming import OWN_SCHEMA

# The key of database.lock_name("vecstore"): of several who upgrade at once, one does and the others wait.
LOCK = text("SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('vecstore:vecstore', 0))")


def run(connection: Connection) -> None:
    context.configure(connection=connection, version_table_schema=OWN_SCHEMA)
    with context.begin_transaction():
        # `alembic current` runs this as well, and is to change nothing.
        if not context.get_context().opts.get("dont_mutate"):
            connection.execute(LOCK)
            make_room(connection)
        context.run_migrations()


def run_online() -> None:
    handed = context.config.attributes.get("connection")
    if handed is not None:
        run(handed)
        return
    url = context.config.get_alembic_option("sqlalchemy.url") or os.environ.get("DATABASE_URL")
    if not url:
        raise CommandError("say which database: DATABASE_URL=postgresql://user@host/database alembic ...")
    with create_engine(url, poolclass=pool.NullPool).connect() as connection:
        run(connection)


def run_offline() -> None:
    context.configure(
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},  # another doubles each percent sign
        version_table_schema=OWN_SCHEMA,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.execute(LOCK)
        context.execute(text("CREATE SCHEMA IF NOT EXISTS vecstore"))
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
