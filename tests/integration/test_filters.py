from __future__ import annotations

from collections.abc import Callable

import pytest

from samples import BOOK_FIELDS, book
from vecstore import Collection, DataType, Field, FilterError, Gin, Hnsw, InvalidArgument, InvalidSchema, Store

Fill = Callable[..., None]


def test_the_delete_of_milvuss_page_runs_as_it_is_written(books: Collection, fill: Fill) -> None:
    fill(books, range(5))
    assert books.delete("id in [1, 2, 3]").count == 3
    assert [found["id"] for found in books.get(range(5))] == [0, 4]


def test_a_filter_serves_wherever_a_condition_does(books: Collection, fill: Fill) -> None:
    books.create_partition("novel")
    fill(books, range(10), "novel")
    books.create_index("embedding", Hnsw())
    novel = books.partition("novel")
    assert books.count("year >= 1905") == novel.count("year >= 1905") == 5
    assert books.count("year >= {y}", filter_params={"y": 1908}) == 2
    assert books.count("year >= 1905", where=books.c.id < 7) == 2
    assert set(books.search([1, 2, 3, 4], filter="title like 'book %' and year < 1903")[0].ids) == {0, 1, 2}
    assert novel.delete("year < 1903").count == 3


def test_dynamic_keys_are_filtered_like_fields(store: Store) -> None:
    books = store.create_collection("books", BOOK_FIELDS, dynamic=True)
    books.insert([book(1, color="red"), book(2, color="blue"), book(3)])
    assert books.count("color == 'red'") == 1
    assert books.count("not (color == 'red')") == 1  # of what has no color it is unknown
    assert books.delete('exists $meta["color"]').count == 2


def test_a_filter_that_means_everything_deletes_nothing(books: Collection, fill: Fill) -> None:
    fill(books, range(3))
    for everything in ("", "  ", "true", "1 == 1", "true or id == 1"):
        with pytest.raises((InvalidArgument, FilterError)):
            books.delete(everything)
    assert books.num_entities == books.count("") == 3


def test_a_filter_that_is_none_says_where_and_deletes_nothing(books: Collection, fill: Fill) -> None:
    fill(books, range(3))
    with pytest.raises(FilterError) as caught:
        books.delete("yaer > 1900")
    assert "year" in str(caught.value)
    with pytest.raises(FilterError) as caught:
        books.delete("year > ")
    assert "^" in str(caught.value)
    with pytest.raises(FilterError):
        books.count(5)  # type: ignore[arg-type]
    assert books.num_entities == 3


def test_a_text_is_searched_in_its_language(store: Store) -> None:
    fields = (
        *BOOK_FIELDS,
        Field("synopsis", DataType.VARCHAR, max_length=100, nullable=True, text_search="english"),
        Field("inhalt", DataType.TEXT, nullable=True, text_search="german"),
    )
    books = store.create_collection("books", fields)
    text = "The horses of Berlin ran"
    books.insert([book(1, synopsis=text, inhalt="Die Häuser in Berlin", title=text), book(2)])
    for filter_, found in (
        ("text_match(synopsis, 'horse')", 1),
        ("text_match(title, 'horse')", 0),
        ("text_match(title, 'horses')", 1),
        ("text_match(inhalt, 'haus')", 1),
        ("text_match(synopsis, 'the')", 0),
        ("phrase_match(synopsis, 'horse of berlin')", 1),
        ("phrase_match(synopsis, 'horse berlin')", 0),
        ("phrase_match(synopsis, 'horse berlin', 1)", 1),
        ("not text_match(synopsis, 'cat')", 1),
    ):
        assert books.count(filter_) == found, filter_
    assert books.describe().schema.fields == fields


def test_a_configuration_that_is_not_there_is_refused_with_those_that_are(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA words")
        connection.exec_driver_sql('CREATE TEXT SEARCH CONFIGURATION words."Mine" (COPY = english)')
        connection.exec_driver_sql("CREATE TEXT SEARCH CONFIGURATION public.mine (COPY = english)")
    for name in ("klingon", "mine", "words.mine", "English", "pg_catalog.english"):
        fields = (*BOOK_FIELDS, Field("synopsis", DataType.TEXT, text_search=name))
        with pytest.raises(
            InvalidSchema, match=f"'synopsis': no text search configuration '{name}'; .*german.*words.Mine"
        ):
            store.create_collection("books", fields)
        assert not store.has_collection("books")
    books = store.create_collection(
        "books", (*BOOK_FIELDS, Field("synopsis", DataType.TEXT, nullable=True, text_search="words.Mine"))
    )
    books.create_index("synopsis", Gin())
    books.insert([book(1, synopsis="horses")])
    assert books.count("text_match(synopsis, 'horse')") == 1


def test_no_search_path_changes_what_a_text_search_finds(store: Store) -> None:
    books = store.create_collection("books", (*BOOK_FIELDS, Field("synopsis", DataType.TEXT, text_search="english")))
    books.create_index("synopsis", Gin())
    books.insert([book(1, synopsis="horses")])
    with store.engine.connect() as connection:
        connection.exec_driver_sql("CREATE SCHEMA evil")
        connection.exec_driver_sql("CREATE TEXT SEARCH CONFIGURATION evil.english (COPY = simple)")
        connection.exec_driver_sql("SET LOCAL search_path = evil, pg_catalog")
        assert store.bind(connection).collection("books").count("text_match(synopsis, 'horse')") == 1
