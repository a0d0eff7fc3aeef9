"""Which texts can be among the best at all, told by the words that they have. Pure.

No text scores more than its words add at the most, all together. So where as many texts as are wanted are known to
score so much, only those need be looked at whose words can reach it (MaxScore: Turtle and Flood, 1995,
https://doi.org/10.1016/0306-4573(95)00020-H; WAND: Broder and others, 2003, https://doi.org/10.1145/956863.956944).
A tsquery says which these are, 'rare' | 'common' & ( 'frequent' | 'trite' ), and GIN answers it without reading a text:
it goes along the lists of those words without which nothing matches, and looks up the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from operator import attrgetter
from typing import Any

import numpy as np

from .pipeline import Rows

# A text is looked at in some microseconds, and a few hundred of these say fairly well what the best ones score.
_TEXTS_AT_FIRST = 1_000
_TEXTS_FOR_EACH_WANTED = 20
_DEEPEST = 3
_LONGEST_QUERY = 400  # words and signs: GIN reads it for each text that comes into question
_STEPS = 2_000
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Term:
    """A word that is looked for.

    query   as a tsquery
    most    what it adds to a text's score at the most, over 0
    share   of the texts that have it, over 0
    """

    query: str
    most: float
    share: float


def best(terms: Sequence[Term], texts: float, limit: int, find: Callable[[str], Rows]) -> Rows:
    """The best texts of all that have any of the words: what `find` finds, asked as little as possible.

    find  of the texts that match a tsquery the best, so many as the limit says: rows whose second value is the score
    """
    wanted: float = max(_TEXTS_AT_FIRST, _TEXTS_FOR_EACH_WANTED * limit)
    least, asked, rows = likely(terms, wanted / texts), "", list[tuple[Any, ...]]()
    while True:
        query = reaching(terms, least)
        if query != asked:
            asked, rows = query, find(query)
        is_full = len(rows) >= limit
        if least == 0 or (is_full and rows[-1][1] >= least):
            return rows
        if is_full:
            least = rows[-1][1]
        else:  # of those that were likely, a filter left few
            wanted *= 4 * limit / max(len(rows), 1)
            least = likely(terms, wanted / texts)


def likely(terms: Sequence[Term], share: float) -> float:
    """What so large a share of the texts may reach, if each word were in them by chance; 0 if fewer have any word."""
    if share >= 1:
        return 0.0
    total = sum(term.most for term in terms)
    reached = np.zeros(_STEPS + len(terms) + 1)  # how many texts reach so many steps, and no more
    reached[0] = 1.0
    for term in terms:
        step = round(term.most / total * _STEPS)
        with_it = term.share * reached
        reached -= with_it
        reached[step:] += with_it[: len(with_it) - step]
    at_least = reached[::-1].cumsum()[::-1]
    return float(np.count_nonzero(at_least[1:] >= share)) / _STEPS * total


def reaching(terms: Sequence[Term], least: float) -> str:
    """A tsquery that every text matches whose words can score so much together, and others as few as may be."""
    ordered = sorted(terms, key=attrgetter("most"), reverse=True)
    for depth in range(_DEEPEST, 1, -1):
        parts = list(islice(_Reach.of(ordered).parts(0, least * (1 - _ROUNDING), depth), _LONGEST_QUERY + 1))
        if len(parts) <= _LONGEST_QUERY:
            return " ".join(parts)
    return " ".join(_Reach.of(ordered).parts(0, least * (1 - _ROUNDING), 1))


@dataclass(frozen=True, slots=True)
class _Reach:
    """Terms, those that add most first, and what each adds together with all after it."""

    terms: Sequence[Term]
    rest: Sequence[float]

    @classmethod
    def of(cls, terms: Sequence[Term]) -> _Reach:
        return cls(terms, list(accumulate(term.most for term in reversed(terms)))[::-1])

    def parts(self, first: int, least: float, depth: int) -> Iterator[str]:
        """Of the query over the terms from the first on: one has to be there of those without which the rest is short.

        depth  how many words are joined by "and"; of what is below that more texts match than need to
        """
        for place in range(first, len(self.terms)):
            if place > first:
                if self.rest[place] < least:
                    return
                yield "|"
            term = self.terms[place]
            yield term.query
            if term.most < least and depth > 1 and place + 1 < len(self.terms):
                yield "& ("
                yield from self.parts(place + 1, least - term.most, depth - 1)
                yield ")"
