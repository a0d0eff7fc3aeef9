"""Read entities without a vector: query, get, count, and page by page."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Table, func, select
from sqlalchemy.sql.expression import ClauseElement

from .. import tables
from ..asking import check_limit
from ..conditions import KEYS, Selection, has_key
from ..database import Database
from ..description import CollectionDescription
from ..errors import InvalidArgument, VecstoreError
from ..ingest import as_keys
from ..ingest.validation import Keys
from ..pipeline import Rows, Session
from ..projection import Record
from ..query import Entities, Groups, Position, Question, asked_of, entities_of
from ..schema import CollectionSchema
from ..wire import Command, Template, WireValue, wire_array
from .explaining import replanned
from .opening import of_version, opened
from .programs import shape_of
from .round_trip import Changed, known, rows_at_once

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Reading(Generic[A]):
    """A question in terms of a collection, with its statement."""

    asked: A
    statement: Template


@dataclass(frozen=True, slots=True)
class Made(Generic[A]):
    """What is asked, on which conditions, and how its statement is built, which has these conditions in it."""

    asked: A
    conditions: Sequence[ColumnElement[bool]]
    build: Callable[[], ClauseElement]


Values = Callable[[CollectionSchema], Mapping[str, WireValue]]


def _no_values(_: CollectionSchema) -> Mapping[str, WireValue]:
    return {}


@dataclass(frozen=True, slots=True)
class Asking(Generic[A]):
    """What a caller asks of a collection.

    doing   for errors
    key     equal where the same is asked; None where that cannot be told
    shape   equal where the same is asked but for the selection
    make    it in terms of a collection
    values  of the parameters that its statement leaves open
    """

    doing: str
    key: Hashable | None
    shape: Hashable | None
    make: Callable[[CollectionDescription, Table], Made[A]]
    values: Values = _no_values


def _read(database: Database, collection: str, asking: Asking[A]) -> tuple[Reading[A], Rows]:
    """The rows that answer: in one round trip where the collection was looked at a moment ago."""

    def attempt() -> tuple[Reading[A], Rows]:
        try:
            return _read_at_once(database, collection, asking)
        except Changed:
            with opened(database, collection, asking.doing) as found:
                there = _Collection(database, found.version, found.description)
                reading, command = there.command(asking, found.session)
                [rows] = found.session.rows(found.session.run([command]))
                return reading, rows

    return replanned(database, attempt)


def _read_at_once(database: Database, collection: str, asking: Asking[A]) -> tuple[Reading[A], Rows]:
    found = known(database, collection)
    there = _Collection(database, found.version, found.description)
    readings: list[Reading[A]] = []

    def commands(session: Session) -> list[Command]:
        try:
            reading, command = there.command(asking, session)
        except VecstoreError as exc:  # the collection may be another by now
            raise Changed from exc
        readings.append(reading)
        return [command]

    [rows] = rows_at_once(database, collection, asking.doing, found.version, commands)
    return readings[-1], rows


@dataclass(frozen=True, slots=True)
class _Collection:
    """A collection as it is known."""

    database: Database
    version: str | None
    description: CollectionDescription

    def command(self, asking: Asking[A], session: Session) -> tuple[Reading[A], Command]:
        given = asking.values(self.description.schema)
        reading = self._reading(asking, session, [*given])
        return reading, reading.statement.filled(given)

    def _reading(self, asking: Asking[A], session: Session, blanks: Sequence[str]) -> Reading[A]:
        def make() -> Reading[A]:
            table = tables.table_of(self.description, self.database.facts.extension_schema)
            made = asking.make(self.description, table)
            shape = shape_of(self.database, self.version, asking.shape)
            statement = shape.compiled("read", made.conditions, made.build, session, blanks)
            return Reading(made.asked, statement)

        return self.database.programs.get(of_version(self.version, asking.key), make)


def query(database: Database, collection: str, question: Question) -> list[Record]:
    def make(description: CollectionDescription, table: Table) -> Made[Entities | Groups]:
        asked = asked_of(description, table, question)
        return Made(asked, asked.conditions, lambda: asked.statement(question.limit, question.offset))

    asking = Asking("query", _named("query", question.key), _named("query", question.shape), make)
    reading, rows = _read(database, collection, asking)
    return [reading.asked.record(row) for row in rows]


def _named(doing: str, key: Hashable | None) -> Hashable | None:
    return None if key is None else (doing, key)


def get(database: Database, collection: str, ids: Any, question: Question) -> list[Record]:
    """In the order of the ids, or of the primary key where there are none."""
    selection = question.selection
    if ids is None and selection.filter is None and selection.where is None:
        raise InvalidArgument("get() takes ids, a filter or where=...; query() without them gives every entity")
    if ids is None:
        return _get_matching(database, collection, question)
    given = list(ids) if isinstance(ids, Iterator) else ids  # it may be read more than once
    keys: Keys = []

    def make(description: CollectionDescription, table: Table) -> Made[Entities]:
        asked = entities_of(description, table, question)
        named = has_key(table, description.schema.primary_key.name, keys)
        return Made(asked, asked.conditions, lambda: asked.statement(None).where(named).order_by(None))

    def values(schema: CollectionSchema) -> Mapping[str, WireValue]:
        nonlocal keys
        keys = as_keys(schema, given)
        return {KEYS: wire_array(keys)}

    asking = Asking("get from", _named("get", question.key), _named("get", question.shape), make, values)
    reading, rows = _read(database, collection, asking)
    return _in_order(keys if isinstance(keys, list) else keys.tolist(), reading.asked, rows)


def _get_matching(database: Database, collection: str, question: Question) -> list[Record]:
    def make(description: CollectionDescription, table: Table) -> Made[Entities]:
        asked = entities_of(description, table, question)
        return Made(asked, asked.conditions, lambda: asked.statement(None))

    name = "get matching"
    asking = Asking("get from", _named(name, question.key), _named(name, question.shape), make)
    reading, rows = _read(database, collection, asking)
    return [reading.asked.record(row) for row in rows]


def _in_order(keys: list[Any], asked: Entities, rows: Rows) -> list[Record]:
    """Those of one key, which several partitions hold, in the order of these."""
    found: dict[Any, list[Record]] = {key: [] for key in keys}
    for row in sorted(rows, key=asked.position):
        found[row[0]].append(asked.record(row))
    return [record for records in found.values() for record in records]


def count(database: Database, collection: str, selection: Selection) -> int:
    def make(description: CollectionDescription, table: Table) -> Made[None]:
        conditions = selection.conditions(description, table)
        return Made(None, conditions, lambda: select(func.count()).select_from(table).where(*conditions))

    _, rows = _read(database, collection, Asking("count", _named("count", selection.key), "count", make))
    counted: int = rows[0][0]
    return counted


def pages(database: Database, collection: str, question: Question, *, batch_size: int) -> Iterator[list[Record]]:
    """The entities in the order of the primary key; what is wrong with the question is found before the first page."""
    check_limit(batch_size, name="batch_size")
    with opened(database, collection, "query") as found:
        entities_of(found.description, found.table, question)
    return _pages(database, collection, question, batch_size)


def _pages(database: Database, collection: str, question: Question, batch_size: int) -> Iterator[list[Record]]:
    left, after = question.limit, None
    while left is None or left > 0:
        wanted = batch_size if left is None else min(batch_size, left)
        page, after = _page(database, collection, question, wanted, after)
        if page:
            yield page
        if len(page) < wanted:
            return
        left = None if left is None else left - len(page)


def _page(
    database: Database, collection: str, question: Question, rows_wanted: int, after: Position | None
) -> tuple[list[Record], Position | None]:
    """One page, and where it ended: each in a transaction of its own, for in between nothing is kept open."""

    def attempt() -> tuple[list[Record], Position | None]:
        with opened(database, collection, "query") as found:
            asked = entities_of(found.description, found.table, question)
            rows = found.fetch(asked.statement(rows_wanted, after=after))
            return [asked.record(row) for row in rows], asked.position(rows[-1]) if rows else None

    return replanned(database, attempt)
