"""Search a collection for the entities nearest to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import null, select

from .. import planning
from ..asking import Asked
from ..conditions import has_key
from ..database import Database
from ..description import CollectionDescription, IndexDescription
from ..errors import IndexNotFound, InvalidArgument
from ..execution import BIT_OID, Prepared, Rows, WireValue, prepared
from ..hits import Hits, SearchPath
from ..ingest import as_keys
from ..ingest.binary import wire_values
from ..ordering import parsed
from ..planning import Attempt, Exact
from ..projection import projection
from ..schema import DataType, Field
from ..scores import ScoreRange
from ..search import QUERY, Grouping, Position, Request, metric_of, usable_index
from ..tables import VECTOR_STORAGE
from ..vectors import DenseColumn, VectorColumn, as_query, decoder
from .estimating import estimate
from .explaining import replanned
from .opening import Opened, opened

_MAX_HALF = float(np.finfo(np.float16).max)
_NAMED_KEYS = 5


@dataclass(frozen=True, slots=True)
class Query:
    """The vectors to search with: given, or those of the entities of these keys."""

    vectors: Any = None
    ids: Any = None

    def __post_init__(self) -> None:
        if (self.vectors is None) == (self.ids is None):
            raise InvalidArgument("search() takes vectors, or ids=... of entities whose vectors are to be taken")


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found for one query vector, as it came."""

    request: Request
    rows: Rows
    path: SearchPath

    @property
    def hits(self) -> Hits:
        return self.request.hits(self.rows, self.path)


def search(database: Database, collection: str, query: Query, asked: Asked) -> list[Hits]:
    def attempt(prepare: bool | None) -> list[Hits]:  # noqa: FBT001 - psycopg's argument
        with opened(database, collection, "search") as found:
            return [answer.hits for answer in answers(found, query, asked, prepare=prepare)]

    return replanned(database, attempt)


def answers(
    collection: Opened, query: Query, asked: Asked, *, after: Position | None = None, prepare: bool | None
) -> list[Answer]:
    """An answer for each query vector: by the first attempt that gives all that was asked for, or by the last."""
    request = _request(collection, asked, after)
    given = _vectors(collection, request, query)
    index = _index_for(collection.description, request, given)
    attempts = _attempts(collection, request, index, asked)
    wires = _wired(collection, request.field, given)
    found: dict[int, Answer] = {}
    for attempt in attempts:
        waiting = [number for number in range(len(wires)) if number not in found]
        if not waiting:
            break
        run = _prepared(collection, request, index, attempt, prepare=prepare)
        path = _path(attempt, attempts)
        for number in waiting:
            rows = run({QUERY: wires[number]})
            if attempt is attempts[-1] or request.is_whole(rows):
                found[number] = Answer(request, rows, path)
    return [found[number] for number in range(len(wires))]


def _request(collection: Opened, asked: Asked, after: Position | None) -> Request:
    """What is asked, in terms of the collection as it stands."""
    description, schema = collection.description, collection.description.schema
    field = schema.vector_field(asked.field)
    metric = metric_of(description, field, asked.metric)
    in_range = asked.radius is not None or asked.range_filter is not None
    return Request(
        table=collection.table,
        field=field,
        metric=metric,
        key=schema.primary_key.name,
        limit=asked.limit,
        offset=asked.offset,
        projection=projection(schema, asked.output_fields),
        conditions=asked.selection.conditions(description, collection.table),
        extension_schema=collection.facts.extension_schema,
        scores=ScoreRange(metric, asked.radius, asked.range_filter) if in_range else None,
        grouping=None if asked.group_by is None else _grouping(schema.field(asked.group_by), asked),
        order_by=() if asked.order_by is None else parsed(schema, asked.order_by),
        after=after,
    )


def _grouping(field: Field, asked: Asked) -> Grouping:
    if field.data_type.is_vector or field.data_type in {DataType.JSON, DataType.ARRAY}:
        raise InvalidArgument(f"group_by needs a field of one value, and field {field.name!r} is {field.data_type}")
    return Grouping(field, asked.group_size, asked.strict_group_size)


def _vectors(collection: Opened, request: Request, query: Query) -> VectorColumn:
    vectors = query.vectors
    if query.ids is not None:
        keys = as_keys(collection.description.schema, query.ids)
        vectors = _stored(collection, request, keys if isinstance(keys, list) else keys.tolist())
    return as_query(request.field, request.metric, vectors)


def _stored(collection: Opened, request: Request, keys: list[Any]) -> list[Any]:
    """The vectors of these entities, in the order asked for."""
    key, vector = request.table.c[request.key], request.table.c[request.field.name]
    of_keys = has_key(request.table, request.key, as_keys(collection.description.schema, keys))
    load = decoder(request.field)
    found = {row[0]: load(row[1]) for row in collection.fetch(select(key, vector).where(of_keys, vector != null()))}
    missing = [repr(key) for key in keys if key not in found]
    if missing:
        raise InvalidArgument(
            f"collection {collection.description.name!r}: no entity with a vector in {request.field.name!r} has the "
            f"{request.key} {', '.join(missing[:_NAMED_KEYS])}"
        )
    return [found[key] for key in keys]


def _index_for(description: CollectionDescription, request: Request, given: VectorColumn) -> IndexDescription | None:
    index = usable_index(description, request.field, request.metric)
    if index is None or not index.half_precision or not isinstance(given, DenseColumn):
        return index
    # A query that half precision cannot hold is compared exactly.
    return index if np.abs(given.values).max() <= _MAX_HALF else None


def _attempts(collection: Opened, request: Request, index: IndexDescription | None, asked: Asked) -> Sequence[Attempt]:
    if index is None and asked.exact is False:
        raise IndexNotFound(
            f"collection {collection.description.name!r}: no index of {request.field.name!r} by {request.metric}, and "
            "exact=False forbids a search without one: create_index(), or leave exact out"
        )
    if index is None or asked.exact:
        return [Exact()]
    wanted = request.candidates(halved=index.half_precision) + request.passed_over
    if asked.exact is False:
        return [planning.by_index_alone(index, asked, wanted)]
    expected = estimate(collection, request, asked.selection)
    return planning.attempts(index, expected, asked, wanted, filtered=request.is_filtered)


def _prepared(
    collection: Opened, request: Request, index: IndexDescription | None, attempt: Attempt, *, prepare: bool | None
) -> Prepared:
    """The attempt's statement, and its settings made."""
    if isinstance(attempt, Exact):
        return prepared(collection.connection, collection.facts, request.exact(), prepare=prepare)
    for setting in attempt.settings():
        collection.connection.execute(setting)
    statement = request.by_index(halved=index is not None and index.half_precision)
    return prepared(collection.connection, collection.facts, statement, prepare=prepare)


def _path(attempt: Attempt, attempts: Sequence[Attempt]) -> SearchPath:
    if not isinstance(attempt, Exact):
        return SearchPath.INDEX
    return SearchPath.EXACT if attempt is attempts[0] else SearchPath.INDEX_THEN_EXACT


def _wired(collection: Opened, field: Field, given: VectorColumn) -> list[WireValue]:
    oid = collection.facts.vector_oids.get(VECTOR_STORAGE[field.data_type], BIT_OID)
    return [WireValue(oid, data) for data in wire_values(given)]
