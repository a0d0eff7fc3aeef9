from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import column, exists, select, table, true

from samples import BOOK_FIELDS, book
from vecstore import (
    Collection,
    DataType,
    DuplicateKey,
    Field,
    FieldNotFound,
    Hnsw,
    InvalidArgument,
    InvalidData,
    MissingExtra,
    Store,
)
from vecstore.ingest.arrays import MOST_BYTES

Fill = Callable[..., None]

DRAWN_FIELDS = (
    Field("id", DataType.INT64, primary_key=True, auto_id=True),
    Field("embedding", DataType.FLOAT_VECTOR, dim=2),
)


def test_drawn_ids_come_back_in_the_order_of_the_input(store: Store) -> None:
    points = store.create_collection("points", DRAWN_FIELDS)
    vectors = np.arange(200).reshape(100, 2)
    result = points.insert({"embedding": vectors})
    assert result.count == len(set(result.ids)) == 100
    assert [found["embedding"].tolist() for found in points.get(result.ids)] == vectors.tolist()


def test_drawn_ids_may_be_strings(store: Store) -> None:
    key = Field("id", DataType.VARCHAR, primary_key=True, auto_id=True, max_length=20)
    points = store.create_collection("points", (key, DRAWN_FIELDS[1]))
    assert points.insert([{"embedding": [1, 2]}] * 2).ids == ["1", "2"]


def test_plain_sql_draws_from_the_same_sequence(store: Store) -> None:
    points = store.create_collection("points", DRAWN_FIELDS)
    points.insert([{"embedding": [1, 2]}])
    with store.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO points.entities (embedding, _partition) VALUES ('[3,4]', '_default')")
    assert points.insert([{"embedding": [5, 6]}]).ids == [3]


def test_an_id_that_was_never_drawn_is_not_upserted(store: Store) -> None:
    points = store.create_collection("points", DRAWN_FIELDS)
    points.insert([{"embedding": [1, 2]}] * 3)
    points.upsert([{"id": 2, "embedding": [9, 9]}])
    assert points.get([2])[0]["embedding"].tolist() == [9, 9]
    with pytest.raises(InvalidData, match="row 1: id 4 was never drawn"):
        points.upsert([{"id": 3, "embedding": [9, 9]}, {"id": 4, "embedding": [9, 9]}])
    assert points.get([3])[0]["embedding"].tolist() == [1, 2]


def test_a_key_that_the_partition_holds_is_refused_whole(books: Collection, fill: Fill) -> None:
    fill(books, range(5))
    with pytest.raises(DuplicateKey) as caught:
        books.insert([book(key) for key in (7, 3, 1, 8)])
    assert caught.value.keys == (1, 3)
    assert "partition '_default': id 1, 3 exists; nothing was inserted" in str(caught.value)
    assert books.num_entities == 5


def test_a_duplicate_of_a_partition_key_collection_is_named_too(store: Store) -> None:
    fields = (*BOOK_FIELDS, Field("tenant", DataType.INT64, partition_key=True))
    books = store.create_collection("books", fields, num_partitions=2)
    books.insert([book(1, tenant=5)])
    with pytest.raises(DuplicateKey) as caught:
        books.insert([book(1, tenant=5)])
    assert caught.value.keys == (1,)


def test_upsert_replaces_the_whole_entity(books: Collection) -> None:
    books.insert([book(1, year=1999), book(2)])
    result = books.upsert([{"id": 1, "title": "new", "embedding": [9, 9, 9, 9]}, book(3)])
    assert (result.ids, result.count) == ([1, 3], 2)
    assert books.get([1], output_fields=["title", "year"]) == [{"title": "new", "year": None}]
    assert books.num_entities == 3


def test_an_upsert_too_large_for_parameters_replaces_as_well(store: Store) -> None:
    count, dim = 1_100, 1_000
    chance = np.random.default_rng(3)
    wide = store.create_collection(
        "wide",
        (Field("id", DataType.VARCHAR, primary_key=True, max_length=9), Field("v", DataType.FLOAT_VECTOR, dim=dim)),
        dynamic=True,
    )
    keys = [str(key) for key in chance.permutation(count)]
    vectors = chance.random((count, dim), np.float32)
    assert vectors.nbytes > MOST_BYTES
    for least, rows in ((0, keys), (count - 50, keys[:50])):
        given = vectors[: len(rows)] + np.float32(least)
        assert wide.upsert({"id": rows, "v": given, "place": [*range(len(rows))]}).ids == rows
        found = wide.get(rows, output_fields=["v", "place"])
        assert np.array_equal(np.stack([entity["v"] for entity in found]), given)
        assert [entity["place"] for entity in found] == [*range(len(rows))]
    assert wide.num_entities == count


def test_an_upsert_of_keys_alone_changes_nothing(store: Store) -> None:
    keys = store.create_collection("keys", [Field("id", DataType.INT64, primary_key=True)])
    keys.insert([{"id": 1}])
    assert keys.upsert([{"id": 1}, {"id": 2}]).count == 2
    assert keys.num_entities == 2


def test_nothing_to_write_is_no_error(books: Collection) -> None:
    assert books.insert([]).ids == books.upsert([]).ids == []


