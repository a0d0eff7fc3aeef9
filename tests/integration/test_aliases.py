from __future__ import annotations

import pytest
from sqlalchemy import column, select, table

from samples import BOOK_FIELDS, book
from vecstore import (
    AliasExists,
    AliasNotFound,
    Collection,
    CollectionExists,
    CollectionNotFound,
    DataType,
    DependentObjects,
    Field,
    Hnsw,
    InvalidName,
    NotOurs,
    Store,
)


def titles(store: Store, schema: str) -> list[str]:
    with store.engine.connect() as connection:
        entities = table("entities", column("id"), column("title"), schema=schema)
        return list(connection.execute(select(entities.c.title).order_by(entities.c.id)).scalars())


@pytest.fixture
def films(store: Store) -> Collection:
    films = store.create_collection("films", BOOK_FIELDS)
    films.insert([book(1, title="a film")])
    return films


def test_an_alias_is_another_name_for_everything_but_drop(store: Store, books: Collection) -> None:
    store.create_alias("books", "prod")
    prod = store.collection("prod")
    prod.insert([book(1)])
    prod.create_partition("novel")
    prod.create_index("embedding", Hnsw())
    assert prod.search(book(1)["embedding"], output_fields=["title"])[0][0].fields == {"title": "book 1"}
    assert prod.upsert([book(1), book(2)]).count == 2
    assert prod.delete(where=prod.c.id == 2).count == 1
    prod.drop_index()
    prod.drop_partition("novel")
    assert prod.describe().name == "books"
    assert prod.describe().aliases == ("prod",)
    assert store.has_collection("prod")
    assert store.list_collections() == ["books"]


def test_sql_users_read_through_an_alias(store: Store, books: Collection) -> None:
    store.create_alias("books", "prod")
    books.insert([book(1)])
    assert titles(store, "prod") == ["book 1"]


def test_an_alias_is_pointed_elsewhere_in_one_moment(store: Store, books: Collection, films: Collection) -> None:
    store.create_alias("books", "prod")
    with store.engine.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE reader_of_prod; GRANT SELECT ON prod.entities TO reader_of_prod")
        store.bind(connection).alter_alias("films", "prod")
        grants = "SELECT has_table_privilege('reader_of_prod', 'prod.entities', 'SELECT')"
        assert connection.exec_driver_sql(grants).scalar_one()
        connection.rollback()
    assert store.list_aliases() == {"prod": "books"}
    store.alter_alias("films", "prod")
    assert store.list_aliases() == {"prod": "films"}
    assert titles(store, "prod") == ["a film"]
    books.drop()


def test_an_alias_goes_to_a_collection_of_other_fields(store: Store, books: Collection) -> None:
    songs = store.create_collection("songs", [Field("key", DataType.VARCHAR, primary_key=True, max_length=9)])
    store.create_alias("books", "prod")
    store.alter_alias("songs", "prod")
    songs.insert([{"key": "la"}])
    assert store.collection("prod").get(["la"]) == [{"key": "la"}]
    with store.engine.begin() as connection:
        connection.exec_driver_sql("CREATE VIEW public.mine AS SELECT key FROM prod.entities")
    with pytest.raises(DependentObjects):
        store.alter_alias("books", "prod")
    with pytest.raises(DependentObjects):
        store.drop_alias("prod")
    assert store.list_aliases() == {"prod": "songs"}


def test_an_alias_of_an_alias_is_one_of_the_collection(store: Store, books: Collection) -> None:
    store.create_alias("books", "prod")
    store.create_alias("prod", "latest")
    assert store.list_aliases() == {"latest": "books", "prod": "books"}


def test_a_name_that_is_taken_is_no_alias(store: Store, books: Collection, films: Collection) -> None:
    store.create_alias("books", "prod")
    with store.engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA sales")
    with pytest.raises(AliasExists, match="of collection 'books'"):
        store.create_alias("films", "prod")
    with pytest.raises(CollectionExists, match="'films'"):
        store.create_alias("books", "films")
    with pytest.raises(NotOurs, match="'sales'"):
        store.create_alias("books", "sales")
    with pytest.raises(CollectionExists, match="alias of collection 'books'"):
        store.create_collection("prod", BOOK_FIELDS)
    with pytest.raises(InvalidName, match="alias name"):
        store.create_alias("books", "no name")


def test_what_is_no_alias_is_not_altered_or_dropped(store: Store, books: Collection) -> None:
    for call in (store.drop_alias, lambda name: store.alter_alias("books", name)):
        with pytest.raises(AliasNotFound, match="'prod'"):
            call("prod")
        with pytest.raises(NotOurs, match="'books'"):
            call("books")
    with pytest.raises(CollectionNotFound, match="'films'"):
        store.create_alias("films", "prod")


def test_a_dropped_alias_leaves_the_collection(store: Store, books: Collection) -> None:
    store.create_alias("books", "prod")
    store.drop_alias("prod")
    assert store.list_aliases() == {}
    assert not store.has_collection("prod")
    assert books.count() == 0
    store.create_alias("books", "prod")
