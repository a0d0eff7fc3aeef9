"""One ranking made of several: the requests of a hybrid search, and how their answers are fused. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement

from .errors import InvalidArgument
from .schema import Metric
from .scores import LARGER_IS_NEARER
from .search import Entity


@dataclass(frozen=True, slots=True)
class AnnRequest:
    """A vector search as a part of a hybrid search; the options are those of search().

    limit  how many candidates it brings into the ranking
    """

    vectors: Any
    field: str | None = None
    limit: int = 10
    filter: str | None = None
    filter_params: Mapping[str, Any] | None = None
    where: ColumnElement[bool] | None = None
    metric: Metric | str | None = None
    ef: int | None = None
    probes: int | None = None
    exact: bool | None = None
    radius: float | None = None
    range_filter: float | None = None


@dataclass(frozen=True, slots=True)
class TextRequest:
    """A full-text search as a part of a hybrid search: entities whose text has any of the words.

    field  VARCHAR or TEXT; its text_search says in which language it is read
    query  words, or several texts of words, one for each query vector
    limit  how many candidates it brings into the ranking

    Ranked by PostgreSQL's ts_rank_cd, which looks at how often and how near to each other the words stand, divided by
    the length of the text. Unlike BM25 it does not know how rare a word is among all entities: its scores order the
    answers of one query, and mean nothing beside those of Milvus.
    """

    field: str
    query: str | Sequence[str]
    limit: int = 10
    filter: str | None = None
    filter_params: Mapping[str, Any] | None = None
    where: ColumnElement[bool] | None = None


@dataclass(frozen=True, slots=True)
class Rrf:
    """Reciprocal rank fusion: the sum of 1 / (k + rank) (Cormack, Clarke and Büttcher, 2009,
    https://doi.org/10.1145/1571941.1572114).
    """

    k: float = 60

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not isinstance(self.k, int | float) or not 0 < self.k < 16_384:  # noqa: PLR2004
            raise InvalidArgument(f"Rrf: k must be over 0 and under 16,384, got {self.k!r}")


@dataclass(frozen=True, slots=True, init=False)
class Weighted:
    """The sum of the scores, each brought to 0..1 as Milvus does it and multiplied by its request's weight.

    norm_score  False: of the scores as they are, which must then all be similarities, or all distances
    """

    weights: tuple[float, ...]
    norm_score: bool

    def __init__(self, *weights: float, norm_score: bool = True) -> None:
        for weight in weights:
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1:
                raise InvalidArgument(f"Weighted: a weight must be from 0 to 1, got {weight!r}")
        object.__setattr__(self, "weights", tuple(map(float, weights)))
        object.__setattr__(self, "norm_score", norm_score)


Ranker = Rrf | Weighted


@dataclass(frozen=True, slots=True)
class Ranking:
    """What one request found, nearest first; metric None: a text request's ranks, larger for better."""

    metric: Metric | None
    entities: Sequence[Entity]
    scores: Sequence[float]


def check_ranker(ranker: object, requests: int) -> None:
    """Raise InvalidArgument for what is no ranker of so many requests."""
    if not isinstance(ranker, Rrf | Weighted):
        raise InvalidArgument(f"ranker must be Rrf(k=60) or Weighted(0.7, 0.3), got {ranker!r}")
    if isinstance(ranker, Weighted) and len(ranker.weights) != requests:
        raise InvalidArgument(f"Weighted has {len(ranker.weights)} weights for {requests} requests")


def fused(rankings: Sequence[Ranking], ranker: Ranker) -> list[tuple[Entity, float]]:
    """The entities of all rankings with their common score, best first; equals in the order of their keys.

    Raises InvalidArgument for raw scores that cannot be added.
    """
    smaller_is_better = isinstance(ranker, Weighted) and not ranker.norm_score and _are_distances(rankings)
    total: defaultdict[Entity, float] = defaultdict(float)
    for number, ranking in enumerate(rankings):
        for entity, points in zip(ranking.entities, _points(ranking, number, ranker), strict=True):
            total[entity] += points
    return sorted(total.items(), key=lambda item: (item[1] if smaller_is_better else -item[1], item[0]))


def _points(ranking: Ranking, number: int, ranker: Ranker) -> list[float]:
    if isinstance(ranker, Rrf):
        return [1.0 / (ranker.k + rank) for rank in range(1, len(ranking.scores) + 1)]
    normalised = _NORMALISED[ranking.metric] if ranker.norm_score else float
    return [ranker.weights[number] * normalised(score) for score in ranking.scores]


def _are_distances(rankings: Sequence[Ranking]) -> bool:
    kinds = {ranking.metric is not None and ranking.metric not in LARGER_IS_NEARER for ranking in rankings}
    if len(kinds) > 1:
        raise InvalidArgument(
            "norm_score=False adds scores as they are, and some requests give distances, others similarities: leave it "
            "out, or rank by Rrf()"
        )
    return kinds.pop()


def _of_distance(distance: float) -> float:
    return 1.0 - 2.0 * math.atan(distance) / math.pi


def _of_product(similarity: float) -> float:
    return 0.5 + math.atan(similarity) / math.pi


def _of_cosine(similarity: float) -> float:
    return (1.0 + similarity) / 2.0


def _of_rank(rank: float) -> float:
    return 2.0 * math.atan(rank) / math.pi


# https://milvus.io/docs/weighted-ranker.md
_NORMALISED: Mapping[Metric | None, Callable[[float], float]] = {
    Metric.L2: _of_distance,
    Metric.HAMMING: _of_distance,
    Metric.JACCARD: _of_distance,
    Metric.IP: _of_product,
    Metric.COSINE: _of_cosine,
    None: _of_rank,
}
