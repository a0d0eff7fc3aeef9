"""Vectors of one field, canonical: stored or asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pgvector import Bit, HalfVector, SparseVector, Vector

from vecstore.errors import InvalidArgument, InvalidData
from vecstore.schema import MAX_SPARSE_NONZERO, DataType, Field, Metric, metrics_of

from .bits import as_bits
from .dense import as_bfloat16, as_float16, as_float32, as_int8
from .faults import Array, Fault, Nulls, Rows, kind_of
from .sparse import SparseRow, sparse_row

T = TypeVar("T")

_FLOAT32 = np.finfo(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class DenseColumn:
    """n vectors of one field as PostgreSQL will hold them; may share memory with what the caller gave.

    values  (n, dim), C order: FLOAT_VECTOR float32, BFLOAT16_VECTOR float32 rounded to bfloat16, FLOAT16_VECTOR
            float16, INT8_VECTOR int8; BINARY_VECTOR (n, dim / 8) uint8, the first bit the highest
    nulls   (n,) True where the vector is None and its values are zero; None where there is none
    """

    field: Field
    values: Array
    nulls: Nulls = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Rows) -> DenseColumn:
        nulls = None if self.nulls is None else self.nulls[rows]
        return DenseColumn(self.field, self.values[rows], nulls)


@dataclass(frozen=True, slots=True, eq=False)
class SparseColumn:
    """n sparse vectors: of each the indices, int32 from 0 and ascending, and the values, float32 and never zero.

    nulls   (n,) True where the vector is None and its row is empty; None where there is none
    """

    field: Field
    rows: Sequence[SparseRow]
    nulls: Nulls = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Rows) -> SparseColumn:
        nulls = None if self.nulls is None else self.nulls[rows]
        return SparseColumn(self.field, picked(self.rows, rows), nulls)


VectorColumn = DenseColumn | SparseColumn


def picked(values: Sequence[T], rows: Rows) -> Sequence[T]:
    """Some of the values, in the order of the rows."""
    return values[rows] if isinstance(rows, slice) else [values[row] for row in rows.tolist()]


def as_matrix(field: Field, values: Any, *, what: str = "row", max_nonzero: int = MAX_SPARSE_NONZERO) -> VectorColumn:
    """Make n vectors of a field canonical.

    values       an array (n, dim) of numbers, or a sequence of vectors: lists, 1-d arrays, pgvector's types; None only
                 if the field is nullable. Binary: bytes, packed uint8 or bool arrays. Sparse: {index: value}, (index,
                 value) pairs, scipy's sparse rows
    what         the word for one of them in messages
    max_nonzero  sparse: the most elements of a vector

    Raises InvalidData. A C-contiguous float32 array is neither copied nor walked through by Python.
    """
    values = _unwrapped(field, values)
    nulls = _nulls(field, values, what)
    present = values if nulls is None else [value for value in values if value is not None]
    try:
        column = _column(field, present, max_nonzero)
    except Fault as fault:
        row = fault.index if nulls is None else int(np.flatnonzero(~nulls)[fault.index])
        raise fault.named(field, what=what, row=row) from None
    return column if nulls is None else _spread(column, nulls)


def as_query(field: Field, metric: Metric, vectors: Any) -> VectorColumn:
    """One query vector or several, canonical: the checks of stored vectors, no None, and for COSINE none of zero.

    Raises InvalidData, and InvalidArgument for a metric that the field does not have.
    """
    if metric not in metrics_of(field.data_type):
        known = ", ".join(metrics_of(field.data_type))
        raise InvalidArgument(f"field {field.name!r} is {field.data_type}: metric {metric} is not one of {known}")
    several = [vectors] if is_one(field.data_type, vectors) else vectors
    required = replace(field, nullable=False) if field.nullable else field
    column = as_matrix(required, several, what="query vector")
    if not len(column):
        raise InvalidData(f"field {field.name!r}: no query vector given", field=field.name)
    if metric is Metric.COSINE:
        check_norms(column, what="query vector")
    return column


def check_norms(column: VectorColumn, *, what: str = "row") -> None:
    """Refuse the vectors that have no COSINE: zero, or a squared norm that float32, pgvector's sum, cannot hold.

    PostgreSQL would answer NaN, which sorts last in a scan and is missing from an index. Raises InvalidData.
    """
    if _are_ordinary(column):
        return
    squares = _squared_norms(column)
    held = (squares >= _FLOAT32.tiny) & (squares <= _FLOAT32.max)
    if column.nulls is not None:
        held |= column.nulls
    if held.all():
        return
    row = int(np.argmin(held))
    raise Fault(row, _norm_fault(float(squares[row]), column.field)).named(column.field, what=what)


def _are_ordinary(column: VectorColumn) -> bool:
    """Whether all norms are far from the limits, by a sum in float32: it is quick, and within a millionth."""
    if isinstance(column, SparseColumn) or column.values.dtype != np.float32 or not len(column):
        return False
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares: NDArray[np.float32] = np.einsum("ij,ij->i", column.values, column.values)
    return bool(squares.min() > 1e-30 and squares.max() < 1e30)  # noqa: PLR2004


def _norm_fault(square: float, field: Field) -> str:
    if square == 0:
        return f"the vector is zero as {field.data_type}, and has no COSINE: leave it out, or use L2 or IP"
    size = "small" if square < 1 else "large"
    return f"the vector's norm is too {size} for COSINE, its square leaves float32: scale the vector"


def _squared_norms(column: VectorColumn) -> NDArray[np.float64]:
    if isinstance(column, SparseColumn):
        wide = (values.astype(np.float64) for _, values in column.rows)
        return np.fromiter((values @ values for values in wide), np.float64, len(column))
    exact: NDArray[np.float64] = np.einsum("ij,ij->i", column.values, column.values, dtype=np.float64)
    return exact


def _unwrapped(field: Field, values: Any) -> Any:
    """The vectors as an array of numbers or as a list."""
    if isinstance(values, list):
        return values
    if hasattr(values, "tocsr"):
        rows = values.tocsr()
        return [rows[row] for row in range(rows.shape[0])]
    if isinstance(values, np.ma.MaskedArray):
        return list(values)
    if hasattr(values, "__array__"):
        values = np.asarray(values)
        return list(values) if values.dtype == object and values.ndim else values
    if isinstance(values, Sequence) and not isinstance(values, str | bytes | bytearray | memoryview):
        return list(values)
    raise InvalidData(f"field {field.name!r}: expected vectors, got {kind_of(values)}", field=field.name)


def _nulls(field: Field, values: Any, what: str) -> Nulls:
    if not isinstance(values, list) or type(None) not in set(map(type, values)):
        return None
    nulls = np.fromiter((value is None for value in values), np.bool_, len(values))
    if not field.nullable:
        raise Fault(int(np.argmax(nulls)), "expected a vector, got None").named(field, what=what)
    return nulls


def _spread(column: VectorColumn, nulls: NDArray[np.bool_]) -> VectorColumn:
    """The rows that are there between the ones that are None."""
    if isinstance(column, SparseColumn):
        present = iter(column.rows)
        empty = (np.empty(0, np.int32), np.empty(0, np.float32))
        return SparseColumn(column.field, [empty if null else next(present) for null in nulls], nulls)
    values = np.zeros((len(nulls), column.values.shape[1]), column.values.dtype)
    values[~nulls] = column.values
    return DenseColumn(column.field, values, nulls)


def _column(field: Field, values: Any, max_nonzero: int) -> VectorColumn:
    dim = field.dim or 0
    if field.data_type is DataType.SPARSE_FLOAT_VECTOR:
        return SparseColumn(field, [sparse_row(row, value, dim, max_nonzero) for row, value in enumerate(values)])
    return DenseColumn(field, _DENSE[field.data_type](values, dim))


_DENSE: Mapping[DataType, Callable[[Any, int], Array]] = {
    DataType.FLOAT_VECTOR: as_float32,
    DataType.FLOAT16_VECTOR: as_float16,
    DataType.BFLOAT16_VECTOR: as_bfloat16,
    DataType.INT8_VECTOR: as_int8,
    DataType.BINARY_VECTOR: as_bits,
}


def is_one(kind: DataType, vectors: Any) -> bool:
    if isinstance(vectors, Mapping | SparseVector | Vector | HalfVector | Bit | bytes | bytearray | memoryview):
        return True
    if hasattr(vectors, "tocoo"):
        return len(vectors.shape) == 1 or vectors.shape[0] == 1
    if hasattr(vectors, "__array__"):
        given = np.asarray(vectors)
        return given.ndim == 1 and given.dtype != object
    if not isinstance(vectors, list | tuple) or not vectors:
        return False
    first = vectors[0]
    if kind is DataType.SPARSE_FLOAT_VECTOR:
        # (index, value) is what a vector of pairs begins with; ((index, value), ...) is a vector.
        return isinstance(first, list | tuple) and bool(first) and not isinstance(first[0], list | tuple)
    return isinstance(first, float | int | str | np.generic)
