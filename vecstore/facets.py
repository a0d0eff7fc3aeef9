"""Facets: what a search found, in buckets of equal values. Pure: it is all in the hits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from .aggregates import named
from .errors import InvalidArgument
from .hits import Hit, Hits
from .naming import names_list
from .ordering import terms
from .projection import Record

T = TypeVar("T")

COUNT, KEY, SCORE = "_count", "_key", "_score"
_ALL = "*"
_FIRST, _AMONG, _NAN, _LAST = range(4)
_NUMBERS = frozenset({int, float})
_ORDERED = _NUMBERS | {str, datetime}


@dataclass(frozen=True, slots=True)
class Bucket:
    """Hits of equal values.

    key         these values, by the names of the fields
    count       how many hits there are
    aggregates  what was computed over all of them, by the texts that were asked for; None where there is no value
    hits        as many as were asked for, in the order that was asked for
    buckets     what they fall into again, where that was asked for
    """

    key: Record
    count: int
    aggregates: Record
    hits: Hits
    buckets: list[Bucket]


@dataclass(frozen=True, slots=True)
class Facet:
    """How hits are put into buckets.

    fields         one field or several: a bucket for each value, or for values that come together; None is one
    size           how many buckets
    aggregates     "count(*)", and count, sum, avg, min or max of a field; "_score" is the distance
    order_by       "avg(year):desc", an aggregate that is asked for, or "_count", "_key", or several; None comes first,
                   descending last. Where it is left out, the bucket of the best hit comes first
    hits           how many hits a bucket holds
    hits_order_by  "year" or "_score:desc", or several; None is last. Equal ones, and all where it is left out, are in
                   the order in which they were found
    inside         how the hits of each bucket are put into buckets again

    Raises InvalidArgument.
    """

    fields: str | Sequence[str]
    size: int = 10
    _: KW_ONLY
    aggregates: str | Sequence[str] = ()
    order_by: str | Sequence[str] | None = None
    hits: int = 0
    hits_order_by: str | Sequence[str] | None = None
    inside: Facet | None = None
    _names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _functions: Mapping[str, tuple[str, str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [self.fields] if isinstance(self.fields, str) else names_list(self.fields, "Facet: fields")
        texts = [self.aggregates] if isinstance(self.aggregates, str) else names_list(self.aggregates, "aggregates")
        if not names or len(set(names)) < len(names):
            raise InvalidArgument(f"Facet: fields must name a field, or several different ones, got {names!r:.80}")
        object.__setattr__(self, "_names", tuple(names))
        object.__setattr__(self, "_functions", {text: named(text) for text in texts})
        _check_rows("size", self.size, least=1)
        _check_rows("hits", self.hits, least=0)
        if not isinstance(self.inside, Facet | None):
            raise InvalidArgument(f"Facet: inside must be another Facet, got {self.inside!r:.40}")
        if terms(self.hits_order_by) and not self.hits:
            raise InvalidArgument("Facet: hits_order_by belongs to hits=<how many>")
        for name, _ in terms(self.order_by):
            if name not in {COUNT, KEY, *self._functions}:
                raise InvalidArgument(
                    f"Facet: order_by names {name!r:.40}; buckets are ordered by {COUNT!r}, {KEY!r}, or an aggregate"
                )

    def over(self, hits: Hits) -> list[Bucket]:
        """The buckets of what one query found, whose fields must have been among its output_fields.

        Text is in the order of its characters. Raises InvalidArgument for a field that no hit has, and for values that
        are no keys, or cannot be added up or compared.
        """
        if not isinstance(hits, Hits):
            raise InvalidArgument(f"over() takes the Hits of one query, search(...)[0], not a {type(hits).__name__}")
        for name in self._needed():
            if hits and not any(name in hit.fields for hit in hits):
                raise InvalidArgument(
                    f"Facet: no hit has a field {name!r:.80}: put it into output_fields of the search"
                )
        return self._over(hits)

    def _needed(self) -> Iterator[str]:
        yield from self._names
        yield from (name for _, name in self._functions.values() if name not in {_ALL, SCORE})
        yield from (name for name, _ in terms(self.hits_order_by) if name != SCORE)
        if self.inside is not None:
            yield from self.inside._needed()  # noqa: SLF001 - one of its own

    def _over(self, hits: Hits) -> list[Bucket]:
        found: dict[tuple[Any, ...], list[Hit]] = {}
        for hit in hits:
            found.setdefault(self._key(hit), []).append(hit)
        buckets = [self._bucket(Hits(members, hits.path)) for members in found.values()]
        for name, descending in reversed(terms(self.order_by)):
            buckets = _sorted(buckets, name, _values_of_bucket, none=_FIRST, descending=descending)
        return [self._finished(bucket) for bucket in buckets[: self.size]]

    def _key(self, hit: Hit) -> tuple[Any, ...]:
        """Values, with what tells True from 1; NaN is one value, though it is not equal to itself."""
        values = [hit.fields.get(name) for name in self._names]
        try:
            key = tuple((type(value), None if _is_nan(value) else value) for value in values)
            hash(key)
        except TypeError:
            raise InvalidArgument(f"Facet: {', '.join(self._names)}: a list, a vector or JSON is no key") from None
        return key

    def _bucket(self, hits: Hits) -> Bucket:
        """With all its hits."""
        aggregates = {text: _computed(text, function, name, hits) for text, (function, name) in self._functions.items()}
        key = {name: hits[0].fields.get(name) for name in self._names}
        return Bucket(key, len(hits), aggregates, hits, [])

    def _finished(self, bucket: Bucket) -> Bucket:
        best = list(bucket.hits)
        for name, descending in reversed(terms(self.hits_order_by)):
            none = _FIRST if descending else _LAST
            best = _sorted(best, name, _values_of_hit, none=none, descending=descending)
        inner = [] if self.inside is None else self.inside._over(bucket.hits)  # noqa: SLF001 - one of its own
        return replace(bucket, hits=Hits(best[: self.hits], bucket.hits.path), buckets=inner)


def _check_rows(name: str, value: object, *, least: int) -> None:
    if type(value) is not int or value < least:
        raise InvalidArgument(f"Facet: {name} must be an int from {least}, got {value!r:.40}")


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _values_of_bucket(bucket: Bucket, name: str) -> Iterable[Any]:
    if name == KEY:
        return bucket.key.values()
    return (bucket.count if name == COUNT else bucket.aggregates[name],)


def _values_of_hit(hit: Hit, name: str) -> Iterable[Any]:
    return (hit.distance if name == SCORE else hit.fields.get(name),)


def _sorted(
    items: Iterable[T], name: str, values_of: Callable[[T, str], Iterable[Any]], *, none: int, descending: bool
) -> list[T]:
    """Equal ones stay as they are; NaN is larger than any number."""

    def place(item: T) -> list[tuple[int, Any]]:
        return [_place(value, none) for value in values_of(item, name)]

    try:
        return sorted(items, key=place, reverse=descending)
    except (TypeError, ValueError):  # of arrays
        raise InvalidArgument(f"Facet: values of {name!r:.80} cannot be compared") from None


def _place(value: Any, none: int) -> tuple[int, Any]:
    if value is None:
        return (none, 0)
    return (_NAN, 0) if _is_nan(value) else (_AMONG, value)


def _computed(text: str, function: str, name: str, hits: Sequence[Hit]) -> Any:
    if name == _ALL:
        return len(hits)
    values = [value for hit in hits for value in _values_of_hit(hit, name) if value is not None]
    if function == "count":
        return len(values)
    if not values:
        return None
    kinds = _NUMBERS if function in {"sum", "avg"} else _ORDERED
    strange = next((value for value in values if type(value) not in kinds), None)
    if strange is not None:
        raise InvalidArgument(f"Facet: {text!r:.80}: a value is of type {type(strange).__name__}")
    if function in {"sum", "avg"}:
        return sum(values) if function == "sum" else sum(values) / len(values)
    ordered = _sorted(((value,) for value in values), name, lambda value, _: value, none=_FIRST, descending=False)
    return ordered[0 if function == "min" else -1][0]
