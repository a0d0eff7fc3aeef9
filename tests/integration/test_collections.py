from __future__ import annotations

from dataclasses import replace

import pytest

from samples import BOOK_FIELDS, book
from vecstore import (
    Collection,
    CollectionExists,
    CollectionHasAliases,
    CollectionNotFound,
    DataType,
    DependentObjects,
    Field,
    InvalidArgument,
    InvalidName,
    InvalidSchema,
    NotOurs,
    OperationRefused,
    Store,
)


def run(store: Store, statement: str) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql(statement)


def test_a_new_collection_is_described_as_it_was_declared(store: Store) -> None:
    fields = (
        Field("id", DataType.VARCHAR, primary_key=True, max_length=20, description="the key"),
        Field("small", DataType.INT8, nullable=True, default_value=5),
        Field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=9, max_length=7),
        Field("half", DataType.FLOAT16_VECTOR, dim=3),
        Field("brain", DataType.BFLOAT16_VECTOR, dim=3, nullable=True),
        Field("bytes", DataType.INT8_VECTOR, dim=3),
        Field("bits", DataType.BINARY_VECTOR, dim=16),
        Field("sparse", DataType.SPARSE_FLOAT_VECTOR),
        Field("meta", DataType.JSON, nullable=True),
    )
    books = store.create_collection("books", fields, description="it's 100 %", dynamic=True, properties={"a": "b"})

    described = books.describe()

    assert described.schema.fields == fields
    assert described.schema.dynamic
    assert described.schema.description == "it's 100 %"
    assert described.schema.properties == {"a": "b"}
    assert [partition.name for partition in described.partitions] == ["_default"]


def test_a_collection_that_exists_is_not_created_again(store: Store, books: Collection) -> None:
    with pytest.raises(CollectionExists, match="'books'"):
        store.create_collection("books", BOOK_FIELDS)
    assert store.list_collections() == ["books"]


def test_a_program_that_is_run_again_finds_its_collection(store: Store) -> None:
    fields = (
        *BOOK_FIELDS,
        Field("rating", DataType.INT8, default_value=3),
        Field("notes", DataType.JSON, nullable=True),
        Field("text", DataType.TEXT, text_search="english", bm25=True),
        Field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=9, max_length=7, nullable=True),
    )
    first = store.create_collection("books", fields, dynamic=True, description="ours", exist_ok=True)
    first.insert([book(1) | {"text": "a whale"}])
    again = store.create_collection("books", fields, dynamic=True, exist_ok=True)
    assert again.count() == 1
    assert again.describe().schema.description == "ours"
    with store.transaction() as inside:
        assert inside.create_collection("books", fields, dynamic=True, exist_ok=True).count() == 1


def test_a_collection_that_is_another_is_not_taken_for_the_one_asked_for(store: Store, books: Collection) -> None:
    *others, vector = BOOK_FIELDS
    for fields, dynamic, difference in (
        (others, False, f"its fields are {', '.join(field.name for field in BOOK_FIELDS)}; asked for were id"),
        ([*others, replace(vector, dim=7)], False, f"field '{vector.name}' has dim={vector.dim}, asked for was 7"),
        (BOOK_FIELDS, True, "it has dynamic=False"),
    ):
        with pytest.raises(CollectionExists, match=f"collection 'books' exists and is another: {difference}"):
            store.create_collection("books", fields, dynamic=dynamic, exist_ok=True)
    store.create_alias("books", "prod")
    with pytest.raises(CollectionExists, match="alias of collection 'books'"):
        store.create_collection("prod", BOOK_FIELDS, exist_ok=True)


def test_a_default_that_its_field_does_not_take_is_refused_and_nothing_made(store: Store) -> None:
    fields = (*BOOK_FIELDS, Field("rating", DataType.INT8, default_value=300))
    with pytest.raises(InvalidSchema, match="rating"):
        store.create_collection("books", fields)
    assert not store.has_collection("books")


