"""Batches: data that their collection takes, checked before anything is sent. Pure.

Everything PostgreSQL would refuse, or would silently change, is refused here, with the field and the row: inside a
transaction the server's error would end the transaction, and would not say where in the data it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import DuplicateKey, InvalidData, InvalidSchema
from vecstore.naming import DYNAMIC_COLUMN
from vecstore.schema import MAX_SPARSE_NONZERO, CollectionSchema, DataType, Field
from vecstore.vectors import (
    MAX_INDEXED_SPARSE_NONZERO,
    Array,
    DenseColumn,
    Fault,
    Rows,
    VectorColumn,
    as_matrix,
    check_norms,
)

from .columns import to_columns
from .jsonb import json_texts
from .scalars import (
    FILLERS,
    FixedColumn,
    JsonColumn,
    PlainColumn,
    ScalarColumn,
    TextColumn,
    plain_column,
    scalar_column,
    shown,
    with_nulls,
)

AnyColumn = ScalarColumn | VectorColumn
KeyColumn = FixedColumn | TextColumn
Keys = NDArray[np.int64] | list[str]

_NAMED_DUPLICATES = 5
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows that may be written as they are.

    columns  by field name; the key's is missing while it is yet to be drawn. Dynamic collections have `_meta` beside
             the fields, JSON
    """

    schema: CollectionSchema
    count: int
    columns: Mapping[str, AnyColumn]

    @property
    def keys(self) -> Keys | None:
        """The primary keys, row by row: an int64 array or a list of str; None while they are yet to be drawn."""
        name = self.schema.primary_key.name
        return _keys_of(_as_key(self.columns[name])) if name in self.columns else None

    def text_bytes(self, name: str) -> list[int]:
        """How many bytes each text or JSON document of a column has; empty for a column that holds neither."""
        column = self.columns.get(name)
        if isinstance(column, JsonColumn):
            return list(map(len, json_texts(column.values)))
        return list(map(len, map(str.encode, column.values))) if isinstance(column, TextColumn) else []

    def with_keys(self, keys: Any) -> Batch:
        """The batch with these primary keys, one a row; raises InvalidData."""
        field = self.schema.primary_key
        column = _key_column(field, keys, "key")
        if len(column) != self.count:
            raise InvalidData(f"expected {self.count:,} keys, one a row, got {len(column):,}", field=field.name)
        _check_duplicates(field, column)
        return replace(self, columns={field.name: column, **_without(self.columns, field.name)})

    def in_key_order(self, most: int) -> list[Rows]:
        """The rows by ascending key, so many at a time: writers who all go in one order never wait in a circle."""
        order = _key_order(_as_key(self.columns[self.schema.primary_key.name]))
        starts = range(0, self.count, most)
        if (order[1:] > order[:-1]).all():
            return [slice(start, min(start + most, self.count)) for start in starts]
        return [order[start : start + most] for start in starts]


def prepare(
    schema: CollectionSchema,
    data: Any,
    *,
    keys: Literal["drawn", "given"] = "drawn",
    cosine_fields: Container[str] = (),
    hnsw_sparse_fields: Container[str] = (),
    half_precision_fields: Container[str] = (),
    filled_fields: Container[str] = (),
) -> Batch:
    """Check data against a schema and make them a batch.

    data                   what `to_columns` takes
    keys                   an auto_id key: "drawn" (insert), it must not be in the data, or "given" (upsert), it must
                           be. A key without auto_id is always given
    cosine_fields          vector fields with a COSINE index: their vectors must have a cosine
    hnsw_sparse_fields     sparse fields with an HNSW index: at most 1,000 non-zero elements
    half_precision_fields  vector fields with an index in half precision: their vectors must be within its range
    filled_fields          fields that the server fills: where no row has one, it is no column of the batch

    A value that is missing or None is the field's default_value, else NULL if the field is nullable, else refused.
    Raises InvalidData, and DuplicateKey for a key that stands there twice.
    """
    given, count = to_columns(schema, data)
    key = schema.primary_key
    drawn = key.auto_id and keys == "drawn"
    if drawn and key.name in given:
        raise InvalidData(f"field {key.name!r} is auto_id, its ids are drawn: leave it out", field=key.name)
    if not count:
        given = {}
    columns: dict[str, AnyColumn] = {}
    for field in schema.fields:
        left_out = field.name in filled_fields and field.name not in given
        if not left_out and not (drawn and field.primary_key):
            values = given[field.name] if field.name in given else _missing(field, count)
            columns[field.name] = _field_column(field, values, cosine_fields, hnsw_sparse_fields, half_precision_fields)
    if schema.dynamic:
        columns[DYNAMIC_COLUMN] = _dynamic_column(given.get(DYNAMIC_COLUMN), count)
    if not drawn:
        _check_duplicates(key, _as_key(columns[key.name]))
    return Batch(schema, count, columns)


