"""The order that a caller asks for: `order_by="year:desc"`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement

from .schema import CollectionSchema, Field


@dataclass(frozen=True, slots=True)
class Order:
    field: Field
    descending: bool = False

    def by(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return column.desc() if self.descending else column.asc()


def parsed(schema: CollectionSchema, order_by: Any) -> tuple[Order, ...]:
    items = [order_by] if isinstance(order_by, str) else list(order_by)
    return tuple(Order(schema.field(item.split(":")[0]), item.endswith(":desc")) for item in items)
