"""Read entities without a vector: query, get, count, and page by page."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import func, select
from sqlalchemy.sql.expression import ClauseElement

from ..asking import check_limit
from ..conditions import KEYS, Selection, has_key
from ..database import Database
from ..errors import InvalidArgument, VecstoreError
from ..ingest import as_keys
from ..ingest.validation import Keys
from ..pipeline import Rows
from ..projection import Record
from ..query import Entities, Groups, Position, Question, asked_of, entities_of
from ..schema import CollectionSchema
from ..wire import Template, WireValue, numbered, template, wire_array
from .explaining import replanned
from .opening import Changed, Opened, opened, rows_at_once

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Reading(Generic[A]):
    """A question in terms of a collection, with its statement.

    version  what the collection was known by; None where this serves once
    """

    version: str | None
    schema: CollectionSchema
    asked: A
    statement: Template


Values = Callable[[CollectionSchema], Mapping[str, WireValue]]


def _no_values(_: CollectionSchema) -> Mapping[str, WireValue]:
    return {}


def _read(
    database: Database,
    collection: str,
    doing: str,
    key: Hashable | None,
    make: Callable[[Opened], tuple[A, ClauseElement]],
    *,
    values: Values = _no_values,
) -> tuple[Reading[A], Rows]:
    """A question's rows: in one round trip where it, but for these values, was asked a moment ago.

    key   equal where the same is asked; None where that cannot be told
    make  what is asked, and its statement; some of its parameters have the names of the values
    """

    def attempt() -> tuple[Reading[A], Rows]:
        try:
            return _read_at_once(database, collection, doing, key, values)
        except Changed:
            with opened(database, collection, doing) as found:
                return _read_anew(found, key, make, values)

    return replanned(database, attempt)


def _read_at_once(
    database: Database, collection: str, doing: str, key: Hashable | None, values: Values
) -> tuple[Reading[A], Rows]:
    known: Reading[A] | None = None if key is None else database.programs.known((collection, key))
    if known is None or known.version is None or not database.owns_transactions:
        raise Changed
    try:
        command = known.statement.filled(values(known.schema))
    except VecstoreError as exc:  # the key may be of another type by now
        raise Changed from exc
    [rows] = rows_at_once(database, collection, doing, known.version, lambda _: [command])
    return known, rows


def _read_anew(
    found: Opened, key: Hashable | None, make: Callable[[Opened], tuple[A, ClauseElement]], values: Values
) -> tuple[Reading[A], Rows]:
    schema, session = found.description.schema, found.session
    given = values(schema)
    asked, statement = make(found)
    compiled = template(statement, numbered(found.connection.dialect), session, blanks=[*given])
    reading = Reading(found.version, schema, asked, compiled)
    [rows] = session.rows(session.run([compiled.filled(given)]))
    if key is not None and found.version is not None:
        found.database.programs.keep((found.name, key), reading)
    return reading, rows


def query(database: Database, collection: str, question: Question) -> list[Record]:
    def make(found: Opened) -> tuple[Entities | Groups, ClauseElement]:
        asked = asked_of(found.description, found.table, question)
        return asked, asked.statement(question.limit, question.offset)

    key = _key("query", question.key)
    reading, rows = _read(database, collection, "query", key, make)
    return [reading.asked.record(row) for row in rows]


def _key(doing: str, asked: Hashable | None) -> Hashable | None:
    return None if asked is None else (doing, asked)


def get(database: Database, collection: str, ids: Any, question: Question) -> list[Record]:
    """In the order of the ids, or of the primary key where there are none."""
    selection = question.selection
    if ids is None and selection.filter is None and selection.where is None:
        raise InvalidArgument("get() takes ids, a filter or where=...; query() without them gives every entity")
    if ids is None:
        return _get_matching(database, collection, question)
    given = list(ids) if isinstance(ids, Iterator) else ids  # it may be read more than once
    keys: Keys = []

    def make(found: Opened) -> tuple[Entities, ClauseElement]:
        asked = entities_of(found.description, found.table, question)
        return asked, asked.statement(None).where(has_key(found.table, found.description.schema.primary_key.name, keys))

    def values(schema: CollectionSchema) -> Mapping[str, WireValue]:
        nonlocal keys
        keys = as_keys(schema, given)
        return {KEYS: wire_array(keys)}

    reading, rows = _read(database, collection, "get from", _key("get", question.key), make, values=values)
    return _in_order(keys if isinstance(keys, list) else keys.tolist(), reading.asked, rows)


def _get_matching(database: Database, collection: str, question: Question) -> list[Record]:
    def make(found: Opened) -> tuple[Entities, ClauseElement]:
        asked = entities_of(found.description, found.table, question)
        return asked, asked.statement(None)

    key = _key("get matching", question.key)
    reading, rows = _read(database, collection, "get from", key, make)
    return [reading.asked.record(row) for row in rows]


def _in_order(keys: list[Any], asked: Entities, rows: Rows) -> list[Record]:
    found: dict[Any, list[Record]] = {key: [] for key in keys}
    for row in rows:
        found[row[0]].append(asked.record(row))
    return [record for records in found.values() for record in records]


def count(database: Database, collection: str, selection: Selection) -> int:
    def make(found: Opened) -> tuple[None, ClauseElement]:
        conditions = selection.conditions(found.description, found.table)
        return None, select(func.count()).select_from(found.table).where(*conditions)

    _, rows = _read(database, collection, "count", _key("count", selection.key), make)
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
