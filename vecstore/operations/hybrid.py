"""Searches that are ranked anew: one by a ranker, or several of one collection, fused into one ranking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..asking import Asked
from ..conditions import Selection
from ..database import Database
from ..errors import InvalidArgument
from ..fusion import AnnRequest, Found, Ranker, Ranking, TextRequest, check_ranker, fused
from ..hits import Hit, Hits, SearchPath
from ..projection import BESIDE, Record
from ..reranking import Boost, Boosts, Decay, Reading, Reranker, reading
from ..search import Entity
from .explaining import replanned
from .opening import Opened, opened
from .searching import Answer, Query, answered, answers
from .texts import found_texts


@dataclass(frozen=True, slots=True)
class Common:
    """What is asked of the whole: of the fused ranking, and of each request alike."""

    limit: int
    offset: int
    output_fields: Iterable[str] | Reading | None
    partition_names: Sequence[str] | None


def ranked_search(database: Database, collection: str, query: Query, asked: Asked, ranker: Reranker) -> list[Hits]:
    """One search; the ranker orders the nearest `limit + offset`, and the page is cut from its order."""
    if not isinstance(ranker, Decay | Boost | Boosts):
        raise InvalidArgument(
            f"the ranker of a search is Decay(...), Boost(...) or Boosts(...), got {ranker!r:.80}; Rrf and Weighted "
            "fuse the requests of hybrid_search()"
        )
    if asked.group_by is not None or asked.order_by is not None:
        raise InvalidArgument("a ranker orders entities by its scores: leave group_by and order_by out")
    common = Common(asked.limit, asked.offset, None, None)
    wider = replace(
        asked, limit=asked.limit + asked.offset, offset=0, output_fields=reading(asked.output_fields, ranker)
    )
    return [_fused([_of_vector(answer)], ranker, common) for answer in answered(database, collection, query, wider)]


def hybrid_search(
    database: Database,
    collection: str,
    requests: Sequence[AnnRequest | TextRequest],
    ranker: Ranker,
    common: Common,
) -> list[Hits]:
    known = isinstance(requests, list | tuple) and all(isinstance(one, AnnRequest | TextRequest) for one in requests)
    if not known or not requests:
        raise InvalidArgument("hybrid_search() takes a list of AnnRequest(...) and TextRequest(...)")
    check_ranker(ranker, len(requests))
    Asked(Selection(), limit=common.limit, offset=common.offset)

    def attempt() -> list[Hits]:
        with opened(database, collection, "search") as found:
            parts = [_found(found, request, common) for request in requests]
        if len({len(part) for part in parts}) > 1:
            counts = ", ".join(str(len(part)) for part in parts)
            raise InvalidArgument(f"the requests of a hybrid search must have as many queries each, got {counts}")
        return [_fused(each, ranker, common) for each in zip(*parts, strict=True)]

    return replanned(database, attempt)


def _fused(parts: Sequence[Found], ranker: Ranker, common: Common) -> Hits:
    records: dict[Entity, Record] = {}
    for part in parts:
        records.update(zip(part.ranking.entities, part.records, strict=True))
    beside = {entity: record.pop(BESIDE, ()) for entity, record in records.items()}
    best = fused([part.ranking for part in parts], ranker, beside)[common.offset : common.offset + common.limit]
    paths = {part.path for part in parts}
    path = paths.pop() if len(paths) == 1 else SearchPath.INDEX_THEN_EXACT
    return Hits([Hit(entity[0], score, records[entity]) for entity, score in best], path)


def _found(collection: Opened, request: AnnRequest | TextRequest, common: Common) -> list[Found]:
    if isinstance(request, TextRequest):
        return found_texts(collection, request, common.output_fields, common.partition_names)
    asked = Asked(
        Selection(common.partition_names, request.where, request.filter, request.filter_params),
        limit=request.limit,
        field=request.field,
        metric=request.metric,
        output_fields=common.output_fields,
        ef=request.ef,
        probes=request.probes,
        exact=request.exact,
        radius=request.radius,
        range_filter=request.range_filter,
    )
    return [_of_vector(answer) for answer in answers(collection, Query(request.vectors), asked)]


def _of_vector(answer: Answer) -> Found:
    hits, request = answer.hits, answer.request
    ranking = Ranking(request.metric, request.entities(answer.rows), [hit.distance for hit in hits])
    return Found(ranking, [hit.fields for hit in hits], answer.path)
