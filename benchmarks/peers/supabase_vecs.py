"""vecs: a client of Supabase's for pgvector. Keys are text, everything else is in one jsonb column."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import vecs
from numpy.typing import NDArray
from sqlalchemy import text

from ..data import Dataset
from .task import EFFORTS, K, Peer, main_on_server


class Vecs:
    version = version("vecs")
    efforts = EFFORTS

    def __init__(self, url: str) -> None:
        self._client = vecs.create_client(url.replace("postgresql:", "postgresql+psycopg2:", 1))

    def load(self, data: Dataset) -> None:
        self._collection = self._client.get_or_create_collection(name="packages", dimension=data.dim)
        sections = data.sections.tolist()
        self._collection.upsert(
            records=[(str(row), vector, {"section": sections[row]}) for row, vector in enumerate(data.vectors)]
        )
        self._collection.create_index(
            method=vecs.IndexMethod.hnsw,
            measure=vecs.IndexMeasure.cosine_distance,
            index_arguments=vecs.IndexArgsHNSW(m=16, ef_construction=64),
        )

    def search(self, query: NDArray[np.float32], effort: int, section: str | None) -> list[int]:
        filters = None if section is None else {"section": {"$eq": section}}
        return [int(key) for key in self._collection.query(data=query, limit=K, filters=filters, ef_search=effort)]

    def delete(self, section: str) -> None:
        self._collection.delete(filters={"section": {"$eq": section}})

    def drop_collection(self) -> None:
        self._client.delete_collection("packages")

    def close(self) -> None:
        self._client.disconnect()

    def disk(self) -> int:
        with self._client.Session() as session:
            return int(session.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


def made(url: str) -> Peer:
    return Vecs(url)


if __name__ == "__main__":
    main_on_server(made)
