"""A batch in PostgreSQL's binary COPY format. Pure.

https://www.postgresql.org/docs/18/sql-copy.html#SQL-COPY-FILE-FORMATS and, for the values, the send and receive
functions of each type. Everything of a fixed width stands first in a row, and is laid out for many rows at once by one
NumPy record array, field count and length words included; Python only joins what follows. The array holds few rows and
is used again and again, so that it never leaves the processor's cache. What varies is written some rows ahead of it:
while the server takes in what was sent, the next is made, and a large batch is never there twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from struct import Struct
from typing import Any

import numpy as np
from psycopg.abc import Buffer

from vecstore.errors import InvalidArgument
from vecstore.naming import PARTITION_COLUMN
from vecstore.schema import DataType
from vecstore.vectors import DENSE_TYPES, Array, DenseColumn, Nulls, SparseColumn, VectorColumn, dense_head

from .jsonb import json_texts
from .scalars import ArrayColumn, FixedColumn, JsonColumn, TextColumn
from .validation import AnyColumn, Batch

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEADER = _SIGNATURE + bytes(8)  # no flags, no extension
_TRAILER = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"

_CHUNK_BYTES = 65_536
_MIN_ROWS, _MAX_ROWS = 8, 256
_AHEAD = 256

_LENGTH = Struct(">i")
_JSONB_HEAD, _JSONB_VERSION = Struct(">ib"), 1
_ARRAY_HEAD = Struct(">iiiiii")  # length, dimensions, has nulls, type of the elements, length, lower bound
_EMPTY_ARRAY = Struct(">iiii")
_SPARSE_HEAD = Struct(">iiii")  # length, dim, non-zero elements, unused

# How a fixed-width value travels, and its type's OID where it is an element of an array (pg_type.dat).
_FIXED: Mapping[DataType, tuple[np.dtype[Any], int]] = {
    DataType.BOOL: (np.dtype("?"), 16),
    DataType.INT8: (np.dtype(">i2"), 21),
    DataType.INT16: (np.dtype(">i2"), 21),
    DataType.INT32: (np.dtype(">i4"), 23),
    DataType.INT64: (np.dtype(">i8"), 20),
    DataType.FLOAT: (np.dtype(">f4"), 700),
    DataType.DOUBLE: (np.dtype(">f8"), 701),
    DataType.TIMESTAMPTZ: (np.dtype(">i8"), 1184),
}
_TEXT_OID = 25


def copy_columns(batch: Batch, *, partition: str | None) -> tuple[str, ...]:
    """The columns in the order of the stream; raises InvalidArgument."""
    if batch.keys is None:
        raise InvalidArgument(f"the keys of {batch.schema.primary_key.name!r} are to be drawn first: with_keys(...)")
    return (*_fixed_names(batch), *([] if partition is None else [PARTITION_COLUMN]), *_varying_names(batch))


def copy_stream(batch: Batch, *, partition: str | None, rows_per_chunk: int | None = None) -> Iterator[bytes]:
    """The stream of COPY ... (FORMAT BINARY), header and trailer included, in pieces of about 64 kB, by ascending key.

    partition  what the column `_partition` is set to; None where there is no such column
    """
    copy_columns(batch, partition=partition)
    yield _HEADER
    if batch.count:
        yield from _pieces(batch, partition, rows_per_chunk)
    yield _TRAILER


def _is_fixed(column: AnyColumn) -> bool:
    return isinstance(column, FixedColumn | DenseColumn) and column.nulls is None


def _fixed_names(batch: Batch) -> tuple[str, ...]:
    return tuple(name for name, column in batch.columns.items() if _is_fixed(column))


def _varying_names(batch: Batch) -> tuple[str, ...]:
    return tuple(name for name, column in batch.columns.items() if not _is_fixed(column))


def wire_values(column: VectorColumn) -> list[bytes]:
    """Each vector as it travels as a parameter: a cell of the stream without its length word."""
    if isinstance(column, DenseColumn) and column.nulls is None:
        head, values = dense_head(column.field), column.values.astype(DENSE_TYPES[column.field.data_type])
        return [head + vector.tobytes() for vector in values]
    return [cell[_LENGTH.size :] for cell in _varying_parts(column)[0]]


# The part of fixed width


@dataclass(frozen=True, slots=True, eq=False)
class _FixedPart:
    """A column for the record array: what stands before every value, and how the values are stored."""

    head: bytes
    dtype: np.dtype[Any]
    values: Array

    @property
    def width(self) -> tuple[int, ...]:
        return self.values.shape[1:]


def _fixed_part(column: AnyColumn) -> _FixedPart:
    if isinstance(column, FixedColumn):
        dtype = _FIXED[column.kind][0]
        return _FixedPart(_LENGTH.pack(dtype.itemsize), dtype, column.values)
    if isinstance(column, DenseColumn):
        dtype = DENSE_TYPES[column.field.data_type]
        size = 4 + column.values.shape[1] * dtype.itemsize
        return _FixedPart(_LENGTH.pack(size) + dense_head(column.field), dtype, column.values)
    raise AssertionError(type(column).__name__)


def _record_type(parts: Sequence[_FixedPart], tail: bytes) -> np.dtype[Any]:
    """All of a row up to what varies: number of columns, values with what stands before each, the partition."""
    fields: list[tuple[Any, ...]] = [("count", "V2")]
    for place, part in enumerate(parts):
        fields += [(f"head{place}", f"V{len(part.head)}"), (f"value{place}", part.dtype, part.width)]
    if tail:
        fields.append(("tail", f"V{len(tail)}"))
    return np.dtype(fields)


def _records(dtype: np.dtype[Any], rows: int, count: bytes, parts: Sequence[_FixedPart], tail: bytes) -> Array:
    """This many records, in which everything stands but the values."""
    records = np.empty(rows, dtype)
    records["count"] = np.void(count)
    for place, part in enumerate(parts):
        records[f"head{place}"] = np.void(part.head)
    if tail:
        records["tail"] = np.void(tail)
    return records


def _pieces(batch: Batch, partition: str | None, rows_per_chunk: int | None) -> Iterator[bytes]:
    count = (len(batch.columns) + (partition is not None)).to_bytes(2, "big")
    parts = [_fixed_part(batch.columns[name]) for name in _fixed_names(batch)]
    tail = b"" if partition is None else _text_cell(partition)
    dtype = _record_type(parts, tail)
    step = min(batch.count, rows_per_chunk or _rows_per_chunk(dtype.itemsize))
    records = _records(dtype, step, count, parts, tail)
    slots = [(records[f"value{place}"], part.values) for place, part in enumerate(parts)]
    varying = _varying_rows(batch)
    for begin, rows in zip(range(0, batch.count, step), batch.in_key_order(step), strict=True):
        several = min(step, batch.count - begin)
        for slot, values in slots:
            slot[:several] = values[rows]
        yield _joined(records[:several], varying)


def _rows_per_chunk(width: int) -> int:
    return max(_MIN_ROWS, min(_MAX_ROWS, _CHUNK_BYTES // width))


def _joined(records: Array, varying: Iterator[bytes] | None) -> bytes:
    """Records, each with the next of what varies behind it."""
    if varying is None:
        return records.tobytes()
    memory, width = records.view(np.uint8).data, records.dtype.itemsize
    heads = [memory[at : at + width] for at in range(0, len(memory), width)]
    return b"".join(chain.from_iterable(zip(heads, varying, strict=False)))  # heads end first


def _varying_rows(batch: Batch) -> Iterator[bytes] | None:
    """What varies in each row; None where nothing does."""
    names = _varying_names(batch)
    return chain.from_iterable(_row_parts(batch, names)) if names else None


def _row_parts(batch: Batch, names: Sequence[str]) -> Iterator[Iterator[bytes]]:
    for rows in batch.in_key_order(_AHEAD):
        parts = chain.from_iterable(_varying_parts(batch.columns[name].take(rows)) for name in names)
        yield map(b"".join, zip(*parts, strict=True))


def cells(column: AnyColumn) -> Buffer:
    """All cells of a column as in the stream, one after the other; the elements of an array stand in it so as well."""
    if isinstance(column, FixedColumn | DenseColumn) and column.nulls is None:
        return _cell_records(column).view(np.uint8).data
    return b"".join(chain.from_iterable(zip(*_varying_parts(column), strict=True)))


# What varies: each column gives one or more sequences of bytes, a cell being what stands at the same place in all


_Parts = tuple[Sequence[bytes], ...]


def _varying_parts(column: AnyColumn) -> _Parts:
    return _VARYING[type(column)](column)


def _text_parts(column: TextColumn) -> _Parts:
    texts = list(map(str.encode, column.values))
    return _with_heads(list(map(_LENGTH.pack, map(len, texts))), texts, column.nulls)


def _json_parts(column: JsonColumn) -> _Parts:
    texts = json_texts(column.values)
    return _with_heads([_JSONB_HEAD.pack(len(text) + 1, _JSONB_VERSION) for text in texts], texts, column.nulls)


def _with_heads(heads: list[bytes], bodies: Sequence[bytes], nulls: Nulls) -> _Parts:
    if nulls is None:
        return heads, bodies
    return _nulled(heads, nulls), [b"" if null else body for body, null in zip(bodies, nulls.tolist(), strict=True)]


def _fixed_parts(column: FixedColumn | DenseColumn) -> _Parts:
    return (_nulled(_split(_cell_records(column)), column.nulls),)


def _cell_records(column: FixedColumn | DenseColumn) -> Array:
    part = _fixed_part(column)
    records = np.empty(len(column), [("head", f"V{len(part.head)}"), ("value", part.dtype, part.width)])
    records["head"] = np.void(part.head)
    records["value"] = part.values
    return records


def _sparse_parts(column: SparseColumn) -> _Parts:
    dim = column.field.dim or 0
    cells = [
        _SPARSE_HEAD.pack(12 + 8 * len(places), dim, len(places), 0)
        + places.astype(">i4").tobytes()
        + values.astype(">f4").tobytes()
        for places, values in column.rows
    ]
    return (_nulled(cells, column.nulls),)


def _array_parts(column: ArrayColumn) -> _Parts:
    elements, offsets = column.elements, column.offsets.tolist()
    if isinstance(elements, FixedColumn):
        oid = _FIXED[elements.kind][1]
        cells = _fixed_parts(elements)[0]
    else:
        oid = _TEXT_OID
        cells = list(map(_text_cell, elements.values))
    arrays = [_array_cell(oid, cells[start:stop]) for start, stop in pairwise(offsets)]
    return (_nulled(arrays, column.nulls),)


def _array_cell(oid: int, cells: Sequence[bytes]) -> bytes:
    if not cells:
        return _EMPTY_ARRAY.pack(12, 0, 0, oid)
    body = b"".join(cells)
    return _ARRAY_HEAD.pack(20 + len(body), 1, 0, oid, len(cells), 1) + body


def _text_cell(text: str) -> bytes:
    value = text.encode()
    return _LENGTH.pack(len(value)) + value


def _split(records: Array) -> list[bytes]:
    """The bytes of every record."""
    width = records.dtype.itemsize
    data = records.tobytes()
    return [data[at : at + width] for at in range(0, len(data), width)]


def _nulled(cells: list[bytes], nulls: Nulls) -> list[bytes]:
    if nulls is None:
        return cells
    return [_NULL if null else cell for cell, null in zip(cells, nulls.tolist(), strict=True)]


_VARYING: Mapping[type, Callable[[Any], _Parts]] = {
    TextColumn: _text_parts,
    JsonColumn: _json_parts,
    FixedColumn: _fixed_parts,
    DenseColumn: _fixed_parts,
    SparseColumn: _sparse_parts,
    ArrayColumn: _array_parts,
}
