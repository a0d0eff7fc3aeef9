from __future__ import annotations

import pytest

from samples import BOOK_FIELDS
from vecstore import AliasNotFound, CollectionNotFound, InvalidName, NotOurs, Store

SYSTEM = ("public", "pg_catalog", "information_schema", "vecstore", "pg_toast", "_vecstore_trash_1")


@pytest.mark.parametrize("name", SYSTEM)
def test_a_schema_of_postgresql_or_our_own_is_never_a_collection(store: Store, name: str) -> None:
    refusals = [
        (InvalidName, lambda: store.drop_collection(name)),
        (InvalidName, lambda: store.drop_collection(name, missing_ok=True, cascade=True)),
        (InvalidName, lambda: store.create_collection(name, BOOK_FIELDS)),
        (InvalidName, lambda: store.create_alias("books", name)),
        (CollectionNotFound, lambda: store.collection(name)),
        ((NotOurs, CollectionNotFound), lambda: store.rename_collection(name, "mine")),
        ((NotOurs, AliasNotFound), lambda: store.drop_alias(name)),
    ]
    store.create_collection("books", BOOK_FIELDS)
    for error, call in refusals:
        with pytest.raises(error):
            call()
    with pytest.raises(InvalidName):
        store.rename_collection("books", name)
    assert store.list_collections() == ["books"]


def test_a_table_called_entities_is_not_enough_to_be_ours(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE SCHEMA lookalike CREATE TABLE entities (id bigint, _partition text) PARTITION BY LIST (_partition)"
        )
    assert not store.has_collection("lookalike")
    with pytest.raises(NotOurs):
        store.drop_collection("lookalike", cascade=True)
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM lookalike.entities").scalar_one() == 0


def test_a_view_called_entities_is_not_an_alias_of_ours(store: Store) -> None:
    store.create_collection("books", BOOK_FIELDS)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA theirs CREATE VIEW entities AS SELECT id FROM books.entities")
    assert not store.has_collection("theirs")
    assert store.list_aliases() == {}
    for call in (lambda: store.drop_alias("theirs"), lambda: store.alter_alias("books", "theirs")):
        with pytest.raises(NotOurs):
            call()
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM theirs.entities").scalar_one() == 0


def test_a_table_put_in_the_place_of_ours_is_not_dropped(store: Store) -> None:
    store.create_collection("books", BOOK_FIELDS)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE books.entities RENAME TO once_entities")
        connection.exec_driver_sql("CREATE TABLE books.entities (precious int)")
    with pytest.raises(NotOurs):
        store.drop_collection("books", cascade=True)
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM books.entities").scalar_one() == 0
