from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from databases import database
from sqlalchemy import func

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import Collection, ConnectionLost, FindingKind, Hnsw, PartitionNotFound, Store, TrashNotFound
from vecstore.embedded import EmbeddedServer
from waiting import eventually

PARTITIONS = 500
KEY_OF_THE_GATE = 42


def scalar(store: Store, statement: str) -> object:
    with store.engine.connect() as connection:
        return connection.exec_driver_sql(statement).scalar_one()


def left_over(store: Store) -> tuple[object, object]:
    """Relations of collections, whatever their schemas are called now, and rows of the registry."""
    relations = """
        SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('books') OR n.nspname LIKE '\\_vecstore\\_%%'
    """
    return scalar(store, relations), scalar(store, "SELECT count(*) FROM vecstore.collection_registry")


@pytest.fixture(scope="module")
def template(server: EmbeddedServer, template: str) -> Iterator[str]:
    """A database with a collection of very many partitions and an index in each, made once and copied for each test."""
    with database(server, "very_many_partitions", template) as url:
        with vecstore.connect(url) as store:
            books = store.create_collection("books", BOOK_FIELDS)
            books.create_index("embedding", Hnsw())
            with store.engine.begin() as connection:
                connection.exec_driver_sql(f"""
                    DO $$ BEGIN
                        FOR i IN 1..{PARTITIONS - 1} LOOP
                            EXECUTE format(
                                'CREATE TABLE books.entities_p%%s PARTITION OF books.entities FOR VALUES IN (%%L)',
                                i, 'p' || i
                            );
                        END LOOP;
                    END $$
                """)
            books.insert([book(key) for key in range(3)], partition_name="p1")
            books.insert([book(key) for key in range(3, 6)], partition_name="p400")
        yield str(url.database)


@pytest.fixture
def many(store: Store) -> Collection:
    return store.collection("books")


@contextmanager
def held(store: Store, leaf: str) -> Iterator[None]:
    """An analyst's open transaction that has read one leaf."""
    with store.engine.connect() as connection:
        connection.exec_driver_sql(f"SELECT id FROM {leaf}")  # noqa: S608
        yield


def test_five_hundred_partitions_are_too_many_for_one_transaction_and_are_dropped_all_the_same(
    store: Store, many: Collection
) -> None:
    assert scalar(store, "SHOW max_locks_per_transaction") == "64"
    assert len(many.partitions) == PARTITIONS
    many.drop()
    assert left_over(store) == (0, 0)
    assert store.doctor() == ()


def test_a_search_of_one_partition_locks_no_other(store: Store, many: Collection) -> None:
    gate = func.pg_advisory_xact_lock_shared(KEY_OF_THE_GATE).is_not(None)
    waits = "FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with ThreadPoolExecutor(1) as pool:
        with store.engine.connect() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({KEY_OF_THE_GATE})")
            searching = pool.submit(many.search, [1, 2, 3, 4], partition_names=["p400"], where=gate)
            eventually(lambda: searching.done() or scalar(store, f"SELECT count(*) {waits}"))
            locked = connection.exec_driver_sql(f"""
                SELECT c.relname FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
                WHERE l.pid = (SELECT pid {waits}) AND c.relnamespace = 'books'::regnamespace
            """)  # noqa: S608
            names = sorted(locked.scalars())
        assert set(searching.result()[0].ids) == {3, 4, 5}
    assert len(names) <= 16
    assert names
    leaves = {name for name in names if name.removeprefix("entities_p").removesuffix("_pkey").isdigit()}
    assert all("p400" in name for name in leaves)


def test_dropping_in_the_callers_transaction_frees_the_name_in_it_and_rolls_back(
    store: Store, many: Collection
) -> None:
    with store.engine.connect() as connection:
        bound = store.bind(connection)
        bound.drop_collection("books")
        assert not bound.has_collection("books")
        bound.create_collection("books", BOOK_FIELDS)
        connection.rollback()
    assert len(many.partitions) == PARTITIONS
    assert many.count() == 6
    assert store.doctor() == ()


def test_dropped_in_a_transaction_the_space_is_freed_after_its_commit(store: Store, many: Collection) -> None:
    with store.transaction() as transaction:
        transaction.drop_collection("books")
        transaction.create_collection("books", BOOK_FIELDS)
    assert len(many.partitions) == 1
    assert scalar(store, "SELECT count(*) FROM vecstore.collection_registry") == 1
    assert store.doctor() == ()


