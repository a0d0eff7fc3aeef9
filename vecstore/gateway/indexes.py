"""Indexes: Milvus's kinds as those of PostgreSQL and pgvector; what was asked is kept, and shown again.

A vector index of PostgreSQL is HNSW or IVFFlat. Where there can be none (FLAT, sparse vectors, more dimensions than
pgvector indexes) the search is exact, and what was asked is kept as a property of the collection; beside an index of
PostgreSQL it is kept with that index.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pymilvus.grpc_gen import milvus_pb2

from ..description import CollectionDescription, IndexState
from ..errors import IndexExists, IndexNotFound
from ..naming import DYNAMIC_FIELD, index_name
from ..rebuilding import rebuild_seconds
from ..schema import (
    MAX_INDEXED_DIM,
    Btree,
    DataType,
    Field,
    Gin,
    Hnsw,
    IndexSpec,
    IvfFlat,
    Metric,
    metrics_of,
)
from . import state
from .asked import Asked, Wanted, asked_indexes, forgotten_with_index, formula, inner, with_collection, with_index
from .builds import Standing, begin, standings
from .call import Call, number_of
from .errors import Fault, MilvusError, invalid
from .functions import Function, function_of
from .schema import messages, pairs

_HNSW = frozenset(
    {"", "AUTOINDEX", "HNSW", "HNSW_SQ", "HNSW_PQ", "HNSW_PRQ", "DISKANN", "AISAQ", "SCANN", "GPU_CAGRA", "FAISS"}
)
_IVF = frozenset(
    {"IVF_FLAT", "IVF_SQ8", "IVF_PQ", "IVF_RABITQ", "BIN_IVF_FLAT", "GPU_IVF_FLAT", "GPU_IVF_PQ", "IVF_FLAT_CC"}
)
_EXACT = frozenset({"FLAT", "BIN_FLAT", "GPU_BRUTE_FORCE"})
_SPARSE = frozenset({"SPARSE_INVERTED_INDEX", "SPARSE_WAND"})
_SCALAR = frozenset({"", "AUTOINDEX", "INVERTED", "STL_SORT", "SORT", "TRIE", "Trie", "BITMAP", "HYBRID"})
_JSON_CASTS = {"BOOL": DataType.BOOL, "DOUBLE": DataType.DOUBLE, "VARCHAR": DataType.VARCHAR}
_WHOLE_CASTS = frozenset({"JSON", *(f"ARRAY_{cast}" for cast in _JSON_CASTS)})  # what a document contains

_MOST_M, _LEAST_M, _MOST_EF, _MOST_LISTS = 100, 2, 1000, 32_768
_BM25 = "BM25"
_ROWS_A_LIST = 10  # fewer, and IVFFlat's clusters are hardly those of the data to come
# Rows, or seconds as estimated: building takes long enough for writers to notice. Clients wait for what is shorter, for
# five times as long where the machine is a slow one.
_ONLINE_FROM, _ONLINE_FROM_SECONDS = 10_000, 1.0


# Create


def create_index(call: Call, request: Any) -> None:
    found, there = standings(call, request.collection_name)
    asked = _request(found, request)
    failed = next((it.index for it in there if it.has_failed and _is_same(it.index, asked)), None)
    if _is_there([it.index for it in there if it.index is not failed], asked):
        return
    spec, target = _spec(call, found, asked)
    collection = call.collection(found.name)
    if spec is None:
        collection.alter(properties=with_collection(asked))
        return
    name = _identifier(found, asked.name) if failed is None or failed.held is None else failed.held
    how = {"field_name": target, "spec": spec, "name": name}
    if failed is None and not _takes_long(found, spec, target, rows=collection.count()):
        _build(call, found, asked, how)
        return
    wanted = replace(asked, wanted=Wanted(time.time_ns(), name))
    if not begin(call, found, wanted, failed, lambda: _build(call, found, wanted, {**how, "online": True})):
        create_index(call, request)


def _build(call: Call, found: CollectionDescription, asked: Asked, how: Mapping[str, Any]) -> None:
    """As the library's create_index() is told how."""
    collection = call.collection(found.name)
    try:
        collection.create_index(**how, properties=with_index(asked))
    except IndexExists:
        there = [it for it in asked_indexes(call.described(found.name)) if it.held is not None]
        if not _is_there(there, asked):
            raise


