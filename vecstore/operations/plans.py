"""Plans of drops and truncates: what would go, what stands against it, who is in the way. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import Connection, MetaData, Table

from .. import catalog, retention, tables
from ..database import Database
from ..description import CollectionDescription, IndexDescription
from ..lock_modes import LockMode
from ..naming import PARENT_TABLE, TRASH_PREFIX
from ..plan import Plan, PlanKind, PlannedLock
from ..printing import days_text
from . import collections, indexes, keeping, partitions
from .foreseeing import planned
from .objecting import Check
from .outlooks import (
    Item,
    Outlook,
    Subject,
    aliases_of,
    exclusive,
    indexes_of,
    locks_on,
    missing_rights,
    others_of,
    partitions_of,
    whole,
)
from .relations import oid_of, relations


def drop_collection(database: Database, collection: str, *, cascade: bool, keep: timedelta | None) -> Plan:
    retention.checked(keep)
    subject = Subject(PlanKind.DROP_COLLECTION, f"drop collection {collection!r}", collection)

    def look(connection: Connection) -> Outlook:
        description = catalog.describe(connection, collection)
        found = relations(connection, description.oid)
        kept = keeping.period(database, connection, description, keep)
        is_kept = kept > retention.NOT_AT_ALL
        is_too_large = collections.is_too_large(database, description)
        if is_kept:
            others = aliases_of(connection, description) if cascade else ()
            statements = tuple(keeping.collection_statements(description, kept, _SOME_PLACE))
        else:
            others = others_of(connection, description, PARENT_TABLE, cascade=cascade, with_schema=True)
            statements = tuple(collections.drop_statements(database, description, cascade=cascade))
        return Outlook(
            description,
            description.oid,
            found,
            (*whole(description, found), *partitions_of(description, found), *indexes_of(description, found), *others),
            (
                *collections.objections(connection, collection, description, cascade=cascade, is_kept=is_kept),
                *missing_rights(connection, description.oid, subject, "owns_schema"),
            ),
            () if is_kept or is_too_large else (*exclusive(found), *locks_on(others)),
            statements,
            tables.table_of(description, database.facts.extension_schema),
            _kept(kept, f"restore({collection!r})") if is_kept else _LARGE if is_too_large else (),
            kept,
        )

    def operation(check: Check) -> None:
        collections.drop(database, collection, cascade=cascade, keep=keep, check=check)

    return planned(database, subject, look, operation)


_LARGE = (
    "its partitions are more than one transaction can lock: the name is free at commit, the space in batches after it",
)

# The number of a thing in the trash is drawn when it goes there.
_SOME_PLACE = (0, f"{TRASH_PREFIX}0")


def _kept(keep: timedelta, call: str) -> tuple[str, ...]:
    return (
        f"kept for {days_text(keep)}: store.{call} takes it back, store.purge() frees its space after that",
        "in the statements 0 stands for the number that it gets in the trash",
    )


def drop_partition(
    database: Database, collection: str, partition: str, *, cascade: bool, keep: timedelta | None
) -> Plan:
    retention.checked(keep)
    title = f"drop partition {partition!r} of collection {collection!r}"
    subject = Subject(PlanKind.DROP_PARTITION, title, collection, partition)

    def look(connection: Connection) -> Outlook:
        description = catalog.describe(connection, collection)
        leaf = description.partition(partition)
        oid = oid_of(connection, description.name, leaf.table)
        found = relations(connection, oid)
        kept = keeping.period(database, connection, description, keep)
        is_kept = kept > retention.NOT_AT_ALL
        others: tuple[Item, ...] = ()
        if is_kept:
            statements = keeping.partition_statements(connection, description, leaf, kept, _SOME_PLACE)
        else:
            others = others_of(connection, description, leaf.table, cascade=cascade, with_schema=False)
            statements = [partitions.drop_statement(description, partition, cascade=cascade)]
        parent = PlannedLock(f"{description.name}.{PARENT_TABLE}", description.oid, LockMode.ACCESS_EXCLUSIVE)
        call = f"restore_partition({description.name!r}, {partition!r})"
        return Outlook(
            description,
            oid,
            found,
            (*partitions_of(description, found), *indexes_of(description, found), *others),
            (
                *partitions.objections(connection, description, partition, cascade=cascade, is_kept=is_kept),
                *missing_rights(connection, oid, subject, "owns_table"),
            ),
            (parent, *exclusive(found), *locks_on(others)),
            tuple(statements),
            _leaf_table(database, description, leaf.table),
            _kept(kept, call) if is_kept else (),
            kept,
        )

    def operation(check: Check) -> None:
        partitions.drop(database, collection, partition, cascade=cascade, keep=keep, check=check)

    return planned(database, subject, look, operation)


def drop_index(database: Database, collection: str, index: str | None) -> Plan:
    with database.reading(f"plan to drop an index of {collection!r}") as connection:
        name = indexes.meant(catalog.describe(connection, collection), index).name
    subject = Subject(PlanKind.DROP_INDEX, f"drop index {name!r} of collection {collection!r}", collection, name)

    def look(connection: Connection) -> Outlook:
        description = catalog.describe(connection, collection)
        meant = description.index(name)
        found = relations(connection, description.oid)
        item = next(item for item in indexes_of(description, found) if item.name == name)
        gone = {item.oid, *item.measured}
        locked = [it for it in found if it.oid in gone or it.kind in {"r", "p"}]
        return Outlook(
            description,
            description.oid,
            found,
            (item,),
            tuple(missing_rights(connection, description.oid, subject, "owns_table")),
            exclusive(locked),
            tuple(indexes.drop_statements(connection, description, meant)),
            tables.table_of(description, database.facts.extension_schema),
            tuple(_without(description, meant)),
        )

    def operation(check: Check) -> None:
        indexes.drop(database, collection, name, check=check)

    return planned(database, subject, look, operation)


def _without(description: CollectionDescription, index: IndexDescription) -> Iterator[str]:
    """What the index is missed for."""
    if index.metric is None:
        yield f"conditions on {index.field!r} then read every row of the partitions that they are asked of"
    elif description.vector_indexes(index.field) == (index,):
        yield f"searches by {index.field!r} are then exact and slower, until one is built again"


def truncate(database: Database, collection: str, partition: str | None) -> Plan:
    what = (
        f"collection {collection!r}" if partition is None else f"partition {partition!r} of collection {collection!r}"
    )
    subject = Subject(PlanKind.TRUNCATE, f"truncate {what}", collection, partition)

    def look(connection: Connection) -> Outlook:
        description = catalog.describe(connection, collection)
        leaf = PARENT_TABLE if partition is None else description.partition(partition).table
        oid = oid_of(connection, description.name, leaf)
        found = tuple(it for it in relations(connection, oid) if it.kind != "S")
        parts = partitions_of(description, found)
        return Outlook(
            description,
            oid,
            found,
            (*whole(description, found), *parts) if partition is None else tuple(parts),
            (
                *partitions.truncate_objections(connection, description, partition),
                *missing_rights(connection, oid, subject, "may_truncate"),
            ),
            exclusive([it for it in found if it.kind != "I"]),
            (partitions.truncate_statement(description, partition),),
            _leaf_table(database, description, leaf),
            ("the indexes stay, and are empty",),
        )

    def operation(check: Check) -> None:
        partitions.truncate(database, collection, partition, check=check)

    return planned(database, subject, look, operation)


def _leaf_table(database: Database, description: CollectionDescription, leaf: str) -> Table:
    return tables.table_of(description, database.facts.extension_schema).to_metadata(MetaData(), name=leaf)