def test_dropped_in_a_transaction_within_a_transaction_the_space_is_freed_after_the_outer_commit(
    store: Store, many: Collection
) -> None:
    with store.transaction() as outer:
        with outer.transaction() as inner:
            inner.drop_collection("books")
        assert len(outer.doctor()) == 1
    assert left_over(store) == (0, 0)


def test_a_drop_that_is_bound_to_the_callers_transaction_leaves_the_space_to_repair(
    store: Store, many: Collection
) -> None:
    with store.engine.begin() as connection:
        store.bind(connection).drop_collection("books")
    assert [(found.kind, found.collection) for found in store.doctor()] == [(FindingKind.UNFINISHED_DROP, "books")]
    store.repair()
    assert left_over(store) == (0, 0)


def test_a_purge_whose_backend_is_killed_is_finished_by_repair(store: Store, many: Collection) -> None:
    kill = """
        SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'DROP TABLE%%'
    """
    with ThreadPoolExecutor(1) as pool:
        with held(store, "books.entities_p250"):
            dropping = pool.submit(many.drop)
            eventually(lambda: dropping.done() or scalar(store, kill))
            # The drop itself was committed before: nobody sees the collection again.
            assert not store.has_collection("books")
        dropping.exception()
    [found] = store.doctor()
    assert (found.kind, found.collection) == (FindingKind.UNFINISHED_DROP, "books")
    # What was free by then stays free.
    leaves = f"SELECT count(*) FROM pg_inherits WHERE inhparent = '{found.name}.entities'::regclass"  # noqa: S608
    assert 0 < int(str(scalar(store, leaves))) < PARTITIONS
    again = store.create_collection("books", BOOK_FIELDS)
    assert store.repair() == (found,)
    assert store.doctor() == ()
    again.drop()
    assert left_over(store) == (0, 0)


def test_a_drop_is_done_even_if_an_open_transaction_keeps_the_space(store: Store, many: Collection) -> None:
    """LockTimeout says that nothing was changed, and here the collection is gone."""
    with vecstore.connect(store.engine.url, ddl_timeout=0.5) as impatient, held(store, "books.entities_p250"):
        impatient.drop_collection("books")
    assert not store.has_collection("books")
    assert [found.kind for found in store.doctor()] == [FindingKind.UNFINISHED_DROP]
    store.repair()
    assert left_over(store) == (0, 0)


def test_kept_it_is_dropped_and_taken_back_in_one_transaction_and_a_purge_that_is_killed_is_gone_on_with(
    store: Store, many: Collection
) -> None:
    with store.transaction() as transaction:
        transaction.drop_collection("books", keep=timedelta(days=7))
        transaction.restore("books")
        transaction.drop_collection("books", keep=timedelta(days=7))
    assert store.doctor() == ()
    [entry] = store.trash()
    kill = """
        SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'DROP TABLE%%'
    """
    with ThreadPoolExecutor(1) as pool, held(store, entry.table.replace("entities", "entities_p250")):
        purging = pool.submit(store.purge, timedelta(0))
        eventually(lambda: purging.done() or scalar(store, kill))
        assert isinstance(purging.exception(), ConnectionLost)
    # Half of it is gone, so it can be taken back no more; the other half is no secret.
    assert store.trash() == ()
    with pytest.raises(TrashNotFound):
        store.restore("books")
    assert [(found.kind, found.collection) for found in store.doctor()] == [(FindingKind.UNFINISHED_DROP, "books")]
    leaves = f"SELECT count(*) FROM pg_inherits WHERE inhparent = '{entry.table}'::regclass"  # noqa: S608
    assert 0 < int(str(scalar(store, leaves))) < PARTITIONS
    with store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("CALL vecstore.purge()")  # by whomever
    assert left_over(store) == (0, 0)
    assert store.doctor() == ()


def test_a_partition_of_very_many_is_dropped_by_itself(store: Store, many: Collection) -> None:
    many.drop_partition("p400")
    assert many.count() == 3
    with pytest.raises(PartitionNotFound):
        many.drop_partition("p400")
