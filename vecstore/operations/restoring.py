"""Take back a drop that was kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

from .. import catalog, ddl, registry, trash
from ..database import Database, lock_name
from ..description import CollectionDescription
from ..errors import AliasExists, CollectionExists, InvalidArgument, NotOurs, OperationRefused, PartitionExists
from ..naming import PARENT_TABLE, check_collection_name, check_partition_name, fitted
from ..trash import Trashed
from .collections import check_free, taken_meanwhile
from .dependents import refusing_dependents
from .locking import locked
from .objecting import refuse
from .partitions import made_from_key, too_many
from .privileges import keep_one_owner

_DRAW_FROM_SEQUENCE = text("CALL vecstore._draw_from_sequence(CAST(:parent AS oid), :collection, :leaf)")


def restore(database: Database, name: str, *, as_name: str | None, trash_id: int | None, with_aliases: bool) -> str:
    """Give a collection its name, or another, and its aliases theirs; returns the name."""
    check_collection_name(name)
    target = name if as_name is None else check_collection_name(as_name)
    _check_number(trash_id)
    doing = f"restore collection {name!r}"
    with database.reading(doing) as connection:
        found = trash.find(connection, name, trash_id=trash_id)

    def work(connection: Connection) -> None:
        entry = trash.find(connection, name, trash_id=found.id)  # nobody was faster
        with _saying_the_way_out():
            check_free(connection, target)
        for alias, place in entry.alias_places.items():
            if not catalog.schema_exists(connection, place):
                continue  # dropped by plain SQL
            if with_aliases:
                _restore_alias(connection, alias, place)
            else:
                _drop_alias(connection, place)
        with _saying_the_way_out(), taken_meanwhile(target):
            connection.execute(ddl.rename_schema(entry.schema, target))
        for statement in registry.take_back(entry.id):
            connection.execute(statement)

    aliases = found.aliases if with_aliases else ()
    database.alter(doing, [*aliases, target, found.schema], work)
    return target


def _check_number(trash_id: object) -> None:
    if trash_id is not None and type(trash_id) is not int:
        raise InvalidArgument(f"trash_id must be the id of an entry of store.trash(), got {trash_id!r:.80}")


@contextmanager
def _saying_the_way_out() -> Iterator[None]:
    try:
        yield
    except (CollectionExists, NotOurs) as exc:
        raise type(exc)(f"{exc}; as_name='another' restores the collection under another name") from exc


def _restore_alias(connection: Connection, alias: str, place: str) -> None:
    if catalog.schema_exists(connection, alias):
        raise AliasExists(
            f"the name of alias {alias!r} is taken meanwhile: drop_alias() or rename what has it, or leave the aliases "
            "out, with_aliases=False"
        )
    with taken_meanwhile(alias):
        connection.execute(ddl.rename_schema(place, alias))


def _drop_alias(connection: Connection, place: str) -> None:
    connection.execute(registry.forget_alias(place))
    with refusing_dependents(f"an alias, now schema {place!r},"):
        connection.execute(ddl.drop_view(place, PARENT_TABLE))
        connection.execute(ddl.drop_schema(place))


def restore_partition(database: Database, collection: str, partition: str, *, trash_id: int | None) -> None:
    check_partition_name(partition)
    _check_number(trash_id)

    def work(connection: Connection) -> None:
        description = locked(connection, collection)
        refuse(made_from_key(description, "restore"))
        entry = trash.find(connection, description.name, partition, parent=description.oid, trash_id=trash_id)
        lock_name(connection, entry.schema)
        entry = trash.find(connection, description.name, partition, parent=description.oid, trash_id=entry.id)
        if any(found.name == partition for found in description.partitions):
            raise PartitionExists(
                f"collection {description.name!r} has a partition {partition!r} again: drop that one first, with "
                "keep=... if it may be needed"
            )
        refuse(too_many(description))
        _check_same_fields(connection, description, entry)
        leaf = _moved_back(connection, description, entry)
        connection.execute(ddl.attach_list_leaf(description.name, leaf, partition))
        with refusing_dependents(f"schema {entry.schema!r}, in which the partition was kept,"):
            connection.execute(ddl.drop_schema(entry.schema))
        connection.execute(registry.forget_trash(entry.id))

    database.alter(f"restore partition {partition!r} of {collection!r}", [collection], work)


def _check_same_fields(connection: Connection, description: CollectionDescription, entry: Trashed) -> None:
    differences = trash.differences(connection, description.oid, entry.oid)
    if differences:
        raise OperationRefused(
            f"collection {description.name!r} has changed since partition {entry.partition!r} was dropped: "
            f"{'; '.join(differences)}; undo that first, or read the rows from {entry.schema}.{entry.table}"
        )


def _moved_back(connection: Connection, description: CollectionDescription, entry: Trashed) -> str:
    """The partition's table in the collection's schema, ready to be attached; returns its name.

    Names there may be taken meanwhile: those of tables and indexes of partitions do not matter.
    """
    for index in trash.stale_indexes(connection, description.oid, entry):
        connection.execute(ddl.drop_index(entry.schema, index))
    leaf = entry.table
    for relation in trash.relations(connection, entry.schema):
        free = fitted(relation, description.relations)
        if free != relation:
            connection.execute(ddl.rename_relation(entry.schema, relation, free))
            leaf = free if relation == leaf else leaf
    connection.execute(ddl.move_table(entry.schema, leaf, description.name))
    keep_one_owner(connection, description.name, leaf)
    parameters = {"parent": description.oid, "collection": description.name, "leaf": leaf}
    connection.execute(_DRAW_FROM_SEQUENCE, parameters)
    return leaf
