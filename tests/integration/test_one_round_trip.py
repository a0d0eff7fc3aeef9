"""A question that is asked again is one round trip, and right whatever happened on the connection in between."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from psycopg.errors import Diagnostic
from sqlalchemy import URL, ColumnElement, create_engine, event, text
from sqlalchemy.pool import StaticPool

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import Collection, Hnsw, Store
from vecstore.catalog import plan_look
from vecstore.liveness import LendingPool, Unasked
from vecstore.operations.round_trip import known, rows_at_once, set_local_command
from vecstore.pipeline import psycopg_connection, session_of
from vecstore.wire import Command
from waiting import eventually

QUERY = [1.0, 2.0, 3.0, 4.0]
READY_FOR_QUERY = b"Z\0\0\0\5"  # and the state of the transaction, with which an answer ends


class Line:
    """A line to the server that counts how often the client had to wait for an answer."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.turns = 0
        self._is_answered = True
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._path)
                threading.Thread(target=self._forward, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._forward, args=(server, client, False), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, asks: bool) -> None:  # noqa: FBT001
        end = b""
        with suppress(OSError):
            while data := source.recv(1 << 20):
                # What comes before the end of an answer keeps nobody waiting: a long question is read in parts.
                end = (end + data)[-len(READY_FOR_QUERY) - 1 :]
                if not asks and end.startswith(READY_FOR_QUERY):
                    self._is_answered = True
                elif asks and self._is_answered:
                    self.turns += 1
                    self._is_answered = False
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def line(database_url: URL) -> Iterator[Line]:
    line = Line(f"{database_url.query['host']}/.s.PGSQL.{database_url.port}")
    yield line
    line.close()


@pytest.fixture
def far(line: Line, database_url: URL) -> Iterator[Store]:
    with vecstore.connect(database_url.set(host="127.0.0.1", port=line.port, query={})) as store:
        yield store


def filled(store: Store) -> Collection:
    books = store.create_collection("books", BOOK_FIELDS)
    books.insert([book(key) for key in range(20)])
    books.create_index("embedding", Hnsw())
    return books


CALLS: dict[str, Callable[[Collection], object]] = {
    "search": lambda books: [hits.ids.tolist() for hits in books.search(QUERY, limit=3)],
    "search of many vectors": lambda books: len(books.search(np.ones((200, 4)), limit=3)),
    "search by the index": lambda books: books.search(QUERY, limit=3, exact=False, output_fields=["title"])[
        0
    ].to_dicts(),
    "filtered search": lambda books: books.search(QUERY, limit=3, filter="year > 1905")[0].ids.tolist(),
    "get": lambda books: books.get([3, 1, 2], output_fields=["id", "title"]),
    "query": lambda books: books.query("year > 1905", output_fields=["id"], limit=2),
    "count": lambda books: books.count(),
    "delete": lambda books: books.delete(ids=[100]).count,
    "delete by filter": lambda books: books.delete(filter="year < 1000").count,
}


@pytest.mark.parametrize("call", CALLS)
def test_a_question_that_is_asked_again_is_one_round_trip(far: Store, line: Line, call: str) -> None:
    books = filled(far)
    before = line.turns
    first = CALLS[call](books)
    assert line.turns - before > 1  # the collection is looked at, too
    assert CALLS[call](books) == first  # from here on it is prepared
    before = line.turns
    assert CALLS[call](books) == first
    assert line.turns - before == 1


def ids(records: list[dict[str, object]]) -> list[object]:
    return [record["id"] for record in records]


NEW_VALUES: dict[str, Callable[[Collection, ColumnElement[int], int], list[object]]] = {
    "query": lambda books, _, year: ids(books.query(f"year == {year}", output_fields=["id"])),
    "query by where": lambda books, column, year: ids(books.query(where=column == year)),
    "get": lambda books, _, year: ids(books.get(filter="year == {y}", filter_params={"y": year})),
    "count": lambda books, _, year: [year - 1900] * books.count(f"year == {year}"),
    "delete": lambda books, _, year: [year - 1900] * books.delete(filter=f"year == {year}").count,
    "search": lambda books, _, year: books.search(QUERY, filter=f"year == {year}")[0].ids.tolist(),
    "search by where": lambda books, column, year: books.search(QUERY, where=column == year)[0].ids.tolist(),
}


