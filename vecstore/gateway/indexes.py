"""Indexes: Milvus's kinds as those of PostgreSQL and pgvector; what was asked is kept, and shown again.

A vector index of PostgreSQL is HNSW or IVFFlat. Where there can be none (FLAT, sparse vectors, more dimensions than
pgvector indexes) the search is exact, and what was asked is kept as a property of the collection; beside an index of
PostgreSQL it is kept with that index.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from ..bm25 import Bm25
from ..collection import Collection
from ..description import CollectionDescription, IndexDescription, IndexState, OtherIndex
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
from .call import Call, number_of
from .errors import Fault, MilvusError, invalid
from .functions import Function, function_of
from .schema import messages, pairs

_EXACT_PROPERTY = "milvus.index."
_NAME, _FIELD, _PARAMS = "milvus.name", "milvus.field", "milvus.params"

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
_BM25, _USUAL = "BM25", Bm25()
_ROWS_A_LIST = 10  # fewer, and IVFFlat's clusters are hardly those of the data to come
_ONLINE_FROM = 10_000  # rows; building takes long enough for writers to notice


@dataclass(frozen=True, slots=True)
class Asked:
    """An index as a client knows it.

    name    the client's; that in PostgreSQL is `held`, None where there is no index in PostgreSQL
    field   the field's name; of an index on a path, the path is among the parameters
    params  as they were asked, in that order
    """

    name: str
    field: str
    params: Mapping[str, str]
    held: str | None
    state: IndexState = IndexState.READY

    @property
    def told(self) -> dict[str, str]:
        """The parameters, those in the JSON of `params` among them."""
        return {name: value for name, value in self.params.items() if name != "params"} | _inner(self.params)

    @property
    def path(self) -> str:
        """What tells it from others on the same field."""
        return self.told.get("json_path", "")

    @property
    def is_of_vectors(self) -> bool:
        """As clients see it: also on what a function makes."""
        return bool(self.told.get("metric_type"))

    @property
    def metric(self) -> Metric | None:
        """Of vectors that are stored."""
        told = self.told.get("metric_type", "").upper()
        return Metric(told) if told in Metric.__members__ else None


def asked_indexes(found: CollectionDescription) -> list[Asked]:
    """The indexes of a collection, as its clients know them; made by the library or SQL ones, too."""
    return [*_held(found), *_exact(found)]


def bm25_of(found: CollectionDescription, output: str) -> Bm25:
    """How what a function makes is ranked, as its index was asked for."""
    told: Mapping[str, str] = next((it.told for it in asked_indexes(found) if it.field == output), {})
    return _formula(told)


def _formula(told: Mapping[str, str]) -> Bm25:
    given = {}
    for name, usual in (("k1", _USUAL.k1), ("b", _USUAL.b)):
        value = told.get(f"bm25_{name}", usual)
        try:
            given[name] = float(value)
        except ValueError:
            raise invalid(f"param 'bm25_{name}' of an index should be a number, got {value!r:.40}") from None
    return Bm25(**given)


def metric_of(found: CollectionDescription, field_name: str) -> Metric | None:
    """The metric that searches of a vector field go by; None where it has no index."""
    return next((it.metric for it in asked_indexes(found) if it.field == field_name and it.metric), None)


def _held(found: CollectionDescription) -> Iterator[Asked]:
    for index in found.indexes:
        if isinstance(index.spec, OtherIndex):
            continue
        kept = index.properties
        params = _loaded(kept.get(_PARAMS, ""))
        name, field = kept.get(_NAME, index.name), kept.get(_FIELD, "")
        if params is None or not field:
            field, params = _of_library(index)
        yield Asked(name, field, params, index.name, index.state)


def _exact(found: CollectionDescription) -> Iterator[Asked]:
    for key, value in found.schema.properties.items():
        kept = _loaded(value) if key.startswith(_EXACT_PROPERTY) else None
        if kept is not None and (field := kept.get(_FIELD)) in found.schema.by_name:
            params = {name: it for name, it in kept.items() if name != _FIELD}
            yield Asked(key.removeprefix(_EXACT_PROPERTY), str(field), params, None)


def _loaded(kept: str) -> dict[str, str] | None:
    try:
        found = json.loads(kept)
    except ValueError:
        return None
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else None


def _of_library(index: IndexDescription) -> tuple[str, dict[str, str]]:
    """Field and parameters of an index that no client of Milvus has asked for."""
    spec = index.spec
    if isinstance(spec, Hnsw):
        params = {"M": spec.m, "efConstruction": spec.ef_construction}
        return index.field, {"index_type": "HNSW", "metric_type": spec.metric, "params": json.dumps(params)}
    if isinstance(spec, IvfFlat):
        params = {"nlist": spec.lists}
        return index.field, {"index_type": "IVF_FLAT", "metric_type": spec.metric, "params": json.dumps(params)}
    if isinstance(spec, Btree) and spec.cast is not None:
        field = index.field.split("[", 1)[0]
        return field, {"index_type": "INVERTED", "json_path": index.field, "json_cast_type": spec.cast}
    return index.field, {"index_type": "STL_SORT" if isinstance(spec, Btree) else "INVERTED"}


def _inner(params: Mapping[str, str]) -> dict[str, str]:
    if not params.get("params"):
        return {}
    try:
        inner = json.loads(params["params"])
    except ValueError:
        inner = None
    if not isinstance(inner, dict):
        raise invalid(f"params of an index must be a JSON object, got {params['params']!r:.60}")
    return {str(name): it if isinstance(it, str) else json.dumps(it) for name, it in inner.items()}


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
        kept = json.dumps({_FIELD: asked.field, **asked.params})
        collection.alter(properties={f"{_EXACT_PROPERTY}{asked.name}": kept})
        return
    properties = _properties(asked)
    name = _identifier(found, asked.name) if there is None else there.held
    online = there is not None or collection.count() >= _ONLINE_FROM
    try:
        collection.create_index(target, spec, name=name, online=online, properties=properties)
    except IndexExists:
        if _there(call.described(found.name), asked) is None:
            raise


def _was_left_unfinished(collection: Collection, index: Asked) -> bool:
    """Whether its build was interrupted: nobody goes on with it, and clients would wait for it without end."""
    if index.state is IndexState.READY:
        return False
    return any(it.name == index.held and it.state == IndexState.INVALID for it in collection.overview().indexes)


def _properties(asked: Asked) -> dict[str, str]:
    """What is kept with an index of PostgreSQL."""
    return {_NAME: asked.name, _FIELD: asked.field, _PARAMS: json.dumps(dict(asked.params))}


def function_index(
    found: CollectionDescription, function: Function, name: str, params: Mapping[str, str]
) -> dict[str, Any]:
    """The index on what a function makes, as the library's create_index() takes it; raises MilvusError."""
    asked = _of_function(name, function, params)
    _check_bm25(asked.told)
    identifier = _identifier(found, asked.name)
    return {"field_name": function.input, "spec": Gin(), "name": identifier, "properties": _properties(asked)}


