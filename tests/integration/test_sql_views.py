"""What the views of schema vecstore say is what Python says, and stays true whoever changes things."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import URL

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import Btree, Collection, DataType, Field, Gin, Hnsw, IndexQualityWarning, IvfFlat, Metric, Store

FIELDS = (
    Field("id", DataType.VARCHAR, primary_key=True, auto_id=True, max_length=32),
    *(Field(str(kind).lower(), kind, nullable=True) for kind in DataType if kind in {*DataType} - {
        DataType.VARCHAR, DataType.ARRAY} and not kind.is_vector),
    Field("title", DataType.VARCHAR, max_length=9, default_value="it's", description="Its name: 100 %"),
    Field("numbers", DataType.ARRAY, element_type=DataType.INT8, max_capacity=3),
    Field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=5, max_length=20),
    Field("half", DataType.FLOAT16_VECTOR, dim=3),
    Field("brain", DataType.BFLOAT16_VECTOR, dim=3),
    Field("bytes", DataType.INT8_VECTOR, dim=3, nullable=True),
    Field("bits", DataType.BINARY_VECTOR, dim=16),
    Field("sparse", DataType.SPARSE_FLOAT_VECTOR),
    Field("embedding", DataType.FLOAT_VECTOR, dim=2500),
)  # fmt: skip


def rows(store: Store, statement: str, *parameters: Any) -> list[dict[str, Any]]:
    with store.engine.begin() as connection:
        return [dict(row) for row in connection.exec_driver_sql(statement, parameters).mappings()]


def run(store: Store, statement: str) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql(statement)


def test_fields_are_those_of_describe_for_every_type(store: Store) -> None:
    described = store.create_collection("all_types", FIELDS, dynamic=True).describe().schema
    run(store, "ALTER TABLE all_types.entities ADD COLUMN place point, ADD COLUMN loose vector, ADD COLUMN odd bit(3)")
    run(
        store,
        "ALTER TABLE all_types.entities ADD COLUMN isbn text, ADD COLUMN twice int GENERATED ALWAYS AS (1) STORED",
    )
    seen = rows(store, "SELECT * FROM vecstore.fields ORDER BY position")
    expected = store.collection("all_types").describe().schema.fields
    assert len(expected) == len(described.fields) + 1
    same = ("name", "data_type", "dim", "max_length", "element_type", "max_capacity", "primary_key", "auto_id",
            "partition_key", "nullable")  # fmt: skip
    assert [[row[key] for key in same] for row in seen] == [[getattr(f, key) for key in same] for f in expected]
    by_name = {row["name"]: row for row in seen}
    assert by_name["title"]["description"] == "Its name: 100 %"
    assert by_name["title"]["default_value"] == "'it''s'::text"
    assert by_name["embedding"]["column_type"] == "vector(2500)"


def test_partition_keys_and_their_partitions_are_told(store: Store) -> None:
    tenants = store.create_collection(
        "tenants",
        (*BOOK_FIELDS, Field("tenant", DataType.VARCHAR, max_length=9, partition_key=True)),
        num_partitions=3,
    )
    assert rows(store, "SELECT partition_key, partitions, dynamic FROM vecstore.collections") == [
        {"partition_key": "tenant", "partitions": 3, "dynamic": False}
    ]
    assert [row["name"] for row in rows(store, "SELECT name FROM vecstore.partitions ORDER BY 1")] == [
        partition.name for partition in tenants.partitions
    ]
    keys = rows(
        store, "SELECT name, primary_key, partition_key FROM vecstore.fields WHERE primary_key OR partition_key"
    )
    assert keys == [
        {"name": "id", "primary_key": True, "partition_key": False},
        {"name": "tenant", "primary_key": False, "partition_key": True},
    ]


def test_indexes_are_those_of_describe(store: Store) -> None:
    everything = store.create_collection("all_types", FIELDS, dynamic=True)
    everything.create_index("embedding", Hnsw(metric=Metric.L2))
    with pytest.warns(IndexQualityWarning):
        everything.create_index("half", IvfFlat(lists=1))
    everything.create_index("sparse", Hnsw(metric=Metric.IP))
    everything.create_index("bits", Hnsw(metric=Metric.JACCARD))
    everything.create_index("title", Btree())
    everything.create_index("tags", Gin())
    everything.create_index("$meta['it\\'s']['a\\\\b'][3]", Btree(cast=DataType.VARCHAR))
    everything.create_index("$meta", Gin())
    run(store, "CREATE INDEX partial ON all_types.entities USING hnsw (half halfvec_l2_ops) WHERE bool")
    run(store, "CREATE INDEX commented ON all_types.entities ((title || 'x'))")
    run(store, "COMMENT ON INDEX all_types.commented IS 'no {json'")
    seen = rows(store, "SELECT name, field, metric, half_precision, state FROM vecstore.indexes ORDER BY name")
    expected = sorted(everything.describe().indexes, key=lambda index: index.name)
    assert [(row["name"], row["metric"], row["half_precision"], row["state"]) for row in seen] == [
        (index.name, index.metric, index.half_precision, index.state) for index in expected
    ]
    named = {index.name: index.field for index in expected if index.name != "commented"}
    assert {row["name"]: row["field"] for row in seen if row["name"] != "commented"} == named


def test_sizes_and_counts_follow_the_rows(store: Store, books: Collection) -> None:
    books.insert([book(key) for key in range(100)])
    books.create_index("embedding", Hnsw())
    run(store, "ANALYZE books.entities")
    (seen,) = rows(store, "SELECT rows_estimated, bytes, owner FROM vecstore.collections")
    stats = books.stats()
    assert seen == {"rows_estimated": 100, "bytes": stats.bytes, "owner": "postgres"}
    (index,) = rows(store, "SELECT bytes FROM vecstore.indexes")
    assert index["bytes"] == stats.indexes[0].bytes > 0


def test_a_drop_under_way_keeps_no_view_waiting(store: Store, books: Collection) -> None:
    with store.engine.begin() as other:
        store.bind(other).drop_collection("books")
        with store.engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL statement_timeout = '60s'")
            for view in ("collections", "fields", "partitions", "indexes", "aliases"):
                connection.exec_driver_sql(f"TABLE vecstore.{view}").all()
            sizes = connection.exec_driver_sql("SELECT bytes FROM vecstore.partitions").scalars().all()
        assert sizes == [None]
        other.rollback()
    assert books.count() == 0


def test_the_views_show_a_role_what_it_may_use(store: Store, books: Collection, database_url: URL) -> None:
    role = f"viewer_{database_url.database}"
    run(store, f"CREATE ROLE {role}")
    store.create_alias("books", "prod")
    with vecstore.connect(database_url.update_query_dict({"options": f"-c role={role}"})) as viewer:
        for view in ("collections", "fields", "partitions", "indexes", "aliases"):
            assert rows(viewer, f"TABLE vecstore.{view}") == []
        store.grant(role, on="books")
        assert [row["name"] for row in rows(viewer, "SELECT * FROM vecstore.collections")] == ["books"]
        assert rows(viewer, "SELECT name, collection FROM vecstore.aliases") == [
            {"name": "prod", "collection": "books"}
        ]


def test_an_online_build_is_seen_as_one_and_what_it_left_as_invalid(store: Store, books: Collection) -> None:
    books.create_partition("other")
    books.insert([book(1)])
    states: list[dict[str, Any]] = []
    # Somebody's snapshot, older than the build, keeps it waiting.
    with store.engine.connect().execution_options(isolation_level="REPEATABLE READ") as older:
        older.exec_driver_sql("SELECT FROM books.entities")

        def build() -> None:
            with vecstore.connect(store.engine.url, ddl_timeout=60) as builder:
                builder.collection("books").create_index("embedding", Hnsw(), online=True)

        thread = threading.Thread(target=build)
        thread.start()
        while not any(state["name"] and state["state"] == "building" for state in states):
            states = rows(store, "SELECT name, state, build_phase, build_percent FROM vecstore.indexes")
            assert thread.is_alive()
        older.rollback()
        thread.join()
    assert states[0]["name"] == "embedding_idx"
    assert states[0]["build_phase"]
    assert 0 <= states[0]["build_percent"] < 100
    assert rows(store, "SELECT state FROM vecstore.indexes") == [{"state": "ready"}]
    run(store, "CREATE INDEX half_done ON ONLY books.entities USING hnsw (embedding vector_l2_ops)")
    assert rows(store, "SELECT state, build_percent FROM vecstore.indexes WHERE name = 'half_done'") == [
        {"state": "invalid", "build_percent": None}
    ]


COMMENTS = """
    SELECT 'schema ' || nspname, obj_description(oid, 'pg_namespace') FROM pg_namespace
    WHERE nspname IN ('books', 'prod', 'vecstore')
  UNION ALL
    SELECT c.oid::regclass::text, obj_description(c.oid, 'pg_class') FROM pg_class c
    WHERE relnamespace::regnamespace::text IN ('books', 'prod', 'vecstore') AND relkind IN ('r', 'p', 'v')
  UNION ALL
    SELECT p.oid::regprocedure::text, obj_description(p.oid, 'pg_proc') FROM pg_proc p
    WHERE pronamespace = 'vecstore'::regnamespace AND proname !~ '^_'
