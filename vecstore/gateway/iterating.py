"""The pages of a client's search iterator.

The iterator remembers nothing but a number of single precision that we gave it, `last_bound`, and gives it back: the
next page begins with scores that are no nearer. So a page ends where such a number lies between its last score and the
next: it has what was asked for and, where scores are equal, what is equal to its last. No entity comes twice, none is
left out, and no state is kept: any process may serve the next page.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from typing import Any

from pymilvus.grpc_gen import schema_pb2

from ..collection import Collection
from ..hits import Hit
from .errors import invalid
from .parameters import Parameters
from .placeholders import Texts
from .requests import MAX_WINDOW, Ask, beyond, is_farther


def page_of(
    collection: Collection,
    looked_for: Texts | Mapping[str, Any],
    ask: Ask,
    scope: Mapping[str, Any],
    given: Parameters,
) -> tuple[list[Hit], schema_pb2.SearchIteratorV2Results]:
    """A page, and what the client needs for the next one; raises MilvusError for what cannot be gone through."""
    if isinstance(looked_for, Texts) or ask.group_by or ask.order_by or ask.offset:
        raise invalid("an iterator goes through vectors by their scores: without texts, groups, an order or an offset")
    size = given.integer("search_iter_batch_size") or ask.limit
    if not 1 <= size <= MAX_WINDOW:
        raise invalid(f"batch size [{size}] is invalid, it should be in range [1, {MAX_WINDOW}]")
    bound = given.number("search_iter_last_bound")
    options = dict(ask.options) if bound is None else {**ask.options, "range_filter": bound}
    hits = _read(collection, size, ask, {**looked_for, **ask.selection, **options, **scope})
    token = given.text("search_iter_id") or uuid.uuid4().hex
    reached = beyond(hits[-1].distance, ask.metric) if hits else (bound or 0.0)
    if not math.isfinite(reached):
        raise invalid("scores beyond single precision cannot be iterated over")
    return hits, schema_pb2.SearchIteratorV2Results(token=token, last_bound=reached)


def _read(collection: Collection, size: int, ask: Ask, search: Mapping[str, Any]) -> list[Hit]:
    """As many hits as asked for, and what is not beyond the last of them."""
    hits: list[Hit] = []
    pages = collection.search_iterator(
        **search, batch_size=min(size + 1, MAX_WINDOW), field=ask.field.name, metric=ask.metric
    )
    for page in pages:
        hits.extend(page)
        if len(hits) > size:
            bound = beyond(hits[size - 1].distance, ask.metric)
            kept = [hit for hit in hits if is_farther(bound, hit.distance, ask.metric)]
            if len(kept) < len(hits):
                return kept
    return hits
