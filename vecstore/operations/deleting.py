"""Delete entities: by key or by condition, all or none."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Delete, Table
from sqlalchemy import delete as delete_from

from .. import tables
from ..conditions import KEYS, Selection, checked_partitions, has_key, is_always_true
from ..database import Database
from ..description import CollectionDescription
from ..errors import InvalidArgument, PlanOutdated, VecstoreError
from ..ingest import as_keys
from ..pipeline import Session
from ..schema import CollectionSchema
from ..wire import Command, Template, WireValue, wire_array
from .explaining import explaining
from .opening import Known, described, of_version
from .programs import shape_of
from .round_trip import SEEN, Changed, as_seen, change_at_once, known


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """How many entities are gone."""

    count: int


def delete(database: Database, collection: str, doomed: Doomed, *, expected: int | None = None) -> DeleteResult:
    """All or, where `expected` is another number than that of those that match, none: PlanOutdated."""

    def attempt() -> DeleteResult:
        try:
            if expected is None:
                return _delete_at_once(database, collection, doomed)
        except Changed:
            pass
        with explaining(database, collection), database.writing(f"delete entities of {collection!r}") as connection:
            count = _delete(database, connection, collection, doomed)
            if expected is not None and count != expected:
                raise PlanOutdated(
                    f"entities of {collection!r}: {count:,} match, {expected:,} did when the delete was "
                    "planned; nothing was deleted, plan it again",
                    differences=(f"{count - expected:+,} entities match",),
                )
            return DeleteResult(count)

    return database.repeated(attempt)


def _delete_at_once(database: Database, collection: str, doomed: Doomed) -> DeleteResult:
    """By what an earlier call found out about the collection. Raises Changed where none did, or it is so no more."""
    found = known(database, collection)

    def change(session: Session, seen: WireValue) -> Command:
        try:
            values = doomed.values(found.description.schema)
            statement = _statement(database, found, doomed, session, blanks=[*values, SEEN])
        except VecstoreError as exc:  # the collection may be another by now
            raise Changed from exc
        return statement.filled({**values, SEEN: seen})

    return DeleteResult(change_at_once(database, collection, "delete entities of", found.version, change))


def _statement(
    database: Database, found: Known, doomed: Doomed, session: Session, *, blanks: Sequence[str]
) -> Template:
    """Which deletes only if the collection is as_seen()."""

    def make() -> Template:
        selected, named = doomed.selected(database, found.description), doomed.named(database, found.description)

        def build() -> Delete:
            return delete_from(_table(database, found.description)).where(*selected, *named, as_seen())

        shape = shape_of(database, found.version, "delete")
        return shape.compiled(bool(named), selected, build, session, blanks)

    return database.programs.get(of_version(found.version, doomed.key), make)


def _delete(database: Database, connection: Connection, collection: str, doomed: Doomed) -> int:
    _, description = described(database, connection, collection)
    count: int = connection.execute(doomed.statement(database, description)).rowcount
    return count


class Doomed:
    """Which entities a delete is about: those of some keys, or those that a selection selects."""

    def __init__(self, ids: Any, selection: Selection) -> None:
        if (ids is None) == (selection.where is None and selection.filter is None):
            raise InvalidArgument("delete() takes a filter, where=... or ids=...; truncate() deletes everything")
        self._ids = list(ids) if isinstance(ids, Iterator) else ids  # it may be read more than once
        self._selection = selection

    @property
    def key(self) -> Hashable | None:
        """Equal for those that differ in no more than the keys; None where that cannot be told."""
        known = self._selection.key
        return None if known is None else ("delete", self._ids is None, known)

    def values(self, schema: CollectionSchema) -> Mapping[str, WireValue]:
        """What the statement leaves open; raises InvalidData for what is no key."""
        return {} if self._ids is None else {KEYS: wire_array(as_keys(schema, self._ids))}

    def conditions(self, database: Database, description: CollectionDescription) -> list[ColumnElement[bool]]:
        """Raise InvalidArgument where they are no conditions at all."""
        return [*self.selected(database, description), *self.named(database, description)]

    def selected(self, database: Database, description: CollectionDescription) -> Sequence[ColumnElement[bool]]:
        """The conditions of the selection; raises InvalidArgument where there are none, and no keys."""
        selection, table = self._selection, _table(database, description)
        # A partition is no condition: emptying one is truncate()'s task, too.
        stated = replace(selection, partition_names=None).conditions(description, table)
        if self._ids is None and all(map(is_always_true, stated)):
            raise InvalidArgument("delete(): the condition is empty or always true; truncate() deletes everything")
        return (*replace(selection, where=None, filter=None).conditions(description, table), *stated)

    def named(self, database: Database, description: CollectionDescription) -> Sequence[ColumnElement[bool]]:
        """The condition that an entity has one of the keys, if there are keys."""
        if self._ids is None:
            return ()
        keys = as_keys(description.schema, self._ids)
        return (has_key(_table(database, description), description.schema.primary_key.name, keys),)

    def statement(self, database: Database, description: CollectionDescription) -> Delete:
        return delete_from(_table(database, description)).where(*self.conditions(database, description))

    def leaves(self, description: CollectionDescription) -> Sequence[str]:
        """The tables that the statement looks into: of the partitions that are named, or all."""
        names = self._selection.partition_names
        if names is None:
            return description.leaves
        return [description.partition(name).table for name in checked_partitions(description, names)]


def _table(database: Database, description: CollectionDescription) -> Table:
    return tables.table_of(description, database.facts.extension_schema)
