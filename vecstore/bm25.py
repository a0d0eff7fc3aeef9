"""A full-text search ranked by Okapi BM25, as statements. Pure.

    score = sum over the words of the query, each as often as it is there:
            idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / mean length))
    idf   = ln(1 + (N - n + 0.5) / (n + 0.5)), N texts of which n have the word

(Robertson and Zaragoza, 2009, https://doi.org/10.1561/1500000019; the idf that is never negative is Lucene's, and
Milvus's.) All of it stands in the tsvector that is kept of each text, and PostgreSQL's functions of ranks read it out:
ts_rank_cd finds a cover for each place of a single word, so with weights of 1 it is the number of them, tf, in a tenth
of the time that unnest() takes. A tsvector keeps 255 places of a word at the most, which is enough: by then tf makes no
difference. docs/decisions/0030-bm25.md
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    REAL,
    Boolean,
    ColumnElement,
    Double,
    FromClause,
    Integer,
    Select,
    Table,
    Text,
    bindparam,
    case,
    cast,
    func,
    literal,
    select,
    tablesample,
)
from sqlalchemy.dialects.postgresql import ARRAY, TSQUERY

from .conditions import in_partitions
from .errors import InvalidArgument
from .naming import words_column
from .schema import Field
from .text_search import TextSearch
from .wire import WireValue, wire_array, wire_double, wire_text
from .words import words_of

MAX_WORDS = 256
MAX_K1 = 3.0  # Milvus's
_BY_LENGTH = 2  # of ts_rank: the rank is divided by the number of places in the text


@dataclass(frozen=True, slots=True)
class Bm25:
    """k1: how much a word counts that is there again and again, 0 to 3; b: how much long texts are held back, 0 to 1.

    Raises InvalidArgument.
    """

    k1: float = 1.2
    b: float = 0.75

    def __post_init__(self) -> None:
        for name, value, most in (("k1", self.k1, MAX_K1), ("b", self.b, 1.0)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
                raise InvalidArgument(f"BM25: {name} must be from 0 to {most:g}, got {value!r:.40}")


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the query as text search has it, and how many times it is there."""

    lexeme: str
    times: int

    @property
    def quoted(self) -> str:
        """As a tsquery is written: no letter of it means anything."""
        doubled = self.lexeme.replace("\\", "\\\\").replace("'", "''")
        return f"'{doubled}'"


@dataclass(frozen=True, slots=True)
class Lengths:
    """How many texts there are, and how many words they have on average, over 0."""

    texts: float
    mean: float


TEXT = "vecstore_text"
"""The parameter of words_in()."""


def words_in(field: Field) -> Select[Any]:
    """The words of a query, made as those of the texts are: rows of lexeme and number."""
    parts = func.pg_catalog.unnest(words_of(field, bindparam(TEXT, None, Text())))
    found = parts.table_valued("lexeme", "positions", "weights")
    return select(found.c.lexeme, func.pg_catalog.cardinality(found.c.positions)).order_by(found.c.lexeme)


def words(rows: Sequence[Sequence[Any]]) -> list[Word]:
    """Raises InvalidArgument for too many."""
    if len(rows) > MAX_WORDS:
        raise InvalidArgument(f"a text of {len(rows):,} words is too long to look for, at most {MAX_WORDS}")
    return [Word(lexeme, times) for lexeme, times in rows]


def entities(table: Table, partition_names: Sequence[str] | None) -> Select[Any]:
    """How many entities there are, with a text or without."""
    return select(func.count()).select_from(table).where(*_searched(table, partition_names))


def lengths(table: Table, field: Field, partition_names: Sequence[str] | None, percent: float) -> Select[Any]:
    """One row: which part of the entities has a text, and how many words the texts have on average.

    percent  of the pages that are looked at, always the same ones; NULL where nothing stands there
    """
    source: FromClause = table if percent >= 100 else tablesample(table, func.system(percent), seed=literal(0))  # noqa: PLR2004
    kept = source.c[words_column(field.name)]
    share = cast(func.count(kept), Double()) / func.nullif(func.count(), 0)
    return select(share, func.avg(_length(kept))).select_from(source).where(*_searched(source, partition_names))


def _searched(source: FromClause, partition_names: Sequence[str] | None) -> list[ColumnElement[bool]]:
    return [] if partition_names is None else [in_partitions(source, partition_names)]


