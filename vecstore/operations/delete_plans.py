"""Plans of deletes: how many entities match, in which partitions, and whether another way is better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection, MetaData

from .. import catalog, tables
from ..database import Database
from ..description import CollectionDescription
from ..errors import PlanOutdated
from ..lock_modes import LockMode
from ..naming import DEFAULT_PARTITION
from ..plan import Plan, PlanKind, PlannedLock, PlannedObject
from ..printing import bytes_text
from ..retention import NOT_AT_ALL
from . import deleting
from .deleting import Doomed
from .explaining import explaining
from .foreseeing import add, as_text, rows_by_leaf
from .outlooks import Item, Subject, indexes_of, may_count, missing_rights, partitions_of, whole
from .relations import Relation, counted_by_leaf, now, relations, sizes, watched

# Of a partition's rows: from there on compact() is worth it, see docs/decisions/0010.
_WORTH_COMPACTING = 0.1

_NOT_COUNTED = (
    "not counted: somebody holds, or waits for, a lock that readers wait for, or this role may not read it; "
    "run() refuses, plan it again"
)
_ROW_LOCKS = "rows that others are changing are waited for; no list shows such locks"


def delete(database: Database, collection: str, doomed: Doomed) -> Plan:
    subject = Subject(PlanKind.DELETE, f"delete entities of collection {collection!r}", collection)

    def perform(plan: Plan) -> None:
        if plan.rows is None:
            raise PlanOutdated(f"{plan.title}: {_NOT_COUNTED}", differences=("the entities were not counted",))
        deleting.delete(database, collection, doomed, expected=plan.rows)

    def attempt() -> Plan:
        with explaining(database, collection), database.reading(f"plan to {subject.title}") as connection:
            description = catalog.describe(connection, collection)
            statement = doomed.statement(database, description)
            found = relations(connection, description.oid)
            objections = tuple(missing_rights(connection, description.oid, subject, "may_delete"))
            locks = _locks(found, description, doomed.leaves(description))
            locks_of_others = watched(connection, found, description.name)
            look = _Look(database, connection, description, found, locks_of_others.shut)
            matching = None if objections else look.matching(doomed)
            objects = tuple(look.objects(matching))
            return Plan(
                kind=subject.kind,
                title=subject.title,
                collection=collection,
                name=None,
                objects=objects,
                objections=objections,
                locks=locks,
                holders=locks_of_others.holders(locks),
                statements=(as_text(statement),),
                bytes_freed=0,
                notes=(*(look.advice(matching) if matching is not None else [_NOT_COUNTED]), _ROW_LOCKS),
                made_at=now(connection),
                keep=NOT_AT_ALL,
                perform=perform,
            )

    return database.repeated(attempt)


def _locks(
    found: Sequence[Relation], description: CollectionDescription, leaves: Sequence[str]
) -> tuple[PlannedLock, ...]:
    """ROW EXCLUSIVE on the parent, on the leaves that are looked into, and on the indexes of all these."""
    looked_into = {it.oid for it in found if it.kind == "r" and (it.name in leaves or it.schema != description.name)}
    looked_into.add(description.oid)
    return tuple(
        PlannedLock(it.qualified, it.oid, LockMode.ROW_EXCLUSIVE)
        for it in found
        if it.table in looked_into and it.kind != "S"
    )


class _Look:
    """The figures of a delete: rows that match by leaf, and what they leave behind."""

    def __init__(
        self,
        database: Database,
        connection: Connection,
        description: CollectionDescription,
        found: Sequence[Relation],
        shut: frozenset[int],
    ) -> None:
        self._database, self._connection, self._description = database, connection, description
        self._found = found
        self._is_shut = bool(shut)
        self._bytes = sizes(connection, found, shut)
        self._table = tables.table_of(description, database.facts.extension_schema)
        self._rows, self._is_counted = rows_by_leaf(connection, found, self._bytes, description.oid, self._table)

    def matching(self, doomed: Doomed) -> Mapping[int, int] | None:
        """How many entities match in each leaf; None where they cannot be counted without waiting."""
        if self._is_shut:
            return None
        conditions = doomed.conditions(self._database, self._description)
        return counted_by_leaf(self._connection, self._table, conditions)

    def objects(self, matching: Mapping[int, int] | None) -> Iterator[PlannedObject]:
        (collection,) = whole(self._description, self._found)
        total = None if matching is None else sum(matching.values())
        yield self._object(collection, total)
        for item in partitions_of(self._description, self._found):
            if matching is not None and item.oid in matching:
                yield self._object(item, matching[item.oid])
        for item in indexes_of(self._description, self._found):
            parts = zip(item.leaves, item.measured, strict=True)
            unused = None if matching is None else add(self._unused(leaf, part, matching) for leaf, part in parts)
            size = add(self._bytes.get(part) for part in item.measured)
            yield PlannedObject(item.kind, item.name, item.oid, bytes=size, bytes_unused=unused)

    def _object(self, item: Item, rows: int | None) -> PlannedObject:
        size = add(self._bytes.get(oid) for oid in item.measured)
        return PlannedObject(item.kind, item.name, item.oid, rows, rows is not None, size)

    def _unused(self, leaf: int, part: int, hit: Mapping[int, int]) -> int | None:
        """Of a leaf's part of an index, the bytes that are for rows that go, as far as rows are alike."""
        size, gone = self._bytes.get(part), hit.get(leaf, 0)
        if gone == 0 or size is None:
            return 0 if gone == 0 else None
        return size * gone // max(gone, self._rows.get(leaf) or 0)

    def advice(self, matching: Mapping[int, int]) -> Iterator[str]:
        """Better ways, where there are any."""
        listed = self._description.schema.partition_key is None
        for item in partitions_of(self._description, self._found):
            gone, rows = matching.get(item.oid, 0), self._rows.get(item.oid) or 0
            if gone == 0:
                continue
            if gone * 2 >= rows and gone == self._all_of(item):
                can_go = listed and item.name != DEFAULT_PARTITION
                ways = f"{f'drop_partition({item.name!r}) or ' if can_go else ''}truncate({item.name!r})"
                size = bytes_text(self._bytes.get(item.oid))
                yield f"all entities of partition {item.name!r} match: {ways} gives its {size} back at commit"
            elif gone >= _WORTH_COMPACTING * rows:
                which = f"partition_names=[{item.name!r}]" if listed else ""
                yield f"much of partition {item.name!r} goes: compact({which}) after it"

    def _all_of(self, item: Item) -> int | None:
        """How many entities a leaf has; None for a role with rights on the collection's table alone."""
        if self._is_counted:
            return self._rows[item.oid]
        if not may_count(self._connection, item.oid):
            return None
        found = next(it for it in self._found if it.oid == item.oid)
        leaf = self._table.to_metadata(MetaData(), schema=found.schema, name=found.name)
        counts = counted_by_leaf(self._connection, leaf)
        return None if counts is None else counts.get(item.oid, 0)
