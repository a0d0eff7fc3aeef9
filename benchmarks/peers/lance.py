"""LanceDB, in this process: IVF_HNSW_SQ, and a bitmap index on the column that is filtered by."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import Bitmap, HnswSq
from numpy.typing import NDArray

from ..data import Dataset
from .task import EFFORTS, K, Peer, main, size_of

_REFINE = 4  # the vectors in the index are of 8 bits a number: as many times K rows are compared again in full


class Lance:
    version = version("lancedb")
    efforts = EFFORTS

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database = lancedb.connect(str(folder))

    def load(self, data: Dataset) -> None:
        self._table = self._database.create_table("packages", data=_table(data, np.arange(len(data.vectors))))
        self._table.create_index("vector", config=HnswSq(distance_type="cosine"))
        self._table.create_index("section", config=Bitmap())

    def search(self, query: NDArray[np.float32], effort: int, section: str | None) -> list[int]:
        asked = (
            self._table.search(query)
            .distance_type("cosine")
            .limit(K)
            .select(["id", "_distance"])
            .refine_factor(_REFINE)
        )
        asked = asked.ef(max(effort, K * _REFINE))
        if section is not None:
            asked = asked.where(f"section = '{section}'", prefilter=True)
        ids: list[int] = asked.to_arrow()["id"].to_pylist()
        return ids

    def delete(self, section: str) -> None:
        self._table.delete(f"section = '{section}'")

    def drop_index(self) -> None:
        self._table.drop_index("vector_idx")

    def drop_collection(self) -> None:
        self._database.drop_table("packages")

    def close(self) -> None:
        pass

    def disk(self) -> int:
        return size_of(self._folder)


def _table(data: Dataset, rows: NDArray[np.int64]) -> pa.Table:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(data.vectors[rows].ravel()), data.dim)
    return pa.table({"id": rows, "section": data.sections[rows].tolist(), "vector": vectors})


def made(folder: Path) -> Peer:
    return Lance(folder)


if __name__ == "__main__":
    main(made)
