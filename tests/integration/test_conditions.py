from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import bindparam, select

from samples import BOOK_FIELDS, book
from vecstore import Collection, InvalidArgument, PartitionNotFound, Store

Fill = Callable[..., None]


@pytest.fixture
def films(store: Store) -> Collection:
    films = store.create_collection("films", BOOK_FIELDS)
    films.insert([book(key) for key in range(3)])
    return films


def test_a_condition_on_another_collection_deletes_nothing(books: Collection, films: Collection, fill: Fill) -> None:
    fill(books, range(5))
    for condition in (films.c.year > 1900, books.table.alias().c.year > 1900, books.c.id == films.c.id):
        for call in (books.delete, books.count, lambda where: books.search([1, 2, 3, 4], where=where)):
            with pytest.raises(InvalidArgument, match="uses columns of"):
                call(where=condition)
    assert (books.num_entities, films.num_entities) == (5, 3)


def test_a_condition_made_for_what_the_alias_was_before_deletes_nothing(
    store: Store, books: Collection, films: Collection, fill: Fill
) -> None:
    fill(books, range(5))
    store.create_alias("books", "prod")
    prod = store.collection("prod")
    condition = prod.c.year > 1900
    store.alter_alias("films", "prod")
    with pytest.raises(InvalidArgument, match=r"books\.entities"):
        prod.delete(where=condition)
    assert films.num_entities == 3


def test_a_subquery_may_ask_another_collection(books: Collection, films: Collection, fill: Fill) -> None:
    fill(books, range(5))
    assert books.delete(where=books.c.id.in_(select(films.c.id).where(films.c.year > 1900))).count == 2
    assert books.num_entities == 3


def test_lists_may_be_read_only_once(books: Collection, fill: Fill) -> None:
    fill(books, range(5))
    assert books.count(partition_names=(name for name in ["_default"])) == 5
    assert books.count(partition_names=np.array(["_default"])) == 5
    assert books.get((key for key in [1]), output_fields=iter(["title"])) == [{"title": "book 1"}]
    assert books.delete(ids=iter([1, 2])).count == 2
    with pytest.raises(PartitionNotFound):
        books.count(partition_names=iter(["poem"]))


def test_a_condition_that_cannot_be_sent_is_said_so(books: Collection, fill: Fill) -> None:
    fill(books, range(5))
    for condition in (
        books.c.title == "\ud800",
        books.c.title == bindparam("later"),
        books.c.id.in_(range(70_000)),
    ):
        for call in (books.count, lambda where: books.search([1, 2, 3, 4], where=where)):
            with pytest.raises(InvalidArgument, match="condition"):
                call(where=condition)
    assert books.count(where=books.c.id.in_(range(60_000))) == 5
