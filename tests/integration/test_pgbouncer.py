"""Behind PgBouncer the next transaction may meet another server process, and what others left there."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier

import pytest
from bouncer import POOL_SIZE, bouncing, needs_pgbouncer, plain
from sqlalchemy import URL, create_engine

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import Collection, ConnectionLost, Hnsw, InvalidArgument, Store
from waiting import SECONDS

pytestmark = needs_pgbouncer

CLIENTS = 6
ROUNDS = 6
ROWS = 60
HINT = r"connect\(\.\.\., pgbouncer=True\)"
SETTINGS = ("hnsw.ef_search", "hnsw.iterative_scan", "hnsw.max_scan_tuples", "lock_timeout", "statement_timeout")


@pytest.fixture
def bounced(database_url: URL) -> Iterator[URL]:
    with bouncing(database_url) as url:
        yield url


@pytest.fixture
def filled(store: Store) -> Collection:
    books = store.create_collection("books", BOOK_FIELDS)
    books.insert([book(key) for key in range(ROWS)])
    books.create_index("embedding", Hnsw())
    return books


def worked(url: URL, client: int, together: Barrier) -> None:
    """Rounds of everything, on a partition and on keys of the client's own; what comes back is what there must be."""
    own = f"of_{client}"
    keys = [1000 * (client + 1) + number for number in range(5)]
    with vecstore.connect(url, pgbouncer=True, ddl_timeout=SECONDS) as store:
        books = store.collection("books")
        together.wait()
        for number in range(ROUNDS):
            limit = 1 + (client + number) % 7
            books.create_partition(own)
            books.insert([book(key) for key in keys[:3]], partition_name=own)
            books.upsert([book(key, title=f"{client}") for key in keys], partition_name=own)
            mine = books.partition(own)
            assert mine.count() == 5
            assert {record["title"] for record in books.get(keys, output_fields=["title"], partition_names=[own])} == {
                f"{client}"
            }
            assert books.search(book(client)["embedding"], limit=1, filter="id < 1000")[0].ids.tolist() == [client]
            near = books.search(
                book(7)["embedding"], limit=limit, exact=False, ef=50 + client, partition_names=["_default"]
            )[0]
            assert (len(near), near.ids.tolist()[0]) == (limit, 7)
            assert books.count(filter=f"id >= {keys[0]} and id <= {keys[-1]}") == 5
            assert books.delete(ids=keys[:2]).count == 2
            assert sorted(hit for hit in mine.search([1, 1, 1, 1], limit=9)[0].ids) == keys[2:]
            books.drop_partition(own)


def values(url: URL, statement: str) -> set[tuple[object, ...]]:
    """What the pool's connections answer: all of them, for each is held by a transaction while the others are asked."""
    connections = [plain(url) for _ in range(POOL_SIZE)]
    try:
        found: set[tuple[object, ...]] = set()
        pids = set()
        for connection in connections:
            connection.execute("BEGIN")
            pids |= set(connection.execute("SELECT pg_backend_pid()"))
            found |= set(connection.execute(statement))
        assert len(pids) == POOL_SIZE
        for connection in connections:
            connection.execute("COMMIT")  # PgBouncer closes connections that clients leave in a transaction
        return found
    finally:
        for connection in connections:
            connection.close()


def test_six_clients_on_two_connections_get_right_answers_and_leave_nothing(bounced: URL, filled: Collection) -> None:
    settings = "SELECT " + ", ".join(f"current_setting('{name}', true)" for name in SETTINGS)
    together = Barrier(CLIENTS, timeout=SECONDS)
    with ThreadPoolExecutor(CLIENTS) as pool:
        for client in [pool.submit(worked, bounced, client, together) for client in range(CLIENTS)]:
            client.result()
    assert filled.count() == ROWS
    assert values(bounced, settings) == {("40", "off", "20000", "0", "0")}
    assert values(bounced, "SELECT name FROM pg_prepared_statements") == set()
    assert values(bounced, "SELECT pid FROM pg_locks WHERE locktype = 'advisory'") == set()


def test_a_transaction_of_many_calls_keeps_its_server_process(bounced: URL, filled: Collection) -> None:
    with vecstore.connect(bounced, pgbouncer=True) as store:
        with store.transaction() as transaction:
            books = transaction.collection("books")
            books.insert([book(500)])
            assert books.search(book(500)["embedding"], limit=1)[0].ids.tolist() == [500]
            assert books.delete(ids=[0]).count == 1
            assert filled.count() == ROWS
        assert store.collection("books").get([0, 500], output_fields=["id"]) == [{"id": 500}]


def test_an_index_is_built_online_behind_it(bounced: URL, filled: Collection) -> None:
    filled.drop_index()
    with vecstore.connect(bounced, pgbouncer=True) as store:
        store.collection("books").create_index("embedding", Hnsw(), online=True)
        assert store.doctor() == ()


def test_who_forgets_to_say_so_is_told_when_connecting(bounced: URL) -> None:
    with pytest.raises(ConnectionLost, match=HINT):
        vecstore.connect(bounced)


def test_who_forgets_to_say_so_is_told_when_another_process_answers(database_url: URL, filled: Collection) -> None:
    with (
        bouncing(database_url, ignored="extra_float_digits,options") as url,
        plain(url) as one,
        plain(url) as other,
        vecstore.connect(url) as store,
    ):
        books = store.collection("books")
        one.execute("BEGIN")
        for _ in range(3):
            assert books.count() == ROWS
        other.execute("BEGIN")
        one.execute("COMMIT")
        with pytest.raises(InvalidArgument, match=HINT):
            books.count()
        one.execute("BEGIN")
        other.execute("COMMIT")
        assert books.count() == ROWS


def test_who_forgets_to_say_so_never_gets_the_answer_to_another_clients_question(
    database_url: URL, filled: Collection
) -> None:
    def asked(url: URL, client: int, together: Barrier) -> None:
        with vecstore.connect(url) as store:
            books = store.collection("books")
            together.wait()
            for number in range(50):
                key = (client + number) % ROWS
                with suppress(InvalidArgument):
                    assert books.search(book(key)["embedding"], limit=client + 1)[0].ids.tolist()[0] == key
                with suppress(InvalidArgument):
                    assert books.count(filter=f"id < {client}") == client
                with suppress(InvalidArgument):
                    assert [record["id"] for record in books.get([key], output_fields=["id"])] == [key]

    with bouncing(database_url, ignored="extra_float_digits,options") as url, ThreadPoolExecutor(CLIENTS) as pool:
        together = Barrier(CLIENTS, timeout=SECONDS)
        for client in [pool.submit(asked, url, client, together) for client in range(CLIENTS)]:
            client.result()


def test_an_engine_that_prepares_is_refused_where_it_leads_to_pgbouncer(bounced: URL) -> None:
    engine = create_engine(bounced)
    with pytest.raises(InvalidArgument, match="'prepare_threshold': None"):
        vecstore.connect(engine, pgbouncer=True)
    engine.dispose()
    engine = create_engine(bounced, connect_args={"prepare_threshold": None})
    assert vecstore.connect(engine, pgbouncer=True).list_collections() == []
    engine.dispose()
