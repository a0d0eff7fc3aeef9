"""Indexes: Milvus's kinds as those of PostgreSQL and pgvector; what was asked is kept, and shown again.

A vector index of PostgreSQL is HNSW or IVFFlat. Where there can be none (FLAT, sparse vectors, more dimensions than
pgvector indexes) the search is exact, and what was asked is kept as a property of the collection; beside an index of
PostgreSQL it is kept with that index.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from ..collection import Collection
from ..description import CollectionDescription, IndexState
from ..errors import IndexExists, IndexNotFound
from ..naming import DYNAMIC_FIELD, index_name
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
from .asked import Asked, asked_indexes, forgotten_with_index, formula, inner, with_collection, with_index
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
_ONLINE_FROM = 10_000  # rows; building takes long enough for writers to notice


# Create


def create_index(call: Call, request: Any) -> None:
    found = call.described(request.collection_name)
    asked = _request(found, request)
    collection = call.collection(found.name)
    there = _there(found, asked)
    if there is not None and not _was_left_unfinished(collection, there):
        return
    spec, target = _spec(call, found, asked)
    if spec is None:
        collection.alter(properties=with_collection(asked))
        return
    name = _identifier(found, asked.name) if there is None else there.held
    online = there is not None or collection.count() >= _ONLINE_FROM
    try:
        collection.create_index(target, spec, name=name, online=online, properties=with_index(asked))
    except IndexExists:
        if _there(call.described(found.name), asked) is None:
            raise


def _was_left_unfinished(collection: Collection, index: Asked) -> bool:
    """Whether its build was interrupted: nobody goes on with it, and clients would wait for it without end."""
    if index.state is IndexState.READY:
        return False
    return any(it.name == index.held and it.state == IndexState.INVALID for it in collection.overview().indexes)


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


def _there(found: CollectionDescription, asked: Asked) -> Asked | None:
    """The same index again, which is no error; another one on the same field, or of the same name, is."""
    for other in asked_indexes(found):
        if other.name == asked.name:
            if (other.field, other.told) == (asked.field, asked.told):
                return other
            raise invalid("CreateIndex failed: at most one distinct index is allowed per field")
        if (other.field, other.path) == (asked.field, asked.path):
            raise invalid("CreateIndex failed: creating multiple indexes on same field is not supported")
    return None


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


def _chosen(found: CollectionDescription, request: Any) -> list[Asked]:
    """The indexes that a request names, or is about; raises MilvusError where there is none."""
    chosen = [
        it
        for it in asked_indexes(found)
        if request.index_name in {"", it.name} and getattr(request, "field_name", "") in {"", it.field}
    ]
    if not chosen and request.index_name:
        raise MilvusError(Fault.INDEX_NOT_FOUND, indexName=request.index_name)
    if not chosen:
        raise MilvusError(Fault.INDEX_NOT_FOUND, collection=found.name)
    return chosen


_STATES = {
    IndexState.READY: common_pb2.IndexState.Finished,
    IndexState.INVALID: common_pb2.IndexState.InProgress,
}


def describe_index(call: Call, request: Any) -> Any:
    return milvus_pb2.DescribeIndexResponse(index_descriptions=_descriptions(call, request))


def get_index_statistics(call: Call, request: Any) -> Any:
    return milvus_pb2.GetIndexStatisticsResponse(index_descriptions=_descriptions(call, request))


def _descriptions(call: Call, request: Any) -> list[Any]:
    found = call.described(request.collection_name)
    chosen = _chosen(found, request)
    rows = call.collection(found.name).count()
    return [
        milvus_pb2.IndexDescription(
            index_name=it.name,
            indexID=number_of(str(found.oid), it.name),
            params=messages(it.params),
            field_name=it.field,
            indexed_rows=rows if it.state is IndexState.READY else 0,
            total_rows=rows,
            pending_index_rows=0 if it.state is IndexState.READY else rows,
            state=_STATES[it.state],
        )
        for it in chosen
    ]


def get_index_state(call: Call, request: Any) -> Any:
    chosen = _chosen(call.described(request.collection_name), request)
    return milvus_pb2.GetIndexStateResponse(state=_STATES[chosen[0].state])


def get_index_build_progress(call: Call, request: Any) -> Any:
    found = _descriptions(call, request)[0]
    return milvus_pb2.GetIndexBuildProgressResponse(indexed_rows=found.indexed_rows, total_rows=found.total_rows)


# Alter, drop


_ALTERABLE = frozenset({"mmap.enabled", "indexoffsetcache.enabled", "warmup"})


def alter_index(call: Call, request: Any) -> None:
    """What is kept of an index changes; no parameter that there is in Milvus to alter changes it in PostgreSQL."""
    found = call.described(request.collection_name)
    for name in [*pairs(request.extra_params), *request.delete_keys]:
        if name not in _ALTERABLE:
            raise invalid(f"{name:.80} is not a configable index property")
    index = _chosen(found, request)[0]
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
    if index.held is None:
        collection.alter(delete_properties=forgotten_with_index(index))
        return
    try:
        collection.drop_index(index.held)
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
