"""The tree of a filter as a SQLAlchemy expression: every value bound, every name a column of the table.

Unknown is SQL's NULL: a missing key, a JSON null and a value of another type all compare to NULL.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace

from sqlalchemy import (
    Boolean,
    ColumnElement,
    DateTime,
    Double,
    Integer,
    Table,
    Text,
    and_,
    any_,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    or_,
    true,
)
from sqlalchemy.sql.elements import AsBoolean, False_, True_

from ..schema import IndexSpec
from . import values
from .arithmetic import result_of
from .binding import Scope
from .comparing import check_equality, comparison
from .documents import Place
from .errors import Fault, unsupported
from .folding import COMPARISON, MIRRORED, compared
from .matching import phrase_match, text_match
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
from .patterns import check_like, translated
from .tree import Binary, Call, Chain, Exists, Expression, IsNull, Listing, Logic, Name, Template, Unary
from .values import SQL

_CONTAINS = {
    f"{prefix}_{name}": name for prefix in ("json", "array") for name in ("contains", "contains_all", "contains_any")
}
_MATCHES = {"text_match": text_match, "phrase_match": phrase_match}
_STRUCT_FUNCTIONS = frozenset({"match_all", "match_any", "match_least", "match_most", "match_exact", "element_filter"})
_FUNCTIONS = (*sorted(_CONTAINS), "array_length", *_MATCHES, "random_sample")
_BARE_FIELD = "a field alone is no condition"


@dataclass(frozen=True, slots=True)
class Compiler:
    """Conditions on the rows of one table.

    indexes           what is indexed, and how
    false_is_unknown  whether FALSE may stand for NULL here: not below `not`
    """

    scope: Scope
    table: Table
    indexes: Container[tuple[str, IndexSpec]] = ()
    false_is_unknown: bool = True

    def condition(self, node: Expression) -> ColumnElement[bool]:  # noqa: C901, PLR0911 - a case for each node
        """The condition that a node states; raises Fault for a value."""
        match node:
            case Logic():
                return self._logic(node)
            case Unary(operator="not"):
                return not_(replace(self, false_is_unknown=False).condition(node.operand))
            case Binary(operator=operator) if operator in COMPARISON:
                return self._comparison(node)
            case Chain():
                return self._range(node)
            case Binary(operator="in" | "not in"):
                return self._membership(node)
            case Binary(operator="like"):
                return self._like(node)
            case Binary(operator="=~" | "!~"):
                return self._regex(node)
            case IsNull():
                return self._is_null(node)
            case Exists():
                return self._exists(node)
            case Call(function=function) if function.lower() != "array_length":
                return self._call(node)
        return self._constant(self.scope.operand(node))

    def _constant(self, operand: Operand) -> ColumnElement[bool]:
        if isinstance(operand, Value) and operand.kind is Kind.BOOL:
            return true() if operand.value else false()
        if isinstance(operand, FieldOf) and operand.kind is Kind.BOOL:
            raise Fault(operand.position, f"{_BARE_FIELD}; write `{operand.field.name} == true`")
        said = _BARE_FIELD if not isinstance(operand, Value) else f"{operand.kind} alone is no condition"
        raise Fault(operand.position, said, ("a comparison",))

    def _logic(self, node: Logic) -> ColumnElement[bool]:
        conditions = []
        for place, operand in enumerate(node.operands):
            if _is_call(operand, "random_sample"):
                if node.operator != "and" or place != len(node.operands) - 1 or not self.false_is_unknown:
                    raise _misplaced_sample(operand)
            elif _ends_in_sample(operand):
                raise _misplaced_sample(operand)
            conditions.append(self.condition(operand))
        return _folded(and_(*conditions) if node.operator == "and" else or_(*conditions))

    # Comparisons

    def _comparison(self, node: Binary) -> ColumnElement[bool]:
        left, right, operator = self.scope.operand(node.left), self.scope.operand(node.right), node.operator
        if isinstance(left, Value) and isinstance(right, Value):
            return true() if compared(operator, left, right, node.position) else false()
        if isinstance(right, Value):
            return self._with_constant(left, operator, right, node.position)
        if isinstance(left, Value):
            return self._with_constant(right, MIRRORED[operator], left, node.position)
        return self._of_fields(left, operator, right, node.position)

    def _with_constant(self, left: Operand, operator: str, right: Value, position: int) -> ColumnElement[bool]:
        match left:
            case ArithmeticOf():
                return self._of_arithmetic(left, operator, right)
            case LengthOf():
                _check_cast(right, Kind.INT)
                return comparison(operator, self._length(left), values.bound_number(right.value))
            case PathOf():
                return self._place(left).compared(operator, right, position)
            case FieldOf() | ElementOf():
                if left.kind is Kind.ARRAY:
                    return self._of_array(left, operator, right, position)
                _check_comparable(left, operator, right, position)
                return comparison(operator, self._column(left), values.bound(right.value, left.data_type))
        raise AssertionError(left)

    def _of_arithmetic(self, left: ArithmeticOf, operator: str, right: Value) -> ColumnElement[bool]:
        result = result_of(self.table, left)
        if left.kind is Kind.MOMENT:
            _check_cast(right, Kind.MOMENT)
            return comparison(operator, result, literal(right.value.replace(tzinfo=None), DateTime()))
        if right.kind not in NUMBERS:
            raise Fault(right.position, f"{right.kind} cannot be compared with the result of arithmetic")
        if left.kind is Kind.FLOAT:
            return comparison(operator, result, literal(float(right.value), Double()))
        return comparison(operator, result, values.bound_number(right.value))

    def _of_array(self, left: FieldOf | ElementOf, operator: str, right: Value, position: int) -> ColumnElement[bool]:
        if right.kind is not Kind.LIST:
            raise Fault(right.position, f"an array cannot be compared with {right.kind}; array_contains() may be meant")
        check_equality(operator, right.kind, position)
        element = left.field.element_type
        assert element is not None  # noqa: S101 - Field has checked it
        column = self._column(left)
        self._check_elements(left, right)
        if not all(values.fits(value, element) for value in right.value):
            return _known(column, operator == "!=")
        array = values.element_array(right.value, element)
        return _of_arrays("=" if operator == "==" else "<>", column, array)

    def _check_elements(self, array: FieldOf | ElementOf, listing: Value) -> None:
        for value in listing.value:
            _check_cast(Value(value, listing.position), ElementOf(array.field, 0, array.position).kind)

    def _of_fields(self, left: Operand, operator: str, right: Operand, position: int) -> ColumnElement[bool]:
        if not isinstance(left, FieldOf) or not isinstance(right, FieldOf):
            raise Fault(position, "only fields and constants are compared with fields")
        for side in (left, right):
            if side.kind in {Kind.ARRAY, Kind.VECTOR}:
                raise Fault(side.position, f"{side.kind} cannot be compared with a field")
        if left.kind is not right.kind and not {left.kind, right.kind} <= NUMBERS:
            raise Fault(position, f"{left.kind} cannot be compared with {right.kind}")
        if left.kind is Kind.BOOL:
            check_equality(operator, left.kind, position)
        first, second = self._column(left), self._column(right)
        if Kind.FLOAT in {left.kind, right.kind}:
            first, second = cast(first, Double()), cast(second, Double())
        return comparison(operator, first, second)

    def _range(self, node: Chain) -> ColumnElement[bool]:
        if len(node.operands) != 3:  # noqa: PLR2004 - low < field < high
            raise Fault(node.position, "a range has one field between two constants", ("low < field < high",))
        first, middle, last = (self.scope.operand(operand) for operand in node.operands)
        if not isinstance(first, Value) or not isinstance(last, Value):
            raise Fault(node.position, "a range has constants at both ends", ("low < field < high",))
        if not isinstance(middle, FieldOf | ElementOf | PathOf) or not isinstance(node.operands[1], Name):
            raise Fault(node.position, "a range has a single field in the middle", ("low < field < high",))
        one, two = node.operators
        if one[0] != two[0]:
            raise Fault(node.position, "the operators of a range point the same way", ("low < field < high",))
        low, high = (first, last) if one[0] == "<" else (last, first)
        self._check_ends(middle, low, high, node.position)
        below = self._with_constant(middle, MIRRORED[one], first, node.position)
        return and_(below, self._with_constant(middle, two, last, node.position))

    def _check_ends(self, middle: Target, low: Value, high: Value, position: int) -> None:
        if middle.kind in {Kind.ARRAY, Kind.BOOL} or Kind.BOOL in {low.kind, high.kind}:
            raise Fault(position, f"a range is of numbers, strings or timestamps, not of {middle.kind}")
        if low.kind is not high.kind and not {low.kind, high.kind} <= NUMBERS:
            raise Fault(position, f"a range cannot lie between {low.kind} and {high.kind}")
        for end in (low, high):
            if middle.kind is not Kind.JSON:
                _check_cast(end, middle.kind)
        if not (low.from_template or high.from_template or middle.kind is Kind.JSON) and compared(
            ">", low, high, position
        ):
            raise Fault(position, "invalid range: the lower bound is greater than the upper bound")

    # in, like, =~

    def _membership(self, node: Binary) -> ColumnElement[bool]:
        if not isinstance(node.left, Name):
            raise Fault(node.left.position, f"the left of `{node.operator}` is a field; brackets may be missing")
        target = self.scope.target(node.left)
        if not isinstance(node.right, Listing | Template):
            raise Fault(node.right.position, f"the right of `{node.operator}` is a list of constants", ("[1, 2]",))
        listing = self.scope.operand(node.right)
        if not isinstance(listing, Value) or listing.kind is not Kind.LIST:
            raise Fault(node.right.position, f"the right of `{node.operator}` is a list of constants", ("[1, 2]",))
        if target.kind in {Kind.ARRAY, Kind.VECTOR}:
            raise Fault(node.position, f"`{node.operator}` does not apply to {target.kind}")
        negated = node.operator == "not in"
        if not listing.value:
            return true() if negated else false()
        if isinstance(target, PathOf):
            return self._place(target).among(listing, negated=negated)
        for value in listing.value:
            _check_cast(Value(value, listing.position), target.kind)
        found = self._column(target) == any_(values.bound_array(listing.value, target.data_type))
        return not_(found) if negated else found

    def _text(self, node: Expression, operator: str) -> SQL:
        """The string that a pattern is looked for in."""
        target = self.scope.target(node) if isinstance(node, Name) else None
        if isinstance(target, PathOf):
            return self._place(target).string
        if target is None or target.kind is not Kind.STRING:
            raise Fault(node.position, f"`{operator}` applies to a string field, not to {_described(target)}")
        return self._column(target)

    def _pattern(self, node: Expression, operator: str) -> str:
        value = self.scope.operand(node)
        if not isinstance(value, Value) or not isinstance(value.value, str):
            raise Fault(node.position, f"the pattern of `{operator}` is a string")
        return value.value

    def _like(self, node: Binary) -> ColumnElement[bool]:
        column = self._text(node.left, "like")
        pattern = check_like(self._pattern(node.right, "like"), node.right.position)
        return column.like(literal(pattern, Text()))  # LIKE's own escape is the backslash, too

    def _regex(self, node: Binary) -> ColumnElement[bool]:
        column = self._text(node.left, node.operator)
        pattern = translated(self._pattern(node.right, node.operator), node.right.position)
        found = column.op("~", return_type=Boolean(), is_comparison=True)(literal(pattern, Text()))
        return found if node.operator == "=~" else not_(found)

    # null, exists

    def _is_null(self, node: IsNull) -> ColumnElement[bool]:
        target = self.scope.target(node.name)
        if isinstance(target, PathOf):
            present = self._place(target).is_present
            return present if node.negated else not_(present)
        column = values.column_of(self.table, target)
        return column.is_not(None) if node.negated else column.is_(None)

    def _exists(self, node: Exists) -> ColumnElement[bool]:
        target = self.scope.target(node.operand) if isinstance(node.operand, Name) else None
        if not isinstance(target, PathOf) or not target.keys:
            raise Fault(node.operand.position, "exists operations are only supported on the path of a JSON field")
        return self._place(target).is_present

    # Functions

    def _call(self, node: Call) -> ColumnElement[bool]:
        name = node.function if node.function in {node.function.lower(), node.function.upper()} else ""
        name = name.lower()
        if name in _CONTAINS:
            return self._contains(node, _CONTAINS[name])
        if name in _MATCHES:
            return self._match(node, name)
        if name == "random_sample":
            return self._sample(node)
        if name in _STRUCT_FUNCTIONS:
            raise unsupported(node.position, f"{name}, a function on arrays of structs,")
        if name.startswith("st_"):
            raise unsupported(node.position, f"{name}, a function on geometry,")
        if name == "text_match_fuzzy":
            raise unsupported(node.position, name)
        raise Fault(node.position, f"no function {node.function[:64]!r}", _FUNCTIONS)

    def _contains(self, node: Call, name: str) -> ColumnElement[bool]:
        if len(node.arguments) != 2 or node.options:  # noqa: PLR2004 - an array and what it contains
            raise Fault(node.position, f"{node.function} takes an array and what it contains")
        target = self.scope.array(node.arguments[0], node.function)
        wanted = self.scope.operand(node.arguments[1])
        if not isinstance(wanted, Value):
            raise Fault(wanted.position, f"{node.function} looks for constants only")
        if name != "contains" and wanted.kind is not Kind.LIST:
            raise Fault(wanted.position, f"{node.function} takes a list", ("[1, 2]",))
        sought = (wanted.value,) if name == "contains" else wanted.value
        if isinstance(target, FieldOf):
            return self._array_contains(target, name, Value(sought, wanted.position))
        return self._place(target).contains(name, Value(sought, wanted.position))

    def _array_contains(self, target: FieldOf, name: str, sought: Value) -> ColumnElement[bool]:
        column, element = self._column(target), target.field.element_type
        assert element is not None  # noqa: S101 - Field has checked it
        self._check_elements(target, sought)
        fitting = [value for value in sought.value if values.fits(value, element)]
        if len(fitting) < len(sought.value) and (name != "contains_any" or not fitting):
            return _known(column, answer=False)
        return _of_arrays("&&" if name == "contains_any" else "@>", column, values.element_array(fitting, element))

    def _match(self, node: Call, name: str) -> ColumnElement[bool]:
        target = (
            self.scope.target(node.arguments[0]) if node.arguments and isinstance(node.arguments[0], Name) else None
        )
        if not isinstance(target, FieldOf) or target.kind is not Kind.STRING:
            raise Fault(node.position, f"{name} takes a string field and a string")
        given = [self.scope.operand(argument) for argument in node.arguments[1:]]
        options = {key: self.scope.operand(value) for key, value in node.options}
        return _MATCHES[name](target.field, self._column(target), given, options, node.position)

    def _sample(self, node: Call) -> ColumnElement[bool]:
        operand = self.scope.operand(node.arguments[0]) if len(node.arguments) == 1 else None
        if not self.false_is_unknown:
            raise _misplaced_sample(node)
        if not isinstance(operand, Value) or operand.kind not in NUMBERS or not 0 < operand.value < 1 or node.options:
            raise Fault(node.position, "random_sample takes a number between 0 and 1", ("random_sample(0.1)",))
        return func.pg_catalog.random(type_=Double()) < literal(float(operand.value), Double())

    def _column(self, target: Target) -> SQL:
        if target.kind is Kind.VECTOR:
            raise Fault(target.position, "a vector field takes `is null` only")
        return values.column_of(self.table, target)

    def _length(self, operand: LengthOf) -> SQL:
        target = operand.target
        if isinstance(target, FieldOf):
            return func.pg_catalog.cardinality(self._column(target), type_=Integer())
        return self._place(target).length

    def _place(self, target: PathOf) -> Place:
        return Place(self.table.c[target.column], target.keys, self.indexes if self.false_is_unknown else ())


def _folded(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """true() and false() themselves, where SQLAlchemy has put them into a wrapper."""
    if isinstance(condition, AsBoolean) and isinstance(condition.element, True_ | False_):
        return condition.element
    return condition


def _known(column: SQL, answer: bool) -> ColumnElement[bool]:  # noqa: FBT001 - it is the value
    """The same answer for every row that has a value, unknown for the others."""
    return case((column.is_not(None), true() if answer else false()))


def _of_arrays(operator: str, column: SQL, array: SQL) -> ColumnElement[bool]:
    """With the operator's schema: those of arrays take any array, so one of the very type, such as intarray has, is
    preferred to them wherever it stands in the search path.
    """
    condition: ColumnElement[bool] = column.op(
        f"OPERATOR(pg_catalog.{operator})", return_type=Boolean(), is_comparison=True
    )(array)
    return condition


def _check_cast(value: Value, kind: Kind) -> None:
    """Milvus's rule for values that have to be of a field's type: an integer is a float, and that is all."""
    if value.kind is not kind and not (kind is Kind.FLOAT and value.kind is Kind.INT):
        raise Fault(value.position, f"cannot cast value to {kind}: it is {value.kind}")


def _check_comparable(left: FieldOf | ElementOf, operator: str, right: Value, position: int) -> None:
    if left.kind is Kind.VECTOR:
        raise Fault(left.position, "a vector field takes `is null` only")
    if not {left.kind, right.kind} <= NUMBERS:
        if left.kind is not right.kind:
            hint = "; write ISO '...'" if left.kind is Kind.MOMENT and right.kind is Kind.STRING else ""
            raise Fault(right.position, f"{left.kind} cannot be compared with {right.kind}{hint}")
        if left.kind is Kind.BOOL:
            check_equality(operator, left.kind, position)


def _described(target: Target | None) -> str:
    return "this" if target is None else target.kind


def _is_call(node: Expression, function: str) -> bool:
    return isinstance(node, Call) and node.function.lower() == function


def _ends_in_sample(node: Expression) -> bool:
    return isinstance(node, Logic) and _is_call(node.operands[-1], "random_sample")


def _misplaced_sample(node: Expression) -> Fault:
    return Fault(node.position, "random_sample stands alone or last after `and`, never below `or` or `not`")
