"""Second names of collections: a schema with a view, so that SQL users have them too."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from .. import catalog, ddl, registry
from ..database import Database, lock_name
from ..description import CollectionDescription
from ..errors import AliasExists, AliasNotFound, CollectionExists, CollectionNotFound, NotOurs, sqlstate_of
from ..naming import PARENT_TABLE, check_collection_name
from .dependents import refusing_dependents

_INVALID_TABLE_DEFINITION = "42P16"


def _target(connection: Connection, collection: str) -> CollectionDescription:
    """The collection, locked; itself, where an alias of it is given."""
    description = catalog.describe(connection, collection)
    lock_name(connection, description.name)
    return catalog.describe(connection, description.name)


def create(database: Database, collection: str, alias: str) -> None:
    check_collection_name(alias, kind="alias")

    def work(connection: Connection) -> None:
        target = _target(connection, collection)
        _check_free(connection, alias)
        for statement in ddl.create_alias(alias, target.name, target.columns):
            connection.execute(statement)
        connection.execute(registry.register_alias(alias))

    database.alter(f"create alias {alias!r} of {collection!r}", [alias], work)


def _check_free(connection: Connection, alias: str) -> None:
    if not catalog.schema_exists(connection, alias):
        return
    try:
        found = catalog.describe(connection, alias)
    except CollectionNotFound:
        raise NotOurs(f"schema {alias!r} exists and is not vecstore's: choose another name for the alias") from None
    if found.name == alias:
        raise CollectionExists(f"{alias!r} is a collection and cannot be an alias as well")
    raise AliasExists(f"alias {alias!r} exists, of collection {found.name!r}; alter_alias() points it elsewhere")


def alter(database: Database, collection: str, alias: str) -> None:
    """Point an alias at another collection: one moment to the next, for everybody at once."""

    def work(connection: Connection) -> None:
        _check_alias(connection, alias)
        target = _target(connection, collection)
        if not _replaced(connection, alias, target):
            # Other columns make it another view: grants on the old one end with it.
            connection.execute(registry.forget_alias(alias))
            with refusing_dependents(f"the view of alias {alias!r}"):
                connection.execute(ddl.drop_view(alias, PARENT_TABLE))
            connection.execute(ddl.create_alias_view(alias, target.name, target.columns))
            connection.execute(ddl.comment_on_alias_view(alias))
            connection.execute(registry.register_alias(alias))

    database.alter(f"point alias {alias!r} at {collection!r}", [alias], work)


def _replaced(connection: Connection, alias: str, target: CollectionDescription) -> bool:
    """Whether the view could stay and show the other table: it can where the columns are the same."""
    try:
        with connection.begin_nested():
            connection.execute(ddl.create_alias_view(alias, target.name, target.columns))
    except DBAPIError as exc:
        if sqlstate_of(exc) != _INVALID_TABLE_DEFINITION:
            raise
        return False
    return True


def drop(database: Database, alias: str) -> None:
    def work(connection: Connection) -> None:
        _check_alias(connection, alias)
        connection.execute(registry.forget_alias(alias))
        with refusing_dependents(f"alias {alias!r}"):
            connection.execute(ddl.drop_view(alias, PARENT_TABLE))
            connection.execute(ddl.drop_schema(alias))

    database.alter(f"drop alias {alias!r}", [alias], work)


def _check_alias(connection: Connection, alias: str) -> None:
    if alias in catalog.aliases(connection):
        return
    if catalog.schema_exists(connection, alias):
        raise NotOurs(f"{alias!r} is a schema, but no alias of vecstore")
    raise AliasNotFound(f"no alias {alias!r}")