"""


COLUMN_COMMENTS = """
    SELECT attname, col_description(attrelid, attnum) FROM pg_attribute
    WHERE attrelid = 'books.entities_novel'::regclass AND attnum > 0
"""


VIEW_COLUMNS = """
    SELECT a.attrelid::regclass || '.' || a.attname, col_description(a.attrelid, a.attnum)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'vecstore'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0
"""


def test_every_object_explains_itself(store: Store) -> None:
    described = (*BOOK_FIELDS[:1], Field("title", DataType.TEXT, description="Its name"), *BOOK_FIELDS[3:])
    books = store.create_collection("books", described, dynamic=True)
    books.create_partition("novel")
    store.create_alias("books", "prod")
    with store.engine.connect() as connection:
        comments = {row[0]: row[1] for row in connection.exec_driver_sql(COMMENTS)}
        columns = {row[0]: row[1] for row in connection.exec_driver_sql(COLUMN_COMMENTS)}
        of_views = {row[0]: row[1] for row in connection.exec_driver_sql(VIEW_COLUMNS)}
    assert {name for name, comment in comments.items() if not comment} == set()
    assert {name for name, comment in of_views.items() if not comment} == set()
    assert comments["books.entities_novel"] == "The entities of partition novel"
    assert columns["title"] == "Its name"
    assert columns["_meta"]
    assert columns["_partition"]
    assert books.describe().schema.description == ""
    assert rows(store, "SELECT description FROM vecstore.collections") == [{"description": None}]


@pytest.mark.parametrize("description", ["", "Books: it's 100 %", "x" * 5000])
def test_a_description_is_what_was_given(store: Store, description: str) -> None:
    books = store.create_collection("books", BOOK_FIELDS, description=description)
    assert books.describe().schema.description == description
