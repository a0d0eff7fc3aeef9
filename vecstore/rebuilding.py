"""What building an index takes: time, an estimate from what builds took where it was measured, and memory. Pure.

Of one process, with its data in memory; docs/decisions/0019 has the measurements. Another machine is two or three times
faster or slower, and the server may build with several processes.
"""

from __future__ import annotations

import math

from .description import OtherIndex
from .schema import DataType, Field, Gin, Hnsw, IndexSpec, IvfFlat

_US = 1e-6
_BTREE_US_A_ROW = 0.8
_GIN_US_A_ROW = 9.0
_HNSW_US = 11.0
_HNSW_US_A_DIM = 0.0165
_IVFFLAT_US_A_ROW = 7.0
_IVFFLAT_US_A_DISTANCE_AND_DIM = 1.2e-4
_IVFFLAT_US_A_SAMPLE_AND_DIM = 2.7e-4
_SAMPLES, _SAMPLES_A_LIST = 10_000, 50
# An HNSW graph that outgrows maintenance_work_mem: of 41 MB, in 0.8 and in 0.2 of it, 2.9 and 6.8 times as long.
_OUTGROWN = 7.0

# With less than 32 MB for each process PostgreSQL builds an index without workers.
_LEAST_MEMORY = 64 << 20
# Of a graph while it is built, for each row beside its vector: docs/decisions/0024 has the measurements.
_NODE_BYTES = 250
_NODE_BYTES_A_LINK = 32
# For what is inserted meanwhile, and what the processes lose between them.
_ROOM = 1.25
_SPARSE_BYTES = 8 * 1_000 + 16  # an index holds no vectors of more elements
_BYTES_A_DIM = {DataType.FLOAT16_VECTOR: 2.0, DataType.INT8_VECTOR: 2.0, DataType.BINARY_VECTOR: 1 / 8}


def build_memory(spec: Hnsw, field: Field, rows: int) -> int:
    """The maintenance_work_mem in bytes with which an HNSW graph of so many rows is built in memory, in parallel."""
    a_dim = 2.0 if field.indexed_in_half_precision else _BYTES_A_DIM.get(field.data_type, 4.0)
    vector = _SPARSE_BYTES if field.data_type is DataType.SPARSE_FLOAT_VECTOR else 8 + a_dim * (field.dim or 0)
    node = _NODE_BYTES + _NODE_BYTES_A_LINK * spec.m
    return max(_LEAST_MEMORY, int(rows * (vector + node) * _ROOM))


def rebuild_seconds(
    spec: IndexSpec | OtherIndex, field: Field | None, rows: int, *, size: int, memory: int
) -> float | None:
    """About how long a build on so many rows takes; None for an index of which nothing was measured.

    size    of the index in bytes as it is; memory: the server's maintenance_work_mem
    """
    if isinstance(spec, Hnsw):
        dim = 0 if field is None or field.dim is None else min(field.dim, 4_000)
        effort: float = (spec.ef_construction / 64) ** 0.8 * (spec.m / 16) ** 1.25
        each = (_HNSW_US + _HNSW_US_A_DIM * dim) * effort * math.log2(rows + 2)
        missing = max(0.0, 1 - memory / max(1, size))
        return rows * each * (1 + _OUTGROWN * missing) * _US
    if isinstance(spec, IvfFlat):
        dim = 0 if field is None or field.dim is None else field.dim
        samples = min(rows, max(_SAMPLES, _SAMPLES_A_LIST * spec.lists))
        found = samples * spec.lists * dim * _IVFFLAT_US_A_SAMPLE_AND_DIM
        assigned = rows * (_IVFFLAT_US_A_ROW + spec.lists * dim * _IVFFLAT_US_A_DISTANCE_AND_DIM)
        return (found + assigned) * _US
    if isinstance(spec, OtherIndex):
        return None
    return rows * (_GIN_US_A_ROW if isinstance(spec, Gin) else _BTREE_US_A_ROW) * _US
