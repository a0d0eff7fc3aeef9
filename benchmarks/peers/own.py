"""vecstore."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text

import vecstore
from vecstore import Btree, DataType, Field, Hnsw, Metric

from ..data import Dataset
from .task import EFFORTS, K, Peer, main_on_server


class Own:
    """What it is asked without `ef`: its own default, which chooses between index and exact."""

    version = version("vecstore")
    efforts = EFFORTS

    def __init__(self, url: str) -> None:
        self._store = vecstore.connect(url)
        self._store.upgrade()
        self._created = False

    def load(self, data: Dataset) -> None:
        self._collection = self._store.create_collection(
            "packages",
            (
                Field("id", DataType.INT64, primary_key=True),
                Field("section", DataType.VARCHAR, max_length=64),
                Field("embedding", DataType.FLOAT_VECTOR, dim=data.dim),
            ),
        )
        rows = np.arange(len(data.vectors))
        self._collection.insert({"id": rows, "section": data.sections, "embedding": data.vectors})
        self._collection.create_index("embedding", Hnsw(metric=Metric.COSINE))
        self._collection.create_index("section", Btree())

    def search(self, query: NDArray[np.float32], effort: int, section: str | None) -> list[int]:
        [hits] = self._collection.search(
            query,
            K,
            ef=effort,
            filter=None if section is None else "section == {name}",
            filter_params={"name": section},
        )
        ids: list[int] = hits.ids.tolist()
        return ids

    def delete(self, section: str) -> None:
        self._collection.delete("section == {name}", filter_params={"name": section})

    def add_partition(self, data: Dataset, rows: NDArray[np.int64]) -> None:
        self._collection.create_partition("tenth")
        columns = {"id": rows, "section": data.sections[rows], "embedding": data.vectors[rows]}
        self._collection.insert(columns, partition_name="tenth")

    def drop_partition(self) -> None:
        self._collection.drop_partition(partition_name="tenth")

    def drop_index(self) -> None:
        self._collection.drop_index("embedding_idx")

    def drop_collection(self) -> None:
        self._collection.drop()

    def close(self) -> None:
        self._store.close()

    def disk(self) -> int:
        with self._store.engine.connect() as connection:
            return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


def made(url: str) -> Peer:
    return Own(url)


if __name__ == "__main__":
    main_on_server(made)
