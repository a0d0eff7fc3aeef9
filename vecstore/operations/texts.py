"""Search the texts of a collection for words."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import ColumnElement, text
from sqlalchemy.sql.expression import ClauseElement

from .. import bm25
from ..asking import Asked, check_limit
from ..bm25 import Bm25, Bm25Search, Lengths, Word, Worth
from ..conditions import Selection, checked_partitions
from ..database import Database
from ..description import CollectionDescription
from ..errors import InvalidArgument
from ..fusion import Found, Ranking, TextRequest
from ..hits import Hit, Hits, SearchPath
from ..maxscore import Term, best
from ..naming import check_text
from ..pipeline import Rows
from ..reranking import Reading, projected
from ..schema import TEXTS, CollectionSchema, Field, Gin
from ..search import place_of
from ..text_search import TextSearch
from ..wire import Command, Template, WireValue, wire_array, wire_text
from .explaining import replanned
from .opening import Opened, opened
from .programs import shape_of

# So much is read in each search for the mean length of the texts. Of more, a sample of that size is, and what it says,
# with the number of texts, is kept for some seconds.
EXACT_PAGES = 1_000

# Of so many words each is counted by itself, by an index; of more, all in one pass over the texts with any of them.
_FEW_WORDS = 4

_PAGES = text("""
    SELECT CAST(coalesce(pg_catalog.sum(pg_catalog.pg_relation_size(c.oid)), 0) AS float8)
        / CAST(pg_catalog.current_setting('block_size') AS float8)
    FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = CAST(CAST(:entities AS text) AS oid) AND c.relname = ANY (CAST(:leaves AS text[]))
""").bindparams(entities=None, leaves=None)


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
    for query in checked_texts(request.query):
        rows = run(collection, search, query)
        ranking = Ranking(None, [(row[0], row[2]) for row in rows], [row[1] for row in rows])
        answers.append(Found(ranking, [search.projection.record(row[3:]) for row in rows], SearchPath.EXACT))
    return answers


def checked_texts(given: object) -> Sequence[str]:
    """A text, or several; raises InvalidArgument."""
    texts = [given] if isinstance(given, str) else given
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
    """In three round trips: what the words are, how many texts have them, and the ranking; by an index mostly twice."""
    field, command = search.field, partial(_command, collection)
    named = None if partition_names is None else tuple(checked_partitions(collection.description, partition_names))
    sought = command(("words", field.text_search), partial(bm25.words_in, field), {bm25.TEXT: wire_text(query)})
    found, [[pages]] = _rows(collection, sought, command(("pages",), lambda: _PAGES, _leaves(collection, named)))
    words = bm25.words(found)
    if not words:
        return []
    ranked = Bm25Search(search, len(words))
    measure = _Measure(collection, field, named, 100.0 * EXACT_PAGES / max(pages, EXACT_PAGES))
    lengths = measure.known()
    indexed = _has_index(collection.description, field)
    counted = _counting(collection, ranked, words, named, indexed=indexed)
    counts, *measured = _rows(collection, counted, *(measure.commands() if lengths is None else ()))
    frequencies = [count for row in counts for count in row]
    if not any(frequencies):
        return []
    lengths = lengths or measure.lengths(measured)
    worth = Worth.of(words, formula, frequencies, lengths)
    values = worth.parameters()
    what = None if search.projection.beside else ("ranking", field.name, len(words), search.limit, search.projection)

    def find(query: str) -> Rows:
        given = values | bm25.matching(query)
        [rows] = _rows(collection, command(what, ranked.ranking, given, search.conditions))
        return rows

    if not indexed:
        return find(bm25.any_of(words))
    texts = max(lengths.texts, *frequencies)
    known = zip(words, worth.most, frequencies, strict=True)
    terms = [Term(word.quoted, most, frequency / texts) for word, most, frequency in known if frequency]
    return best(terms, texts, search.limit, find)


def _counting(
    collection: Opened, ranked: Bm25Search, words: Sequence[Word], named: tuple[str, ...] | None, *, indexed: bool
) -> Command:
    """How many texts have each of the words."""
    name = ranked.search.field.name
    if indexed and len(words) <= _FEW_WORDS:
        build = partial(ranked.frequencies_by_index, named)
        return _command(collection, ("each", name, named), build, bm25.each(words))
    values = bm25.queries(words) | bm25.matching(bm25.any_of(words))
    key = ("frequencies", name, ranked.words, named)
    return _command(collection, key, partial(ranked.frequencies, named), values)


def _has_index(found: CollectionDescription, field: Field) -> bool:
    """Whether GIN has the words of a field."""
    return any(name == field.name and isinstance(spec, Gin) for name, spec in found.ready_indexes)


def _leaves(collection: Opened, partition_names: Sequence[str] | None) -> dict[str, WireValue]:
    """Of _PAGES, the parameters: the tables of these partitions, or of all."""
    found = collection.description
    leaves = [it.table for it in found.partitions if partition_names is None or it.name in partition_names]
    return {"entities": wire_text(str(found.oid)), "leaves": wire_array(leaves)}


@dataclass(frozen=True, slots=True)
class _Measure:
    """How many texts a field has, and how long they are: in these partitions, or in all.

    percent  of the pages that are looked at
    """

    collection: Opened
    field: Field
    partition_names: tuple[str, ...] | None
    percent: float

    @property
    def _key(self) -> Hashable | None:
        """What is found out may be known by; None where it is to be found out in each search."""
        version = self.collection.version
        is_all = self.percent == 100.0  # noqa: PLR2004
        return None if is_all or version is None else (version, "lengths", self.field.name, self.partition_names)

    def known(self) -> Lengths | None:
        found: Lengths | None = None if self._key is None else self.collection.database.estimates.known(self._key)
        return found

    def commands(self) -> list[Command]:
        table, field, named = self.collection.table, self.field, self.partition_names
        entities = partial(bm25.entities, table, named)
        lengths = partial(bm25.lengths, table, field, named, self.percent)
        return [
            _command(self.collection, ("entities", named), entities, {}),
            _command(self.collection, ("lengths", field.name, named, self.percent), lengths, {}),
        ]

    def lengths(self, rows: Sequence[Rows]) -> Lengths:
        """By what the commands found."""
        [[entities]], [[share, mean]] = rows
        found = Lengths(entities * (1.0 if share is None else share), mean or 1.0)
        return found if self._key is None else self.collection.database.estimates.keep(self._key, found)


def _command(
    collection: Opened,
    key: tuple[Hashable, ...] | None,
    build: Callable[[], ClauseElement],
    values: Mapping[str, WireValue],
    conditions: Sequence[ColumnElement[bool]] = (),
) -> Command:
    """A statement with these values in its blanks, compiled once as long as the collection is the same.

    key  equal for the same statement but for its conditions; None for one that is not kept
    """
    session, kept = collection.session, collection.database.statements
    shape = shape_of(collection.database, collection.version, key)
    statement: Template | None = None if shape.key is None or conditions else kept.known(shape.key)
    if statement is None:
        statement = shape.compiled("words", conditions, build, session, list(values))
        if shape.key is not None and not conditions:
            kept.keep(shape.key, statement)
    return statement.filled(values)


def _rows(collection: Opened, *commands: Command) -> list[Rows]:
    """Of each command, in one round trip."""
    return collection.session.rows(collection.session.run(commands))
