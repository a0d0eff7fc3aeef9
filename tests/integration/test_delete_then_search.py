"""Most of a collection deleted, and nothing cleaned up after it: searches are whole all the same.

Test 37 of the list that this project was begun with.
"""

from __future__ import annotations

import numpy as np
import pytest

from vecstore import Collection, DataType, Field, Hnsw, SearchPath, Store

ROWS, DIM, LIMITS = 3_000, 16, (1, 10, 100)
QUERIES = np.random.default_rng(37).normal(size=(10, DIM)).astype(np.float32)
VECTORS = np.random.default_rng(38).normal(size=(ROWS, DIM)).astype(np.float32)
DRAWS = np.random.default_rng(39).permutation(ROWS)
SIMILARITIES = QUERIES @ VECTORS.T / np.linalg.norm(VECTORS, axis=1) / np.linalg.norm(QUERIES, axis=1)[:, None]


@pytest.fixture
def points(store: Store) -> Collection:
    """Vectors with an index, and their dead rows left where they are."""
    fields = (
        Field("id", DataType.INT64, primary_key=True),
        Field("draw", DataType.INT32),
        Field("v", DataType.FLOAT_VECTOR, dim=DIM),
    )
    points = store.create_collection("points", fields)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE points.entities__default SET (autovacuum_enabled = off)")
    points.insert({"id": np.arange(ROWS), "draw": DRAWS, "v": VECTORS})
    points.create_index("v", Hnsw())
    return points


def was_vacuumed(store: Store) -> bool:
    with store.engine.connect() as connection:
        found: int = connection.exec_driver_sql(
            "SELECT vacuum_count + autovacuum_count FROM pg_stat_all_tables "
            "WHERE relid = 'points.entities__default'::regclass"
        ).scalar_one()
    return found > 0


@pytest.mark.parametrize("analysed", [False, True])
def test_however_much_is_deleted_a_search_gives_all_it_should_and_nothing_deleted(
    store: Store,
    points: Collection,
    analysed: bool,  # noqa: FBT001
) -> None:
    left = set(range(ROWS))
    for percent in (50, 90, 99):
        deleted = {int(key) for key in np.flatnonzero(ROWS * percent > DRAWS * 100)} & left
        assert points.delete("draw < {least}", filter_params={"least": ROWS * percent // 100}).count == len(deleted)
        left -= deleted
        assert len(left) == ROWS * (100 - percent) // 100
        if analysed:
            with store.engine.begin() as connection:
                connection.exec_driver_sql("ANALYZE points.entities")
        truth = np.argsort(-SIMILARITIES[:, sorted(left)], axis=1)
        for limit in LIMITS:
            wanted = min(limit, len(left))
            found_of_best = 0
            for number, hits in enumerate(points.search(QUERIES, limit)):
                found = hits.ids.tolist()
                assert len(found) == len(set(found)) == wanted, (percent, limit)
                assert set(found) <= left, (percent, limit)
                best = {sorted(left)[place] for place in truth[number, :wanted]}
                found_of_best += len(best & set(found))
            assert found_of_best >= 0.95 * wanted * len(QUERIES), (percent, limit)
            for hits in points.search(QUERIES, limit, exact=False):
                assert hits.path is SearchPath.INDEX
                assert set(hits.ids.tolist()) <= left, (percent, limit)
    assert not was_vacuumed(store)