@pytest.mark.parametrize("call", NEW_VALUES)
def test_a_question_about_another_value_is_one_round_trip_and_one_to_the_planner(
    far: Store, line: Line, call: str
) -> None:
    books = filled(far)
    year = books.c.year
    for given in (1903, 1904, 1905):
        assert NEW_VALUES[call](books, year, given) == [given - 1900]
    before = line.turns
    assert NEW_VALUES[call](books, year, 1906) == [6]
    assert line.turns - before == (2 if "search" in call else 1)


STRUCTURE = {
    "a column is added": "ALTER TABLE books.entities ADD COLUMN isbn text",
    "a column is dropped": "ALTER TABLE books.entities DROP COLUMN year",
    "a column gets a longer type": "ALTER TABLE books.entities ALTER COLUMN year TYPE bigint",
    "an index is made": "CREATE INDEX by_year ON books.entities (year)",
    "an index is made, but not yet of the partitions": "CREATE INDEX by_year ON ONLY books.entities (year)",
    "an index is dropped": "DROP INDEX books.embedding_idx",
    "a partition is attached": "CREATE TABLE books.spare PARTITION OF books.entities FOR VALUES IN ('spare')",
    "a partition is detached": "ALTER TABLE books.entities DETACH PARTITION books.entities_novel",
    "a partition is dropped": "DROP TABLE books.entities_novel",
    "the schema takes another's place": "ALTER SCHEMA books RENAME TO old; ALTER SCHEMA films RENAME TO books",
    "an alias stands for another": "CREATE OR REPLACE VIEW prod.entities AS SELECT * FROM films.entities",
    "an alias is made again": "DROP VIEW prod.entities; CREATE VIEW prod.entities AS SELECT * FROM films.entities",
}
NO_STRUCTURE = {
    "rows come": "INSERT INTO books.entities SELECT id + 100, title, year, embedding, _partition FROM books.entities",
    "it is vacuumed": "VACUUM books.entities",
    "it is described": "COMMENT ON TABLE books.entities IS 'what people read'",
    "another collection changes": "ALTER TABLE films.entities ADD COLUMN isbn text",
}


@pytest.mark.parametrize("change", [*STRUCTURE, *NO_STRUCTURE])
def test_the_plan_of_a_look_changes_with_structure_and_with_nothing_else(store: Store, change: str) -> None:
    books = filled(store)
    books.create_partition("novel")
    films = store.create_collection("films", BOOK_FIELDS)
    films.insert([book(key) for key in range(20)])
    of_alias = "alias" in change
    if of_alias:
        store.create_alias("books", "prod")
    look = plan_look("prod" if of_alias else "books")
    taken = store.engine.raw_connection()
    session = session_of(taken, store._database.facts.vector_oids)
    before = session.rows(session.transact([look]))
    assert session.rows(session.transact([look])) == before
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in (STRUCTURE | NO_STRUCTURE)[change].split("; "):
            connection.execute(text(statement))
    after = session.rows(session.transact([look]))
    taken.close()
    assert (after == before) == (change in NO_STRUCTURE)


def test_an_answer_is_of_the_collection_that_the_alias_stands_for_now(store: Store) -> None:
    filled(store)
    films = store.create_collection("films", BOOK_FIELDS)
    films.insert([book(key) for key in range(100, 120)])
    store.create_alias("books", "prod")
    prod = store.collection("prod")
    for _ in range(5):
        for name, there in (("films", range(100, 120)), ("books", range(20))):
            store.alter_alias(name, "prod")
            for _ in range(3):
                assert set(prod.search(QUERY, limit=5)[0].ids) <= set(there)
                assert [record["id"] for record in prod.query(limit=2)] == list(there)[:2]


@contextmanager
def on_one_connection(url: URL, **options: object) -> Iterator[Store]:
    engine = create_engine(url, poolclass=StaticPool, connect_args=options)
    yield vecstore.connect(engine)
    engine.dispose()


@pytest.mark.parametrize("options", [{}, {"prepare_threshold": None}])
def test_a_delete_is_of_the_collection_that_the_alias_stands_for_now(
    database_url: URL, options: dict[str, object]
) -> None:
    """It is sent without waiting for the look before it, which finds too late that it is another collection's."""
    with on_one_connection(database_url, **options) as store:
        books = filled(store)
        films = store.create_collection("films", BOOK_FIELDS)
        films.insert([book(key) for key in range(20)])
        store.create_alias("books", "prod")
        prod = store.collection("prod")
        for key in range(3):
            assert prod.delete(ids=[key]).count == 1
        assert (books.count(), films.count()) == (17, 20)
        store.alter_alias("films", "prod")
        assert prod.delete(ids=[3, 4]).count == 2
        assert (books.count(), films.count()) == (17, 18)


