"""How Alembic runs the history of schema `vecstore`: on the connection it is handed, in that transaction."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, engine_from_config, pool, text

from vecstore.naming import OWN_SCHEMA


def run(connection: Connection) -> None:
    context.configure(connection=connection, version_table_schema=OWN_SCHEMA, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    handed = context.config.attributes.get("connection")
    if handed is not None:
        run(handed)
        return
    engine = engine_from_config(context.config.get_section("alembic", {}), poolclass=pool.NullPool)
    with engine.begin() as connection:
        # The version table stands in the schema that the first revision fills.
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS vecstore"))
        run(connection)


def run_offline() -> None:
    context.configure(dialect_name="postgresql", version_table_schema=OWN_SCHEMA, literal_binds=True)
    with context.begin_transaction():
        context.execute("CREATE SCHEMA IF NOT EXISTS vecstore")
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
