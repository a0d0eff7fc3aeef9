"""What can be computed over many entities: `count(*)`, `avg(year)`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Double, Table, cast, func

from .errors import InvalidArgument
from .schema import INTEGER_BITS, CollectionSchema, DataType, Field

_NUMBERS = frozenset({*INTEGER_BITS, DataType.FLOAT, DataType.DOUBLE})
_ORDERED = _NUMBERS | {DataType.VARCHAR, DataType.TEXT, DataType.TIMESTAMPTZ}

# The types whose fields each takes.
_TAKES: Mapping[str, frozenset[DataType]] = {
    "count": frozenset(DataType),
    "sum": _NUMBERS,
    "avg": _NUMBERS,
    "min": _ORDERED,
    "max": _ORDERED,
}
_FUNCTIONS: Mapping[str, Callable[..., ColumnElement[Any]]] = {
    "count": func.pg_catalog.count,
    "sum": func.pg_catalog.sum,
    "avg": func.pg_catalog.avg,
    "min": func.pg_catalog.min,
    "max": func.pg_catalog.max,
}

_GRAMMAR = re.compile(r"\s*(?P<function>[a-z]+)\s*\(\s*(?P<field>\*|\w+)\s*\)\s*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A function over the values of a field that are not NULL; over the entities where there is no field."""

    function: str
    field: Field | None

    def over(self, table: Table) -> ColumnElement[Any]:
        if self.field is None:
            return func.count()
        column: ColumnElement[Any] = table.c[self.field.name]
        if self.function == "sum" and self.field.data_type is DataType.FLOAT:
            column = cast(column, Double())  # PostgreSQL adds single precision up in single precision
        return _FUNCTIONS[self.function](column)

    def loaded(self, value: Any) -> Any:
        """The value as callers get it: PostgreSQL's sum and average of integers are of type numeric."""
        if value is None or self.field is None or self.function not in {"sum", "avg"}:
            return value
        return int(value) if self.function == "sum" and self.field.data_type in INTEGER_BITS else float(value)


def is_aggregate(text: str) -> bool:
    """Whether an output field is meant as an aggregate: a key of the dynamic field may have brackets, too."""
    match = _GRAMMAR.fullmatch(text)
    return match is not None and match["function"].lower() in _FUNCTIONS


def named(text: str) -> tuple[str, str]:
    """The function that a text names, and its field, or "*"; raises InvalidArgument."""
    match = _GRAMMAR.fullmatch(text)
    function = "" if match is None else match["function"].lower()
    if match is None or function not in _FUNCTIONS:
        raise InvalidArgument(
            f"no aggregate {text!r:.80}; there are count(*), and {', '.join(_FUNCTIONS)} of a field: 'avg(year)'"
        )
    if match["field"] == "*" and function != "count":
        raise InvalidArgument(f"{text!r:.80}: {function} needs a field; only count takes *")
    return function, match["field"]


def aggregate(schema: CollectionSchema, text: str) -> Aggregate:
    """The aggregate that a text names; raises InvalidArgument or FieldNotFound."""
    function, name = named(text)
    if name == "*":
        return Aggregate(function, None)
    field = schema.field(name)
    if field.data_type not in _TAKES[function]:
        takes = ", ".join(kind for kind in DataType if kind in _TAKES[function])
        raise InvalidArgument(
            f"{text!r:.80}: field {field.name!r} is {field.data_type}; {function} takes fields of {takes}"
        )
    return Aggregate(function, field)
