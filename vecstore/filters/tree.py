"""A filter as it is written: nodes with their positions, nothing looked up yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a filter; two are equal wherever they stand."""

    position: int = field(compare=False, kw_only=True, default=0)


@dataclass(frozen=True, slots=True)
class Constant(Node):
    value: bool | int | float | str


@dataclass(frozen=True, slots=True)
class Moment(Node):
    """ISO '...'."""

    text: str


@dataclass(frozen=True, slots=True)
class Interval(Node):
    """INTERVAL '...'."""

    text: str


@dataclass(frozen=True, slots=True)
class Listing(Node):
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Template(Node):
    """{name}: its value comes beside the text."""

    name: str


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A field, or a key of the dynamic ones, and the path into it."""

    name: str
    keys: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Unary(Node):
    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """Arithmetic, comparison, in, like, =~: all of two operands."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Chain(Node):
    """1 < a <= 5."""

    operators: tuple[str, ...]
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Logic(Node):
    """and, or: any number of operands."""

    operator: str
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class IsNull(Node):
    name: Name
    negated: bool


@dataclass(frozen=True, slots=True)
class Exists(Node):
    operand: Expression


@dataclass(frozen=True, slots=True)
class Call(Node):
    function: str
    arguments: tuple[Expression, ...]
    options: tuple[tuple[str, Any], ...] = ()


Expression = (
    Constant | Moment | Interval | Listing | Template | Name | Unary | Binary | Chain | Logic | IsNull | Exists | Call
)