def narrowed(schema: CollectionSchema, data: Any) -> CollectionSchema:
    """The schema of what the data have: their primary key, the fields that they name, dynamic ones if there are any.

    Raises InvalidData where one row has a field that another has not: None is a value.
    """
    given, _ = to_columns(schema, data)
    if isinstance(data, list | tuple):
        named = {name for name in given if name in schema.by_name}
        for row, entity in enumerate(data):
            missing = named.difference(entity)
            if missing:
                name = min(missing)
                raise InvalidData(f"field {name!r}, row {row}: missing, and other rows have it", field=name, row=row)
    fields = tuple(field for field in schema.fields if field.primary_key or field.name in given)
    return replace(schema, fields=fields, dynamic=DYNAMIC_COLUMN in given)


def with_plain_default(field: Field) -> Field:
    """The field, its default_value checked and as Python's own; raises InvalidSchema."""
    given = field.default_value
    if given is None:
        return field
    try:
        column = scalar_column(field, [given])
    except Fault as fault:
        raise InvalidSchema(f"field {field.name!r}: default_value: {fault.why}") from None
    if field.data_type is DataType.TIMESTAMPTZ and isinstance(column, FixedColumn):
        return replace(field, default_value=_EPOCH + timedelta(microseconds=int(column.values[0])))
    return replace(field, default_value=given.item() if isinstance(given, np.generic) else given)


def as_keys(schema: CollectionSchema, ids: Any, *, what: str = "ids") -> Keys:
    """Primary keys to look for, one or many, as an int64 array or a list of str; raises InvalidData.

    ids   one key, or any number in a list, tuple, set, range, array or Series
    what  the word for them in messages
    """
    return _keys_of(_key_column(schema.primary_key, ids, what))


# One field


def _missing(field: Field, count: int) -> list[None]:
    if count and not field.nullable and field.default_value is None:
        why = "missing, and the field is neither nullable nor has it a default_value"
        raise InvalidData(f"field {field.name!r}: {why}", field=field.name)
    return [None] * count


def _field_column(
    field: Field,
    values: Any,
    cosine_fields: Container[str],
    hnsw_sparse_fields: Container[str],
    half_precision_fields: Container[str],
) -> AnyColumn:
    if not field.data_type.is_vector:
        return _checked_scalars(field, values)
    nonzero = MAX_INDEXED_SPARSE_NONZERO if field.name in hnsw_sparse_fields else MAX_SPARSE_NONZERO
    column = as_matrix(field, values, max_nonzero=nonzero)
    indexed = _halved(column) if field.name in half_precision_fields else column
    if field.name in cosine_fields:
        check_norms(indexed)
    return column


