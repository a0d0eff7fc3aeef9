from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError

from samples import BOOK_FIELDS, book
from vecstore import (
    Btree,
    Collection,
    CollectionExists,
    CollectionNotFound,
    DuplicateKey,
    FieldNotFound,
    Hnsw,
    IndexNotFound,
    InvalidArgument,
    InvalidData,
    PartitionExists,
    PartitionNotFound,
    Store,
    TransactionAborted,
    VecstoreError,
)
from waiting import eventually

Fill = Callable[..., None]

QUERY = [1.0, 2.0, 3.0, 4.0]

# Every row of the catalogue about objects made after initdb, but for what statistics change in it.
_CATALOGUE = text("""
    SELECT md5(string_agg(kind || whole, '' ORDER BY kind, whole)) FROM (
        SELECT 'class' AS kind, (to_jsonb(t) - '{relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,relminmxid,
                                                  relhassubclass}'::text[])::text AS whole
        FROM pg_class t WHERE oid >= 16384
        UNION ALL SELECT 'attribute', t::text FROM pg_attribute t WHERE attrelid >= 16384
        UNION ALL SELECT 'attrdef', t::text FROM pg_attrdef t
        UNION ALL SELECT 'index', t::text FROM pg_index t WHERE indexrelid >= 16384
        UNION ALL SELECT 'constraint', t::text FROM pg_constraint t WHERE oid >= 16384
        UNION ALL SELECT 'inherits', t::text FROM pg_inherits t
        UNION ALL SELECT 'partitioned', t::text FROM pg_partitioned_table t
        UNION ALL SELECT 'namespace', t::text FROM pg_namespace t WHERE oid >= 16384
        UNION ALL SELECT 'rewrite', t::text FROM pg_rewrite t WHERE oid >= 16384
        UNION ALL SELECT 'sequence', t::text FROM pg_sequence t
        UNION ALL SELECT 'type', t::text FROM pg_type t WHERE oid >= 16384
        UNION ALL SELECT 'depend', t::text FROM pg_depend t
        UNION ALL SELECT 'description', t::text FROM pg_description t WHERE objoid >= 16384
        UNION ALL SELECT 'collection', t::text FROM vecstore.collection_registry t
        UNION ALL SELECT 'alias', t::text FROM vecstore.alias_registry t
    ) everything
""")


def catalogue(store: Store) -> str:
    with store.engine.connect() as connection:
        return str(connection.execute(_CATALOGUE).scalar_one())


def contents(store: Store) -> list[tuple[object, ...]]:
    with store.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT t::text FROM books.entities t ORDER BY 1")
        return [tuple(row) for row in rows]


@pytest.fixture
def shelved(store: Store, books: Collection, fill: Fill) -> Collection:
    books.create_partition("novel")
    fill(books, range(50))
    fill(books, range(50, 80), "novel")
    books.create_index("embedding", Hnsw())
    with store.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE loans (book bigint PRIMARY KEY)")
        connection.exec_driver_sql("CREATE VIEW recent AS SELECT id FROM books.entities WHERE year > 1990")
        connection.exec_driver_sql("GRANT SELECT ON books.entities TO pg_read_all_data")
    return books


@contextmanager
def own(store: Store) -> Iterator[Store]:
    with store.transaction() as transaction:
        yield transaction


@contextmanager
def callers(store: Store) -> Iterator[Store]:
    with store.engine.connect() as connection, connection.begin():
        yield store.bind(connection)


class ChangedMyMindError(Exception):
    pass


CHANGES: dict[str, Callable[[Store], object]] = {
    "drop_index": lambda inside: inside.collection("books").drop_index(),
    "drop_partition": lambda inside: inside.collection("books").drop_partition("novel"),
    "drop": lambda inside: inside.collection("books").drop(cascade=True),
    "truncate": lambda inside: inside.collection("books").truncate(),
    "delete": lambda inside: inside.collection("books").delete(ids=range(40)),
    "rename": lambda inside: inside.rename_collection("books", "library"),
    "create_partition": lambda inside: inside.collection("books").create_partition("poem"),
    "create_collection": lambda inside: inside.create_collection("films", BOOK_FIELDS),
    "create_alias": lambda inside: inside.create_alias("books", "prod"),
    "drop and create": lambda inside: (
        inside.drop_collection("books", cascade=True),
        inside.create_collection("books", BOOK_FIELDS).insert([book(1)]),
    ),
}


