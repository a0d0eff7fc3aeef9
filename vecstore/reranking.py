"""Rankers of what one search found: each score is changed by what the entity's fields say. Pure.

The statement of the search reads, beside each candidate, what the ranker goes by: a number, or whether a filter holds.
The rest is arithmetic on one page of candidates, and done here: PostgreSQL has no number between the smallest and
nothing, and refuses what is smaller; and so the text of the statement does not change with an origin that is now.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Double, Table, cast, extract, true

from .asking import is_number
from .conditions import Selection
from .description import CollectionDescription
from .errors import InvalidArgument
from .naming import names_list
from .projection import Projection, projection
from .schema import INTEGER_BITS, DataType, Metric
from .scores import LARGER_IS_NEARER, NORMALISED

_NUMBERS = frozenset({*INTEGER_BITS, DataType.FLOAT, DataType.DOUBLE})
_LEAST_DECAY, _MOST_DECAY = 0.001, 0.999
_WORD = 1 << 64


# What a search reads for a ranker


@dataclass(frozen=True, slots=True)
class NumberOf:
    """A field as a number; of a TIMESTAMPTZ the seconds since 1970."""

    field: str
    is_moment: bool

    def column(self, description: CollectionDescription, table: Table) -> ColumnElement[Any]:
        """Raise FieldNotFound, or InvalidArgument for a field of another kind."""
        field = description.schema.field(self.field)
        if self.is_moment and field.data_type is DataType.TIMESTAMPTZ:
            return cast(extract("epoch", table.c[field.name]), Double())
        if self.is_moment or field.data_type not in _NUMBERS:
            needed = "a TIMESTAMPTZ: its origin is a time" if self.is_moment else "numeric: its origin is a number"
            raise InvalidArgument(f"Decay: field {field.name!r} is {field.data_type}, and must be {needed}")
        return cast(table.c[field.name], Double())


@dataclass(frozen=True, slots=True)
class SeedOf:
    """An integer field."""

    field: str

    def column(self, description: CollectionDescription, table: Table) -> ColumnElement[Any]:
        """Raise FieldNotFound, or InvalidArgument for a field of another kind."""
        field = description.schema.field(self.field)
        if field.data_type not in INTEGER_BITS:
            raise InvalidArgument(
                f"Boost: field {field.name!r} is {field.data_type}, and random_field must be an integer"
            )
        return cast(table.c[field.name], BigInteger())


@dataclass(frozen=True, slots=True)
class Holds:
    """Whether a filter holds."""

    filter: str
    filter_params: Mapping[str, Any] | None

    def column(self, description: CollectionDescription, table: Table) -> ColumnElement[Any]:
        """Raise FilterError."""
        conditions = Selection(None, None, self.filter, self.filter_params).conditions(description, table)
        return conditions[0] if conditions else true()


Needed = NumberOf | SeedOf | Holds


@dataclass(frozen=True, slots=True)
class Reading:
    """What a search gives back of each entity, and what it reads of it for a ranker."""

    output_fields: tuple[str, ...] | None
    needed: tuple[Needed, ...]


def reading(output_fields: Iterable[str] | None, ranker: object) -> Iterable[str] | Reading | None:
    """What a search with this ranker reads; what is asked for, where the ranker needs no more."""
    if not isinstance(ranker, Decay | Boost | Boosts):
        return output_fields
    names = None if output_fields is None else tuple(names_list(output_fields, "output_fields"))
    return Reading(names, ranker.needed)


def projected(description: CollectionDescription, table: Table, wanted: Iterable[str] | Reading | None) -> Projection:
    """Raise as projection() does, and as the columns that a ranker needs."""
    if not isinstance(wanted, Reading):
        return projection(description.schema, wanted)
    beside = tuple(needed.column(description, table) for needed in wanted.needed)
    return replace(projection(description.schema, wanted.output_fields), beside=beside)


# Decay


def _gauss(distance: float, decay: float) -> float:
    return math.exp(math.log(decay) * distance * distance)


def _exp(distance: float, decay: float) -> float:
    return math.exp(math.log(decay) * distance)


def _linear(distance: float, decay: float) -> float:
    return max(decay, 1.0 - (1.0 - decay) * distance)


# Of the distance in scales. https://milvus.io/docs/decay-ranker-overview.md
_CURVES: Mapping[str, Callable[[float, float], float]] = {"gauss": _gauss, "exp": _exp, "linear": _linear}

_COMBINED: Mapping[str, Callable[[Sequence[float]], float]] = {
    "max": max,
    "sum": math.fsum,
    "avg": lambda scores: math.fsum(scores) / len(scores),
}


@dataclass(frozen=True, slots=True)
class Decay:
    """Entities count the less, the farther a field's value is from an origin: score * decay function.

    field       a number, or a TIMESTAMPTZ
    origin      where nothing decays: a number; for a TIMESTAMPTZ a datetime with a time zone
    scale       how far from there `decay` of the score is left: a number; a timedelta
    function    "gauss"; "exp", steep at first; or "linear", which never goes below `decay`
    offset      as far as this nothing decays
    decay       0.001 to 0.999
    norm_score  True: similarities are brought to 0..1 as Weighted does it. Distances are either way, by
                1 - 2 * arctan(distance) / π, so that larger is better
    score_mode  what counts of an entity that several requests of a hybrid search found: "max", "sum" or "avg"
    boost       Boost or Boosts, which change the scores before they decay

    An entity whose field is NULL has the score 0. Raises InvalidArgument.
    """

    field: str
    _: KW_ONLY
    origin: float | datetime
    scale: float | timedelta
    function: str = "gauss"
    offset: float | timedelta = 0
    decay: float = 0.5
    norm_score: bool = False
    score_mode: str = "max"
    boost: Boost | Boosts | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.field, str):
            raise InvalidArgument(f"Decay: field must be the name of one, got {self.field!r:.40}")
        if not isinstance(self.boost, Boost | Boosts | None):
            raise InvalidArgument(f"Decay: boost must be Boost(...) or Boosts(...), got {self.boost!r:.40}")
        _check_choice("Decay: function", self.function, _CURVES)
        _check_choice("Decay: score_mode", self.score_mode, _COMBINED)
        if not isinstance(self.norm_score, bool):
            raise InvalidArgument(f"Decay: norm_score must be True or False, got {self.norm_score!r:.40}")
        if isinstance(self.origin, datetime):
            self._check_moments(self.origin)
        else:
            for name in ("origin", "scale", "offset"):
                _check_number(f"Decay: {name}", getattr(self, name))
        if not self._scale > 0:
            raise InvalidArgument(f"Decay: scale must be > 0, got {self.scale!r}")
        if not self._offset >= 0:
            raise InvalidArgument(f"Decay: offset must be >= 0, got {self.offset!r}")
        _check_number("Decay: decay", self.decay)
        if not _LEAST_DECAY <= self.decay <= _MOST_DECAY:
            raise InvalidArgument(f"Decay: decay must be from {_LEAST_DECAY} to {_MOST_DECAY}, got {self.decay!r}")

    def _check_moments(self, origin: datetime) -> None:
        if origin.tzinfo is None:
            raise InvalidArgument(f"Decay: origin {origin} has no time zone: datetime.now(UTC) has one")
        for name in ("scale", "offset"):
            value = getattr(self, name)
            if not isinstance(value, timedelta) and value != 0:
                raise InvalidArgument(
                    f"Decay: where origin is a datetime, {name} must be a timedelta, got {value!r:.40}"
                )

    @property
    def needed(self) -> tuple[Needed, ...]:
        number = NumberOf(self.field, is_moment=isinstance(self.origin, datetime))
        return (number,) if self.boost is None else (number, *self.boost.needed)

    @property
    def _scale(self) -> float:
        return _seconds(self.scale)

    @property
    def _offset(self) -> float:
        return _seconds(self.offset)

    def factor(self, value: float | None) -> float:
        """What is left of a score, 0 to 1, where the field has this value."""
        if value is None or math.isnan(value):
            return 0.0
        origin = self.origin.timestamp() if isinstance(self.origin, datetime) else float(self.origin)
        distance = max(0.0, abs(value - origin) - self._offset)
        return _CURVES[self.function](distance / self._scale, self.decay)

    def comparable(self, score: float, metric: Metric | None, key: int | str, beside: Sequence[Any]) -> float:
        """A score that is larger for nearer entities, boosted; metric None: a rank of a text search.

        key, beside  of the entity: its primary key, and what was read of it
        """
        if self.boost is not None:
            score = self.boost.boosted(score, key, beside[1:])
        is_similarity = metric is None or metric in LARGER_IS_NEARER
        return score if is_similarity and not self.norm_score else NORMALISED[metric](score)

    def combined(self, scores: Sequence[float]) -> float:
        return _COMBINED[self.score_mode](scores)


def _seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def _check_number(what: str, value: object) -> None:
    if not is_number(value):
        raise InvalidArgument(f"{what} must be a finite number, got {value!r:.40}")


def _check_choice(what: str, value: object, choices: Iterable[str]) -> None:
    if value not in tuple(choices):
        raise InvalidArgument(f"{what} must be {' or '.join(map(repr, choices))}, got {value!r:.40}")


# Boosts

_MODES: Mapping[str, Callable[[float, float], float]] = {
    "multiply": lambda left, right: left * right,
    "sum": lambda left, right: left + right,
}


@dataclass(frozen=True, slots=True)
class Boost:
    """The scores of entities that a filter holds of are multiplied by a weight.

    filter        which entities; all where it is left out
    weight        any number. By L2, HAMMING and JACCARD a smaller score is better: there a weight under 1 promotes
    random_seed   the weight is multiplied by a number from 0 to 1 that the seed and the entity decide
    random_field  the integer field that stands for the entity; the primary key where it is left out

    Raises InvalidArgument.
    """

    filter: str | None = None
    _: KW_ONLY
    weight: float
    filter_params: Mapping[str, Any] | None = None
    random_seed: int | None = None
    random_field: str | None = None

    def __post_init__(self) -> None:
        Selection(None, None, self.filter, self.filter_params)
        _check_number("Boost: weight", self.weight)
        if self.random_seed is not None and type(self.random_seed) is not int:
            raise InvalidArgument(f"Boost: random_seed must be an int, got {self.random_seed!r:.40}")
        if self.random_field is not None and self.random_seed is None:
            raise InvalidArgument("Boost: random_field belongs to random_seed=<int>")

    @property
    def needed(self) -> tuple[Needed, ...]:
        needed: list[Needed] = [] if self.filter is None else [Holds(self.filter, self.filter_params)]
        if self.random_field is not None:
            needed.append(SeedOf(self.random_field))
        return tuple(needed)

    def boosted(self, score: float, key: int | str, beside: Sequence[Any]) -> float:
        """The score of an entity of this primary key, of which this was read."""
        factor = self.factor(key, iter(beside))
        return score if factor is None else score * factor

    def factor(self, key: int | str, beside: Iterator[Any]) -> float | None:
        """What the score is to be multiplied by, None for nothing; takes what it needs from `beside`."""
        holds = self.filter is None or next(beside)
        chosen = key if self.random_field is None else next(beside)
        if not holds or chosen is None:
            return None
        return float(self.weight) if self.random_seed is None else self.weight * _random(chosen, self.random_seed)


@dataclass(frozen=True, slots=True, init=False)
class Boosts:
    """Several boosts at once.

    function_mode  "multiply" or "sum": what the weights of the boosts that hold of an entity are together
    boost_mode     "multiply" or "sum": what that does to its score

    Raises InvalidArgument.
    """

    boosts: tuple[Boost, ...]
    boost_mode: str
    function_mode: str

    def __init__(self, *boosts: Boost, boost_mode: str = "multiply", function_mode: str = "multiply") -> None:
        if not boosts or not all(isinstance(boost, Boost) for boost in boosts):
            raise InvalidArgument("Boosts takes Boost(...), one or several")
        _check_choice("Boosts: boost_mode", boost_mode, _MODES)
        _check_choice("Boosts: function_mode", function_mode, _MODES)
        object.__setattr__(self, "boosts", boosts)
        object.__setattr__(self, "boost_mode", boost_mode)
        object.__setattr__(self, "function_mode", function_mode)

    @property
    def needed(self) -> tuple[Needed, ...]:
        return tuple(needed for boost in self.boosts for needed in boost.needed)

    def boosted(self, score: float, key: int | str, beside: Sequence[Any]) -> float:
        """The score of an entity of this primary key, of which this was read."""
        values = iter(beside)
        factors = [factor for boost in self.boosts if (factor := boost.factor(key, values)) is not None]
        if not factors:
            return score
        together = math.prod(factors) if self.function_mode == "multiply" else math.fsum(factors)
        return _MODES[self.boost_mode](score, together)


Reranker = Decay | Boost | Boosts


def _random(key: int | str, seed: int) -> float:
    """From 0 to 1, as Milvus has it: MurmurHash3 of an integer and the seed, of which 52 bits are the fraction."""
    if isinstance(key, str):
        key = int.from_bytes(blake2b(key.encode(), digest_size=8).digest())
    return (_murmur(key % _WORD, seed % _WORD) & ((1 << 52) - 1)) / (1 << 52)


def _murmur(key: int, seed: int) -> int:
    """MurmurHash3_x64_128 of Austin Appleby, in the public domain, of one block; begun as Milvus begins it."""
    first, second = 0x87C37B91114253D5, 0x4CF5AD432745937F
    low = key ^ seed ^ _rotated(key * first, 31) * second
    low = (_rotated(low, 27) + seed) * 5 + 0x52DCE729
    high = seed ^ _rotated(seed * second, 33) * first
    high = (_rotated(high, 31) + low) * 5 + 0x38495AB5
    low, high = low ^ 16, high ^ 16
    low += high
    high += low
    return (_mixed(low) + _mixed(high)) % _WORD


def _rotated(word: int, by: int) -> int:
    word %= _WORD
    return (word << by | word >> (64 - by)) % _WORD


def _mixed(word: int) -> int:
    word %= _WORD
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        word = (word ^ word >> 33) * factor % _WORD
    return word ^ word >> 33
