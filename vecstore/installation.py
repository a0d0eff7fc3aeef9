"""Create or migrate schema `vecstore`: its history is vecstore/migrations, run by Alembic."""

from __future__ import annotations

from sqlalchemy import Connection, text

from .errors import NotOurs, UnsupportedServer
from .naming import OWN_SCHEMA

_STATE = text("""
    SELECT pg_catalog.to_regnamespace('vecstore') IS NOT NULL AS schema_exists,
           pg_catalog.to_regclass('vecstore.alembic_version') IS NOT NULL AS installed
""")


def upgrade(connection: Connection, *, revision: str = "head") -> None:
    """Bring schema `vecstore` to a revision, in the connection's transaction; others who try wait for it."""
    from alembic import command  # noqa: PLC0415 - a tenth of a second that only an upgrade is to pay
    from alembic.config import Config  # noqa: PLC0415 - as above
    from alembic.util import CommandError  # noqa: PLC0415 - as above

    state = connection.execute(_STATE).one()
    if state.schema_exists and not state.installed:
        raise NotOurs(f"schema {OWN_SCHEMA!r} exists and is not vecstore's: rename it, then upgrade again")
    if not state.schema_exists:
        connection.execute(text("CREATE SCHEMA vecstore"))
    config = Config()
    config.set_main_option("script_location", "vecstore:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as exc:
        raise UnsupportedServer(
            f"schema {OWN_SCHEMA!r} of this database was made by another version of vecstore: {exc}; install that "
            "version or a newer one"
        ) from exc