def test_a_schema_of_somebody_else_is_neither_adopted_nor_dropped_nor_renamed(store: Store) -> None:
    run(store, "CREATE SCHEMA sales CREATE TABLE entities (id int) CREATE TABLE kept (id int)")
    with pytest.raises(NotOurs, match="sales"):
        store.create_collection("sales", BOOK_FIELDS)
    with pytest.raises(NotOurs, match="sales"):
        store.drop_collection("sales")
    with pytest.raises(NotOurs, match="sales"):
        store.drop_collection("sales", missing_ok=True, cascade=True)
    with pytest.raises(NotOurs, match="sales"):
        store.rename_collection("sales", "books")
    assert not store.has_collection("sales")
    run(store, "INSERT INTO sales.kept VALUES (1)")


def test_a_schema_that_took_a_dropped_collections_name_is_not_ours(store: Store, books: Collection) -> None:
    run(store, "DROP SCHEMA books CASCADE")
    run(store, "CREATE SCHEMA books CREATE TABLE entities (id int)")
    with pytest.raises(NotOurs):
        store.drop_collection("books")
    with pytest.raises(CollectionNotFound):
        books.count()


def test_dropping_leaves_nothing_behind(store: Store, books: Collection) -> None:
    books.create_partition("novel")
    books.drop()
    assert store.list_collections() == []
    with store.engine.connect() as connection:
        left = connection.exec_driver_sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'books'").scalar_one()
        rows = connection.exec_driver_sql("SELECT count(*) FROM vecstore.collection_registry").scalar_one()
    assert (left, rows) == (0, 0)


def test_dropping_what_is_not_there_is_an_error_unless_missing_ok(store: Store) -> None:
    with pytest.raises(CollectionNotFound, match="'books'"):
        store.drop_collection("books")
    store.drop_collection("books", missing_ok=True)


def test_every_call_on_a_dropped_collection_says_so(store: Store, books: Collection) -> None:
    books.drop()
    calls = [
        books.describe,
        books.count,
        books.stats,
        books.drop,
        books.truncate,
        books.drop_index,
        lambda: books.insert([book(1)]),
        lambda: books.upsert([book(1)]),
        lambda: books.delete(ids=[1]),
        lambda: books.get([1]),
        lambda: books.search([1, 2, 3, 4]),
        lambda: books.create_partition("novel"),
        lambda: books.drop_partition("novel"),
        lambda: books.num_entities,
        lambda: store.collection("books"),
        lambda: store.rename_collection("books", "library"),
        lambda: store.create_alias("books", "prod"),
    ]
    for call in calls:
        with pytest.raises(CollectionNotFound):
            call()


def test_a_renamed_collection_keeps_everything(store: Store, books: Collection) -> None:
    books.insert([book(1)])
    store.create_alias("books", "prod")
    store.rename_collection("books", "library")
    assert store.list_collections() == ["library"]
    assert store.collection("library").get([1])[0]["title"] == "book 1"
    assert store.collection("prod").count() == 1
    assert store.list_aliases() == {"prod": "library"}


@pytest.mark.parametrize("new_name", ["films", "prod", "public", "a b"])
def test_a_collection_is_not_renamed_to_a_name_that_is_taken_or_invalid(
    store: Store, books: Collection, new_name: str
) -> None:
    store.create_collection("films", BOOK_FIELDS)
    store.create_alias("films", "prod")
    with pytest.raises((CollectionExists, InvalidName)):
        store.rename_collection("books", new_name)
    assert store.list_collections() == ["books", "films"]


def test_a_view_of_an_analyst_stops_the_drop_and_goes_with_cascade(store: Store, books: Collection) -> None:
    run(store, "CREATE VIEW public.recent AS SELECT id, title FROM books.entities WHERE year > 1990")
    with pytest.raises(DependentObjects) as caught:
        books.drop()
    assert caught.value.objects == ("view public.recent",)
    assert store.has_collection("books")
    books.drop(cascade=True)
    assert not store.has_collection("books")