def snapshot() -> ColumnElement[str]:
    """What a statement sees: where it is the same, rows are the same.

    Another server, and one that came back from a crash, may give the numbers of transactions to others: it has started
    at another time, or its statistics have.
    """
    blank = literal(" ", Text(), literal_execute=True)
    started = func.pg_catalog.pg_postmaster_start_time()
    recovered = func.pg_catalog.pg_stat_get_bgwriter_stat_reset_time()
    now = func.pg_catalog.pg_current_snapshot()
    seen: ColumnElement[str] = func.pg_catalog.concat_ws(blank, started, recovered, now, type_=Text())
    return seen


_MATCH, _EACH, _FLAT, _HELD_BACK = "vecstore_match", "vecstore_each", "vecstore_flat", "vecstore_held_back"


def _word(number: int) -> str:
    return f"vecstore_word{number}"


def _weight(number: int) -> str:
    return f"vecstore_weight{number}"


def any_of(words: Sequence[Word]) -> str:
    """The tsquery that texts match which have any of the words."""
    return " | ".join(word.quoted for word in words)


def matching(query: str) -> dict[str, WireValue]:
    """The parameter that says which texts are looked at."""
    return {_MATCH: wire_text(query)}


def each(words: Sequence[Word]) -> dict[str, WireValue]:
    """The parameter of frequencies_by_index()."""
    return {_EACH: wire_array([word.quoted for word in words])}


def queries(words: Sequence[Word]) -> dict[str, WireValue]:
    """The parameters of frequencies() and the ranking that say which words are counted."""
    return {_word(number): wire_text(word.quoted) for number, word in enumerate(words)}


@dataclass(frozen=True, slots=True)
class Worth:
    """What the words of a query are worth: the formula, with its numbers put in but for those of a text.

    weights    of each word: it adds weight / (1 + (flat + held_back * length) / tf)
    """

    words: Sequence[Word]
    weights: Sequence[float]
    flat: float
    held_back: float

    @classmethod
    def of(cls, words: Sequence[Word], bm25: Bm25, frequencies: Sequence[int], lengths: Lengths) -> Worth:
        weights = [
            word.times * _idf(lengths.texts, frequency) * (bm25.k1 + 1)
            for word, frequency in zip(words, frequencies, strict=True)
        ]
        return cls(words, weights, bm25.k1 * (1 - bm25.b), bm25.k1 * bm25.b / lengths.mean)

    @property
    def most(self) -> list[float]:
        """What each word can add to a score: no text is shorter than a word is often there."""
        return [weight / (1 + self.held_back) for weight in self.weights]

    def parameters(self) -> dict[str, WireValue]:
        """Of the ranking, those that say what is counted and what it is worth."""
        given = {_FLAT: self.flat, _HELD_BACK: self.held_back}
        given |= {_weight(number): weight for number, weight in enumerate(self.weights)}
        return queries(self.words) | {name: wire_double(value) for name, value in given.items()}


