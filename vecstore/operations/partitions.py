"""Create, drop and empty partitions."""

from __future__ import annotations

from collections.abc import Container

from sqlalchemy import Connection

from .. import ddl
from ..database import Database
from ..description import CollectionDescription
from ..errors import OperationRefused, PartitionExists
from ..naming import DEFAULT_PARTITION, PARENT_TABLE, check_partition_name, leaf_name
from ..schema import MAX_PARTITIONS
from .dependents import check_dependents, refusing_dependents
from .locking import locked
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


def _by_hand(connection: Connection, collection: str, verb: str) -> CollectionDescription:
    """The collection, whose partitions must be the caller's to make and drop."""
    description = locked(connection, collection)
    key = description.schema.partition_key
    if key is not None:
        raise OperationRefused(
            f"cannot {verb} partitions of collection {description.name!r}: they are made from its partition key "
            f"{key.name!r}"
        )
    return description


def create(database: Database, collection: str, partition: str) -> None:
    check_partition_name(partition)

    def work(connection: Connection) -> None:
        description = _by_hand(connection, collection, "create")
        if any(found.name == partition for found in description.partitions):
            raise PartitionExists(f"collection {description.name!r} has a partition {partition!r}")
        if len(description.partitions) >= MAX_PARTITIONS:
            raise OperationRefused(
                f"collection {description.name!r} has {len(description.partitions):,} partitions, at most "
                f"{MAX_PARTITIONS:,}: use a partition key, or a field with an index"
            )
        add_list_leaf(connection, description.name, partition, taken=description.relations)

    database.alter(f"create partition {partition!r} of {collection!r}", [collection], work)


def drop(database: Database, collection: str, partition: str, *, cascade: bool) -> None:
    check_partition_name(partition)

    def work(connection: Connection) -> None:
        description = _by_hand(connection, collection, "drop")
        if partition == DEFAULT_PARTITION:
            raise OperationRefused(
                f"the default partition of collection {description.name!r} cannot be dropped; truncate() empties it"
            )
        leaf = description.partition(partition).table
        what = f"partition {partition!r} of collection {description.name!r}"
        if not cascade:
            check_dependents(connection, what, description.name, leaf, with_schema=False)
        with refusing_dependents(what):
            connection.execute(ddl.drop_table(description.name, leaf, cascade=cascade))

    database.alter(f"drop partition {partition!r} of {collection!r}", [collection], work)


def truncate(database: Database, collection: str, partition: str | None) -> None:
    def work(connection: Connection) -> None:
        description = locked(connection, collection)
        table = PARENT_TABLE if partition is None else description.partition(partition).table
        connection.execute(ddl.truncate(description.name, table))

    what = f"{collection!r}" if partition is None else f"partition {partition!r} of {collection!r}"
    database.alter(f"truncate {what}", [collection], work)
