"""Search a collection for the entities nearest to vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import null, select

from ..asking import Asked
from ..conditions import Selection, has_key
from ..database import Database
from ..description import IndexDescription
from ..errors import InvalidArgument, InvalidData, VecstoreError
from ..hits import Hits, SearchPath
from ..ingest import as_keys
from ..ingest.binary import wire_values
from ..pipeline import Rows, Session
from ..planning import Exact
from ..schema import Metric
from ..search import Position, Request
from ..vectors import DenseColumn, VectorColumn, as_query, decoder, plain_query
from ..wire import Command, WireValue
from . import estimating
from .estimating import Conditions
from .explaining import replanned
from .opening import Known, Opened, of_version, opened
from .programs import Maker, Program, Way, shape_of
from .round_trip import Changed, known, rows_at_once

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
    return [answer.hits for answer in answered(database, collection, query, asked)]


def answered(database: Database, collection: str, query: Query, asked: Asked) -> list[Answer]:
    """An answer for each query vector, in a transaction of its own."""

    def attempt() -> list[Answer]:
        try:
            return _answers_at_once(database, collection, query, asked)
        except Changed:
            with opened(database, collection, "search") as there:
                return answers(there, query, asked)

    return replanned(database, attempt)


def _answers_at_once(database: Database, collection: str, query: Query, asked: Asked) -> list[Answer]:
    """Answers in one round trip an attempt, and one more where the planner has to be asked, by what an earlier call
    found out about the collection. Raises Changed where none did, or it is not so any more.
    """
    found = known(database, collection)
    if query.ids is not None:
        raise Changed
    version = found.version
    try:
        program = _program_at_once(database, collection, found, asked)
        given = _given(program, query.vectors)
    except VecstoreError as exc:  # the collection may be another by now
        raise Changed from exc

    def run(way: Way, vectors: Sequence[WireValue]) -> list[Rows]:
        def commands(session: Session) -> list[Command]:
            return program.commands(session, way, vectors)

        return rows_at_once(database, collection, "search", version, commands, settings=way.settings)

    return _answers(program.request, given, run)


def answers(collection: Opened, query: Query, asked: Asked, *, after: Position | None = None) -> list[Answer]:
    """An answer for each query vector, in a transaction that is under way."""
    program = _program(collection, asked, after)
    given = _given(program, vectors_of(collection, program.request, query, asked))
    session = collection.session

    def run(way: Way, vectors: Sequence[WireValue]) -> list[Rows]:
        results = session.run([*way.settings, *program.commands(session, way, vectors)])
        return session.rows(results[len(way.settings) :])

    return _answers(program.request, given, run)


@dataclass(frozen=True, slots=True)
class _Given:
    """Query vectors as they are sent, and what is tried for them, one after the other."""

    vectors: Sequence[WireValue]
    ways: Sequence[Way]


def _given(program: Program, vectors: Any) -> _Given:
    field, index = program.request.field, program.index
    if index is None or not index.half_precision:
        plain = plain_query(field, vectors)
        if plain is not None:
            return _Given([WireValue(program.oid, plain)], program.ways)
    checked = as_query(field, program.request.metric, vectors)
    ways = program.ways if _holds(index, program.request.metric, checked) else _without_index(program)
    return _Given([WireValue(program.oid, data) for data in wire_values(checked)], ways)


def _answers(request: Request, given: _Given, run: Callable[[Way, Sequence[WireValue]], list[Rows]]) -> list[Answer]:
    """Of each query vector, by the first way that gives all that was asked for, or by the last."""
    found: dict[int, Answer] = {}
    waiting = list(range(len(given.vectors)))
    for way in given.ways:
        answered = run(way, [given.vectors[number] for number in waiting])
        for number, rows in zip(waiting, answered, strict=True):
            if way is given.ways[-1] or request.is_whole(rows):
                found[number] = Answer(request, request.in_order(rows), way.path)
        waiting = [number for number in waiting if number not in found]
        if not waiting:
            break
    return [found[number] for number in range(len(given.vectors))]


def _without_index(program: Program) -> Sequence[Way]:
    last = program.ways[-1]
    if isinstance(last.attempt, Exact):
        return [replace(last, path=SearchPath.EXACT)]
    name = program.request.field.name
    raise InvalidData(
        f"field {name!r}: its index is in half precision, which does not hold the query vector, and "
        "exact=False forbids a search without it: scale the vector, or leave exact out",
        field=name,
    )


def _program(collection: Opened, asked: Asked, after: Position | None) -> Program:
    def explain(request: Request, conditions: Conditions) -> Rows:
        return collection.fetch(estimating.rows(request, conditions))

    database = collection.database
    maker = Maker(database, collection.version, collection.description, explain)
    return maker.program(asked, after)


def _program_at_once(database: Database, collection: str, found: Known, asked: Asked) -> Program:
    kept: Program | None = database.programs.known(of_version(found.version, asked.key))
    if kept is not None:
        return kept

    def explain(request: Request, conditions: Conditions) -> Rows:
        shape = shape_of(database, found.version, request.field.name)

        def commands(session: Session) -> list[Command]:
            build = partial(estimating.rows, request, conditions)
            return [shape.compiled("explain", conditions, build, session).filled({})]

        [rows] = rows_at_once(database, collection, "search", found.version, commands)
        return rows

    return Maker(database, found.version, found.description, explain).program(asked)


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
