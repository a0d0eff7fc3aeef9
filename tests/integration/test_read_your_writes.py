from __future__ import annotations

import numpy as np
from sqlalchemy import URL

import vecstore
from vecstore import Collection, DataType, Field, Hnsw, Store

ROUNDS = 500


def circle(key: int) -> list[float]:
    """A direction of its own for each key."""
    angle = 2 * np.pi * key / ROUNDS
    return [float(np.cos(angle)), float(np.sin(angle))]


def points_of(store: Store) -> Collection:
    points = store.create_collection(
        "points", [Field("id", DataType.INT64, primary_key=True), Field("v", DataType.FLOAT_VECTOR, dim=2)]
    )
    points.create_index("v", Hnsw())
    return points


def test_what_was_inserted_is_found_at_once_and_what_was_deleted_never(store: Store, database_url: URL) -> None:
    points = points_of(store)
    with vecstore.connect(database_url) as other_store:
        other = other_store.collection("points")
        for key in range(ROUNDS):
            reader = other if key % 2 else points
            points.insert([{"id": key, "v": circle(key)}])
            assert reader.search(circle(key), 1)[0].ids.tolist() == [key]
            if key % 3 == 0:
                assert points.delete(ids=[key]).count == 1
                assert key not in reader.search(circle(key), 1)[0].ids
        assert other.num_entities == points.num_entities == ROUNDS - len(range(0, ROUNDS, 3))


def test_no_search_of_any_size_finds_a_deleted_entity_again(store: Store) -> None:
    points = points_of(store)
    points.insert({"id": np.arange(ROUNDS), "v": np.array([circle(key) for key in range(ROUNDS)])})
    alive = set(range(ROUNDS))
    for share in (0.5, 0.8, 0.5):
        doomed = np.random.default_rng(len(alive)).choice(sorted(alive), int(len(alive) * share), replace=False)
        assert points.delete(ids=doomed).count == len(doomed)
        alive -= set(doomed.tolist())
        assert points.num_entities == len(alive)
        for limit in (1, 10, ROUNDS):
            for hits in points.search([circle(key) for key in range(0, ROUNDS, 50)], limit):
                assert set(hits.ids) <= alive
                assert len(hits) == min(limit, len(alive))
    points.delete(ids=sorted(alive))
    assert len(points.search(circle(0), 10)[0]) == 0
