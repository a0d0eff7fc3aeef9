"""Columns that are no vectors: which values a data type takes, and the one form in which they are stored. Pure.

Types are exact, as Milvus's are: a float is no integer, a bool is no number, a naive time is no moment. The types of a
whole column are looked at as one set, and the values as one array; Python walks through rows only to name a fault.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.schema import DataType, Field
from vecstore.vectors import Array, Fault, Nulls, Rows, picked

from .jsonb import are_texts, json_values

_SHOWN = 40
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL's
_UNIX_EPOCH = np.datetime64("2000-01-01", "us").astype(np.int64)  # ours, counted from NumPy's
_DAY = 86_400_000_000
# The years that a Python datetime has, in microseconds.
_FIRST = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH).days * _DAY
_LAST = ((datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH).days + 1) * _DAY - 1
_FINER_THAN_MICROSECONDS = re.compile(r"[.,]\d{6}\d*[1-9]")


@dataclass(frozen=True, slots=True, eq=False)
class FixedColumn:
    """n values of a fixed width.

    values  (n,): BOOL bool; INT8 and INT16 int16; INT32 int32; INT64 int64; FLOAT float32; DOUBLE float64;
            TIMESTAMPTZ int64, microseconds since 2000-01-01 UTC
    nulls   (n,) True where the value is None; None where there is none
    """

    kind: DataType
    values: Array
    nulls: Nulls = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Rows) -> FixedColumn:
        return FixedColumn(self.kind, self.values[rows], _taken(self.nulls, rows))


@dataclass(frozen=True, slots=True, eq=False)
class TextColumn:
    """n texts (VARCHAR, TEXT); `nulls` as in FixedColumn."""

    values: Sequence[str]
    nulls: Nulls = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Rows) -> TextColumn:
        return TextColumn(picked(self.values, rows), _taken(self.nulls, rows))


@dataclass(frozen=True, slots=True, eq=False)
class JsonColumn:
    """n values in types that are JSON's own, not yet written; `nulls` as in FixedColumn."""

    values: Sequence[Any]
    nulls: Nulls = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Rows) -> JsonColumn:
        return JsonColumn(picked(self.values, rows), _taken(self.nulls, rows))


@dataclass(frozen=True, slots=True, eq=False)
class ArrayColumn:
    """n arrays: row i holds elements[offsets[i]:offsets[i + 1]]; `nulls` as in FixedColumn."""

    elements: PlainColumn
    offsets: NDArray[np.int64]
    nulls: Nulls = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: Rows) -> ArrayColumn:
        starts = self.offsets[:-1][rows]
        lengths = self.offsets[1:][rows] - starts
        offsets = _offsets(lengths)
        places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return ArrayColumn(self.elements.take(places), offsets, _taken(self.nulls, rows))


PlainColumn = FixedColumn | TextColumn | JsonColumn
ScalarColumn = PlainColumn | ArrayColumn


def scalar_column(field: Field, values: Sequence[Any] | Array) -> ScalarColumn:
    """The column of a field that is no vector; no value is None. Raises Fault."""
    if field.data_type is DataType.ARRAY:
        return _array_column(field, values)
    return plain_column(field.data_type, values, max_length=field.max_length)


def plain_column(kind: DataType, values: Sequence[Any] | Array, *, max_length: int | None) -> PlainColumn:
    """The column of one value a row. Raises Fault."""
    if isinstance(values, np.ndarray) and values.ndim != 1:
        raise Fault(0, f"expected one {kind} a row, got an array of shape {values.shape}")
    if kind in _NUMBERS:
        return FixedColumn(kind, _numbers(_NUMBERS[kind], values))
    if kind is DataType.TIMESTAMPTZ:
        return FixedColumn(kind, _moments(values))
    if kind is DataType.JSON:
        return JsonColumn(json_values(_listed(values)))
    return TextColumn(_texts(_listed(values), max_length))


def with_nulls(column: ScalarColumn, nulls: NDArray[np.bool_]) -> ScalarColumn:
    """The column with these rows None, whatever stands in them."""
    return replace(column, nulls=nulls)


# What stands for None while a column is converted.
FILLERS: Mapping[DataType, Any] = {
    **dict.fromkeys((DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64), 0),
    DataType.BOOL: False,
    DataType.FLOAT: 0.0,
    DataType.DOUBLE: 0.0,
    DataType.VARCHAR: "",
    DataType.TEXT: "",
    DataType.JSON: {},
    DataType.ARRAY: (),
    DataType.TIMESTAMPTZ: _EPOCH,
}


