"""A batch in PostgreSQL's binary COPY format. Pure.

https://www.postgresql.org/docs/18/sql-copy.html#SQL-COPY-FILE-FORMATS and, for the values, the send and receive
functions of each type. Everything of a fixed width stands first in a row, and is laid out for many rows at once by one
NumPy record array, field count and length words included; Python only joins what follows. The array holds few rows and
is used again and again, so that it never leaves the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from struct import Struct
from typing import Any

import numpy as np

from vecstore.errors import InvalidArgument
from vecstore.schema import DataType
from vecstore.vectors import Array, DenseColumn, Nulls, SparseColumn, VectorColumn

from .scalars import ArrayColumn, BytesColumn, FixedColumn
from .validation import AnyColumn, Batch

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEADER = _SIGNATURE + bytes(8)  # no flags, no extension
_TRAILER = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_JSONB_VERSION = b"\x01"

_CHUNK_BYTES = 65_536
_MIN_ROWS, _MAX_ROWS = 8, 256

_LENGTH = Struct(">i")
_ARRAY_HEAD = Struct(">iiiiii")  # length, dimensions, has nulls, type of the elements, length, lower bound
_EMPTY_ARRAY = Struct(">iiii")
_SPARSE_HEAD = Struct(">iiii")  # length, dim, non-zero elements, unused

# How a fixed-width value travels, and its type's OID where it is an element of an array (pg_type.dat).
_FIXED: Mapping[DataType, tuple[str, int]] = {
    DataType.BOOL: ("?", 16),
    DataType.INT8: (">i2", 21),
    DataType.INT16: (">i2", 21),
    DataType.INT32: (">i4", 23),
    DataType.INT64: (">i8", 20),
    DataType.FLOAT: (">f4", 700),
    DataType.DOUBLE: (">f8", 701),
    DataType.TIMESTAMPTZ: (">i8", 1184),
}
_TEXT_OID = 25

_DENSE: Mapping[DataType, str] = {
    DataType.FLOAT_VECTOR: ">f4",
    DataType.FLOAT16_VECTOR: ">f2",
    DataType.BFLOAT16_VECTOR: ">f4",
    DataType.INT8_VECTOR: ">f2",
    DataType.BINARY_VECTOR: "u1",
}


def copy_columns(batch: Batch) -> tuple[str, ...]:
    """The columns in the order of the stream, `_partition` aside, which comes last; raises InvalidArgument."""
    if batch.keys is None:
        raise InvalidArgument(f"the keys of {batch.schema.primary_key.name!r} are to be drawn first: with_keys(...)")
    return (*_fixed_names(batch), *_varying_names(batch))


def copy_stream(batch: Batch, *, partition: str | None, rows_per_chunk: int | None = None) -> Iterator[bytes]:
    """The stream of COPY ... (FORMAT BINARY), header and trailer included, in pieces of about 64 kB.

    partition  what the column `_partition`, the last of every row, is set to; None where there is no such column
    """
    copy_columns(batch)
    yield _HEADER
    if batch.count:
        yield from _rows(_layout(batch, partition), batch.count, rows_per_chunk)
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
        head, values = _vector_head(column), column.values.astype(_DENSE[column.field.data_type])
        return [head + vector.tobytes() for vector in values]
    return [cell[_LENGTH.size :] for cell in _varying_parts(column)[0]]


# The part of fixed width


@dataclass(frozen=True, slots=True, eq=False)
class _FixedPart:
    """A column for the record array: what stands before every value, and how the values are stored."""

    head: bytes
    dtype: str
    values: Array

    @property
    def width(self) -> tuple[int, ...]:
        return self.values.shape[1:]


def _fixed_part(column: AnyColumn) -> _FixedPart:
    if isinstance(column, FixedColumn):
        dtype = _FIXED[column.kind][0]
        return _FixedPart(_LENGTH.pack(np.dtype(dtype).itemsize), dtype, column.values)
    if isinstance(column, DenseColumn):
        dtype = _DENSE[column.field.data_type]
        size = 4 + column.values.shape[1] * np.dtype(dtype).itemsize
        return _FixedPart(_LENGTH.pack(size) + _vector_head(column), dtype, column.values)
    raise AssertionError(type(column).__name__)


def _vector_head(column: DenseColumn) -> bytes:
    """bit: the number of bits; vector and halfvec: dimensions in two bytes and two unused."""
    dim = column.field.dim or 0
    return _LENGTH.pack(dim if column.field.data_type is DataType.BINARY_VECTOR else dim << 16)


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """A row: the number of columns, the parts of fixed width, those that vary, and what is the same in every row."""

    count: bytes
    fixed: Sequence[_FixedPart]
    varying: Sequence[list[bytes]]
    tail: bytes


def _layout(batch: Batch, partition: str | None) -> _Layout:
    varying = [part for name in _varying_names(batch) for part in _varying_parts(batch.columns[name])]
    return _Layout(
        count=(len(batch.columns) + (partition is not None)).to_bytes(2, "big"),
        fixed=[_fixed_part(batch.columns[name]) for name in _fixed_names(batch)],
        varying=varying,
        tail=b"" if partition is None else _text_cell(partition.encode()),
    )


def _record_type(layout: _Layout) -> np.dtype[Any]:
    """All of a row up to the first part that varies."""
    parts: list[tuple[Any, ...]] = [("count", "V2")]
    for place, part in enumerate(layout.fixed):
        parts += [(f"head{place}", f"V{len(part.head)}"), (f"value{place}", part.dtype, part.width)]
    if layout.tail and not layout.varying:
        parts.append(("tail", f"V{len(layout.tail)}"))
    return np.dtype(parts)


def _records(layout: _Layout, dtype: np.dtype[Any], rows: int) -> Array:
    """This many records, in which everything stands but the values."""
    records = np.empty(rows, dtype)
    records["count"] = np.void(layout.count)
    for place, part in enumerate(layout.fixed):
        records[f"head{place}"] = np.void(part.head)
    if "tail" in (dtype.names or ()):
        records["tail"] = np.void(layout.tail)
    return records


def _rows(layout: _Layout, rows: int, rows_per_chunk: int | None) -> Iterator[bytes]:
    dtype = _record_type(layout)
    step = min(rows, rows_per_chunk or _rows_per_chunk(dtype.itemsize))
    records = _records(layout, dtype, step)
    slots = [(records[f"value{place}"], part.values) for place, part in enumerate(layout.fixed)]
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        for slot, values in slots:
            slot[: stop - start] = values[start:stop]
        prefixes = records[: stop - start].tobytes()
        yield _joined(layout, prefixes, start, stop) if layout.varying else prefixes


def _rows_per_chunk(width: int) -> int:
    return max(_MIN_ROWS, min(_MAX_ROWS, _CHUNK_BYTES // width))


def _joined(layout: _Layout, prefixes: bytes, start: int, stop: int) -> bytes:
    """Rows of a record, its varying parts and the tail, one after the other."""
    memory, width = memoryview(prefixes), len(prefixes) // (stop - start)
    records = [memory[at : at + width] for at in range(0, len(memory), width)]
    tails = [[layout.tail] * (stop - start)] if layout.tail else []
    parts = [part[start:stop] for part in layout.varying]
    return b"".join(chain.from_iterable(zip(records, *parts, *tails, strict=True)))


# What varies: each column gives one or more lists of bytes, a row being what stands at the same place in all of them


def _varying_parts(column: AnyColumn) -> tuple[list[bytes], ...]:
    return _VARYING[type(column)](column)


def _bytes_parts(column: BytesColumn) -> tuple[list[bytes], ...]:
    """Length words and bodies; jsonb has its version between them."""
    version = _JSONB_VERSION if column.kind is DataType.JSON else b""
    lengths = np.fromiter(map(len, column.values), np.int64, len(column)) + len(version)
    heads = np.empty(len(column), [("length", ">i4"), ("version", f"V{len(version)}")])
    heads["length"] = lengths
    if version:
        heads["version"] = np.void(version)
    words = _split(heads)
    if column.nulls is None:
        return words, column.values
    bodies = [b"" if null else body for body, null in zip(column.values, column.nulls.tolist(), strict=True)]
    return _nulled(words, column.nulls), bodies


def _fixed_parts(column: FixedColumn | DenseColumn) -> tuple[list[bytes], ...]:
    part = _fixed_part(column)
    records = np.empty(len(column), [("head", f"V{len(part.head)}"), ("value", part.dtype, part.width)])
    records["head"] = np.void(part.head)
    records["value"] = part.values
    return (_nulled(_split(records), column.nulls),)


def _sparse_parts(column: SparseColumn) -> tuple[list[bytes], ...]:
    dim = column.field.dim or 0
    cells = [
        _SPARSE_HEAD.pack(12 + 8 * len(places), dim, len(places), 0)
        + places.astype(">i4").tobytes()
        + values.astype(">f4").tobytes()
        for places, values in column.rows
    ]
    return (_nulled(cells, column.nulls),)


def _array_parts(column: ArrayColumn) -> tuple[list[bytes], ...]:
    elements, offsets = column.elements, column.offsets.tolist()
    if isinstance(elements, FixedColumn):
        oid = _FIXED[elements.kind][1]
        cells = _fixed_parts(elements)[0]
    else:
        oid = _TEXT_OID
        cells = [_text_cell(value) for value in elements.values]
    arrays = [_array_cell(oid, cells[start:stop]) for start, stop in pairwise(offsets)]
    return (_nulled(arrays, column.nulls),)


def _array_cell(oid: int, cells: list[bytes]) -> bytes:
    if not cells:
        return _EMPTY_ARRAY.pack(12, 0, 0, oid)
    body = b"".join(cells)
    return _ARRAY_HEAD.pack(20 + len(body), 1, 0, oid, len(cells), 1) + body


def _text_cell(value: bytes) -> bytes:
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


_VARYING: Mapping[type, Callable[[Any], tuple[list[bytes], ...]]] = {
    BytesColumn: _bytes_parts,
    FixedColumn: _fixed_parts,
    DenseColumn: _fixed_parts,
    SparseColumn: _sparse_parts,
    ArrayColumn: _array_parts,
}
