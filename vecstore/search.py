"""A vector search as statements. Pure.

Two forms. By the index: a subquery, which its LIMIT keeps apart, fetches the candidates, and an outer one puts them in
order, for the index's relaxed iteration hands them out nearly sorted. Exact: a subquery that nothing can be pushed
into, so that no vector index can serve it and every matching row is looked at. Both give the same columns.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Float,
    FromClause,
    Integer,
    Select,
    Table,
    and_,
    bindparam,
    func,
    literal,
    null,
    or_,
    over,
    select,
)
from sqlalchemy.types import NullType

from .description import CollectionDescription, IndexDescription, IndexState
from .errors import InvalidArgument
from .hits import HIT, Hits, SearchPath
from .ordering import Order
from .projection import Projection, Record
from .schema import Field, Metric, metrics_of
from .scores import SCORES, ScoreRange
from .tables import OPERATORS, half_precision, qualified_operator

MAX_CANDIDATES = 16_384
_SPARE = 4


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


QUERY = "vecstore_query"

# No field can have these names.
_ID, _DISTANCE, _VECTOR, _PLACE, _GROUP = (
    f"vecstore.{name}" for name in ("id", "distance", "vector", "place", "group")
)
_ORDER = "vecstore.order"

_BY_DISTANCE = itemgetter(1, 0, 2)  # of the rows of both forms


def _number(value: int) -> ColumnElement[int]:
    # Written into the text: a plan for any limit would be a plan for none.
    return literal(value, literal_execute=True)


def _float(value: int) -> ColumnElement[float]:
    return literal(float(value), literal_execute=True)


@dataclass(frozen=True, slots=True)
class Grouping:
    """The best `size` entities of each value of one or several fields; strict: an index must fill each group, or it is
    not asked.
    """

    fields: tuple[Field, ...]
    size: int
    strict: bool

    @property
    def labels(self) -> list[str]:
        """Of the fields, as long as the groups have no numbers."""
        return [_GROUP, *(f"{_GROUP}{n}" for n in range(1, len(self.fields)))]


Entity = tuple[Any, Any]
"""A primary key, and the partition, or partition key, that it is unique in."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page of an iterator ended, and how many entities came before: the next page begins after it."""

    count: int
    distance: float
    key: int | str
    place: Any


def place_of(table: Table, key: str) -> Column[Any]:
    """What tells entities of one key apart, which two partitions may hold: the partition's name, or its key."""
    return next(column for column in table.primary_key if column.key != key)


