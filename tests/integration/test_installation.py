from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, event, text

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import (
    Collection,
    DatabaseError,
    InvalidArgument,
    NotInstalled,
    NotOurs,
    SchemaOutdated,
    SchemaTooNew,
    Store,
)
from vecstore.revisions import revisions

HEAD = revisions()[-1]
TABLES = text("SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('vecstore') AND relkind = 'r'")


def record(store: Store, revision: str) -> None:
    """Let the schema be, to all appearances, of another revision."""
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE vecstore.alembic_version SET version_num = :revision"), {"revision": revision})


def test_an_upgrade_that_is_rolled_back_leaves_nothing(empty_url: URL) -> None:
    with vecstore.connect(empty_url) as store:
        with store.engine.connect() as connection:
            bound = store.bind(connection)
            bound.upgrade()
            assert connection.execute(TABLES).scalar_one() == 4
            assert bound.list_collections() == []
            connection.rollback()
        with store.engine.connect() as connection:
            assert connection.execute(TABLES).scalar_one() == 0
        with pytest.raises(NotInstalled):
            store.list_collections()


def test_an_empty_schema_made_by_the_administrator_is_used(empty_url: URL) -> None:
    engine = create_engine(empty_url, connect_args={"options": "-c role=owner_of_vecstore"})
    admin = create_engine(empty_url)
    with admin.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE owner_of_vecstore; CREATE EXTENSION vector")
        connection.exec_driver_sql("CREATE SCHEMA vecstore AUTHORIZATION owner_of_vecstore")
    try:
        store = vecstore.connect(engine)
        store.upgrade()
        assert store.list_collections() == []
    finally:
        engine.dispose()
        with admin.begin() as connection:
            connection.exec_driver_sql("DROP OWNED BY owner_of_vecstore CASCADE; DROP ROLE owner_of_vecstore")
        admin.dispose()


def test_a_schema_of_somebody_else_is_not_taken_over(empty_url: URL) -> None:
    with vecstore.connect(empty_url) as store:
        with store.engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA vecstore CREATE VIEW mine AS SELECT 1 AS one")
        with pytest.raises(NotOurs, match="exists and is not vecstore's"):
            store.upgrade()


def calls_of(store: Store) -> list[Callable[[], object]]:
    """One call of each kind: that reads, that writes, that changes structure."""
    return [
        store.list_collections,
        store.list_aliases,
        store.doctor,
        lambda: store.collection("books"),
        lambda: store.has_collection("books"),
        lambda: store.create_collection("films", BOOK_FIELDS),
        lambda: store.drop_collection("books", missing_ok=True),
        lambda: store.transaction().__enter__(),
    ]


def test_a_database_without_our_schema_is_opened_for_an_upgrade_and_for_nothing_else(empty_url: URL) -> None:
    with vecstore.connect(empty_url) as store:
        for call in calls_of(store):
            with pytest.raises(NotInstalled, match=r"`vecstore upgrade`, or store\.upgrade\(\)"):
                call()
        store.upgrade()
        assert store.create_collection("books", BOOK_FIELDS).count() == 0


@pytest.mark.parametrize("older", revisions()[:-1])
def test_an_older_schema_is_opened_for_an_upgrade_and_for_nothing_else(
    store: Store, books: Collection, database_url: URL, older: str
) -> None:
    books.insert([book(1), book(2)])
    store.downgrade(older)
    with vecstore.connect(database_url) as opened:
        for call in calls_of(opened):
            with pytest.raises(SchemaOutdated, match=f"'{older}', this library needs '{HEAD}': run `vecstore upgrade`"):
                call()
        with opened.engine.connect() as connection, pytest.raises(SchemaOutdated):
            opened.bind(connection).list_collections()
        opened.upgrade()
        assert opened.collection("books").search([1, 1, 1, 1])[0].ids.tolist() == [1, 2]
    assert books.num_entities == 2


def test_a_newer_schema_is_not_opened_nor_touched(store: Store, database_url: URL) -> None:
    record(store, "vecstore_9999")
    newer = f"'vecstore_9999', this library knows none after '{HEAD}': install the newer vecstore"
    with pytest.raises(SchemaTooNew, match=newer):
        vecstore.connect(database_url)
    for call in (store.upgrade, lambda: store.downgrade(revisions()[0])):
        with pytest.raises(SchemaTooNew, match=newer):
            call()
    with pytest.raises(SchemaTooNew, match=newer):
        store.list_collections()


def test_a_schema_taken_back_under_an_open_store_is_noticed(store: Store, database_url: URL) -> None:
    with vecstore.connect(database_url) as other:
        other.downgrade("base")
    with pytest.raises(NotInstalled):
        store.list_collections()


def test_connecting_asks_for_the_revision_in_passing(database_url: URL) -> None:
    engine = create_engine(database_url)
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *told: sent.append(told[2]))
    store = vecstore.connect(engine)
    assert ["SELECT version_num" in statement for statement in sent] == [False, False, True]
    store.list_collections()
    assert len(sent) == 4
    engine.dispose()


def test_a_folder_is_upgraded_by_being_opened(tmp_path: Path) -> None:
    with vecstore.connect(tmp_path) as store:
        store.create_collection("books", BOOK_FIELDS).insert([book(1)])
        store.downgrade(revisions()[0])
        with pytest.raises(SchemaOutdated):
            store.list_collections()
    with vecstore.connect(tmp_path) as store:
        assert store.collection("books").num_entities == 1


def test_a_revision_that_does_not_exist_is_refused(store: Store) -> None:
    for nonsense in ("vecstore_9999", "-1", "heads", "", "x'; DROP SCHEMA vecstore; --"):
        with pytest.raises(InvalidArgument, match=revisions()[0]):
            store.downgrade(nonsense)
    assert store.list_collections() == []


def test_our_schema_is_not_taken_away_from_under_collections(store: Store, books: Collection) -> None:
    with pytest.raises(DatabaseError, match="collections are registered: drop them first"):
        store.downgrade("base")
    assert store.list_collections() == ["books"]
    books.drop()
    store.downgrade("base")
    with pytest.raises(NotInstalled):
        store.list_collections()


def test_a_history_that_an_application_keeps_is_left_to_it(store: Store, database_url: URL) -> None:
    record(store, "a_revision_of_the_application")
    with vecstore.connect(database_url) as opened:
        assert opened.list_collections() == []
        with pytest.raises(NotOurs, match="a_revision_of_the_application: run `alembic upgrade heads` there"):
            opened.upgrade()
