"""Qdrant's client in local mode: no index, NumPy compares all rows."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models

from ..data import Dataset
from .task import K, Peer, main, size_of


class Qdrant:
    version = version("qdrant-client")
    efforts = (0,)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._client = QdrantClient(path=str(folder))

    def load(self, data: Dataset) -> None:
        vectors = models.VectorParams(size=data.dim, distance=models.Distance.COSINE)
        self._client.create_collection("packages", vectors_config=vectors)
        with warnings.catch_warnings(action="ignore"):  # "not recommended for more than 20,000 points"
            self._client.upload_collection(
                "packages",
                vectors=data.vectors,
                payload=[{"section": section} for section in data.sections.tolist()],
                ids=range(len(data.vectors)),
            )

    def search(self, query: NDArray[np.float32], effort: int, section: str | None) -> list[int]:  # noqa: ARG002
        chosen = None if section is None else _of(section)
        found = self._client.query_points("packages", query=query, limit=K, query_filter=chosen, with_payload=False)
        return [int(point.id) for point in found.points]

    def delete(self, section: str) -> None:
        self._client.delete("packages", points_selector=models.FilterSelector(filter=_of(section)))

    def drop_collection(self) -> None:
        self._client.delete_collection("packages")

    def close(self) -> None:
        self._client.close()

    def disk(self) -> int:
        return size_of(self._folder)


def _of(section: str) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key="section", match=models.MatchValue(value=section))])


def made(folder: Path) -> Peer:
    return Qdrant(folder)


if __name__ == "__main__":
    main(made)