@dataclass(frozen=True)
class Request:
    """A search of one field, the query vector still to be bound.

    limit, offset  in rows, or in groups where there is a grouping
    after          only what comes after this position
    """

    table: Table
    field: Field
    metric: Metric
    key: str
    limit: int
    projection: Projection
    conditions: tuple[ColumnElement[bool], ...]
    extension_schema: str
    offset: int = 0
    scores: ScoreRange | None = None
    grouping: Grouping | None = None
    order_by: tuple[Order, ...] = ()
    after: Position | None = None

    def candidates(self, *, halved: bool) -> int:
        """Rows that an index is asked for: more than are needed where its order or their groups decide among them."""
        needed = (self.limit + self.offset) * (1 if self.grouping is None else self.grouping.size)
        return min(MAX_CANDIDATES, _SPARE * needed + _SPARE if halved or self.grouping is not None else needed)

    @property
    def passed_over(self) -> int:
        """Rows near the query that are left out for their distance, as far as it is known."""
        return 0 if self.after is None else self.after.count

    @property
    def is_filtered(self) -> bool:
        near_end = self.scores is not None and self.scores.range_filter is not None
        return bool(self.conditions) or self.after is not None or near_end

    @cached_property
    def _place(self) -> Column[Any]:
        return place_of(self.table, self.key)

    def _distance(self, vector: ColumnElement[Any], query: ColumnElement[Any]) -> ColumnElement[float]:
        operator = qualified_operator(OPERATORS[self.metric], self.extension_schema)
        compared: ColumnElement[float] = vector.op(operator, return_type=Float())(query)
        return compared

    @property
    def _query(self) -> ColumnElement[Any]:
        return bindparam(QUERY, value=None, type_=NullType())

    def _matching(self, *columns: ColumnElement[Any]) -> Select[Any]:
        hidden = [self._place.label(_PLACE)]
        if self.grouping is not None:
            labelled = zip(self.grouping.fields, self.grouping.labels, strict=True)
            hidden += [self.table.c[field.name].label(label) for field, label in labelled]
        hidden += [self.table.c[order.field.name].label(f"{_ORDER}{n}") for n, order in enumerate(self.order_by)]
        statement = select(self.table.c[self.key].label(_ID), *columns, *hidden, *self.projection.columns(self.table))
        if self.field.nullable:
            statement = statement.where(self.table.c[self.field.name] != null())
        return statement.where(*self.conditions)

    def by_index(self, *, halved: bool) -> Select[Any]:
        """Candidates in the index's order, then sorted; halved: by an index of half precision, in its order first."""
        vector = self.table.c[self.field.name]
        distance = self._distance(vector, self._query)
        nearness = distance
        if halved:
            rough = [half_precision(side, self.field, self.extension_schema) for side in (vector, self._query)]
            nearness = self._distance(*rough)
        bounds = self._bounds(distance, self.table.c[self.key], self._place)
        found = self._matching(distance.label(_DISTANCE)).where(*bounds)
        found = found.order_by(nearness).limit(_number(self.candidates(halved=halved)))
        return found if self._is_ordered_here and not halved else self._ordered(found.subquery("found"))

    def exact(self) -> Select[Any]:
        """Every matching row compared.

        A zero vector has no direction: by COSINE it is never found. pgvector divides by the norms in single precision:
        for a zero vector it answers NaN, for one that is nearly zero a distance of 0 or 2, the ends of its range, and
        for a huge one 1. Only such an answer is asked again, of the vector and itself: NaN of these, and no other.
        """
        vector = self.table.c[self.field.name]
        columns = [self._distance(vector, self._query).label(_DISTANCE)]
        if self.metric is Metric.COSINE:
            columns.append(vector.label(_VECTOR))
        # OFFSET 0 keeps the distance from being computed anew in each place that names it, and the index out.
        row = self._matching(*columns).offset(_number(0)).subquery("compared")
        distance: ColumnElement[float] = row.c[_DISTANCE]
        bounds = self._bounds(distance, row.c[_ID], row.c[_PLACE])
        if self.metric is Metric.COSINE:
            certain = and_(distance > _float(0), distance < _float(2), distance != _float(1))
            bounds.append(or_(certain, self._distance(row.c[_VECTOR], row.c[_VECTOR]) < _float(3)))  # NaN is not less
        found = select(*(column for column in row.c if column.key != _VECTOR)).where(*bounds)
        return self._ordered(found.subquery("found"))

    def _bounds(
        self, distance: ColumnElement[float], key: ColumnElement[Any], place: ColumnElement[Any]
    ) -> list[ColumnElement[bool]]:
        """What is asked of the distance itself."""
        near = None if self.scores is None else self.scores.not_too_near(distance)
        bounds = [] if near is None else [near]
        if self.after is not None:
            at = literal(self.after.distance, Float())
            after_key = literal(self.after.key, key.type)
            after_place = literal(self.after.place, place.type)
            same_key = and_(key == after_key, place > after_place)
            bounds.append(or_(distance > at, and_(distance == at, or_(key > after_key, same_key))))
        return bounds

    def _ordered(self, found: FromClause) -> Select[Any]:
        """The page of what was found, nearest first, or in the order asked for."""
        page = self._page(found) if self.grouping is None else self._page_of_groups(found, self.grouping)
        if not self.order_by:
            return page
        row = page.subquery("page")
        orders = [order.by(row.c[f"{_ORDER}{n}"]) for n, order in enumerate(self.order_by)]
        return select(*row.c).order_by(*orders, row.c[_DISTANCE], row.c[_ID])

    def _page(self, found: FromClause) -> Select[Any]:
        # A subquery is taken to be in the order it was asked for (since PostgreSQL 17 any), and what an index hands
        # out nearly sorted would stay so: an expression is a thing that nothing is sorted by.
        nearest = found.c[_DISTANCE] + literal(0, literal_execute=True)
        statement = select(*found.c).order_by(nearest, found.c[_ID], found.c[_PLACE])
        return statement.limit(_number(self.limit)).offset(_number(self.offset))

    def _page_of_groups(self, found: FromClause, grouping: Grouping) -> Select[Any]:
        """The groups in the order of their nearest entity, and of each the nearest entities."""
        nearest_first = (found.c[_DISTANCE], found.c[_ID], found.c[_PLACE])
        labels = grouping.labels
        over_group = partial(over, partition_by=[found.c[label] for label in labels], order_by=nearest_first)
        rank = over_group(func.pg_catalog.row_number()).label("vecstore.rank")
        first = func.pg_catalog.first_value
        heads = [over_group(first(column)).label(f"vecstore.head{n}") for n, column in enumerate(nearest_first)]
        ranked = select(*found.c, rank, *heads).subquery("ranked")
        number = (
            func.pg_catalog.dense_rank(type_=Integer())
            .over(order_by=[ranked.c[head.name] for head in heads])
            .label(_GROUP)
        )
        kept = [column.key for column in found.c if column.key not in labels[1:]]
        columns = [number if key == _GROUP else ranked.c[key] for key in kept]
        numbered = select(*columns).where(ranked.c["vecstore.rank"] <= _number(grouping.size)).subquery("numbered")
        on_page = numbered.c[_GROUP].between(_number(self.offset + 1), _number(self.offset + self.limit))
        statement = select(*numbered.c).where(on_page)
        return statement.order_by(numbered.c[_DISTANCE], numbered.c[_ID], numbered.c[_PLACE])

    # Rows of both forms: key, distance, place, the group's number, what is ordered by, then the projection's columns.

    @cached_property
    def _is_ordered_here(self) -> bool:
        """Whether the candidates are the page, and only to be put in order: to sort ten rows costs the server 30 µs.

        Texts it compares in its own way.
        """
        is_page = not self.offset and self.grouping is None and not self.order_by
        return is_page and isinstance(self.table.c[self.key].type, BigInteger)

    def in_order(self, rows: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
        """Rows of either form, nearest first; those that have no distance, and are no hits, are left out."""
        found = [row for row in rows if not math.isnan(row[1])]
        return sorted(found, key=_BY_DISTANCE) if self._is_ordered_here else found

    def is_whole(self, rows: Sequence[Sequence[Any]]) -> bool:
        """Whether an index gave all that there can be: the page is full, or its last rows are beyond the range."""
        if self.grouping is None:
            full = len(rows) >= self.limit
        else:
            sizes = Counter(row[3] for row in rows)
            filled = not self.grouping.strict or all(size == self.grouping.size for size in sizes.values())
            full = filled and len(sizes) >= self.limit
        return full or any(self._is_beyond(row[1]) for row in rows)

    def _is_beyond(self, distance: float) -> bool:
        return self.scores is not None and not self.scores.holds(SCORES[self.metric](distance))

    def hits(self, rows: Sequence[Sequence[Any]], path: SearchPath) -> Hits:
        """Rows in order as hits; those beyond the range are none."""
        score, kept = SCORES[self.metric], self._kept(rows)
        scores = [score(row[1]) for row in kept]
        if self.projection.is_empty:
            records: list[Record] = [{} for _ in kept]
        else:
            record = self.projection.record
            first = 3 + (self.grouping is not None) + len(self.order_by)
            records = [record(row[first:]) for row in kept]
        return Hits(map(HIT, zip([row[0] for row in kept], scores, records, strict=True)), path)

    def entities(self, rows: Sequence[Sequence[Any]]) -> list[Entity]:
        """What tells the entities of hits() from all others, in their order."""
        return [(row[0], row[2]) for row in self._kept(rows)]

    def _kept(self, rows: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
        return list(rows) if self.scores is None else [row for row in rows if not self._is_beyond(row[1])]

    def position(self, row: Sequence[Any], count: int) -> Position:
        """Where a page that ends with this row ends."""
        return Position(count, row[1], row[0], row[2])
