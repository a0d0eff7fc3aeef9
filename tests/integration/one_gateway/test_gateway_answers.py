"""What clients are told is so, and in Milvus's words: answers that programs go by without looking again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from pymilvus import (
    AnnSearchRequest,
    AsyncMilvusClient,
    DataType,
    Function,
    FunctionType,
    MilvusClient,
    MilvusException,
    RRFRanker,
)
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc
from sqlalchemy import text

from vecstore import Btree, Gin, Hnsw, Metric, Store
from vecstore.gateway import Gateway, undertakings
from waiting import SECONDS, eventually


@pytest.fixture
def books(milvus: MilvusClient) -> Iterator[str]:
    """id, a nullable title and year, JSON, an embedding of 4; dynamic, not loaded, no index, no rows."""
    schema = milvus.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("title", DataType.VARCHAR, max_length=20, nullable=True)
    schema.add_field("year", DataType.INT32, nullable=True)
    schema.add_field("meta", DataType.JSON, nullable=True)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=4)
    milvus.create_collection("books", schema=schema)
    yield "books"
    milvus.drop_collection("books")


def entities(keys: range) -> list[dict[str, Any]]:
    return [{"id": key, "title": f"t{key}", "embedding": [1.0, 2.0, 3.0, key]} for key in keys]


def index(field: str, **asked: Any) -> Any:
    return MilvusClient.prepare_index_params(field, **asked)


ENDED = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE query LIKE 'ANALYZE%' AND wait_event_type = 'Lock' AND datname = current_database()
"""
VACUUMED = """
    SELECT count(last_vacuum) FROM pg_stat_user_tables WHERE relid = 'books.entities__default'::regclass
"""


def count(store: Store, query: str) -> int:
    with store.engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())


