"""Arithmetic on one field and one constant, so that no row can raise an error.

Integers and JSON numbers are computed exactly, as numeric. Floats are computed in double precision; where PostgreSQL
would raise an error for overflow or underflow, the result is infinity or 0 as IEEE 754 has it. Division by zero is
NULL.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, DateTime, Double, Integer, Numeric, Table, and_, case, cast, func, literal, or_

from .moments import Span
from .operands import ArithmeticOf, Kind, PathOf
from .values import SQL, bound_number, column_of, number_at

_LARGEST = math.nextafter(math.inf, 0)
_MOST_DIGITS = Decimal("1e400")
_BITWISE = {"&": "&", "|": "|", "^": "#"}
_FIRST, _LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)  # noqa: DTZ001 - in UTC by construction


def result_of(table: Table, made: ArithmeticOf) -> SQL:
    """The result as numeric for integers and JSON, as double precision for floats, as timestamp for moments."""
    if made.kind is Kind.MOMENT:
        return _moment(table, made)
    if made.operator in _BITWISE:
        column = cast(column_of(table, made.target), BigInteger())
        bits = column.op(_BITWISE[made.operator], return_type=BigInteger())
        return cast(bits(literal(made.constant.value, BigInteger())), Numeric())
    if made.kind is Kind.FLOAT:
        return _real(cast(column_of(table, made.target), Double()), made)
    return _exact(table, made)


# Exact numbers


def _exact(table: Table, made: ArithmeticOf) -> SQL:
    constant = bound_number(made.constant.value)
    target = made.target
    if isinstance(target, PathOf):
        number = number_at(table.c[target.column], target.keys)
        number = case((func.pg_catalog.abs(number) < literal(_MOST_DIGITS, Numeric()), number))
    else:
        number = cast(column_of(table, target), Numeric())
    left, right = (constant, number) if made.reflected else (number, constant)
    if made.operator in {"/", "%"}:
        return _divided(made, number, left, right)
    results: dict[str, Callable[[], SQL]] = {
        "+": lambda: left + right,
        "-": lambda: left - right,
        "*": lambda: left * right,
    }
    return results[made.operator]()


def _divided(made: ArithmeticOf, number: SQL, left: SQL, right: SQL) -> SQL:
    """Integers are divided as integers; % is for integers only."""
    divisor = func.nullif(right, literal(Decimal(0), Numeric()), type_=Numeric()) if made.reflected else right
    whole = func.pg_catalog.div if made.operator == "/" else func.pg_catalog.mod
    by_integers: SQL = whole(left, divisor, type_=Numeric())
    if made.kind is Kind.INT and made.constant.kind is Kind.INT:
        return by_integers
    quotient = left.op("/", return_type=Numeric())(divisor)
    if made.constant.kind is Kind.FLOAT:
        return quotient
    is_whole = number == func.pg_catalog.trunc(number)
    return case((is_whole, by_integers), else_=quotient) if made.operator == "/" else case((is_whole, by_integers))


# Double precision


def _double(value: float) -> SQL:
    return literal(float(value), Double())


def _real(column: SQL, made: ArithmeticOf) -> SQL:
    constant = float(made.constant.value)
    if made.operator in {"+", "-"}:
        return _real_sum(column, constant, made)
    if made.operator == "*":
        return _real_product(column, constant)
    return _real_inverse(column, constant) if made.reflected else _real_quotient(column, constant)


def _real_sum(column: SQL, constant: float, made: ArithmeticOf) -> SQL:
    negated = made.operator == "-"
    if negated and made.reflected:  # c - x is -(x - c)
        result: SQL = -_guarded_sum(column, -constant)
        return result
    return _guarded_sum(column, -constant if negated else constant)


def _guarded_sum(column: SQL, constant: float) -> SQL:
    limit = _last(lambda value: math.isfinite(value + abs(constant)))
    result: SQL = column + _double(constant)
    if limit == _LARGEST:
        return result
    is_over = column > _double(limit) if constant > 0 else column < _double(-limit)
    return case((is_over, _double(math.copysign(math.inf, constant))), else_=result)


def _real_product(column: SQL, constant: float) -> SQL:
    if constant == 0:
        return case((column.is_not(None), _double(0)))
    return _guarded(column, constant, column * _double(constant), lambda value: value * abs(constant))


def _real_quotient(column: SQL, constant: float) -> SQL:
    result: SQL = column.op("/", return_type=Double())(_double(constant))
    return _guarded(column, constant, result, lambda value: value / abs(constant))


def _guarded(column: SQL, constant: float, result: SQL, computed: Callable[[float], float]) -> SQL:
    """A growing function of |x|, with infinity above and 0 below what double precision holds."""
    size: SQL = func.pg_catalog.abs(column, type_=Double())
    branches: list[tuple[Any, Any]] = []
    limit = _last(lambda value: math.isfinite(computed(value)))
    if limit < _LARGEST:
        signed: SQL = func.pg_catalog.sign(column, type_=Double()) * _double(math.copysign(math.inf, constant))
        branches.append((size > _double(limit), signed))
    floor = _last(lambda value: computed(value) == 0)
    if floor > 0:
        branches.append((and_(column != _double(0), size <= _double(floor)), _double(0)))
    return case(*branches, else_=result) if branches else result


def _real_inverse(column: SQL, constant: float) -> SQL:
    """C / x, which shrinks as |x| grows."""
    size: SQL = func.pg_catalog.abs(column, type_=Double())
    if constant == 0:
        return case((column != _double(0), _double(0)))
    over = _last(lambda value: value == 0 or not math.isfinite(_inverse(constant, value)))
    under = _last(lambda value: value == 0 or _inverse(constant, value) != 0)
    branches: list[tuple[Any, Any]] = [(column == _double(0), None)]
    if over > 0:
        signed: SQL = func.pg_catalog.sign(column, type_=Double()) * _double(math.copysign(math.inf, constant))
        branches.append((size <= _double(over), signed))
    if under < _LARGEST:
        branches.append((size > _double(under), _double(0)))
    return case(*branches, else_=_double(constant).op("/", return_type=Double())(column))


def _inverse(constant: float, value: float) -> float:
    return abs(constant) / value


def _last(holds: Callable[[float], bool]) -> float:
    """The last double from 0 on for which a condition holds that holds up to some number and not beyond."""
    if holds(_LARGEST):
        return _LARGEST
    low, high = 0.0, _LARGEST
    while math.nextafter(low, high) < high:
        middle = _between(low, high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _between(low: float, high: float) -> float:
    """A double between, by the order of their bits: 64 steps from end to end."""
    first, last = (struct.unpack("<q", struct.pack("<d", value))[0] for value in (low, high))
    middle: float = struct.unpack("<d", struct.pack("<q", (first + last) // 2))[0]
    return middle


# Timestamps


def _moment(table: Table, made: ArithmeticOf) -> SQL:
    """In UTC, whatever the session's time zone; beyond the years 1 to 9999 the interval is nothing."""
    moment = func.pg_catalog.timezone(literal("UTC"), column_of(table, made.target), type_=DateTime())
    span: Span = made.constant.value
    moved = moment.op("+", return_type=DateTime())(_interval(-span if made.operator == "-" else span))
    is_outside = or_(moment < literal(_FIRST, DateTime()), moment > literal(_LAST, DateTime()))
    return case((is_outside, moment), else_=moved)


def _interval(span: Span) -> SQL:
    whole = [literal(number, Integer()) for number in (0, span.months, 0, span.days, 0, 0)]
    interval: SQL = func.pg_catalog.make_interval(*whole, _double(span.seconds))
    return interval
