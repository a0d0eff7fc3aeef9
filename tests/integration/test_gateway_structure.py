"""Collections, partitions, indexes, aliases and fields through MilvusClient, each looked at in PostgreSQL itself."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pymilvus import AsyncMilvusClient, DataType, MilvusClient, MilvusException
from pymilvus.client.types import LoadState
from sqlalchemy import URL, create_engine, text

import vecstore
from vecstore import Btree, Gin, Hnsw, IvfFlat, Metric, Store
from vecstore.gateway import Gateway, serve

Look = Callable[[str], list[Any]]


@pytest.fixture
def look(database_url: URL) -> Look:
    """The rows of a query in PostgreSQL."""
    engine = create_engine(database_url)

    def looked(query: str) -> list[Any]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    yield looked
    engine.dispose()


TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'books'::regnamespace AND relkind IN ('p', 'r') ORDER BY 1"
INDEXES = """
    SELECT c.relname, m.amname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
    WHERE i.indrelid = 'books.entities'::regclass AND NOT i.indisprimary ORDER BY 1
"""
SCHEMAS = "SELECT count(*) FROM pg_namespace WHERE nspname = 'books'"


def books_schema() -> Any:
    schema = MilvusClient.create_schema(enable_dynamic_field=True, description="what was read")
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field(
        "title", DataType.VARCHAR, max_length=64, nullable=True, description="as printed", mmap_enabled=True
    )
    schema.add_field("year", DataType.INT32, default_value=1999)
    schema.add_field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=8, max_capacity=4)
    schema.add_field("meta", DataType.JSON, nullable=True)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=4)
    return schema


@pytest.fixture
def books(milvus: MilvusClient) -> str:
    milvus.create_collection("books", schema=books_schema(), properties={"owner": "library"})
    return "books"


def index(milvus: MilvusClient, field: str, **asked: Any) -> Any:
    params = milvus.prepare_index_params()
    params.add_index(field, **asked)
    return params


def reason(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(MilvusException) as raised:
        call()
    return raised.value.code, raised.value.message


# Collections


def test_a_quick_collection_is_indexed_and_loaded(milvus: MilvusClient, store: Store) -> None:
    milvus.create_collection("quick", dimension=8)
    assert milvus.get_load_state("quick") == {"state": LoadState.Loaded}
    assert milvus.describe_index("quick", "vector")["index_type"] == "AUTOINDEX"
    found = store.collection("quick").describe()
    assert [(it.name, it.spec) for it in found.indexes] == [("vector", Hnsw(Metric.COSINE))]
    assert found.schema.dynamic


def test_a_schema_is_described_as_it_was_asked(milvus: MilvusClient, books: str, look: Look) -> None:
    found = milvus.describe_collection(books)
    assert found["description"] == "what was read"
    assert found["properties"] == {"owner": "library"}
    assert found["enable_dynamic_field"]
    assert found["consistency_level_name"] == "Bounded"
    fields = {field["name"]: field for field in found["fields"]}
    assert list(fields) == ["id", "title", "year", "tags", "meta", "embedding"]
    assert fields["title"]["params"] == {"max_length": 64, "mmap_enabled": True}
    assert fields["title"]["nullable"]
    assert fields["title"]["description"] == "as printed"
    assert fields["year"]["default_value"].int_data == 1999
    assert (fields["tags"]["element_type"], fields["tags"]["params"]["max_capacity"]) == (DataType.VARCHAR, 4)
    assert fields["embedding"]["params"] == {"dim": 4}
    assert look(TABLES) == [("entities",), ("entities__default",)]


def test_a_collection_of_the_library_is_a_collection_of_milvus(milvus: MilvusClient, books: None, store: Store) -> None:
    store.create_collection(
        "films",
        [vecstore.Field("id", "INT64", primary_key=True, auto_id=True), vecstore.Field("v", "BINARY_VECTOR", dim=16)],
    )
    store.collection("films").create_index("v", Hnsw(Metric.JACCARD))
    assert milvus.list_collections() == ["books", "films"]
    assert milvus.describe_collection("films")["auto_id"]
    assert milvus.describe_index("films", "v_idx")["metric_type"] == "JACCARD"
    # Nobody has loaded it: it can be searched, and no drop of it is refused.
    assert milvus.get_load_state("films") == {"state": LoadState.Loaded}
    milvus.drop_index("films", "v_idx")


def test_the_same_collection_may_be_created_again_and_no_other_of_its_name(milvus: MilvusClient, books: str) -> None:
    milvus.create_collection("books", schema=books_schema())
    other = books_schema()
    other.add_field("isbn", DataType.INT64, nullable=True)
    code, why = reason(lambda: milvus.create_collection("books", schema=other))
    assert (code, why) == (
        1100,
        "create duplicate collection with different parameters, collection: books: invalid parameter",
    )


def test_a_collection_is_dropped_and_a_second_time_nothing_happens(
    milvus: MilvusClient, books: str, look: Look
) -> None:
    milvus.create_index(books, index(milvus, "embedding", index_type="HNSW", metric_type="L2"))
    milvus.load_collection(books)
    milvus.drop_collection(books)
    assert look(SCHEMAS) == [(0,)]
    milvus.drop_collection(books)
    assert not milvus.has_collection(books)
    assert reason(lambda: milvus.describe_collection(books)) == (
        100,
        "can't find collection[database=default][collection=books]",
    )
    assert reason(lambda: milvus.get_collection_stats(books)) == (
        100,
        "collection not found[database=default][collection=books]",
    )
    milvus.create_collection(books, schema=books_schema())
    assert milvus.get_collection_stats(books) == {"row_count": 0}


def test_what_a_client_drops_can_be_kept_and_restored(milvus: MilvusClient, books: str, store: Store) -> None:
    milvus.alter_collection_properties(books, {"vecstore.keep_dropped": "7 days"})
    store.collection(books).insert([{"id": 1, "tags": [], "embedding": [1, 2, 3, 4]}])
    milvus.drop_collection(books)
    assert (milvus.has_collection(books), [entry.collection for entry in store.trash()]) == (False, [books])
    store.restore(books)
    assert milvus.get_collection_stats(books) == {"row_count": 1}
    why = reason(lambda: milvus.alter_collection_properties(books, {"vecstore.keep_dropped": "ever"}))
    assert "no time" in why[1]


def test_views_of_others_stop_a_drop_with_their_names(milvus: MilvusClient, books: str, store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("CREATE VIEW public.recent AS SELECT id FROM books.entities"))
    code, why = reason(lambda: milvus.drop_collection(books))
    assert code == 1100
    assert "view public.recent" in why
    assert milvus.has_collection(books)


def test_a_collection_is_renamed(milvus: MilvusClient, books: str, look: Look) -> None:
    milvus.create_collection("films", dimension=4)
    milvus.create_alias(books, "prod")
    assert "unsupported use an alias" in reason(lambda: milvus.rename_collection("prod", "tomes"))[1]
    assert "duplicated new collection name" in reason(lambda: milvus.rename_collection(books, "films"))[1]
    assert reason(lambda: milvus.rename_collection("nothing", "tomes"))[0] == 100
    milvus.rename_collection(books, "tomes")
    assert look(SCHEMAS) == [(0,)]
    assert sorted(milvus.list_collections()) == ["films", "tomes"]
    assert milvus.describe_alias("prod")["collection_name"] == "tomes"


def test_properties_and_the_description_are_altered(milvus: MilvusClient, books: str, store: Store) -> None:
    milvus.alter_collection_properties(books, {"mmap.enabled": True, "collection.description": "all of them"})
    found = milvus.describe_collection(books)
    assert found["properties"] == {"owner": "library", "mmap.enabled": "True"}
    assert found["description"] == store.collection(books).describe().schema.description == "all of them"
    milvus.drop_collection_properties(books, ["owner"])
    assert milvus.describe_collection(books)["properties"] == {"mmap.enabled": "True"}
    for name, why in (("collection.ttl.seconds", "entities do not expire"), ("milvus.loaded", "the gateway's own")):
        assert why in reason(lambda name=name: milvus.alter_collection_properties(books, {name: "1"}))[1]
    assert milvus.get_load_state(books) == {"state": LoadState.NotLoad}


def test_counts_are_true_and_truncate_empties(milvus: MilvusClient, books: str, store: Store, look: Look) -> None:
    milvus.create_partition(books, "novel")
    collection = store.collection(books)
    rows = [{"id": key, "tags": [], "embedding": [1, 2, 3, key]} for key in range(1, 11)]
    collection.insert(rows)
    collection.insert(rows[:3], partition_name="novel")
    assert milvus.get_collection_stats(books) == {"row_count": 13}
    assert milvus.get_partition_stats(books, "novel") == {"row_count": 3}
    collection.delete("id < 3")
    assert milvus.get_collection_stats(books) == {"row_count": 9}
    milvus.truncate_collection(books)
    assert look("SELECT count(*) FROM books.entities") == [(0,)]
    assert milvus.list_partitions(books) == ["_default", "novel"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda schema: schema.add_field("place", DataType.GEOMETRY), "data type Geometry is not supported"),
        (lambda schema: schema.add_field("ctid", DataType.INT64), "invalid field name 'ctid'"),
    ],
)
def test_what_a_collection_cannot_have_is_said(milvus: MilvusClient, change: Callable[[Any], None], why: str) -> None:
    schema = books_schema()
    change(schema)
    code, said = reason(lambda: milvus.create_collection("books", schema=schema))
    assert (code, why in said) == (1100, True)
    assert not milvus.has_collection("books")


def test_what_somebody_writes_into_our_properties_breaks_nothing(
    milvus: MilvusClient, books: str, store: Store
) -> None:
    odd = {
        "milvus.shards_num": "many",
        "milvus.consistency_level": "9" * 99,
        "milvus.loaded": "{",
        "milvus.index.x": "[",
    }
    store.collection(books).alter(properties={**odd, "milvus.field.year": "7", "milvus.index.y": "{}"})
    found = milvus.describe_collection(books)
    assert (found["num_shards"], found["consistency_level_name"]) == (1, "Strong")
    assert milvus.list_indexes(books) == []
    assert milvus.get_load_state(books) == {"state": LoadState.Loaded}


# Partitions


def test_partitions_come_and_go(milvus: MilvusClient, books: str, look: Look) -> None:
    milvus.create_partition(books, "novel")
    milvus.create_partition(books, "novel")
    assert milvus.has_partition(books, "novel")
    assert look(TABLES) == [("entities",), ("entities__default",), ("entities_novel",)]
    milvus.drop_partition(books, "novel")
    milvus.drop_partition(books, "novel")
    assert look(TABLES) == [("entities",), ("entities__default",)]
    assert not milvus.has_partition(books, "novel")
    assert reason(lambda: milvus.drop_partition(books, "_default")) == (
        1100,
        "default partition cannot be deleted: invalid parameter",
    )
    assert reason(lambda: milvus.drop_partition("nothing", "novel"))[0] == 100
    assert "Invalid partition name: a b." in reason(lambda: milvus.create_partition(books, "a b"))[1]


def test_a_loaded_partition_must_be_released_before_it_is_dropped(milvus: MilvusClient, books: str, look: Look) -> None:
    milvus.create_partition(books, "novel")
    milvus.load_partitions(books, ["novel"])
    assert milvus.get_load_state(books, "novel") == {"state": LoadState.Loaded}
    assert milvus.get_load_state(books, "_default") == {"state": LoadState.NotLoad}
    assert reason(lambda: milvus.drop_partition(books, "novel")) == (
        1100,
        "partition cannot be dropped, partition is loaded, please release it first: invalid parameter",
    )
    milvus.release_partitions(books, ["novel"])
    milvus.drop_partition(books, "novel")
    assert look(TABLES) == [("entities",), ("entities__default",)]
    assert reason(lambda: milvus.load_partitions(books, ["novel"])) == (200, "partition not found[partition=novel]")


def test_a_partition_key_makes_the_partitions(milvus: MilvusClient, look: Look) -> None:
    schema = books_schema()
    schema.add_field("tenant", DataType.VARCHAR, max_length=8, is_partition_key=True)
    milvus.create_collection("books", schema=schema, num_partitions=4)
    assert len(look(TABLES)) == 5
    for call, verb in ((milvus.create_partition, "create"), (milvus.drop_partition, "drop")):
        why = reason(lambda call=call: call("books", "novel"))[1]
        assert why == f"disable {verb} partition if partition key mode is used: invalid parameter"


# Load and release


def test_load_state_outlives_the_gateway(database_url: URL, gateway: Gateway, milvus: MilvusClient, books: str) -> None:
    milvus.create_partition(books, "novel")
    milvus.load_collection(books)
    milvus.release_partitions(books, ["novel"])
    gateway.stop()
    with serve(database_url, port=0) as again:
        client = MilvusClient(f"http://{again.address}")
        assert client.get_load_state(books, "_default") == {"state": LoadState.Loaded}
        assert client.get_load_state(books, "novel") == {"state": LoadState.NotLoad}
        client.release_collection(books)
        client.release_collection(books)
        assert client.get_load_state(books) == {"state": LoadState.NotLoad}
        client.refresh_load  # noqa: B018 - it is there
        client.close()


def test_load_state_of_what_is_not_there(milvus: MilvusClient) -> None:
    assert milvus.get_load_state("nothing") == {"state": LoadState.NotExist}
    assert reason(lambda: milvus.load_collection("nothing"))[0] == 100
    assert reason(lambda: milvus.release_collection("nothing"))[0] == 100


# Indexes


@pytest.mark.parametrize(
    ("asked", "spec"),
    [
        ({"index_type": "HNSW", "metric_type": "L2", "params": {"M": 8, "efConstruction": 32}}, Hnsw(Metric.L2, 8, 32)),
        (
            {"index_type": "HNSW", "metric_type": "IP", "params": {"M": 2048, "efConstruction": 9}},
            Hnsw(Metric.IP, 100, 200),
        ),
        ({"index_type": "IVF_FLAT", "metric_type": "COSINE", "params": {"nlist": 4}}, IvfFlat(Metric.COSINE, 4)),
        ({"index_type": "IVF_SQ8", "metric_type": "COSINE", "params": {"nlist": 128}}, Hnsw(Metric.COSINE)),
        ({"index_type": "DISKANN", "metric_type": "L2"}, Hnsw(Metric.L2)),
        ({"index_type": "AUTOINDEX"}, Hnsw(Metric.COSINE)),
        ({"index_type": "FLAT", "metric_type": "L2"}, None),
    ],
)
def test_a_vector_index_is_pgvectors_and_shown_as_it_was_asked(
    milvus: MilvusClient, books: str, store: Store, asked: dict[str, Any], spec: object
) -> None:
    rows = [{"id": key, "tags": [], "embedding": [1, 2, 3, key]} for key in range(1, 101)]
    store.collection(books).insert(rows)
    milvus.create_index(books, index(milvus, "embedding", index_name="by_vector", **asked))
    assert [it.spec for it in store.collection(books).indexes] == ([] if spec is None else [spec])
    assert milvus.list_indexes(books) == ["by_vector"]
    shown = milvus.describe_index(books, "by_vector")
    told = {name: value for name, value in asked.items() if name != "params"}
    told |= {name: str(value) for name, value in asked.get("params", {}).items()}
    assert told.items() <= {**shown, **{k: str(v) for k, v in (shown.get("params") or {}).items()}}.items()
    assert (shown["state"], shown["total_rows"], shown["indexed_rows"]) == ("Finished", 100, 100)
    milvus.create_index(books, index(milvus, "embedding", index_name="by_vector", **asked))
    milvus.drop_index(books, "by_vector")
    milvus.drop_index(books, "by_vector")
    assert milvus.list_indexes(books) == []
    assert store.collection(books).indexes == []


def test_a_large_collection_is_indexed_without_keeping_writers_waiting(
    milvus: MilvusClient, books: str, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("vecstore.gateway.indexes._ONLINE_FROM", 1)
    caplog.set_level(logging.INFO, "vecstore.database")
    store.collection(books).insert([{"id": 1, "tags": [], "embedding": [1, 2, 3, 4]}])
    milvus.create_index(books, index(milvus, "embedding", index_type="HNSW", metric_type="L2"))
    assert "create index 'embedding' of 'books' online: done" in caplog.text
    shown = milvus.describe_index(books, "embedding")
    assert (shown["index_type"], shown["state"], shown["indexed_rows"]) == ("HNSW", "Finished", 1)


def test_an_index_whose_build_was_interrupted_is_built_when_it_is_asked_for_again(
    milvus: MilvusClient, books: str, store: Store
) -> None:
    asked = index(milvus, "embedding", index_type="HNSW", metric_type="L2")
    milvus.create_index(books, asked)
    with store.engine.begin() as connection:
        made = connection.exec_driver_sql("SELECT pg_get_indexdef('books.embedding'::regclass)").scalar_one()
        about = connection.exec_driver_sql(
            "SELECT format('COMMENT ON INDEX books.embedding IS %%L', obj_description('books.embedding'::regclass))"
        ).scalar_one()
        connection.exec_driver_sql("DROP INDEX books.embedding")
        connection.exec_driver_sql(made)  # the parent's alone, as a build begins
        connection.exec_driver_sql(about)
    assert milvus.describe_index(books, "embedding")["state"] == "Failed"
    milvus.create_index(books, asked)
    assert milvus.describe_index(books, "embedding")["state"] == "Finished"
    assert store.doctor() == ()


@pytest.mark.parametrize(
    ("field", "asked", "spec"),
    [
        ("title", {"index_type": "INVERTED"}, Btree()),
        ("title", {"index_type": "Trie"}, Btree()),
        ("year", {"index_type": "STL_SORT"}, Btree()),
        ("year", {"index_type": "AUTOINDEX"}, Btree()),
        ("tags", {"index_type": "BITMAP"}, Gin()),
        ("meta", {"index_type": "INVERTED"}, Gin()),
        (
            "meta",
            {"index_type": "INVERTED", "params": {"json_path": "meta['lang']", "json_cast_type": "varchar"}},
            Btree(cast="VARCHAR"),
        ),
        (
            "stars",
            {"index_type": "INVERTED", "params": {"json_path": "stars", "json_cast_type": "double"}},
            Btree(cast="DOUBLE"),
        ),
    ],
)
@pytest.mark.usefixtures("books")
def test_a_scalar_index_is_postgresqls(
    milvus: MilvusClient, store: Store, field: str, asked: dict[str, Any], spec: object
) -> None:
    books = "books"
    milvus.create_index(books, index(milvus, field, index_name="it", **asked))
    assert [it.spec for it in store.collection(books).indexes] == [spec]
    assert milvus.describe_index(books, "it")["index_type"] == asked["index_type"]
    milvus.load_collection(books)
    milvus.drop_index(books, "it")  # a scalar index goes while loaded
    assert store.collection(books).indexes == []


def test_a_vector_index_of_a_loaded_collection_stays(milvus: MilvusClient, books: str, look: Look) -> None:
    milvus.create_index(books, index(milvus, "embedding", index_type="HNSW", metric_type="L2"))
    milvus.load_collection(books)
    code, why = reason(lambda: milvus.drop_index(books, "embedding"))
    assert (code, why.split(":")[0]) == (1100, "vector index cannot be dropped on loaded collection")
    assert look(INDEXES) == [("embedding", "hnsw")]
    milvus.release_collection(books)
    milvus.drop_index(books, "embedding")
    assert look(INDEXES) == []


def test_one_index_a_field(milvus: MilvusClient, books: str) -> None:
    milvus.create_index(books, index(milvus, "embedding", index_type="HNSW", metric_type="L2"))
    other = index(milvus, "embedding", index_type="HNSW", metric_type="IP")
    assert "at most one distinct index is allowed per field" in reason(lambda: milvus.create_index(books, other))[1]
    named = index(milvus, "embedding", index_name="second", index_type="FLAT", metric_type="IP")
    assert "creating multiple indexes on same field" in reason(lambda: milvus.create_index(books, named))[1]


@pytest.mark.parametrize(
    ("field", "asked", "why"),
    [
        (
            "embedding",
            {"index_type": "HNSW", "metric_type": "HAMMING"},
            "metric type HAMMING not found or not supported",
        ),
        ("embedding", {"index_type": "BM25_MAGIC"}, "invalid index type: BM25_MAGIC"),
        ("embedding", {"index_type": "HNSW", "params": {"M": "many"}}, "should be an integer"),
        ("title", {"index_type": "HNSW"}, "is for vectors"),
        ("title", {"index_type": "NGRAM"}, "invalid index type: NGRAM"),
        ("meta", {"index_type": "INVERTED", "params": {"json_path": "meta['a']"}}, "json_cast_type missing"),
        ("nothing", {"index_type": "HNSW"}, "cannot create index on non-exist field: nothing"),
    ],
)
def test_an_index_that_cannot_be_is_refused(
    milvus: MilvusClient, books: str, field: str, asked: dict[str, Any], why: str
) -> None:
    code, said = reason(lambda: milvus.create_index(books, index(milvus, field, **asked)))
    assert (code, why in said) == (1100, True), said
    assert milvus.list_indexes(books) == []


def test_properties_of_an_index_are_altered_and_die_with_it(milvus: MilvusClient, books: str, look: Look) -> None:
    for kind in ("HNSW", "FLAT"):
        milvus.create_index(books, index(milvus, "embedding", index_type=kind, metric_type="L2"))
        milvus.alter_index_properties(books, "embedding", {"mmap.enabled": True})
        assert milvus.describe_index(books, "embedding")["mmap.enabled"] == "True"
        milvus.drop_index_properties(books, "embedding", ["mmap.enabled"])
        assert "mmap.enabled" not in milvus.describe_index(books, "embedding")
        milvus.drop_index(books, "embedding")
    assert look("SELECT properties - 'milvus.loaded' FROM vecstore.collection_registry")[0][0].keys() == {
        "owner",
        "milvus.consistency_level",
        "milvus.shards_num",
        "milvus.field.title",
    }


# Fields


def test_a_field_is_added_altered_and_dropped(milvus: MilvusClient, books: str, look: Look) -> None:
    store_rows = (
        "INSERT INTO books.entities (id, tags, embedding, _partition) VALUES (1, '{}', '[1,2,3,4]', '_default')"
    )
    look(store_rows + " RETURNING id")
    milvus.add_collection_field(books, "pages", DataType.INT64, nullable=True, default_value=100)
    assert [field["name"] for field in milvus.describe_collection(books)["fields"]][-1] == "pages"
    milvus.alter_collection_field(books, "title", {"max_length": 128, "mmap.enabled": False})
    params = {field["name"]: field["params"] for field in milvus.describe_collection(books)["fields"]}
    assert params["title"] == {"max_length": 128, "mmap_enabled": False}
    milvus.create_index(books, index(milvus, "pages", index_type="INVERTED"))
    milvus.drop_collection_field(books, "pages")
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'books' AND column_name = 'pages'"
    assert look(columns) == [(0,)]
    assert milvus.list_indexes(books) == []


def test_a_field_keeps_its_number_whatever_becomes_of_others(milvus: MilvusClient, books: str) -> None:
    def numbers() -> dict[str, int]:
        return {field["name"]: field["field_id"] for field in milvus.describe_collection(books)["fields"]}

    created = numbers()
    assert list(created.values()) == list(range(100, 100 + len(created)))
    for name in ("pages", "price"):
        milvus.add_collection_field(books, name, DataType.INT64, nullable=True)
    added = numbers()
    milvus.drop_collection_field(books, "title")
    milvus.drop_collection_field(books, "pages")
    remaining = {name: number for name, number in added.items() if name not in {"title", "pages"}}
    assert numbers() == remaining
    milvus.add_collection_field(books, "pages", DataType.INT64, nullable=True)
    again = numbers()
    assert again.pop("pages") > max(added.values())
    assert again == remaining


def test_a_field_with_an_index_that_is_exact_takes_it_along(milvus: MilvusClient, books: str) -> None:
    milvus.add_collection_field(books, "second", DataType.FLOAT_VECTOR, dim=2, nullable=True)
    milvus.create_index(books, index(milvus, "second", index_type="FLAT", metric_type="L2"))
    milvus.drop_collection_field(books, "second")
    milvus.add_collection_field(books, "second", DataType.FLOAT_VECTOR, dim=2, nullable=True)
    assert milvus.list_indexes(books) == []


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ("id", "cannot drop primary key field: id"),
        ("embedding", "cannot drop the last vector field: embedding"),
        ("nothing", "field not found: nothing"),
        ("$meta", "field not found: $meta"),
    ],
)
def test_a_field_that_must_stay_stays(milvus: MilvusClient, books: str, field: str, why: str) -> None:
    assert reason(lambda: milvus.drop_collection_field(books, field)) == (1100, f"{why}: invalid parameter")
    assert len(milvus.describe_collection(books)["fields"]) == 6


def test_a_field_that_entities_would_be_without_is_not_added(milvus: MilvusClient, books: str) -> None:
    why = reason(lambda: milvus.add_collection_field(books, "pages", DataType.INT64))[1]
    assert "added field must be nullable" in why


# Aliases


def test_aliases_come_change_and_go(milvus: MilvusClient, books: str, look: Look) -> None:
    milvus.create_collection("films", dimension=4)
    milvus.create_alias(books, "prod")
    milvus.create_alias(books, "prod")
    assert look("SELECT count(*) FROM prod.entities") == [(0,)]
    assert milvus.describe_alias("prod") == {"alias": "prod", "collection_name": "books", "db_name": "default"}
    assert milvus.list_aliases(books)["aliases"] == ["prod"]
    assert reason(lambda: milvus.create_alias("films", "prod")) == (
        1602,
        "alias already exist[database=default][alias=prod]: prod is alias to another collection: books",
    )
    assert reason(lambda: milvus.create_alias(books, "films")) == (
        1601,
        "alias and collection name conflict[database=default][alias=films]",
    )
    assert reason(lambda: milvus.create_collection("prod", dimension=4))[0] == 1601
    assert reason(lambda: milvus.drop_collection("prod"))[1].startswith("cannot drop the collection via alias = prod")
    assert "because it has associated aliases [prod]" in reason(lambda: milvus.drop_collection(books))[1]
    milvus.alter_alias("films", "prod")
    assert milvus.list_aliases(books)["aliases"] == []
    milvus.drop_alias("prod")
    milvus.drop_alias("prod")
    assert reason(lambda: milvus.describe_alias("prod")) == (1600, "alias not found[database=default][alias=prod]")
    assert reason(lambda: milvus.alter_alias("films", "prod"))[0] == 1600
    assert "Invalid collection alias: 1st." in reason(lambda: milvus.create_alias(books, "1st"))[1]


# Databases


def test_a_database_of_milvus_is_one_of_postgresql(milvus: MilvusClient, look: Look, gateway: Gateway) -> None:
    names = "SELECT count(*) FROM pg_database WHERE datname = 'vecstore_lib'"
    milvus.create_database("vecstore_lib", properties={"owner": "library"})
    try:
        assert look(names) == [(1,)]
        assert milvus.list_databases() == ["default", "vecstore_lib"]
        assert milvus.describe_database("vecstore_lib") == {"name": "vecstore_lib", "owner": "library"}
        milvus.alter_database_properties("vecstore_lib", {"owner": "city"})
        milvus.drop_database_properties("vecstore_lib", ["nothing"])
        assert milvus.describe_database("vecstore_lib")["owner"] == "city"
        assert "already exist" in reason(lambda: milvus.create_database("vecstore_lib"))[1]
        there = MilvusClient(f"http://{gateway.address}", db_name="vecstore_lib")
        there.create_collection("books", dimension=4)
        assert (there.list_collections(), milvus.list_collections()) == (["books"], [])
        assert reason(lambda: milvus.drop_database("vecstore_lib")) == (
            1100,
            "database:vecstore_lib not empty, must drop all collections before drop database: invalid parameter",
        )
        there.drop_collection("books")
        there.close()
    finally:
        milvus.use_database("vecstore_lib")
        milvus.drop_collection("books")
        milvus.use_database("default")
        milvus.drop_database("vecstore_lib")
    assert look(names) == [(0,)]
    assert reason(lambda: milvus.drop_database("vecstore_lib")) == (800, "database not found[database=vecstore_lib]")
    assert reason(lambda: milvus.drop_database("default"))[1].startswith("can not drop default database")
    assert reason(lambda: milvus.drop_database("postgres"))[0] == 800  # somebody else's
    assert reason(lambda: milvus.use_database("nothing") or milvus.list_collections())[0] == 800


def test_a_database_that_another_gateway_has_dropped_is_not_found(
    milvus: MilvusClient, gateway: Gateway, database_url: URL
) -> None:
    milvus.create_database("vecstore_shared")
    here = MilvusClient(f"http://{gateway.address}", db_name="vecstore_shared")
    assert here.list_collections() == []
    with serve(database_url, port=0) as other:
        there = MilvusClient(f"http://{other.address}")
        there.drop_database("vecstore_shared")
        there.close()
    for _ in range(2):
        assert reason(here.list_collections) == (800, "database not found[database=vecstore_shared]")
    here.close()


# What there is one of, and upkeep


def test_flush_and_compaction_are_done_when_they_are_answered(
    milvus: MilvusClient, books: str, store: Store, look: Look
) -> None:
    rows = [{"id": key, "tags": [], "embedding": [1, 2, 3, key]} for key in range(1, 101)]
    store.collection(books).insert(rows)
    store.collection(books).delete("id < 90")
    milvus.flush(books)
    compaction = milvus.compact(books)
    assert milvus.get_compaction_state(compaction) == "Completed"
    assert look("SELECT last_vacuum IS NOT NULL FROM pg_stat_user_tables WHERE relname = 'entities__default'") == [
        (True,)
    ]
    assert reason(lambda: milvus.flush("nothing"))[0] == 100


def test_one_server_answers_as_a_cluster_of_one(milvus: MilvusClient, books: str) -> None:
    assert milvus.list_resource_groups() == ["__default_resource_group"]
    assert milvus.describe_resource_group("__default_resource_group").num_available_node == 1
    assert milvus.list_users() == ["root"]
    assert milvus.describe_user("root")["roles"] == ("admin", "public")
    assert milvus.list_roles() == ["admin", "public"]
    assert milvus.describe_replica(books) == []
    milvus.load_collection(books)
    assert len(milvus.describe_replica(books)) == 1


def test_what_is_not_served_says_why(milvus: MilvusClient, books: str) -> None:
    for call, why in (
        (lambda: milvus.create_user("ann", "secret1"), "CREATE ROLE"),
        (lambda: milvus.create_resource_group("fast"), "one server"),
        (lambda: milvus.create_snapshot(books, "monday"), "pg_dump"),
    ):
        with pytest.raises(Exception, match=why):
            call()


# Asynchronous


def test_the_asynchronous_client_does_the_same(gateway: Gateway, look: Look) -> None:
    async def program() -> None:
        client = AsyncMilvusClient(f"http://{gateway.address}")
        await client.create_collection("books", schema=books_schema())
        await client.create_index("books", index_params())
        await client.create_partition("books", "novel")
        await client.load_collection("books")
        assert await client.list_partitions("books") == ["_default", "novel"]
        await client.release_collection("books")
        await client.drop_index("books", "embedding")
        await client.drop_partition("books", "novel")
        assert look(INDEXES) == []
        assert look(TABLES) == [("entities",), ("entities__default",)]
        await client.drop_collection("books")
        await client.close()

    def index_params() -> Any:
        params = MilvusClient.prepare_index_params()
        params.add_index("embedding", index_type="HNSW", metric_type="L2")
        return params

    asyncio.run(program())
    assert look(SCHEMAS) == [(0,)]


def test_the_registry_keeps_what_milvus_alone_knows_as_text(books: str, look: Look) -> None:
    (properties,) = look("SELECT properties FROM vecstore.collection_registry")[0]
    assert all(isinstance(value, str) for value in properties.values())
    assert json.loads(properties["milvus.field.title"]) == {"mmap.enabled": "true"}


def test_clients_that_load_at_once_do_not_undo_each_other(gateway: Gateway, milvus: MilvusClient, books: str) -> None:
    names = [f"part_{number}" for number in range(8)]
    for name in names:
        milvus.create_partition(books, name)

    def program(number: int) -> None:
        client = MilvusClient(f"http://{gateway.address}", alias=f"loader_{number}")
        client.load_partitions(books, [names[number]])
        client.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(program, range(8)))
    states = {name: milvus.get_load_state(books, name)["state"] for name in ("_default", *names)}
    assert states == {"_default": LoadState.NotLoad, **dict.fromkeys(names, LoadState.Loaded)}
