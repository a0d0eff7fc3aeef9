"""Read entities without a vector: query, get, count, and page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import func, select

from ..asking import check_limit
from ..conditions import Selection, has_key
from ..database import Database
from ..errors import InvalidArgument
from ..execution import Rows
from ..ingest import as_keys
from ..projection import Record
from ..query import Entities, Position, Question, asked_of, entities_of
from .explaining import replanned
from .opening import opened


def query(database: Database, collection: str, question: Question) -> list[Record]:
    def attempt(prepare: bool | None) -> list[Record]:  # noqa: FBT001 - psycopg's argument
        with opened(database, collection, "query") as found:
            asked = asked_of(found.description, found.table, question)
            rows = found.fetch(asked.statement(question.limit, question.offset), prepare=prepare)
            return [asked.record(row) for row in rows]

    return replanned(database, attempt)


def get(database: Database, collection: str, ids: Any, question: Question) -> list[Record]:
    """In the order of the ids, or of the primary key where there are none."""
    selection = question.selection
    if ids is None and selection.filter is None and selection.where is None:
        raise InvalidArgument("get() takes ids, a filter or where=...; query() without them gives every entity")
    given = list(ids) if isinstance(ids, Iterator) else ids  # it may be read more than once

    def attempt(prepare: bool | None) -> list[Record]:  # noqa: FBT001 - psycopg's argument
        with opened(database, collection, "get from") as found:
            asked = entities_of(found.description, found.table, question)
            statement = asked.statement(None)
            if ids is None:
                return [asked.record(row) for row in found.fetch(statement, prepare=prepare)]
            schema = found.description.schema
            keys = as_keys(schema, given)
            named = has_key(found.table, schema.primary_key.name, keys)
            rows = found.fetch(statement.where(named), prepare=prepare)
            return _in_order(keys if isinstance(keys, list) else keys.tolist(), asked, rows)

    return replanned(database, attempt)


def _in_order(keys: list[Any], asked: Entities, rows: Rows) -> list[Record]:
    found: dict[Any, list[Record]] = {key: [] for key in keys}
    for row in rows:
        found[row[0]].append(asked.record(row))
    return [record for records in found.values() for record in records]


def count(database: Database, collection: str, selection: Selection) -> int:
    def attempt(prepare: bool | None) -> int:  # noqa: FBT001 - psycopg's argument
        with opened(database, collection, "count") as found:
            conditions = selection.conditions(found.description, found.table)
            statement = select(func.count()).select_from(found.table).where(*conditions)
            rows: int = found.fetch(statement, prepare=prepare)[0][0]
            return rows

    return replanned(database, attempt)


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

    def attempt(prepare: bool | None) -> tuple[list[Record], Position | None]:  # noqa: FBT001 - psycopg's argument
        with opened(database, collection, "query") as found:
            asked = entities_of(found.description, found.table, question)
            rows = found.fetch(asked.statement(rows_wanted, after=after), prepare=prepare)
            return [asked.record(row) for row in rows], asked.position(rows[-1]) if rows else None

    return replanned(database, attempt)
