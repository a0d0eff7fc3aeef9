"""Bring schema `vecstore` to a revision: its history is vecstore/migrations, run by Alembic.

Not imported before it is used, for Alembic takes a tenth of a second to import.
"""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from .errors import InvalidArgument, NotOurs
from .naming import OWN_SCHEMA
from .revisions import refuse_newer, revisions

BASE = "base"
"""What Alembic calls the state before the first revision."""

_STATE = text("""
    SELECT pg_catalog.to_regnamespace('vecstore') IS NOT NULL AS has_schema,
           pg_catalog.to_regclass('vecstore.alembic_version') IS NOT NULL AS has_versions,
           EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.to_regnamespace('vecstore'))
             AS has_tables
""")

_VERSIONS = text("SELECT version_num FROM vecstore.alembic_version ORDER BY version_num")


def installed(connection: Connection) -> tuple[str, ...]:
    """The rows of vecstore.alembic_version: one revision; none where vecstore is not installed."""
    if not connection.execute(_STATE).one().has_versions:
        return ()
    return tuple(connection.execute(_VERSIONS).scalars())


def make_room(connection: Connection) -> None:
    """Create the schema, in which Alembic keeps its version table; raises NotOurs where somebody else uses the name.

    An empty one will do: an administrator made it for a role that may not create schemas.
    """
    state = connection.execute(_STATE).one()
    if state.has_tables and not state.has_versions:
        raise NotOurs(f"schema {OWN_SCHEMA!r} exists and is not vecstore's: rename it, then upgrade again")
    if not state.has_schema:
        connection.execute(text("CREATE SCHEMA vecstore"))


def upgrade(connection: Connection) -> None:
    """Bring the schema to this library's revision, in the connection's transaction; others who try wait for it."""
    command.upgrade(_config_for(connection), "head")


def downgrade(connection: Connection, *, revision: str) -> None:
    """Take the schema back to a revision, in the connection's transaction; others who try wait for it."""
    command.downgrade(_config_for(connection), _checked(revision))


def write_upgrade(*, start: str) -> None:
    """Print the SQL that leads from a revision to this library's; psql runs it as one transaction."""
    command.upgrade(_config(), f"{_checked(start)}:head", sql=True)


def _checked(revision: str) -> str:
    if revision not in {BASE, *revisions()}:
        raise InvalidArgument(f"no revision {revision!r}: expected {', '.join(revisions())} or {BASE!r}")
    return revision


def _config_for(connection: Connection) -> Config:
    found = installed(connection)
    refuse_newer(found)
    if strangers := sorted(set(found) - set(revisions())):
        raise NotOurs(
            f"the history of schema {OWN_SCHEMA!r} is part of an application's, which is at {', '.join(strangers)}: "
            "run `alembic upgrade heads` there"
        )
    config = _config()
    config.attributes["connection"] = connection
    return config


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "vecstore:migrations")
    return config
