"""Milvus's filter language: `year >= 1990 and title like 'A%'` as a SQLAlchemy condition. Pure.

limits      how large a filter may be, before it is parsed
parsing     text → tree, by grammar.lark
binding     names, templates, constants → operands
compiling   tree → SQL expression; values, comparing, documents, arithmetic, patterns, matching help it
flattening  the expression without its depth
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Table

from ..schema import CollectionSchema, IndexSpec
from . import tree
from .binding import Scope
from .compiling import Compiler
from .errors import Fault, FilterError
from .flattening import flat_if_deep
from .parsing import parsed

__all__ = ["FilterError", "compile_filter", "parse"]


def parse(text: str) -> tree.Expression:
    """The tree of a filter; raises FilterError."""
    _check_type(text)
    try:
        return parsed(text)
    except Fault as fault:
        raise fault.shown_in(text) from None


def compile_filter(
    text: str,
    schema: CollectionSchema,
    table: Table,
    parameters: Mapping[str, Any] | None = None,
    *,
    indexes: Container[tuple[str, IndexSpec]] = (),
) -> ColumnElement[bool] | None:
    """The condition that a filter states about the rows of a collection's table; None for an empty one: all rows.

    parameters  the values of {templates}
    indexes     what is indexed, and how: where several forms of a condition on JSON mean the same, the indexes decide

    Raises FilterError.
    """
    _check_type(text)
    if not text or text.isspace():
        return None
    try:
        compiler = Compiler(Scope(schema, parameters or {}), table, indexes)
        return flat_if_deep(compiler.condition(parsed(text)))
    except Fault as fault:
        raise fault.shown_in(text) from None
    except RecursionError:  # the caller's own stack was nearly full
        raise FilterError("the filter is nested too deeply for the stack that is left") from None


def _check_type(text: object) -> None:
    if not isinstance(text, str):
        raise FilterError(f"a filter is a str, not {type(text).__name__}")
