from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from sqlalchemy import URL, text

import vecstore
from samples import BOOK_FIELDS
from vecstore import Store
from vecstore.errors import (
    DatabaseExists,
    DatabaseNotFound,
    InvalidName,
    OperationRefused,
    PermissionDenied,
    UnsupportedServer,
)

NAME = "vecstore_test_library"


@pytest.fixture
def library(store: Store) -> Iterator[str]:
    store.create_database(NAME, properties={"owner": "city"})
    yield NAME
    with suppress(DatabaseNotFound), store.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(
            text("DROP DATABASE IF EXISTS vecstore_test_library WITH (FORCE)")
        )


def test_a_database_is_made_for_collections_and_dropped_when_it_is_empty(store: Store, library: str) -> None:
    assert store.list_databases() == {library: {"owner": "city"}}
    with store.database(library) as inside:
        books = inside.create_collection("books", BOOK_FIELDS)
        with pytest.raises(OperationRefused, match="is not empty, it holds the collections books: drop them first"):
            store.drop_database(library)
        books.drop()
        assert inside.list_databases() == {}  # this one is not among the others
        store.drop_database(library)
    assert store.list_databases() == {}
    assert store.list_collections() == []
    for call in (store.database, store.drop_database):
        with pytest.raises(DatabaseNotFound, match=library):
            call(library)


def test_tables_of_others_keep_a_database(store: Store, library: str) -> None:
    with store.database(library) as inside, inside.engine.begin() as connection:
        connection.execute(text("CREATE TABLE public.ours (id int)"))
    with pytest.raises(OperationRefused, match="tables that somebody made by SQL"):
        store.drop_database(library)
    assert library in store.list_databases()


def test_properties_of_a_database_are_altered(store: Store, library: str) -> None:
    store.alter_database(library, {"floor": "2", "owner": "state's \\ 'own' %"})
    assert store.list_databases()[library] == {"owner": "state's \\ 'own' %", "floor": "2"}
    store.alter_database(library, {}, delete=["floor", "nothing"])
    assert store.list_databases()[library] == {"owner": "state's \\ 'own' %"}
    with pytest.raises(DatabaseNotFound):
        store.alter_database("nothing", {})


def test_a_database_that_is_there_or_somebody_elses_is_left_alone(store: Store, library: str) -> None:
    with pytest.raises(DatabaseExists, match=library):
        store.create_database(library)
    assert store.list_databases()[library] == {"owner": "city"}
    for name in (store.engine.url.database, "postgres", "template1", "no such", 'x"; DROP'):
        for call in (store.drop_database, store.database):
            with pytest.raises(DatabaseNotFound):
                call(name)


@pytest.mark.parametrize("name", ["postgres", "Template1", "pg_own", "a-b", 'a"; DROP', "", "a" * 64, None])
def test_names_that_cannot_be_are_refused(store: Store, name: object) -> None:
    with pytest.raises(InvalidName, match="database"):
        store.create_database(name)


def test_a_comment_of_somebodys_makes_no_database_ours(store: Store, library: str) -> None:
    for comment in ("A library", "[1]", '{"vecstore": 1}', '{"other": {}}'):
        with store.engine.begin() as connection:
            connection.execute(text(f"COMMENT ON DATABASE {library} IS '{comment.replace(':', chr(92) + ':')}'"))
        assert store.list_databases() == {}
        with pytest.raises(DatabaseNotFound):
            store.drop_database(library)


def test_a_role_without_the_right_makes_no_database(store: Store, database_url: URL) -> None:
    role = f"modest_{database_url.database}"  # roles belong to the whole server
    with store.engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role}"))
    try:
        url = database_url.update_query_dict({"options": f"-c role={role}"})
        with vecstore.connect(url) as modest, pytest.raises(PermissionDenied):
            modest.create_database(NAME)
    finally:
        with store.engine.begin() as connection:
            connection.execute(text(f"DROP ROLE {role}"))
    assert store.list_databases() == {}


def test_a_database_that_could_not_be_finished_is_undone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Store) -> None:
        raise UnsupportedServer("no pgvector")

    monkeypatch.setattr(Store, "upgrade", fails)
    with pytest.raises(UnsupportedServer, match="no pgvector"):
        store.create_database(NAME)
    assert store.list_databases() == {}
    monkeypatch.undo()
    store.create_database(NAME)
    store.drop_database(NAME)
