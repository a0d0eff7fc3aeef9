"""psycopg prepares what it has executed five times; the plans must survive whatever happens to the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import URL, create_engine
from sqlalchemy.pool import StaticPool

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import Collection, CollectionNotFound, DataType, Field, FieldNotFound, Hnsw, Store

QUERY = [1.0, 2.0, 3.0, 4.0]
OUTPUT = ["title", "year"]


@pytest.fixture
def one_connection(database_url: URL) -> Iterator[Store]:
    """A store whose every call is on the same connection, so that what one call prepared the next one uses."""
    engine = create_engine(database_url, poolclass=StaticPool)
    yield vecstore.connect(engine)
    engine.dispose()


@pytest.fixture
def books(one_connection: Store) -> Collection:
    books = one_connection.create_collection("books", BOOK_FIELDS)
    books.create_partition("novel")
    books.insert([book(key) for key in range(20)])
    books.insert([book(key) for key in range(20, 30)], partition_name="novel")
    books.create_index("embedding", Hnsw())
    return books


def all_calls(books: Collection) -> tuple[object, ...]:
    """Every call that reads, and one that writes."""
    found = books.search(QUERY, limit=5, output_fields=OUTPUT)[0]
    near = books.search(QUERY, limit=5, partition_names=["_default"])[0]
    filtered = books.search(QUERY, limit=5, where=books.c.year > 1905)[0]
    got = books.get([*found.ids.tolist(), "x"] if isinstance(found[0].id, str) else found.ids, output_fields=OUTPUT)
    books.upsert([{**books.get([found[0].id])[0], "title": "read"}])
    books.delete(where=books.c.title == "no such title")
    return (
        [hit["title"] for hit in found.to_dicts()][1:],
        near.ids.tolist(),
        filtered.ids.tolist(),
        len(got),
        books.count(),
        books.count(where=books.c.year > 1905),
        books.stats().rows,
    )


@pytest.fixture
def prepared(one_connection: Store, books: Collection) -> Collection:
    for _ in range(10):
        all_calls(books)
    return books


def test_a_search_that_is_repeated_is_prepared(one_connection: Store, prepared: Collection) -> None:
    for _ in range(10):
        prepared.search(QUERY)
    with one_connection.engine.connect() as connection:
        statements = connection.exec_driver_sql(
            "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%%books.entities.embedding OPERATOR%%'"
        ).scalar_one()
    assert statements > 0


def run(store: Store, statement: str) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql(statement)


CHANGES: dict[str, Callable[[Store, Collection], object]] = {
    "a column is added": lambda store, _: run(store, "ALTER TABLE books.entities ADD COLUMN isbn text DEFAULT 'none'"),
    "a column widens": lambda store, _: run(store, "ALTER TABLE books.entities ALTER COLUMN year TYPE bigint"),
    "a column of ours widens": lambda store, _: run(
        store, "ALTER TABLE books.entities ALTER COLUMN title TYPE varchar"
    ),
    "the index is dropped": lambda _, books: books.drop_index(),
    "the index is replaced": lambda _, books: (books.drop_index(), books.create_index("embedding", Hnsw(m=8))),
    "a scalar index is added": lambda store, _: run(store, "CREATE INDEX by_year ON books.entities (year)"),
    "a partition is added": lambda _, books: books.create_partition("poem"),
    "statistics are new": lambda store, _: run(store, "ANALYZE books.entities"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_prepared_calls_go_on_when(one_connection: Store, prepared: Collection, change: str) -> None:
    before = all_calls(prepared)
    CHANGES[change](one_connection, prepared)
    for _ in range(7):
        assert all_calls(prepared) == before


def test_prepared_calls_see_a_partition_dropped_and_made_again(prepared: Collection) -> None:
    prepared.drop_partition("novel")
    prepared.create_partition("novel")
    for _ in range(7):
        assert all_calls(prepared)[4] == 20
    prepared.insert([book(key) for key in range(20, 30)], partition_name="novel")
    assert prepared.count(partition_names=["novel"]) == 10


KEYS: dict[str, tuple[Field, Callable[[int], object]]] = {
    "int": (Field("id", DataType.INT64, primary_key=True), lambda key: key),
    "text": (Field("id", DataType.VARCHAR, primary_key=True, max_length=20), lambda key: f"key {key:03}"),
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("within_transaction", [False, True])
def test_prepared_calls_work_on_a_collection_made_anew_with_another_key_or_dimension(
    one_connection: Store,
    prepared: Collection,
    key: str,
    within_transaction: bool,  # noqa: FBT001
) -> None:
    field, key_of = KEYS[key]
    fields = [field, *BOOK_FIELDS[1:3], Field("embedding", DataType.FLOAT_VECTOR, dim=6)]
    prepared.drop()
    fresh = one_connection.create_collection("books", fields)
    fresh.insert([book(number, id=key_of(number), embedding=[1, number, 0, 0, 0, 1]) for number in range(8)])

    def look(books: Collection) -> None:
        for _ in range(7):
            found = books.search([1, 3, 0, 0, 0, 1], limit=1, output_fields=OUTPUT, metric="L2")[0][0]
            assert (found.id, found.distance, found.fields) == (key_of(3), 0.0, {"title": "book 3", "year": 1903})
            assert books.get([key_of(3)], output_fields=OUTPUT) == [{"title": "book 3", "year": 1903}]
            assert books.get([key_of(3)])[0]["id"] == key_of(3)
            assert books.count(where=books.c.year > 1905) == 2
            assert books.upsert([{**books.get([key_of(4)])[0], "title": "read"}]).ids == [key_of(4)]
            assert books.delete(ids=[key_of(99)]).count == 0

    if within_transaction:
        with one_connection.engine.connect() as connection:
            look(one_connection.bind(connection).collection("books"))
            connection.commit()
    else:
        look(fresh)
    assert fresh.get([key_of(4)])[0]["title"] == "read"


def test_prepared_calls_follow_a_collection_that_takes_the_name_of_another(
    one_connection: Store, prepared: Collection
) -> None:
    one_connection.rename_collection("books", "library")
    with pytest.raises(CollectionNotFound):
        prepared.search(QUERY)
    films = one_connection.create_collection("films", [*BOOK_FIELDS[:2], BOOK_FIELDS[3]])
    films.insert([{"id": 1, "title": "a film", "embedding": QUERY}])
    one_connection.rename_collection("films", "books")
    for _ in range(7):
        [hit] = prepared.search(QUERY, limit=5, output_fields=["title"])[0]
        assert (hit.id, hit.fields) == (1, {"title": "a film"})
        assert prepared.count() == 1
    with pytest.raises(FieldNotFound):
        prepared.search(QUERY, output_fields=OUTPUT)
    assert one_connection.collection("library").count() == 30


def test_a_column_that_is_gone_is_named(one_connection: Store, prepared: Collection) -> None:
    run(one_connection, "ALTER TABLE books.entities DROP COLUMN year")
    with pytest.raises(FieldNotFound, match="year"):
        prepared.search(QUERY, output_fields=OUTPUT)
    assert "year" not in prepared.get([1])[0]
    for _ in range(7):
        assert len(prepared.search(QUERY, limit=5)[0]) == 5


def test_an_index_is_made_and_made_again_whatever_was_prepared(one_connection: Store) -> None:
    """The look at the rows before an index by COSINE is prepared as well."""
    for key in ("int", "text"):
        field, key_of = KEYS[key]
        books = one_connection.create_collection("books", [field, *BOOK_FIELDS[1:]])
        books.insert([book(1, id=key_of(1))])
        for _ in range(7):
            books.create_index("embedding", Hnsw())
            books.drop_index()
        books.drop()