@pytest.mark.parametrize("options", [{}, {"prepare_threshold": None}])
def test_what_a_search_sets_is_set_for_that_search_alone(database_url: URL, options: dict[str, object]) -> None:
    names = "hnsw.ef_search", "hnsw.iterative_scan", "random_page_cost"

    def settings(store: Store) -> list[str]:
        columns = ", ".join(f"current_setting('{name}')" for name in names)
        with store.engine.connect() as connection:
            return list(connection.execute(text(f"SELECT {columns}")).one())

    with on_one_connection(database_url, **options) as store:
        books = filled(store)
        fresh = settings(store)
        for _ in range(3):
            books.search(QUERY, ef=77, exact=False)
            books.search(QUERY, filter="year > 1905")
            assert settings(store) == fresh


@pytest.mark.parametrize("options", [{}, {"prepare_threshold": None}])
def test_settings_are_made_by_a_literal_set_local_which_the_server_has_no_warning_about(
    database_url: URL, options: dict[str, object], tmp_path: Path
) -> None:
    """set_config() would not reach the workers of Citus; and before PostgreSQL 18 it takes BEGIN to SET LOCAL."""
    ask = Command(b"SHOW hnsw.ef_search")
    warnings: list[Diagnostic] = []
    with on_one_connection(database_url, **options) as store:
        filled(store).search(QUERY)
        database = store._database
        taken = store.engine.raw_connection()
        driver = psycopg_connection(taken)
        driver.add_notice_handler(warnings.append)
        version = known(database, "books").version
        with (tmp_path / "trace").open("w+") as trace:
            driver.pgconn.trace(trace.fileno())
            for ef in (77, 77, 78):
                answer = rows_at_once(
                    database,
                    "books",
                    "search",
                    version,
                    lambda _: [ask],
                    settings=[set_local_command("hnsw.ef_search", ef)],
                )
                assert answer == [[(str(ef),)]]
            driver.pgconn.untrace()
            trace.seek(0)
            sent = trace.read()
        taken.close()
    assert "SET LOCAL hnsw.ef_search = 77" in sent
    assert "SET LOCAL hnsw.ef_search = 78" in sent
    assert warnings == []


def test_a_connection_that_is_given_back_in_a_transaction_is_given_out_without_one(database_url: URL) -> None:
    with vecstore.connect(database_url, max_connections=1) as store:
        filled(store)
        taken = store.engine.raw_connection()
        taken.cursor().execute("DELETE FROM books.entities")
        taken.close()
        assert store.collection("books").count() == 20


@pytest.mark.parametrize("statement", ["DEALLOCATE ALL", "DISCARD ALL"])
def test_statements_that_somebody_deallocated_are_prepared_again(database_url: URL, statement: str) -> None:
    with on_one_connection(database_url) as store:
        books = filled(store)
        answers = {name: call(books) for name, call in CALLS.items()}
        for _ in range(3):
            for call in CALLS.values():
                call(books)
            with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text(statement))
            assert {name: call(books) for name, call in CALLS.items()} == answers


def test_plans_that_the_server_makes_anew_cost_one_question_its_round_trip(line: Line, database_url: URL) -> None:
    """As after very many changes of other tables, which a connection did not take notice of one by one."""
    with on_one_connection(database_url.set(host="127.0.0.1", port=line.port, query={})) as store:
        books = filled(store)
        for call in CALLS.values():
            for _ in range(3):
                first = call(books)
            with store.engine.connect() as connection:
                connection.execute(text("DISCARD PLANS"))
            assert call(books) == first
            assert call(books) == first
            before = line.turns
            assert call(books) == first
            assert line.turns - before == 1


def prepared(store: Store) -> int:
    with store.engine.connect() as connection:
        count: int = connection.execute(
            text("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'vecstore%'")
        ).scalar_one()
    return count


def test_no_more_is_prepared_than_there_is_room_for(database_url: URL) -> None:
    with on_one_connection(database_url) as store:
        books = filled(store)
        for limit in range(1, 300):
            for _ in range(3):
                assert len(books.search(QUERY, limit=limit)[0]) == min(limit, 20)
        assert 200 < prepared(store) < 300


