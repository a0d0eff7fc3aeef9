"""What is measured on: rows with some columns, and queries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUNDLED = Path(__file__).parents[1] / "examples" / "debian-3k"
DRAWS = 1_000
_SEED = 20_260_731
_CLUSTERED_QUERIES = 500
_SPREAD = np.float32(0.5)

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Dataset:
    """Rows, their position being their id.

    vectors   (rows, dim)
    queries   (queries, dim), none of them a row
    sections  a word for each row, very uneven, and correlated with the vectors
    draws     a number from 0 to 999 for each row, even, and correlated with nothing
    names     a word for each row, its own
    sizes     a number for each row, in KiB
    details   a dict of three words for each row
    """

    name: str
    vectors: Vectors
    queries: Vectors
    sections: NDArray[np.str_]
    draws: NDArray[np.int32]
    names: NDArray[np.str_]
    sizes: NDArray[np.int64]
    details: Sequence[dict[str, str]]

    @property
    def dim(self) -> int:
        return int(self.vectors.shape[1])

    def columns(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        """Rows as a caller has them who works with NumPy: id, five scalar fields, a JSON field, the vectors."""
        return {
            "id": rows,
            "name": self.names[rows],
            "section": self.sections[rows],
            "size": self.sizes[rows],
            "draw": self.draws[rows],
            "weight": rows / len(self.vectors),
            "details": [self.details[row] for row in rows],
            "embedding": self.vectors[rows],
        }


def _draws(rows: int) -> NDArray[np.int32]:
    """Dealt out, not drawn: `draw < 100` is 10 % of the rows, not about 10 %."""
    dealt = np.arange(rows) * DRAWS // rows
    return np.random.default_rng(_SEED).permutation(dealt).astype(np.int32)


def load(folder: Path) -> Dataset:
    """Read vectors.npy, queries.npy and the sections in rows.jsonl; raises FileNotFoundError."""
    vectors, queries = (np.load(folder / f"{name}.npy").astype(np.float32) for name in ("vectors", "queries"))
    with (folder / "rows.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return Dataset(
        folder.resolve().name,
        vectors,
        queries,
        sections=np.array([row["section"] for row in rows]),
        draws=_draws(len(vectors)),
        names=np.array([row["name"] for row in rows]),
        sizes=np.array([row["installed_size"] for row in rows], dtype=np.int64),
        details=[{word: row[word] for word in ("priority", "architecture", "version")} for row in rows],
    )


def clustered(rows: int, dim: int = 64) -> Dataset:
    """Made up: 60 clusters, each smaller than the one before; a row's section is its cluster."""
    chance = np.random.default_rng(_SEED)
    shares = 1 / np.arange(1, 61)
    centres = chance.normal(size=(len(shares), dim)).astype(np.float32)
    members = chance.choice(len(shares), size=rows + _CLUSTERED_QUERIES, p=shares / shares.sum())
    # In place: the rows are to be in memory once.
    points = chance.standard_normal(size=(len(members), dim), dtype=np.float32)
    points *= _SPREAD
    for cluster, centre in enumerate(centres):
        points[members == cluster] += centre
    return Dataset(
        f"clustered-{rows}x{dim}",
        points[:rows],
        points[rows:],
        sections=np.array([f"cluster {number}" for number in members[:rows]]),
        draws=_draws(rows),
        names=np.array([f"row {number}" for number in range(rows)]),
        sizes=chance.integers(1, 100_000, size=rows),
        details=[{"priority": "optional", "architecture": "all", "version": f"{number}.0-1"} for number in range(rows)],
    )
