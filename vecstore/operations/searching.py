"""Search a collection for the entities nearest to vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection

from .. import catalog, tables
from ..conditions import Selection
from ..database import Database
from ..description import IndexDescription
from ..execution import BIT_OID, Prepared, WireValue, prepared
from ..ingest.binary import wire_values
from ..projection import projection
from ..schema import Metric
from ..search import QUERY, Hits, Request, SearchPath, check_limit, index_settings, metric_of, usable_index
from ..tables import VECTOR_STORAGE
from ..vectors import as_query
from .explaining import explaining, replanned


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller asks of a search; `None` leaves the choice to the collection."""

    limit: int
    field: str | None
    metric: Metric | str | None
    selection: Selection
    output_fields: Sequence[str] | None


def search(database: Database, collection: str, vectors: Any, asked: Asked) -> list[Hits]:
    check_limit(asked.limit)

    def attempt(prepare: bool | None) -> list[Hits]:  # noqa: FBT001 - psycopg's argument
        with explaining(database, collection), database.reading(f"search {collection!r}") as connection:
            request, index = _request(database, connection, collection, asked)
            queries = _wired(database, request, vectors)

            @cache
            def exact() -> Prepared:
                return prepared(connection, database.facts, request.exact(), prepare=prepare)

            if index is None:
                return [request.hits(exact()({QUERY: query}), SearchPath.EXACT) for query in queries]
            for setting in index_settings(index, request.limit):
                connection.execute(setting)
            run = prepared(connection, database.facts, request.by_index(), prepare=prepare)
            return [_by_index(request, query, run, exact) for query in queries]

    return replanned(database, attempt)


def _by_index(request: Request, query: WireValue, run: Prepared, exact: Callable[[], Prepared]) -> Hits:
    """By the index, and where it gives fewer than `limit` rows, exactly, in the same transaction.

    An index can miss rows that match: its scan is bounded, and a graph may have nodes that nothing leads to. Fewer
    rows than asked for are the only sign of it, and cost a look at all of them. `exact` makes the statement when it
    is first needed, for most searches never do.
    """
    rows = run({QUERY: query})
    if len(rows) >= request.limit:
        return request.hits(rows, SearchPath.INDEX)
    return request.hits(exact()({QUERY: query}), SearchPath.INDEX_THEN_EXACT)


def _request(
    database: Database, connection: Connection, collection: str, asked: Asked
) -> tuple[Request, IndexDescription | None]:
    description = catalog.describe(connection, collection)
    extension_schema = database.facts.extension_schema
    table = tables.table_of(description, extension_schema)
    field = description.schema.vector_field(asked.field)
    metric = metric_of(description, field, asked.metric)
    request = Request(
        table=table,
        field=field,
        metric=metric,
        key=description.schema.primary_key.name,
        limit=asked.limit,
        projection=projection(description.schema, asked.output_fields),
        conditions=asked.selection.conditions(description, table),
        extension_schema=extension_schema,
    )
    return request, usable_index(description, field, metric)


def _wired(database: Database, request: Request, vectors: Any) -> list[WireValue]:
    oid = database.facts.vector_oids.get(VECTOR_STORAGE[request.field.data_type], BIT_OID)
    column = as_query(request.field, request.metric, vectors)
    return [WireValue(oid, data) for data in wire_values(column)]
