"""The shapes in which data come, and the columns that all of them become. Pure; pandas and Arrow are never imported.

Whoever hands in a DataFrame has imported pandas already, so `sys.modules` has all that is needed to recognise one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from vecstore.errors import InvalidData
from vecstore.naming import DYNAMIC_COLUMN, DYNAMIC_FIELD, PARTITION_COLUMN
from vecstore.schema import INTEGER_BITS, CollectionSchema, Field
from vecstore.vectors import Array

from .scalars import shown

Column = Sequence[Any] | Array
Columns = dict[str, Column]

_EXACT_FLOAT = 2**53  # beyond it a float64 is no exact integer


def to_columns(schema: CollectionSchema, data: Any) -> tuple[Columns, int]:
    """The columns of the data and their length; keys that are no fields become one column of dicts, `_meta`.

    data  a list of dicts, whose keys may differ; a dict of columns (lists, arrays, Series, Arrow arrays), "$meta" for
          dicts of dynamic fields; a NumPy structured array; a pandas DataFrame; an Arrow Table or RecordBatch

    A field that a row does not have is None there, and a field that no row has is no column. NaN, NaT and NA of pandas
    and the nulls of Arrow are None. Raises InvalidData.
    """
    for recognises, reader in _READERS:
        if recognises(data):
            return reader(schema, data)
    raise InvalidData(f"expected a list of dicts, a dict of columns, a DataFrame or a Table, got {shown(data)}")


# Rows


def _from_rows(schema: CollectionSchema, rows: Sequence[Any]) -> tuple[Columns, int]:
    if not all(issubclass(kind, Mapping) for kind in set(map(type, rows))):
        row = next(row for row, value in enumerate(rows) if not isinstance(value, Mapping))
        raise InvalidData(f"row {row}: expected a dict, got {shown(rows[row])}", row=row)
    names: set[Any] = set().union(*rows)
    extra = _extra_names(schema, names)
    if extra and not schema.dynamic:
        row = next(row for row, value in enumerate(rows) if not extra.isdisjoint(value))
        raise _unknown(schema, next(name for name in rows[row] if name in extra), row=row)
    columns: Columns = {name: [row.get(name) for row in rows] for name in schema.by_name if name in names}
    if extra:
        columns[DYNAMIC_COLUMN] = [{name: row[name] for name in row if name in extra} for row in rows]
    return columns, len(rows)


def _extra_names(schema: CollectionSchema, names: Iterable[Any]) -> set[str]:
    """The names that are no fields; raises InvalidData for those that cannot be kept either."""
    extra = set(names).difference(schema.by_name)
    for name in extra:
        if not isinstance(name, str):
            raise InvalidData(f"expected str as the name of a field, got {shown(name)}")
        if name in {DYNAMIC_COLUMN, PARTITION_COLUMN}:
            raise InvalidData(f"{name!r} is a column of vecstore's own: leave it out", field=name)
    return extra


def _unknown(schema: CollectionSchema, name: str, *, row: int | None = None) -> InvalidData:
    near = get_close_matches(name, schema.by_name, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"fields: {', '.join(schema.by_name)}"
    place = "" if row is None else f"row {row}: "
    return InvalidData(f"{place}no field {shown(name)}, and the collection is not dynamic; {hint}", field=name, row=row)


# Columns


def _from_mapping(schema: CollectionSchema, data: Mapping[Any, Any]) -> tuple[Columns, int]:
    extra = _extra_names(schema, data)
    columns = {name: _column(schema.by_name.get(name), name, values) for name, values in data.items()}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name!r} {length:,}" for name, length in lengths.items())
        raise InvalidData(f"expected columns of one length, got {told}")
    count = next(iter(lengths.values()), 0)
    if extra and not schema.dynamic:
        raise _unknown(schema, next(name for name in columns if name in extra))
    if extra:
        columns[DYNAMIC_COLUMN] = _dynamic({name: _items(columns.pop(name)) for name in [*columns] if name in extra})
    return columns, count


def _dynamic(loose: dict[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Columns that are no fields as one of dicts; a column "$meta" is of dicts already, of which each has its own."""
    dicts = loose.pop(DYNAMIC_FIELD, None)
    for row, value in enumerate(dicts or ()):
        if not isinstance(value, Mapping):
            why = f"field {DYNAMIC_FIELD!r}, row {row}: expected a dict of dynamic fields, got {shown(value)}"
            raise InvalidData(why, field=DYNAMIC_FIELD, row=row)
    rows = [dict(zip(loose, row, strict=True)) for row in zip(*loose.values(), strict=True)]
    if dicts is None:
        return rows
    return [{**own, **more} for own, more in zip(dicts, rows or [{}] * len(dicts), strict=True)]


