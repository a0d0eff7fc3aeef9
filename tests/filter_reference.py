"""Milvus's filter semantics in plain Python, written from MILVUS.md and not from the compiler.

A tree and a row in; True, False or None (unknown) out. Only valid filters are asked for.
"""

from __future__ import annotations

import calendar
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from vecstore import CollectionSchema, DataType
from vecstore.filters import tree

Row = Mapping[str, Any]
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
MIRROR = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
INTEGERS = {DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64}


def invert(answer: bool | None) -> bool | None:  # noqa: FBT001
    return None if answer is None else not answer


def all_of(answers: list[bool | None]) -> bool | None:
    if False in answers:
        return False
    return None if None in answers else True


def any_of(answers: list[bool | None]) -> bool | None:
    return invert(all_of([invert(answer) for answer in answers]))


def json_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return {str: "str", list: "list", tuple: "list", dict: "object", type(None): "null"}[type(value)]


def exact(value: float) -> Fraction:
    return Fraction(Decimal(repr(value)))


def single(value: float) -> float:
    with np.errstate(over="ignore", under="ignore"):
        return float(np.float32(value))


def plain(value: Any) -> Any:
    """A JSON value in a form where only equal JSON is equal: 1 is 1.0 and not true."""
    if isinstance(value, list | tuple):
        return ("list", tuple(plain(item) for item in value))
    if isinstance(value, dict):
        return ("object", tuple(sorted((key, plain(item)) for key, item in value.items())))
    return (json_kind(value), exact(value) if json_kind(value) == "number" else value)


