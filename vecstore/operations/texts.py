"""Search the texts of a collection for words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from .. import bm25
from ..asking import Asked, check_limit
from ..bm25 import Bm25, Bm25Search, Lengths, Word, Worth
from ..conditions import Selection, checked_partitions
from ..database import Database
from ..errors import InvalidArgument
from ..fusion import Found, Ranking, TextRequest
from ..hits import Hit, Hits, SearchPath
from ..maxscore import Term, best
from ..naming import check_text
from ..pipeline import Rows
from ..reranking import Reading, projected
from ..schema import TEXTS, CollectionSchema, Field
from ..search import place_of
from ..text_search import TextSearch
from ..wire import wire_text
from .corpus import EXACT_PAGES, Frequencies, Measure, command, moment, pages, rows_of
from .explaining import replanned
from .opening import Opened, opened


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
    field = search.field
    named = None if partition_names is None else tuple(checked_partitions(collection.description, partition_names))
    build, values = partial(bm25.words_in, field), {bm25.TEXT: wire_text(query)}
    sought = command(collection, ("words", field.text_search), build, values)
    found, [[size]], [[now]] = rows_of(collection, sought, pages(collection, named), moment(collection))
    words = bm25.words(found)
    if not words:
        return []
    frequencies = Frequencies(collection, search, named, now)
    measure = Measure(collection, field, named, 100.0 * EXACT_PAGES / max(size, EXACT_PAGES))
    counts, lengths = _looked_up(frequencies, measure, words)
    if not any(counts):
        return []
    worth = Worth.of(words, formula, counts, lengths)
    ranked, values = Bm25Search(search, len(words)), worth.parameters()
    what = None if search.projection.beside else ("ranking", field.name, len(words), search.limit, search.projection)

    def find(query: str) -> Rows:
        given = values | bm25.matching(query)
        [rows] = rows_of(collection, command(collection, what, ranked.ranking, given, search.conditions))
        return rows

    if not frequencies.indexed:
        return find(bm25.any_of(words))
    texts = max(lengths.texts, *counts)
    known = zip(words, worth.most, counts, strict=True)
    return best(
        [Term(word.quoted, most, count / texts) for word, most, count in known if count], texts, search.limit, find
    )


def _looked_up(frequencies: Frequencies, measure: Measure, words: Sequence[Word]) -> tuple[list[int], Lengths]:
    """How many texts have each word, and how long texts are: what is not known, in one round trip."""
    counts, lengths = frequencies.known(words), measure.known()
    missing = [word for word in words if word not in counts]
    asked = [frequencies.command(missing)] if missing else []
    asked += measure.commands() if lengths is None else []
    answers = rows_of(measure.collection, *asked) if asked else []
    if missing:
        counts |= frequencies.counted(missing, answers[0])
    return [counts[word] for word in words], lengths or measure.lengths(answers[-2:])
