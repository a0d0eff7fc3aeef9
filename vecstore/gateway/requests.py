"""A SearchRequest in the library's terms. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymilvus.grpc_gen import milvus_pb2

from ..bm25 import Bm25
from ..description import CollectionDescription
from ..ordering import plain_field
from ..reranking import Boosts, Decay
from ..schema import DataType, Field, Metric, metrics_of
from ..scores import LARGER_IS_NEARER
from .asked import bm25_of, metric_of
from .errors import Fault, MilvusError, invalid
from .functions import Function, functions_of
from .parameters import Parameters, templates
from .ranking import reranker_of

MAX_WINDOW = 16_384
_MAX_EF = 1_000
_MAX_PROBES = 32_768
_MAX_DECIMALS = 6
_BM25 = "BM25"
_FAR = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Ask:
    """What one search asks for: a field, a metric, how many; the rest as the library's search() takes it.

    metric    the one that scores are by
    options   ef, probes, radius, range_filter: what hybrid searches take as well
    decimals  to which scores are rounded, -1 for not at all
    ranker    of what is found
    bm25      where what is looked for is what a function makes of `field`
    """

    field: Field
    metric: Metric | None
    limit: int
    offset: int
    filter: str | None
    filter_params: Mapping[str, Any] | None
    options: Mapping[str, Any]
    group_by: tuple[Field, ...]
    group_size: int
    strict_group_size: bool
    order_by: tuple[str, ...]
    decimals: int
    ranker: Decay | Boosts | None
    bm25: Bm25 | None

    @property
    def selection(self) -> Mapping[str, Any]:
        return {"filter": self.filter, "filter_params": self.filter_params}


def ask_of(description: CollectionDescription, request: milvus_pb2.SearchRequest, given: Parameters) -> Ask:
    """Raise MilvusError for what is out of range, or asks for what is not served."""
    _refuse_unserved(request, given)
    field, function = _field(description, given.text("anns_field"))
    metric = _metric(description, field, function, given.text("metric_type"))
    limit, offset = window(given, "topk")
    return Ask(
        field=field,
        metric=metric,
        limit=limit,
        offset=offset,
        filter=request.dsl or None,
        filter_params=templates(request.expr_template_values),
        options=_options(given, metric),
        group_by=group_by(description, given),
        group_size=given.integer("group_size") or 1,
        strict_group_size=given.flag("strict_group_size"),
        order_by=tuple(given.names("order_by_fields")),
        decimals=decimals_of(given),
        ranker=_ranker(description, request, given),
        bm25=None if function is None else bm25_of(description, function.output),
    )


def _refuse_unserved(request: milvus_pb2.SearchRequest, given: Parameters) -> None:
    given.refuse("json_path", "analyzer_name", "time_fields")
    if request.function_chains:
        raise invalid("function_chains are not supported")


def _ranker(
    description: CollectionDescription, request: milvus_pb2.SearchRequest, given: Parameters
) -> Decay | Boosts | None:
    ranker = reranker_of(description, request)
    if ranker is not None and (group_by(description, given) or given.flag("search_iter_v2")):
        raise invalid("don't support use segment scorer with group_by or search_iterator")
    return ranker


def _field(description: CollectionDescription, name: str | None) -> tuple[Field, Function | None]:
    """The field that is searched, and the function whose output was named: then it is the one that this is made of."""
    schema, functions = description.schema, functions_of(description.schema)
    if name is None:
        names = [*(it.name for it in schema.vector_fields), *(it.output for it in functions)]
        if len(names) != 1:
            raise invalid("multiple anns_fields exist, please specify a anns_field in search_params")
        name = names[0]
    made = next((it for it in functions if it.output == name), None)
    source = name if made is None else made.input
    if source not in schema.by_name:
        raise invalid(f"failed to get field schema by name: fieldName({name:.80}) not found")
    return schema.by_name[source], made


def _metric(
    description: CollectionDescription, field: Field, function: Function | None, name: str | None
) -> Metric | None:
    """The metric of the field's index, or the one asked for, which must be the same; None for a field of text."""
    if function is not None and (name or _BM25).upper() != _BM25:
        raise MilvusError(Fault.INVALID_PARAMETER, "metric type not match", expected=_BM25, actual=f"{name:.40}")
    possible = metrics_of(field.data_type)
    if not possible:
        return None
    indexed = metric_of(description, field.name)
    if name is None or name.upper() == _BM25:
        return indexed or possible[0]
    if name.upper() not in (possible if indexed is None else {indexed}):
        expected = indexed or "/".join(possible)
        raise MilvusError(Fault.INVALID_PARAMETER, "metric type not match", expected=expected, actual=f"{name:.40}")
    return Metric(name.upper())


