"""Vectors of numbers: rounded to what PostgreSQL holds, then checked."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector, Vector

from .faults import Array, Fault, check_unmasked, kind_of

_LOOKED_AT = 1 << 16  # elements
_PLAIN_NUMBERS = frozenset({float, int, np.float32, np.float64})


def is_number(kind: type) -> bool:
    """Whether a Python type counts as a number; NumPy derives timedelta64 from its integers, Python bool from int."""
    return issubclass(kind, (float, int, np.floating, np.integer)) and not issubclass(kind, (bool, np.timedelta64))


def _numbers(index: int, values: Sequence[Any]) -> NDArray[np.float64]:
    """A list of numbers as float64; `index` is the vector's."""
    numbers = None
    # Twice as quick as anything of NumPy's; no str or None gets through, but a bool or a Decimal does.
    with suppress(struct.error, OverflowError):
        numbers = np.frombuffer(struct.pack(f"{len(values)}d", *values))
    if numbers is None or not set(map(type, values)) <= _PLAIN_NUMBERS:
        for place, value in enumerate(values):
            if not is_number(type(value)):
                raise Fault(index, f"element {place}: expected a number, got {kind_of(value)}")
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


def vector(index: int, value: Any) -> Array:
    """One vector of numbers as a 1-d array."""
    if isinstance(value, list | tuple):
        return _numbers(index, value)
    if isinstance(value, Vector | HalfVector):
        return value.to_numpy()
    if not hasattr(value, "__array__"):
        raise Fault(index, f"expected a vector of numbers, got {kind_of(value)}")
    check_unmasked(index, value)
    given = np.asarray(value)
    if given.dtype == object and given.ndim:
        return _numbers(index, list(given))
    return _numeric(index, given)


def _vectors(values: Sequence[Any]) -> list[Array]:
    kinds = {value.dtype.kind if type(value) is np.ndarray else "" for value in values}
    if len(kinds) == 1 and kinds <= {"f", "i", "u"}:
        return list(values)
    return [vector(index, value) for index, value in enumerate(values)]


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
    """Some rows at a time, whose answers stay in the processor's cache: one for each element would be 150 MB of 600."""
    step = max(1, _LOOKED_AT // max(1, rounded.shape[1]))
    for start in range(0, len(rounded), step):
        finite = np.isfinite(rounded[start : start + step])
        if not finite.all():
            row, place = map(int, np.unravel_index(int(np.argmin(finite)), finite.shape))
            value = given[start + row, place]
            fault = "NaN" if np.isnan(value) else "infinite" if np.isinf(value) else f"out of the range of {kind}"
            raise Fault(start + row, f"element {place} is {fault}, expected a finite {kind}")


def rounded_to(given: Array, dtype: type[np.floating[Any]]) -> Array:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        rounded = np.ascontiguousarray(given, dtype=dtype)
    _check_finite(given, rounded, dtype.__name__)
    return rounded


def as_float32(values: Any, dim: int) -> Array:
    return rounded_to(_numeric_matrix(values, dim), np.float32)


def as_float16(values: Any, dim: int) -> Array:
    return rounded_to(_numeric_matrix(values, dim), np.float16)


def as_bfloat16(values: Any, dim: int) -> Array:
    """Round to nearest, ties to even: half of what is cut off, less one unless the last bit kept is odd."""
    given = as_float32(values, dim)
    bits = given.view(np.uint32)
    rounded = ((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)
    _check_finite(given, rounded, "bfloat16")
    return rounded


def as_int8(values: Any, dim: int) -> Array:
    given = _numeric_matrix(values, dim)
    taken = (given >= -128) & (given <= 127)  # noqa: PLR2004
    if given.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            taken &= np.rint(given) == given
    if not taken.all():
        row, place = map(int, np.unravel_index(int(np.argmin(taken)), taken.shape))
        raise Fault(row, f"element {place}: expected an integer from -128 to 127")
    return np.ascontiguousarray(given, dtype=np.int8)