def step(value: Any, key: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(str(key))
    if isinstance(value, list) and re.fullmatch("0|[1-9][0-9]*", str(key)):
        return value[int(key)] if int(key) < len(value) else None
    return None


@dataclass(frozen=True)
class Reference:
    schema: CollectionSchema

    def holds(self, node: tree.Expression, row: Row) -> bool | None:  # noqa: C901, PLR0911 - a case for each node
        if isinstance(node, tree.Constant):
            return bool(node.value)
        if isinstance(node, tree.Logic):
            answers = [self.holds(operand, row) for operand in node.operands]
            return all_of(answers) if node.operator == "and" else any_of(answers)
        if isinstance(node, tree.Unary):
            return invert(self.holds(node.operand, row))
        if isinstance(node, tree.Chain):
            low, middle, high = node.operands
            first, second = node.operators
            return all_of([self.compare(first, low, middle, row), self.compare(second, middle, high, row)])
        if isinstance(node, tree.IsNull):
            return (self.read(node.name, row) is None) is not node.negated
        if isinstance(node, tree.Exists):
            return self.read(node.operand, row) is not None
        if isinstance(node, tree.Call):
            return self.contains(node, row)
        assert isinstance(node, tree.Binary)
        if node.operator in COMPARE:
            return self.compare(node.operator, node.left, node.right, row)
        if node.operator == "in":
            return self.member(node, row)
        if node.operator == "not in":
            return invert(self.member(node, row))
        return self.pattern(node, row)

    # What stands in a row

    def is_json(self, name: tree.Name) -> bool:
        field = self.schema.by_name.get(name.name)
        return field is None or field.data_type is DataType.JSON

    def read(self, name: Any, row: Row) -> Any:
        """The value, None if there is none."""
        field = self.schema.by_name.get(name.name)
        keys = list(name.keys)
        if field is not None:
            value = row.get(name.name)
        elif name.name == "$meta":
            value = {key: item for key, item in row.items() if key not in self.schema.by_name}
        else:
            value = row.get(name.name)
        for key in keys:
            value = step(value, key)
        return value

    def data_type(self, name: tree.Name) -> DataType:
        field = self.schema.by_name[name.name]
        return field.element_type if name.keys and field.element_type else field.data_type

    def constant(self, node: Any) -> Any:
        if isinstance(node, tree.Constant):
            return node.value
        if isinstance(node, tree.Listing):
            return [self.constant(item) for item in node.items]
        if isinstance(node, tree.Moment):
            moment = datetime.fromisoformat(node.text)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if isinstance(node, tree.Unary) and node.operator == "-":
            return -self.constant(node.operand)
        return None

    # Comparison

    def compare(self, op: str, left: Any, right: Any, row: Row) -> bool | None:
        one, two = self.constant(left), self.constant(right)
        if one is not None and two is not None:
            return COMPARE[op](one, two)
        if one is not None:
            return self.with_constant(MIRROR[op], right, one, row)
        if two is not None:
            return self.with_constant(op, left, two, row)
        first, second = self.read(left, row), self.read(right, row)
        if first is None or second is None:
            return None
        if isinstance(first, float) or isinstance(second, float):
            first, second = self.as_float(left, first), self.as_float(right, second)
        return COMPARE[op](first, second)

    def as_float(self, name: tree.Name, value: float) -> float:
        return single(value) if self.data_type(name) is DataType.FLOAT else float(value)

    def with_constant(self, op: str, node: Any, value: Any, row: Row) -> bool | None:  # noqa: PLR0911
        if isinstance(node, tree.Call):  # array_length
            array = self.read(node.arguments[0], row)
            return COMPARE[op](len(array), value) if isinstance(array, list) else None
        if isinstance(node, tree.Binary | tree.Unary):
            return self.with_arithmetic(op, node, value, row)
        found = self.read(node, row)
        if found is None:
            return None
        if self.is_json(node):
            if json_kind(found) != json_kind(value):
                return None
            if json_kind(value) == "number":
                return COMPARE[op](exact(found), exact(value))
            return (
                COMPARE[op](plain(found), plain(value)) if json_kind(value) == "list" else self.texts(op, found, value)
            )
        return self.texts(op, *self.fitted(self.data_type(node), found, value))

    def texts(self, op: str, one: Any, two: Any) -> bool:
        return COMPARE[op](one.encode(), two.encode()) if isinstance(one, str) else COMPARE[op](one, two)

    def fitted(self, kind: DataType, found: Any, value: Any) -> tuple[Any, Any]:
        if kind is DataType.FLOAT:
            return single(found), single(value)
        if kind in INTEGERS and isinstance(value, float):
            return Fraction(found), exact(value)
        return found, value

    def with_arithmetic(self, op: str, node: Any, value: Any, row: Row) -> bool | None:
        if isinstance(node, tree.Unary):  # ~field
            found = self.read(node.operand, row)
            return None if found is None else COMPARE[op](~found, value)
        reflected = isinstance(node.right, tree.Name)
        name, constant = (node.right, node.left) if reflected else (node.left, node.right)
        found = self.read(name, row)
        if isinstance(constant, tree.Interval):
            return None if found is None else COMPARE[op](moved(found, constant.text, node.operator), value)
        number = self.constant(constant)
        if found is None or (self.is_json(name) and json_kind(found) != "number"):
            return None
        if not self.is_json(name) and self.data_type(name) in {DataType.FLOAT, DataType.DOUBLE}:
            found = self.as_float(name, found)
            result = real(node.operator, *((float(number), found) if reflected else (found, float(number))))
            return None if result is None else COMPARE[op](result, float(value))
        whole = isinstance(number, int) and exact(found).denominator == 1
        pair = (exact(number), exact(found)) if reflected else (exact(found), exact(number))
        result = rational(node.operator, *pair, whole=whole)
        return None if result is None else COMPARE[op](result, exact(value))

    # in, like, =~, contains

    def member(self, node: tree.Binary, row: Row) -> bool | None:
        listing = self.constant(node.right)
        if not listing:
            return False
        found = self.read(node.left, row)
        if found is None:
            return None
        assert isinstance(node.left, tree.Name)
        if self.is_json(node.left):
            if json_kind(found) not in map(json_kind, listing):
                return None
            return plain(found) in map(plain, listing)
        kind = self.data_type(node.left)
        return any(operator.eq(*self.fitted(kind, found, value)) for value in listing)

    def pattern(self, node: tree.Binary, row: Row) -> bool | None:
        found, pattern = self.read(node.left, row), self.constant(node.right)
        if not isinstance(found, str):
            return None
        if node.operator == "like":
            return re.fullmatch(like_to_re(pattern), found, re.DOTALL) is not None
        answer = re.search(re.sub(r"\$$", r"\\Z", pattern), found, re.ASCII) is not None
        return answer if node.operator == "=~" else not answer

    def contains(self, node: tree.Call, row: Row) -> bool | None:
        name = node.function.partition("_")[2]
        target, sought = self.read(node.arguments[0], row), self.constant(node.arguments[1])
        if not isinstance(target, list):
            return None
        wanted = [plain(sought)] if name == "contains" else [plain(item) for item in sought]
        there = [plain(item) for item in target]
        return (
            any(item in there for item in wanted) if name == "contains_any" else all(item in there for item in wanted)
        )


def like_to_re(pattern: str) -> str:
    out, letters = [], iter(pattern)
    for letter in letters:
        if letter == "\\":
            out.append(re.escape(next(letters)))
        else:
            out.append({"%": ".*", "_": "."}.get(letter) or re.escape(letter))
    return "".join(out)


def real(op: str, one: float, two: float) -> float | None:
    """IEEE 754, with no result for division by zero."""
    if op == "/":
        if two == 0:
            return None
        try:
            return one / two
        except OverflowError:
            return math.inf
    with np.errstate(all="ignore"):
        return float({"+": np.add, "-": np.subtract, "*": np.multiply}[op](np.float64(one), np.float64(two)))


def rational(op: str, one: Fraction, two: Fraction, *, whole: bool) -> Fraction | None:
    if op in {"&", "|", "^"}:
        return Fraction({"&": operator.and_, "|": operator.or_, "^": operator.xor}[op](int(one), int(two)))
    if op in {"/", "%"}:
        if two == 0 or (op == "%" and not whole):
            return None
        quotient = Fraction(math.trunc(one / two)) if whole else one / two
        return quotient if op == "/" else one - two * quotient
    return {"+": operator.add, "-": operator.sub, "*": operator.mul}[op](one, two)


def moved(moment: datetime, text: str, op: str) -> datetime:
    """P<n>M, P<n>D or PT<n>H later or earlier."""
    sign = 1 if op == "+" else -1
    months = re.fullmatch(r"P(\d+)M", text)
    if months:
        years, month = divmod(moment.month - 1 + sign * int(months[1]), 12)
        year = moment.year + years
        day = min(moment.day, calendar.monthrange(year, month + 1)[1])
        return moment.replace(year=year, month=month + 1, day=day)
    found = re.fullmatch(r"P(?:(\d+)D)?(?:T(\d+)H)?", text)
    assert found
    return moment + sign * timedelta(days=int(found[1] or 0), hours=int(found[2] or 0))
