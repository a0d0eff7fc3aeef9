"""Full text: text_match and phrase_match by PostgreSQL's text search."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

from sqlalchemy import Boolean, ColumnElement, Integer, Text, and_, case, false, func, literal
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.dialects.postgresql.ext import phraseto_tsquery, plainto_tsquery

from ..errors import InvalidArgument
from ..schema import Field
from ..words import configuration, text_vector
from .errors import Fault, unsupported
from .operands import Kind, Operand, Value
from .values import SQL

MAX_TOKENS = 256
_MAX_SPREAD = 640  # words of all forms of a phrase: 0.2 s to compile
_WORD = re.compile(r"\w+")


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
    vector = text_vector(field, column)
    queries = [_query(field, word) for word in words]
    any_of_them = _matches(vector, _any_of(queries))
    if least == 1:
        return any_of_them
    scores: list[SQL] = [case((_matches(vector, query), 1), else_=0) for query in queries]
    enough = reduce(lambda one, two: one + two, scores) >= literal(least, Integer())
    return and_(any_of_them, case((column.is_not(None), enough)))  # the first is for an index


def phrase_match(
    field: Field, column: SQL, given: Sequence[Operand], options: Mapping[str, Operand], position: int
) -> ColumnElement[bool]:
    """The words one after the other, with at most `slop` other words between them in all.

    A word that the configuration drops ("the") may be any word; with a slop, it is as if it were not there.
    """
    words = _words(given[:1], position, "phrase_match")
    if set(options) - {"slop"} or len(given) > 2 or (options and len(given) > 1):  # noqa: PLR2004 - string, slop
        raise Fault(position, "phrase_match takes a field, a string and a slop")
    slop = _whole(given[1], "slop") if len(given) > 1 else _whole(options["slop"], "slop") if options else 0
    if not 0 <= slop < 2**32:
        raise Fault(position, "slop is from 0 to 4,294,967,295")
    if not words:
        return _never(column)
    vector = text_vector(field, column)
    if not slop:
        whole = phraseto_tsquery(configuration(field), literal(" ".join(words), Text()))  # type: ignore[no-untyped-call]
        return _matches(vector, whole)
    gaps = len(words) - 1
    if gaps and math.comb(slop + gaps, gaps) * len(words) > _MAX_SPREAD:
        raise unsupported(position, f"a slop of {slop} between {len(words)} words")
    return _matches(vector, _any_of([_phrase(field, words, spread) for spread in _spreads(slop, gaps)]))


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


def any_word(field: Field, text: str) -> SQL | None:
    """The text search query that asks for any of the words of a text; None where it has no word."""
    words = dict.fromkeys(_WORD.findall(text))
    if len(words) > MAX_TOKENS:
        raise InvalidArgument(f"a text of {len(words):,} words is too long to look for, at most {MAX_TOKENS}")
    return _any_of([_query(field, word) for word in words]) if words else None


def _query(field: Field, word: str) -> SQL:
    query: SQL = plainto_tsquery(configuration(field), literal(word, Text()))  # type: ignore[no-untyped-call]
    return query


def _any_of(queries: Sequence[SQL]) -> SQL:
    """In halves, for SQLAlchemy's compiler goes down by recursion."""
    if len(queries) == 1:
        return queries[0]
    half = len(queries) // 2
    joined: SQL = _any_of(queries[:half]).op("||", return_type=TSQUERY())(_any_of(queries[half:]))
    return joined


def _spreads(slop: int, gaps: int) -> Iterator[tuple[int, ...]]:
    """The ways to put at most so many words into the gaps."""
    if not gaps:
        yield ()
        return
    for first in range(slop + 1):
        for rest in _spreads(slop - first, gaps - 1):
            yield (first, *rest)


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