def _takes_long(found: CollectionDescription, spec: IndexSpec, target: str, *, rows: int) -> bool:
    """Whether writers are not to wait for a build, nor clients."""
    if rows >= _ONLINE_FROM or any(index.state is IndexState.INVALID for index in found.indexes):
        return True
    seconds = rebuild_seconds(spec, found.schema.by_name.get(target), rows, size=0, memory=1)
    return seconds is not None and seconds >= _ONLINE_FROM_SECONDS


def function_index(
    found: CollectionDescription, function: Function, name: str, params: Mapping[str, str]
) -> dict[str, Any]:
    """The index on what a function makes, as the library's create_index() takes it; raises MilvusError."""
    asked = _of_function(name, function, params)
    _check_bm25(asked.told)
    identifier = _identifier(found, asked.name)
    return {"field_name": function.input, "spec": Gin(), "name": identifier, "properties": with_index(asked)}


def _request(found: CollectionDescription, request: Any) -> Asked:
    params = {name: value for name, value in pairs(request.extra_params).items() if value}
    field = request.field_name
    function = function_of(found.schema, field)
    if function is not None:
        return _of_function(request.index_name, function, params)
    if field not in found.schema.by_name and not (found.schema.dynamic and "json_path" in {**params, **inner(params)}):
        raise invalid(f"cannot create index on non-exist field: {field}")
    params |= _untold(found, field, {**params, **inner(params)})
    unnamed = Asked("", field, params, None)
    return Asked(request.index_name or f"{field}{unnamed.path.removeprefix(field)}", field, params, None)


def _of_function(name: str, function: Function, params: Mapping[str, str]) -> Asked:
    told = {**params, **inner(params)}
    usual = {"index_type": "AUTOINDEX", "metric_type": _BM25}
    given = {**params, **{kind: value for kind, value in usual.items() if not told.get(kind)}}
    return Asked(name or function.output, function.output, given, None)


def _untold(found: CollectionDescription, field: str, told: Mapping[str, str]) -> Mapping[str, str]:
    """What is taken where nothing is asked for, and shown: clients, and we, tell a vector index by its metric."""
    metrics = metrics_of(found.schema.by_name[field].data_type) if field in found.schema.by_name else ()
    usual = {"index_type": "AUTOINDEX", "metric_type": next(iter(metrics), "")}
    return {name: value for name, value in usual.items() if value and not told.get(name)}


def _is_same(other: Asked, asked: Asked) -> bool:
    return (other.name, other.field, other.told) == (asked.name, asked.field, asked.told)


def _is_there(there: Iterable[Asked], asked: Asked) -> bool:
    """The same index again is no error; another one on the same field, or of the same name, is."""
    for other in there:
        if other.name == asked.name:
            if _is_same(other, asked):
                return True
            raise invalid("CreateIndex failed: at most one distinct index is allowed per field")
        if (other.field, other.path) == (asked.field, asked.path):
            raise invalid("CreateIndex failed: creating multiple indexes on same field is not supported")
    return False


def _identifier(found: CollectionDescription, name: str) -> str:
    """The index's name in PostgreSQL: the client's where that is one and free."""
    is_free = name.isascii() and name.isidentifier() and len(name) <= 63 and name not in found.relations  # noqa: PLR2004
    return name if is_free else index_name(name, kind="milvus", taken=found.relations)