def window(given: Parameters, name: str) -> tuple[int, int]:
    """The limit, an option of this name, and the offset; raises MilvusError where Milvus gives no such page."""
    limit, offset = given.integer(name), given.integer("offset") or 0
    if limit is None:
        raise invalid(f"{name} is missing: a search needs a limit")
    if not 1 <= limit <= MAX_WINDOW:
        raise invalid(f"{name} [{limit}] is invalid, it should be in range [1, {MAX_WINDOW}], but got {limit}")
    if not 0 <= offset <= MAX_WINDOW - limit:
        raise invalid(
            f"offset [{offset}] is invalid, (offset+limit) should be in range [1, {MAX_WINDOW}], "
            f"but got {offset + limit}"
        )
    return limit, offset


def _options(given: Parameters, metric: Metric | None) -> dict[str, Any]:
    """How far an index looks, as far as pgvector goes, and between which scores the answer lies."""
    ef, probes = given.integer("ef"), given.integer("nprobe")
    radius, range_filter = given.number("radius"), given.number("range_filter")
    if metric is None and (radius, range_filter) != (None, None):
        raise invalid("a search for words has no range: leave radius and range_filter out")
    if radius is not None and range_filter is not None and not is_farther(radius, range_filter, metric):
        raise invalid(
            f"metric type ({metric}), range_filter({range_filter}) must be "
            f"{'greater' if metric in LARGER_IS_NEARER else 'less'} than radius({radius})"
        )
    return {
        "ef": None if ef is None else max(1, min(ef, _MAX_EF)),
        "probes": None if probes is None else max(1, min(probes, _MAX_PROBES)),
        "radius": _edge(radius, metric),
        "range_filter": _edge(range_filter, metric),
    }


def _edge(bound: float | None, metric: Metric | None) -> float | None:
    """A bound of scores, half a step of single precision nearer.

    Scores travel in single precision, and iterators of clients make bounds of them: a score that is told as the bound
    is the bound, however it was rounded.
    """
    if bound is None or not abs(bound) < _FAR:
        return bound
    single = np.float32(bound)
    return (float(single) + float(np.nextafter(single, np.float32(_nearest(metric))))) / 2


def beyond(score: float, metric: Metric | None) -> float:
    """The first number of single precision that is farther than a score: what clients can give back exactly."""
    farthest = -_nearest(metric)
    with np.errstate(over="ignore"):
        single = np.float32(score)
    if is_farther(float(single), score, metric):
        return float(single)
    return float(np.nextafter(single, np.float32(farthest)))


def is_farther(score: float, than: float, metric: Metric | None) -> bool:
    return score < than if metric in LARGER_IS_NEARER else score > than


def _nearest(metric: Metric | None) -> float:
    return float("inf") if metric in LARGER_IS_NEARER else float("-inf")


def group_by(description: CollectionDescription, given: Parameters) -> tuple[Field, ...]:
    names = given.names("group_by_fields") or given.names("group_by_field")
    return tuple(plain_field(description.schema, name, "group_by_field") for name in names)


def decimals_of(given: Parameters) -> int:
    decimals = given.integer("round_decimal")
    if decimals is None:
        return -1
    if not -1 <= decimals <= _MAX_DECIMALS:
        raise invalid(f"round_decimal [{decimals}] is invalid, it should be in range [-1, {_MAX_DECIMALS}]")
    return decimals


def text_field(field: Field) -> Field:
    """The field whose text is searched; raises MilvusError where there is none."""
    if field.data_type not in {DataType.VARCHAR, DataType.TEXT}:
        raise invalid(f"field {field.name} is {field.data_type}, and a text is searched for: it is no field of text")
    return field
