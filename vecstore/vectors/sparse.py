"""Sparse vectors: indices from 0, ascending, and values that are not zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgvector import SparseVector

from .dense import is_number, rounded_to, vector
from .faults import Fault, kind_of

# pgvector keeps a sparse vector of an HNSW index on one page.
MAX_INDEXED_SPARSE_NONZERO = 1_000

SparseRow = tuple[NDArray[np.int32], NDArray[np.float32]]


def sparse_row(index: int, value: Any, dim: int, max_nonzero: int) -> SparseRow:
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
    given = vector(index, elements)
    try:
        row: NDArray[np.float32] = rounded_to(given.reshape(1, -1), np.float32)[0]
    except Fault as fault:
        raise Fault(index, fault.why) from None
    return row


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
    raise Fault(index, f"expected {{index: value}} or pairs of index and value, got {kind_of(value)}")


def _sparse_places(index: int, given: Any, dim: int) -> NDArray[np.int64]:
    kinds = {given.dtype.type} if isinstance(given, np.ndarray) else set(map(type, given))
    for kind in kinds:
        if not is_number(kind) or issubclass(kind, float | np.floating):
            raise Fault(index, f"expected int as the index of an element, got {kind.__name__}")
    # As objects first: NumPy wraps its own uint64 around when it makes int64 of it.
    outside = next((place for place in map(int, given) if not 0 <= place < dim), None)
    if outside is not None:
        raise Fault(index, f"an index is out of range: expected 0 to {dim - 1:,}")
    places = np.fromiter(map(int, given), np.int64, len(given))
    if len(set(places.tolist())) != len(places):
        raise Fault(index, "an index stands there twice")
    return places
