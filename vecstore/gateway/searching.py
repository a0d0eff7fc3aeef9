"""Search and HybridSearch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pymilvus.grpc_gen import milvus_pb2

from ..bm25 import Bm25
from ..collection import Collection
from ..description import CollectionDescription
from ..fusion import AnnRequest, TextRequest, Weighted
from ..hits import Hit, Hits
from ..schema import Field
from .aggregating import Counting, Telling, counting_of
from .call import Call
from .connecting import timestamp
from .errors import invalid
from .highlighting import Highlighting, highlighting_of
from .iterating import page_of
from .parameters import Parameters, planning
from .placeholders import Texts, kind_of, placed
from .querying import check_readable
from .ranking import filters_of, ranker_of
from .requests import MAX_WINDOW, Ask, ask_of, decimals_of, group_by, text_field, window
from .results import Output, found, from_ids, grouped, output, without_vectors, zone_of

_RANKS = Weighted(1.0, norm_score=False)
_LONGEST_REMEMBERED = 4_096

Scope = dict[str, Any]
"""Where is searched and what is given back, as every search of the library takes it."""


@dataclass(frozen=True, slots=True)
class Question:
    """All of a search but what it looks for, as it is understood of a collection that was found to be so.

    expressions  its filter, and those of its ranker, for an error that one of them causes
    counting     how what it finds is put into buckets
    highlighting what is marked in it
    """

    description: CollectionDescription
    given: Parameters
    ask: Ask
    expressions: str
    wanted: Output
    scope: Scope
    counting: Counting | None = None
    highlighting: Highlighting | None = None


def search(call: Call, request: milvus_pb2.SearchRequest) -> milvus_pb2.SearchResults:
    """What is near to each vector, or to the vectors of entities; a page of an iterator where one asks for it."""
    group = request.placeholder_group
    if group:
        request.placeholder_group = b""  # what is left is what one search has in common with the next
    return call.answered(request.collection_name, partial(_found, call, request, group))


def _found(
    call: Call, request: milvus_pb2.SearchRequest, group: bytes, description: CollectionDescription
) -> milvus_pb2.SearchResults:
    question = _question(call, request, description)
    ask, given, scope = question.ask, question.given, question.scope
    collection = call.collection(request.collection_name)
    looked_for = _looked_for(request, ask, group)
    reached = None
    answers: Sequence[Sequence[Hit]]
    with planning(question.expressions):
        if question.counting is not None:
            return _counted(request, question, question.counting, _answers(collection, looked_for, ask, scope))
        if given.flag("search_iter_v2"):
            hits, reached = page_of(collection, looked_for, ask, scope, given)
            answers = [hits]
        else:
            answers = _answers(collection, looked_for, ask, scope)
    results = found(
        request.collection_name,
        question.wanted,
        answers,
        at=timestamp(),
        decimals=ask.decimals,
        grouped_by=ask.group_by,
    )
    if reached is not None:
        results.results.search_iterator_v2_results.CopyFrom(reached)
    if question.highlighting is not None and any(answers):
        marked = question.highlighting.results(collection, looked_for, answers)
        results.results.highlight_results.extend(marked)
    return results


def _question(call: Call, request: milvus_pb2.SearchRequest, description: CollectionDescription) -> Question:
    """As it was understood a moment ago, if the collection is known to be the same; raises MilvusError."""
    key = (call.database, request.SerializeToString(deterministic=True))
    known: Question | None = call.stores.questions.known(key)
    if known is not None and known.description is description:
        return known
    check_readable(description, request.partition_names)
    given = Parameters(request.search_params)
    counting = counting_of(description, request, given)
    ask = ask_of(description, request, given)
    wanted = output(description.schema, request.output_fields, key=False, zone=zone_of(given.text("timezone")))
    if counting is not None:
        ask = replace(ask, group_by=counting.fields, limit=counting.groups, group_size=counting.size)
        wanted = without_vectors(wanted)
    highlighting = highlighting_of(description.schema, request, ask)
    expressions = " / ".join([request.dsl, *filters_of(ask.ranker)])
    sources = [*(() if counting is None else counting.sources), *(() if highlighting is None else highlighting.fields)]
    scope = _scope(request, wanted.asked, ask.group_by, sources)
    made = Question(description, given, ask, expressions, wanted, scope, counting, highlighting)
    return made if len(key[1]) > _LONGEST_REMEMBERED else call.stores.questions.keep(key, made)


def _answers(collection: Collection, looked_for: Texts | dict[str, Any], ask: Ask, scope: Scope) -> Sequence[Hits]:
    if isinstance(looked_for, Texts):
        return _by_text(collection, looked_for, ask, scope)
    return collection.search(
        **looked_for,
        limit=ask.limit,
        offset=ask.offset,
        field=ask.field.name,
        metric=ask.metric,
        group_by=[field.name for field in ask.group_by] if ask.group_by else None,
        group_size=ask.group_size,
        strict_group_size=ask.strict_group_size,
        order_by=ask.order_by or None,
        ranker=ask.ranker,
        **ask.selection,
        **ask.options,
        **scope,
    )


def _by_text(collection: Collection, looked_for: Texts, ask: Ask, scope: Scope) -> Sequence[Hits]:
    """Groups are made of the whole ranking."""
    limit, offset = (MAX_WINDOW, 0) if ask.group_by else (ask.limit, ask.offset)
    if ask.order_by:
        raise invalid("what words find is in the order of its scores: order_by is not supported there")
    part = _text_request(looked_for, ask, limit + offset)
    answers = collection.hybrid_search([part], ask.ranker or _RANKS, limit, offset=offset, **scope)
    if not ask.group_by:
        return answers
    asked = {"size": ask.group_size, "limit": ask.limit, "offset": ask.offset}
    return [Hits(grouped(hits, ask.group_by, **asked), hits.path) for hits in answers]


def _text_request(looked_for: Texts, ask: Ask, limit: int) -> TextRequest:
    formula = ask.bm25 or Bm25()
    name = text_field(ask.field).name
    return TextRequest(name, looked_for.texts, limit, **ask.selection, k1=formula.k1, b=formula.b)


def _counted(
    request: milvus_pb2.SearchRequest, question: Question, counting: Counting, answers: Sequence[Hits]
) -> milvus_pb2.SearchResults:
    telling = Telling(question.description, question.wanted, question.ask.decimals)
    buckets = [counting.facet.over(hits) for hits in answers]
    return telling.answer(request.collection_name, counting, buckets, at=timestamp())


def _looked_for(request: milvus_pb2.SearchRequest, ask: Ask, group: bytes) -> Texts | dict[str, Any]:
    """Texts; or vectors, or the ids of entities whose vectors are meant, as the library takes them."""
    which = request.WhichOneof("search_input")
    if which is None:
        raise invalid("a search needs query vectors or ids")
    is_named = which == "ids"
    found = from_ids(request.ids) if is_named else placed(group)
    if isinstance(found, Texts):
        return found
    if ask.bm25 is not None:
        got = "ids" if is_named else kind_of(group)
        raise invalid(f"please provide varchar/text for BM25 Function based search, got {got}")
    return {"ids" if is_named else "vectors": found}


def _scope(
    request: Any, asked: Sequence[str] | None, grouped_by: Iterable[Field], sources: Iterable[str] = ()
) -> Scope:
    """With the values that tell groups from each other, and those that something is made of."""
    names = list(dict.fromkeys([*(asked or ()), *(field.name for field in grouped_by), *sources]))
    return {"output_fields": names or None, "partition_names": list(request.partition_names) or None}


def hybrid_search(call: Call, request: milvus_pb2.HybridSearchRequest) -> milvus_pb2.SearchResults:
    """Several searches as one ranking; in groups where they are asked for, which are made of the whole ranking."""
    return call.answered(request.collection_name, partial(_fused, call, request))


def _fused(
    call: Call, request: milvus_pb2.HybridSearchRequest, description: CollectionDescription
) -> milvus_pb2.SearchResults:
    check_readable(description, request.partition_names)
    given = Parameters(request.rank_params)
    if request.function_chains:
        raise invalid("function_chains are not supported")
    given.refuse("strict_group_size")  # nobody knows which of the searches is to look on for what a group lacks
    limit, offset = window(given, "limit")
    grouped_by = group_by(description, given)
    asks = [(part, ask_of(description, part, Parameters(part.search_params))) for part in request.requests]
    wanted = output(description.schema, request.output_fields, key=False, zone=zone_of(given.text("timezone")))
    with planning(" / ".join(part.dsl for part in request.requests if part.dsl)):
        answers: Sequence[Sequence[Hit]] = call.collection(request.collection_name).hybrid_search(
            [_part(part, ask) for part, ask in asks],
            ranker_of(description, request, given),
            MAX_WINDOW if grouped_by else limit,
            offset=0 if grouped_by else offset,
            **_scope(request, wanted.asked, grouped_by),
        )
    if grouped_by:
        size = given.integer("group_size") or 1
        answers = [grouped(hits, grouped_by, size=size, limit=limit, offset=offset) for hits in answers]
    return found(
        request.collection_name,
        wanted,
        answers,
        at=timestamp(),
        decimals=decimals_of(given),
        grouped_by=grouped_by,
    )


def _part(request: milvus_pb2.SearchRequest, ask: Ask) -> AnnRequest | TextRequest:
    if ask.ranker is not None:
        raise invalid("a part of a hybrid search is ranked by its scores: function_score is not supported there")
    if request.HasField("search_aggregation"):
        raise invalid("search aggregation is not supported for hybrid search")
    if request.HasField("highlighter"):
        raise invalid("not support hybrid search with highlight now")
    looked_for = _looked_for(request, ask, request.placeholder_group)
    if isinstance(looked_for, Texts):
        return _text_request(looked_for, ask, ask.limit)
    if "ids" in looked_for:
        raise invalid("a part of a hybrid search needs query vectors: it cannot be given ids")
    return AnnRequest(
        looked_for["vectors"], ask.field.name, ask.limit, metric=ask.metric, **ask.selection, **ask.options
    )


CALLS = {"HybridSearch": hybrid_search, "Search": search}
