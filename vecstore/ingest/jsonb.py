"""JSON values: which are taken, and the text that jsonb gives back unchanged. Pure.

A value is written by the standard library's encoder, and looked at quickly beside it. Only where something is odd is it
walked through slowly, to say where the fault is or to find that there is none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

import numpy as np

from vecstore.vectors import Fault

MAX_DEPTH = 100  # far below where Python's and PostgreSQL's stacks end
_LEAST, _MOST = -(2**63), 2**63 - 1
_SHOWN = 40

_NESTED = frozenset({list, dict})
_PLAIN = frozenset({str, int, float, bool, type(None)}) | _NESTED
_TEXT = frozenset({str})

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

_TOGETHER = 512
_MARK = "\x1e"
_BETWEEN = b',"\\u001e",'

# A string, to be left alone, or a number with a positive exponent.
_EXPONENT = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?e\+\d+')


class _Refused(ValueError):
    """What a JSON document must not hold; the message begins with the path to it."""


def json_column(values: Iterable[Any]) -> list[bytes]:
    """Every value as JSON text in UTF-8; raises Fault, which says the path to what is refused."""
    given = list(values)
    texts: list[bytes] = []
    for start in range(0, len(given), _TOGETHER):
        several = given[start : start + _TOGETHER]
        texts += _quick_texts(several) or _texts(several, start)
    return texts


def _texts(values: list[Any], start: int) -> list[bytes]:
    texts = []
    for index, value in enumerate(values, start):
        try:
            texts.append(_json_text(value))
        except _Refused as refused:
            raise Fault(index, str(refused)) from None
    return texts


def _quick_texts(values: list[Any]) -> list[bytes] | None:
    """The texts of values that are plain in everything, written in one go; None says to look at each.

    What the encoder costs a call is more than what it costs a small value. A mark keeps the values apart, and one that
    is found too often stands in a value as well.
    """
    if not _are_plain(values):
        return None
    marked = [_MARK] * (2 * len(values) - 1)
    marked[::2] = values
    try:
        text = _encode(marked).encode()
    except ValueError:
        return None
    texts = text[1:-1].split(_BETWEEN)
    if b"\\u0000" in text or len(texts) != len(values):
        return None
    return [_positional(text) if b"e+" in text else text for text in texts] if b"e+" in text else texts


def json_value(text: str | bytes) -> Any:
    """The value of a text that PostgreSQL sent."""
    return json.loads(text)


def _json_text(value: Any) -> bytes:
    text = _quick_text(value)
    if text is None:
        text = _encode(_checked(value, "$", 0)).encode()
    return _positional(text) if b"e+" in text else text


def _quick_text(value: Any) -> bytes | None:
    """The text of a value that is plain in everything; None says to look closer."""
    if not _are_plain([value]):
        return None
    try:
        text = _encode(value).encode()
    except ValueError:  # NaN and infinity, and the lone surrogates of UnicodeEncodeError
        return None
    return None if b"\\u0000" in text else text


def _positional(text: bytes) -> bytes:
    """Write 1e+22 as 10000000000000000000000.0: jsonb keeps numbers as numeric, and would give back an integer."""
    return _EXPONENT.sub(_digits, text.decode()).encode()


def _digits(found: re.Match[str]) -> str:
    token = found[0]
    return token if token.startswith('"') else format(float(token), ".1f")


def _are_plain(values: list[Any]) -> bool:
    """Whether only the very types of JSON are in them, every int within 64 bits, every key a str, and not too deep."""
    level = values
    for _ in range(MAX_DEPTH):
        kinds = set(map(type, level))
        if not kinds <= _PLAIN:
            return False
        if int in kinds and not all(_LEAST <= item <= _MOST for item in level if type(item) is int):
            return False
        if not kinds & _NESTED:
            return True
        objects = [item for item in level if type(item) is dict]
        if not set(map(type, chain.from_iterable(objects))) <= _TEXT:
            return False
        arrays = (item for item in level if type(item) is list)
        level = [*chain.from_iterable(item.values() for item in objects), *chain.from_iterable(arrays)]
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


def _checked_float(value: float, path: str, depth: int) -> float:  # noqa: ARG001
    if not np.isfinite(value):
        raise _Refused(f"{path} is {value}, which JSON does not have")
    return value


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
