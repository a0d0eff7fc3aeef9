"""Databases of one server: made for collections, found again, dropped when they are empty.

A database that create() has made says so in its comment, which every database of the server can read, as JSON with the
properties that travel with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from .. import catalog, ddl, trash
from ..database import Database
from ..errors import ConnectionLost, DatabaseExists, DatabaseNotFound, OperationRefused, sqlstate_of
from ..naming import can_be_looked_up, check_database_name

_DUPLICATE_DATABASE = "42P04"

_DATABASES = text("""
    SELECT d.datname, pg_catalog.shobj_description(d.oid, 'pg_database') AS comment
    FROM pg_catalog.pg_database d
    WHERE NOT d.datistemplate AND d.datname <> current_database()
    ORDER BY d.datname
""")

# What stands in the database beside extensions and schema vecstore: collections, and whatever somebody made by SQL.
_CONTENTS = text("""
    SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname <> 'vecstore' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = c.tableoid AND d.objid = c.oid AND d.deptype = 'e')
""")

_KEEP_OUT_NEW_COLLECTIONS = text("LOCK TABLE vecstore.collection_registry IN SHARE MODE")


def properties(database: Database) -> dict[str, dict[str, str]]:
    """The databases that create() has made on the server, other than this one, and the properties of each."""
    with database.reading("list databases") as connection:
        return _made(connection)


def _made(connection: Connection) -> dict[str, dict[str, str]]:
    found = ((row.datname, _meaning(row.comment)) for row in connection.execute(_DATABASES))
    return {name: meaning for name, meaning in found if meaning is not None}


def _meaning(comment: str | None) -> dict[str, str] | None:
    try:
        meaning = json.loads(comment or "")["vecstore"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return {str(name): str(value) for name, value in meaning.items()} if isinstance(meaning, dict) else None


def check_made(database: Database, name: str) -> None:
    """Raise DatabaseNotFound unless create() has made a database of this name."""
    if not can_be_looked_up(name) or name not in properties(database):
        raise DatabaseNotFound(f"no database {name!r:.80} of vecstore on this server: create_database() makes one")


def create(database: Database, name: str, given: Mapping[str, str]) -> None:
    """An empty database in UTF-8."""
    check_database_name(name)
    with database.autocommitting(f"create database {name!r}") as connection:
        try:
            connection.execute(ddl.create_database(name))
        except DBAPIError as exc:
            if sqlstate_of(exc) != _DUPLICATE_DATABASE:
                raise
            raise DatabaseExists(f"database {name!r} exists on this server") from exc
        connection.execute(ddl.comment_on_database(name, json.dumps({"vecstore": dict(given)})))


def undo(database: Database, name: str) -> None:
    """Drop what create() has made a moment ago."""
    with database.autocommitting(f"drop the unfinished database {name!r}") as connection:
        connection.execute(ddl.drop_database(name))


def alter_properties(database: Database, name: str, given: Mapping[str, str], delete: Iterable[str]) -> None:
    check_made(database, name)

    def work(connection: Connection) -> None:
        kept = {key: value for key, value in _made(connection)[name].items() if key not in set(delete)}
        connection.execute(ddl.comment_on_database(name, json.dumps({"vecstore": {**kept, **given}})))

    database.alter(f"alter the properties of database {name!r}", [], work)


def drop(database: Database, inside: Engine, name: str) -> None:
    """Drop a database that create() has made, once nothing is in it.

    inside  the engine of that database: while it is looked at, nobody can add a collection
    """
    check_made(database, name)
    doing = f"drop database {name!r}"
    dropped = False
    try:
        with Database(inside).writing(doing) as connection:
            connection.execute(_KEEP_OUT_NEW_COLLECTIONS)
            held = catalog.collection_names(connection)
            kept = trash.entries(connection)
            if held or connection.execute(_CONTENTS).scalar_one():
                what = f"the collections {', '.join(held)}" if held else "tables that somebody made by SQL"
                what = "dropped collections that are kept, which purge() frees" if kept and not held else what
                raise OperationRefused(f"database {name!r} is not empty, it holds {what}: drop them first")
            with database.autocommitting(doing) as dropping:
                dropping.execute(ddl.drop_database(name))
            dropped = True
    except ConnectionLost:  # the drop has ended the connection that looked, too
        if not dropped:
            raise
