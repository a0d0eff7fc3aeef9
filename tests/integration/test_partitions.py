from __future__ import annotations

from collections.abc import Callable

import pytest

from samples import BOOK_FIELDS, book
from vecstore import (
    Btree,
    Collection,
    DataType,
    DependentObjects,
    Field,
    Hnsw,
    InvalidArgument,
    OperationRefused,
    PartitionExists,
    PartitionNotFound,
    Store,
)
from vecstore.ingest.arrays import MOST_BYTES

Fill = Callable[..., None]

TENANT_FIELDS = (*BOOK_FIELDS, Field("tenant", DataType.VARCHAR, max_length=20, partition_key=True))


def names(collection: Collection) -> list[str]:
    return [partition.name for partition in collection.partitions]


def test_a_new_partition_has_the_indexes_of_the_collection(store: Store, books: Collection, fill: Fill) -> None:
    books.create_index("embedding", Hnsw())
    books.create_index("year", Btree())
    novel = books.create_partition("novel")
    fill(books, range(50), "novel")
    assert novel.search([1, 2, 3, 4], limit=5, exact=False)[0].path == "index"
    with store.engine.connect() as connection:
        indexes = connection.exec_driver_sql(
            "SELECT count(*) FROM pg_indexes WHERE schemaname = 'books' AND tablename = 'entities_novel'"
        ).scalar_one()
    assert indexes == 3


def test_partitions_are_listed_found_and_counted(books: Collection, fill: Fill) -> None:
    books.create_partition("novel")
    fill(books, range(3), "novel")
    fill(books, range(2))
    assert names(books) == ["_default", "novel"]
    assert books.has_partition("novel")
    assert not books.has_partition("poem")
    assert (books.partition("novel").num_entities, books.num_entities) == (3, 5)
    assert books.partition("novel").count(where=books.c.id == 0) == 1


def test_a_partition_that_exists_is_not_created_again(books: Collection) -> None:
    books.create_partition("novel")
    for name in ("novel", "_default"):
        with pytest.raises(PartitionExists, match=name):
            books.create_partition(name)


def test_dropping_a_partition_takes_its_entities_and_no_others(books: Collection, fill: Fill) -> None:
    books.create_partition("novel")
    fill(books, range(3), "novel")
    fill(books, range(10, 12))
    books.drop_partition(partition_name="novel")
    assert names(books) == ["_default"]
    assert books.num_entities == 2
    with pytest.raises(PartitionNotFound, match="'novel'"):
        books.drop_partition("novel")


def test_the_default_partition_cannot_be_dropped_but_emptied(books: Collection, fill: Fill) -> None:
    fill(books, range(3))
    with pytest.raises(OperationRefused, match="default partition"):
        books.drop_partition("_default")
    books.partition("_default").truncate()
    assert books.num_entities == 0


def test_a_view_on_a_partition_stops_its_drop_and_goes_with_cascade(store: Store, books: Collection) -> None:
    books.create_partition("novel")
    with store.engine.begin() as connection:
        connection.exec_driver_sql("CREATE VIEW public.novels AS SELECT id FROM books.entities_novel")
    with pytest.raises(DependentObjects) as caught:
        books.drop_partition("novel")
    assert caught.value.objects == ("view public.novels",)
    assert books.has_partition("novel")
    books.partition("novel").drop(cascade=True)
    assert not books.has_partition("novel")


def test_truncate_empties_one_partition_or_all(books: Collection, fill: Fill) -> None:
    books.create_partition("novel")
    fill(books, range(3), "novel")
    fill(books, range(2))
    books.truncate("novel")
    assert books.num_entities == 2
    fill(books, range(3), "novel")
    books.truncate()
    assert books.num_entities == 0
    assert names(books) == ["_default", "novel"]


