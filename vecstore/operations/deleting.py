"""Delete entities: by key or by condition, all or none."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Delete, Table
from sqlalchemy import delete as delete_from

from .. import tables
from ..conditions import KEYS, Selection, checked_partitions, has_key, is_always_true
from ..database import Database
from ..description import CollectionDescription
from ..errors import InvalidArgument, PlanOutdated, VecstoreError
from ..execution import session_on
from ..ingest import as_keys
from ..schema import CollectionSchema
from ..wire import Command, Template, WireValue, numbered, template, wire_array
from .explaining import explaining
from .opening import SEEN, Changed, as_seen, change_at_once, described


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """How many entities are gone."""

    count: int


@dataclass(frozen=True, slots=True)
class Deletion:
    """What is to be deleted in terms of a collection, but for the keys.

    version  what the collection was known by
    """

    version: str
    schema: CollectionSchema
    statement: Template

    def command(self, doomed: Doomed) -> Callable[[WireValue], Command]:
        """The command, of what is to be seen of the collection."""
        values = doomed.values(self.schema)
        return lambda seen: self.statement.filled({**values, SEEN: seen})


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
    """By a statement that an earlier call made. Raises Changed where there is none, or it does not fit any more."""
    known: Deletion | None = database.programs.known((collection, doomed.key)) if database.owns_transactions else None
    if known is None or doomed.key is None:
        raise Changed
    try:
        command = known.command(doomed)
    except VecstoreError as exc:  # the key may be of another type by now
        raise Changed from exc
    return DeleteResult(change_at_once(database, collection, "delete entities of", known.version, command))


def _delete(database: Database, connection: Connection, collection: str, doomed: Doomed) -> int:
    version, description = described(database, connection, collection)
    statement = doomed.statement(database, description)
    count: int = connection.execute(statement).rowcount
    if version is not None and doomed.key is not None:
        schema, session = description.schema, session_on(connection, database.facts)
        again = statement.where(as_seen())
        compiled = template(again, numbered(connection.dialect), session, blanks=[*doomed.values(schema), SEEN])
        database.programs.keep((collection, doomed.key), Deletion(version, schema, compiled))
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
        selection, table = self._selection, _table(database, description)
        conditions = [*selection.conditions(description, table)]
        if self._ids is not None:
            keys = as_keys(description.schema, self._ids)
            conditions.append(has_key(table, description.schema.primary_key.name, keys))
        # A partition is no condition: emptying one is truncate()'s task, too.
        elif all(map(is_always_true, replace(selection, partition_names=None).conditions(description, table))):
            raise InvalidArgument("delete(): the condition is empty or always true; truncate() deletes everything")
        return conditions

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
