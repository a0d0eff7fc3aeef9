from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from samples import BOOK_FIELDS, book
from vecstore import Collection, DataType, Field, InvalidData, Store

PRICED_FIELDS = (
    Field("id", DataType.INT64, primary_key=True),
    Field("lang", DataType.VARCHAR, max_length=8, partition_key=True),
    Field("price", DataType.INT32, default_value=7),
    Field("embedding", DataType.FLOAT_VECTOR, dim=2),
)


@pytest.fixture
def loose(store: Store) -> Collection:
    loose = store.create_collection("loose", BOOK_FIELDS, dynamic=True)
    loose.insert([book(1, color="red", size=3), book(2, color="blue")])
    return loose


def test_what_is_left_out_stays_as_it_is(books: Collection) -> None:
    books.insert([book(1), book(2)])
    before = books.get([1])[0]
    assert books.upsert([{"id": 1, "title": "new"}, {"id": 2, "title": "other"}], partial=True).ids == [1, 2]
    after = books.get([1])[0]
    assert after["title"] == "new"
    assert after["year"] == before["year"]
    assert after["embedding"].tolist() == before["embedding"].tolist()


def test_none_is_a_value(books: Collection) -> None:
    books.insert([book(1)])
    books.upsert([{"id": 1, "year": None}], partial=True)
    assert books.get([1])[0]["year"] is None


def test_vectors_are_found_where_they_went(books: Collection) -> None:
    books.insert([book(1), book(2)])
    books.upsert({"id": [1], "embedding": [[0.0, 0.0, 0.0, 9.0]]}, partial=True)
    assert books.search([0.0, 0.0, 0.0, 1.0], limit=1)[0][0].id == 1


def test_dynamic_keys_are_merged(loose: Collection) -> None:
    loose.upsert([{"id": 1, "color": "green"}, {"id": 2, "weight": 1.5}], partial=True)
    first, second = loose.get([1, 2], output_fields=["title", "$meta"])
    assert (first["color"], first["size"], first["title"]) == ("green", 3, "book 1")
    assert (second["color"], second["weight"]) == ("blue", 1.5)


def test_fields_alone_leave_the_dynamic_keys(loose: Collection) -> None:
    loose.upsert([{"id": 1, "title": "new"}], partial=True)
    assert loose.get([1], output_fields=["color"])[0]["color"] == "red"


def test_a_key_that_is_not_there_needs_the_whole_entity_and_nothing_is_written(books: Collection) -> None:
    books.insert([book(1)])
    with pytest.raises(InvalidData, match="field 'embedding': missing, and id 7 is of no entity"):
        books.upsert([{"id": 1, "title": "new"}, {"id": 7, "title": "new"}], partial=True)
    assert books.get([1])[0]["title"] == "book 1"


def test_a_whole_entity_may_be_new(books: Collection) -> None:
    entity = book(7)
    del entity["year"]  # nullable
    books.upsert([entity], partial=True)
    assert books.get([7])[0]["year"] is None


def test_rows_name_the_same_fields(books: Collection) -> None:
    books.insert([book(1), book(2)])
    with pytest.raises(InvalidData, match="field 'title', row 1: missing, and other rows have it"):
        books.upsert([{"id": 1, "title": "new"}, {"id": 2}], partial=True)


def test_a_key_alone_changes_nothing(books: Collection) -> None:
    books.insert([book(1)])
    assert books.upsert([{"id": 1}], partial=True).count == 1
    assert books.get([1])[0]["title"] == "book 1"


def test_it_changes_the_partition_that_is_meant(books: Collection) -> None:
    books.create_partition("novel")
    books.insert([book(1)])
    books.insert([book(1)], partition_name="novel")
    books.upsert([{"id": 1, "title": "new"}], partition_name="novel", partial=True)
    assert books.get([1], partition_names=["_default"])[0]["title"] == "book 1"
    assert books.get([1], partition_names=["novel"])[0]["title"] == "new"


def test_entities_are_found_whatever_their_partition_key_and_may_change_it(store: Store) -> None:
    priced = store.create_collection("priced", PRICED_FIELDS, num_partitions=4)
    priced.insert([{"id": key, "lang": f"l{key}", "price": key, "embedding": [1, key]} for key in range(1, 9)])
    priced.upsert([{"id": 3, "price": 30}], partial=True)
    priced.upsert([{"id": key, "lang": "moved"} for key in range(1, 9)], partial=True)
    assert [(found["id"], found["lang"]) for found in priced.query()] == [(key, "moved") for key in range(1, 9)]
    assert priced.get([3])[0]["price"] == 30


def test_writers_who_come_from_both_ends_do_not_wait_for_each_other_in_a_circle(books: Collection) -> None:
    keys = list(range(200))
    books.insert([book(key) for key in keys])

    def change(order: list[int], title: str) -> None:
        for _ in range(3):
            books.upsert([{"id": key, "title": title} for key in order], partial=True)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(change, keys, "up"), pool.submit(change, keys[::-1], "down")]:
            done.result()
    assert len({found["title"] for found in books.query(output_fields=["title"])}) == 1


def test_columns_give_dynamic_fields_as_dicts(loose: Collection) -> None:
    vectors = [[1.0, 2.0, 3.0, 4.0]] * 2
    columns = {"id": [8, 9], "title": ["a", "b"], "embedding": vectors, "$meta": [{"color": "red"}, {}], "size": [1, 2]}
    loose.insert(columns)
    assert loose.get([8, 9], output_fields=["$meta"]) == [{"color": "red", "size": 1}, {"size": 2}]
    with pytest.raises(InvalidData, match="row 1: expected a dict of dynamic fields"):
        loose.insert({**columns, "$meta": [{}, 3]})
