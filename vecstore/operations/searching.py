"""Search a collection for the entities nearest to vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import null, select
from sqlalchemy.engine.interfaces import Dialect

from .. import planning
from ..asking import Asked
from ..conditions import Selection, has_key
from ..database import Database
from ..description import IndexDescription
from ..errors import IndexNotFound, InvalidArgument, InvalidData, VecstoreError
from ..hits import Hits, SearchPath
from ..ingest import as_keys
from ..ingest.binary import wire_values
from ..ordering import parsed, plain_field
from ..pipeline import Rows, Session
from ..planning import Attempt, Exact, Memory
from ..projection import projection
from ..schema import CollectionSchema, Metric
from ..scores import ScoreRange
from ..search import QUERY, Grouping, Position, Request, metric_of, usable_index
from ..tables import VECTOR_STORAGE
from ..vectors import DenseColumn, VectorColumn, as_query, decoder
from ..wire import BIT_OID, Command, Template, WireValue, numbered, template
from .estimating import estimate
from .explaining import replanned
from .opening import Changed, Opened, opened, rows_at_once, set_local_command

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
    """What was found for one query vector: the rows of the request, nearest first."""

    request: Request
    rows: Sequence[Sequence[Any]]
    path: SearchPath

    @property
    def hits(self) -> Hits:
        return self.request.hits(self.rows, self.path)


def search(database: Database, collection: str, query: Query, asked: Asked) -> list[Hits]:
    def attempt() -> list[Hits]:
        try:
            found = _answers_at_once(database, collection, query, asked)
        except Changed:
            with opened(database, collection, "search") as there:
                found = answers(there, query, asked)
        return [answer.hits for answer in found]

    return replanned(database, attempt)


@dataclass(frozen=True)
class Program:
    """A search that needs nothing but vectors: what is asked in terms of the collection, and the attempts to make.

    version  what the collection was known by when it was made; None where it serves once
    index    which of the collection's the attempts ask; None if they ask none
    oid      of the vectors
    dialect  that statements are compiled for
    statements  of the attempts, as far as they were needed
    """

    version: str | None
    request: Request
    index: IndexDescription | None
    attempts: Sequence[Attempt]
    oid: int
    dialect: Dialect
    statements: dict[Attempt, Template] = field(default_factory=dict)

    def commands(self, session: Session, attempt: Attempt, vectors: Sequence[WireValue]) -> list[Command]:
        """The attempt's statement for each vector."""
        statement = self.statements.get(attempt)
        if statement is None:
            statement = self.statements[attempt] = self._statement(session, attempt)
        return [statement.filled({QUERY: vector}) for vector in vectors]

    def _statement(self, session: Session, attempt: Attempt) -> Template:
        if isinstance(attempt, Exact):
            return template(self.request.exact(), self.dialect, session, blanks=[QUERY])
        halved = self.index is not None and self.index.half_precision
        return template(self.request.by_index(halved=halved), self.dialect, session, blanks=[QUERY])


def _answers_at_once(database: Database, collection: str, query: Query, asked: Asked) -> list[Answer]:
    """Answers by a program that an earlier call made, in one round trip an attempt. Raises Changed where none fits."""
    key = asked.key
    if key is None or query.ids is not None or not database.owns_transactions:
        raise Changed
    program: Program | None = database.programs.known((collection, key))
    if program is None or program.version is None:
        raise Changed
    version = program.version
    try:
        given = as_query(program.request.field, program.request.metric, query.vectors)
    except VecstoreError as exc:  # the field may be another by now
        raise Changed from exc

    def run(attempt: Attempt, vectors: Sequence[WireValue]) -> list[Rows]:
        def commands(session: Session) -> list[Command]:
            return program.commands(session, attempt, vectors)

        return rows_at_once(database, collection, "search", version, commands, settings=attempt.settings)

    return _answers(program, given, run)


def answers(collection: Opened, query: Query, asked: Asked, *, after: Position | None = None) -> list[Answer]:
    """An answer for each query vector, in a transaction that is under way."""
    program = _program(collection, asked, after)
    request = program.request
    given = as_query(request.field, request.metric, vectors_of(collection, request, query, asked))
    session = collection.session

    def run(attempt: Attempt, vectors: Sequence[WireValue]) -> list[Rows]:
        settings = [set_local_command(*setting) for setting in attempt.settings]
        results = session.run([*settings, *program.commands(session, attempt, vectors)])
        return session.rows(results[len(settings) :])

    return _answers(program, given, run)


def _answers(
    program: Program, given: VectorColumn, run: Callable[[Attempt, Sequence[WireValue]], list[Rows]]
) -> list[Answer]:
    """Of each query vector, by the first attempt that gives all that was asked for, or by the last."""
    request = program.request
    attempts = program.attempts if _holds(program.index, request.metric, given) else _without_index(program)
    wires = [WireValue(program.oid, data) for data in wire_values(given)]
    found: dict[int, Answer] = {}
    for attempt in attempts:
        waiting = [number for number in range(len(wires)) if number not in found]
        if not waiting:
            break
        path = _path(attempt, attempts)
        for number, rows in zip(waiting, run(attempt, [wires[number] for number in waiting]), strict=True):
            if attempt is attempts[-1] or request.is_whole(rows):
                found[number] = Answer(request, request.in_order(rows), path)
    return [found[number] for number in range(len(wires))]


def _without_index(program: Program) -> Sequence[Attempt]:
    if isinstance(program.attempts[-1], Exact):
        return program.attempts[-1:]
    name = program.request.field.name
    raise InvalidData(
        f"field {name!r}: its index is in half precision, which does not hold the query vector, and "
        "exact=False forbids a search without it: scale the vector, or leave exact out",
        field=name,
    )


def _program(collection: Opened, asked: Asked, after: Position | None) -> Program:
    """The program of a question, kept for some seconds where it may be asked again."""
    key = asked.key
    remembered = key is not None and after is None and collection.version is not None
    programs = collection.database.programs
    if remembered:
        known: Program | None = programs.known((collection.name, key))
        if known is not None and known.version == collection.version:
            return known
    request = requested(collection, asked, after)
    index = usable_index(collection.description, request.field, request.metric)
    program = Program(
        version=collection.version,
        request=request,
        index=index,
        attempts=_attempts(collection, request, index, asked),
        oid=collection.facts.vector_oids.get(VECTOR_STORAGE[request.field.data_type], BIT_OID),
        dialect=numbered(collection.connection.dialect),
    )
    return programs.keep((collection.name, key), program) if remembered else program


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
    memory = Memory(collection.facts.shared_buffers, collection.facts.seq_page_cost)
    return planning.attempts(index, expected, memory, asked, wanted, filtered=request.is_filtered)


def _path(attempt: Attempt, attempts: Sequence[Attempt]) -> SearchPath:
    if not isinstance(attempt, Exact):
        return SearchPath.INDEX
    return SearchPath.EXACT if attempt is attempts[0] else SearchPath.INDEX_THEN_EXACT
