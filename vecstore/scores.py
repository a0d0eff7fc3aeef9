"""Milvus's scores, and what pgvector's operators give instead. Pure.

pgvector orders ascending by every operator; Milvus's L2 is squared, and its IP and COSINE are similarities, larger for
nearer vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Double, literal

from .errors import InvalidArgument
from .schema import Metric

LARGER_IS_NEARER = frozenset({Metric.IP, Metric.COSINE})


# Each is applied to a float that came back and to a column of the statement alike.


def _squared(distance: Any) -> Any:
    return distance * distance


def _negated(distance: Any) -> Any:
    return -distance


def _similarity(distance: Any) -> Any:
    return 1.0 - distance


def _itself(distance: Any) -> Any:
    return distance


SCORES: Mapping[Metric, Callable[[Any], Any]] = {
    Metric.L2: _squared,
    Metric.IP: _negated,
    Metric.COSINE: _similarity,
    Metric.HAMMING: _itself,
    Metric.JACCARD: _itself,
}


def _of_distance(distance: float) -> float:
    return 1.0 - 2.0 * math.atan(distance) / math.pi


def _of_product(similarity: float) -> float:
    return 0.5 + math.atan(similarity) / math.pi


def _of_cosine(similarity: float) -> float:
    return (1.0 + similarity) / 2.0


def _of_rank(rank: float) -> float:
    return 2.0 * math.atan(rank) / math.pi


# https://milvus.io/docs/weighted-ranker.md
NORMALISED: Mapping[Metric | None, Callable[[float], float]] = {
    Metric.L2: _of_distance,
    Metric.HAMMING: _of_distance,
    Metric.JACCARD: _of_distance,
    Metric.IP: _of_product,
    Metric.COSINE: _of_cosine,
    None: _of_rank,
}
"""Scores brought to 0..1, larger for nearer; of None, ranks of a text search, larger for better."""


@dataclass(frozen=True, slots=True)
class ScoreRange:
    """Milvus's range search: scores from `range_filter`, the near end, which belongs to it, to `radius`, which does not
    belong to it.

    Of distances: range_filter <= score < radius; of similarities: radius < score <= range_filter. None is no end.
    Raises InvalidArgument where nothing can lie between the two.
    """

    metric: Metric
    radius: float | None = None
    range_filter: float | None = None

    def __post_init__(self) -> None:
        if self.radius is None or self.range_filter is None:
            return
        similarity = self.metric in LARGER_IS_NEARER
        if self.radius >= self.range_filter if similarity else self.range_filter >= self.radius:
            order = "radius < range_filter" if similarity else "range_filter < radius"
            raise InvalidArgument(
                f"a range by {self.metric} needs {order}, got radius={self.radius}, range_filter={self.range_filter}"
            )

    def not_too_near(self, distance: ColumnElement[float]) -> ColumnElement[bool] | None:
        """The condition of the near end on a distance of pgvector, so that nearer rows take nobody's place."""
        if self.range_filter is None:
            return None
        score: ColumnElement[float] = SCORES[self.metric](distance)
        bound: ColumnElement[float] = literal(float(self.range_filter), Double())
        return score <= bound if self.metric in LARGER_IS_NEARER else score >= bound

    def holds(self, score: float) -> bool:
        """Whether a score is not beyond the far end."""
        if self.radius is None:
            return True
        return score > self.radius if self.metric in LARGER_IS_NEARER else score < self.radius
