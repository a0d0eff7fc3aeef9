"""Search and HybridSearch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from pymilvus.grpc_gen import milvus_pb2

from ..collection import Collection
from ..description import CollectionDescription
from ..fusion import AnnRequest, TextRequest, Weighted
from ..hits import Hit
from ..schema import Field
from .call import Call
from .connecting import timestamp
from .errors import invalid
from .iterating import page_of
from .parameters import Parameters, planning
from .placeholders import Texts, placed
from .querying import check_readable
from .ranking import ranker_of
from .requests import MAX_WINDOW, Ask, ask_of, decimals_of, group_by, text_field, window
from .results import from_ids, grouped, hits_of, output, zone_of

_RANKS = Weighted(1.0, norm_score=False)

Scope = dict[str, Any]
"""Where is searched and what is given back, as every search of the library takes it."""


def search(call: Call, request: milvus_pb2.SearchRequest) -> milvus_pb2.SearchResults:
    """What is near to each vector, or to the vectors of entities; a page of an iterator where one asks for it."""
    return call.answered(request.collection_name, partial(_found, call, request))


def _found(
    call: Call, request: milvus_pb2.SearchRequest, description: CollectionDescription
) -> milvus_pb2.SearchResults:
    check_readable(description, request.partition_names)
    given = Parameters(request.search_params)
    ask = ask_of(description, request, given)
    wanted = output(description.schema, request.output_fields, key=False, zone=zone_of(given.text("timezone")))
    scope = _scope(request, wanted.asked, ask.group_by)
    collection = call.collection(request.collection_name)
    reached = None
    answers: Sequence[Sequence[Hit]]
    with planning(request.dsl):
        if given.flag("search_iter_v2"):
            hits, reached = page_of(collection, _looked_for(request), ask, scope, given)
            answers = [hits]
        else:
            answers = _answers(collection, request, ask, scope)
    data = hits_of(wanted, answers, decimals=ask.decimals, grouped_by=ask.group_by)
    if reached is not None:
        data.search_iterator_v2_results.CopyFrom(reached)
    return milvus_pb2.SearchResults(results=data, collection_name=request.collection_name, session_ts=timestamp())


def _answers(
    collection: Collection, request: milvus_pb2.SearchRequest, ask: Ask, scope: Scope
) -> Sequence[Sequence[Hit]]:
    looked_for = _looked_for(request)
    if isinstance(looked_for, Texts):
        part = TextRequest(text_field(ask.field).name, looked_for.texts, ask.limit + ask.offset, **ask.selection)
        return collection.hybrid_search([part], _RANKS, ask.limit, offset=ask.offset, **scope)
    return collection.search(
        **looked_for,
        limit=ask.limit,
        offset=ask.offset,
        field=ask.field.name,
        metric=ask.metric,
        group_by=None if ask.group_by is None else ask.group_by.name,
        group_size=ask.group_size,
        strict_group_size=ask.strict_group_size,
        order_by=ask.order_by or None,
        **ask.selection,
        **ask.options,
        **scope,
    )


def _looked_for(request: milvus_pb2.SearchRequest) -> Texts | dict[str, Any]:
    """Texts; or vectors, or the ids of entities whose vectors are meant, as the library takes them."""
    which = request.WhichOneof("search_input")
    if which is None:
        raise invalid("a search needs query vectors or ids")
    if which == "ids":
        return {"ids": from_ids(request.ids)}
    found = placed(request.placeholder_group)
    return found if isinstance(found, Texts) else {"vectors": found}


def _scope(request: Any, asked: Sequence[str] | None, grouped_by: Field | None) -> Scope:
    """With the values that tell groups from each other."""
    names = list(asked or ())
    if grouped_by is not None and grouped_by.name not in names:
        names.append(grouped_by.name)
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
    limit, offset = window(given, "limit")
    grouped_by = group_by(description, given)
    asks = [(part, ask_of(description, part, Parameters(part.search_params))) for part in request.requests]
    wanted = output(description.schema, request.output_fields, key=False, zone=zone_of(given.text("timezone")))
    with planning(" / ".join(part.dsl for part in request.requests)):
        answers: Sequence[Sequence[Hit]] = call.collection(request.collection_name).hybrid_search(
            [_part(part, ask) for part, ask in asks],
            ranker_of(request, given),
            limit if grouped_by is None else MAX_WINDOW,
            offset=offset if grouped_by is None else 0,
            **_scope(request, wanted.asked, grouped_by),
        )
    if grouped_by is not None:
        size = given.integer("group_size") or 1
        answers = [grouped(hits, grouped_by.name, size=size, limit=limit, offset=offset) for hits in answers]
    data = hits_of(wanted, answers, decimals=decimals_of(given), grouped_by=grouped_by)
    return milvus_pb2.SearchResults(results=data, collection_name=request.collection_name, session_ts=timestamp())


def _part(request: milvus_pb2.SearchRequest, ask: Ask) -> AnnRequest | TextRequest:
    looked_for = _looked_for(request)
    if isinstance(looked_for, Texts):
        return TextRequest(text_field(ask.field).name, looked_for.texts, ask.limit, **ask.selection)
    if "ids" in looked_for:
        raise invalid("a part of a hybrid search needs query vectors: it cannot be given ids")
    return AnnRequest(
        looked_for["vectors"], ask.field.name, ask.limit, metric=ask.metric, **ask.selection, **ask.options
    )


CALLS = {"HybridSearch": hybrid_search, "Search": search}
