"""The order that a caller asks for: `order_by="year:desc"`. Pure.

NULL comes last ascending and first descending: so says Milvus, and so does PostgreSQL where nothing is said. Text is in
the order of the database, as in filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement

from .errors import InvalidArgument
from .schema import CollectionSchema, DataType, Field

_DESCENDING = {"asc": False, "desc": True}


@dataclass(frozen=True, slots=True)
class Order:
    field: Field
    descending: bool = False

    def by(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return directed(column, descending=self.descending)


def directed(expression: ColumnElement[Any], *, descending: bool) -> ColumnElement[Any]:
    return expression.desc() if descending else expression.asc()


def parsed(schema: CollectionSchema, order_by: Any) -> tuple[Order, ...]:
    """The fields of `order_by`, the first deciding first; raises InvalidArgument or FieldNotFound."""
    return tuple(Order(plain_field(schema, name, "order_by"), descending) for name, descending in terms(order_by))


def terms(order_by: Any) -> tuple[tuple[str, bool], ...]:
    """What `order_by` names, and whether descending: "year", "year:desc", or a list of such."""
    listed = () if order_by is None else [order_by] if isinstance(order_by, str) else order_by
    if not isinstance(listed, Sequence) or not all(isinstance(term, str) for term in listed):
        raise InvalidArgument(f"order_by must be 'field', 'field:desc' or a list of them, got {order_by!r:.80}")
    return tuple(map(_term, listed))


def _term(term: str) -> tuple[str, bool]:
    name, colon, direction = (part.strip() for part in term.partition(":"))
    if colon and direction.lower() not in _DESCENDING:
        raise InvalidArgument(f"order_by: {term!r:.80} must end in ':asc' or ':desc', or name a field alone")
    return name, bool(colon) and _DESCENDING[direction.lower()]


def plain_field(schema: CollectionSchema, name: str, what: str) -> Field:
    """A field of one value, which can be compared and told apart; raises FieldNotFound or InvalidArgument."""
    if name not in schema.by_name and (schema.dynamic or "[" in name):
        raise InvalidArgument(
            f"{what}: {name!r:.80} is no field; dynamic keys and JSON paths are not supported here, fields: "
            f"{', '.join(schema.by_name)}"
        )
    field = schema.field(name)
    if field.data_type.is_vector or field.data_type in {DataType.JSON, DataType.ARRAY}:
        raise InvalidArgument(f"{what} needs a field of one value, and field {name!r} is {field.data_type}")
    return field
