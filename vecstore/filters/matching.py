"""Full text: text_match and phrase_match by PostgreSQL's text search."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from functools import reduce

from sqlalchemy import Boolean, ColumnElement, Integer, Text, case, false, func, literal
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.dialects.postgresql.ext import plainto_tsquery, to_tsvector

from ..schema import Field
from .errors import Fault, unsupported
from .operands import Kind, Operand, Value
from .values import SQL

MAX_TOKENS = 256
_MAX_FORMS = 64
_WORD = re.compile(r"\w+")
DEFAULT_CONFIGURATION = "simple"


def configuration_of(field: Field) -> str:
    """The text search configuration of a field: its property where it has one."""
    return str(getattr(field, "text_search", None) or DEFAULT_CONFIGURATION)


def text_match(
    field: Field, column: SQL, given: Sequence[Operand], options: Mapping[str, Operand], position: int
) -> ColumnElement[bool]:
    """Any of the words, or at least minimum_should_match of them."""
    words = _words(given[:1], position, "text_match")
    if set(options) - {"minimum_should_match"} or len(given) > 1:
        raise Fault(position, "text_match takes a field and a string", ("minimum_should_match=2",))
    least = _whole(options["minimum_should_match"], "minimum_should_match") if options else 1
    if least < 1:
        raise Fault(position, "minimum_should_match is at least 1")
    words = list(dict.fromkeys(words))
    if len(words) < least:
        return _never(column)
    vector = _vector(field, column)
    if least == 1:
        return _matches(vector, reduce(_either, (_query(field, word) for word in words)))
    scores: list[SQL] = [case((_matches(vector, _query(field, word)), 1), else_=0) for word in words]
    return case((column.is_not(None), reduce(lambda one, two: one + two, scores) >= literal(least, Integer())))


def phrase_match(
    field: Field, column: SQL, given: Sequence[Operand], options: Mapping[str, Operand], position: int
) -> ColumnElement[bool]:
    """The words one after the other, with at most `slop` other words between them in all."""
    words = _words(given[:1], position, "phrase_match")
    if set(options) - {"slop"} or len(given) > 2 or (options and len(given) > 1):  # noqa: PLR2004 - string, slop
        raise Fault(position, "phrase_match takes a field, a string and a slop")
    slop = _whole(given[1], "slop") if len(given) > 1 else _whole(options["slop"], "slop") if options else 0
    if not 0 <= slop < 2**32:
        raise Fault(position, "slop is from 0 to 4,294,967,295")
    if not words:
        return _never(column)
    gaps = len(words) - 1
    if gaps and math.comb(slop + gaps, gaps) > _MAX_FORMS:
        raise unsupported(position, f"a slop of {slop} between {len(words)} words")
    spread = itertools.product(range(slop + 1), repeat=gaps)
    phrases = [_phrase(field, words, gap) for gap in spread if sum(gap) <= slop]
    return _matches(_vector(field, column), reduce(_either, phrases))


def _words(given: Sequence[Operand], position: int, function: str) -> list[str]:
    value = given[0] if given else None
    if not isinstance(value, Value) or value.kind is not Kind.STRING:
        raise Fault(position, f"{function} takes a field and a string")
    words = _WORD.findall(value.value)
    if len(words) > MAX_TOKENS:
        raise Fault(value.position, f"{function} takes at most {MAX_TOKENS} words")
    return words


def _whole(operand: Operand, name: str) -> int:
    if not isinstance(operand, Value) or operand.kind is not Kind.INT:
        raise Fault(operand.position, f"{name} is an integer")
    number: int = operand.value
    return number


def _vector(field: Field, column: SQL) -> SQL:
    vector: SQL = to_tsvector(configuration_of(field), column)  # type: ignore[no-untyped-call]
    return vector


def _query(field: Field, word: str) -> SQL:
    query: SQL = plainto_tsquery(configuration_of(field), literal(word, Text()))  # type: ignore[no-untyped-call]
    return query


def _either(one: SQL, two: SQL) -> SQL:
    joined: SQL = one.op("||", return_type=TSQUERY())(two)
    return joined


def _phrase(field: Field, words: Sequence[str], gaps: Sequence[int]) -> SQL:
    query = _query(field, words[0])
    for word, gap in zip(words[1:], gaps, strict=True):
        distance = literal(gap + 1, Integer())
        query = func.pg_catalog.tsquery_phrase(query, _query(field, word), distance, type_=TSQUERY())
    return query


def _matches(vector: SQL, query: SQL) -> ColumnElement[bool]:
    return vector.op("@@", return_type=Boolean(), is_comparison=True)(query)


def _never(column: SQL) -> ColumnElement[bool]:
    """False, and unknown where there is no text."""
    return case((column.is_not(None), false()))
