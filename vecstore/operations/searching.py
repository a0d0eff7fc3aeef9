"""Search a collection for the entities nearest to vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import null, select

from .. import planning
from ..asking import Asked
from ..conditions import Selection, has_key
from ..database import Database
from ..description import IndexDescription
from ..errors import IndexNotFound, InvalidArgument, InvalidData
from ..execution import (
    BIT_OID,
    Compiled,
    Prepared,
    Rows,
    WireValue,
    compiled,
    compiled_settings,
    make_settings,
    prepared,
)
from ..hits import Hits, SearchPath
from ..ingest import as_keys
from ..ingest.binary import wire_values
from ..ordering import parsed, plain_field
from ..planning import Attempt, Exact
from ..projection import projection
from ..schema import CollectionSchema, Field, Metric
from ..scores import ScoreRange
from ..search import QUERY, Grouping, Position, Request, metric_of, usable_index
from ..tables import VECTOR_STORAGE
from ..vectors import DenseColumn, VectorColumn, as_query, decoder
from .estimating import estimate
from .explaining import replanned
from .opening import Opened, opened

_MAX_HALF = float(np.finfo(np.float16).max)
_SMALL_HALF = 1e-3  # a direction whose largest component is smaller is lost in the rounding of all others
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


@dataclass(frozen=True, slots=True)
class Way:
    """An attempt, compiled."""

    settings: str | None
    statement: Compiled


@dataclass(frozen=True)
class Program:
    """A search that needs nothing but vectors: what is asked in terms of the collection, and the attempts to make.

    index  which of the collection's the attempts ask; None if they ask none
    ways   how the attempts are made, as far as they were needed
    """

    request: Request
    index: IndexDescription | None
    attempts: Sequence[Attempt]
    ways: dict[Attempt, Way] = field(default_factory=dict)


def answers(
    collection: Opened, query: Query, asked: Asked, *, after: Position | None = None, prepare: bool | None
) -> list[Answer]:
    """An answer for each query vector: by the first attempt that gives all that was asked for, or by the last."""
    program = _program(collection, asked, after)
    request = program.request
    given = as_query(request.field, request.metric, vectors_of(collection, request, query, asked))
    attempts = program.attempts
    if not _holds(program.index, request.metric, given):
        if asked.exact is False:
            raise InvalidData(
                f"field {request.field.name!r}: its index is in half precision, which does not hold the query vector, "
                "and exact=False forbids a search without it: scale the vector, or leave exact out",
                field=request.field.name,
            )
        attempts = [Exact()]
    wires = _wired(collection, request.field, given)
    found: dict[int, Answer] = {}
    for attempt in attempts:
        waiting = [number for number in range(len(wires)) if number not in found]
        if not waiting:
            break
        run = _prepared(collection, program, attempt, prepare=prepare)
        path = _path(attempt, attempts)
        for number in waiting:
            rows = run({QUERY: wires[number]})
            if attempt is attempts[-1] or request.is_whole(rows):
                found[number] = Answer(request, rows, path)
    return [found[number] for number in range(len(wires))]


def _program(collection: Opened, asked: Asked, after: Position | None) -> Program:
    """The program of a question, kept for some seconds where it may be asked again."""

    def make() -> Program:
        request = requested(collection, asked, after)
        index = usable_index(collection.description, request.field, request.metric)
        return Program(request, index, _attempts(collection, request, index, asked))

    key = asked.key
    if key is None or after is not None or collection.version is None:
        return make()
    return collection.database.programs.get((collection.version, key), make)


def requested(collection: Opened, asked: Asked, after: Position | None = None) -> Request:
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
        grouping=None if asked.group_by is None else _grouping(schema, asked, asked.group_by),
        order_by=() if asked.order_by is None else parsed(schema, asked.order_by),
        after=after,
    )


def _grouping(schema: CollectionSchema, asked: Asked, name: str) -> Grouping:
    return Grouping(plain_field(schema, name, "group_by"), asked.group_size, asked.strict_group_size)


def vectors_of(collection: Opened, request: Request, query: Query, asked: Asked) -> Any:
    """The vectors given, or those of the entities named, in the order of their keys."""
    if query.ids is None:
        return query.vectors
    keys = as_keys(collection.description.schema, query.ids)
    key, vector = request.table.c[request.key], request.table.c[request.field.name]
    searched = Selection(asked.selection.partition_names).conditions(collection.description, request.table)
    statement = select(key, vector).where(has_key(request.table, request.key, keys), vector != null(), *searched)
    rows = collection.fetch(statement)
    stored = {row[0]: row[1] for row in rows}
    _check_found(collection, request, keys if isinstance(keys, list) else keys.tolist(), [row[0] for row in rows])
    load = decoder(request.field)
    return [load(stored[key]) for key in (keys if isinstance(keys, list) else keys.tolist())]


def _check_found(collection: Opened, request: Request, wanted: Sequence[Any], found: Sequence[Any]) -> None:
    """Each key must have one vector."""
    times = Counter(found)
    missing = [repr(key) for key in wanted if not times[key]]
    several = [repr(key) for key in wanted if times[key] > 1]
    what = f"collection {collection.description.name!r}, ids: "
    if missing:
        named = ", ".join(missing[:_NAMED_KEYS])
        raise InvalidArgument(f"{what}no entity with a vector in {request.field.name!r} has the {request.key} {named}")
    if several:
        named = ", ".join(several[:_NAMED_KEYS])
        raise InvalidArgument(f"{what}several partitions have the {request.key} {named}: say which, partition_names=")


def _holds(index: IndexDescription | None, metric: Metric, given: VectorColumn) -> bool:
    """Whether the index can be asked for what is near: one of half precision knows neither large nor tiny numbers."""
    if index is None or not index.half_precision or not isinstance(given, DenseColumn):
        return True
    largest = np.abs(given.values).max(axis=1)
    return bool(largest.max() <= _MAX_HALF and (metric is not Metric.COSINE or largest.min() >= _SMALL_HALF))


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


def _prepared(collection: Opened, program: Program, attempt: Attempt, *, prepare: bool | None) -> Prepared:
    """The attempt's statement, and its settings made."""
    way = program.ways.get(attempt)
    if way is None:
        way = program.ways[attempt] = _way(collection, program, attempt)
    if way.settings is not None:
        make_settings(collection.connection, way.settings)
    return prepared(collection.connection, collection.facts, way.statement, prepare=prepare)


def _way(collection: Opened, program: Program, attempt: Attempt) -> Way:
    connection = collection.connection
    if isinstance(attempt, Exact):
        return Way(None, compiled(connection, program.request.exact()))
    halved = program.index is not None and program.index.half_precision
    statement = compiled(connection, program.request.by_index(halved=halved))
    return Way(compiled_settings(connection, attempt.settings), statement)


def _path(attempt: Attempt, attempts: Sequence[Attempt]) -> SearchPath:
    if not isinstance(attempt, Exact):
        return SearchPath.INDEX
    return SearchPath.EXACT if attempt is attempts[0] else SearchPath.INDEX_THEN_EXACT


def _wired(collection: Opened, field: Field, given: VectorColumn) -> list[WireValue]:
    oid = collection.facts.vector_oids.get(VECTOR_STORAGE[field.data_type], BIT_OID)
    return [WireValue(oid, data) for data in wire_values(given)]