def test_nothing_is_prepared_where_the_connection_prepares_nothing(database_url: URL) -> None:
    with on_one_connection(database_url, prepare_threshold=None) as store:
        books = filled(store)
        for _ in range(5):
            assert len(books.search(QUERY, limit=3)[0]) == 3
        assert prepared(store) == 0


def test_a_caller_who_interrupts_a_question_gets_the_interrupt_and_a_connection_that_works(store: Store) -> None:
    connection = store.engine.raw_connection()
    session = session_of(connection, store._database.facts.vector_oids)
    asleep = text("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'")

    def interrupt() -> None:
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as observer:
            eventually(lambda: observer.execute(asleep).scalar_one() == 1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it is ignored
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        session.transact([Command(b"SELECT 1"), Command(b"SELECT pg_sleep(600)"), Command(b"SELECT 2")])
    thread.join()
    signal.signal(signal.SIGINT, before)
    assert session.rows(session.transact([Command(b"SELECT 3")])) == [[(3,)]]
    connection.close()


def test_an_error_of_one_command_undoes_them_all(store: Store, books: Collection) -> None:
    insert = b"INSERT INTO books.entities (id, title, embedding, _partition) VALUES (1, '', '[1,2,3,4]', '_default')"
    taken = store.engine.raw_connection()
    session = session_of(taken, store._database.facts.vector_oids)
    with pytest.raises(Exception, match="division by zero"):
        session.transact([Command(insert), Command(b"SELECT 1/0")])
    assert session.rows(session.transact([Command(b"SELECT 1")])) == [[(1,)]]
    taken.close()
    assert books.count() == 0


def test_a_search_whose_connection_died_is_made_on_another(store: Store) -> None:
    books = filled(store)
    found = books.search(QUERY, limit=3)[0].ids.tolist()
    for _ in range(3):
        with store.engine.connect() as other:
            other.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        assert books.search(QUERY, limit=3)[0].ids.tolist() == found


def test_who_listens_for_connections_that_are_taken_hears_of_each(store: Store) -> None:
    books = filled(store)
    books.search(QUERY)
    taken: list[object] = []
    event.listen(store.engine, "checkout", lambda *what: taken.append(what))
    for count in (1, 2, 3):
        books.search(QUERY)
        assert len(taken) == count


def test_many_threads_share_few_connections_and_give_all_of_them_back(database_url: URL) -> None:
    with vecstore.connect(database_url, max_connections=2) as store:
        books = filled(store)
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _: books.search(QUERY, limit=3)[0].ids.tolist(), range(200)))
        pool = store.engine.pool
        assert isinstance(pool, LendingPool)
        assert (pool.checkedout(), pool.checkedin() <= 2) == (0, True)
    assert found == [found[0]] * 200


def test_a_connection_that_is_lent_and_left_in_a_transaction_is_closed(store: Store) -> None:
    def begun() -> int:
        with Unasked(store.engine) as connection:
            driver = psycopg_connection(connection)
            driver.execute("SELECT 1")
            return driver.info.backend_pid

    assert begun() != begun()


def test_what_an_engine_does_when_a_transaction_begins_is_done_for_every_call(database_url: URL, store: Store) -> None:
    """A tenant must not see the rows of others because a question comes a second time."""
    filled(store)
    engine = create_engine(database_url)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("SET LOCAL ROLE tenant"))
    with store.engine.begin() as connection:
        for statement in (
            "CREATE ROLE tenant",
            "GRANT USAGE ON SCHEMA books TO tenant",
            "GRANT SELECT, DELETE ON books.entities TO tenant",
            "ALTER TABLE books.entities ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY own ON books.entities USING (id % 2 = 0)",
        ):
            connection.execute(text(statement))
    try:
        books = vecstore.connect(engine).collection("books")
        for key in range(4):
            assert books.count() == 10 - (key + 1) // 2
            assert books.delete(ids=[key]).count == (key + 1) % 2
            assert all(found % 2 == 0 for found in books.search(QUERY, limit=20)[0].ids)
    finally:
        engine.dispose()
        with store.engine.begin() as connection:
            connection.execute(text("DROP OWNED BY tenant"))
            connection.execute(text("DROP ROLE tenant"))
