"""Chroma, persistent, in this process."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import chromadb
import numpy as np
from numpy.typing import NDArray

from ..data import Dataset
from .task import EFFORTS, K, Peer, main, size_of


class Chroma:
    version = version("chromadb")
    efforts = EFFORTS

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._client = chromadb.PersistentClient(path=str(folder))
        self._effort = 0

    def load(self, data: Dataset) -> None:
        hnsw = {"space": "cosine", "max_neighbors": 16, "ef_construction": 64}
        self._collection = self._client.create_collection("packages", configuration={"hnsw": hnsw})
        batch = self._client.get_max_batch_size()
        for begin in range(0, len(data.vectors), batch):
            rows = range(begin, min(begin + batch, len(data.vectors)))
            self._collection.add(
                ids=[str(row) for row in rows],
                embeddings=data.vectors[rows.start : rows.stop],
                metadatas=[{"section": str(data.sections[row])} for row in rows],
            )

    def search(self, query: NDArray[np.float32], effort: int, section: str | None) -> list[int]:
        if effort != self._effort:
            self._collection.modify(configuration={"hnsw": {"ef_search": effort}})
            self._effort = effort
        where = None if section is None else {"section": section}
        found = self._collection.query(query_embeddings=[query], n_results=K, where=where, include=["distances"])
        return [int(key) for key in found["ids"][0]]

    def delete(self, section: str) -> None:
        self._collection.delete(where={"section": section})

    def drop_collection(self) -> None:
        self._client.delete_collection("packages")

    def close(self) -> None:
        pass

    def disk(self) -> int:
        return size_of(self._folder)


def made(folder: Path) -> Peer:
    return Chroma(folder)


if __name__ == "__main__":
    main(made)
