"""What a search found. Pure values: looking at them asks nothing of the database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from functools import cached_property, partial
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from .projection import Record


class SearchPath(StrEnum):
    """How an answer was found."""

    INDEX = "index"
    EXACT = "exact"
    INDEX_THEN_EXACT = "index+exact"


class Hit(NamedTuple):
    """An entity found: its primary key, its score by the metric, and the fields asked for."""

    id: int | str
    distance: float
    fields: Record


HIT = partial(tuple.__new__, Hit)
"""A Hit of its three values: what Hit(...) does, without its Python."""


class Hits(Sequence[Hit]):
    """What one query vector found, nearest first; equal distances in the order of the primary key."""

    def __init__(self, hits: Iterable[Hit], path: SearchPath) -> None:
        self._hits = tuple(hits)
        self.path = path

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Hits: ...
    def __getitem__(self, index: int | slice) -> Hit | Hits:
        return Hits(self._hits[index], self.path) if isinstance(index, slice) else self._hits[index]

    def __len__(self) -> int:
        return len(self._hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._hits)

    @cached_property
    def ids(self) -> NDArray[Any]:
        """The primary keys: int64, or object for VARCHAR; int64 where nothing was found."""
        keys = [hit.id for hit in self._hits]
        return np.array(keys, dtype=object if any(isinstance(key, str) for key in keys) else np.int64)

    @cached_property
    def distances(self) -> NDArray[np.float64]:
        return np.array([hit.distance for hit in self._hits], dtype=np.float64)

    def to_dicts(self) -> list[Record]:
        """Each hit as a dict: its fields, then id and distance, which a field of that name gives way to."""
        return [{**hit.fields, "id": hit.id, "distance": hit.distance} for hit in self._hits]

    def __repr__(self) -> str:
        nearest = f", nearest id={self._hits[0].id!r} distance={self._hits[0].distance:.4g}" if self._hits else ""
        return f"<Hits {len(self._hits)}{nearest}, by {self.path}>"
