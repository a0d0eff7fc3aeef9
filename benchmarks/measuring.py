"""How good an answer is, and what many of them come to. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .data import Vectors

K = 10

# Similarities nearer to each other than single precision can tell apart are equal, whoever sums them up.
_TIE = 1e-6


class Answer(NamedTuple):
    """The ids that a search gave, nearest first, and how it found them: "index", "exact", "index+exact"."""

    ids: Sequence[int]
    path: str


Search = Callable[[NDArray[np.float32]], Answer]


def cosine_similarities(queries: Vectors, vectors: Vectors) -> Vectors:
    """(queries, rows), by brute force."""
    return _unit(queries) @ _unit(vectors).T


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


class Truth:
    """The exact answers of up to k rows to all queries, among the rows that match.

    similarities  (queries, rows)
    matching      (rows,) of bool
    """

    def __init__(self, similarities: Vectors, matching: NDArray[np.bool_], k: int = K) -> None:
        self.matching = matching
        self.expected = min(k, int(matching.sum()))
        self._similarities = similarities
        among = similarities[:, matching]
        # Of each query the similarity of its k-th nearest row: any other row as near is as right.
        self._least = np.partition(among, -self.expected, axis=1)[:, -self.expected] if self.expected else None

    def found(self, ids: Sequence[int]) -> int:
        """How many different rows that match an answer holds."""
        return len({key for key in ids if self.matching[key]})

    def recall(self, query: int, ids: Sequence[int]) -> float:
        """The share of the exact answer that is in `ids`; 1 where nothing is to be found."""
        if self._least is None:
            return 1.0
        least = self._least[query] - _TIE
        near = {key for key in ids if self.matching[key] and self._similarities[query, key] >= least}
        return min(len(near), self.expected) / self.expected


@dataclass(frozen=True, slots=True)
class Figures:
    """What the answers to one question of one contender come to; times in ms, the median of the rounds."""

    recall: float
    short: int
    p50: float
    p99: float
    paths: dict[str, int]


@dataclass
class Tally:
    """Answers as they come in: of all rounds together, but times by the round."""

    truth: Truth
    recalls: list[float] = field(default_factory=list)
    short: int = 0
    paths: Counter[str] = field(default_factory=Counter)
    rounds: list[list[float]] = field(default_factory=list)

    def begin_round(self) -> None:
        self.rounds.append([])

    def add(self, query: int, answer: Answer, milliseconds: float) -> None:
        self.recalls.append(self.truth.recall(query, answer.ids))
        self.short += self.truth.found(answer.ids) < self.truth.expected
        self.paths[answer.path] += 1
        self.rounds[-1].append(milliseconds)

    def percentiles(self, percent: float) -> NDArray[np.float64]:
        """One figure a round."""
        return np.percentile(self.rounds, percent, axis=1)

    def figures(self) -> Figures:
        return Figures(
            recall=float(np.mean(self.recalls)),
            short=self.short,
            p50=float(np.median(self.percentiles(50))),
            p99=float(np.median(self.percentiles(99))),
            paths=dict(self.paths.most_common()),
        )
