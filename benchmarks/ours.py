"""vecstore's side: a temporary server, a collection of the data, and searches by the public API."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text

import vecstore
from vecstore import Btree, Collection, DataType, Field, Hnsw, Metric, Store
from vecstore.embedded import start

from .data import Dataset
from .measuring import Answer, K, Search

COLLECTION = "packages"


@contextmanager
def temporary_store(major: int) -> Iterator[Store]:
    """A Store on an embedded server of its own, tuned as any other, that is gone afterwards.

    Only autovacuum is off: it would come for freshly loaded rows in the middle of the measuring.
    """
    with (
        tempfile.TemporaryDirectory(prefix="vecstore-benchmark-") as folder,
        start(Path(folder, "data"), major=major, settings={"autovacuum": "off"}) as server,
        vecstore.connect(server.url()) as store,
    ):
        store.upgrade()
        yield store


def loaded(store: Store, data: Dataset, *, partitions: int, indexed_filters: bool) -> Collection:
    """The data as a collection, row by row dealt out to the partitions, indexed and analysed."""
    collection = store.create_collection(
        COLLECTION,
        (
            Field("id", DataType.INT64, primary_key=True),
            Field("section", DataType.VARCHAR, max_length=64),
            Field("draw", DataType.INT32),
            Field("embedding", DataType.FLOAT_VECTOR, dim=data.vectors.shape[1]),
        ),
    )
    names = ["_default", *(f"part_{number}" for number in range(1, partitions))]
    for name in names[1:]:
        collection.create_partition(name)
    for number, name in enumerate(names):
        rows = np.arange(number, len(data.vectors), partitions)
        columns = {
            "id": rows,
            "section": data.sections[rows].tolist(),
            "draw": data.draws[rows],
            "embedding": data.vectors[rows],
        }
        collection.insert(columns, partition_name=name)
    collection.create_index("embedding", Hnsw(metric=Metric.COSINE, m=16, ef_construction=64))
    if indexed_filters:
        collection.create_index("section", Btree())
        collection.create_index("draw", Btree())
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE) packages.entities"))
    return collection


def versions(store: Store) -> dict[str, str]:
    with store.engine.connect() as connection:
        server = connection.execute(text("SELECT current_setting('server_version')")).scalar_one()
        vector = connection.execute(text("SELECT extversion FROM pg_extension WHERE extname = 'vector'")).scalar_one()
    return {"PostgreSQL": server, "pgvector": vector}


def searching(collection: Collection, filter: str | None) -> Search:  # noqa: A002 - Milvus's word
    def search(query: NDArray[np.float32]) -> Answer:
        [hits] = collection.search(query, K, filter=filter)
        return Answer([hit.id for hit in hits], hits.path)  # type: ignore[misc]  # keys are ints here

    return search
