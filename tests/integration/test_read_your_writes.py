"""What was just written is found at once, what was just deleted never again: on this connection and on others."""

from __future__ import annotations

import random

import numpy as np

import vecstore
from vecstore import Collection, DataType, Field, Hnsw, Metric, SearchPath, Store

FIELDS = (
    Field("id", DataType.INT64, primary_key=True),
    Field("group", DataType.INT16),
    Field("v", DataType.FLOAT_VECTOR, dim=8),
)
WRITES = 500
KEPT = 25


def vectors_of(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)


def nearest(collection: Collection, *vectors: np.ndarray) -> list[int]:
    """The key nearest to each vector, by the index."""
    answers = collection.search(vectors, limit=1, exact=False)
    assert all(hits.path is SearchPath.INDEX for hits in answers)
    return [hits[0].id for hits in answers]


def test_each_of_500_inserts_is_found_at_once_and_none_after_its_deletion(store: Store, database_url) -> None:
    mine = store.create_collection("vectors", FIELDS)
    mine.create_index("v", Hnsw(Metric.L2))
    vectors = vectors_of(WRITES, seed=1)
    with vecstore.connect(database_url) as other_store:
        others = other_store.collection("vectors")
        for key, vector in enumerate(vectors):
            writer, reader = (mine, others) if key % 2 else (others, mine)
            writer.insert([{"id": key, "group": key % 3, "v": vector}])
            gone = key - KEPT
            if gone < 0:
                assert nearest(reader, vector) == [key]
                continue
            assert writer.delete(ids=gone).count == 1
            found, other = nearest(reader, vector, vectors[gone])
            assert found == key
            assert other != gone
            if key % 10 == 0:
                found, other = nearest(writer, vector, vectors[gone])
                assert found == key
                assert other != gone
        assert mine.count() == others.count() == KEPT


def test_what_was_deleted_is_found_by_no_later_search_and_counts_are_true(store: Store) -> None:
    collection = store.create_collection("vectors", FIELDS)
    collection.create_index("v", Hnsw(Metric.L2))
    collection.create_partition("second")
    vectors = vectors_of(600, seed=2)
    rows = [{"id": key, "group": key % 10, "v": vector} for key, vector in enumerate(vectors)]
    collection.insert(rows[:400])
    collection.insert(rows[400:], partition_name="second")
    left = set(range(600))
    chance = random.Random(3)  # noqa: S311

    def delete_some() -> tuple[int, set[int]]:
        how = chance.randrange(4)
        if how == 0:
            some = set(chance.sample(range(700), 40))
            return collection.delete(ids=list(some)).count, some
        if how == 1:
            group, above = chance.randrange(10), chance.randrange(600)
            some = {key for key in range(above, 600) if key % 10 == group}
            return collection.delete(where=(collection.c.group == group) & (collection.c.id >= above)).count, some
        if how == 2:
            some = set(chance.sample(range(400, 600), 20))
            return collection.partition("second").delete(ids=list(some)).count, some
        some = set(chance.sample(range(600), 20))
        with store.transaction() as transaction:
            inside = transaction.collection("vectors")
            count = sum(inside.delete(ids=key).count for key in some)
            assert not some & set(inside.search(vectors[0], limit=1000)[0].ids.tolist())
        return count, some

    for step in range(25):
        count, some = delete_some()
        assert count == len(some & left)
        left -= some
        assert collection.count() == collection.num_entities == collection.stats().rows == len(left)
        assert collection.count(partition_names=["second"]) == len([key for key in left if key >= 400])
        limit = chance.choice([1, 10, 100, 1000])
        for hits in collection.search(vectors[step : step + 3], limit=limit):
            found = hits.ids.tolist()
            assert len(found) == min(limit, len(left))
            assert set(found) <= left
        assert {row["id"] for row in collection.get(range(600))} == left
    assert len(left) < 300


def test_a_deletion_that_is_rolled_back_is_found_again_and_seen_by_nobody_else_before(store: Store) -> None:
    collection = store.create_collection("vectors", FIELDS)
    collection.create_index("v", Hnsw(Metric.L2))
    vectors = vectors_of(50, seed=4)
    collection.insert({"id": list(range(50)), "group": [0] * 50, "v": vectors})
    with store.engine.connect() as connection:
        inside = store.bind(connection).collection("vectors")
        inside.delete(ids=7)
        inside.insert([{"id": 50, "group": 0, "v": np.full(8, 9.0)}])
        far = np.full(8, 9.0)
        seventh, own = nearest(inside, vectors[7], far)
        assert seventh != 7
        assert own == 50
        seventh, own = nearest(collection, vectors[7], far)
        assert seventh == 7
        assert own != 50
        connection.rollback()
    assert nearest(collection, vectors[7]) == [7]
    assert nearest(collection, far) != [50]
    assert collection.count() == 50
