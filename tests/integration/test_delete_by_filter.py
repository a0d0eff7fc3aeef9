"""Deletes by condition: one statement, one transaction, a true count, and never everything by mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, and_, event, false, literal, or_, true

import vecstore
from samples import book
from vecstore import Collection, DatabaseError, FilterError, Hnsw, InvalidArgument, Store

Fill = Callable[..., None]

EVERYTHING: tuple[str, ...] = (
    "",
    " ",
    "\n\t",
    "true",
    "(true)",
    "not false",
    "1 == 1",
    "not (1 == 2)",
    "'a' < 'b'",
    "1 + 1 == 2",
    "{yes}",
    "true or id == 1",
    "id == 1 or true",
    "id in [] or true",
    "true and true",
    "id not in []",
    "not (id in [])",
    "id not in {none}",
)


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """What is sent meanwhile through SQLAlchemy, begins and ends of transactions included."""
    sent: list[str] = []

    def execute(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement.strip())

    listeners: list[tuple[str, Callable[..., None]]] = [
        ("before_cursor_execute", execute),
        ("begin", lambda _: sent.append("BEGIN")),
        ("commit", lambda _: sent.append("COMMIT")),
        ("rollback", lambda _: sent.append("ROLLBACK")),
    ]
    for name, listener in listeners:
        event.listen(engine, name, listener)
    yield sent
    for name, listener in listeners:
        event.remove(engine, name, listener)


def test_a_delete_is_one_statement_in_one_transaction(store: Store, books: Collection, fill: Fill) -> None:
    books.create_partition("novel")
    fill(books, range(50))
    fill(books, range(50, 100), "novel")
    early = books.c.id < 90
    with statements(store.engine) as sent:
        assert books.delete("year >= 1940 and title like 'book %'", where=early).count == 50
    assert [text for text in sent if text in {"BEGIN", "COMMIT", "ROLLBACK"}] == ["BEGIN", "COMMIT"]
    assert len([text for text in sent if text.startswith("DELETE")]) == 1
    assert sent[-2].startswith("DELETE FROM books.entities WHERE")
    assert books.count() == 50


@pytest.mark.parametrize("everything", EVERYTHING)
def test_a_filter_of_everything_deletes_nothing(books: Collection, fill: Fill, everything: str) -> None:
    fill(books, range(3))
    parameters = {"yes": True, "none": []}
    assert books.count(everything, filter_params=parameters) == 3
    with pytest.raises(InvalidArgument, match=r"always true; truncate\(\)"):
        books.delete(everything, filter_params=parameters)
    with pytest.raises(InvalidArgument, match=r"always true; truncate\(\)"):
        books.delete(everything, filter_params=parameters, where=true())
    assert books.count() == 3


def test_an_expression_of_everything_deletes_nothing(books: Collection, fill: Fill) -> None:
    fill(books, range(3))
    some = books.c.id == 1
    alone = (true(), ~~true(), literal(value=True), and_(true(), true()), or_(some, true()))
    nested = (or_(some, and_(true(), true())), and_(true(), or_(some, true())), ~(some & false()))
    for everything in alone + nested:
        with pytest.raises(InvalidArgument, match=r"always true; truncate\(\)"):
            books.delete(where=everything)
    assert books.count() == 3


def test_a_filter_of_everything_beside_one_of_something_is_no_mistake(books: Collection, fill: Fill) -> None:
    fill(books, range(10))
    assert books.delete("true", where=books.c.id < 2).count == 2
    assert books.delete("id < 4", where=true()).count == 2
    assert books.delete("id not in [] and id < 6").count == 2
    assert books.count() == 4


def test_a_filter_of_nothing_deletes_nothing_and_is_no_error(books: Collection, fill: Fill) -> None:
    fill(books, range(3))
    for nothing in ("false", "1 == 2", "id in []", "id == 1 and false", "id > 99"):
        assert books.delete(nothing).count == 0
    assert books.count() == 3


def test_a_partition_is_no_condition(books: Collection, fill: Fill) -> None:
    """Emptying one is truncate()'s task, too: the whole of it is deleted by a condition only."""
    books.create_partition("novel")
    fill(books, range(3), "novel")
    for arguments in ({}, {"filter": ""}, {"filter": "id not in []"}, {"where": true()}):
        with pytest.raises((InvalidArgument, FilterError), match="truncate"):
            books.delete(**arguments, partition_names=["novel"])
    assert books.partition("novel").delete("id >= 0").count == 3


def test_the_count_is_of_rows_that_were_there_and_matched(books: Collection) -> None:
    books.create_partition("novel")
    rows = [book(key, year=None if key % 2 else 1990) for key in range(10)]
    books.insert(rows)
    books.insert(rows, partition_name="novel")
    assert books.delete("year == 1990 and id in [0, 2, 3, 99]").count == 4  # two keys, in two partitions
    assert books.delete("not (year == 1990)").count == 0  # of NULL it is unknown
    assert books.delete("year is null", partition_names=["novel"]).count == 5
    assert books.count() == books.num_entities == 20 - 4 - 5


def test_a_delete_that_fails_half_way_deletes_nothing(store: Store, books: Collection, fill: Fill) -> None:
    fill(books, range(10))
    with store.engine.begin() as connection:
        connection.exec_driver_sql("""
            CREATE FUNCTION books.refuse() RETURNS trigger LANGUAGE plpgsql AS
              'BEGIN IF OLD.id = 7 THEN RAISE EXCEPTION ''not this one''; END IF; RETURN OLD; END';
            CREATE TRIGGER refuse BEFORE DELETE ON books.entities FOR EACH ROW EXECUTE FUNCTION books.refuse()
        """)
    with pytest.raises(DatabaseError, match="not this one"):
        books.delete("id >= 0")
    assert books.count() == 10
    assert books.delete("id != 7").count == 9


def test_what_a_filter_deleted_no_search_query_or_count_of_any_connection_finds(
    store: Store, books: Collection, fill: Fill, database_url: Any
) -> None:
    fill(books, range(200))
    books.create_index("embedding", Hnsw())
    with vecstore.connect(database_url) as other:
        elsewhere = other.collection("books")
        for step in range(10):
            assert books.delete(f"id % 10 == {step}").count == 20
            left = [key for key in range(200) if key % 10 > step]
            for books_ in (books, elsewhere):
                assert [row["id"] for row in books_.query(output_fields=["id"])] == left
                assert books_.query(output_fields=["count(*)"]) == [{"count(*)": len(left)}]
                for exact in (None, True, False):
                    [hits] = books_.search([1, 50, 3, 0.5], limit=200, exact=exact)
                    assert set(hits.ids.tolist()) <= set(left)
                assert sorted(books_.search([1, 50, 3, 0.5], limit=200)[0].ids.tolist()) == left
