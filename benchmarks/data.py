"""What is measured on: rows, queries, and two columns to filter by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BUNDLED = Path(__file__).parents[1] / "examples" / "debian-3k"
DRAWS = 1_000
_SEED = 20_260_731
_CLUSTERED_DIM = 64
_CLUSTERED_QUERIES = 500

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Dataset:
    """Rows, their position being their id.

    vectors   (rows, dim)
    queries   (queries, dim), none of them a row
    sections  a word for each row, very uneven, and correlated with the vectors
    draws     a number from 0 to 999 for each row, even, and correlated with nothing
    """

    name: str
    vectors: Vectors
    queries: Vectors
    sections: NDArray[np.str_]
    draws: NDArray[np.int32]


def _draws(rows: int) -> NDArray[np.int32]:
    """Dealt out, not drawn: `draw < 100` is 10 % of the rows, not about 10 %."""
    dealt = np.arange(rows) * DRAWS // rows
    return np.random.default_rng(_SEED).permutation(dealt).astype(np.int32)


def load(folder: Path) -> Dataset:
    """Read vectors.npy, queries.npy and the sections in rows.jsonl; raises FileNotFoundError."""
    vectors, queries = (np.load(folder / f"{name}.npy").astype(np.float32) for name in ("vectors", "queries"))
    with (folder / "rows.jsonl").open(encoding="utf-8") as lines:
        sections = np.array([json.loads(line)["section"] for line in lines])
    return Dataset(folder.resolve().name, vectors, queries, sections, _draws(len(vectors)))


def clustered(rows: int) -> Dataset:
    """Made up: 60 clusters of 64 dimensions, each smaller than the one before; a row's section is its cluster."""
    chance = np.random.default_rng(_SEED)
    shares = 1 / np.arange(1, 61)
    centres = chance.normal(size=(len(shares), _CLUSTERED_DIM))
    members = chance.choice(len(shares), size=rows + _CLUSTERED_QUERIES, p=shares / shares.sum())
    points = (centres[members] + chance.normal(scale=0.5, size=(len(members), _CLUSTERED_DIM))).astype(np.float32)
    sections = np.array([f"cluster {number}" for number in members[:rows]])
    return Dataset(f"clustered-{rows}", points[:rows], points[rows:], sections, _draws(rows))
