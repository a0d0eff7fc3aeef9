"""What analysts change by plain SQL is seen, and breaks nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import (
    Collection,
    DataType,
    DependentObjects,
    Field,
    Hnsw,
    IndexExists,
    InvalidSchema,
    OperationRefused,
    OtherIndex,
    Store,
)


def run(store: Store, statement: str) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql(statement)


@pytest.mark.parametrize(
    "column",
    [
        "v2 vector",
        "flags bit(3)",
        '"weird name" int',
        "place point",
        "doubled int GENERATED ALWAYS AS (year * 2) STORED",
        "isbn text",
        "price numeric(5, 2)",
    ],
)
def test_a_column_of_any_kind_may_be_added(store: Store, books: Collection, column: str) -> None:
    run(store, f"ALTER TABLE books.entities ADD COLUMN {column}")
    books.insert([book(1)])
    books.upsert([book(1), book(2)])
    assert books.search([1, 2, 3, 4], output_fields=["*"])[0][0].fields["title"].startswith("book")
    assert store.doctor() == ()
    books.drop()


def test_renamed_key_columns_are_followed(store: Store) -> None:
    drawn = (Field("id", DataType.INT64, primary_key=True, auto_id=True), *BOOK_FIELDS[1:])
    books = store.create_collection("books", drawn)
    named = store.create_collection("named", (Field("id", DataType.VARCHAR, primary_key=True, max_length=9),))
    for name in ("books", "named"):
        run(store, f"ALTER TABLE {name}.entities RENAME COLUMN id TO key")
    assert books.insert([{"title": "a", "embedding": [1, 2, 3, 4]}]).ids == [1]
    assert books.upsert([{"key": 1, "title": "b", "embedding": [1, 2, 3, 4]}]).count == 1
    named.insert([{"key": "a"}])
    assert named.get(["a"]) == [{"key": "a"}]


def test_a_collection_without_its_key_says_what_happened(store: Store, books: Collection) -> None:
    run(store, "ALTER TABLE books.entities DROP CONSTRAINT entities_pkey")
    with pytest.raises(InvalidSchema, match="'books' was changed by plain SQL"):
        books.count()


def test_dynamic_fields_stay_objects(store: Store) -> None:
    books = store.create_collection("books", BOOK_FIELDS, dynamic=True)
    books.insert([book(1, color="red")])
    with pytest.raises(Exception, match="_meta_object"):
        run(store, "UPDATE books.entities SET _meta = '[1]'")
    assert books.get([1])[0]["color"] == "red"


def test_a_table_of_somebody_else_that_became_a_partition_is_not_dropped(store: Store, books: Collection) -> None:
    run(store, "CREATE TABLE public.mine (LIKE books.entities INCLUDING ALL)")
    run(store, "ALTER TABLE books.entities ATTACH PARTITION public.mine FOR VALUES IN ('mine')")
    with pytest.raises(DependentObjects) as caught:
        books.drop()
    assert caught.value.objects == ("table public.mine",)
    with pytest.raises(OperationRefused, match=r"mine.*online=False"):
        books.create_index("embedding", Hnsw(), online=True)
    assert books.create_index("embedding", Hnsw()).state == "ready"
    run(store, "ALTER TABLE books.entities DETACH PARTITION public.mine")
    books.drop()
    run(store, "SELECT FROM public.mine")


def test_indexes_of_other_kinds_are_listed_and_not_mistaken(store: Store, books: Collection) -> None:
    books.insert([book(key) for key in range(20)])
    run(store, "CREATE INDEX partial ON books.entities USING hnsw (embedding vector_cosine_ops) WHERE year > 1910")
    run(store, "CREATE INDEX taxicab ON books.entities USING hnsw (embedding vector_l1_ops)")
    run(store, "CREATE INDEX pair ON books.entities (year, title)")
    assert all(isinstance(index.spec, OtherIndex) for index in books.indexes)
    assert books.search([1, 2, 3, 4])[0].path == "exact"
    assert len(books.search([1, 2, 3, 4], 20)[0]) == 20
    assert books.create_index("embedding", Hnsw()).state == "ready"
    with pytest.raises(IndexExists):
        books.create_index("embedding", Hnsw())
    books.drop_index("partial")


def test_a_view_that_no_longer_shows_one_collection_is_no_alias(store: Store, books: Collection) -> None:
    store.create_collection("films", BOOK_FIELDS)
    store.create_alias("books", "prod")
    run(
        store,
        "CREATE OR REPLACE VIEW prod.entities AS SELECT b.id, b.title, b.year, b.embedding, b._partition"
        " FROM books.entities b JOIN films.entities f USING (id)",
    )
    with pytest.raises(OperationRefused, match="books, films"):
        store.collection("prod")


def test_times_are_read_in_any_time_zone_of_the_session(store: Store) -> None:
    times = store.create_collection(
        "times", (Field("id", DataType.INT64, primary_key=True), Field("at", DataType.TIMESTAMPTZ))
    )
    ends = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)]
    times.insert({"id": [1, 2], "at": ends})
    for zone in ("Asia/Tokyo", "America/New_York"):
        with store.engine.begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL TIME ZONE '{zone}'")
            found = store.bind(connection).collection("times").get([1, 2], output_fields=["at"])
            assert [row["at"] for row in found] == ends


def test_another_schema_may_hold_the_extension(store: Store) -> None:
    run(store, 'CREATE SCHEMA "my ext"; ALTER EXTENSION vector SET SCHEMA "my ext"')

    with vecstore.connect(store.engine.url) as fresh:
        books = fresh.create_collection("books", BOOK_FIELDS)
        books.insert([book(key) for key in range(30)])
        books.create_index("embedding", Hnsw(), online=True)
        assert books.search([1, 2, 3, 4], exact=False)[0].path == "index"
        assert books.count(where=books.c.embedding.l2_distance([1, 0, 0, 0.5]) < 1.5) == 2
