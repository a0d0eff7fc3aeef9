"""Drop without freeing: a collection's schema gets another name, a partition's table goes into a schema of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from sqlalchemy import Connection, Executable, text

from .. import catalog, ddl, registry, retention, trash
from ..database import Database, lock_name
from ..description import CollectionDescription, Dependent, PartitionDescription
from ..errors import CollectionHasAliases, DependentObjects, PermissionDenied
from ..naming import PARENT_TABLE
from .objecting import Objection

_SETTING = text("SELECT pg_catalog.current_setting('vecstore.keep_dropped', true)")

_MAY_MAKE_SCHEMAS = text("""
    SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS may,
           pg_catalog.current_database() AS database, current_user AS me
""")

_OWNER = text("""
    SELECT pg_catalog.pg_get_userbyid(c.relowner)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = :table
""")


def period(
    database: Database, connection: Connection, description: CollectionDescription, keep: timedelta | None
) -> timedelta:
    """How long to keep it: as the call says, or the collection, or the store, or the setting of database or role."""
    asked = retention.checked(keep)
    if asked is None:
        asked = retention.of(description.schema.properties, description.name)
    if asked is None:
        asked = database.settings.keep_dropped
    if asked is None:
        setting = connection.execute(_SETTING).scalar_one()
        asked = retention.parsed(setting or "0", f"the setting {retention.PROPERTY}")
    return asked


def objections(connection: Connection, description: CollectionDescription, *, cascade: bool) -> Iterator[Objection]:
    """What stands against keeping a collection when it is dropped."""
    yield from _may_not_make_schemas(connection)
    if description.aliases and not cascade:
        yield CollectionHasAliases(
            f"collection {description.name!r} has aliases, drop them first: {', '.join(description.aliases)}; or let "
            "them go along, with cascade=True: they come back with it",
            aliases=description.aliases,
        )
    for schema in (description.name, *description.aliases):
        what = f"{'collection' if schema == description.name else 'alias'} {schema!r}"
        yield from _shown(what, catalog.dependents(connection, schema, PARENT_TABLE, with_schema=True))


def objections_to_partition(
    connection: Connection, description: CollectionDescription, partition: PartitionDescription
) -> Iterator[Objection]:
    yield from _may_not_make_schemas(connection)
    objects = catalog.dependents(connection, description.name, partition.table, with_schema=False)
    yield from _shown(f"partition {partition.name!r} of collection {description.name!r}", objects)


def _may_not_make_schemas(connection: Connection) -> Iterator[Objection]:
    row = connection.execute(_MAY_MAKE_SCHEMAS).one()
    if not row.may:
        yield PermissionDenied(
            f"to keep what is dropped, a role must be allowed to create schemas: GRANT CREATE ON DATABASE "
            f"{row.database} TO {row.me}; or drop it for good, with keep=timedelta(0)"
        )


def _shown(what: str, objects: Sequence[Dependent]) -> Iterator[Objection]:
    """A view would go on showing what is in the trash."""
    if objects:
        names = list(map(str, objects))
        yield DependentObjects(
            f"{what} cannot be dropped and kept, others depend on it: {'; '.join(names)}; drop them first, or drop it "
            "for good, with keep=timedelta(0)",
            objects=names,
        )


def keep_collection(connection: Connection, description: CollectionDescription, keep: timedelta) -> None:
    """Put a collection into the trash, with its aliases."""
    for alias in description.aliases:
        lock_name(connection, alias)
    for statement in collection_statements(description, keep, trash.new_place(connection)):
        connection.execute(statement)


def collection_statements(
    description: CollectionDescription, keep: timedelta, place: tuple[int, str]
) -> Iterator[Executable]:
    """Another name for the schema, and for those of its aliases: no table is locked."""
    number, schema_there = place
    for alias, schema in trash.alias_places(schema_there, description.aliases).items():
        yield ddl.rename_schema(alias, schema)
    yield ddl.rename_schema(description.name, schema_there)
    yield from registry.move_to_trash(
        description.oid, description.name, number=number, aliases=description.aliases, keep=keep
    )


def keep_partition(
    connection: Connection, description: CollectionDescription, partition: PartitionDescription, keep: timedelta
) -> None:
    """Put a partition's table, with its indexes, into the trash."""
    for statement in partition_statements(connection, description, partition, keep, trash.new_place(connection)):
        connection.execute(statement)


def partition_statements(
    connection: Connection,
    description: CollectionDescription,
    partition: PartitionDescription,
    keep: timedelta,
    place: tuple[int, str],
) -> list[Executable]:
    """The leaf detached, and moved into a schema of its own."""
    number, schema_there = place
    name, leaf = description.name, partition.table
    owner = connection.execute(_OWNER, {"schema": name, "table": leaf}).scalar_one()
    key = description.schema.primary_key
    # The default draws from the collection's sequence, which goes with the collection.
    without_default = [ddl.drop_default(name, leaf, key.name)] if key.auto_id else []
    return [
        registry.move_partition_to_trash(name, description.oid, partition.name, leaf, number=number, keep=keep),
        *ddl.create_trash_schema(schema_there, owner),
        ddl.detach_leaf(name, leaf),
        *without_default,
        ddl.move_table(name, leaf, schema_there),
    ]
