"""Operands as SQL: columns, typed places in JSON, and constants as bound parameters with a type."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    Double,
    Integer,
    Numeric,
    SmallInteger,
    Table,
    Text,
    any_,
    case,
    cast,
    func,
    literal,
    literal_column,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REAL
from sqlalchemy.types import TypeEngine

from ..schema import INTEGER_BITS, DataType
from .operands import NUMBERS, ElementOf, Kind, PathOf, Target

SQL = ColumnElement[Any]

_BOUND: Mapping[DataType, TypeEngine[Any]] = {
    **dict.fromkeys(INTEGER_BITS, BigInteger()),
    DataType.BOOL: Boolean(),
    DataType.FLOAT: REAL(),
    DataType.DOUBLE: Double(),
    DataType.VARCHAR: Text(),
    DataType.TEXT: Text(),
    DataType.TIMESTAMPTZ: DateTime(timezone=True),
}
_ELEMENTS: Mapping[DataType, TypeEngine[Any]] = {
    **_BOUND,
    DataType.INT8: SmallInteger(),
    DataType.INT16: SmallInteger(),
    DataType.INT32: Integer(),
}

# A key that PostgreSQL takes for an index of an array, although it is none in JSON Pointer: "-1", "01".
_ODD_INDEX = re.compile(r"\s*[+-]?[0-9]+")
_INDEX = re.compile(r"0|[1-9][0-9]*")


def column_of(table: Table, target: Target) -> SQL:
    """The column, element or JSON value of a target."""
    if isinstance(target, PathOf):
        return value_at(table.c[target.column], target.keys)
    column: SQL = table.c[target.field.name]
    return column[literal(target.index + 1, Integer())] if isinstance(target, ElementOf) else column


def bound(value: Any, data_type: DataType) -> SQL:
    """A constant to be compared with a column of the type."""
    if data_type in INTEGER_BITS and isinstance(value, float):
        return literal(decimal_of(value), Numeric())
    return literal(_fitted(value, data_type), _BOUND[data_type])


def bound_array(values: Iterable[Any], data_type: DataType) -> SQL:
    """Constants of which a column of the type may be one."""
    return literal([_fitted(value, data_type) for value in values], ARRAY(_BOUND[data_type]))


def element_array(values: Sequence[Any], data_type: DataType) -> SQL:
    """Constants as an array of the very type of an array field; they must fit, see `fits`."""
    return literal([_fitted(value, data_type) for value in values], ARRAY(_ELEMENTS[data_type]))


def fits(value: Any, data_type: DataType) -> bool:
    """Whether an element of the type can have the value at all."""
    bits = INTEGER_BITS.get(data_type)
    return bits is None or -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)


def _fitted(value: Any, data_type: DataType) -> Any:
    """A number as the field keeps it: 0.1 is another number in single precision."""
    if data_type is DataType.FLOAT:
        with np.errstate(over="ignore", under="ignore"):
            return float(np.float32(value))
    return float(value) if data_type is DataType.DOUBLE else value


def decimal_of(value: float) -> Decimal:
    """A number as JSON writes it."""
    return Decimal(repr(value))


def bound_number(value: float) -> SQL:
    return literal(decimal_of(value), Numeric())


def bound_json(value: Any) -> SQL:
    return literal(json_form(value), JSONB())


def json_form(value: Any) -> Any:
    """A constant as a JSON document; a tuple is a list."""
    return [json_form(item) for item in value] if isinstance(value, tuple) else value


def bound_json_array(values: Iterable[Any]) -> SQL:
    """jsonb[], from texts: the driver knows arrays of texts best."""
    texts = [json.dumps(json_form(value), ensure_ascii=False) for value in values]
    return cast(literal(texts, ARRAY(Text())), ARRAY(JSONB()))


# Places in JSON


_ROOT: SQL = literal_column("'{}'::text[]", ARRAY(Text()))


def _path(keys: Sequence[str | int]) -> SQL:
    return literal([str(key) for key in keys], ARRAY(Text())) if keys else _ROOT


def _is_odd(keys: Sequence[str | int]) -> bool:
    return any(isinstance(key, str) and _ODD_INDEX.fullmatch(key) and not _INDEX.fullmatch(key) for key in keys)


def value_at(column: SQL, keys: Sequence[str | int]) -> SQL:
    """The JSON value at a path, NULL where there is none."""
    if not keys:
        return column
    if not _is_odd(keys):
        return column.op("#>", return_type=JSONB())(_path(keys))
    for key in keys:
        odd = _is_odd([key])
        right = literal(key, Text()) if odd else _path([key])
        column = column.op("->" if odd else "#>", return_type=JSONB())(right)
    return column


def text_at(column: SQL, keys: Sequence[str | int]) -> SQL:
    if _is_odd(keys):
        column, keys = value_at(column, keys), ()
    return column.op("#>>", return_type=Text())(_path(keys))


def type_at(column: SQL, keys: Sequence[str | int]) -> SQL:
    return func.pg_catalog.jsonb_typeof(value_at(column, keys), type_=Text())


_STRING: SQL = literal_column("'string'", Text())
_NUMBER: SQL = literal_column("'number'", Text())
_TRUTH: SQL = literal_column("'boolean'", Text())
_ARRAY: SQL = literal_column("'array'", Text())
_NULL: SQL = literal_column("'null'", Text())


def string_at(column: SQL, keys: Sequence[str | int]) -> SQL:
    """The string at a path, NULL where there is another thing or none: also the expression of an index."""
    return case((type_at(column, keys) == _STRING, text_at(column, keys)))


def number_at(column: SQL, keys: Sequence[str | int]) -> SQL:
    """The number at a path, NULL where there is another thing or none: also the expression of an index."""
    return case((type_at(column, keys) == _NUMBER, cast(text_at(column, keys), Numeric())))


def truth_at(column: SQL, keys: Sequence[str | int]) -> SQL:
    """The boolean at a path, NULL where there is another thing or none: also the expression of an index."""
    return case((type_at(column, keys) == _TRUTH, cast(text_at(column, keys), Boolean())))


def on_array(column: SQL, keys: Sequence[str | int], answer: SQL) -> SQL:
    """An answer that is only asked of arrays, NULL for all else."""
    return case((type_at(column, keys) == _ARRAY, answer))


def is_present(column: SQL, keys: Sequence[str | int]) -> SQL:
    """Whether there is a value other than null; never unknown."""
    return func.coalesce(type_at(column, keys) != _NULL, literal_column("false", Boolean()))


def containment(column: SQL, keys: Sequence[str | int], alternatives: Iterable[Any]) -> SQL | None:
    """That the document contains one of the values at the path; None for one that may lead through arrays."""
    if any(isinstance(key, int) or _ODD_INDEX.fullmatch(key) for key in keys):
        return None
    documents = [_document(keys, value) for value in alternatives]
    contained = bound_json(documents[0]) if len(documents) == 1 else any_(bound_json_array(documents))
    return column.op("@>", return_type=Boolean(), is_comparison=True)(contained)


def _document(keys: Sequence[str | int], value: Any) -> Any:
    """The smallest document that has the value at a path."""
    document = json_form(value)
    for key in reversed(keys):
        document = {key: document}
    return document


def typed_at(column: SQL, keys: Sequence[str | int], kind: Kind) -> SQL:
    """The value at a path for comparison with constants of a kind."""
    if kind is Kind.STRING:
        return string_at(column, keys)
    return truth_at(column, keys) if kind is Kind.BOOL else number_at(column, keys)


def bound_array_of_json(group: Sequence[Any], kind: Kind) -> SQL:
    """Constants of one kind of which the value at a path may be one."""
    if kind in NUMBERS:
        return literal([decimal_of(value) for value in group], ARRAY(Numeric()))
    return literal(list(group), ARRAY(Boolean() if kind is Kind.BOOL else Text()))