def shown(value: object) -> str:
    """A value as messages show it: its repr, cut, and its type."""
    try:
        text = repr(value[: _SHOWN + 1] if isinstance(value, str | bytes) else value)
    except Exception:  # noqa: BLE001  # any repr may fail; an int of 5,000 digits has none
        return f"a {type(value).__name__}"
    return f"{text if len(text) <= _SHOWN else text[:_SHOWN] + '…'} ({type(value).__name__})"


def _taken(nulls: Nulls, rows: Rows) -> Nulls:
    return None if nulls is None else nulls[rows]


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)))


def _listed(values: Sequence[Any] | Array) -> Sequence[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else values


# Numbers


@dataclass(frozen=True, slots=True)
class _Number:
    """What a numeric type takes: Python types, kinds of NumPy's, and the range in which all of it must lie."""

    name: str
    dtype: type[np.generic]
    types: tuple[type, ...]
    kinds: str
    taken: str
    least: float = -np.inf
    most: float = np.inf
    # Every value is made this first: the widest of its sort, so that nothing wraps around.
    wide: type[np.generic] = np.int64

    def takes(self, kind: type) -> bool:
        """Whether values of a Python type are taken; a bool is an int to Python, a timedelta64 to NumPy."""
        return issubclass(kind, self.types) and (np.bool_ in self.types or not issubclass(kind, (bool, np.timedelta64)))


def _integer(name: str, dtype: type[np.generic], bits: int) -> _Number:
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return _Number(name, dtype, (int, np.integer), "iu", f"int from {least} to {most}", least, most)


_REAL_TYPES = (float, int, np.floating, np.integer)

_NUMBERS: Mapping[DataType, _Number] = {
    DataType.BOOL: _Number("BOOL", np.bool_, (bool, np.bool_), "b", "bool", wide=np.bool_),
    DataType.INT8: _integer("INT8", np.int16, 8),
    DataType.INT16: _integer("INT16", np.int16, 16),
    DataType.INT32: _integer("INT32", np.int32, 32),
    DataType.INT64: _integer("INT64", np.int64, 64),
    DataType.FLOAT: _Number("FLOAT", np.float32, _REAL_TYPES, "fiu", "finite numbers of float32", wide=np.float64),
    DataType.DOUBLE: _Number("DOUBLE", np.float64, _REAL_TYPES, "fiu", "finite numbers", wide=np.float64),
}


def _numbers(number: _Number, values: Sequence[Any] | Array) -> Array:
    if not isinstance(values, np.ndarray):
        given = _number_array(number, values)
        if number.dtype is np.int64:  # as wide as it is stored: nothing is left to be rounded or to wrap around
            return given
    elif values.dtype.kind in number.kinds:
        given = values
    elif len(values):
        raise _not_taken(number, 0, values[0])
    else:
        return np.empty(0, number.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = given.astype(number.dtype)
    fit = np.isfinite(rounded) if rounded.dtype.kind == "f" else (given >= number.least) & (given <= number.most)
    if number.dtype is not np.bool_ and not fit.all():
        index = int(np.argmin(fit))
        raise _not_taken(number, index, values[index])
    return rounded


def _number_array(number: _Number, values: Sequence[Any]) -> Array:
    kinds = set(map(type, values))
    if not all(map(number.takes, kinds)):
        index = next(index for index, value in enumerate(values) if not number.takes(type(value)))
        raise _not_taken(number, index, values[index])
    if any(issubclass(kind, np.unsignedinteger) for kind in kinds):
        values = list(map(int, values))  # NumPy would wrap uint64 around
    try:
        return np.array(values, number.wide)
    except OverflowError:
        index = next(index for index, value in enumerate(values) if _overflows(number, value))
        raise _not_taken(number, index, values[index]) from None


def _overflows(number: _Number, value: Any) -> bool:
    try:
        np.array(value, number.wide)
    except OverflowError:
        return True
    return False


def _not_taken(number: _Number, index: int, value: object) -> Fault:
    return Fault(index, f"{number.name} takes {number.taken}, got {shown(value)}")


# Text


_UTF8_MOST = 4


def _texts(values: Sequence[Any], max_length: int | None) -> list[str]:
    kinds = set(map(type, values))
    if not all(issubclass(kind, str) for kind in kinds):
        index = next(index for index, value in enumerate(values) if not isinstance(value, str))
        raise Fault(index, f"expected a str, got {shown(values[index])}")
    texts = list(values) if kinds <= {str} else list(map(str.__str__, values))
    if not are_texts(texts):
        index = next(index for index, text in enumerate(texts) if not are_texts([text]))
        if "\0" in texts[index]:
            raise Fault(index, f"PostgreSQL cannot store a NUL character, got {shown(texts[index])}")
        raise Fault(index, f"a lone surrogate is no character, got {shown(texts[index])}")
    if max_length is not None and _may_be_longer(texts, max_length):
        lengths = list(map(len, map(str.encode, texts)))
        too_long = next((index for index, length in enumerate(lengths) if length > max_length), None)
        if too_long is not None:
            raise Fault(too_long, f"expected at most {max_length:,} bytes of UTF-8, got {lengths[too_long]:,}")
    return texts


def _may_be_longer(texts: list[str], most: int) -> bool:
    """Whether one of them may have more bytes in UTF-8, judged by the number of its characters."""
    widest = max(map(len, texts), default=0)
    return widest * _UTF8_MOST > most and (widest > most or not all(map(str.isascii, texts)))


# Moments


def _moments(values: Sequence[Any] | Array) -> NDArray[np.int64]:
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "M":
            return _microseconds(values)
        values = values.tolist()
    return np.fromiter((_moment(index, value) for index, value in enumerate(values)), np.int64, len(values))


_FINEST = frozenset({"ps", "fs", "as"})


def _microseconds(values: Array) -> NDArray[np.int64]:
    """NumPy's times, which are taken for UTC, in microseconds since 2000."""
    # Of the finest units NumPy makes no years; all of them lie within 1970, or beside it.
    coarser = values.astype("M8[us]") if np.datetime_data(values.dtype)[0] in _FINEST else values
    years = coarser.astype("M8[Y]").astype(np.int64) + 1970
    held = ~np.isnat(values) & (years >= 1) & (years <= 9999)  # noqa: PLR2004
    exact = np.zeros(len(values), "M8[us]")
    np.copyto(exact, values, where=held, casting="unsafe")  # of other years NumPy makes wrong ones, or an OverflowError
    held &= exact.astype(values.dtype) == values
    if not held.all():
        index = int(np.argmin(held))
        raise Fault(index, f"expected a time of the years 1 to 9999 in whole microseconds, got {shown(values[index])}")
    return exact.astype(np.int64) - _UNIX_EPOCH


def _moment(index: int, value: Any) -> int:
    if isinstance(value, np.datetime64):
        try:
            return int(_microseconds(np.array([value]))[0])
        except Fault as fault:
            raise Fault(index, fault.why) from None
    if isinstance(value, str):
        value = _parsed(index, value)
    if not isinstance(value, datetime) or value != value:  # noqa: PLR0124  # pandas' NaT is a datetime
        raise Fault(index, f"expected an aware datetime or ISO 8601 text, got {shown(value)}")
    if value.utcoffset() is None:
        raise Fault(
            index, f"expected a time with a time zone, got {shown(str(value))}: say which, datetime.UTC perhaps"
        )
    if getattr(value, "nanosecond", 0):
        raise Fault(index, f"expected whole microseconds, got {shown(str(value))}: round it first")
    delta = value - _EPOCH
    moment = delta.days * _DAY + delta.seconds * 1_000_000 + delta.microseconds
    if not _FIRST <= moment <= _LAST:
        raise Fault(index, f"expected a time of the years 1 to 9999 in UTC, got {shown(str(value))}")
    return moment


def _parsed(index: int, text: str) -> datetime:
    # Python cuts what is finer than microseconds and says nothing.
    if _FINER_THAN_MICROSECONDS.search(text):
        raise Fault(index, f"expected whole microseconds, got {shown(text)}: round it first")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Fault(index, f"expected ISO 8601 text with an offset, got {shown(text)}") from None


# Arrays


def _array_column(field: Field, values: Sequence[Any] | Array) -> ArrayColumn:
    kind, most = DataType(field.element_type or ""), field.max_capacity or 0
    for index, value in enumerate(values):
        if not isinstance(value, list | tuple) and getattr(value, "ndim", 0) != 1:
            raise Fault(index, f"expected a list of {kind}, got {shown(value)}")
        if len(value) > most:
            raise Fault(index, f"expected at most {most:,} elements, got {len(value):,}")
    offsets = _offsets(np.fromiter(map(len, values), np.int64, len(values)))
    try:
        elements = plain_column(kind, _flat(values), max_length=field.max_length)
    except Fault as fault:
        row = int(np.searchsorted(offsets, fault.index, side="right")) - 1
        raise Fault(row, f"element {fault.index - int(offsets[row])}: {fault.why}") from None
    return ArrayColumn(elements, offsets)


def _flat(values: Sequence[Any] | Array) -> Sequence[Any] | Array:
    """All elements of all rows."""
    kinds = {value.dtype if isinstance(value, np.ndarray) else None for value in values}
    if len(kinds) == 1 and None not in kinds:
        return np.concatenate(values)
    return list(chain.from_iterable(map(_listed, values)))
