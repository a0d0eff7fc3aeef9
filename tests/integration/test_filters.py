from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy.exc import ProgrammingError

from samples import BOOK_FIELDS, book
from vecstore import (
    Collection,
    DataType,
    Field,
    FilterError,
    Gin,
    Hnsw,
    InvalidArgument,
    InvalidData,
    InvalidSchema,
    Store,
)

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


# A trap for each function and operator of PostgreSQL that takes values of any type: one of the very type is preferred
# to it, from whatever schema of the search path. intarray makes such operators; so may anybody who may CREATE there.
TRAPS = """
    CREATE FUNCTION trap(int, int[], int[] DEFAULT NULL) RETURNS bool LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'trapped by %', current_query(); END$$;
    CREATE FUNCTION trap(int[], int[]) RETURNS bool LANGUAGE sql AS 'SELECT trap(1, $1, $2)';
    CREATE OPERATOR @> (FUNCTION = trap, LEFTARG = int[], RIGHTARG = int[]);
    CREATE OPERATOR && (FUNCTION = trap, LEFTARG = int[], RIGHTARG = int[]);
    CREATE OPERATOR = (FUNCTION = trap, LEFTARG = int[], RIGHTARG = int[]);
    CREATE OPERATOR <> (FUNCTION = trap, LEFTARG = int[], RIGHTARG = int[]);
    CREATE FUNCTION nextval(text) RETURNS bigint LANGUAGE sql AS 'SELECT trap(1, NULL)::int';
    CREATE FUNCTION cardinality(int[]) RETURNS int LANGUAGE sql AS 'SELECT trap(1, $1)::int';
    CREATE FUNCTION sprung(int, float8) RETURNS int LANGUAGE sql AS 'SELECT trap(1, NULL)::int';
    CREATE FUNCTION sprung(int, bigint) RETURNS int LANGUAGE sql AS 'SELECT trap(1, NULL)::int';
    CREATE FUNCTION sprung(int, oid) RETURNS int LANGUAGE sql AS 'SELECT trap(1, NULL)::int';
    CREATE AGGREGATE first_value(float8) (SFUNC = sprung, STYPE = int, INITCOND = 0);
    CREATE AGGREGATE first_value(bigint) (SFUNC = sprung, STYPE = int, INITCOND = 0);
    CREATE AGGREGATE count(bigint) (SFUNC = sprung, STYPE = int, INITCOND = 0);
    CREATE AGGREGATE count(oid) (SFUNC = sprung, STYPE = int, INITCOND = 0);
"""


def test_what_others_define_in_the_search_path_is_not_called(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql(TRAPS.replace("%", "%%"))
    fields = (*BOOK_FIELDS, Field("tags", DataType.ARRAY, element_type=DataType.INT32, max_capacity=2))
    books = store.create_collection("books", fields)
    books.insert([book(key, tags=[key % 3]) for key in range(9)])
    books.create_index("tags", Gin())
    books.create_index("embedding", Hnsw())
    for condition, matching in {
        "array_contains(tags, 1)": 3,
        "array_contains_all(tags, [1])": 3,
        "array_contains_any(tags, [1, 2])": 6,
        "not array_contains(tags, 1)": 6,
        "array_length(tags) == 1": 9,
        "tags == [1]": 3,
        "tags != [1]": 6,
        "not (tags == [1])": 6,
    }.items():
        assert books.count(condition) == matching, condition
    [hits] = books.search([1, 2, 3, 4], limit=2, group_by="year", group_size=1)
    assert len(hits) == 2
    assert books.query(aggregates="count(id)") == [{"count(id)": 9}]
    key = Field("id", DataType.INT64, primary_key=True, auto_id=True)
    drawn = store.create_collection("drawn", [key, BOOK_FIELDS[1]])
    with store.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO drawn.entities (title, _partition) VALUES ('by hand', '_default')")
    assert drawn.count() == 1
    books.delete("id < 8")
    books.compact(force=True)
    assert store.doctor() == ()
    books.add_field(Field("more", DataType.ARRAY, element_type=DataType.INT32, max_capacity=2, nullable=True))
    with pytest.raises(InvalidData):
        books.insert([book(20, tags=[1, 2, 3])])
    with store.engine.begin() as connection, pytest.raises(ProgrammingError, match="trapped"):
        connection.exec_driver_sql("SELECT count(*) FROM books.entities WHERE tags @> ARRAY[1]")
