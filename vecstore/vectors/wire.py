"""Vectors in pgvector's binary format, as they come and as they go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any

import numpy as np

from vecstore.schema import DataType, Field

Decoder = Callable[[bytes | memoryview], Any]


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


DENSE_TYPES: Mapping[DataType, np.dtype[Any]] = {
    DataType.FLOAT_VECTOR: np.dtype(">f4"),
    DataType.FLOAT16_VECTOR: np.dtype(">f2"),
    DataType.BFLOAT16_VECTOR: np.dtype(">f4"),
    DataType.INT8_VECTOR: np.dtype(">f2"),
    DataType.BINARY_VECTOR: np.dtype("u1"),
}
"""What the elements of a vector travel as."""

_SINGLE, _SENT = np.dtype(np.float32), DENSE_TYPES[DataType.FLOAT_VECTOR]
_HEAD = Struct(">i")


def dense_head(field: Field) -> bytes:
    """What stands before them. bit: the number of bits; vector and halfvec: dimensions in two bytes and two unused."""
    dim = field.dim or 0
    return _HEAD.pack(dim if field.data_type is DataType.BINARY_VECTOR else dim << 16)


def plain_query(field: Field, vectors: Any) -> bytes | None:
    """What most searches come with, to be sent: one float32 array, of ordinary numbers as its norm shows, which is what
    as_query() would make of it. None to look closer.
    """
    if type(vectors) is not np.ndarray or vectors.dtype != _SINGLE:
        return None
    if vectors.shape == (1, field.dim):
        vectors = vectors[0]
    if vectors.shape != (field.dim,):
        return None
    if field.data_type is not DataType.FLOAT_VECTOR or not 1e-30 < float(vectors.dot(vectors)) < 1e30:  # noqa: PLR2004
        return None
    sent: bytes = dense_head(field) + vectors.astype(_SENT).tobytes()
    return sent
