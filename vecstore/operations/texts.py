"""Search the texts of a collection for words."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from sqlalchemy import ColumnElement, text
from sqlalchemy.sql.expression import ClauseElement

from .. import bm25
from ..asking import Asked, check_limit
from ..bm25 import Bm25, Bm25Search, Lengths
from ..conditions import Selection, checked_partitions
from ..database import Database
from ..errors import InvalidArgument
from ..fusion import Found, Ranking, TextRequest
from ..hits import Hit, Hits, SearchPath
from ..naming import check_text
from ..pipeline import Rows
from ..reranking import Reading, projected
from ..schema import TEXTS, CollectionSchema, Field
from ..search import place_of
from ..text_search import TextSearch
from ..wire import Template, WireValue, wire_text
from .explaining import replanned
from .opening import Opened, opened
from .programs import shape_of

# So much is read in each search for the mean length of the texts. Of more, a sample of that size is, and what it says,
# with the number of texts, is kept for some seconds.
EXACT_PAGES = 1_000

_PAGES = text("""
    SELECT CAST(coalesce(pg_catalog.sum(pg_catalog.pg_relation_size(c.oid)), 0) AS float8)
        / CAST(pg_catalog.current_setting('block_size') AS float8)
    FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = CAST(:oid AS oid) AND c.relname = ANY (CAST(:leaves AS text[]))
""")


def search_text(
    database: Database,
    collection: str,
    request: TextRequest,
    *,
    offset: int,
    output_fields: Sequence[str] | None,
    partition_names: Sequence[str] | None,
) -> list[Hits]:
    Asked(Selection(), limit=request.limit, offset=offset)
    page = replace(request, limit=request.limit + offset)

    def attempt() -> list[Hits]:
        with opened(database, collection, "search") as there:
            return [_hits(found, offset) for found in found_texts(there, page, output_fields, partition_names)]

    return replanned(database, attempt)


def _hits(found: Found, offset: int) -> Hits:
    ranking = found.ranking
    rows = zip(ranking.entities, ranking.scores, found.records, strict=True)
    return Hits([Hit(entity[0], score, record) for entity, score, record in rows][offset:], found.path)


def found_texts(
    collection: Opened,
    request: TextRequest,
    output_fields: Iterable[str] | Reading | None,
    partition_names: Sequence[str] | None,
) -> list[Found]:
    """What is found for each text of a request, in a transaction that is under way."""
    schema, table = collection.description.schema, collection.table
    field = text_field(schema, request.field)
    selection = Selection(partition_names, request.where, request.filter, request.filter_params)
    search = TextSearch(
        table=table,
        field=field,
        key=schema.primary_key.name,
        place=place_of(table, schema.primary_key.name).key,
        limit=check_limit(request.limit),
        projection=projected(collection.description, table, output_fields),
        conditions=selection.conditions(collection.description, table),
    )
    formula = Bm25(request.k1, request.b)
    run = partial(_by_bm25, formula=formula, partition_names=partition_names) if field.bm25 else _by_rank
    answers = []
    for query in _texts(request.query):
        rows = run(collection, search, query)
        ranking = Ranking(None, [(row[0], row[2]) for row in rows], [row[1] for row in rows])
        answers.append(Found(ranking, [search.projection.record(row[3:]) for row in rows], SearchPath.EXACT))
    return answers


def _texts(query: object) -> Sequence[str]:
    texts = [query] if isinstance(query, str) else query
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise InvalidArgument("a text search takes a text, or a list of them")
    for it in texts:
        check_text(it, "the text to look for", InvalidArgument)
    return texts


def text_field(schema: CollectionSchema, name: str | None) -> Field:
    """The field of this name, or the only one that is ranked by BM25; raises FieldNotFound or InvalidArgument."""
    if name is None:
        ranked = [field for field in schema.fields if field.bm25]
        if len(ranked) != 1:
            names = ", ".join(field.name for field in ranked) or "none"
            raise InvalidArgument(f"say which field is searched, field=...; fields with bm25: {names}")
        return ranked[0]
    field = schema.field(name)
    if field.data_type not in TEXTS:
        raise InvalidArgument(f"a text search needs a field of text, and field {field.name!r} is {field.data_type}")
    return field


def _by_rank(collection: Opened, search: TextSearch, query: str) -> Rows:
    statement = search.statement(query)
    return [] if statement is None else collection.fetch(statement)


def _by_bm25(
    collection: Opened, search: TextSearch, query: str, *, formula: Bm25, partition_names: Sequence[str] | None
) -> Rows:
    field, text = search.field, {bm25.TEXT: wire_text(query)}
    words = bm25.words(_fetch(collection, ("words", field.text_search), partial(bm25.words_in, field), text))
    if not words:
        return []
    ranked, sought = Bm25Search(search, len(words)), bm25.queries(words)
    named = None if partition_names is None else checked_partitions(collection.description, partition_names)
    where = (field.name, len(words), tuple(named or ()))
    [frequencies] = _fetch(collection, ("frequencies", *where), partial(ranked.frequencies, named), sought)
    if not any(frequencies):
        return []
    values = sought | bm25.weights(words, formula, frequencies, _lengths(collection, field, named))
    what = None if search.projection.beside else ("ranking", field.name, len(words), search.limit, search.projection)
    return _fetch(collection, what, ranked.ranking, values, search.conditions)


def _fetch(
    collection: Opened,
    key: tuple[Hashable, ...] | None,
    build: Callable[[], ClauseElement],
    values: Mapping[str, WireValue],
    conditions: Sequence[ColumnElement[bool]] = (),
) -> Rows:
    """The rows of a statement with these values in its blanks, compiled once as long as the collection is the same.

    key  equal for the same statement but for its conditions; None for one that is not kept
    """
    session, kept = collection.session, collection.database.statements
    shape = shape_of(collection.database, collection.version, key)
    statement: Template | None = None if shape.key is None or conditions else kept.known(shape.key)
    if statement is None:
        statement = shape.compiled("words", conditions, build, session, list(values))
        if shape.key is not None and not conditions:
            kept.keep(shape.key, statement)
    [rows] = session.rows(session.run([statement.filled(values)]))
    return rows


def _lengths(collection: Opened, field: Field, partition_names: Sequence[str] | None) -> Lengths:
    """Of the texts in these partitions, or in all: counted as long as that is quick, or from a sample."""
    description = collection.description
    leaves = [it.table for it in description.partitions if partition_names is None or it.name in partition_names]
    statement = _PAGES.bindparams(oid=description.oid, leaves=leaves)
    pages = collection.connection.execute(statement).scalar_one()

    def find(percent: float) -> Lengths:
        table, searched = collection.table, tuple(partition_names or ())
        [[entities]] = _fetch(collection, ("entities", searched), partial(bm25.entities, table, partition_names), {})
        build = partial(bm25.lengths, table, field, partition_names, percent)
        [[share, mean]] = _fetch(collection, ("lengths", field.name, searched, percent), build, {})
        return Lengths(entities * (1.0 if share is None else share), mean or 1.0)

    percent = 100.0 * EXACT_PAGES / max(pages, EXACT_PAGES)
    if percent == 100.0 or collection.version is None:  # noqa: PLR2004
        return find(percent)
    key = (collection.version, "lengths", field.name, tuple(partition_names or ()))
    return collection.database.estimates.get(key, lambda: find(percent))
