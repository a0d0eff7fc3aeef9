"""How Alembic runs the application's revisions; DATABASE_URL says on which database."""

from __future__ import annotations

import os

from alembic import context
from sqlalchemy import create_engine, make_url, pool

from models import collections, metadata

# Tables and collections; each revision is a transaction of its own, so that an online build of an index can leave it.
OPTIONS = {
    "target_metadata": [metadata, collections],
    "autogenerate_plugins": ["alembic.autogenerate.*", "vecstore"],
    "transaction_per_migration": True,
}


def run_online() -> None:
    url = make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg")
    with create_engine(url, poolclass=pool.NullPool).connect() as connection:
        context.configure(connection=connection, **OPTIONS)
        with context.begin_transaction():
            context.run_migrations()


def run_offline() -> None:
    context.configure(dialect_name="postgresql", literal_binds=True, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