def _halved(column: VectorColumn) -> VectorColumn:
    """The vectors as an index in half precision holds them; raises InvalidData for what is beyond its range."""
    assert isinstance(column, DenseColumn)  # noqa: S101 - no index holds sparse vectors so
    try:
        halved = as_matrix(replace(column.field, data_type=DataType.FLOAT16_VECTOR), column.values)
    except InvalidData as exc:
        why = f"{exc}: the field's index holds its {column.field.dim:,} dimensions in half precision"
        raise InvalidData(why, field=exc.field, row=exc.row) from None
    return replace(halved, nulls=column.nulls)


def _checked_scalars(field: Field, values: Any) -> ScalarColumn:
    nulls = None
    if not isinstance(values, np.ndarray) and type(None) in set(map(type, values)):
        nulls = np.fromiter((value is None for value in values), np.bool_, len(values))
        values = _filled(field, values, nulls)
    try:
        column = scalar_column(field, values)
    except Fault as fault:
        raise fault.named(field) from None
    return column if nulls is None or field.default_value is not None else with_nulls(column, nulls)


def _filled(field: Field, values: Sequence[Any], nulls: NDArray[np.bool_]) -> list[Any]:
    """The values with the default, or something to stand for NULL, where they are None."""
    filler = field.default_value
    if filler is None:
        if not field.nullable:
            why = "no value, and the field is neither nullable nor has it a default_value"
            raise Fault(int(np.argmax(nulls)), why).named(field)
        filler = FILLERS[field.data_type]
    return [filler if value is None else value for value in values]


def _dynamic_column(values: Any, count: int) -> PlainColumn:
    if values is None:
        return JsonColumn([{}] * count)
    try:
        return plain_column(DataType.JSON, values, max_length=None)
    except Fault as fault:
        message = f"row {fault.index}: dynamic field {fault.why.removeprefix('$.')}"
        raise InvalidData(message, field=DYNAMIC_COLUMN, row=fault.index) from None


# Keys


def _as_key(column: AnyColumn) -> KeyColumn:
    return cast("KeyColumn", column)  # a primary key is INT64 or VARCHAR


def _keys_of(column: KeyColumn) -> Keys:
    return list(column.values) if isinstance(column, TextColumn) else column.values


def _key_column(field: Field, ids: Any, what: str) -> KeyColumn:
    try:
        return _as_key(plain_column(field.data_type, _listed_keys(ids), max_length=field.max_length))
    except Fault as fault:
        message = f"{what}[{fault.index}], key {field.name!r}: {fault.why}"
        raise InvalidData(message, field=field.name, row=fault.index) from None


def _listed_keys(ids: Any) -> Sequence[Any] | Array:
    if isinstance(ids, str | bytes | bytearray | Mapping | np.generic) or not isinstance(ids, Iterable):
        return [ids]
    if isinstance(ids, np.ndarray) and ids.dtype.kind in "iu":
        return ids.reshape(1) if ids.ndim == 0 else ids
    return list(ids)


def _key_order(column: KeyColumn) -> NDArray[np.intp]:
    if isinstance(column, TextColumn):  # by code point, which is by the bytes of UTF-8
        return np.array(sorted(range(len(column)), key=column.values.__getitem__), np.intp)
    return np.argsort(column.values, kind="stable")


def _check_duplicates(field: Field, column: KeyColumn) -> None:
    keys = _keys_of(column)
    listed = keys.tolist() if isinstance(keys, np.ndarray) else keys
    if len(set(listed)) == len(listed):
        return
    twice = [key for key, times in Counter(listed).items() if times > 1]
    named = ", ".join(map(shown, twice[:_NAMED_DUPLICATES]))
    more = f" and {len(twice) - _NAMED_DUPLICATES:,} more" if len(twice) > _NAMED_DUPLICATES else ""
    raise DuplicateKey(
        f"field {field.name!r}: a key stands twice in one batch: {named}{more}",
        field=field.name,
        keys=twice[:_NAMED_DUPLICATES],
    )


def _without(columns: Mapping[str, AnyColumn], name: str) -> dict[str, AnyColumn]:
    return {other: column for other, column in columns.items() if other != name}
