"""Milvus Lite, through pymilvus."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymilvus import DataType, MilvusClient

from ..data import Dataset
from .task import EFFORTS, K, Peer, main, size_of

_BATCH = 1_000


class MilvusLite:
    version = version("milvus-lite")
    efforts = EFFORTS

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._client = MilvusClient(str(folder / "packages.db"))

    def load(self, data: Dataset) -> None:
        schema = self._client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("section", DataType.VARCHAR, max_length=64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=data.dim)
        self._client.create_collection("packages", schema=schema)
        self._insert(data, np.arange(len(data.vectors)), "_default")
        index = self._client.prepare_index_params()
        hnsw = {"M": 16, "efConstruction": 64}
        index.add_index(field_name="vector", index_type="HNSW", metric_type="COSINE", params=hnsw)
        index.add_index(field_name="section", index_type="INVERTED")
        self._client.create_index("packages", index)
        self._client.load_collection("packages")

    def _insert(self, data: Dataset, rows: NDArray[np.int64], partition: str) -> None:
        for begin in range(0, len(rows), _BATCH):
            batch = [
                {"id": int(row), "section": str(data.sections[row]), "vector": data.vectors[row]}
                for row in rows[begin : begin + _BATCH]
            ]
            self._client.insert("packages", batch, partition_name=partition)
        self._client.flush("packages")

    def search(self, query: NDArray[np.float32], effort: int, section: str | None) -> list[int]:
        [hits] = self._client.search(
            "packages",
            data=[query],
            anns_field="vector",
            limit=K,
            filter="" if section is None else f'section == "{section}"',
            search_params={"metric_type": "COSINE", "params": {"ef": max(effort, K)}},
        )
        return [hit["id"] for hit in hits]

    def delete(self, section: str) -> None:
        self._client.delete("packages", filter=f'section == "{section}"')

    def add_partition(self, data: Dataset, rows: NDArray[np.int64]) -> None:
        self._client.create_partition("packages", "tenth")
        self._insert(data, rows, "tenth")

    def drop_partition(self) -> None:
        self._client.release_collection("packages")  # or it refuses
        self._client.drop_partition("packages", "tenth")

    def drop_index(self) -> None:
        self._client.release_collection("packages")
        self._client.drop_index("packages", "vector")

    def drop_collection(self) -> None:
        self._client.drop_collection("packages")

    def close(self) -> None:
        self._client.close()

    def disk(self) -> int:
        return size_of(self._folder)


def made(folder: Path) -> Peer:
    return MilvusLite(folder)


if __name__ == "__main__":
    main(made)