def test_several_upserts_fit_into_one_transaction(store: Store, books: Collection) -> None:
    with store.transaction() as transaction:
        inside = transaction.collection("books")
        for title in ("first", "second"):
            inside.upsert([book(1, title=title)])
    assert books.get([1])[0]["title"] == "second"


def test_delete_counts_what_was_there(books: Collection, fill: Fill) -> None:
    fill(books, range(10))
    assert books.delete(ids=[1, 2, 2, 99]).count == 2
    assert books.delete(ids=3).count == 1
    assert books.delete(where=books.c.year >= 1908).count == 2
    assert books.delete(where=books.c.year >= 1908).count == 0
    assert books.num_entities == 5


def test_null_matches_no_comparison(books: Collection) -> None:
    books.insert([book(1, year=None), book(2, year=2000)])
    assert books.delete(where=books.c.year != 2000).count == 0
    assert books.delete(where=books.c.year == None).count == 1  # noqa: E711 - SQLAlchemy's IS NULL


def test_delete_needs_one_condition_that_is_not_always_true(books: Collection, fill: Fill) -> None:
    fill(books, range(3))
    for arguments in ({}, {"ids": [1], "where": books.c.id == 1}, {"where": true()}):
        with pytest.raises(InvalidArgument, match="truncate"):
            books.delete(**arguments)
    for wrong in ("id = 1", True, 5):
        with pytest.raises(InvalidArgument, match="SQLAlchemy expression"):
            books.delete(where=wrong)
    assert books.num_entities == 3


def test_a_condition_made_earlier_serves_as_long_as_its_field_is_there(store: Store, books: Collection) -> None:
    condition = books.c.title == "book 1"
    books.insert([book(1), book(2)])
    books.create_partition("novel")
    assert books.count(where=condition) == 1
    with store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE books.entities DROP COLUMN title")
    with pytest.raises(FieldNotFound, match="'title'"):
        books.count(where=condition)


def test_a_condition_may_ask_tables_of_the_callers(store: Store, books: Collection, fill: Fill) -> None:
    fill(books, range(5))
    with store.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE loans (book bigint); INSERT INTO loans VALUES (1), (4)")
    loans = table("loans", column("book"))
    lent = exists(select(loans.c.book).where(loans.c.book == books.c.id))
    assert books.count(where=lent) == 2
    assert set(books.search([1, 2, 3, 4], where=lent)[0].ids) == {1, 4}


def test_get_answers_in_the_order_asked_for(books: Collection, fill: Fill) -> None:
    fill(books, range(5))
    assert [found["id"] for found in books.get([3, 99, 0, 3])] == [3, 0]
    assert books.get(4, output_fields=["title", "title"]) == [{"title": "book 4"}]
    assert books.get([]) == []
    with pytest.raises(FieldNotFound, match="'isbn'"):
        books.get([1], output_fields=["isbn"])
    with pytest.raises(InvalidArgument, match="list of names"):
        books.get([1], output_fields="title")


def test_keys_of_the_wrong_type_are_refused(books: Collection) -> None:
    for wrong in ("1", [1.5], [None], [True], [2**63]):
        with pytest.raises(InvalidData):
            books.get(wrong)
        with pytest.raises(InvalidData):
            books.delete(ids=wrong)


def test_dynamic_keys_are_fields_of_the_answer(store: Store) -> None:
    books = store.create_collection("books", BOOK_FIELDS, dynamic=True)
    books.insert([book(1, color="red", pages={"read": 7}), book(2)])
    assert books.get([1])[0]["color"] == "red"
    assert books.get([1, 2], output_fields=["id", "color"]) == [{"id": 1, "color": "red"}, {"id": 2}]
    assert books.get([1], output_fields=["*"])[0]["pages"] == {"read": 7}
    hit = books.search([1, 1, 1, 1], limit=1, where=books.c._meta["color"].astext == "red", output_fields=["color"])[0][
        0
    ]
    assert hit.fields == {"color": "red"}


def test_stats_count_rows_and_bytes_of_every_part(books: Collection, fill: Fill) -> None:
    books.create_partition("novel")
    books.create_index("embedding", Hnsw())
    fill(books, range(30), "novel")
    stats = books.stats()
    assert stats.rows == 30
    assert [(part.name, part.rows) for part in stats.partitions] == [("_default", 0), ("novel", 30)]
    assert stats.bytes == sum(part.bytes for part in stats.partitions)
    assert [(index.name, index.state) for index in stats.indexes] == [("embedding_idx", "ready")]
    assert 0 < stats.indexes[0].bytes < stats.bytes


def test_a_progress_bar_is_drawn_on_stderr(books: Collection, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [book(key) for key in range(600)]
    assert books.insert(rows, progress=True).count == books.upsert(rows, progress=True).count == 600
    out, err = capfd.readouterr()
    assert out == ""
    assert "600 rows" in err
    assert books.num_entities == 600


def test_a_progress_bar_without_rich_says_what_to_install(books: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rich.progress", None)
    with pytest.raises(MissingExtra, match=r"vecstore\[progress\]"):
        books.insert([book(1)], progress=True)
    assert books.num_entities == 0