@dataclass(frozen=True, slots=True)
class Bm25Search:
    """The entities whose text has some of so many words, best first; NULL has none. The words are parameters."""

    search: TextSearch
    words: int

    @property
    def _kept(self) -> ColumnElement[Any]:
        return self.search.table.c[words_column(self.search.field.name)]

    @property
    def _matches(self) -> ColumnElement[bool]:
        return _has(self._kept, _query(_MATCH))

    def frequencies(self, partition_names: Sequence[str] | None) -> Select[Any]:
        """One row: how many texts have each of the words, in the partitions that are searched, and the snapshot().

        Looks at each text that has any, once.
        """
        table = self.search.table
        counts: list[ColumnElement[Any]] = [
            func.count().filter(_has(self._kept, _once(_word(number)))) for number in range(self.words)
        ]
        return select(*counts, snapshot()).select_from(table).where(self._matches, *_searched(table, partition_names))

    def frequencies_by_index(self, partition_names: Sequence[str] | None) -> Select[Any]:
        """The same, a row for each of any number of words. Looks at a text once for each that it has, by GIN."""
        table = self.search.table
        queries = cast(bindparam(_EACH, None, ARRAY(Text())), ARRAY(TSQUERY()))
        word = func.pg_catalog.unnest(queries).table_valued("query", with_ordinality="number").render_derived("word")
        having = select(func.count()).select_from(table).where(_has(self._kept, word.c.query))
        count = having.where(*_searched(table, partition_names)).correlate(word).scalar_subquery()
        return select(count, snapshot()).select_from(word).order_by(word.c.number)

    def ranking(self) -> Select[Any]:
        """Rows of key, score, place and the projection's columns."""
        search = self.search
        length, places = "vecstore.length", [f"vecstore.tf{number}" for number in range(self.words)]
        counts = [_times(self._kept, number).label(name) for number, name in enumerate(places)]
        columns = search.projection.columns(search.table)
        key = search.table.c[search.key].label("vecstore.id")
        place = search.table.c[search.place].label("vecstore.place")
        # OFFSET 0 keeps what is counted from being counted anew in each place that names it.
        row = (
            select(key, place, _length(self._kept).label(length), *counts, *columns)
            .where(self._matches, *search.conditions)
            .offset(literal(0, literal_execute=True))
            .subquery("counted")
        )
        norm = _number(_FLAT) + _number(_HELD_BACK) * row.c[length]
        parts = [_number(_weight(number)) / (_constant(1) + norm / row.c[name]) for number, name in enumerate(places)]
        score = _sum([func.coalesce(part, _constant(0)) for part in parts]).label("vecstore.score")
        given = [row.c[str(column.key)] for column in columns]
        order = (score.desc(), row.c["vecstore.id"], row.c["vecstore.place"])
        found = select(row.c["vecstore.id"], score, row.c["vecstore.place"], *given).order_by(*order)
        return found.limit(literal(search.limit, literal_execute=True))


def _idf(texts: float, frequency: int) -> float:
    """Texts that are estimated may be fewer than those that have the word."""
    return math.log(1 + (max(texts, frequency) - frequency + 0.5) / (frequency + 0.5))


def _number(name: str) -> ColumnElement[float]:
    return bindparam(name, None, Double())


def _constant(value: float) -> ColumnElement[float]:
    return literal(float(value), Double(), literal_execute=True)


def _sum(parts: Sequence[ColumnElement[float]]) -> ColumnElement[float]:
    """In halves, for SQLAlchemy's compiler goes down by recursion."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return _sum(parts[:half]) + _sum(parts[half:])


def _query(name: str) -> ColumnElement[Any]:
    return cast(bindparam(name, None, Text()), TSQUERY())


def _once(name: str) -> ColumnElement[Any]:
    """A query that is read once: a plan for any query would read it anew for each row."""
    return select(_query(name)).scalar_subquery()


def _has(kept: ColumnElement[Any], query: ColumnElement[Any]) -> ColumnElement[bool]:
    return kept.op("@@", return_type=Boolean(), is_comparison=True)(query)


_EVEN: ColumnElement[Any] = cast(literal("{1,1,1,1}", Text(), literal_execute=True), ARRAY(REAL()))


def _times(kept: ColumnElement[Any], number: int) -> ColumnElement[float]:
    """How often a word is in a text, NULL for not at all: whether it is, is found out in a tenth of the time."""
    query = _once(_word(number))
    times: ColumnElement[float] = cast(func.pg_catalog.ts_rank_cd(_EVEN, kept, query), Double())
    return case((_has(kept, query), times))


# No text has a word that is a blank. A text without two words that are asked for together has the rank 1e-20.
_NOWHERE: ColumnElement[Any] = cast(literal("' ' & '  '", Text(), literal_execute=True), TSQUERY())
_RANK_OF_NOTHING: ColumnElement[Any] = cast(literal("1e-20", Text(), literal_execute=True), REAL())


def _length(kept: ColumnElement[Any]) -> ColumnElement[float]:
    """How many words a text has: what divides its rank, whatever the rank. unnest() takes ten times as long for it."""
    rank = func.pg_catalog.ts_rank(_EVEN, kept, _NOWHERE, literal(_BY_LENGTH, Integer(), literal_execute=True))
    divided = _RANK_OF_NOTHING / func.nullif(rank, cast(literal("0", Text(), literal_execute=True), REAL()))
    length = func.coalesce(func.pg_catalog.round(cast(divided, Double())), 0.0)
    return case((kept.is_not(None), length))
