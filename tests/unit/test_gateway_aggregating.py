"""search_aggregation as any client may send it, and how its answer is written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from vecstore import CollectionSchema, DataType, Facet, Field, Hit, Hits, SearchPath
from vecstore.description import CollectionDescription
from vecstore.gateway.aggregating import Counting, Telling, counting_of
from vecstore.gateway.errors import MilvusError
from vecstore.gateway.parameters import Parameters
from vecstore.gateway.results import output

FIELDS = (
    Field("id", DataType.VARCHAR, primary_key=True, max_length=9),
    Field("brand", DataType.VARCHAR, max_length=9),
    Field("year", DataType.INT64),
    Field("size", DataType.FLOAT),
    Field("extra", DataType.JSON),
    Field("v", DataType.FLOAT_VECTOR, dim=2),
    *(Field(f"f{n}", DataType.INT8) for n in range(11)),
)
NUMBERS = {field.name: number for number, field in enumerate(FIELDS, start=1)}
SHOES = CollectionDescription("shoes", 1, CollectionSchema(FIELDS), (), (), (), (), (), frozenset(), numbers=NUMBERS)


def counting(options: dict[str, Any] | None = None, *, nq: int = 1, **spec: Any) -> Counting:
    request = milvus_pb2.SearchRequest(nq=nq)
    ParseDict({"fields": ["brand"], **spec}, request.search_aggregation)
    pairs = [common_pb2.KeyValuePair(key=key, value=str(value)) for key, value in (options or {}).items()]
    found = counting_of(SHOES, request, Parameters(pairs))
    assert found is not None
    return found


def test_what_is_asked_in_the_library_s_terms() -> None:
    found = counting(
        size=5,
        searchSize=7,
        metrics={"a": {"op": "AVG", "fieldName": "year"}, "b": {"op": "avg", "fieldName": "year"}},
        order=[{"key": "b"}, {"key": "_key", "direction": "ASC"}],
        topHits={"size": 2, "sort": [{"fieldName": "_score", "direction": "asc"}, {"fieldName": "size"}]},
        subAggregation={"fields": ["year"], "topHits": {}, "size": 3},
    )
    inner = Facet(["year"], 3, hits=1, aggregates=[], order_by=[], hits_order_by=[])
    assert found.facet == Facet(
        ["brand"],
        5,
        aggregates=["avg(year)"],
        order_by=["avg(year):desc", "_key:asc"],
        hits=2,
        hits_order_by=["_score:asc", "size:desc"],
        inside=inner,
    )
    assert [field.name for field in found.fields] == ["brand", "year"]
    assert (found.groups, found.size, found.sources) == (21, 2, ["year", "size"])
    assert found.aliases == [{"a": "avg(year)", "b": "avg(year)"}, {}]
    assert counting_of(SHOES, milvus_pb2.SearchRequest(), Parameters([])) is None


def test_sizes_that_are_left_out_are_one() -> None:
    assert (counting().groups, counting().size, counting().facet.size, counting().facet.hits) == (1, 1, 1, 0)
    assert counting(nq=100, size=100).groups == 100
    with pytest.raises(MilvusError, match="number of search_aggregation result entries is too large"):
        counting(nq=101, size=100)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"fields": []}, "group_by level has no fields"),
        ({"fields": ["nothing"]}, 'invalid group_by field "nothing": field "nothing" not found in schema'),
        ({"fields": ["extra"]}, "JSON / dynamic fields are not yet supported"),
        ({"fields": [f"f{n}" for n in range(11)]}, "groups by 11 fields, and at most by 10"),
        ({"size": -1}, "search_aggregation size must be non-negative"),
        ({"searchSize": -1}, "search_size must be non-negative"),
        ({"size": 3, "searchSize": 2}, "search_size must be greater than or equal to size"),
        ({"topHits": {"size": -1}}, "top_hits size must be non-negative"),
        ({"topHits": {"sort": [{"fieldName": ""}]}}, 'invalid top_hits.sort field "": field "" not found'),
        ({"topHits": {"sort": [{"fieldName": "year", "direction": "up"}]}}, "direction must be asc or desc"),
        ({"topHits": {"sort": [{"fieldName": "year", "nullFirst": True}]}}, "null_first is not supported"),
        ({"metrics": {" ": {"op": "sum", "fieldName": "year"}}}, "metric alias cannot be empty"),
        ({"metrics": {"m": {"op": "median", "fieldName": "year"}}}, 'unsupported metric op "median"'),
        ({"metrics": {"m": {"op": "sum", "fieldName": "*"}}}, r"field_name '\*' only supports count op"),
        ({"metrics": {"m": {"op": "sum", "fieldName": "nothing"}}}, 'field "nothing" not found in schema'),
        ({"metrics": {"m": {"op": "sum", "fieldName": "brand"}}}, 'invalid metric "m": .*is VARCHAR'),
        ({"order": [{"key": "m"}]}, 'order key "m" is neither reserved key nor metric alias'),
        ({"order": [{"key": "_count", "direction": "up"}]}, "direction must be asc or desc"),
        ({"options": {"group_by_field": "brand"}}, "group_by_field and search_aggregation cannot be used"),
        ({"options": {"group_by_fields": "brand"}}, "group_by_fields and search_aggregation cannot be used"),
        ({"options": {"order_by_fields": "year:desc"}}, "order_by_fields and search_aggregation cannot be used"),
        ({"options": {"offset": 1}}, "offset is not supported"),
        ({"options": {"iterator": True}}, "not supported with search iterator"),
        ({"options": {"search_iter_v2": True}}, "not supported with search iterator"),
    ],
)
def test_what_is_no_aggregation_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(MilvusError, match=message):
        counting(**spec)


def test_every_value_is_told_in_the_slot_of_its_kind() -> None:
    schema = CollectionSchema(FIELDS, dynamic=True)
    description = CollectionDescription("shoes", 1, schema, (), (), (), (), (), frozenset(), numbers=NUMBERS)
    metrics = {"sum": {"op": "sum", "fieldName": "year"}, "n": {"op": "count", "fieldName": "*"}}
    found = counting(size=2, topHits={"size": 1}, metrics=metrics)
    most = 2**63 - 1
    record = {"brand": "A", "year": most, "size": 0.5, "extra": {"a": [1]}, "wide": 2**70, "some": None, "flag": True}
    hits = Hits([Hit("x", 0.26, record), Hit("y", 0.5, record)], SearchPath.EXACT)
    wanted = output(schema, ["year", "size", "extra", "$meta"], key=False)
    answer = Telling(description, wanted, 1).answer("shoes", found, [found.facet.over(hits), []], at=7)
    assert (answer.collection_name, answer.session_ts) == ("shoes", 7)
    data = answer.results
    assert (data.num_queries, list(data.topks), list(data.agg_topks)) == (2, [0, 0], [1, 0])
    (bucket,) = data.agg_buckets
    assert MessageToDict(bucket.key[0]) == {"fieldId": "101", "fieldName": "brand", "stringVal": "A"}
    assert bucket.metrics["n"].int_val == 2
    assert bucket.metrics["sum"].double_val == float(2 * most)  # no slot is wide enough
    (hit,) = bucket.hits
    assert (hit.str_pk, hit.score) == ("x", pytest.approx(0.3))
    told = {field.field_name: field for field in hit.fields}
    assert set(told) == {"year", "size", "extra", "wide", "some", "flag"}
    assert (told["year"].int_val, told["size"].float_val, told["flag"].bool_val) == (most, 0.5, True)
    assert json.loads(told["extra"].bytes_val) == {"a": [1]}
    assert told["some"].WhichOneof("value") is None
    assert told["wide"].double_val == 2.0**70
