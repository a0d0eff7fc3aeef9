"""Vector values: what callers may give, the one form that is stored, and what they get back. Pure.

A column of vectors is made canonical once, rounded to what PostgreSQL will hold, and only then checked: a vector that
is fine before rounding can be infinite, or zero, after it. pgvector tells six faults by one SQLSTATE, so all of them
are found here. No message shows a vector: it may be somebody's secret.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgvector import Bit, HalfVector, SparseVector, Vector

from .errors import InvalidArgument, InvalidData
from .schema import MAX_SPARSE_NONZERO, DataType, Field, Metric, metrics_of

# pgvector keeps a sparse vector of an HNSW index on one page.
MAX_INDEXED_SPARSE_NONZERO = 1_000

Array = NDArray[Any]
Nulls = NDArray[np.bool_] | None
SparseRow = tuple[NDArray[np.int32], NDArray[np.float32]]
Decoder = Callable[[bytes | memoryview], Any]

_FLOAT32 = np.finfo(np.float32)
_BITS_PER_BYTE = 8


class Fault(ValueError):
    """A value refused, before it is known by which field; `index` is its position among the values looked at."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(why)
        self.index = index
        self.why = why

    def named(self, field: Field, *, what: str = "row", row: int | None = None) -> InvalidData:
        """The error for the caller; `row` where the position in the input is not `index`."""
        place = self.index if row is None else row
        return InvalidData(f"field {field.name!r}, {what} {place}: {self.why}", field=field.name, row=place)


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

    def take(self, order: NDArray[np.intp]) -> DenseColumn:
        """The rows in this order."""
        nulls = None if self.nulls is None else self.nulls[order]
        return DenseColumn(self.field, self.values[order], nulls)


@dataclass(frozen=True, slots=True, eq=False)
class SparseColumn:
    """n sparse vectors: of each the indices, int32 from 0 and ascending, and the values, float32 and never zero.

    nulls   (n,) True where the vector is None and its row is empty; None where there is none
    """

    field: Field
    rows: list[SparseRow]
    nulls: Nulls = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, order: NDArray[np.intp]) -> SparseColumn:
        """The rows in this order."""
        nulls = None if self.nulls is None else self.nulls[order]
        return SparseColumn(self.field, [self.rows[row] for row in order.tolist()], nulls)


VectorColumn = DenseColumn | SparseColumn


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
    several = [vectors] if _is_one(field.data_type, vectors) else vectors
    column = as_matrix(replace(field, nullable=False), several, what="query vector")
    if not len(column):
        raise InvalidData(f"field {field.name!r}: no query vector given", field=field.name)
    if metric is Metric.COSINE:
        check_norms(column, what="query vector")
    return column


def check_norms(column: VectorColumn, *, what: str = "row") -> None:
    """Refuse the vectors that have no COSINE: zero, or a squared norm that float32, pgvector's sum, cannot hold.

    PostgreSQL would answer NaN, which sorts last in a scan and is missing from an index. Raises InvalidData.
    """
    squares = _squared_norms(column)
    held = (squares >= _FLOAT32.tiny) & (squares <= _FLOAT32.max)
    if column.nulls is not None:
        held |= column.nulls
    if held.all():
        return
    row = int(np.argmin(held))
    raise Fault(row, _norm_fault(float(squares[row]), column.field)).named(column.field, what=what)


def _norm_fault(square: float, field: Field) -> str:
    if square == 0:
        return f"the vector is zero as {field.data_type}, and has no COSINE: leave it out, or use L2 or IP"
    size = "small" if square < 1 else "large"
    return f"the vector's norm is too {size} for COSINE, its square leaves float32: scale the vector"


def _squared_norms(column: VectorColumn) -> NDArray[np.float64]:
    if isinstance(column, SparseColumn):
        wide = (values.astype(np.float64) for _, values in column.rows)
        return np.fromiter((values @ values for values in wide), np.float64, len(column))
    values = column.values
    if values.dtype == np.float32:
        # A float32 sum is quick, and within a millionth: only what it finds near the limits needs the exact one.
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            quick: NDArray[np.float32] = np.einsum("ij,ij->i", values, values)
        if ((quick > 1e-30) & (quick < 1e30)).all():  # noqa: PLR2004
            return quick.astype(np.float64)
    exact: NDArray[np.float64] = np.einsum("ij,ij->i", values, values, dtype=np.float64)
    return exact


