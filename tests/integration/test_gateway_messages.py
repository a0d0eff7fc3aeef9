"""What no client of today sends, or not by itself: the RPCs of older ones, by their messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2
from sqlalchemy import text

from samples import BOOK_FIELDS, book
from vecstore import Btree, Collection, DataType, Field, Gin, Hnsw, IvfFlat, Metric, Store
from vecstore.gateway import Gateway


@pytest.fixture
def stub(gateway: Gateway) -> Iterator[Any]:
    with grpc.insecure_channel(gateway.address) as channel:
        yield milvus_pb2_grpc.MilvusServiceStub(channel)


def test_a_collection_is_found_by_its_number(stub: Any, books: Collection) -> None:
    number = books.describe().oid
    found = stub.DescribeCollection(milvus_pb2.DescribeCollectionRequest(collectionID=number))
    assert (found.collection_name, found.collectionID) == ("books", number)
    listed = stub.ShowPartitions(milvus_pb2.ShowPartitionsRequest(collectionID=number))
    assert list(listed.partition_names) == ["_default"]
    compaction = stub.ManualCompaction(milvus_pb2.ManualCompactionRequest(collectionID=number))
    assert compaction.status.code == 0
    both = stub.BatchDescribeCollection(milvus_pb2.BatchDescribeCollectionRequest(collectionID=[number]))
    assert [it.collection_name for it in both.responses] == ["books"]
    nobody = stub.DescribeCollection(milvus_pb2.DescribeCollectionRequest(collectionID=1))
    assert nobody.status.reason == "can't find collection[database=default][collection=1]"


def test_lists_of_what_is_loaded(stub: Any, books: Collection, store: Store) -> None:
    store.create_collection("films", BOOK_FIELDS)
    books.create_partition("novel")
    stub.LoadPartitions(milvus_pb2.LoadPartitionsRequest(collection_name="books", partition_names=["novel"]))
    stub.ReleaseCollection(milvus_pb2.ReleaseCollectionRequest(collection_name="films"))
    in_memory = milvus_pb2.ShowType.InMemory
    found = stub.ShowCollections(milvus_pb2.ShowCollectionsRequest(type=in_memory))
    assert (list(found.collection_names), list(found.inMemory_percentages)) == (["books"], [100])
    none = stub.ShowCollections(milvus_pb2.ShowCollectionsRequest(type=in_memory, collection_names=["films"]))
    assert list(none.collection_names) == []
    missing = stub.ShowCollections(milvus_pb2.ShowCollectionsRequest(type=in_memory, collection_names=["nothing"]))
    assert missing.status.code == 100
    every = stub.ShowCollections(milvus_pb2.ShowCollectionsRequest())
    assert list(every.inMemory_percentages) == [100, 0]
    parts = stub.ShowPartitions(milvus_pb2.ShowPartitionsRequest(collection_name="books", type=in_memory))
    assert list(parts.partition_names) == ["novel"]
    unknown = milvus_pb2.ShowPartitionsRequest(collection_name="books", partition_names=["x"])
    assert stub.ShowPartitions(unknown).status.code == 200
    has = stub.HasCollection(milvus_pb2.HasCollectionRequest(collection_name="books"))
    assert (has.value, has.status.code) == (True, 0)
    progress = stub.GetLoadingProgress(milvus_pb2.GetLoadingProgressRequest(collection_name="films"))
    assert progress.status.code == 101
    part = milvus_pb2.GetLoadingProgressRequest(collection_name="books", partition_names=["_default"])
    assert stub.GetLoadingProgress(part).status.reason == "partition not loaded[partition=_default]"
    empty = stub.LoadPartitions(milvus_pb2.LoadPartitionsRequest(collection_name="books"))
    assert empty.reason == "partition names should not be empty: invalid parameter"


def test_an_index_that_the_library_or_sql_made_is_shown_in_milvuss_words(stub: Any, store: Store) -> None:
    fields = [*BOOK_FIELDS, Field("meta", DataType.JSON, nullable=True), Field("v", DataType.FLOAT_VECTOR, dim=2)]
    films = store.create_collection("films", fields)
    films.insert([book(key, v=[key, 1]) for key in range(1, 50)])
    films.create_index("embedding", IvfFlat(Metric.L2, lists=2), name="ivf")
    films.create_index("v", Hnsw(Metric.IP, m=8), name="graph")
    films.create_index("year", Btree(), name="by_year")
    films.create_index("title", Gin(), name="words")
    films.create_index("meta['lang']", Btree(cast=DataType.VARCHAR), name="lang")
    with store.engine.begin() as connection:
        connection.execute(text("CREATE INDEX by_hand ON films.entities (year, id)"))
    found = stub.DescribeIndex(milvus_pb2.DescribeIndexRequest(collection_name="films")).index_descriptions
    shown = {it.index_name: (it.field_name, {pair.key: pair.value for pair in it.params}) for it in found}
    assert shown == {
        "ivf": ("embedding", {"index_type": "IVF_FLAT", "metric_type": "L2", "params": '{"nlist": 2}'}),
        "graph": (
            "v",
            {"index_type": "HNSW", "metric_type": "IP", "params": json.dumps({"M": 8, "efConstruction": 64})},
        ),
        "by_year": ("year", {"index_type": "STL_SORT"}),
        "words": ("title", {"index_type": "INVERTED"}),
        "lang": (
            "meta",
            {"index_type": "INVERTED", "json_path": "meta['lang']", "json_cast_type": "VARCHAR"},
        ),
    }
    asked = milvus_pb2.GetIndexStateRequest(collection_name="films", index_name="graph")
    assert stub.GetIndexState(asked).state == common_pb2.IndexState.Finished
    progress = stub.GetIndexBuildProgress(
        milvus_pb2.GetIndexBuildProgressRequest(collection_name="films", index_name="graph")
    )
    assert (progress.indexed_rows, progress.total_rows) == (49, 49)
    statistics = stub.GetIndexStatistics(milvus_pb2.GetIndexStatisticsRequest(collection_name="films"))
    assert len(statistics.index_descriptions) == 5
    several = stub.DropIndex(milvus_pb2.DropIndexRequest(collection_name="films"))
    assert (several.code, several.reason) == (702, "index duplicates[indexName=]")
    missing = stub.DescribeIndex(milvus_pb2.DescribeIndexRequest(collection_name="films", index_name="x"))
    assert (missing.status.code, missing.status.error_code) == (700, common_pb2.IndexNotExist)


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"index_type": "HNSW", "params": "["}, "must be a JSON object"),
        ({"index_type": "HNSW", "params": "7"}, "must be a JSON object"),
        ({"index_type": "SPARSE_WAND"}, "can't build with this index"),
    ],
)
def test_index_parameters_that_make_no_sense_are_refused(
    stub: Any, books: Collection, params: dict[str, str], why: str
) -> None:
    pairs = [common_pb2.KeyValuePair(key=key, value=value) for key, value in params.items()]
    asked = milvus_pb2.CreateIndexRequest(collection_name="books", field_name="embedding", extra_params=pairs)
    answer = stub.CreateIndex(asked)
    assert (answer.code, why in answer.reason) == (1100, True), answer.reason
    assert books.indexes == []


def test_fields_are_added_by_the_older_call_and_dropped_by_number(stub: Any, books: Collection) -> None:
    added = schema_pb2.FieldSchema(name="seen", data_type=schema_pb2.Timestamptz, nullable=True)
    added.default_value.string_data = "2025-01-02T03:04:05"
    request = milvus_pb2.AddCollectionFieldRequest(collection_name="books", schema=added.SerializeToString())
    assert stub.AddCollectionField(request).code == 0
    described = stub.DescribeCollection(milvus_pb2.DescribeCollectionRequest(collection_name="books"))
    seen = described.schema.fields[-1]
    assert (seen.name, seen.default_value.string_data) == ("seen", "2025-01-02T03:04:05+00:00")

    def changed(**drop: Any) -> Any:
        action = milvus_pb2.AlterCollectionSchemaRequest.Action(
            drop_request=milvus_pb2.AlterCollectionSchemaRequest.DropRequest(**drop)
        )
        request = milvus_pb2.AlterCollectionSchemaRequest(collection_name="books", action=action)
        return stub.AlterCollectionSchema(request).alter_status

    assert changed(field_id=seen.fieldID).code == 0
    assert "seen" not in books.describe().schema.by_name
    assert changed(field_id=9999).reason == "field not found: 9999: invalid parameter"
    assert changed(function_name="bm25").reason == "function not found: bm25: invalid parameter"
    assert changed().reason.startswith("Must specify exactly one valid Drop identifier")
    key = schema_pb2.FieldSchema(name="k", data_type=schema_pb2.Int64, is_partition_key=True)
    request = milvus_pb2.AddCollectionFieldRequest(collection_name="books", schema=key.SerializeToString())
    assert "cannot be a key" in stub.AddCollectionField(request).reason
    altered = milvus_pb2.AlterCollectionFieldRequest(collection_name="books", field_name="nothing")
    assert stub.AlterCollectionField(altered).reason == "field not found: nothing: invalid parameter"
    size = common_pb2.KeyValuePair(key="max_length", value="long")
    altered = milvus_pb2.AlterCollectionFieldRequest(collection_name="books", field_name="title", properties=[size])
    assert "max_length must be an integer" in stub.AlterCollectionField(altered).reason


def test_a_built_in_analyzer_is_a_configuration_of_text_search(stub: Any, store: Store) -> None:
    asked = schema_pb2.CollectionSchema()
    asked.fields.add(name="id", data_type=schema_pb2.Int64, is_primary_key=True)
    field = asked.fields.add(name="words", data_type=schema_pb2.VarChar)
    for key, value in {"max_length": "99", "enable_match": "true", "analyzer_params": '{"type": "english"}'}.items():
        field.type_params.add(key=key, value=value)
    request = milvus_pb2.CreateCollectionRequest(collection_name="films", schema=asked.SerializeToString())
    assert stub.CreateCollection(request).code == 0
    assert store.collection("films").describe().schema.by_name["words"].text_search == "english"
    described = stub.DescribeCollection(milvus_pb2.DescribeCollectionRequest(collection_name="films"))
    assert {it.key for it in described.schema.fields[1].type_params} == {
        "max_length",
        "enable_match",
        "analyzer_params",
    }
    field.type_params[0].value = "many"
    field.type_params[2].value = "{"
    request = milvus_pb2.CreateCollectionRequest(collection_name="other", schema=asked.SerializeToString())
    assert "must be an integer" in stub.CreateCollection(request).reason


def test_upkeep_is_told_as_done(stub: Any, books: Collection) -> None:
    assert stub.FlushAll(milvus_pb2.FlushAllRequest()).flush_all_ts > 0
    assert stub.GetFlushAllState(milvus_pb2.GetFlushAllStateRequest()).flushed
    plans = stub.GetCompactionStateWithPlans(milvus_pb2.GetCompactionPlansRequest(compactionID=1))
    assert plans.state == common_pb2.CompactionState.Completed
    for call, request in (
        (stub.GetPersistentSegmentInfo, milvus_pb2.GetPersistentSegmentInfoRequest),
        (stub.GetQuerySegmentInfo, milvus_pb2.GetQuerySegmentInfoRequest),
    ):
        assert list(call(request(collectionName="books")).infos) == []
        assert call(request(collectionName="nothing")).status.code == 100


def test_one_server_is_told(stub: Any) -> None:
    state = stub.GetComponentStates(milvus_pb2.GetComponentStatesRequest()).state
    assert state.state_code == common_pb2.StateCode.Healthy
    metrics = json.loads(stub.GetMetrics(milvus_pb2.GetMetricsRequest()).response)
    assert metrics["nodes_info"][0]["infos"]["system_info"]["system_version"] == "v2.6.17"
    unknown = stub.DescribeResourceGroup(milvus_pb2.DescribeResourceGroupRequest(resource_group="x"))
    assert "resource group not found[rg=x]" in unknown.status.reason
    assert list(stub.ListPrivilegeGroups(milvus_pb2.ListPrivilegeGroupsRequest()).privilege_groups) == []
    assert list(stub.SelectGrant(milvus_pb2.SelectGrantRequest()).entities) == []


def test_databases_that_cannot_be_are_refused(stub: Any) -> None:
    for name, code, why in (
        ("default", 1100, "database already exist: default"),
        ("1st", 802, "the first character of a database name must be an underscore or letter"),
        ("a-b", 802, "can only contain numbers, letters and underscores"),
        ("", 802, "database name couldn't be empty"),
        ("pg_own", 1100, "reserved by PostgreSQL"),
    ):
        answer = stub.CreateDatabase(milvus_pb2.CreateDatabaseRequest(db_name=name))
        assert (answer.code, why in answer.reason) == (code, True), answer.reason
    altered = stub.AlterDatabase(milvus_pb2.AlterDatabaseRequest(db_name="default"))
    assert "the default database is the one that the gateway was given" in altered.reason
    assert stub.AlterDatabase(milvus_pb2.AlterDatabaseRequest(db_name="nothing")).code == 800
    assert stub.DescribeDatabase(milvus_pb2.DescribeDatabaseRequest(db_name="nothing")).status.code == 800
