"""What is remembered of a collection from one call to the next is never another one's, nor out of date."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
from sqlalchemy import URL, text

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import (
    Collection,
    CollectionDescription,
    CollectionNotFound,
    DataType,
    Field,
    FieldNotFound,
    Hnsw,
    InvalidData,
    Metric,
    Store,
)

Fill = Callable[..., None]
QUERY = [1, 2, 3, 4]


@pytest.fixture
def two(store: Store, fill: Fill) -> tuple[Collection, Collection]:
    first, second = (store.create_collection(name, BOOK_FIELDS) for name in ("first", "second"))
    fill(first, range(10))
    fill(second, range(100, 120))
    return first, second


def answers(collection: Collection) -> tuple[list[int], int, list[int]]:
    found = collection.search(QUERY, limit=50)[0].ids.tolist()
    return sorted(found), collection.count(), [row["id"] for row in collection.query(output_fields=["id"])]


def test_a_collection_that_changes_again_and_again_is_remembered_once(store: Store) -> None:
    growing = store.create_collection("growing", BOOK_FIELDS)
    for number in range(12):
        growing.create_partition(f"part{number}").insert([book(number)])
    gc.collect()
    remembered = [it for it in gc.get_objects() if isinstance(it, CollectionDescription) and it.name == "growing"]
    assert [len(it.partitions) for it in remembered] == [13]


def test_collections_that_change_names_are_each_found_under_their_new_one(
    store: Store, two: tuple[Collection, Collection]
) -> None:
    first, second = two
    store.create_alias("first", "prod")
    before = [answers(collection) for collection in (first, second, store.collection("prod"))]
    with vecstore.connect(store.engine) as other, other.transaction() as transaction:
        for old, new in (("first", "third"), ("second", "first"), ("third", "second")):
            transaction.rename_collection(old, new)
    assert [answers(collection) for collection in (second, first, store.collection("prod"))] == before


def test_a_collection_renamed_by_plain_sql_is_not_looked_for_under_its_old_name(
    store: Store, two: tuple[Collection, Collection]
) -> None:
    before = answers(two[0])
    store.create_alias("first", "prod")
    assert answers(store.collection("prod")) == before
    with store.engine.begin() as connection:
        connection.execute(text("ALTER SCHEMA first RENAME TO fourth"))
    assert answers(store.collection("fourth")) == answers(store.collection("prod")) == before


def test_an_alias_that_moves_is_followed(store: Store, two: tuple[Collection, Collection]) -> None:
    first, second = two
    store.create_alias("first", "prod")
    prod = store.collection("prod")
    assert answers(prod) == answers(first)
    with vecstore.connect(store.engine) as other:
        other.alter_alias("second", "prod")
    assert answers(prod) == answers(second)


def test_a_column_and_an_index_that_change_are_seen_by_the_next_search(
    store: Store, two: tuple[Collection, Collection]
) -> None:
    first, _ = two
    first.create_index("embedding", Hnsw(metric=Metric.COSINE))
    by_cosine = first.search(QUERY, output_fields=["title"])[0]
    with store.engine.begin() as connection:
        connection.execute(text("ALTER TABLE first.entities RENAME COLUMN title TO name"))
        connection.execute(text("DROP INDEX first.embedding_idx"))
        connection.execute(text("CREATE INDEX by_l2 ON first.entities USING hnsw (embedding public.vector_l2_ops)"))
    with pytest.raises(FieldNotFound):
        first.search(QUERY, output_fields=["title"])
    by_l2 = first.search(QUERY, output_fields=["name"])[0]
    assert by_l2.distances.tolist() == sorted(by_l2.distances.tolist())
    assert by_l2.distances.tolist() != by_cosine.distances.tolist()


def test_templates_of_equal_value_and_other_type_are_not_mistaken_for_each_other(
    store: Store, two: tuple[Collection, Collection]
) -> None:
    first, _ = two
    where = "year == {year}"
    one = first.search(QUERY, filter=where, filter_params={"year": 1901})[0].ids.tolist()
    other = first.search(QUERY, filter=where, filter_params={"year": 1901.0})[0].ids.tolist()
    assert one == other == [1]
    with pytest.raises(vecstore.FilterError):
        first.search(QUERY, filter=where, filter_params={"year": True})
    years = [1901, 1902]
    asked = {"filter": "year in {years}", "filter_params": {"years": years}}
    assert sorted(first.search(QUERY, **asked)[0].ids.tolist()) == [1, 2]
    years.append(1903)
    assert sorted(first.search(QUERY, **asked)[0].ids.tolist()) == [1, 2, 3]


def test_an_upsert_does_not_go_by_what_a_collection_was(
    store: Store, database_url: URL, two: tuple[Collection, Collection]
) -> None:
    first, second = two
    store.create_alias("first", "prod")
    prod = store.collection("prod")
    for key in (500, 501):  # the second time it is known
        prod.upsert([book(key)])
    with vecstore.connect(database_url) as other:
        other.alter_alias("second", "prod")
        prod.upsert([book(502)])
        assert [len(collection.get([500, 501, 502])) for collection in (first, second)] == [2, 1]
        second.add_field(Field("pages", DataType.INT32, nullable=True))
        prod.upsert([book(502, pages=7)])
        assert second.get(502, output_fields=["pages"]) == [{"pages": 7}]
        with pytest.raises(InvalidData, match="field 'pages', row 1: INT32 takes int"):
            prod.upsert([book(503, pages=8), book(504, pages="9")])
        other.drop_alias("prod")
        other.collection("second").drop()
        with pytest.raises(CollectionNotFound):
            second.upsert([book(505)])
    assert store.list_collections() == ["first"]
