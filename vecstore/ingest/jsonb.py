"""JSON values: which are taken, and the text that jsonb gives back unchanged. Pure.

Many values are looked at together, level by level, which is quick. Only where something is odd is each walked through
slowly, to say where the fault is or to find that there is none. They are written when they are sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from math import isfinite
from typing import Any

import numpy as np
import orjson

from vecstore.vectors import Fault

MAX_DEPTH = 100  # far below where Python's and PostgreSQL's stacks end
_LEAST, _MOST = -(2**63), 2**63 - 1
_SHOWN = 40

_NESTED = frozenset({list, dict})
_PLAIN = frozenset({str, int, float, bool, type(None)}) | _NESTED
_TEXT = frozenset({str})

# From here on a float is written with an exponent, and jsonb, which keeps numbers as numeric, gives back an integer.
_LARGE = 1e16

_TOGETHER = 512
_WIDEST = 1_000_000  # more on one level may be a list that contains itself twice
_MARK = "\x1e"
_BETWEEN = b',"\\u001e",'


class _Refused(ValueError):
    """What a JSON document must not hold; the message begins with the path to it."""


def json_values(values: Iterable[Any]) -> list[Any]:
    """Every value in types that are JSON's own; raises Fault, which says the path to what is refused."""
    given = list(values)
    for start in range(0, len(given), _TOGETHER):
        several = given[start : start + _TOGETHER]
        if not _are_plain(several):
            given[start : start + _TOGETHER] = _checked_values(several, start)
    return given


def _checked_values(values: Sequence[Any], start: int) -> list[Any]:
    checked = []
    for index, value in enumerate(values, start):
        try:
            checked.append(value if _are_plain([value]) else _checked(value, "$", 0))
        except _Refused as refused:
            raise Fault(index, str(refused)) from None
    return checked


def json_texts(values: Sequence[Any]) -> list[bytes]:
    """The texts of json_values(), in UTF-8, written in one go.

    What the encoder costs a call is more than what it costs a small value. A mark keeps the values apart, and one that
    is found too often stands in a value as well.
    """
    marked = [_MARK] * max(0, 2 * len(values) - 1)
    marked[::2] = values
    texts = orjson.dumps(marked)[1:-1].split(_BETWEEN)
    return texts if len(texts) == len(values) else list(map(orjson.dumps, values))


def _are_plain(values: Sequence[Any]) -> bool:
    """Whether all in them is of JSON's very types and may be kept, and they are neither very deep nor very wide."""
    level = values
    for _ in range(MAX_DEPTH):
        kinds = set(map(type, level))
        if not kinds <= _PLAIN or len(level) > _WIDEST or not _may_be_kept(level, kinds):
            return False
        if not kinds & _NESTED:
            return True
        objects = _only(dict, level, kinds)
        keys = set().union(*objects)
        if not (set(map(type, keys)) <= _TEXT and are_texts(keys)):
            return False
        level = [*chain.from_iterable(map(dict.values, objects)), *chain.from_iterable(_only(list, level, kinds))]
    return False


def _only(kind: type, level: Sequence[Any], kinds: set[type]) -> Sequence[Any]:
    if kind not in kinds:
        return ()
    return level if len(kinds) == 1 else [item for item in level if type(item) is kind]


def _may_be_kept(level: Sequence[Any], kinds: set[type]) -> bool:
    """Whether its integers have 64 bits, its floats are finite and not large and its strings PostgreSQL's."""
    integers, floats = _only(int, level, kinds), _only(float, level, kinds)
    if integers and not (min(integers) >= _LEAST and max(integers) <= _MOST):
        return False
    if floats and not (all(map(isfinite, floats)) and min(floats) > -_LARGE and max(floats) < _LARGE):
        return False
    return are_texts(_only(str, level, kinds))


def are_texts(strings: Iterable[str]) -> bool:
    """Whether there is no NUL and no lone surrogate in them."""
    joined = "".join(strings)
    if "\0" in joined:
        return False
    try:
        return joined.isascii() or bool(joined.encode())
    except UnicodeEncodeError:
        return False


# The slow look


def _checked(value: Any, path: str, depth: int) -> Any:
    """The value in JSON's own types; raises _Refused."""
    if isinstance(value, np.generic):
        value = value.item()
    for kinds, check in _CHECKS:
        if isinstance(value, kinds):
            return check(value, path, depth)
    raise _Refused(f"{path} is a {type(value).__name__}: expected dict, list, str, int, float, bool or None")


def _checked_object(value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
    _check_depth(path, depth)
    checked = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise _Refused(f"{path} has a key of type {type(key).__name__}: expected str")
        _checked_str(key, f"a key of {path}", depth)
        checked[str(key)] = _checked(item, f"{path}.{key[:_SHOWN]}", depth + 1)
    return checked


def _checked_array(value: list[Any] | tuple[Any, ...], path: str, depth: int) -> list[Any]:
    _check_depth(path, depth)
    return [_checked(item, f"{path}[{place}]", depth + 1) for place, item in enumerate(value)]


def _check_depth(path: str, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise _Refused(f"{path[:_SHOWN]}… is nested too deeply: expected at most {MAX_DEPTH} levels")


def _checked_str(value: str, path: str, depth: int) -> str:  # noqa: ARG001
    if "\0" in value:
        raise _Refused(f"{path} contains a NUL character, which PostgreSQL cannot store")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Refused(f"{path} contains a lone surrogate, which is no character") from None
    return value


def _checked_int(value: int, path: str, depth: int) -> int:  # noqa: ARG001
    if not _LEAST <= value <= _MOST:
        raise _Refused(f"{path} is an int beyond 64 bits: write it as a str or a float")
    return value


def _checked_float(value: float, path: str, depth: int) -> float | orjson.Fragment:  # noqa: ARG001
    if not np.isfinite(value):
        raise _Refused(f"{path} is {value}, which JSON does not have")
    return value if abs(value) < _LARGE else orjson.Fragment(format(value, ".1f"))


def _as_it_is(value: Any, path: str, depth: int) -> Any:  # noqa: ARG001
    return value


# In this order: a bool is an int as well.
_CHECKS: tuple[tuple[Any, Callable[[Any, str, int], Any]], ...] = (
    (Mapping, _checked_object),
    ((list, tuple), _checked_array),
    (str, _checked_str),
    ((bool, type(None)), _as_it_is),
    (int, _checked_int),
    (float, _checked_float),
)
