"""Names, templates and constants of a filter looked up in a schema: nodes of the tree become operands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

import numpy as np

from ..naming import DYNAMIC_COLUMN, DYNAMIC_FIELD
from ..schema import CollectionSchema, DataType
from .errors import Fault, unsupported
from .folding import COMPARISON, INTEGER_ONLY, check_integer, compared, computed, signed
from .limits import MAX_ITEMS, too_many
from .moments import Span, moment_of, span_of
from .operands import (
    NUMBERS,
    ArithmeticOf,
    ElementOf,
    FieldOf,
    Kind,
    LengthOf,
    Operand,
    PathOf,
    Target,
    Value,
)
from .parsing import check_text
from .tree import Binary, Call, Constant, Expression, Interval, Listing, Moment, Name, Template, Unary

_MAX_INDEX = 2**31 - 2
_ARITHMETIC = frozenset({"+", "-", "*", "/", "%", "**", "<<", ">>", "&", "|", "^"})
_ON_CONSTANTS = {"**": "power", "<<": "shift", ">>": "shift"}


@dataclass(frozen=True, slots=True)
class Scope:
    """Where names are looked up: the schema's fields, and the values of templates."""

    schema: CollectionSchema
    parameters: Mapping[str, Any]

    def operand(self, node: Expression) -> Operand:  # noqa: C901, PLR0911 - a case for each node
        """What a node stands for in a comparison; raises Fault for a condition."""
        match node:
            case Constant():
                return self._constant(node)
            case Moment(text=text):
                return Value(moment_of(text, node.position), node.position)
            case Interval(text=text):
                return Value(span_of(text, node.position), node.position)
            case Listing():
                return self._listing(node)
            case Template():
                return self._template(node)
            case Name():
                return self.target(node)
            case Unary(operator=operator) if operator != "not":
                return self._signed(node)
            case Binary(operator=operator) if operator in _ARITHMETIC:
                return self._arithmetic(node)
            case Binary(operator=operator) if operator in COMPARISON:
                return self._folded(node)
            case Call(function=function) if function.lower() == "array_length":
                return self._length(node)
        raise Fault(node.position, "a condition stands where a value is expected; brackets may be missing")

    def _constant(self, node: Constant) -> Value:
        if isinstance(node.value, int) and not isinstance(node.value, bool):
            check_integer(node.value, node.position)
        return Value(node.value, node.position)

    def _listing(self, node: Listing) -> Value:
        values = [self.operand(item) for item in node.items]
        for value in values:
            if not isinstance(value, Value):
                raise Fault(value.position, "a list holds constants only")
        constants = [value for value in values if isinstance(value, Value)]
        from_template = any(value.from_template for value in constants)
        return Value(tuple(value.value for value in constants), node.position, from_template)

    def _template(self, node: Template) -> Value:
        if node.name not in self.parameters:
            given = ", ".join(sorted(map(str, self.parameters))) or "none"
            raise Fault(node.position, f"no value is given for {{{node.name}}}; given: {given}")
        return Value(given_value(self.parameters[node.name], node), node.position, from_template=True)

    def target(self, node: Name) -> Target:
        """The field, element or path of a name."""
        if node.name == DYNAMIC_FIELD:
            if not self.schema.dynamic:
                raise Fault(node.position, "the collection has no dynamic fields, and so no $meta")
            return PathOf(DYNAMIC_COLUMN, node.keys, node.position)
        field = self.schema.by_name.get(node.name)
        if field is None:
            return self._dynamic(node)
        if field.data_type is DataType.JSON:
            return PathOf(field.name, node.keys, node.position)
        if not node.keys:
            return FieldOf(field, node.position)
        if field.data_type is not DataType.ARRAY:
            raise Fault(
                node.position, f"field {field.name!r} is {field.data_type}: only JSON and ARRAY are subscripted"
            )
        if len(node.keys) > 1 or not isinstance(node.keys[0], int) or node.keys[0] > _MAX_INDEX:
            raise Fault(node.position, f"an element of array {field.name!r} is chosen by one index", ("[0]",))
        return ElementOf(field, node.keys[0], node.position)

    def _dynamic(self, node: Name) -> PathOf:
        if self.schema.dynamic:
            return PathOf(DYNAMIC_COLUMN, (check_text(node.name, node.position), *node.keys), node.position)
        near = get_close_matches(node.name, self.schema.by_name, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise Fault(node.position, f"field {node.name[:64]} not exist{hint}", tuple(self.schema.by_name))

    def _signed(self, node: Unary) -> Operand:
        inner = node.operand
        if node.operator == "-" and isinstance(inner, Constant) and type(inner.value) is int:
            return Value(check_integer(-inner.value, inner.position), node.position)
        operand = self.operand(inner)
        if isinstance(operand, Value):
            return signed(node.operator, operand, node.position)
        if node.operator == "~" and not isinstance(operand, ArithmeticOf | LengthOf):
            return self._checked(ArithmeticOf("^", operand, Value(-1, node.position), False, node.position))  # noqa: FBT003
        raise Fault(node.position, f"unary {node.operator} applies to constants only")

    def _folded(self, node: Binary) -> Value:
        left, right = self.operand(node.left), self.operand(node.right)
        if not (isinstance(left, Value) and isinstance(right, Value)):
            raise Fault(node.position, "a comparison is not compared again; brackets may be missing")
        return Value(compared(node.operator, left, right, node.position), node.position)

    def _length(self, node: Call) -> LengthOf:
        if len(node.arguments) != 1 or node.options or not isinstance(node.arguments[0], Name):
            raise Fault(node.position, "array_length takes one array", ("array_length(field)",))
        return LengthOf(self.array(node.arguments[0], "array_length"), node.position)

    def array(self, node: Expression, function: str) -> FieldOf | PathOf:
        """An ARRAY field or a JSON path, as functions on arrays take."""
        target = self.target(node) if isinstance(node, Name) else None
        if isinstance(target, PathOf) or (isinstance(target, FieldOf) and target.kind is Kind.ARRAY):
            return target
        raise Fault(node.position, f"{function} takes an ARRAY or JSON field")

    def _arithmetic(self, node: Binary) -> Operand:
        left, right = self.operand(node.left), self.operand(node.right)
        if isinstance(left, Value) and isinstance(right, Value):
            return computed(node.operator, left, right, node.position)
        for operand in (left, right):
            if isinstance(operand, LengthOf):
                raise Fault(node.position, "array_length is compared directly, without arithmetic")
            if isinstance(operand, ArithmeticOf):
                raise Fault(node.position, "complicated arithmetic operations are not supported")
        if isinstance(right, Value) and not isinstance(left, Value):
            return self._checked(ArithmeticOf(node.operator, _as_target(left), right, False, node.position))  # noqa: FBT003
        if isinstance(left, Value):
            return self._checked(ArithmeticOf(node.operator, _as_target(right), left, True, node.position))  # noqa: FBT003
        raise Fault(node.position, "not supported to do arithmetic operations between multiple fields")

    def _checked(self, made: ArithmeticOf) -> ArithmeticOf:
        operator, kind, constant = made.operator, made.target.kind, made.constant
        if operator in _ON_CONSTANTS:
            raise Fault(made.position, f"{_ON_CONSTANTS[operator]} can only apply on constants")
        if kind is Kind.MOMENT:
            return self._checked_moment(made)
        if kind not in {*NUMBERS, Kind.JSON} or (isinstance(made.target, PathOf) and not made.target.keys):
            raise Fault(made.position, f"{operator} applies to numbers, not to {kind}")
        if constant.kind not in NUMBERS:
            raise Fault(constant.position, f"{operator} applies to numbers, not to {constant.kind}")
        if operator in INTEGER_ONLY and (kind is Kind.FLOAT or constant.kind is Kind.FLOAT):
            raise Fault(made.position, f"{operator} can only apply on integer types")
        if operator in {"&", "|", "^"} and kind is Kind.JSON:
            raise unsupported(made.position, f"{operator} on JSON")
        if operator in {"/", "%"} and not made.reflected and constant.value == 0:
            raise Fault(constant.position, "division by zero")
        return made

    def _checked_moment(self, made: ArithmeticOf) -> ArithmeticOf:
        if made.constant.kind is not Kind.INTERVAL or made.operator not in {"+", "-"}:
            raise Fault(made.position, "a timestamp takes + and - with INTERVAL '...' only")
        if made.reflected and made.operator == "-":
            raise Fault(made.position, "a timestamp cannot be taken from an interval")
        return made


def _as_target(operand: Operand) -> Target:
    assert isinstance(operand, FieldOf | ElementOf | PathOf)  # noqa: S101 - all others are refused before
    return operand


def given_value(value: Any, node: Template) -> Any:
    """The value of a template in the language's own types."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        if len(value) > MAX_ITEMS:
            raise too_many(node.position, len(value))
        return tuple(_given_scalar(item, node) for item in value)
    return _given_scalar(value, node)


def _given_scalar(value: Any, node: Template) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | Span):
        return value
    if isinstance(value, int):
        return check_integer(int(value), node.position)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, str):
        return check_text(str(value), node.position)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    if isinstance(value, list | tuple):
        return tuple(_given_flat(item, node) for item in value)
    shown = "NULL is not a value" if value is None else f"{type(value).__name__} is no value of a filter"
    raise Fault(node.position, f"{{{node.name}}}: {shown}", ("bool", "int", "float", "str", "datetime", "a list"))


def _given_flat(value: Any, node: Template) -> Any:
    if isinstance(value, list | tuple):
        raise Fault(node.position, f"{{{node.name}}}: lists are nested too deeply")
    return _given_scalar(value, node)