def _unwrapped(field: Field, values: Any) -> Any:
    """The vectors as an array of numbers or as a list."""
    if isinstance(values, list):
        return values
    if hasattr(values, "tocsr"):
        rows = values.tocsr()
        return [rows[row] for row in range(rows.shape[0])]
    if hasattr(values, "__array__"):
        values = np.asarray(values)
        return list(values) if values.dtype == object and values.ndim else values
    if isinstance(values, Sequence) and not isinstance(values, str | bytes | bytearray | memoryview):
        return list(values)
    raise InvalidData(f"field {field.name!r}: expected vectors, got {_kind_of(values)}", field=field.name)


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
        return SparseColumn(field, [_sparse_row(row, value, dim, max_nonzero) for row, value in enumerate(values)])
    return DenseColumn(field, _DENSE[field.data_type](values, dim))


# Dense vectors of numbers


def _kind_of(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _is_number(kind: type) -> bool:
    """Whether a Python type counts as a number; NumPy derives timedelta64 from its integers, Python bool from int."""
    return issubclass(kind, (float, int, np.floating, np.integer)) and not issubclass(kind, (bool, np.timedelta64))


def _numbers(index: int, values: Sequence[Any]) -> NDArray[np.float64]:
    """A list of numbers as float64; `index` is the vector's."""
    numbers = None
    # Twice as quick as anything of NumPy's; no str or None gets through, but a bool does, as 0 or 1.
    with suppress(struct.error, OverflowError):
        numbers = np.frombuffer(struct.pack(f"{len(values)}d", *values))
    if numbers is None or ((numbers == 0) | (numbers == 1)).any():
        for place, value in enumerate(values):
            if not _is_number(type(value)):
                raise Fault(index, f"element {place}: expected a number, got {_kind_of(value)}")
    if numbers is None:
        raise Fault(index, "an element is out of range")
    return numbers


def _numeric(index: int, given: Array) -> Array:
    """The array if it holds numbers; bfloat16, which NumPy itself does not know, as float32."""
    if given.dtype.kind in "fiu":
        return given
    if given.dtype.name == "bfloat16":
        return (given.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    raise Fault(index, f"expected numbers, got an array of {given.dtype.name}")


def _vector(index: int, value: Any) -> Array:
    """One vector of numbers as a 1-d array."""
    if isinstance(value, list | tuple):
        return _numbers(index, value)
    if isinstance(value, Vector | HalfVector):
        return value.to_numpy()
    if not hasattr(value, "__array__"):
        raise Fault(index, f"expected a vector of numbers, got {_kind_of(value)}")
    given = np.asarray(value)
    if given.dtype == object and given.ndim:
        return _numbers(index, list(given))
    return _numeric(index, given)


def _vectors(values: Sequence[Any]) -> list[Array]:
    kinds = {value.dtype.kind if type(value) is np.ndarray else "" for value in values}
    if len(kinds) == 1 and kinds <= {"f", "i", "u"}:
        return list(values)
    return [_vector(index, value) for index, value in enumerate(values)]


def _check_width(index: int, shape: tuple[int, ...], dim: int) -> None:
    if len(shape) != 1:
        raise Fault(index, f"expected a vector of {dim:,} dimensions, got an array of shape {shape}")
    if shape[0] != dim:
        raise Fault(index, f"expected {dim:,} dimensions, got {shape[0]:,}")


def _numeric_matrix(values: Any, dim: int) -> Array:
    """(n, dim) of the numbers as they were given."""
    if isinstance(values, np.ndarray):
        if values.ndim != 2:  # noqa: PLR2004
            raise Fault(0, f"expected an array of shape (n, {dim}), got shape {values.shape}")
        _check_width(0, values.shape[1:], dim)
        return _numeric(0, values)
    rows = _vectors(values)
    for index, row in enumerate(rows):
        if row.shape != (dim,):
            _check_width(index, row.shape, dim)
    return np.stack(rows) if rows else np.empty((0, dim), np.float32)


def _check_finite(given: Array, rounded: Array, kind: str) -> None:
    finite = np.isfinite(rounded)
    if finite.all():
        return
    row, place = map(int, np.unravel_index(int(np.argmin(finite)), finite.shape))
    value = given[row, place]
    fault = "NaN" if np.isnan(value) else "infinite" if np.isinf(value) else f"out of the range of {kind}"
    raise Fault(row, f"element {place} is {fault}, expected a finite {kind}")


def _rounded(given: Array, dtype: type[np.floating[Any]]) -> Array:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        rounded = np.ascontiguousarray(given, dtype=dtype)
    _check_finite(given, rounded, dtype.__name__)
    return rounded


def _as_float32(values: Any, dim: int) -> Array:
    return _rounded(_numeric_matrix(values, dim), np.float32)


def _as_float16(values: Any, dim: int) -> Array:
    return _rounded(_numeric_matrix(values, dim), np.float16)


def _as_bfloat16(values: Any, dim: int) -> Array:
    """Round to nearest, ties to even: half of what is cut off, less one unless the last bit kept is odd."""
    given = _as_float32(values, dim)
    bits = given.view(np.uint32)
    rounded = ((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)
    _check_finite(given, rounded, "bfloat16")
    return rounded


def _as_int8(values: Any, dim: int) -> Array:
    given = _numeric_matrix(values, dim)
    taken = (given >= -128) & (given <= 127)  # noqa: PLR2004
    if given.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            taken &= np.rint(given) == given
    if not taken.all():
        row, place = map(int, np.unravel_index(int(np.argmin(taken)), taken.shape))
        raise Fault(row, f"element {place}: expected an integer from -128 to 127")
    return np.ascontiguousarray(given, dtype=np.int8)


# Binary vectors


def _as_bits(values: Any, dim: int) -> Array:
    width = dim // _BITS_PER_BYTE
    if isinstance(values, np.ndarray) and values.ndim == 2:  # noqa: PLR2004
        _check_bits(0, values.dtype, values.shape[1:], dim)
        return np.packbits(values, axis=1) if values.dtype == np.bool_ else np.ascontiguousarray(values)
    packed = b"".join([_bits(index, value, dim) for index, value in enumerate(values)])
    return np.frombuffer(packed, np.uint8).reshape(-1, width)


def _check_bits(index: int, dtype: np.dtype[Any], shape: tuple[int, ...], dim: int) -> None:
    widths = {np.dtype(np.uint8): dim // _BITS_PER_BYTE, np.dtype(np.bool_): dim}
    if shape != (widths.get(dtype),):
        expected = f"{dim // _BITS_PER_BYTE:,} bytes or {dim:,} bools"
        raise Fault(index, f"expected {expected}, got an array of shape {shape} of {dtype.name}")


def _bits(index: int, value: Any, dim: int) -> bytes:
    """One binary vector, packed."""
    if isinstance(value, bytes | bytearray | memoryview):
        return _packed(index, bytes(value), _BITS_PER_BYTE * len(bytes(value)), dim)
    if isinstance(value, Bit):
        wire = value.to_binary()
        return _packed(index, wire[4:], int.from_bytes(wire[:4], "big"), dim)
    if isinstance(value, list | tuple) and set(map(type, value)) <= {bool, np.bool_}:
        value = np.array(value, np.bool_)
    if not hasattr(value, "__array__"):
        raise Fault(index, f"expected bytes or an array of uint8 or bool, got {_kind_of(value)}")
    given = np.asarray(value)
    _check_bits(index, given.dtype, given.shape, dim)
    return (np.packbits(given) if given.dtype == np.bool_ else given).tobytes()


def _packed(index: int, data: bytes, bits: int, dim: int) -> bytes:
    if bits != dim:
        raise Fault(index, f"expected {dim:,} dimensions ({dim // _BITS_PER_BYTE:,} bytes), got {bits:,}")
    return data


_DENSE: Mapping[DataType, Callable[[Any, int], Array]] = {
    DataType.FLOAT_VECTOR: _as_float32,
    DataType.FLOAT16_VECTOR: _as_float16,
    DataType.BFLOAT16_VECTOR: _as_bfloat16,
    DataType.INT8_VECTOR: _as_int8,
    DataType.BINARY_VECTOR: _as_bits,
}


# Sparse vectors


def _sparse_row(index: int, value: Any, dim: int, max_nonzero: int) -> SparseRow:
    given, elements = _sparse_parts(index, value)
    places = _sparse_places(index, given, dim)
    numbers = _rounded_row(index, elements)
    kept = numbers != 0  # pgvector refuses a zero that is written out, also one that float32 made
    if not kept.all():
        places, numbers = places[kept], numbers[kept]
    if len(numbers) > max_nonzero:
        limit = "an HNSW index takes" if max_nonzero == MAX_INDEXED_SPARSE_NONZERO else "a sparse vector has"
        raise Fault(index, f"{len(numbers):,} non-zero elements, {limit} at most {max_nonzero:,}")
    order = np.argsort(places)
    return places[order].astype(np.int32), numbers[order]


def _rounded_row(index: int, elements: Any) -> NDArray[np.float32]:
    given = _vector(index, elements)
    try:
        rounded: NDArray[np.float32] = _rounded(given.reshape(1, -1), np.float32)[0]
    except Fault as fault:
        raise Fault(index, fault.why) from None
    return rounded


def _sparse_parts(index: int, value: Any) -> tuple[Any, Any]:
    """Indices and values, in the order given and not yet looked at."""
    if isinstance(value, Mapping):
        return list(value), list(value.values())
    if isinstance(value, SparseVector):
        return value.indices(), value.values()
    if hasattr(value, "tocoo"):
        coo = value.tocoo()
        if int(np.prod(coo.shape[:-1])) != 1:
            raise Fault(index, f"expected one sparse row, got a matrix of shape {coo.shape}")
        return (coo.coords[-1] if hasattr(coo, "coords") else coo.col), coo.data
    if isinstance(value, list | tuple) and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value):  # noqa: PLR2004
        return [pair[0] for pair in value], [pair[1] for pair in value]
    raise Fault(index, f"expected {{index: value}} or pairs of index and value, got {_kind_of(value)}")


def _sparse_places(index: int, given: Any, dim: int) -> NDArray[np.int64]:
    kinds = {given.dtype.type} if isinstance(given, np.ndarray) else set(map(type, given))
    for kind in kinds:
        if not _is_number(kind) or issubclass(kind, float | np.floating):
            raise Fault(index, f"expected int as the index of an element, got {kind.__name__}")
    # As objects first: NumPy wraps its own uint64 around when it makes int64 of it.
    outside = next((place for place in map(int, given) if not 0 <= place < dim), None)
    if outside is not None:
        raise Fault(index, f"an index is out of range: expected 0 to {dim - 1:,}")
    places = np.fromiter(map(int, given), np.int64, len(given))
    if len(set(places.tolist())) != len(places):
        raise Fault(index, "an index stands there twice")
    return places


# One query vector, or several


def _is_one(kind: DataType, vectors: Any) -> bool:
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


# What PostgreSQL sends, in pgvector's binary format


def _numbers_decoder(wire: str, dtype: type[np.generic]) -> Decoder:
    return lambda data: np.frombuffer(data, wire, offset=4).astype(dtype)


def _decode_bits(data: bytes | memoryview) -> bytes:
    return bytes(data[4:])


def _decode_sparse(data: bytes | memoryview) -> dict[int, float]:
    count = int.from_bytes(data[4:8], "big")
    places = np.frombuffer(data, ">i4", count, offset=12)
    values = np.frombuffer(data, ">f4", count, offset=12 + 4 * count)
    return dict(zip(places.tolist(), values.tolist(), strict=True))


_DECODERS: Mapping[DataType, Decoder] = {
    DataType.FLOAT_VECTOR: _numbers_decoder(">f4", np.float32),
    DataType.FLOAT16_VECTOR: _numbers_decoder(">f2", np.float16),
    DataType.BFLOAT16_VECTOR: _numbers_decoder(">f4", np.float32),
    DataType.INT8_VECTOR: _numbers_decoder(">f2", np.int8),
    DataType.BINARY_VECTOR: _decode_bits,
    DataType.SPARSE_FLOAT_VECTOR: _decode_sparse,
}


def decoder(field: Field) -> Decoder:
    """What makes of pgvector's binary format the value that callers get.

    FLOAT_VECTOR and BFLOAT16_VECTOR an array (dim,) of float32, FLOAT16_VECTOR of float16, INT8_VECTOR of int8, in
    the machine's byte order and the caller's own; BINARY_VECTOR bytes; SPARSE_FLOAT_VECTOR {index from 0: value}.
    """
    return _DECODERS[field.data_type]
