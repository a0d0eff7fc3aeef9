"""What every case is given: a server with the data on it, sessions by hand beside vecstore's, and a clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import URL

from vecstore import Collection, DataType, Field, Hnsw, Metric, Store
from vecstore.planning import DEFAULT_EF

from . import ours, raw
from .data import Dataset, Vectors
from .raw import Connection
from .timing import Processes, Side, Times, race

HNSW = Hnsw(metric=Metric.COSINE, m=16, ef_construction=64)
SCALARS = ("name", "section", "size", "draw", "weight")
PARTITIONS = 16


def fields(dim: int) -> tuple[Field, ...]:
    """A key, five scalar fields, a JSON field, a vector: what Dataset.columns() gives."""
    return (
        Field("id", DataType.INT64, primary_key=True),
        Field("name", DataType.VARCHAR, max_length=256),
        Field("section", DataType.VARCHAR, max_length=64),
        Field("size", DataType.INT64),
        Field("draw", DataType.INT32),
        Field("weight", DataType.DOUBLE),
        Field("details", DataType.JSON),
        Field("embedding", DataType.FLOAT_VECTOR, dim=dim),
    )


@dataclass(frozen=True)
class Bench:
    """rounds and queries: how often a case is measured, and with how many query vectors in each round."""

    store: Store
    data: Dataset
    processes: Processes
    rounds: int
    queries: Vectors

    @property
    def url(self) -> URL:
        return self.store.engine.url

    @cached_property
    def by_hand(self) -> Connection:
        """In autocommit, with the search settings that vecstore uses, made once for the session."""
        return raw.connected(self.url, "relaxed_order", ef_search=DEFAULT_EF)

    @cached_property
    def packages(self) -> Collection:
        """All rows in one partition, with an HNSW index."""
        collection = self.loaded("packages", self.all_rows)
        collection.create_index("embedding", HNSW)
        self.settle(collection)
        return collection

    @cached_property
    def split(self) -> Collection:
        """All rows dealt out to 16 partitions, each with an HNSW index."""
        collection = self.store.create_collection("split", fields(self.data.dim))
        for number in range(PARTITIONS):
            name = f"part_{number}" if number else "_default"
            if number:
                collection.create_partition(name)
            collection.insert(self.data.columns(self.all_rows[number::PARTITIONS]), partition_name=name)
        collection.create_index("embedding", HNSW)
        self.settle(collection)
        return collection

    @property
    def all_rows(self) -> NDArray[np.int64]:
        return np.arange(len(self.data.vectors), dtype=np.int64)

    def loaded(self, name: str, rows: NDArray[np.int64]) -> Collection:
        """A collection of some rows, without an index."""
        collection = self.store.create_collection(name, fields(self.data.dim))
        if len(rows):
            collection.insert(self.data.columns(rows))
        self.settle(collection)
        return collection

    def settle(self, collection: Collection) -> None:
        """What autovacuum would do."""
        self.by_hand.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(collection.name, "entities")))

    @contextmanager
    def temporary(self, name: str, rows: NDArray[np.int64]) -> Iterator[Collection]:
        """A collection of some rows, without an index, that is dropped afterwards."""
        collection = self.loaded(name, rows)
        yield collection
        collection.drop()

    def leaf(self, collection: Collection, partition: str = "_default") -> sql.Identifier:
        """The table of a partition: what a hand would write to and read from."""
        return sql.Identifier(collection.name, collection.describe().partition(partition).table)

    def race(
        self, sides: Mapping[str, Side], *, calls: int, rounds: int | None = None, turn: int = 25, warming: int = 12
    ) -> dict[str, Times]:
        return race(sides, self.processes, rounds=rounds or self.rounds, calls=calls, turn=turn, warming=warming)


@contextmanager
def prepared(data: Dataset, *, major: int, rounds: int, queries: int) -> Iterator[Bench]:
    """A server of its own, gone afterwards."""
    with ours.temporary_store(major) as store:
        processes = Processes(store.engine.url)
        bench = Bench(store, data, processes, rounds, data.queries[:queries])
        try:
            yield bench
        finally:
            processes.close()
            if "by_hand" in bench.__dict__:
                bench.by_hand.close()
