"""What a comparison compares: values, fields, elements of arrays, paths into JSON, and arithmetic on one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from ..schema import INTEGER_BITS, DataType, Field
from .moments import Span


class Kind(StrEnum):
    """What values can be compared with each other."""

    BOOL = "a boolean"
    INT = "an integer"
    FLOAT = "a number"
    STRING = "a string"
    MOMENT = "a timestamp"
    INTERVAL = "an interval"
    LIST = "a list"
    JSON = "JSON"
    ARRAY = "an array"
    VECTOR = "a vector"


NUMBERS = frozenset({Kind.INT, Kind.FLOAT})

_KINDS: Mapping[DataType, Kind] = {
    **dict.fromkeys(INTEGER_BITS, Kind.INT),
    DataType.BOOL: Kind.BOOL,
    DataType.FLOAT: Kind.FLOAT,
    DataType.DOUBLE: Kind.FLOAT,
    DataType.VARCHAR: Kind.STRING,
    DataType.TEXT: Kind.STRING,
    DataType.JSON: Kind.JSON,
    DataType.ARRAY: Kind.ARRAY,
    DataType.TIMESTAMPTZ: Kind.MOMENT,
}

Scalar = bool | int | float | str | datetime


def kind_of_value(value: object) -> Kind:
    """The kind of a Python value; bool before int, for it is one."""
    for types, kind in _OF_VALUES:
        if isinstance(value, types):
            return kind
    raise TypeError(type(value).__name__)


_OF_VALUES: tuple[tuple[Any, Kind], ...] = (
    (bool, Kind.BOOL),
    (int, Kind.INT),
    (float, Kind.FLOAT),
    (str, Kind.STRING),
    (datetime, Kind.MOMENT),
    (Span, Kind.INTERVAL),
    ((list, tuple), Kind.LIST),
)


@dataclass(frozen=True, slots=True)
class Value:
    """A constant; a list is a tuple of plain values."""

    value: Any
    position: int
    from_template: bool = False

    @property
    def kind(self) -> Kind:
        return kind_of_value(self.value)


@dataclass(frozen=True, slots=True)
class FieldOf:
    """A field as a whole."""

    field: Field
    position: int

    @property
    def kind(self) -> Kind:
        return Kind.VECTOR if self.field.data_type.is_vector else _KINDS[self.field.data_type]

    @property
    def data_type(self) -> DataType:
        return self.field.data_type


@dataclass(frozen=True, slots=True)
class ElementOf:
    """An element of an array field, counted from 0."""

    field: Field
    index: int
    position: int

    @property
    def kind(self) -> Kind:
        return _KINDS[self.data_type]

    @property
    def data_type(self) -> DataType:
        assert self.field.element_type is not None  # noqa: S101 - Field has checked it
        return self.field.element_type


@dataclass(frozen=True, slots=True)
class PathOf:
    """A place in a JSON column."""

    column: str
    keys: tuple[str | int, ...]
    position: int

    @property
    def kind(self) -> Kind:
        return Kind.JSON


Target = FieldOf | ElementOf | PathOf


@dataclass(frozen=True, slots=True)
class ArithmeticOf:
    """One target and one constant; reflected: the constant stands on the left."""

    operator: str
    target: Target
    constant: Value
    reflected: bool
    position: int

    @property
    def kind(self) -> Kind:
        return self.target.kind


@dataclass(frozen=True, slots=True)
class LengthOf:
    """array_length(...)."""

    target: FieldOf | PathOf
    position: int

    @property
    def kind(self) -> Kind:
        return Kind.INT


Operand = Value | Target | ArithmeticOf | LengthOf
