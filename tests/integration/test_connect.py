from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from sqlalchemy import URL, create_engine

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import (
    ConnectionLost,
    InvalidArgument,
    NotInstalled,
    NotOurs,
    PermissionDenied,
    Store,
)
from vecstore.embedded import EmbeddedServer


def text_url(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def test_a_folder_is_opened_again_with_what_was_stored(tmp_path: Path) -> None:
    with vecstore.connect(tmp_path / "data") as store:
        store.create_collection("books", BOOK_FIELDS).insert([book(1)])
    with vecstore.connect(str(tmp_path / "data")) as store:
        assert store.collection("books").num_entities == 1


def test_without_a_target_the_data_are_in_the_users_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vecstore.embedded.server.default_folder", lambda: tmp_path / "home")
    with vecstore.connect() as store:
        assert store.list_collections() == []
    assert (tmp_path / "home").is_dir()


def test_urls_and_engines_lead_to_a_server(database_url: URL, server: EmbeddedServer) -> None:
    plain = text_url(database_url)
    engine = create_engine(database_url)
    targets = [database_url, plain, plain.replace("postgresql://", "postgres://"), engine]
    for target in targets:
        with vecstore.connect(target) as store:
            assert store.list_collections() == []
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
    engine.dispose()


def test_an_engine_in_autocommit_still_gets_transactions(database_url: URL) -> None:
    engine = create_engine(database_url, isolation_level="AUTOCOMMIT")
    store = vecstore.connect(engine)
    with suppress(ZeroDivisionError), store.transaction() as transaction:
        transaction.create_collection("books", BOOK_FIELDS)
        raise ZeroDivisionError
    assert store.list_collections() == []
    engine.dispose()


@pytest.mark.parametrize("url", ["mysql://localhost/x", "postgresql+asyncpg://localhost/x", "sqlite://", "://"])
def test_other_databases_and_drivers_are_refused(url: str) -> None:
    with pytest.raises(InvalidArgument):
        vecstore.connect(url)


def test_memory_is_no_place_and_no_folder_of_that_name_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgument, match="give it a folder, a temporary one perhaps"):
        vecstore.connect(":memory:")
    assert list(tmp_path.iterdir()) == []


def test_an_engine_of_another_driver_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="sqlite"):
        vecstore.connect(create_engine("sqlite://"))


def test_a_server_that_is_not_there_is_a_connection_lost(tmp_path: Path) -> None:
    with pytest.raises(ConnectionLost, match="connect"):
        vecstore.connect(f"postgresql://postgres:secret@/nothing?host={quote_plus(str(tmp_path))}")


def test_a_repr_shows_where_but_no_password(tmp_path: Path) -> None:
    engine = create_engine("postgresql+psycopg://me:secret@localhost/x")
    store = Store(vecstore.database.Database(engine))
    assert "localhost" in repr(store)
    assert "secret" not in repr(store)


def test_a_database_without_our_schema_says_what_to_do(server: EmbeddedServer, store: Store) -> None:
    with store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE empty TEMPLATE template0")
    try:
        with vecstore.connect(server.url("empty")) as empty:
            with pytest.raises(NotInstalled, match=r"store\.upgrade\(\)"):
                empty.create_collection("books", BOOK_FIELDS)
            with pytest.raises(NotInstalled, match=r"store\.upgrade\(\)"):
                empty.list_collections()
            empty.upgrade()
            empty.upgrade()
            assert empty.create_collection("books", BOOK_FIELDS).count() == 0
    finally:
        with store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("DROP DATABASE empty")


def test_a_schema_vecstore_of_somebody_else_is_not_taken_over(server: EmbeddedServer, store: Store) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA vecstore CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA vecstore CREATE TABLE mine (id int)")
    with pytest.raises(NotOurs, match="vecstore"):
        store.upgrade()


def test_a_plain_role_opens_the_store_and_reads(store: Store, database_url: URL, books: vecstore.Collection) -> None:
    books.insert([book(1)])
    with store.engine.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE plain_reader")
        connection.exec_driver_sql("GRANT plain_reader TO postgres")
        connection.exec_driver_sql("GRANT USAGE ON SCHEMA books TO plain_reader")
        connection.exec_driver_sql("GRANT SELECT ON books.entities TO plain_reader")
    engine = create_engine(database_url, connect_args={"options": "-c role=plain_reader"})
    try:
        reader = vecstore.connect(engine)
        found = reader.collection("books")
        assert (found.num_entities, found.search([1, 1, 1, 1])[0].ids.tolist()) == (1, [1])
        for forbidden in (
            lambda: found.insert([book(2)]),
            lambda: found.delete(ids=[1]),
            lambda: found.create_partition("novel"),
            found.drop,
            lambda: reader.create_collection("films", BOOK_FIELDS),
        ):
            with pytest.raises(PermissionDenied):
                forbidden()
    finally:
        engine.dispose()
        with store.engine.begin() as connection:
            connection.exec_driver_sql("DROP OWNED BY plain_reader; DROP ROLE plain_reader")
    assert books.num_entities == 1


def test_a_pgvector_with_known_faults_is_warned_of(database_url: URL) -> None:
    with vecstore.connect(database_url) as store, store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE pg_extension SET extversion = '0.8.2' WHERE extname = 'vector'")
    with pytest.warns(UserWarning, match=r"pgvector 0\.8\.2 has known faults"):
        vecstore.connect(database_url).close()


def test_behind_pgbouncer_nothing_is_prepared(database_url: URL) -> None:
    with vecstore.connect(database_url, pgbouncer=True) as store:
        books = store.create_collection("books", BOOK_FIELDS)
        books.insert([book(1)])
        for _ in range(8):
            books.search([1, 1, 1, 1])
        with store.engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar_one() == 0


def test_a_forked_child_has_connections_of_its_own(store: Store, books: vecstore.Collection) -> None:
    def backend() -> int:
        with store.engine.connect() as connection:
            return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())

    parent = backend()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(backend()).encode())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert int(os.read(reader, 100)) != parent
    assert backend() == parent


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "7"])
def test_max_connections_is_a_number_from_one(database_url: URL, number: object) -> None:
    with pytest.raises(InvalidArgument, match="max_connections must be 1 or more"):
        vecstore.connect(database_url, max_connections=number)


def test_no_more_connections_are_opened_than_max_connections(database_url: URL) -> None:
    with vecstore.connect(database_url, max_connections=2) as store:
        pool = store.engine.pool
        assert (pool.size(), pool._max_overflow) == (2, 0)
    with vecstore.connect(database_url, max_connections=32) as store:
        assert (store.engine.pool.size(), store.engine.pool._max_overflow) == (5, 27)