@pytest.mark.parametrize("transaction", [own, callers])
@pytest.mark.parametrize("change", CHANGES)
def test_after_a_rollback_catalogue_and_data_are_what_they_were(
    store: Store, shelved: Collection, change: str, transaction: Callable[[Store], AbstractContextManager[Store]]
) -> None:
    catalogue_before, contents_before = catalogue(store), contents(store)
    found_before = shelved.search(QUERY)[0].to_dicts()

    with pytest.raises(ChangedMyMindError), transaction(store) as inside:  # noqa: PT012
        CHANGES[change](inside)
        raise ChangedMyMindError

    assert catalogue(store) == catalogue_before
    assert contents(store) == contents_before
    found = shelved.search(QUERY, exact=False)[0]
    assert (found.to_dicts(), found.path) == (found_before, "index")


def test_the_digest_of_the_catalogue_tells_changes_of_structure_apart(store: Store, shelved: Collection) -> None:
    names = ["drop_index", "drop_partition", "create_partition", "create_collection", "create_alias", "rename"]
    digests = [catalogue(store)]
    for name in names:
        CHANGES[name](store)
        digests.append(catalogue(store))
    assert len(set(digests)) == len(names) + 1
    assert catalogue(store) == digests[-1]


@pytest.mark.parametrize("transaction", [own, callers])
def test_several_drops_are_one_commit(
    store: Store, shelved: Collection, transaction: Callable[[Store], AbstractContextManager[Store]]
) -> None:
    films = store.create_collection("films", BOOK_FIELDS)
    with transaction(store) as inside:
        inside.collection("books").drop_index()
        inside.collection("books").drop_partition("novel")
        inside.drop_collection("films")
        inside.create_collection("plays", BOOK_FIELDS).insert([book(1)])
        # Nobody else sees any of it yet: the catalogue, which no lock guards, still has it all.
        assert store.list_collections() == ["books", "films"]
        assert inside.list_collections() == ["books", "plays"]
    assert store.list_collections() == ["books", "plays"]
    assert shelved.indexes == []
    assert not shelved.has_partition("novel")
    assert shelved.count() == 50
    with pytest.raises(CollectionNotFound):
        films.count()


@pytest.mark.parametrize("transaction", [own, callers])
def test_an_error_leaves_the_transaction_usable(
    store: Store, shelved: Collection, fill: Fill, transaction: Callable[[Store], AbstractContextManager[Store]]
) -> None:
    failing: list[tuple[type[VecstoreError], Callable[[Store], object]]] = [
        (DuplicateKey, lambda inside: inside.collection("books").insert([book(500), book(1)])),
        (InvalidData, lambda inside: inside.collection("books").insert([book(500, embedding=[1.0])])),
        (PartitionExists, lambda inside: inside.collection("books").create_partition("novel")),
        (PartitionNotFound, lambda inside: inside.collection("books").drop_partition("poem")),
        (IndexNotFound, lambda inside: inside.collection("books").drop_index("none")),
        (CollectionExists, lambda inside: inside.create_collection("books", BOOK_FIELDS)),
        (CollectionNotFound, lambda inside: inside.drop_collection("films")),
    ]
    with transaction(store) as inside:
        fill(inside.collection("books"), range(100, 110))
        for error, call in failing:
            with pytest.raises(error):
                call(inside)
        assert inside.collection("books").count() == 90
        fill(inside.collection("books"), range(110, 120))
    assert shelved.count() == 100
    assert shelved.get([500]) == []


def test_a_transaction_within_a_transaction_can_be_given_up_alone(
    store: Store, shelved: Collection, fill: Fill
) -> None:
    with store.transaction() as outer:
        fill(outer.collection("books"), range(100, 110))
        with pytest.raises(ChangedMyMindError), outer.transaction() as inner:  # noqa: PT012
            inner.collection("books").drop_partition("novel")
            inner.collection("books").drop_index()
            raise ChangedMyMindError
    assert shelved.count() == 90
    assert len(shelved.indexes) == 1


def settings(connection: Connection) -> dict[str, str]:
    found = connection.exec_driver_sql("SELECT name, setting FROM pg_settings").all()
    return {row.name: row.setting for row in found}


def test_no_setting_leaks_into_the_callers_transaction(store: Store, shelved: Collection, fill: Fill) -> None:
    with store.engine.connect() as connection, connection.begin():
        # The vector library must be loaded before its settings are listed.
        connection.exec_driver_sql("SET LOCAL hnsw.ef_search = 33")
        connection.exec_driver_sql("SET LOCAL lock_timeout = '7s'")
        connection.exec_driver_sql("SELECT embedding <-> embedding FROM books.entities LIMIT 1")
        before = settings(connection)
        assert (before["hnsw.ef_search"], before["lock_timeout"]) == ("33", "7000")
        inside = store.bind(connection)
        ours = inside.collection("books")
        ours.search(QUERY, limit=50)
        fill(ours, range(100, 110))
        with pytest.raises(PartitionExists):
            ours.create_partition("novel")
        with pytest.raises(DuplicateKey):
            fill(ours, range(10))
        ours.create_partition("poem")
        ours.drop_partition("poem")
        ours.create_index("year", Btree())
        ours.drop_index("year_idx")
        inside.create_alias("books", "prod")
        inside.create_collection("films", BOOK_FIELDS).drop()
        assert settings(connection) == before


