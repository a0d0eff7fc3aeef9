"""Binary vectors: bits packed into bytes, the first the highest."""

from __future__ import annotations

from typing import Any

import numpy as np
from pgvector import Bit

from .faults import Array, Fault, check_unmasked, kind_of

_BITS_PER_BYTE = 8


def as_bits(values: Any, dim: int) -> Array:
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
        raise Fault(index, f"expected bytes or an array of uint8 or bool, got {kind_of(value)}")
    check_unmasked(index, value)
    given = np.asarray(value)
    _check_bits(index, given.dtype, given.shape, dim)
    return (np.packbits(given) if given.dtype == np.bool_ else given).tobytes()


def _packed(index: int, data: bytes, bits: int, dim: int) -> bytes:
    if bits != dim:
        raise Fault(index, f"expected {dim:,} dimensions ({dim // _BITS_PER_BYTE:,} bytes), got {bits:,}")
    return data
