"""A query without a vector as statements: entities, or groups of them with their aggregates. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, literal, select, tuple_

from .aggregates import Aggregate, aggregate, is_aggregate
from .conditions import Selection, key_of, rest_of
from .description import CollectionDescription
from .errors import InvalidArgument
from .naming import names_list
from .ordering import Order, directed, parsed, plain_field, terms
from .projection import ALL_FIELDS, Projection, Record, projection
from .schema import CollectionSchema, Field

_MOST_ROWS = 2**63 - 1

Row = Sequence[Any]
Position = tuple[Any, ...]


def _check_rows(name: str, value: object, *, least: int) -> None:
    if type(value) is not int or not least <= value <= _MOST_ROWS:
        raise InvalidArgument(f"{name} must be an int from {least}, got {value!r:.80}")


@dataclass(frozen=True, slots=True)
class Question:
    """What a caller asks of a query. Raises InvalidArgument for what no collection could answer."""

    selection: Selection
    output_fields: Any = None
    limit: int | None = None
    offset: int = 0
    order_by: Any = None
    group_by: Any = None
    aggregates: Any = None

    def __post_init__(self) -> None:
        if self.limit is not None:
            _check_rows("limit", self.limit, least=1)
        _check_rows("offset", self.offset, least=0)
        for name in ("output_fields", "group_by", "aggregates"):
            given = getattr(self, name)
            if isinstance(given, str) and name != "output_fields":
                given = [given]
            if given is not None:
                object.__setattr__(self, name, names_list(given, name))

    @property
    def key(self) -> Hashable | None:
        """Equal where the same is asked; None where that cannot be told."""
        return key_of(self, self.selection)

    @property
    def shape(self) -> Hashable | None:
        """Equal where the same is asked but for the selection."""
        return rest_of(self)


@dataclass(frozen=True)
class Entities:
    """The entities that match, in an order that leaves no two of them equal: the primary key's comes last."""

    table: Table
    projection: Projection
    conditions: tuple[ColumnElement[bool], ...]
    orders: tuple[Order, ...] = ()

    def statement(self, limit: int | None, offset: int = 0, *, after: Position | None = None) -> Select[Any]:
        """One page; after: only what comes behind this position, which means something in the key's order alone."""
        key = tuple(self.table.primary_key)
        statement = select(*key, *self.projection.columns(self.table)).where(*self.conditions)
        if after is not None:
            at = (literal(value, column.type) for value, column in zip(after, key, strict=True))
            statement = statement.where(tuple_(*key) > tuple_(*at))
        orders = (order.by(self.table.c[order.field.name]) for order in self.orders)
        return _page(statement.order_by(*orders, *key), limit, offset)

    @cached_property
    def _key_width(self) -> int:
        return len(self.table.primary_key)

    def record(self, row: Row) -> Record:
        return self.projection.record(row[self._key_width :])

    def position(self, row: Row) -> Position:
        """Where the row stands in the order of the primary key, which is unique with what decides the partition."""
        return tuple(row[: self._key_width])


@dataclass(frozen=True)
class Groups:
    """Entities of equal values as one record each, or all that match as one.

    outputs  what a record holds, by its key
    """

    table: Table
    fields: tuple[Field, ...]
    outputs: tuple[tuple[str, Field | Aggregate], ...]
    conditions: tuple[ColumnElement[bool], ...]
    orders: tuple[tuple[Field | Aggregate, bool], ...] = ()

    def statement(self, limit: int | None, offset: int = 0) -> Select[Any]:
        columns = [self.table.c[field.name] for field in self.fields]
        outputs = [self._expression(output) for _, output in self.outputs]
        orders = [directed(self._expression(of), descending=descending) for of, descending in self.orders]
        statement = select(*outputs).select_from(self.table).where(*self.conditions)
        return _page(statement.group_by(*columns).order_by(*orders, *columns), limit, offset)

    def record(self, row: Row) -> Record:
        return {
            key: output.loaded(value) if isinstance(output, Aggregate) else value
            for (key, output), value in zip(self.outputs, row, strict=True)
        }

    def _expression(self, of: Field | Aggregate) -> ColumnElement[Any]:
        return of.over(self.table) if isinstance(of, Aggregate) else self.table.c[of.name]


def _page(statement: Select[Any], limit: int | None, offset: int) -> Select[Any]:
    # Written into the text: a plan for any limit would be a plan for none.
    if limit is not None:
        statement = statement.limit(literal(limit, literal_execute=True))
    return statement.offset(literal(offset, literal_execute=True)) if offset else statement


def asked_of(description: CollectionDescription, table: Table, question: Question) -> Entities | Groups:
    """What a question asks of a collection; raises FieldNotFound, PartitionNotFound, FilterError, InvalidArgument."""
    if question.group_by or question.aggregates or any(map(is_aggregate, question.output_fields or ())):
        return _groups_of(description, table, question)
    return entities_of(description, table, question)


def entities_of(description: CollectionDescription, table: Table, question: Question) -> Entities:
    schema = description.schema
    fields = projection(schema, [ALL_FIELDS] if question.output_fields is None else question.output_fields)
    conditions = question.selection.conditions(description, table)
    return Entities(table, fields, conditions, parsed(schema, question.order_by))


def _groups_of(description: CollectionDescription, table: Table, question: Question) -> Groups:
    schema = description.schema
    fields = {name: plain_field(schema, name, "group_by") for name in question.group_by or ()}
    ordered = terms(question.order_by)
    if not fields and (question.limit is not None or question.offset or ordered):
        raise InvalidArgument("aggregates without group_by are one record: leave limit, offset and order_by out")
    wanted = fields if question.output_fields is None else question.output_fields
    outputs = {text: _output(schema, fields, text) for text in wanted}
    outputs |= {text: aggregate(schema, text) for text in question.aggregates or ()}
    orders = tuple((_output(schema, fields, text), descending) for text, descending in ordered)
    conditions = question.selection.conditions(description, table)
    return Groups(table, tuple(fields.values()), tuple(outputs.items()), conditions, orders)


def _output(schema: CollectionSchema, fields: Mapping[str, Field], text: str) -> Field | Aggregate:
    if text in fields:
        return fields[text]
    if "(" in text:
        return aggregate(schema, text)
    raise InvalidArgument(
        f"{text!r:.80} is neither grouped by nor an aggregate: name it in group_by, or in one such as 'max(year)'"
    )