def test_no_setting_stays_on_a_connection_that_goes_back_to_the_pool(
    store: Store, shelved: Collection, fill: Fill
) -> None:
    with store.engine.connect() as connection:
        connection.exec_driver_sql("SELECT embedding <-> embedding FROM books.entities LIMIT 1")
        pid, before = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one(), settings(connection)
    shelved.search(QUERY, limit=50)
    shelved.create_partition("poem")
    fill(shelved, range(100, 110))
    with pytest.raises(PartitionExists):
        shelved.create_partition("poem")
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() == pid
        assert settings(connection) == before


def test_the_callers_rows_and_ours_commit_together(store: Store, shelved: Collection) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO loans VALUES (1000)")
        store.bind(connection).collection("books").insert([book(1000)])
        connection.exec_driver_sql("INSERT INTO loans VALUES (1001)")
    with pytest.raises(ChangedMyMindError), store.engine.begin() as connection:  # noqa: PT012
        connection.exec_driver_sql("INSERT INTO loans VALUES (2000)")
        store.bind(connection).collection("books").insert([book(2000)])
        raise ChangedMyMindError
    with store.engine.connect() as connection:
        loans = connection.exec_driver_sql("SELECT book FROM loans ORDER BY book").scalars().all()
    assert loans == [1000, 1001]
    assert [found["id"] for found in shelved.get([1000, 2000])] == [1000]


def test_a_bound_store_neither_commits_nor_closes(store: Store, shelved: Collection) -> None:
    with store.engine.connect() as connection:
        with store.bind(connection) as inside:
            inside.collection("books").drop_partition("novel")
            assert connection.in_transaction()
        assert not connection.closed
        assert connection.in_transaction()
        connection.rollback()
    assert shelved.has_partition("novel")


def test_a_connection_without_transactions_is_not_bound(store: Store) -> None:
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:  # noqa: SIM117
        with pytest.raises(InvalidArgument, match="AUTOCOMMIT"):
            store.bind(connection)


def test_a_connection_of_another_driver_is_not_bound(store: Store) -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection, pytest.raises(InvalidArgument, match="psycopg 3, got pysqlite"):
        store.bind(connection)
    engine.dispose()


def test_a_transaction_that_the_caller_broke_says_so(store: Store, shelved: Collection) -> None:
    with store.engine.connect() as connection:
        inside = store.bind(connection)
        with pytest.raises(DBAPIError):
            connection.exec_driver_sql("SELECT 1/0")
        with pytest.raises(TransactionAborted, match="roll the transaction back"):
            inside.collection("books")
        connection.rollback()
        assert inside.collection("books").count() == 80


def test_changes_together_are_begun_again_until_the_lock_is_free(store: Store, books: Collection) -> None:
    attempts = []

    def work(together: Store) -> int:
        attempts.append(together)
        together.collection("books").alter(properties={"floor": "3"})
        together.collection("books").drop_field("year")
        return len(attempts)

    with store.engine.connect() as other, ThreadPoolExecutor(1) as pool:
        other.execute(text("SELECT count(*) FROM books.entities"))
        changed = pool.submit(store.change, work)
        eventually(lambda: len(attempts) > 1)
        assert books.describe().schema.properties == {}
        other.rollback()
        assert changed.result() == len(attempts)
    assert "year" not in books.describe().schema.by_name
    assert books.describe().schema.properties == {"floor": "3"}


def test_changes_together_of_which_one_fails_are_none(store: Store, books: Collection) -> None:
    def work(together: Store) -> None:
        together.collection("books").create_partition("novel")
        together.collection("books").drop_field("nothing")

    with pytest.raises(FieldNotFound):
        store.change(work)
    assert [it.name for it in books.partitions] == ["_default"]


def test_changes_together_may_be_a_part_of_the_callers_transaction(store: Store, books: Collection) -> None:
    with store.transaction() as outer:
        outer.change(lambda together: together.collection("books").create_partition("novel"))
        assert outer.collection("books").has_partition("novel")
        assert not store.collection("books").has_partition("novel")
    assert books.has_partition("novel")
