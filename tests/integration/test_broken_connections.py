from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from cutting import breakable
from sqlalchemy import URL, create_engine, func, literal_column, text
from sqlalchemy.pool import NullPool

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import Collection, CommitUncertain, ConnectionLost, PoolTimeout, QueryTimeout, Store, TransactionAborted
from waiting import eventually

TERMINATE_OTHERS = text("""
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
""")

WAITING = text("""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE :beginning
""")


def terminate_others(store: Store) -> None:
    with store.engine.connect() as connection:
        connection.execute(TERMINATE_OTHERS)


def test_a_connection_that_broke_between_calls_is_replaced(store: Store, books: Collection) -> None:
    books.count()
    terminate_others(store)
    assert books.count() == 0


def test_a_connection_that_breaks_inside_a_transaction_undoes_it(store: Store, books: Collection) -> None:
    def broken_off() -> None:
        with store.transaction() as transaction:
            transaction.collection("books").insert([book(1)])
            terminate_others(store)
            transaction.collection("books").count()

    with pytest.raises(ConnectionLost):
        broken_off()
    assert books.num_entities == 0


def test_a_connection_that_breaks_while_committing_leaves_doubt(store: Store, books: Collection) -> None:
    def cut_at_commit() -> None:
        with store.transaction() as transaction:
            transaction.collection("books").insert([book(1)])
            terminate_others(store)

    with pytest.raises(CommitUncertain, match="may or may not have happened"):
        cut_at_commit()
    assert books.upsert([book(1)]).count == 1
    assert books.num_entities == 1


