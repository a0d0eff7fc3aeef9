"""Constants computed with constants, in 64-bit integers and double precision as Milvus does."""

from __future__ import annotations

import math
import operator as operators
from collections.abc import Callable, Mapping
from typing import Any

from .errors import Fault
from .operands import NUMBERS, Kind, Value

LEAST, MOST = -(2**63), 2**63 - 1
_MAX_SHIFT = 63
_MAX_POWER_BITS = 1024

_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operators.add,
    "-": operators.sub,
    "*": operators.mul,
    "&": operators.and_,
    "|": operators.or_,
    "^": operators.xor,
}
_SIGNS: Mapping[str, Callable[[Any], Any]] = {"-": operators.neg, "+": operators.pos, "~": operators.invert}
COMPARISON: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operators.eq,
    "!=": operators.ne,
    "<": operators.lt,
    "<=": operators.le,
    ">": operators.gt,
    ">=": operators.ge,
}
MIRRORED: Mapping[str, str] = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
INTEGER_ONLY = frozenset({"%", "&", "|", "^", "<<", ">>", "~"})


def check_integer(value: int, position: int) -> int:
    if not LEAST <= value <= MOST:
        raise Fault(position, "the number is beyond 64 bits")
    return value


def computed(operator: str, left: Value, right: Value, position: int) -> Value:
    """The value of arithmetic on two constants."""
    kinds = {left.kind, right.kind}
    if not kinds <= NUMBERS:
        raise Fault(position, f"{operator} applies to numbers, not to {left.kind} and {right.kind}")
    if operator in INTEGER_ONLY and kinds != {Kind.INT}:
        raise Fault(position, f"{operator} applies to integers only")
    try:
        value = _computed(operator, left.value, right.value, position)
    except OverflowError:
        value = math.inf
    return _checked(value, position, from_template=left.from_template or right.from_template)


def _checked(value: float, position: int, *, from_template: bool) -> Value:
    if isinstance(value, int):
        check_integer(value, position)
    elif not math.isfinite(value):
        raise Fault(position, "the number is beyond double precision")
    return Value(value, position, from_template)


def _computed(operator: str, left: Any, right: Any, position: int) -> Any:
    if operator in _ARITHMETIC:
        return _ARITHMETIC[operator](left, right)
    if operator == "**":
        return _power(left, right, position)
    if operator in {"<<", ">>"}:
        if not 0 <= right <= _MAX_SHIFT:
            raise Fault(position, f"a shift is from 0 to {_MAX_SHIFT}")
        return left << right if operator == "<<" else left >> right
    if right == 0:
        raise Fault(position, "division by zero")
    if isinstance(left, int) and isinstance(right, int):
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        return quotient if operator == "/" else left - right * quotient
    return left / right


def _power(base: Any, exponent: Any, position: int) -> Any:
    if base == 0 and exponent < 0:
        raise Fault(position, "division by zero")
    if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0:
        if base.bit_length() * exponent > _MAX_POWER_BITS and abs(base) > 1:
            raise Fault(position, "the number is beyond 64 bits")
        return base**exponent if abs(base) > 1 else base ** (exponent % 2 or (2 if exponent else 0))
    value = float(base) ** exponent
    if isinstance(value, complex):
        raise Fault(position, "a negative number has no such power")
    return value


def signed(operator: str, operand: Value, position: int) -> Value:
    """The value of a sign, or ~, before a constant."""
    if operand.kind not in NUMBERS or (operator == "~" and operand.kind is not Kind.INT):
        raise Fault(position, f"{operator} does not apply to {operand.kind}")
    value = _SIGNS[operator](operand.value)
    return _checked(value, position, from_template=operand.from_template)


def compared(operator: str, left: Value, right: Value, position: int) -> bool:
    """Whether two constants compare so."""
    same = left.kind is right.kind or {left.kind, right.kind} <= NUMBERS
    if not same or left.kind is Kind.LIST:
        raise Fault(position, f"{left.kind} cannot be compared with {right.kind}")
    if left.kind in {Kind.BOOL, Kind.INTERVAL} and operator not in {"==", "!="}:
        raise Fault(position, f"{operator} does not apply to {left.kind}")
    if left.kind is Kind.STRING:
        return bool(COMPARISON[operator](left.value.encode(), right.value.encode()))
    return bool(COMPARISON[operator](left.value, right.value))
