"""Create, drop and empty partitions."""

from __future__ import annotations

from collections.abc import Container, Iterator
from datetime import timedelta

from sqlalchemy import Connection, text

from .. import ddl, retention
from ..database import Database
from ..description import CollectionDescription
from ..errors import DependentObjects, OperationRefused, PartitionExists
from ..naming import DEFAULT_PARTITION, PARENT_TABLE, check_partition_name, leaf_name
from ..schema import MAX_PARTITIONS
from . import keeping
from .dependents import dependence, refusing_dependents
from .locking import locked
from .objecting import Check, Objection, refuse, unchecked
from .privileges import keep_one_owner


def add_list_leaf(connection: Connection, collection: str, partition: str, *, taken: Container[str]) -> None:
    """A table like the parent, then attached: the table is empty, so attaching it looks at no row."""
    leaf = leaf_name(partition, taken)
    _create_leaf(connection, collection, leaf, partition)
    connection.execute(ddl.attach_list_leaf(collection, leaf, partition))


def add_hash_leaves(connection: Connection, collection: str, number: int) -> None:
    for remainder in range(number):
        partition = f"{DEFAULT_PARTITION}_{remainder}"
        leaf = leaf_name(partition)
        _create_leaf(connection, collection, leaf, partition)
        connection.execute(ddl.attach_hash_leaf(collection, leaf, modulus=number, remainder=remainder))


def _create_leaf(connection: Connection, collection: str, leaf: str, partition: str) -> None:
    for statement in ddl.create_leaf(collection, leaf, partition):
        connection.execute(statement)
    keep_one_owner(connection, collection, leaf)


def made_from_key(description: CollectionDescription, verb: str) -> Iterator[Objection]:
    """Partitions that a partition key makes are not the caller's to make and drop."""
    key = description.schema.partition_key
    if key is not None:
        yield OperationRefused(
            f"cannot {verb} partitions of collection {description.name!r}: they are made from its partition key "
            f"{key.name!r}"
        )


def too_many(description: CollectionDescription) -> Iterator[Objection]:
    """No partition may be added where there are as many as there can be."""
    if len(description.partitions) >= MAX_PARTITIONS:
        yield OperationRefused(
            f"collection {description.name!r} has {len(description.partitions):,} partitions, at most "
            f"{MAX_PARTITIONS:,}: use a partition key, or a field with an index"
        )


def create(database: Database, collection: str, partition: str) -> None:
    check_partition_name(partition)

    def work(connection: Connection) -> None:
        description = locked(connection, collection)
        refuse(made_from_key(description, "create"))
        if any(found.name == partition for found in description.partitions):
            raise PartitionExists(f"collection {description.name!r} has a partition {partition!r}")
        refuse(too_many(description))
        add_list_leaf(connection, description.name, partition, taken=description.relations)

    database.alter(f"create partition {partition!r} of {collection!r}", [collection], work)


def drop(
    database: Database,
    collection: str,
    partition: str,
    *,
    cascade: bool,
    keep: timedelta | None = None,
    check: Check = unchecked,
) -> None:
    check_partition_name(partition)
    retention.checked(keep)

    def work(connection: Connection) -> None:
        description = locked(connection, collection)
        check(connection)
        kept_for = keeping.period(database, connection, description, keep)
        is_kept = kept_for > retention.NOT_AT_ALL
        refuse(objections(connection, description, partition, cascade=cascade, is_kept=is_kept))
        if is_kept:
            keeping.keep_partition(connection, description, description.partition(partition), kept_for)
            return
        with refusing_dependents(_named(description, partition)):
            connection.execute(drop_statement(description, partition, cascade=cascade))

    database.alter(f"drop partition {partition!r} of {collection!r}", [collection], work)


def objections(
    connection: Connection, description: CollectionDescription, partition: str, *, cascade: bool, is_kept: bool
) -> Iterator[Objection]:
    """What stands against dropping a partition; raises PartitionNotFound where there is nothing to drop."""
    yield from made_from_key(description, "drop")
    if partition == DEFAULT_PARTITION:
        yield OperationRefused(
            f"the default partition of collection {description.name!r} cannot be dropped; truncate() empties it"
        )
    found = description.partition(partition)
    leaf = found.table
    if is_kept:
        yield from keeping.objections_to_partition(connection, description, found)
    elif not cascade:
        yield from dependence(connection, _named(description, partition), description.name, leaf, with_schema=False)


def _named(description: CollectionDescription, partition: str) -> str:
    return f"partition {partition!r} of collection {description.name!r}"


def drop_statement(description: CollectionDescription, partition: str, *, cascade: bool) -> ddl.Statement:
    return ddl.drop_table(description.name, description.partition(partition).table, cascade=cascade)


def truncate(database: Database, collection: str, partition: str | None, *, check: Check = unchecked) -> None:
    def work(connection: Connection) -> None:
        description = locked(connection, collection)
        check(connection)
        refuse(truncate_objections(connection, description, partition))
        connection.execute(truncate_statement(description, partition))

    what = f"{collection!r}" if partition is None else f"partition {partition!r} of {collection!r}"
    database.alter(f"truncate {what}", [collection], work)


def truncate_statement(description: CollectionDescription, partition: str | None) -> ddl.Statement:
    return ddl.truncate(description.name, _table(description, partition))


def _table(description: CollectionDescription, partition: str | None) -> str:
    return PARENT_TABLE if partition is None else description.partition(partition).table


_REFERRING = text("""
    SELECT DISTINCT 'foreign key ' || k.conname || ' on ' || k.conrelid::regclass::text
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_constraint k ON k.confrelid = c.oid AND k.contype = 'f'
    WHERE n.nspname = :schema AND c.relname = :table
    ORDER BY 1
""")


def truncate_objections(
    connection: Connection, description: CollectionDescription, partition: str | None
) -> Iterator[Objection]:
    """TRUNCATE asks no foreign key; PostgreSQL therefore refuses it where one refers to the table."""
    parameters = {"schema": description.name, "table": _table(description, partition)}
    objects = connection.execute(_REFERRING, parameters).scalars().all()
    if objects:
        what = f"collection {description.name!r}" if partition is None else _named(description, partition)
        yield DependentObjects(
            f"{what} cannot be truncated, others refer to it: {'; '.join(objects)}; delete() asks them row by row",
            objects=objects,
        )
