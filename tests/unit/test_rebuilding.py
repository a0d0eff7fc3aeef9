from __future__ import annotations

import pytest

from vecstore import DataType, Field, Hnsw
from vecstore.rebuilding import build_memory

MB = 1 << 20


def of(rows: int, dim: int = 384, kind: DataType = DataType.FLOAT_VECTOR, m: int = 16) -> int:
    return build_memory(Hnsw(m=m, ef_construction=128), Field("v", kind, dim=dim), rows)


def test_a_build_gets_enough_for_parallel_workers() -> None:
    assert of(0) == of(1_000) == 64 * MB


# rows that fitted into 4 MB, measured
@pytest.mark.parametrize(
    ("dim", "m", "rows"), [(4, 2, 13_159), (4, 16, 5_737), (4, 64, 1_852), (384, 16, 1_863), (384, 64, 1_108)]
)
def test_a_graph_has_room_in_the_memory_of_its_build(dim: int, m: int, rows: int) -> None:
    assert 4 * MB < of(rows * 1_000, dim, m=m) / 1_000 < 1.5 * 4 * MB


def test_vectors_need_what_an_index_holds_of_them() -> None:
    rows = 1_000_000
    single = of(rows, 1_000)
    half, bits = of(rows, 1_000, DataType.FLOAT16_VECTOR), of(rows, 1_000, DataType.BINARY_VECTOR)
    assert bits < half < single
    assert of(rows, 2_001) < of(rows, 2_000)
    assert of(rows, 1_000_000, DataType.SPARSE_FLOAT_VECTOR) == of(rows, 10, DataType.SPARSE_FLOAT_VECTOR) > single
