"""A vector search as statements, and its results. Pure.

Two forms. By the index: a materialised query fetches the candidates, an outer one puts them in order, for the
index's relaxed iteration hands them out nearly sorted. Exact: the distance as an expression that no vector index
can serve, so that every matching row is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Float, Select, Table, bindparam, case, literal, null, select
from sqlalchemy.types import NullType

from .ddl import Statement, set_local
from .description import CollectionDescription, IndexDescription, IndexState
from .errors import InvalidArgument
from .projection import Projection, Record
from .schema import Field, Hnsw, Metric, metrics_of
from .tables import OPERATORS, qualified_operator

MAX_LIMIT = 16_384
_MAX_EF_SEARCH = 1_000
_DEFAULT_EF_SEARCH = 100  # measured: recall .989 at ef 100, .973 at pgvector's default of 40, for 1.7 times its cost


class SearchPath(StrEnum):
    """How an answer was found."""

    INDEX = "index"
    EXACT = "exact"
    INDEX_THEN_EXACT = "index+exact"


@dataclass(frozen=True, slots=True)
class Hit:
    """An entity found: its primary key, its score by the metric, and the fields asked for."""

    id: int | str
    distance: float
    fields: Record


class Hits(Sequence[Hit]):
    """What one query vector found, nearest first; equal distances in the order of the primary key."""

    def __init__(self, hits: Sequence[Hit], path: SearchPath) -> None:
        self._hits = tuple(hits)
        self.path = path

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Hits: ...
    def __getitem__(self, index: int | slice) -> Hit | Hits:
        return Hits(self._hits[index], self.path) if isinstance(index, slice) else self._hits[index]

    def __len__(self) -> int:
        return len(self._hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._hits)

    @cached_property
    def ids(self) -> NDArray[Any]:
        """The primary keys: int64, or object for VARCHAR."""
        keys = [hit.id for hit in self._hits]
        return np.array(keys, dtype=object if any(isinstance(key, str) for key in keys) else np.int64)

    @cached_property
    def distances(self) -> NDArray[np.float64]:
        return np.array([hit.distance for hit in self._hits], dtype=np.float64)

    def to_dicts(self) -> list[Record]:
        """Each hit as a dict: its fields, then id and distance, which a field of that name gives way to."""
        return [{**hit.fields, "id": hit.id, "distance": hit.distance} for hit in self._hits]

    def __repr__(self) -> str:
        nearest = f", nearest id={self._hits[0].id!r} distance={self._hits[0].distance:.4g}" if self._hits else ""
        return f"<Hits {len(self._hits)}{nearest}, by {self.path}>"


def check_limit(limit: object) -> int:
    if type(limit) is not int or not 1 <= limit <= MAX_LIMIT:
        raise InvalidArgument(f"limit must be an int from 1 to {MAX_LIMIT:,}, got {limit!r}")
    return limit


def metric_of(description: CollectionDescription, field: Field, metric: Metric | str | None) -> Metric:
    """The metric asked for, or that of the field's index, or the type's usual one where there is no index."""
    possible = metrics_of(field.data_type)
    if metric is not None:
        if metric not in possible:
            raise InvalidArgument(
                f"field {field.name!r} is {field.data_type}: metric {metric!r} is not one of {', '.join(possible)}"
            )
        return Metric(metric)
    indexed = {index.metric for index in description.vector_indexes(field.name) if index.metric is not None}
    if len(indexed) > 1:
        raise InvalidArgument(
            f"field {field.name!r} has indexes by {', '.join(sorted(indexed))}: say which, metric=..."
        )
    return indexed.pop() if indexed else possible[0]


def usable_index(description: CollectionDescription, field: Field, metric: Metric) -> IndexDescription | None:
    return next(
        (
            index
            for index in description.vector_indexes(field.name)
            if index.metric is metric and index.state is IndexState.READY
        ),
        None,
    )


def index_settings(index: IndexDescription, limit: int) -> Iterator[Statement]:
    """What the index needs so that it goes on until `limit` rows match, for this transaction."""
    if isinstance(index.spec, Hnsw):
        yield set_local("hnsw.ef_search", min(_MAX_EF_SEARCH, max(_DEFAULT_EF_SEARCH, limit)))
        yield set_local("hnsw.iterative_scan", "relaxed_order")
    else:
        lists = getattr(index.spec, "lists", 1)
        yield set_local("ivfflat.probes", max(1, round(lists**0.5)))
        yield set_local("ivfflat.iterative_scan", "relaxed_order")


QUERY = "vecstore_query"

# No field can have these names.
_ID, _DISTANCE, _VECTOR = "vecstore.id", "vecstore.distance", "vecstore.vector"

_DOUBTFUL = tuple(literal(distance, literal_execute=True) for distance in (0.0, 1.0, 2.0))


def _distance(table: Table, field: Field, metric: Metric, extension_schema: str) -> ColumnElement[float]:
    operator = qualified_operator(OPERATORS[metric], extension_schema)
    compared: ColumnElement[float] = table.c[field.name].op(operator, return_type=Float())(
        bindparam(QUERY, value=None, type_=NullType())
    )
    return compared


@dataclass(frozen=True)
class Request:
    """A search of one field, the query vector still to be bound."""

    table: Table
    field: Field
    metric: Metric
    key: str
    limit: int
    projection: Projection
    conditions: tuple[ColumnElement[bool], ...]
    extension_schema: str

    def _matching(self, distance: ColumnElement[float]) -> Select[Any]:
        statement = select(
            self.table.c[self.key].label(_ID), distance.label(_DISTANCE), *self.projection.columns(self.table)
        )
        if self.field.nullable:
            statement = statement.where(self.table.c[self.field.name] != null())
        return statement.where(*self.conditions)

    def _limit(self) -> ColumnElement[int]:
        # Written into the text: a plan for any limit would be a plan for none.
        return literal(self.limit, literal_execute=True)

    def by_index(self) -> Select[Any]:
        """Candidates in the index's order, then sorted."""
        distance = _distance(self.table, self.field, self.metric, self.extension_schema)
        found = self._matching(distance).order_by(distance).limit(self._limit()).cte("found")
        found = found.prefix_with("MATERIALIZED")
        return select(found).order_by(found.c[_DISTANCE], found.c[_ID])

    def exact(self) -> Select[Any]:
        """Every matching row compared: an expression on top of the distance keeps any vector index out."""
        distance = _distance(self.table, self.field, self.metric, self.extension_schema)
        if self.metric is Metric.COSINE:
            return self._exact_by_direction(distance)
        distance = distance + literal(0, literal_execute=True)
        return self._matching(distance).order_by(distance, self.table.c[self.key]).limit(self._limit())

    def _exact_by_direction(self, distance: ColumnElement[float]) -> Select[Any]:
        """Every matching row that has a direction, which a zero vector has not.

        pgvector divides by the norms in single precision: for a zero vector it answers NaN, for one that is nearly
        zero a distance of 0 or 2, the ends of its range, and for a huge one 1. Only such an answer is asked again, of
        the vector and itself: 0 of any other vector, NaN of these, which sorts last.
        """
        compared = self._matching(distance).add_columns(self.table.c[self.field.name].label(_VECTOR))
        # OFFSET 0 keeps the distance from being computed anew in each place that names it.
        row = compared.offset(literal(0, literal_execute=True)).subquery("compared")
        operator = qualified_operator(OPERATORS[Metric.COSINE], self.extension_schema)
        of_itself: ColumnElement[float] = row.c[_VECTOR].op(operator, return_type=Float())(row.c[_VECTOR])
        found = row.c[_DISTANCE]
        certain = case((found.in_(_DOUBTFUL), found + of_itself), else_=found)
        columns = [column for column in row.c if column.key not in {_ID, _DISTANCE, _VECTOR}]
        ordered = select(row.c[_ID], certain.label(_DISTANCE), *columns)
        return ordered.order_by(certain, row.c[_ID]).limit(self._limit())

    def hits(self, rows: Sequence[Sequence[Any]], path: SearchPath) -> Hits:
        """Rows of either form as hits. A zero vector has no direction: under COSINE it is never found."""
        score = SCORES[self.metric]
        record = self.projection.record
        return Hits([Hit(row[0], score(row[1]), record(row[2:])) for row in rows if not math.isnan(row[1])], path)


def _squared(distance: float) -> float:
    return distance * distance


def _negated(distance: float) -> float:
    return -distance


def _similarity(distance: float) -> float:
    return 1.0 - distance


def _itself(distance: float) -> float:
    return distance


# pgvector's operators order ascending; Milvus's scores are these.
SCORES: Mapping[Metric, Any] = {
    Metric.L2: _squared,
    Metric.IP: _negated,
    Metric.COSINE: _similarity,
    Metric.HAMMING: _itself,
    Metric.JACCARD: _itself,
}
