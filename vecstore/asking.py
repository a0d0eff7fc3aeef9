"""What a caller asks of a search, checked as far as it can be before anything is sent. Pure."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from .conditions import Selection, key_of, rest_of
from .errors import InvalidArgument
from .schema import Metric

MAX_LIMIT = 16_384
MAX_EF = 1_000
MAX_PROBES = 32_768


def check_limit(limit: object, *, name: str = "limit") -> int:
    if type(limit) is not int or not 1 <= limit <= MAX_LIMIT:
        raise InvalidArgument(f"{name} must be an int from 1 to {MAX_LIMIT:,}, got {limit!r}")
    return limit


@dataclass(frozen=True)
class Asked:
    """The options of a search; `None` leaves the choice to the collection. Raises InvalidArgument.

    output_fields  names, or what is read for a ranker besides
    """

    selection: Selection
    limit: int = 10
    offset: int = 0
    field: str | None = None
    metric: Metric | str | None = None
    output_fields: Any = None
    ef: int | None = None
    probes: int | None = None
    exact: bool | None = None
    radius: float | None = None
    range_filter: float | None = None
    group_by: Any = None
    group_size: int = 1
    strict_group_size: bool = False
    order_by: Any = None

    def __post_init__(self) -> None:
        # Every search comes by here: what was left out costs no call.
        if self.output_fields is not None and isinstance(self.output_fields, Iterator):  # it may be read more than once
            object.__setattr__(self, "output_fields", list(self.output_fields))
        check_limit(self.limit)
        if type(self.offset) is not int or not 0 <= self.offset <= MAX_LIMIT - self.limit:
            raise InvalidArgument(
                f"offset must be an int from 0, and with limit={self.limit:,} at most {MAX_LIMIT - self.limit:,}, "
                f"got {self.offset!r}; search_iterator() goes on from there"
            )
        if self.ef is not None:
            _check_int("ef", self.ef, MAX_EF)
        if self.probes is not None:
            _check_int("probes", self.probes, MAX_PROBES)
        if self.radius is not None:
            _check_number("radius", self.radius)
        if self.range_filter is not None:
            _check_number("range_filter", self.range_filter)
        if self.exact is not None and not isinstance(self.exact, bool):
            raise InvalidArgument(f"exact must be True, False or None, got {self.exact!r:.40}")
        if self.group_by is not None or self.strict_group_size is not False or not _is_one(self.group_size):
            self._check_groups()

    def _check_groups(self) -> None:
        check_limit(self.group_size, name="group_size")
        if not isinstance(self.strict_group_size, bool):
            raise InvalidArgument(f"strict_group_size must be True or False, got {self.strict_group_size!r:.40}")
        if not isinstance(self.group_by, str | None) and not _are_names(self.group_by):
            raise InvalidArgument(
                f"group_by must be the name of a field, or a list of several different ones, got {self.group_by!r:.80}"
            )
        if self.group_by is None and (self.group_size, self.strict_group_size) != (1, False):
            raise InvalidArgument("group_size and strict_group_size belong to group_by='<field>'")

    @cached_property
    def key(self) -> Hashable | None:
        """Equal where the same is asked; None where that cannot be told."""
        return key_of(self, self.selection)

    @cached_property
    def shape(self) -> Hashable | None:
        """Equal where the same is asked but for the selection."""
        return rest_of(self)


def _are_names(names: object) -> bool:
    listed = names if isinstance(names, list | tuple) else ()
    return 0 < len(listed) == len({name for name in listed if isinstance(name, str)})


_LONGEST_FILTER = 4_096
_LASTING = frozenset({type(None), str, int, float, bool, tuple, Metric})  # nobody changes one under the same identity


def asked(partition_names: Any, where: Any, filter: Any, filter_params: Any, *options: Any) -> Asked:  # noqa: A002
    """Asked(Selection(...), *options), which is made and checked once where the same is asked again and again."""
    if where is None and filter_params is None and (type(filter) is not str or len(filter) <= _LONGEST_FILTER):
        given = [tuple(one) if type(one) is list else one for one in (partition_names, filter, *options)]
        if set(map(type, given)) <= _LASTING:
            try:
                return _asked(*given)
            except TypeError:  # a list of what has no hash: below it is refused, as what it is
                pass
    return Asked(Selection(partition_names, where, filter, filter_params), *options)


@lru_cache(maxsize=1_024, typed=True)  # 1 is not True, nor 1.0
def _asked(partition_names: Any, filter: Any, *options: Any) -> Asked:  # noqa: A002
    return Asked(Selection(partition_names, None, filter), *options)


def _is_one(number: object) -> bool:
    return type(number) is int and number == 1


def _check_int(name: str, value: object, most: int) -> None:
    if type(value) is not int or not 1 <= value <= most:
        raise InvalidArgument(f"{name} must be an int from 1 to {most:,}, got {value!r}")


def _check_number(name: str, value: object) -> None:
    if not is_number(value):
        raise InvalidArgument(f"{name} must be a finite number, got {value!r:.40}")


def is_number(value: object) -> bool:
    """Whether it is an int or float, and finite."""
    try:
        return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an int that no float holds
        return False