def reason(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(MilvusException) as raised:
        call()
    return raised.value.code, raised.value.message


# Fields and indexes are shown as they are


@pytest.mark.parametrize(
    ("field", "params"), [("embedding", {"dim": 8}), ("title", {"analyzer_params": "{}"}), ("year", {"nonsense": 5})]
)
def test_nothing_is_shown_of_a_field_that_is_not_so(
    milvus: MilvusClient, books: str, field: str, params: dict[str, Any]
) -> None:
    before = milvus.describe_collection(books)["fields"]
    (name,) = params
    assert reason(lambda: milvus.alter_collection_field(books, field, params)) == (
        1100,
        f"{name} does not allow update in collection field param: invalid parameter",
    )
    assert milvus.describe_collection(books)["fields"] == before


def test_nothing_is_shown_of_an_index_that_is_not_so(milvus: MilvusClient, books: str) -> None:
    milvus.create_index(books, index("embedding", index_type="HNSW", metric_type="L2", params={"M": 8}))
    for change in (
        lambda: milvus.alter_index_properties(books, "embedding", {"M": 32}),
        lambda: milvus.drop_index_properties(books, "embedding", ["M"]),
    ):
        assert reason(change) == (1100, "M is not a configable index property: invalid parameter")
    assert milvus.describe_index(books, "embedding")["M"] == "8"


def test_an_index_of_which_nothing_is_asked_is_one_of_vectors_all_the_same(
    milvus: MilvusClient, books: str, store: Store
) -> None:
    milvus.create_index(books, index("embedding"))
    milvus.create_index(books, index("embedding", index_type="AUTOINDEX"))
    milvus.create_index(books, index("year"))
    shown = milvus.describe_index(books, "embedding")
    assert (shown["index_type"], shown["metric_type"]) == ("AUTOINDEX", "COSINE")
    assert milvus.describe_index(books, "year")["index_type"] == "AUTOINDEX"
    assert {it.name: it.spec for it in store.collection(books).indexes} == {
        "embedding": Hnsw(Metric.COSINE),
        "year": Btree(),
    }
    milvus.load_collection(books)
    assert (
        "metric type not match"
        in reason(lambda: milvus.search(books, [[1, 2, 3, 4]], search_params={"metric_type": "L2"}))[1]
    )
    milvus.drop_index(books, "year")
    assert (
        "vector index cannot be dropped on loaded collection"
        in reason(lambda: milvus.drop_index(books, "embedding"))[1]
    )


@pytest.mark.parametrize(("path", "held"), [("meta['tags']", "meta"), ("tags", "$meta")])
def test_arrays_in_json_are_indexed_by_what_they_contain(
    milvus: MilvusClient, books: str, store: Store, path: str, held: str
) -> None:
    field = path.partition("[")[0]
    asked = {"json_path": path, "json_cast_type": "array_varchar"}
    milvus.create_index(books, index(field, index_name="it", index_type="INVERTED", params=asked))
    assert milvus.describe_index(books, "it")["json_cast_type"] == "array_varchar"
    assert [(it.field, it.spec) for it in store.collection(books).indexes] == [(held, Gin())]
    tagged = {"tags": ["new", "red"]}
    milvus.insert(books, [{**entities(range(1))[0], **tagged, "meta": tagged}, *entities(range(1, 3))])
    milvus.load_collection(books)
    assert [row["id"] for row in milvus.query(books, f"json_contains({path}, 'red')", output_fields=["id"])] == [0]


def test_each_of_several_descriptions_has_its_status(gateway: Gateway, books: str) -> None:
    with grpc.insecure_channel(gateway.address) as channel:
        request = milvus_pb2.BatchDescribeCollectionRequest(collection_name=[books, books])
        found = milvus_pb2_grpc.MilvusServiceStub(channel).BatchDescribeCollection(request)
    assert [(it.collection_name, it.HasField("status")) for it in found.responses] == [(books, True)] * 2


@pytest.mark.parametrize(
    ("kept", "refused", "why"),
    [
        ({"timezone": "UTC"}, {"timezone": "Asia/Tokyo"}, "a time without an offset is one of UTC"),
        ({"collection.ttl.seconds": 0}, {"collection.ttl.seconds": 60}, "entities do not expire"),
        ({"allow_insert_auto_id": False}, {"allow_insert_auto_id": True}, "none is taken from a client"),
    ],
)
def test_no_property_is_shown_that_is_not_so(
    milvus: MilvusClient, books: str, kept: dict[str, Any], refused: dict[str, Any], why: str
) -> None:
    milvus.alter_collection_properties(books, kept)
    code, said = reason(lambda: milvus.alter_collection_properties(books, refused))
    assert (code, why in said) == (1100, True)
    assert milvus.describe_collection(books)["properties"] == {name: str(value) for name, value in kept.items()}
    milvus.drop_collection_properties(books, list(kept))
    assert milvus.describe_collection(books)["properties"] == {}


# What is loaded


def test_a_released_collection_is_not_loaded_anew(milvus: MilvusClient, books: str) -> None:
    assert reason(lambda: milvus.refresh_load(books)) == (101, "collection not loaded[collection=books]")
    milvus.load_collection(books)
    milvus.refresh_load(books)
    milvus.release_collection(books)
    assert reason(lambda: milvus.refresh_load(books))[0] == 101


# What is deleted


def test_a_delete_of_all_but_none_deletes_all(milvus: MilvusClient, books: str) -> None:
    milvus.create_partition(books, "novel")
    milvus.load_collection(books)
    milvus.insert(books, entities(range(5)))
    milvus.insert(books, entities(range(5, 8)), partition_name="novel")
    assert milvus.delete(books, filter="id not in []", partition_name="novel")["delete_count"] == 3
    assert milvus.delete(books, filter="year not in {kept}", filter_params={"kept": []})["delete_count"] == 5
    milvus.insert(books, entities(range(3)))
    assert "always true" in reason(lambda: milvus.delete(books, filter="not (id in [])"))[1]
    assert milvus.delete(books, filter="id not in {kept}", filter_params={"kept": [1]})["delete_count"] == 2


def test_no_delete_of_the_asynchronous_client_fails_in_silence(gateway: Gateway, books: str) -> None:
    async def work() -> None:
        client = AsyncMilvusClient(f"http://{gateway.address}")
        with pytest.raises(ValueError, match=r"collection not loaded\[collection=books\]"):
            await client.delete(books, filter="year > 1900")
        await client.close()

    asyncio.run(work())


# What is counted


def test_entities_of_a_partition_of_a_key_are_counted(milvus: MilvusClient) -> None:
    schema = milvus.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("tenant", DataType.VARCHAR, max_length=8, is_partition_key=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    milvus.create_collection("shared", schema=schema, num_partitions=3)
    milvus.insert("shared", [{"id": key, "tenant": f"t{key}", "v": [1, 2]} for key in range(40)])
    counts = [milvus.get_partition_stats("shared", name)["row_count"] for name in milvus.list_partitions("shared")]
    assert (len(counts), sum(counts)) == (3, 40)
    assert max(counts) < 40
    assert reason(lambda: milvus.get_partition_stats("shared", "novel")) == (
        200,
        "partition not found[partition=novel]",
    )


# What goes on


def test_a_compaction_that_takes_long_goes_on_after_the_answer(
    milvus: MilvusClient, books: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    milvus.load_collection(books)
    milvus.insert(books, entities(range(50)))
    milvus.delete(books, ids=list(range(40)))
    monkeypatch.setattr(undertakings, "_PATIENCE", 0.0)
    with store.engine.begin() as other:
        other.execute(text("LOCK TABLE books.entities__default IN SHARE UPDATE EXCLUSIVE MODE"))
        begun = milvus.compact(books)
        assert milvus.compact(books) == begun
        assert milvus.get_compaction_state(begun) == "Executing"
        assert milvus.get_compaction_plans(begun).state.name == "Executing"
        assert milvus.list_compaction_tasks(books).state.name == "Executing"
        assert len(milvus.query(books, "id >= 0", output_fields=["id"])) == 10
    eventually(lambda: milvus.get_compaction_state(begun) == "Completed")
    assert count(store, VACUUMED) == 1
    assert milvus.list_compaction_tasks(books).state.name == "Completed"
    again = milvus.compact(books)
    assert again > begun
    eventually(lambda: milvus.get_compaction_state(again) == "Completed")  # the next test's are its own


def test_a_compaction_that_fails_says_so(
    gateway: Gateway, milvus: MilvusClient, books: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with grpc.insecure_channel(gateway.address) as channel, store.engine.begin() as other:
        stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        other.execute(text("LOCK TABLE books.entities__default IN SHARE UPDATE EXCLUSIVE MODE"))
        monkeypatch.setattr(undertakings, "_PATIENCE", 0.0)
        begun = milvus.compact(books)
        asked = milvus_pb2.GetCompactionStateRequest(compactionID=begun)
        eventually(lambda: count(store, ENDED))
        eventually(lambda: stub.GetCompactionState(asked).failedPlanNo)
        assert milvus.get_compaction_state(begun) == "Completed"
    monkeypatch.setattr(undertakings, "_PATIENCE", SECONDS)
    with pytest.raises(MilvusException, match="collection not found"):
        milvus.compact("nothing")


# What is wrong is named as it was asked


def test_a_range_that_is_empty_is_told_in_the_numbers_given(milvus: MilvusClient, books: str) -> None:
    milvus.load_collection(books)
    for metric, radius, near, word in (
        ("L2", 0.7, 1.3, "less"),
        ("COSINE", 0.7, 0.1, "greater"),
        ("IP", 2, 2, "greater"),
    ):
        params = {"metric_type": metric, "params": {"radius": radius, "range_filter": near}}
        code, why = reason(lambda params=params: milvus.search(books, [[1, 2, 3, 4]], search_params=params))
        told = f"metric type ({metric}), range_filter({float(near)}) must be {word} than radius({float(radius)})"
        assert (code, why) == (1100, f"{told}: invalid parameter")


def test_of_a_hybrid_search_the_filters_are_shown(milvus: MilvusClient, books: str) -> None:
    milvus.load_collection(books)
    parts = [AnnSearchRequest([[1, 2, 3, 4]], "embedding", {}, 3, expr=expr) for expr in (None, "year >")]
    why = reason(lambda: milvus.hybrid_search(books, parts, RRFRanker()))[1]
    assert why.startswith("failed to create query plan: cannot parse expression: year >, error: ")


# The recipe for moving a collection


def recipe() -> Callable[[MilvusClient, MilvusClient, str], None]:
    """`move`, as it stands in the document."""
    page = (Path(__file__).parents[3] / "docs/howto/milvus.md").read_text()
    (block,) = [it for it in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def move(" in it]
    names: dict[str, Any] = {"MilvusClient": MilvusClient}
    exec(block.partition("other = serve(")[0], names)  # noqa: S102 - our own document
    found: Callable[[MilvusClient, MilvusClient, str], None] = names["move"]
    return found


MOVED: dict[str, tuple[DataType, dict[str, Any], Any]] = {
    "title": (DataType.VARCHAR, {"max_length": 20, "enable_match": True, "enable_analyzer": True}, "t"),
    "tags": (DataType.ARRAY, {"element_type": DataType.VARCHAR, "max_length": 8, "max_capacity": 4}, ["x"]),
    "meta": (DataType.JSON, {}, {"a": 1}),
    "moment": (DataType.TIMESTAMPTZ, {}, "2026-01-02T03:04:05Z"),
    "floats": (DataType.FLOAT_VECTOR, {"dim": 8}, [0.5] * 8),
    "halves": (DataType.FLOAT16_VECTOR, {"dim": 8}, np.arange(8, dtype=np.float16)),
    "brains": (DataType.BFLOAT16_VECTOR, {"dim": 8}, b"\x80\x3f" * 8),
    "bytes8": (DataType.INT8_VECTOR, {"dim": 8}, np.arange(8, dtype=np.int8)),
    "bits": (DataType.BINARY_VECTOR, {"dim": 16}, b"\x81\x07"),
    "sparse": (DataType.SPARSE_FLOAT_VECTOR, {}, {3: 0.5, 70_000: 2.0}),
}


def test_the_recipe_moves_every_type_and_index(gateway: Gateway, milvus: MilvusClient) -> None:
    schema = milvus.create_schema(auto_id=True, enable_dynamic_field=True, description="what was read")
    schema.add_field("id", DataType.INT64, is_primary=True)
    for name, (kind, more, _) in MOVED.items():
        schema.add_field(name, kind, nullable=True, **more)
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function("bm25", FunctionType.BM25, ["title"], ["words"]))
    params = milvus.prepare_index_params()
    params.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", params={"bm25_k1": 1.5})
    params.add_index("floats", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 32})
    params.add_index("bits", index_type="BIN_FLAT", metric_type="JACCARD")
    params.add_index("title", index_name="by_title")
    params.add_index(
        "meta", index_type="INVERTED", index_name="a", params={"json_path": "meta['a']", "json_cast_type": "double"}
    )
    milvus.create_collection(
        "moved", schema=schema, index_params=params, properties={"owner": "library"}, consistency_level="Strong"
    )
    whole = {name: value for name, (_, _, value) in MOVED.items()}
    milvus.insert("moved", [{**whole, "color": "red"}, dict.fromkeys(whole)] * 3)
    milvus.create_partition("moved", "novel")
    milvus.insert("moved", [whole], partition_name="novel")
    milvus.create_alias("moved", "prod")
    milvus.create_database("vecstore_moved")
    there = MilvusClient(f"http://{gateway.address}", db_name="vecstore_moved")
    try:
        recipe()(milvus, there, "moved")
        assert shown(there) == shown(milvus)
        assert there.get_partition_stats("moved", "novel") == {"row_count": 1}
    finally:
        there.drop_alias("prod")
        there.drop_collection("moved")
        there.close()
        milvus.drop_database("vecstore_moved")


def shown(client: MilvusClient) -> list[Any]:
    """All that a client sees of the collection "prod", but for its numbers and who draws the keys."""
    described = client.describe_collection("prod")
    fields = [{name: value for name, value in field.items() if name != "auto_id"} for field in described["fields"]]
    names = (
        "description",
        "functions",
        "properties",
        "aliases",
        "consistency_level",
        "enable_dynamic_field",
        "num_partitions",
    )
    return [
        [str(field) for field in fields],
        {name: described[name] for name in names},
        [client.describe_index("prod", name) for name in client.list_indexes("prod")],
        [dict(row) for row in client.query("prod", "id > 0", output_fields=["*"])],
    ]
