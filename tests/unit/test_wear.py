from __future__ import annotations

import pytest

from vecstore import Hnsw, IvfFlat
from vecstore.operations.wear import LeafIndex, needed_bytes

# What PostgreSQL has made of so many rows, in pages of 8 kB; widths are pg_column_size() of the vectors.
MADE = [
    (Hnsw(), 5_000, 1_544, 1_251),
    (Hnsw(), 5_000, 37, 206),
    (Hnsw(m=4, ef_construction=20), 5_000, 37, 115),
    (Hnsw(m=48, ef_construction=100), 3_000, 264, 377),
    (Hnsw(), 1_000, 6_152, 1_001),
    (Hnsw(), 1_000, 8_008, 2_001),
    (IvfFlat(lists=100), 5_000, 1_544, 1_063),
    (IvfFlat(lists=100), 5_000, 1_544, 1_066),
]


@pytest.mark.parametrize(("spec", "rows", "width", "pages"), MADE)
def test_the_size_that_an_index_needs_is_known_within_a_tenth(
    spec: Hnsw | IvfFlat, rows: int, width: int, pages: int
) -> None:
    assert needed_bytes(spec, rows, width) / 8192 == pytest.approx(pages, rel=0.1)


@pytest.mark.parametrize(
    ("name", "index", "is_valid", "left"),
    [
        ("v_idx_ccnew", "v_idx_ccnew", False, True),
        ("v_idx_ccold3", "v_idx_ccold3", False, True),
        ("v_idx_ccnew", "v_idx_ccnew", True, False),
        ("v_idx_ccnew", "v_idx", False, False),
        ("v_idx", "v_idx", False, False),
    ],
)
def test_only_an_invalid_index_of_its_own_is_left_by_a_reindex(
    name: str, index: str, *, is_valid: bool, left: bool
) -> None:
    found = LeafIndex("entities__default", name, index, "hnsw", 8192, is_valid)
    assert found.is_left_by_reindex is left