@pytest.mark.parametrize("call", ["count", "insert", "upsert", "delete", "search", "truncate", "get"])
def test_a_partition_that_is_not_there_is_named(books: Collection, call: str) -> None:
    calls: dict[str, Callable[[], object]] = {
        "count": lambda: books.count(partition_names=["poem"]),
        "insert": lambda: books.insert([book(1)], partition_name="poem"),
        "upsert": lambda: books.upsert([book(1)], partition_name="poem"),
        "delete": lambda: books.delete(ids=[1], partition_names=["poem"]),
        "search": lambda: books.search([1, 2, 3, 4], partition_names=["poem"]),
        "truncate": lambda: books.truncate("poem"),
        "get": lambda: books.get([1], partition_names=["poem"]),
    }
    with pytest.raises(PartitionNotFound, match="'poem'"):
        calls[call]()


def test_partition_names_must_be_a_list(books: Collection) -> None:
    for wrong in ("_default", []):
        with pytest.raises(InvalidArgument, match="partition_names"):
            books.count(partition_names=wrong)


def test_the_same_key_lives_in_two_partitions(books: Collection) -> None:
    books.create_partition("novel")
    books.insert([book(1, title="a")])
    books.insert([book(1, title="b")], partition_name="novel")
    assert sorted(found["title"] for found in books.get([1])) == ["a", "b"]
    assert books.get([1], partition_names=["novel"])[0]["title"] == "b"
    assert books.partition("novel").delete(ids=[1]).count == 1
    assert books.get([1], output_fields=["title"]) == [{"title": "a"}]


def test_a_partition_handle_writes_to_its_partition(books: Collection) -> None:
    novel = books.create_partition("novel")
    novel.insert([book(1)])
    novel.upsert([book(1, title="again"), book(2)])
    assert novel.num_entities == books.num_entities == 2
    assert novel.delete(where=books.c.title == "again").count == 1
    assert repr(novel) == "<Partition 'novel' of 'books'>"
    novel.drop()
    assert books.num_entities == 0


def test_a_partition_key_spreads_the_rows_over_hash_partitions(store: Store) -> None:
    books = store.create_collection("books", TENANT_FIELDS, num_partitions=4)
    books.insert([book(key, tenant=f"tenant {key}") for key in range(40)])
    assert names(books) == [f"_default_{number}" for number in range(4)]
    assert books.num_entities == 40
    assert sum(partition.rows > 0 for partition in books.stats().partitions) > 1
    assert books.describe().schema.partition_key == TENANT_FIELDS[-1]
    assert books.describe().schema.num_partitions == 4
    assert books.search([1, 2, 3, 4], limit=40)[0].ids.tolist().sort() is None


def test_partitions_of_a_partition_key_are_not_the_callers(store: Store) -> None:
    books = store.create_collection("books", TENANT_FIELDS, num_partitions=2)
    with pytest.raises(OperationRefused, match="tenant"):
        books.create_partition("novel")
    with pytest.raises(OperationRefused, match="tenant"):
        books.drop_partition("_default_0")
    with pytest.raises(InvalidArgument, match="tenant"):
        books.insert([book(1, tenant="a")], partition_name="_default_0")
    with pytest.raises(InvalidArgument, match="tenant"):
        books.count(partition_names=["_default_0"])


@pytest.mark.parametrize("most_bytes", [MOST_BYTES, 0], ids=["at once", "through a temporary table"])
def test_an_upsert_with_another_partition_key_moves_the_entity(
    store: Store, monkeypatch: pytest.MonkeyPatch, most_bytes: int
) -> None:
    monkeypatch.setattr("vecstore.ingest.arrays.MOST_BYTES", most_bytes)
    books = store.create_collection("books", TENANT_FIELDS, num_partitions=16)
    books.insert([book(key, tenant="before") for key in range(8)])
    books.upsert([book(key, tenant="after", title="moved") for key in range(8)])
    assert books.num_entities == 8
    assert {found["tenant"] for found in books.get(range(8))} == {"after"}


def test_the_number_of_partitions_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch, books: Collection) -> None:
    monkeypatch.setattr("vecstore.operations.partitions.MAX_PARTITIONS", 2)
    books.create_partition("novel")
    with pytest.raises(OperationRefused, match="at most 2"):
        books.create_partition("poem")