def _spec(call: Call, found: CollectionDescription, asked: Asked) -> tuple[IndexSpec | None, str]:
    """How PostgreSQL is to index it, None for not at all; and what: a field, or a path."""
    field, told = found.schema.by_name.get(asked.field), asked.told
    function = function_of(found.schema, asked.field)
    if function is not None:
        _check_bm25(told)
        return Gin(), function.input
    if field is not None and field.data_type.is_vector:
        return _vector_spec(call, found, field, told), field.name
    index_type = told.get("index_type", "")
    if index_type not in _SCALAR:
        if index_type in _HNSW | _IVF | _EXACT | _SPARSE:
            kind = "JSON" if field is None else field.data_type
            raise invalid(f"index type {index_type} is for vectors, field {asked.field} is {kind}")
        raise invalid(f"invalid index type: {index_type}")
    if field is None or field.data_type is DataType.JSON:
        return _json_spec(found, asked, told)
    return (Gin() if field.data_type is DataType.ARRAY else Btree()), field.name


def _check_bm25(told: Mapping[str, str]) -> None:
    if told["index_type"].upper() not in _SPARSE | {"AUTOINDEX"}:
        raise invalid(f"data type {DataType.SPARSE_FLOAT_VECTOR} can't build with this index {told['index_type']}")
    if told["metric_type"].upper() != _BM25:
        raise invalid("index metric type of BM25 function output field must be BM25, got " + told["metric_type"])
    formula(told)


def _json_spec(found: CollectionDescription, asked: Asked, told: Mapping[str, str]) -> tuple[IndexSpec, str]:
    cast = told.get("json_cast_type", "").upper()
    if not asked.path or cast in _WHOLE_CASTS:
        return Gin(), asked.field if asked.field in found.schema.by_name else DYNAMIC_FIELD
    if cast not in _JSON_CASTS:
        known = ", ".join([*_JSON_CASTS, *sorted(_WHOLE_CASTS)])
        raise invalid(f"json_cast_type {cast or 'missing'}: vecstore indexes a path as one of {known}")
    path = asked.path if asked.path.startswith(asked.field) else f"{asked.field}[{json.dumps(asked.path)}]"
    return Btree(cast=_JSON_CASTS[cast]), path.removeprefix(DYNAMIC_FIELD) if path == DYNAMIC_FIELD else path


def _vector_spec(call: Call, found: CollectionDescription, field: Field, told: Mapping[str, str]) -> IndexSpec | None:
    index_type = told.get("index_type", "").upper()
    metric = _metric(field, told)
    if index_type not in _HNSW | _IVF | _EXACT | _SPARSE:
        raise invalid(f"invalid index type: {index_type}")
    is_sparse = field.data_type is DataType.SPARSE_FLOAT_VECTOR
    if (index_type in _SPARSE) > is_sparse:
        raise invalid(f"data type {field.data_type} can't build with this index {index_type}")
    most = MAX_INDEXED_DIM[field.data_type]
    if index_type in _EXACT or is_sparse or (field.dim or 0) > most:
        return None
    m = min(max(_number(told, "M", 16), _LEAST_M), _MOST_M)
    graph = Hnsw(metric, m=m, ef_construction=min(max(_number(told, "efConstruction", 64), 2 * m), _MOST_EF))
    lists = min(max(_number(told, "nlist", 128), 1), _MOST_LISTS)
    if index_type not in _IVF or metric is Metric.JACCARD:
        return graph
    has_rows = call.collection(found.name).count() >= _ROWS_A_LIST * lists
    return IvfFlat(metric, lists=lists) if has_rows else graph


def _metric(field: Field, told: Mapping[str, str]) -> Metric:
    known = metrics_of(field.data_type)
    asked = told.get("metric_type", "").upper() or known[0]
    if asked == _BM25:
        raise invalid("only BM25 Function output field support BM25 metric type")
    if asked not in known:
        raise invalid(
            f"field {field.name}: metric type {asked} not found or not supported, supported: [{' '.join(known)}]"
        )
    return Metric(asked)


def _number(told: Mapping[str, str], name: str, usual: int) -> int:
    try:
        return int(told.get(name, usual))
    except ValueError:
        raise invalid(f"param {name!r} of an index should be an integer, got {told[name]!r:.40}") from None


# Look


def _chosen(found: CollectionDescription, there: Iterable[Standing], request: Any) -> list[Standing]:
    """The indexes that a request names, or is about; raises MilvusError where there is none."""
    chosen = [
        it
        for it in there
        if request.index_name in {"", it.index.name} and getattr(request, "field_name", "") in {"", it.index.field}
    ]
    if not chosen and request.index_name:
        raise MilvusError(Fault.INDEX_NOT_FOUND, indexName=request.index_name)
    if not chosen:
        raise MilvusError(Fault.INDEX_NOT_FOUND, collection=found.name)
    return chosen


