"""A deeply nested condition written as one flat list of its parts, for SQLAlchemy's compiler goes down by recursion."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, ColumnElement, literal_column
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BooleanClauseList, ClauseList, Grouping, UnaryExpression

_DEEP = 10
_WORDS = {
    word: literal_column(word, Boolean()) for word in ("(", ")", "AND", "OR", "NOT")
}  # in brackets wherever they are needed: nothing depends on precedence


def flat_if_deep(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """The same condition; one of more than a few levels as a list of words and conditions that are not nested."""
    parts: list[Any] = []
    deepest = 0
    waiting: list[tuple[Any, int]] = [(condition, 0)]
    while waiting:
        item, depth = waiting.pop()
        deepest = max(deepest, depth)
        inner = _inside(item)
        if inner is None:
            parts.append(item)
        else:
            waiting.extend((part, depth + 1) for part in reversed(inner))
    if deepest <= _DEEP:
        return condition
    words: Any = ClauseList(*parts, operator=None, group=False, group_contents=False)  # type: ignore[arg-type]
    return Grouping(words)


def _inside(item: Any) -> list[Any] | None:
    """What a condition is made of, in brackets; None for one that is not made of conditions."""
    if isinstance(item, BooleanClauseList):
        word = _WORDS["AND" if item.operator is operators.and_ else "OR"]
        joined = [part for clause in item.clauses for part in (word, clause)][1:]
        return [_WORDS["("], *joined, _WORDS[")"]]
    if isinstance(item, Grouping):
        return [item.element]
    if isinstance(item, UnaryExpression) and item.operator is operators.inv:
        return [_WORDS["NOT"], _WORDS["("], item.element, _WORDS[")"]]
    return None