def test_what_others_put_into_the_schema_stops_the_drop_too(store: Store, books: Collection) -> None:
    run(store, "CREATE TABLE books.notes (id int)")
    run(store, "CREATE TABLE public.loans (book bigint, part text, FOREIGN KEY (book, part) REFERENCES books.entities)")
    with pytest.raises(DependentObjects) as caught:
        books.drop()
    assert set(caught.value.objects) == {"table books.notes", "table constraint loans_book_part_fkey on public.loans"}
    assert store.has_collection("books")


def test_two_names_that_differ_in_case_are_two_collections(store: Store, books: Collection) -> None:
    upper = store.create_collection("Books", BOOK_FIELDS)
    upper.insert([book(1)])
    upper.drop()
    assert store.list_collections() == ["books"]
    assert books.count() == 0


def test_a_collection_with_aliases_cannot_be_dropped(store: Store, books: Collection) -> None:
    store.create_alias("books", "prod")
    for cascade in (False, True):
        with pytest.raises(CollectionHasAliases) as caught:
            books.drop(cascade=cascade)
        assert caught.value.aliases == ("prod",)
    store.drop_alias("prod")
    books.drop()


def test_a_collection_is_not_dropped_or_renamed_through_an_alias(store: Store, books: Collection) -> None:
    store.create_alias("books", "prod")
    with pytest.raises(OperationRefused, match="alias of collection 'books'"):
        store.drop_collection("prod")
    with pytest.raises(OperationRefused, match="alias of collection 'books'"):
        store.rename_collection("prod", "library")
    assert store.has_collection("books")


def test_changes_made_by_plain_sql_are_seen(store: Store, books: Collection) -> None:
    books.create_partition("novel")
    run(store, "DROP TABLE books.entities_novel")
    run(store, "ALTER TABLE books.entities ADD COLUMN isbn text")
    run(store, "CREATE INDEX by_hand ON books.entities (year)")
    described = books.describe()
    assert [partition.name for partition in described.partitions] == ["_default"]
    assert described.schema.field("isbn").data_type is DataType.TEXT
    assert [(index.name, index.field) for index in described.indexes] == [("by_hand", "year")]


def test_properties_are_altered_one_by_one(store: Store) -> None:
    books = store.create_collection("books", BOOK_FIELDS, properties={"owner": "library", "floor": "2"})
    books.alter(properties={"floor": "3", "shelf": "b"}, delete_properties=["owner", "nothing"])
    assert books.describe().schema.properties == {"floor": "3", "shelf": "b"}
    books.alter(description="what was read")
    assert books.describe().schema.properties == {"floor": "3", "shelf": "b"}
    assert books.describe().schema.description == "what was read"
    with pytest.raises(InvalidArgument, match="delete_properties"):
        books.alter(delete_properties="floor")


def test_what_is_remembered_of_a_collection_is_as_new_as_its_structure(store: Store, books: Collection) -> None:
    before = books.describe(fresh=False)
    assert books.describe(fresh=False) is before
    books.alter(properties={"owner": "library"})
    assert books.describe(fresh=False).schema.properties == {"owner": "library"}
    books.create_partition("novel")
    assert [it.name for it in books.describe(fresh=False).partitions] == ["_default", "novel"]
    books.drop()
    with pytest.raises(CollectionNotFound):
        books.describe(fresh=False)


def test_summaries_tell_of_each_collection_what_a_list_shows(store: Store, books: Collection) -> None:
    store.create_collection("atlas", BOOK_FIELDS, properties={"a": "b"})
    atlas, found = store.summaries()
    assert (atlas.name, atlas.properties, found.name, found.properties) == ("atlas", {"a": "b"}, "books", {})
    description = books.describe()
    assert (found.oid, found.created_at) == (description.oid, description.created_at)


def test_a_handle_may_be_had_without_a_look(store: Store) -> None:
    handle = store.collection("books", check=False)
    with pytest.raises(CollectionNotFound):
        handle.count()
    store.create_collection("books", BOOK_FIELDS)
    assert handle.count() == 0
