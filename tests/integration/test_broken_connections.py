from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import URL, create_engine, func, literal_column, text

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