def test_a_pool_without_a_free_connection_is_a_typed_error(database_url: URL) -> None:
    engine = create_engine(database_url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    store = vecstore.connect(engine)
    with engine.connect(), pytest.raises(PoolTimeout, match="larger pool"):
        store.list_collections()
    assert store.list_collections() == []
    engine.dispose()


def test_a_statement_timeout_leaves_the_transaction_usable(store: Store, books: Collection) -> None:
    books.insert([book(key) for key in range(10)])
    with store.engine.begin() as connection:
        bound = store.bind(connection).collection("books")
        connection.execute(text("SET LOCAL statement_timeout = '100ms'"))
        with pytest.raises(QueryTimeout):
            bound.count(where=literal_column("pg_sleep(60)::text = ''"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        assert bound.count() == 10


def test_a_transaction_that_has_failed_says_so(store: Store, books: Collection) -> None:
    with store.engine.connect() as connection:
        bound = store.bind(connection).collection("books")
        with pytest.raises(Exception, match="division by zero"):
            connection.execute(text("SELECT 1/0"))
        with pytest.raises(TransactionAborted, match="roll the transaction back"):
            bound.count()
        connection.rollback()
        assert bound.count() == 0


def test_a_deadlocked_delete_is_made_again(store: Store, books: Collection) -> None:
    """It closes the circle, and so is the one to find it and to be undone."""
    books.insert([book(1), book(2)])
    passes = func.pg_advisory_xact_lock_shared(books.c.id).is_not(None)
    update = text("UPDATE books.entities SET title = 'held' WHERE id = :id")
    with (
        ThreadPoolExecutor(2) as pool,
        store.engine.connect() as gate,
        store.engine.connect() as other,
        # Without a transaction, which would see pg_stat_activity as it was at its first look.
        store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as observer,
    ):

        def waits(beginning: str) -> bool:
            return bool(observer.execute(WAITING, {"beginning": beginning}).scalar_one())

        gate.execute(text("SELECT pg_advisory_xact_lock(2)"))
        other.execute(text("SET LOCAL deadlock_timeout = '1h'"))
        other.execute(update, {"id": 2})
        deleting = pool.submit(books.delete, where=passes)
        eventually(lambda: deleting.done() or waits("DELETE%"))  # the first row is deleted, the second to come
        updating = pool.submit(other.execute, update, {"id": 1})
        eventually(lambda: updating.done() or waits("UPDATE%"))
        assert not deleting.done()
        assert not updating.done()
        gate.rollback()
        updating.result()
        assert not deleting.done()
        other.commit()
        assert deleting.result().count == 2
    assert books.num_entities == 0


def test_two_stores_on_one_server_do_not_meet(database_url: URL) -> None:
    with vecstore.connect(database_url) as one, vecstore.connect(database_url) as other:
        one.create_collection("books", BOOK_FIELDS)
        assert other.list_collections() == ["books"]
        one.close()
        assert other.collection("books").count() == 0


def test_an_insert_whose_line_breaks_half_way_is_undone(database_url: URL, books: Collection) -> None:
    records = [book(key) for key in range(20_000)]
    with breakable(database_url) as line, vecstore.connect(line.url) as far:
        line.break_once_at(b"book 15000")
        with pytest.raises(ConnectionLost) as lost:
            far.collection("books").insert(records)
        assert not isinstance(lost.value, CommitUncertain)
        assert books.count() == 0
        far.collection("books").upsert(records)
    assert books.count() == len(records)


@pytest.mark.parametrize("arrives", [False, True])
def test_a_line_that_breaks_at_a_commit_leaves_doubt_which_an_upsert_ends(
    database_url: URL, books: Collection, *, arrives: bool
) -> None:
    records = [book(key) for key in range(10)]
    with breakable(database_url) as line, vecstore.connect(line.url) as far:
        line.break_once_at(b"INSERT INTO", b"COMMIT\0", arrives=arrives)
        with pytest.raises(CommitUncertain):
            far.collection("books").upsert(records)
        eventually(lambda: books.count() == (10 if arrives else 0))
        far.collection("books").upsert(records)
    assert [record["id"] for record in books.query(output_fields=["id"])] == list(range(10))


@pytest.mark.parametrize("arrives", [False, True])
def test_a_delete_whose_line_breaks_is_not_made_again_unasked(
    database_url: URL, books: Collection, caplog: pytest.LogCaptureFixture, *, arrives: bool
) -> None:
    books.insert([book(key) for key in range(10)])
    with breakable(database_url) as line, vecstore.connect(line.url) as far:
        there = far.collection("books")
        there.delete(ids=[0])
        line.break_once_at(b"DELETE FROM", arrives=arrives)  # the next is all sent at once, and not prepared yet
        with pytest.raises(CommitUncertain):
            there.delete(ids=[1])
        eventually(lambda: books.count() == (8 if arrives else 9))
        assert there.count() == books.count()
    assert caplog.messages == []


@pytest.mark.parametrize("arrives", [False, True])
def test_an_upsert_whose_line_breaks_is_not_made_again_unasked(
    database_url: URL, books: Collection, *, arrives: bool
) -> None:
    books.insert([book(key) for key in range(10)])
    with breakable(database_url) as line, vecstore.connect(line.url) as far:
        there = far.collection("books")
        there.upsert([book(0)])
        line.break_once_at(b"INSERT INTO", arrives=arrives)  # the next is all sent at once, and not prepared yet
        with pytest.raises(CommitUncertain):
            there.upsert([book(11)])
        eventually(lambda: books.count() == (11 if arrives else 10))
        there.upsert([book(11)])
    assert books.count() == 11


CALLS = {
    "count": lambda books: books.count() == 10,
    "search": lambda books: books.search([1, 1, 1, 1], limit=3)[0].ids.size == 3,
    "insert": lambda books: books.insert([book(100)]).count == 1,
    "upsert": lambda books: books.upsert([book(1)]).count == 1,
    "delete": lambda books: books.delete(ids=[1]).count == 1,
    "create_partition": lambda books: books.create_partition("novel") is not None,
}


@pytest.mark.parametrize("call", CALLS)
def test_the_call_after_all_connections_of_the_pool_have_died_goes_well(
    store: Store, books: Collection, call: str
) -> None:
    """As after a restart of the server."""
    books.insert([book(key) for key in range(10)])
    for _ in range(3):
        books.search([1, 1, 1, 1], limit=3)
        books.count()
        books.delete(ids=[50])
    for connection in [store.engine.connect() for _ in range(5)]:
        connection.close()
    observing = create_engine(store.engine.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with observing.connect() as observer:
        observer.execute(TERMINATE_OTHERS)
        others = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        eventually(lambda: observer.execute(others).scalar_one() == 1)
        assert CALLS[call](books)


def test_a_port_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ConnectionLost, match="timeout"):
            vecstore.connect(f"postgresql://me@127.0.0.1:{port}/nothing?connect_timeout=2")
