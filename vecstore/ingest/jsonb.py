"""JSON values: which are taken, and the text that jsonb gives back unchanged. Pure.

A value is written by the standard library's encoder, and looked at quickly beside it. Only where something is odd is it
walked through slowly, to say where the fault is or to find that there is none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from vecstore.vectors import Fault

MAX_DEPTH = 100  # far below where Python's and PostgreSQL's stacks end
_LEAST, _MOST = -(2**63), 2**63 - 1
_SHOWN = 40

_PLAIN = frozenset({str, float, bool, type(None)})
_TEXT = {str}

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

# A string, to be left alone, or a number with a positive exponent.
_EXPONENT = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?e\+\d+')


class _Refused(ValueError):
    """What a JSON document must not hold; the message begins with the path to it."""


def json_column(values: Iterable[Any]) -> list[bytes]:
    """Every value as JSON text in UTF-8; raises Fault, which says the path to what is refused."""
    texts = []
    for index, value in enumerate(values):
        try:
            texts.append(_json_text(value))
        except _Refused as refused:
            raise Fault(index, str(refused)) from None
    return texts


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
    if not _is_plain(value):
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


def _is_plain(value: Any) -> bool:
    """Whether only the very types of JSON are in it, every int within 64 bits, every key a str, and not too deep."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for item in level:
            kind = type(item)
            if kind in _PLAIN:
                continue
            if kind is int:
                if not _LEAST <= item <= _MOST:
                    return False
            elif kind is list:
                deeper += item
            elif kind is dict and _has_text_keys(item):
                deeper += item.values()
            else:
                return False
        if not deeper:
            return True
        level = deeper
    return False


def _has_text_keys(value: dict[Any, Any]) -> bool:
    return not value or set(map(type, value)) == _TEXT


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
