"""What an operation would do by the catalogue alone: which objects go, what stands against it, which locks it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, Executable, Table, text

from .. import catalog
from ..description import CollectionDescription, IndexDescription
from ..errors import PermissionDenied, VecstoreError
from ..lock_modes import LockMode
from ..naming import PARENT_TABLE
from ..plan import PlanKind, PlannedLock, PlannedObject
from ..retention import NOT_AT_ALL
from .relations import Relation, oid_of


@dataclass(frozen=True, slots=True)
class Item:
    """An object of a plan, and where its figures come from.

    leaves  the tables whose rows go with it; measured: the relations whose bytes do
    """

    kind: str
    name: str
    oid: int
    leaves: tuple[int, ...] = ()
    measured: tuple[int, ...] = ()
    index: IndexDescription | None = None
    is_ours: bool = True

    @property
    def unmeasured(self) -> PlannedObject:
        return PlannedObject(self.kind, self.name, self.oid, is_ours=self.is_ours)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What an operation would do, by the catalogue alone.

    oid, table  the one whose rows go, the parent or a leaf
    """

    description: CollectionDescription
    oid: int
    found: tuple[Relation, ...]
    items: tuple[Item, ...]
    objections: tuple[VecstoreError, ...]
    locks: tuple[PlannedLock, ...]
    statements: tuple[Executable, ...]
    table: Table
    notes: tuple[str, ...] = ()
    keep: timedelta = NOT_AT_ALL


Look = Callable[[Connection], Outlook]


@dataclass(frozen=True, slots=True)
class Subject:
    """A plan's kind and its words."""

    kind: PlanKind
    title: str
    collection: str
    name: str | None = None


def whole(description: CollectionDescription, found: Sequence[Relation]) -> Iterator[Item]:
    """The collection itself, with everything that it has."""
    leaves = tuple(it.oid for it in found if it.kind == "r")
    sequences = tuple(it.oid for it in found if it.kind == "S")
    yield Item("collection", description.name, description.oid, leaves, (*leaves, *sequences))


def partitions_of(description: CollectionDescription, found: Sequence[Relation]) -> list[Item]:
    """The leaves; one that somebody made by hand for several values goes by the name of its table."""
    names = {part.table: part.name for part in description.partitions}
    return [
        Item("partition", names.get(it.name, it.qualified), it.oid, (it.oid,), (it.oid,))
        for it in found
        if it.kind == "r"
    ]


def indexes_of(description: CollectionDescription, found: Sequence[Relation]) -> Iterator[Item]:
    """The collection's indexes, with their parts in these leaves."""
    parents = {it.name: it for it in found if it.kind == "I"}
    for index in description.indexes:
        parent = parents.get(index.name)
        if parent is not None:
            parts = [it for it in found if it.whole == parent.oid]
            yield Item(
                "index",
                index.name,
                parent.oid,
                tuple(it.table for it in parts),
                tuple(it.oid for it in parts),
                index,
            )


def others_of(
    connection: Connection, description: CollectionDescription, table: str, *, cascade: bool, with_schema: bool
) -> tuple[Item, ...]:
    """What others made on top of it, where that goes too."""
    if not cascade:
        return ()
    found = catalog.dependents(connection, description.name, table, with_schema=with_schema)
    return tuple(Item(it.kind, it.name, it.oid, is_ours=False) for it in found)


def aliases_of(connection: Connection, description: CollectionDescription) -> tuple[Item, ...]:
    return tuple(Item("alias", alias, oid_of(connection, alias, PARENT_TABLE)) for alias in description.aliases)


_LOCKABLE = frozenset({"view", "materialized view", "table", "sequence", "index"})


def locks_on(others: Sequence[Item]) -> Iterator[PlannedLock]:
    return (PlannedLock(it.name, it.oid, LockMode.ACCESS_EXCLUSIVE) for it in others if it.kind in _LOCKABLE)


def exclusive(found: Sequence[Relation]) -> tuple[PlannedLock, ...]:
    return tuple(PlannedLock(it.qualified, it.oid, LockMode.ACCESS_EXCLUSIVE) for it in found)


# A table may be dropped by its owner and by that of its schema.
_RIGHTS = text("""
    SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS may_look_into,
           pg_catalog.pg_has_role(n.nspowner, 'USAGE') AS owns_schema,
           pg_catalog.pg_has_role(c.relowner, 'USAGE') OR pg_catalog.pg_has_role(n.nspowner, 'USAGE') AS owns_table,
           pg_catalog.has_table_privilege(c.oid, 'TRUNCATE') AS may_truncate,
           pg_catalog.has_table_privilege(c.oid, 'DELETE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
               AS may_delete,
           pg_catalog.has_table_privilege(c.oid, 'SELECT') AND NOT pg_catalog.row_security_active(c.oid) AS may_count,
           o.rolname AS owner, current_user AS me
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
    WHERE c.oid = CAST(:oid AS oid)
""")


def missing_rights(connection: Connection, oid: int, subject: Subject, right: str) -> Iterator[VecstoreError]:
    row = connection.execute(_RIGHTS, {"oid": oid}).one()
    if not row.may_look_into or not getattr(row, right):
        yield PermissionDenied(f"{subject.title}: {row.me!r} may not; it belongs to {row.owner!r}")


def may_count(connection: Connection, oid: int) -> bool:
    row = connection.execute(_RIGHTS, {"oid": oid}).one()
    return bool(row.may_look_into and row.may_count)
