"""Comparisons of SQL expressions, in Milvus's order."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Boolean, ColumnElement, Text

from .errors import Fault
from .folding import COMPARISON
from .operands import Kind
from .values import SQL

# By bytes, as Milvus does, whatever the collation; the operators of text_pattern_ops, which Btree() on strings has, and
# which serves = and LIKE as well.
_BY_BYTES: Mapping[str, str] = {"<": "~<~", "<=": "~<=~", ">": "~>~", ">=": "~>=~"}


def comparison(operator: str, left: SQL, right: SQL) -> ColumnElement[bool]:
    if operator in _BY_BYTES and isinstance(left.type, Text):
        return left.op(_BY_BYTES[operator], return_type=Boolean(), is_comparison=True)(right)
    condition: ColumnElement[bool] = COMPARISON[operator](left, right)
    return condition


def check_equality(operator: str, kind: Kind, position: int) -> None:
    if operator not in {"==", "!="}:
        raise Fault(position, f"{operator} does not apply to {kind}", ("==", "!="))