def _request(found: CollectionDescription, request: Any) -> Asked:
    params = {name: value for name, value in pairs(request.extra_params).items() if value}
    field = request.field_name
    function = function_of(found.schema, field)
    if function is not None:
        return _of_function(request.index_name, function, params)
    if field not in found.schema.by_name and not (found.schema.dynamic and "json_path" in {**params, **_inner(params)}):
        raise invalid(f"cannot create index on non-exist field: {field}")
    params |= _untold(found, field, {**params, **_inner(params)})
    unnamed = Asked("", field, params, None)
    return Asked(request.index_name or f"{field}{unnamed.path.removeprefix(field)}", field, params, None)


def _of_function(name: str, function: Function, params: Mapping[str, str]) -> Asked:
    told = {**params, **_inner(params)}
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
    _formula(told)


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
    params = {**kept, **pairs(request.extra_params)}
    collection = call.collection(found.name)
    if index.held is None:
        collection.alter(properties={f"{_EXACT_PROPERTY}{index.name}": json.dumps({_FIELD: index.field, **params})})
        return
    collection.index(index.held).alter_properties(_properties(replace(index, params=params)))


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
        collection.alter(delete_properties=[f"{_EXACT_PROPERTY}{index.name}"])
        return
    try:
        collection.drop_index(index.held)
    except IndexNotFound:
        return


def forgotten_with(found: CollectionDescription, field: str) -> list[str]:
    """The properties to be deleted with a field."""
    return [f"{_EXACT_PROPERTY}{it.name}" for it in _exact(found) if it.field == field]


CALLS = {
    "AlterIndex": alter_index,
    "CreateIndex": create_index,
    "DescribeIndex": describe_index,
    "DropIndex": drop_index,
    "GetIndexBuildProgress": get_index_build_progress,
    "GetIndexState": get_index_state,
    "GetIndexStatistics": get_index_statistics,
}
