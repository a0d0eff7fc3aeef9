"""What is to be done about a question, but for its vectors: kept for some seconds where it may be asked again."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from sqlalchemy.sql.expression import ClauseElement

from .. import planning, tables
from ..asking import Asked
from ..database import Database
from ..description import CollectionDescription, IndexDescription
from ..errors import IndexNotFound
from ..facts import ServerFacts
from ..hits import SearchPath
from ..ordering import parsed, plain_field
from ..pipeline import Session
from ..planning import Attempt, Exact, Memory
from ..reranking import projected
from ..schema import CollectionSchema
from ..scores import ScoreRange
from ..search import QUERY, Grouping, Position, Request, metric_of, usable_index
from ..shapes import Shape
from ..tables import VECTOR_STORAGE
from ..wire import BIT_OID, Command, Template, WireValue, numbered
from .estimating import Estimator, Explain
from .opening import of_version
from .round_trip import set_local_command


@dataclass(eq=False, slots=True)
class Way:
    """One attempt of a search, as the server is told of it.

    path       how an answer was found that comes of it
    settings   made for its statement, which follows as soon as it was needed
    """

    attempt: Attempt
    path: SearchPath
    settings: Sequence[Command]
    statement: Template | None = None


@dataclass(frozen=True)
class Program:
    """A search that needs nothing but vectors: what is asked in terms of the collection, and the ways to try.

    index  which of the collection's the ways ask; None if they ask none
    oid    of the vectors
    shape  of the request
    """

    request: Request
    index: IndexDescription | None
    ways: Sequence[Way]
    oid: int
    shape: Shape

    def commands(self, session: Session, way: Way, vectors: Sequence[WireValue]) -> list[Command]:
        """The way's statement for each vector."""
        if way.statement is None:
            way.statement = self._statement(session, way.attempt)
        return [way.statement.filled({QUERY: vector}) for vector in vectors]

    def _statement(self, session: Session, attempt: Attempt) -> Template:
        request, is_exact = self.request, isinstance(attempt, Exact)

        def build() -> ClauseElement:
            halved = self.index is not None and self.index.half_precision
            return request.exact() if is_exact else request.by_index(halved=halved)

        return self.shape.compiled(("search", is_exact), request.conditions, build, session, [QUERY])


def _ways(attempts: Sequence[Attempt]) -> list[Way]:
    exactly = SearchPath.EXACT if len(attempts) == 1 else SearchPath.INDEX_THEN_EXACT
    return [
        Way(
            attempt,
            exactly if isinstance(attempt, Exact) else SearchPath.INDEX,
            [set_local_command(*setting) for setting in attempt.settings],
        )
        for attempt in attempts
    ]


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes programs for a collection as it is known.

    version  what it is known by; None where nothing is to be kept
    explain  asks the planner, of estimating.rows()
    """

    database: Database
    version: str | None
    description: CollectionDescription
    explain: Explain

    def program(self, asked: Asked, after: Position | None = None) -> Program:
        """The program of a question; after: of the page that begins there."""
        key = None if after is not None else asked.key
        return self.database.programs.get(of_version(self.version, key), lambda: self._made(asked, after))

    def _made(self, asked: Asked, after: Position | None) -> Program:
        facts = self.database.facts
        request = requested(self.description, facts, asked, after)
        index = usable_index(self.description, request.field, request.metric)
        shape = None if after is not None else asked.shape
        return Program(
            request=request,
            index=index,
            ways=_ways(self._attempts(request, index, asked)),
            oid=facts.vector_oids.get(VECTOR_STORAGE[request.field.data_type], BIT_OID),
            shape=shape_of(self.database, self.version, shape),
        )

    def _attempts(self, request: Request, index: IndexDescription | None, asked: Asked) -> Sequence[Attempt]:
        if index is None and asked.exact is False:
            raise IndexNotFound(
                f"collection {self.description.name!r}: no index of {request.field.name!r} by {request.metric}, and "
                "exact=False forbids a search without one: create_index(), or leave exact out"
            )
        if index is None or asked.exact:
            return [Exact()]
        wanted = request.candidates(halved=index.half_precision) + request.passed_over
        if asked.exact is False:
            return [planning.by_index_alone(index, asked, wanted)]
        estimator = Estimator(self.database.estimates, self.version, self.explain)
        expected = estimator.estimate(request, asked.selection, self.description)
        memory = Memory(self.database.facts.shared_buffers, self.database.facts.seq_page_cost)
        return planning.attempts(index, expected, memory, asked, wanted, filtered=request.is_filtered)


def requested(
    description: CollectionDescription, facts: ServerFacts, asked: Asked, after: Position | None = None
) -> Request:
    """What is asked, in terms of the collection as it stands."""
    schema, table = description.schema, tables.table_of(description, facts.extension_schema)
    field = schema.vector_field(asked.field)
    metric = metric_of(description, field, asked.metric)
    in_range = asked.radius is not None or asked.range_filter is not None
    return Request(
        table=table,
        field=field,
        metric=metric,
        key=schema.primary_key.name,
        limit=asked.limit,
        offset=asked.offset,
        projection=projected(description, table, asked.output_fields),
        conditions=asked.selection.conditions(description, table),
        extension_schema=facts.extension_schema,
        scores=ScoreRange(metric, asked.radius, asked.range_filter) if in_range else None,
        grouping=None if asked.group_by is None else _grouping(schema, asked, asked.group_by),
        order_by=() if asked.order_by is None else parsed(schema, asked.order_by),
        after=after,
    )


def _grouping(schema: CollectionSchema, asked: Asked, group_by: str | Sequence[str]) -> Grouping:
    names = [group_by] if isinstance(group_by, str) else group_by
    fields = tuple(plain_field(schema, name, "group_by") for name in names)
    return Grouping(fields, asked.group_size, asked.strict_group_size)


def shape_of(database: Database, version: str | None, key: Hashable | None) -> Shape:
    """The shape of this key's statements, of a collection as it is known."""
    return Shape(database.statements, of_version(version, key), numbered(database.engine.dialect))
