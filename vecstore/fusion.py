"""One ranking made of several: the requests of a hybrid search, and how their answers are fused. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement

from .errors import InvalidArgument
from .hits import SearchPath
from .projection import Record
from .reranking import Boost, Boosts, Decay
from .schema import Metric
from .scores import LARGER_IS_NEARER, NORMALISED
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

    field  VARCHAR or TEXT; its text_search says in which language it is read. None: the one with bm25
    query  words, or several texts of words, one for each query vector
    limit  how many candidates it brings into the ranking
    k1, b  of BM25: how much a word counts that is there again and again, and how much long texts are held back

    A field with bm25 is ranked by it. Any other by PostgreSQL's ts_rank_cd, which looks at how often and how near to
    each other the words stand, divided by the length of the text, and does not know how rare a word is among all
    entities: its scores order the answers of one query, and mean nothing beside those of Milvus.
    """

    field: str | None
    query: str | Sequence[str]
    limit: int = 10
    filter: str | None = None
    filter_params: Mapping[str, Any] | None = None
    where: ColumnElement[bool] | None = None
    k1: float = 1.2
    b: float = 0.75


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


Ranker = Rrf | Weighted | Decay | Boost | Boosts


@dataclass(frozen=True, slots=True)
class Ranking:
    """What one request found, nearest first; metric None: a text request's scores, larger for better."""

    metric: Metric | None
    entities: Sequence[Entity]
    scores: Sequence[float]

    @property
    def is_of_distances(self) -> bool:
        return self.metric is not None and self.metric not in LARGER_IS_NEARER


@dataclass(frozen=True, slots=True)
class Found:
    """What one request found for one query."""

    ranking: Ranking
    records: Sequence[Record]
    path: SearchPath


def check_ranker(ranker: object, requests: int) -> None:
    """Raise InvalidArgument for what is no ranker of so many requests."""
    if not isinstance(ranker, Ranker):
        raise InvalidArgument(
            f"ranker must be Rrf(k=60), Weighted(0.7, 0.3), Decay(...), Boost(...) or Boosts(...), got {ranker!r:.80}"
        )
    if isinstance(ranker, Weighted) and len(ranker.weights) != requests:
        raise InvalidArgument(f"Weighted has {len(ranker.weights)} weights for {requests} requests")
    if isinstance(ranker, Boost | Boosts) and requests != 1:
        raise InvalidArgument(
            f"{type(ranker).__name__} changes the scores of one request, and there are {requests}: scores of several "
            "are compared by Rrf, Weighted or Decay"
        )


Beside = Mapping[Entity, Sequence[Any]]
"""What was read of each entity for the ranker."""


def fused(rankings: Sequence[Ranking], ranker: Ranker, beside: Beside) -> list[tuple[Entity, float]]:
    """The entities of all rankings with their common score, best first; equals in the order of their keys.

    Raises InvalidArgument for raw scores that cannot be added.
    """
    if isinstance(ranker, Boost | Boosts):
        (ranking,) = rankings
        scored = zip(ranking.entities, ranking.scores, strict=True)
        boosted = {entity: ranker.boosted(score, entity[0], beside[entity]) for entity, score in scored}
        return _sorted(boosted, smaller_is_better=ranking.is_of_distances)
    if isinstance(ranker, Decay):
        return _sorted(_decayed(rankings, ranker, beside))
    smaller_is_better = isinstance(ranker, Weighted) and not ranker.norm_score and _are_distances(rankings)
    total: defaultdict[Entity, float] = defaultdict(float)
    for number, ranking in enumerate(rankings):
        for entity, points in zip(ranking.entities, _points(ranking, number, ranker), strict=True):
            total[entity] += points
    return _sorted(total, smaller_is_better=smaller_is_better)


def _sorted(scores: Mapping[Entity, float], *, smaller_is_better: bool = False) -> list[tuple[Entity, float]]:
    return sorted(scores.items(), key=lambda item: (item[1] if smaller_is_better else -item[1], item[0]))


def _points(ranking: Ranking, number: int, ranker: Rrf | Weighted) -> list[float]:
    if isinstance(ranker, Rrf):
        return [1.0 / (ranker.k + rank) for rank in range(1, len(ranking.scores) + 1)]
    normalised = NORMALISED[ranking.metric] if ranker.norm_score else float
    return [ranker.weights[number] * normalised(score) for score in ranking.scores]


def _decayed(rankings: Sequence[Ranking], decay: Decay, beside: Beside) -> dict[Entity, float]:
    found: defaultdict[Entity, list[float]] = defaultdict(list)
    for ranking in rankings:
        for entity, score in zip(ranking.entities, ranking.scores, strict=True):
            found[entity].append(decay.comparable(score, ranking.metric, entity[0], beside[entity]))
    return {entity: decay.combined(scores) * decay.factor(beside[entity][0]) for entity, scores in found.items()}


def _are_distances(rankings: Sequence[Ranking]) -> bool:
    kinds = {ranking.is_of_distances for ranking in rankings}
    if len(kinds) > 1:
        raise InvalidArgument(
            "norm_score=False adds scores as they are, and some requests give distances, others similarities: leave it "
            "out, or rank by Rrf()"
        )
    return kinds.pop()