def describe_index(call: Call, request: Any) -> Any:
    return milvus_pb2.DescribeIndexResponse(index_descriptions=_descriptions(call, request))


def get_index_statistics(call: Call, request: Any) -> Any:
    return milvus_pb2.GetIndexStatisticsResponse(index_descriptions=_descriptions(call, request))


def _descriptions(call: Call, request: Any) -> list[Any]:
    found, there = standings(call, request.collection_name)
    chosen = _chosen(found, there, request)
    rows = call.collection(found.name).count()
    return [_description(found, it, rows) for it in chosen]


def _description(found: CollectionDescription, standing: Standing, rows: int) -> Any:
    index, done = standing.index, int(rows * standing.done)
    return milvus_pb2.IndexDescription(
        index_name=index.name,
        indexID=number_of(str(found.oid), index.name),
        params=messages(index.params),
        field_name=index.field,
        indexed_rows=done,
        total_rows=rows,
        pending_index_rows=rows - done,
        state=standing.state,
        index_state_fail_reason=standing.reason,
    )


def get_index_state(call: Call, request: Any) -> Any:
    first = _chosen(*standings(call, request.collection_name), request)[0]
    return milvus_pb2.GetIndexStateResponse(state=first.state, fail_reason=first.reason)


def get_index_build_progress(call: Call, request: Any) -> Any:
    found = _descriptions(call, request)[0]
    return milvus_pb2.GetIndexBuildProgressResponse(indexed_rows=found.indexed_rows, total_rows=found.total_rows)


# Alter, drop


_ALTERABLE = frozenset({"mmap.enabled", "indexoffsetcache.enabled", "warmup"})


def alter_index(call: Call, request: Any) -> None:
    """What is kept of an index changes; no parameter that there is in Milvus to alter changes it in PostgreSQL."""
    found, there = standings(call, request.collection_name)
    for name in [*pairs(request.extra_params), *request.delete_keys]:
        if name not in _ALTERABLE:
            raise invalid(f"{name:.80} is not a configable index property")
    index = _chosen(found, there, request)[0].index
    if not index.is_built:
        raise invalid(f"index {index.name} is not built: what it has is altered when it is")
    kept = {name: value for name, value in index.params.items() if name not in request.delete_keys}
    altered = replace(index, params={**kept, **pairs(request.extra_params)})
    collection = call.collection(found.name)
    if index.held is None:
        collection.alter(properties=with_collection(altered))
        return
    collection.index(index.held).alter_properties(with_index(altered))


def drop_index(call: Call, request: Any) -> None:
    """Of one that is not there, Milvus says nothing; without a name it is the only one."""
    found = call.described(request.collection_name)
    chosen = [it for it in asked_indexes(found) if request.index_name in {"", it.name}]
    if not chosen:
        return
    if len(chosen) > 1:
        raise MilvusError(Fault.INDEX_DUPLICATES, indexName=request.index_name)
    index = chosen[0]
    if index.is_of_vectors and state.holds_back_drops(found):
        raise invalid(f"vector index cannot be dropped on loaded collection: {found.oid}")
    collection = call.collection(found.name)
    forgotten = forgotten_with_index(index)
    if forgotten:
        collection.alter(delete_properties=forgotten)
    # What waits for its turn looks then whether it is still wanted; what is being built is built no further.
    if index.place is None or (index.held is None and collection.index_build(index.place) is None):
        return
    try:
        collection.drop_index(index.place)
    except IndexNotFound:
        return


CALLS = {
    "AlterIndex": alter_index,
    "CreateIndex": create_index,
    "DescribeIndex": describe_index,
    "DropIndex": drop_index,
    "GetIndexBuildProgress": get_index_build_progress,
    "GetIndexState": get_index_state,
    "GetIndexStatistics": get_index_statistics,
}
