"""langchain-postgres: PGVectorStore, with the section in a column of its own, indexed."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import sqlalchemy
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_postgres import Column, PGEngine, PGVectorStore
from langchain_postgres.v2.indexes import DistanceStrategy, HNSWIndex, HNSWQueryOptions
from numpy.typing import NDArray

from ..data import Dataset
from .task import EFFORTS, K, Peer, main_on_server

_BATCH = 1_000


class LangChain:
    version = version("langchain-postgres")
    efforts = EFFORTS

    def __init__(self, url: str) -> None:
        driver = sqlalchemy.make_url(url).set(drivername="postgresql+psycopg")
        self._sql = sqlalchemy.create_engine(driver)
        with self._sql.begin() as connection:
            connection.execute(sqlalchemy.text("CREATE EXTENSION IF NOT EXISTS vector"))
        self._engine = PGEngine.from_connection_string(driver.render_as_string(hide_password=False))
        self._stores: dict[int, Any] = {}

    def _store(self, effort: int) -> Any:
        """A store searches with the ef_search that it was made with."""
        if effort not in self._stores:
            self._stores[effort] = PGVectorStore.create_sync(
                engine=self._engine,
                table_name="packages",
                embedding_service=DeterministicFakeEmbedding(size=self._dim),  # asked for nothing
                metadata_columns=["section"],
                distance_strategy=DistanceStrategy.COSINE_DISTANCE,
                index_query_options=HNSWQueryOptions(ef_search=effort),
            )
        return self._stores[effort]

    def load(self, data: Dataset) -> None:
        self._dim = data.dim
        self._engine.init_vectorstore_table(
            table_name="packages",
            vector_size=data.dim,
            metadata_columns=[Column("section", "TEXT")],
            id_column=Column("langchain_id", "TEXT"),
        )
        store = self._store(EFFORTS[0])
        for begin in range(0, len(data.vectors), _BATCH):
            rows = range(begin, min(begin + _BATCH, len(data.vectors)))
            store.add_embeddings(
                texts=["" for _ in rows],
                embeddings=data.vectors[rows.start : rows.stop].tolist(),
                metadatas=[{"section": str(data.sections[row])} for row in rows],
                ids=[str(row) for row in rows],
            )
        store.apply_vector_index(HNSWIndex(m=16, ef_construction=64, name="packages_idx"))
        with self._sql.begin() as connection:
            connection.execute(sqlalchemy.text("CREATE INDEX ON packages (section)"))

    def search(self, query: NDArray[np.float32], effort: int, section: str | None) -> list[int]:
        wanted = None if section is None else {"section": {"$eq": section}}
        found = self._store(effort).similarity_search_by_vector(query.tolist(), k=K, filter=wanted)
        return [int(document.id) for document in found]

    def delete(self, section: str) -> None:
        self._store(EFFORTS[0]).delete(filter={"section": {"$eq": section}})

    def drop_index(self) -> None:
        self._store(EFFORTS[0]).drop_vector_index("packages_idx")

    def drop_collection(self) -> None:
        self._engine.drop_table("packages")

    def close(self) -> None:
        self._sql.dispose()

    def disk(self) -> int:
        with self._sql.connect() as connection:
            return int(connection.execute(sqlalchemy.text("SELECT pg_database_size(current_database())")).scalar_one())


def made(url: str) -> Peer:
    return LangChain(url)


if __name__ == "__main__":
    main_on_server(made)
