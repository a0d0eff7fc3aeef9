"""What PostgreSQL sends, in pgvector's binary format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
