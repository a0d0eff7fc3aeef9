"""Searches while others insert, delete and vacuum: no error, never short, nothing that was deleted before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from vecstore import Btree, Collection, DataType, Field, Hnsw, Store
from waiting import eventually

SECONDS = 5
DIM = 16
STAYING = 300
LONELY = 99  # a group of five that nothing is added to
KEPT = 400

FIELDS = (
    Field("id", DataType.INT64, primary_key=True),
    Field("group", DataType.INT32),
    Field("v", DataType.FLOAT_VECTOR, dim=DIM),
)


def columns(ids: np.ndarray, chance: np.random.Generator) -> dict[str, np.ndarray]:
    return {"id": ids, "group": ids % 10, "v": chance.normal(size=(len(ids), DIM)).astype(np.float32)}


class Repeated:
    """A thing that is done again and again, until enough is said."""

    def __init__(self, step: Callable[[], object]) -> None:
        self._step = step
        self.times = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            self._step()
            self.times += 1


def test_searches_are_never_short_while_rows_come_and_go_and_vacuum_runs(store: Store) -> None:
    points = store.create_collection("points", FIELDS)
    points.insert(columns(np.arange(STAYING), np.random.default_rng(1)))
    lonely = np.arange(STAYING, STAYING + 5)
    points.insert({**columns(lonely, np.random.default_rng(2)), "group": np.full(5, LONELY)})
    points.create_index("v", Hnsw())
    points.create_index("group", Btree())
    inserted: list[int] = []
    deleted: set[int] = set()

    def writer() -> Callable[[], None]:
        chance = np.random.default_rng(3)
        fresh = iter(range(1_000, 10_000_000, 20))

        def step() -> None:
            ids = np.arange(20) + next(fresh)
            points.insert(columns(ids, chance))
            inserted.extend(ids.tolist())
            if len(inserted) - len(deleted) > KEPT:
                oldest = inserted[len(deleted) : len(deleted) + 100]
                assert points.delete(ids=oldest).count == len(oldest)
                deleted.update(oldest)

        return step

    def vacuum() -> None:
        engine = store.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql("VACUUM points.entities")

    searches = (searcher(points, deleted, lonely, seed) for seed in (4, 5))
    loops = [Repeated(step) for step in (writer(), vacuum, *searches)]
    begun = time.monotonic()

    def is_enough() -> bool:
        often = min(loop.times for loop in loops) >= 10 and len(deleted) >= 100
        return often and time.monotonic() - begun >= SECONDS

    with ThreadPoolExecutor(len(loops)) as pool:
        running = [pool.submit(loop.run) for loop in loops]
        try:
            eventually(lambda: is_enough() or any(future.done() for future in running))
        finally:
            for loop in loops:
                loop.over.set()
        for future in running:
            future.result()
    assert is_enough()


def searcher(points: Collection, deleted: set[int], lonely: np.ndarray, seed: int) -> Callable[[], None]:
    chance = np.random.default_rng(seed)

    def found(limit: int, condition: str | None = None) -> list[int]:
        before = deleted.copy()
        [hits] = points.search(chance.normal(size=DIM), limit, filter=condition)
        ids = hits.ids.tolist()
        assert not before & set(ids)
        assert len(set(ids)) == len(ids)
        assert np.all(np.diff(hits.distances) <= 0)
        return ids

    def step() -> None:
        for limit in (1, 10, 100):
            assert len(found(limit)) == limit
        assert len(found(30, "group == 3")) == 30  # as many of them stay
        assert sorted(found(10, f"group == {LONELY}")) == lonely.tolist()

    return step