def _items(values: Column) -> Sequence[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else values


def _from_structured(schema: CollectionSchema, data: Array) -> tuple[Columns, int]:
    if data.ndim != 1:
        raise InvalidData(f"expected a structured array of one dimension, got shape {data.shape}")
    return _from_mapping(schema, {name: data[name] for name in data.dtype.names or ()})


def _from_frame(schema: CollectionSchema, data: Any) -> tuple[Columns, int]:
    if not data.columns.is_unique:
        raise InvalidData("the DataFrame has two columns of one name")
    return _from_mapping(schema, dict(data.items()))


def _from_table(schema: CollectionSchema, data: Any) -> tuple[Columns, int]:
    if len(set(data.schema.names)) != len(data.schema.names):
        raise InvalidData("the Table has two columns of one name")
    return _from_mapping(schema, dict(zip(data.schema.names, data.columns, strict=True)))


# One column


def _column(field: Field | None, name: str, values: Any) -> Column:
    for recognises, reader in _COLUMN_READERS:
        if recognises(values):
            return reader(field, values)
    raise InvalidData(
        f"field {name!r}: expected a column (a list, an array or a Series), got {shown(values)}; "
        "a dict is a dict of columns, put a single row into a list",
        field=name,
    )


def _sequence(field: Field | None, values: Sequence[Any]) -> Column:  # noqa: ARG001
    return values


def _array(field: Field | None, values: Array) -> Column:  # noqa: ARG001
    """NumPy's numbers and times as they are; what is not its own, and what is masked, as Python's."""
    if isinstance(values, np.ma.MaskedArray) or values.dtype.kind in "OSU":
        listed: list[Any] = values.tolist()
        return listed
    return values


def _matrix(field: Field | None, values: Any) -> Column:  # noqa: ARG001
    """A scipy matrix, whose rows are sparse vectors."""
    rows = values.tocsr()
    return [rows[row] for row in range(rows.shape[0])]


def _series(field: Field | None, values: Any) -> Column:
    """pandas: what is missing is None."""
    if not hasattr(values, "iloc"):
        values = values.to_series()  # an Index
    missing = values.isna().to_numpy()
    if not missing.any():
        return _whole_series(values)
    listed = values.tolist()
    if field is not None and field.data_type in INTEGER_BITS and values.dtype.kind == "f":
        # pandas makes floats of integers to have room for NaN.
        listed = [int(v) if v.is_integer() and abs(v) <= _EXACT_FLOAT else v for v in listed]
    return [None if gone else value for gone, value in zip(missing, listed, strict=True)]


def _whole_series(values: Any) -> Column:
    if getattr(values.dtype, "tz", None) is not None and values.dtype.kind == "M":
        utc: Array = values.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        return utc
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "biuf":
        numbers: Array = values.to_numpy()
        return numbers
    listed: list[Any] = values.tolist()  # a time without a zone comes as a Timestamp, and is refused as one
    return listed


def _arrow(field: Field | None, values: Any) -> Column:
    """Arrow: nulls are None; numbers, and lists of numbers for a vector field, become arrays without Python's help."""
    if hasattr(values, "combine_chunks"):
        values = values.combine_chunks()
    types = sys.modules["pyarrow"].types
    if values.null_count == 0 and (_is_numeric(types, values.type)):
        numbers: Array = values.to_numpy(zero_copy_only=False)
        return numbers
    if field is not None and field.data_type.is_vector and values.null_count == 0 and field.dim and len(values):
        matrix = _arrow_matrix(types, values, field.dim)
        if matrix is not None:
            return matrix
    listed: list[Any] = values.to_pylist()
    return listed


def _is_numeric(types: Any, kind: Any) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _arrow_matrix(types: Any, values: Any, dim: int) -> Array | None:
    """(n, dim) of lists that all have the length `dim` and no null."""
    kind = values.type
    if types.is_list(kind) or types.is_large_list(kind):
        if (np.diff(values.offsets.to_numpy()) != dim).any():
            return None
    elif not types.is_fixed_size_list(kind) or kind.list_size != dim:
        return None
    flat = values.flatten()
    if flat.null_count or not _is_numeric(types, flat.type):
        return None
    numbers: Array = flat.to_numpy(zero_copy_only=False)
    return numbers.reshape(-1, dim)


# Which is which


def _of(module: str, *names: str) -> Callable[[Any], bool]:
    """Whether a value is an instance of these classes of a module, which is not imported for it."""

    def recognises(value: Any) -> bool:
        loaded = sys.modules.get(module)
        return loaded is not None and isinstance(value, tuple(getattr(loaded, name) for name in names))

    return recognises


def _is_structured(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.names is not None


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim > 0


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview)


_READERS: tuple[tuple[Callable[[Any], bool], Callable[[CollectionSchema, Any], tuple[Columns, int]]], ...] = (
    (lambda data: isinstance(data, list | tuple), _from_rows),
    (lambda data: isinstance(data, Mapping), _from_mapping),
    (_is_structured, _from_structured),
    (_of("pandas", "DataFrame"), _from_frame),
    (_of("pyarrow", "Table", "RecordBatch"), _from_table),
)

_COLUMN_READERS: tuple[tuple[Callable[[Any], bool], Callable[[Field | None, Any], Column]], ...] = (
    (_is_array, _array),
    (_of("pandas", "Series", "Index"), _series),
    (_of("pyarrow", "Array", "ChunkedArray"), _arrow),
    (lambda values: hasattr(values, "tocsr"), _matrix),
    (_is_sequence, _sequence),
)
