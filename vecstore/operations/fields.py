"""Add, change and drop the fields of a collection, and change what describes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import Connection, Executable
from sqlalchemy.exc import DBAPIError

from .. import altering, catalog, registry, retention, tables
from ..database import Database, lock_name
from ..description import CollectionDescription
from ..errors import InvalidData, InvalidSchema, OperationRefused, PermissionDenied, sqlstate_of
from ..ingest import with_plain_default
from ..naming import names_list
from ..schema import Field, Gin, checked_properties
from ..words import configuration_of
from .collections import check_text_search
from .dependents import refusing_dependents
from .locking import locked

_DUPLICATE_COLUMN = "42701"
_VALUES_REFUSED: Mapping[str, str] = {
    "23502": "there are entities without a value: declare it nullable=True, or a new one with a default_value",
    "23514": "there are values that do not fit into it",
    "54000": "there are texts of more words than PostgreSQL's text search takes, 1 MB",
}


def _altered(
    database: Database, doing: str, collection: str, work: Callable[[Connection, CollectionDescription], None]
) -> None:
    """Change a collection together with the views of its aliases, which are locked before it, as everywhere."""
    with database.reading(doing) as connection:
        before = catalog.describe(connection, collection)

    def locked_work(connection: Connection) -> None:
        description = locked(connection, before.name)
        for alias in description.aliases:  # one made in between, too
            lock_name(connection, alias)
        work(connection, catalog.describe(connection, before.name))

    database.facts  # noqa: B018 - NotInstalled comes before any lock
    database.alter(doing, [*sorted(before.aliases), before.name], locked_work)


def _run(connection: Connection, statements: Iterable[Executable]) -> None:
    for statement in statements:
        connection.execute(statement)


def add(database: Database, collection: str, field: Field) -> None:
    if not isinstance(field, Field):
        raise InvalidSchema("add_field() takes a Field, made by vecstore.Field(name, data_type, ...)")
    if field.primary_key or field.partition_key:
        raise InvalidSchema(f"field {field.name!r}: a key cannot be added, it is declared with the collection")
    added = with_plain_default(field)

    def work(connection: Connection, description: CollectionDescription) -> None:
        if added.name in description.schema.by_name:
            raise InvalidSchema(f"collection {description.name!r} has a field {added.name!r}")
        schema = replace(description.schema, fields=(*description.schema.fields, added))
        check_text_search(connection, replace(schema, fields=(schema.primary_key, added)))
        table = tables.entities(description.name, schema, extension_schema=database.facts.extension_schema)
        with _naming_faults(description, added):
            _run(connection, altering.add_field(table, added))
        connection.execute(registry.register_field(description.name, schema, added.name))

    _altered(database, f"add field {field.name!r} to {collection!r}", collection, work)


def drop(database: Database, collection: str, name: str, *, cascade: bool) -> None:
    def work(connection: Connection, description: CollectionDescription) -> None:
        field = description.schema.field(name)
        _check_droppable(description, field)
        kept = tuple(it for it in description.schema.fields if it.name != name)
        with refusing_dependents(f"field {name!r} of collection {description.name!r}"):
            _run(connection, altering.drop_field(description.name, name, cascade=cascade))
        schema = replace(description.schema, fields=kept)
        connection.execute(registry.register_field(description.name, schema, name))

    _altered(database, f"drop field {name!r} of {collection!r}", collection, work)


def _check_droppable(description: CollectionDescription, field: Field) -> None:
    why = None
    if field.primary_key or field.partition_key:
        why = f"is its {'primary' if field.primary_key else 'partition'} key"
    elif description.schema.vector_fields == (field,):
        why = "is its only vector field"
    if why is not None:
        raise OperationRefused(
            f"field {field.name!r} of collection {description.name!r} {why} and cannot be dropped: load a new "
            "collection and let an alias stand for it"
        )


def alter(database: Database, collection: str, field: Field) -> None:
    """Give a field another declaration: its size, whether it is nullable, its default, text search, bm25, description.

    Takes ACCESS EXCLUSIVE; a smaller size, and not being nullable, read every row, and bm25 writes every row anew.
    Values stay as they are. Raises OperationRefused for what cannot be changed, InvalidData where rows do not fit.
    """
    altered = with_plain_default(field)

    def work(connection: Connection, description: CollectionDescription) -> None:
        before = description.schema.field(altered.name)
        altering.check_alterable(description.name, before, altered)
        _check_text_indexes(description, before, altered)
        fields = tuple(altered if it.name == altered.name else it for it in description.schema.fields)
        schema = replace(description.schema, fields=fields)
        check_text_search(connection, replace(schema, fields=(schema.primary_key, altered)))
        table = tables.entities(description.name, schema, extension_schema=database.facts.extension_schema)
        with _naming_faults(description, altered):
            _run(connection, altering.alter_field(table, before, altered))
        connection.execute(registry.register_field(description.name, schema, altered.name))

    _altered(database, f"alter field {field.name!r} of {collection!r}", collection, work)


def _check_text_indexes(description: CollectionDescription, before: Field, after: Field) -> None:
    """A text index holds the words of one configuration, and serves no other; with bm25, those that are kept."""
    if (before.text_search, before.bm25) == (after.text_search, after.bm25):
        return
    for index in description.indexes:
        if index.field == after.name and isinstance(index.spec, Gin):
            raise OperationRefused(
                f"field {after.name!r} of collection {description.name!r} has a text index, {index.name!r}, of "
                f"{configuration_of(before)!r}{' with bm25' if before.bm25 else ''}: drop it first, and build it anew "
                "afterwards"
            )


@contextmanager
def _naming_faults(description: CollectionDescription, field: Field) -> Iterator[None]:
    """What PostgreSQL finds in the rows, or in columns of plain SQL, said in words of fields."""
    what = f"field {field.name!r} of collection {description.name!r}"
    try:
        yield
    except DBAPIError as exc:
        code = sqlstate_of(exc)
        if code == _DUPLICATE_COLUMN:
            raise InvalidSchema(f"{what}: the table has a column of this name, made by plain SQL") from exc
        why = _VALUES_REFUSED.get(code or "")
        if why is None:
            raise
        raise InvalidData(f"{what}: {why}", field=field.name) from exc


def set_properties(database: Database, collection: str, properties: Mapping[str, str]) -> None:
    """Give a collection other properties instead of those it has; locks nobody out."""

    def work(connection: Connection) -> None:
        found = _registered(connection, collection)
        checked = replace(found.schema, properties=properties).properties
        retention.of(checked, found.name)
        connection.execute(registry.register_properties(found.name, checked))

    database.alter(f"set properties of collection {collection!r}", (), work)


def alter_collection(
    database: Database,
    collection: str,
    description: str | None = None,
    properties: Mapping[str, str] | None = None,
    delete: Iterable[str] = (),
) -> None:
    """Another description, and some other properties, the rest as they are; waits for no change of structure."""
    gone, given = names_list(delete, "delete_properties"), checked_properties(properties or {})

    def work(connection: Connection) -> None:
        found = _registered(connection, collection)
        if description is not None:
            replace(found.schema, description=description)  # raises InvalidSchema for what is no text
            _run(connection, altering.describe_collection(found.name, description))
        kept = {name: value for name, value in found.schema.properties.items() if name not in gone}
        retention.of(given, found.name)
        if {**kept, **given} != found.schema.properties:
            connection.execute(registry.register_properties(found.name, {**kept, **given}))

    database.alter(f"alter collection {collection!r}", (), work)


def _registered(connection: Connection, collection: str) -> CollectionDescription:
    """Describe a collection whose row in the registry is kept from others until the transaction ends.

    The name is not: a build that goes on for hours has it. Raises PermissionDenied where the row is not ours to change,
    for its policy hides it then, and CollectionNotFound.
    """
    found = catalog.describe(connection, collection)
    is_ours = connection.execute(registry.lock_collection(found.oid)).first() is not None
    again = catalog.describe(connection, collection)
    if again.oid != found.oid:  # dropped while we waited, and another is under the name
        return _registered(connection, collection)
    if not is_ours:
        raise PermissionDenied(f"alter collection {found.name!r}: it belongs to another role")
    return again
