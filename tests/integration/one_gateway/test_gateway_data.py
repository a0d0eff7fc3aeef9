"""Entities through the gateway, by unmodified clients over a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pytest
from pymilvus import AsyncMilvusClient, DataType, MilvusClient, MilvusException

import vecstore
from vecstore import Store
from vecstore.gateway import Gateway


def book(key: int, **more: Any) -> dict[str, Any]:
    return {"id": key, "title": f"book {key}", "year": 1900 + key, "v": [1.0, float(key), 0.5, 0.25], **more}


@pytest.fixture
def books(milvus: MilvusClient) -> Iterator[str]:
    """A loaded collection with an index by COSINE and dynamic fields, no rows."""
    schema = milvus.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("title", DataType.VARCHAR, max_length=100)
    schema.add_field("year", DataType.INT32, nullable=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=4)
    index = milvus.prepare_index_params()
    index.add_index("v", index_type="HNSW", metric_type="COSINE", params={"M": 8, "efConstruction": 64})
    milvus.create_collection("books", schema=schema, index_params=index)
    yield "books"
    milvus.drop_collection("books")


# Insert


def test_what_is_inserted_is_counted_found_and_seen_by_sql(milvus: MilvusClient, books: str, store: Store) -> None:
    result = milvus.insert(books, [book(key, color="red") for key in range(10)])
    assert (result["insert_count"], list(result["ids"])) == (10, list(range(10)))
    assert milvus.query(books, output_fields=["count(*)"]) == [{"count(*)": 10}]
    with store.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT count(*), min(title), min(_meta ->> 'color') FROM books.entities")
        assert rows.one() == (10, "book 0", "red")


def test_a_key_that_is_there_is_accepted_and_the_last_one_wins(milvus: MilvusClient, books: str) -> None:
    milvus.insert(books, [book(1), book(2)])
    result = milvus.insert(books, [book(2, title="first"), book(3), book(2, title="last")])
    assert (result["insert_count"], list(result["ids"])) == (3, [2, 3, 2])
    assert milvus.query(books, output_fields=["count(*)"]) == [{"count(*)": 3}]
    assert milvus.get(books, [2], output_fields=["title"]) == [{"id": 2, "title": "last"}]


def test_drawn_ids_come_back(milvus: MilvusClient) -> None:
    milvus.create_collection("drawn", dimension=4, auto_id=True)
    ids = list(milvus.insert("drawn", [{"vector": [1, 2, 3, key]} for key in range(5)])["ids"])
    assert len(set(ids)) == 5
    assert [hit["id"] for hit in milvus.search("drawn", [[1.0, 2, 3, 4]], limit=1)[0]] == [ids[4]]


def test_a_wrong_value_is_refused_and_nothing_is_written(milvus: MilvusClient, books: str) -> None:
    with pytest.raises(
        MilvusException, match=r"the dim \(2\) of the vectors is not equal to schema dim \(4\)"
    ) as caught:
        milvus.insert(books, [book(1), book(2, v=[1.0, 2.0])])
    assert caught.value.code == 1100
    with pytest.raises(
        MilvusException, match="field 'title', row 1: expected at most 100 bytes of UTF-8, got 101"
    ) as caught:
        milvus.insert(books, [book(1), book(2, title="x" * 101)])
    assert milvus.query(books, output_fields=["count(*)"]) == [{"count(*)": 0}]


def test_a_client_that_remembers_an_older_schema_learns_of_the_new_one(
    milvus: MilvusClient, books: str, store: Store
) -> None:
    milvus.insert(books, [book(1)])
    store.collection(books).drop_field("year")
    milvus.insert(books, [book(2)])  # `year` is a dynamic key from now on
    assert milvus.query(books, "year == 1902", output_fields=["title"]) == [{"id": 2, "title": "book 2"}]


def test_no_value_hides_behind_a_field_that_a_client_does_not_know_of(
    milvus: MilvusClient, books: str, store: Store
) -> None:
    milvus.insert(books, [book(1, pages=100)])
    store.collection(books).add_field(vecstore.Field("pages", vecstore.DataType.INT32, nullable=True))
    milvus.insert(books, [book(2, pages=200)])
    store.collection(books).add_field(vecstore.Field("color", vecstore.DataType.VARCHAR, max_length=9, nullable=True))
    milvus.upsert(books, [book(3, pages=300, color="red")])
    assert milvus.query(books, "pages > 100", output_fields=["pages", "color"]) == [
        {"id": 2, "pages": 200, "color": None},
        {"id": 3, "pages": 300, "color": "red"},
    ]


# Upsert


def test_upsert_replaces_whole_entities(milvus: MilvusClient, books: str) -> None:
    milvus.insert(books, [book(1, color="red")])
    assert milvus.upsert(books, [book(1, title="new", year=None), book(2)])["upsert_count"] == 2
    (found,) = milvus.get(books, [1])
    assert (found["title"], found["year"], "color" in found) == ("new", None, False)


def test_a_partial_update_changes_what_it_names(milvus: MilvusClient, books: str) -> None:
    milvus.insert(books, [book(1, color="red", size=2)])
    assert milvus.upsert(books, [{"id": 1, "year": 2000, "size": 3}], partial_update=True)["upsert_count"] == 1
    (found,) = milvus.get(books, [1])
    assert (found["title"], found["year"], found["color"], found["size"]) == ("book 1", 2000, "red", 3)
    with pytest.raises(MilvusException, match="field 'title': missing, and id 9 is of no entity"):
        milvus.upsert(books, [{"id": 9, "year": 2000}], partial_update=True)


def test_a_key_twice_in_an_upsert_is_refused(milvus: MilvusClient, books: str) -> None:
    with pytest.raises(MilvusException, match="duplicate primary keys are not allowed in the same batch"):
        milvus.upsert(books, [book(1), book(1)])


def test_an_upsert_into_a_partition_leaves_the_others(milvus: MilvusClient, books: str) -> None:
    milvus.create_partition(books, "novel")
    milvus.insert(books, [book(1)])
    milvus.upsert(books, [book(1, title="novel")], partition_name="novel")
    assert milvus.query(books, output_fields=["count(*)"]) == [{"count(*)": 2}]
    assert milvus.get(books, [1], ["title"], partition_names=["novel"]) == [{"id": 1, "title": "novel"}]


# Delete


def test_delete_by_ids_filter_and_template(milvus: MilvusClient, books: str) -> None:
    milvus.insert(books, [book(key) for key in range(20)])
    assert milvus.delete(books, ids=[1, 2, 99]) == {"delete_count": 2, "cost": 0}
    assert milvus.delete(books, filter="year < 1905")["delete_count"] == 3
    assert milvus.delete(books, filter="id in {ids}", filter_params={"ids": [10, 11]})["delete_count"] == 2
    assert milvus.delete(books, filter="id in []")["delete_count"] == 0
    assert milvus.query(books, output_fields=["count(*)"]) == [{"count(*)": 13}]


@pytest.mark.parametrize("always", ["true", "1 == 1"])
def test_a_delete_of_everything_is_refused(milvus: MilvusClient, books: str, always: str) -> None:
    with pytest.raises(MilvusException, match="delete plan can't be empty or always true : ") as caught:
        milvus.delete(books, filter=always)
    assert caught.value.code == 1100


def test_a_released_collection_loses_entities_by_key_only(milvus: MilvusClient, books: str) -> None:
    milvus.insert(books, [book(key) for key in range(5)])
    milvus.release_collection(books)
    assert milvus.delete(books, ids=[1])["delete_count"] == 1
    assert milvus.delete(books, filter="id == 2")["delete_count"] == 1
    for asked in (
        lambda: milvus.delete(books, filter="year < 1905"),
        lambda: milvus.query(books, "id > 0"),
        lambda: milvus.search(books, [[1, 2, 3, 4]]),
    ):
        with pytest.raises(MilvusException, match="collection not loaded") as caught:
            asked()
        assert caught.value.code == 101
    milvus.load_collection(books)
    assert milvus.query(books, output_fields=["count(*)"]) == [{"count(*)": 3}]


def test_faults_of_filters_are_told_in_milvus_words(milvus: MilvusClient, books: str) -> None:
    with pytest.raises(MilvusException, match="failed to create delete plan: cannot parse expression: year <, error: "):
        milvus.delete(books, filter="year <")
    with pytest.raises(MilvusException, match="failed to create query plan: cannot parse expression: year <, error: "):
        milvus.query(books, "year <")
    with pytest.raises(MilvusException, match="failed to create query plan: cannot parse expression: year <, error: "):
        milvus.search(books, [[1, 2, 3, 4]], filter="year <")


def test_partitions_that_are_not_there(milvus: MilvusClient, books: str) -> None:
    with pytest.raises(MilvusException, match=r"partition not found\[partition=nope\]") as caught:
        milvus.insert(books, [book(1)], partition_name="nope")
    assert caught.value.code == 200
    with pytest.raises(MilvusException, match=r"partition not found\[partition=nope\]"):
        milvus.delete(books, filter="id > 1", partition_name="nope")
    with pytest.raises(MilvusException, match="partition name nope not found"):
        milvus.query(books, "id > 1", partition_names=["nope"])


def test_collections_that_are_not_there(milvus: MilvusClient) -> None:
    for asked in (
        lambda: milvus.query("nope", "id > 1"),
        lambda: milvus.delete("nope", filter="id in [1]"),
    ):
        with pytest.raises(
            MilvusException, match=r"collection not found\[database=default\]\[collection=nope\]"
        ) as caught:
            asked()
        assert caught.value.code == 100


# Query


def test_query_pages_orders_and_gives_what_is_asked(milvus: MilvusClient, books: str) -> None:
    milvus.insert(books, [book(key, color="red" if key % 2 else "blue") for key in range(10)])
    assert [found["id"] for found in milvus.query(books, "id >= 0", limit=3, offset=4)] == [4, 5, 6]
    ordered = milvus.query(books, "id < 5", output_fields=["year"], limit=2, order_by=["year:desc"])
    assert ordered == [{"id": 4, "year": 1904}, {"id": 3, "year": 1903}]
    assert list(milvus.query(books, "id == 1", output_fields=["color"])) == [{"id": 1, "color": "red"}]
    (whole,) = milvus.query(books, "color == 'red' and id == 3", output_fields=["*"])
    assert whole == {**book(3, color="red"), "v": [1.0, 3.0, 0.5, 0.25]}
    assert list(milvus.query(books, "id == 1", output_fields=["id", "$meta"])) == [{"id": 1, "color": "red"}]


def test_a_query_without_a_filter_needs_a_limit(milvus: MilvusClient, books: str) -> None:
    with pytest.raises(MilvusException, match="empty expression should be used with limit"):
        milvus.query(books, "")
    assert milvus.query(books, "", limit=5) == []
    with pytest.raises(MilvusException, match=r"should be in range \[1, 16384\], but got 16390"):
        milvus.query(books, "", limit=16380, offset=10)


def test_groups_and_aggregates(milvus: MilvusClient, books: str) -> None:
    milvus.insert(books, [book(key, title=f"t{key % 2}") for key in range(6)])
    rows = milvus.query(
        books,
        "id >= 0",
        output_fields=["title", "count(*)", "sum(year)", "avg(year)", "max(id)"],
        group_by_fields=["title"],
        limit=10,
        order_by=["title:desc"],
    )
    assert [row["title"] for row in rows] == ["t1", "t0"]
    assert rows[0] == {"title": "t1", "count(*)": 3, "sum(year)": 5709, "avg(year)": 1903.0, "max(id)": 5}
    aggregates = ["count(*)", "sum(year)", "avg(year)", "min(title)", "max(id)"]
    assert milvus.query(books, "id < 4", output_fields=aggregates) == [
        {"count(*)": 4, "sum(year)": 7606, "avg(year)": 1901.5, "min(title)": "t0", "max(id)": 3}
    ]
    assert milvus.query(books, "id > 99", output_fields=aggregates) == [
        {"count(*)": 0, "sum(year)": None, "avg(year)": None, "min(title)": None, "max(id)": None}
    ]
    (counted,) = milvus.query(books, "", output_fields=["count(*)"])
    assert counted == {"count(*)": 6}


def test_the_query_iterator_gives_each_entity_once(milvus: MilvusClient, books: str) -> None:
    milvus.insert(books, [book(key) for key in range(257)])
    iterator = milvus.query_iterator(books, batch_size=100, filter="year >= 1905", output_fields=["title"])
    pages = []
    while page := iterator.next():
        pages.append([found["id"] for found in page])
    iterator.close()
    assert [len(page) for page in pages] == [100, 100, 52]
    assert list(chain.from_iterable(pages)) == list(range(5, 257))
    limited = milvus.query_iterator(books, batch_size=100, limit=150, output_fields=["id"])
    assert [len(limited.next()), len(limited.next()), len(limited.next())] == [100, 50, 0]


# Data types

EVERY_TYPE: dict[str, tuple[DataType, dict[str, Any], Any]] = {
    "a_bool": (DataType.BOOL, {}, True),
    "an_int8": (DataType.INT8, {}, -128),
    "an_int16": (DataType.INT16, {}, 32767),
    "an_int32": (DataType.INT32, {}, -(2**31)),
    "an_int64": (DataType.INT64, {}, 2**63 - 1),
    "a_float": (DataType.FLOAT, {}, 1.5),
    "a_double": (DataType.DOUBLE, {}, 0.1),
    "a_text": (DataType.VARCHAR, {"max_length": 20}, "naïve 好"),
    "a_json": (DataType.JSON, {}, {"a": [1, {"b": "c"}]}),
    "an_array": (DataType.ARRAY, {"element_type": DataType.VARCHAR, "max_capacity": 4, "max_length": 8}, ["x", "y"]),
    "a_time": (DataType.TIMESTAMPTZ, {}, "2026-01-02T03:04:05Z"),
    "floats": (DataType.FLOAT_VECTOR, {"dim": 8}, [0.5] * 8),
    "halves": (DataType.FLOAT16_VECTOR, {"dim": 8}, np.arange(8, dtype=np.float16)),
    "brains": (DataType.BFLOAT16_VECTOR, {"dim": 8}, b"\x80\x3f" * 8),
    "bytes8": (DataType.INT8_VECTOR, {"dim": 8}, np.arange(8, dtype=np.int8)),
    "bits": (DataType.BINARY_VECTOR, {"dim": 16}, b"\x81\x07"),
    "sparse": (DataType.SPARSE_FLOAT_VECTOR, {}, {3: 0.5, 70_000: 2.0}),
}
DEFAULTS = {"an_int32": 5, "a_text": "none", "a_bool": False, "a_double": 2.5}


def test_every_data_type_with_nulls_and_defaults(milvus: MilvusClient) -> None:
    schema = milvus.create_schema()
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=20)
    for name, (kind, more, _) in EVERY_TYPE.items():
        schema.add_field(name, kind, nullable=True, **more)
    for name, default in DEFAULTS.items():
        kind, more, _ = EVERY_TYPE[name]
        schema.add_field(f"{name}_or", kind, default_value=default, **more)
    milvus.create_collection("types", schema=schema)
    whole = {name: value for name, (_, _, value) in EVERY_TYPE.items()}
    milvus.insert("types", [{"id": "none"}, {"id": "whole", **whole}, {"id": "null", **dict.fromkeys(whole)}])
    milvus.load_collection("types")
    found = {row["id"]: row for row in milvus.query("types", "id != ''", output_fields=["*"])}
    for key in ("none", "null"):
        assert {found[key][name] for name in EVERY_TYPE} == {None}, key
    assert all(found["none"][f"{name}_or"] == default for name, default in DEFAULTS.items())
    for name, (kind, _, value) in EVERY_TYPE.items():
        got = found["whole"][name]
        if isinstance(got, list) and len(got) == 1 and isinstance(got[0], bytes):
            got = got[0]  # vectors of bytes come as a list of one
        expected = value.tobytes() if isinstance(value, np.ndarray) else value
        assert got == expected or list(got) == list(expected), (name, kind, got)


# The other clients


def test_the_asynchronous_client(gateway: Gateway, milvus: MilvusClient, books: str) -> None:
    async def work() -> tuple[Any, Any, Any]:
        client = AsyncMilvusClient(f"http://{gateway.address}")
        await client.insert(books, [book(key) for key in range(20)])
        found = await asyncio.gather(*(client.search(books, [[1.0, key, 0.5, 0.25]], limit=1) for key in range(20)))
        removed = await client.delete(books, filter="year < 1910")
        left = await client.query(books, "id > 0", output_fields=["count(*)"])
        await client.close()
        return [hits[0][0]["id"] for hits in found], removed["delete_count"], left[0]["count(*)"]

    assert asyncio.run(work()) == (list(range(20)), 10, 10)


def test_the_library_and_the_gateway_see_the_same(milvus: MilvusClient, books: str, store: Store) -> None:
    milvus.insert(books, [book(key) for key in range(30)])
    collection: vecstore.Collection = store.collection(books)
    vector = [1.0, 7.0, 0.5, 0.25]
    ours = collection.search(vector, limit=5)[0]
    theirs = milvus.search(books, [vector], limit=5)[0]
    assert [hit["id"] for hit in theirs] == ours.ids.tolist()
    assert [hit["distance"] for hit in theirs] == pytest.approx(ours.distances.tolist(), abs=1e-6)
