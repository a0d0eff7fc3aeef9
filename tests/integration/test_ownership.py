"""What vecstore did not make it neither drops, renames, adopts nor points an alias at. See also test_collections.py."""

from __future__ import annotations

import pytest
from sqlalchemy import URL

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import (
    AliasNotFound,
    Collection,
    CollectionNotFound,
    DependentObjects,
    InvalidName,
    NotOurs,
    Store,
    VecstoreError,
)

SYSTEM = ["public", "pg_catalog", "information_schema", "pg_toast", "vecstore"]

# All that tells one state of the database from another: schemas, relations and views, with their owners and OIDs.
DIGEST = """
    SELECT n.nspname, n.oid, coalesce(c.relname, ''), coalesce(c.oid, 0), coalesce(c.relkind, ' ')
    FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relpersistence <> 't'
    WHERE n.nspname !~ '^pg_(toast_)?temp' ORDER BY 1, 2, 3, 4
"""


def run(store: Store, statement: str) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql(statement)


def digest(store: Store) -> list[tuple[object, ...]]:
    with store.engine.connect() as connection:
        rows = [tuple(row) for row in connection.exec_driver_sql(DIGEST)]
        rows += [tuple(row) for row in connection.exec_driver_sql("TABLE vecstore.collection_registry")]
        return rows + [tuple(row) for row in connection.exec_driver_sql("TABLE vecstore.alias_registry")]


def scalar(store: Store, statement: str) -> object:
    with store.engine.connect() as connection:
        return connection.exec_driver_sql(statement).scalar_one()


@pytest.mark.parametrize("name", SYSTEM)
def test_a_schema_of_the_system_or_of_vecstore_is_no_collection_and_no_alias(
    store: Store, books: Collection, name: str
) -> None:
    store.create_alias("books", "prod")
    before = digest(store)
    refused = [
        (InvalidName, lambda: store.create_collection(name, BOOK_FIELDS)),
        (InvalidName, lambda: store.drop_collection(name)),
        (InvalidName, lambda: store.drop_collection(name, missing_ok=True, cascade=True)),
        (InvalidName, lambda: store.rename_collection("books", name)),
        (NotOurs, lambda: store.rename_collection(name, "mine")),
        (InvalidName, lambda: store.create_alias("books", name)),
        (CollectionNotFound, lambda: store.create_alias(name, "mine")),
        (NotOurs, lambda: store.alter_alias("books", name)),
        (CollectionNotFound, lambda: store.alter_alias(name, "prod")),
        (NotOurs, lambda: store.drop_alias(name)),
        (CollectionNotFound, lambda: store.collection(name)),
    ]
    for error, call in refused:
        with pytest.raises(error, match=name) as caught:
            call()
        assert type(caught.value) is error
    with store.transaction() as transaction:
        for error, call in (
            (InvalidName, lambda: transaction.drop_collection(name)),
            (NotOurs, lambda: transaction.drop_alias(name)),
            (NotOurs, lambda: transaction.rename_collection(name, "mine")),
        ):
            with pytest.raises(error):
                call()
        assert transaction.has_collection("books")
    assert digest(store) == before


def impostor(store: Store) -> None:
    """A schema that looks in everything like a collection, and was made by hand."""
    store.create_collection("model", BOOK_FIELDS)
    run(
        store,
        """
        CREATE SCHEMA impostor;
        CREATE TABLE impostor.entities (LIKE model.entities INCLUDING ALL) PARTITION BY LIST (_partition);
        CREATE TABLE impostor.entities__default PARTITION OF impostor.entities FOR VALUES IN ('_default');
        INSERT INTO impostor.entities VALUES (1, 'kept', 1900, '[1,2,3,4]', '_default');
        CREATE SCHEMA false_alias;
        CREATE VIEW false_alias.entities AS SELECT * FROM model.entities;
        """,
    )


def test_a_schema_that_looks_like_a_collection_is_not_one_unless_the_registry_says_so(store: Store) -> None:
    impostor(store)
    before = digest(store)
    assert store.list_collections() == ["model"]
    assert store.list_aliases() == {}
    for name in ("impostor", "false_alias"):
        calls = [
            (NotOurs, lambda name=name: store.create_collection(name, BOOK_FIELDS)),
            (NotOurs, lambda name=name: store.drop_collection(name, cascade=True)),
            (NotOurs, lambda name=name: store.rename_collection(name, "mine")),
            (NotOurs, lambda name=name: store.rename_collection("model", name)),
            (NotOurs, lambda name=name: store.create_alias("model", name)),
            (NotOurs, lambda name=name: store.alter_alias("model", name)),
            (NotOurs, lambda name=name: store.drop_alias(name)),
            (CollectionNotFound, lambda name=name: store.collection(name)),
        ]
        for error, call in calls:
            with pytest.raises(error, match=name):
                call()
    handle = Collection(store._database, "impostor")
    for call in (
        handle.truncate,
        lambda: handle.insert([book(2)]),
        lambda: handle.delete(ids=1),
        lambda: handle.create_partition("novel"),
        lambda: handle.drop_partition("_default"),
        handle.drop_index,
    ):
        with pytest.raises(CollectionNotFound):
            call()
    assert store.repair() == ()
    assert digest(store) == before
    assert scalar(store, "SELECT title FROM impostor.entities") == "kept"


def test_a_view_that_took_a_dropped_aliass_name_is_not_ours(store: Store, books: Collection) -> None:
    store.create_alias("books", "prod")
    run(store, "DROP VIEW prod.entities")
    run(store, "CREATE VIEW prod.entities AS SELECT 1 AS id")
    with pytest.raises(NotOurs, match="prod"):
        store.drop_alias("prod")
    with pytest.raises(NotOurs, match="prod"):
        store.alter_alias("books", "prod")
    assert scalar(store, "SELECT id FROM prod.entities") == 1
    assert [finding.kind.value for finding in store.repair()] == ["lost alias"]
    assert scalar(store, "SELECT id FROM prod.entities") == 1
    books.drop()  # nothing of ours is an alias of it any more


def test_a_table_moved_out_of_its_schema_takes_nothing_else_with_it(store: Store, books: Collection) -> None:
    run(store, "CREATE SCHEMA elsewhere CREATE TABLE kept (id int)")
    run(store, "ALTER TABLE books.entities SET SCHEMA elsewhere")
    before = digest(store)
    for name in ("books", "elsewhere"):
        with pytest.raises(VecstoreError):
            store.drop_collection(name)
    assert digest(store) == before
    assert scalar(store, "SELECT count(*) FROM elsewhere.kept") == 0


def test_a_renamed_collection_takes_the_views_of_others_along(store: Store, books: Collection) -> None:
    books.insert([book(1)])
    run(store, "CREATE VIEW public.recent AS SELECT id FROM books.entities")
    store.rename_collection("books", "library")
    assert scalar(store, "SELECT id FROM public.recent") == 1
    with pytest.raises(DependentObjects) as caught:
        store.drop_collection("library")
    assert caught.value.objects == ("view public.recent",)
    assert scalar(store, "SELECT id FROM public.recent") == 1


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ("CREATE VIEW public.v AS SELECT id FROM prod.entities", "v"),
        ("CREATE MATERIALIZED VIEW public.v AS SELECT id FROM prod.entities", "v"),
        ("CREATE TABLE prod.notes (id int)", "notes"),
        ("CREATE FUNCTION prod.f() RETURNS int LANGUAGE sql RETURN 1", "f()"),
    ],
)
def test_what_others_made_on_an_alias_stops_its_drop(store: Store, books: Collection, made: str, named: str) -> None:
    store.create_alias("books", "prod")
    run(store, made)
    before = digest(store)
    with pytest.raises(DependentObjects, match="prod") as caught:
        store.drop_alias("prod")
    assert any(named in found for found in caught.value.objects)
    assert digest(store) == before
    assert store.list_aliases() == {"prod": "books"}


def test_a_view_on_an_alias_stops_a_change_of_its_columns_and_of_nothing_else(store: Store, books: Collection) -> None:
    store.create_alias("books", "prod")
    store.create_collection("films", BOOK_FIELDS).insert([book(5)])
    store.create_collection("other", BOOK_FIELDS[:2])
    run(store, "CREATE VIEW public.v AS SELECT id FROM prod.entities")
    store.alter_alias("films", "prod")
    assert scalar(store, "SELECT id FROM public.v") == 5
    before = digest(store)
    with pytest.raises(DependentObjects):
        store.alter_alias("other", "prod")
    assert digest(store) == before
    assert scalar(store, "SELECT id FROM public.v") == 5


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ("CREATE MATERIALIZED VIEW public.v AS SELECT id FROM books.entities", "materialized view public.v"),
        ("CREATE VIEW public.v AS SELECT id FROM books.entities__default", "view public.v"),
        ("CREATE FUNCTION books.f() RETURNS int LANGUAGE sql RETURN 1", "function books.f()"),
        ("CREATE FUNCTION public.g(r books.entities) RETURNS int LANGUAGE sql RETURN 1", "public.g(books.entities)"),
        ("CREATE TYPE books.mood AS ENUM ('good')", "type books.mood"),
        ("CREATE SEQUENCE books.counter", "sequence books.counter"),
        ("CREATE TABLE public.t (r books.entities)", "public.t"),
        ("CREATE VIEW public.v AS SELECT id FROM prod.entities", None),
    ],
)
def test_whatever_others_made_on_a_collection_stops_its_drop_and_goes_with_cascade(
    store: Store, books: Collection, made: str, named: str | None
) -> None:
    if named is None:
        store.create_alias("books", "prod")
    run(store, made)
    before = digest(store)
    if named is None:
        with pytest.raises(VecstoreError, match="prod"):
            books.drop()
        with pytest.raises(DependentObjects):
            store.drop_alias("prod")
        assert digest(store) == before
        return
    with pytest.raises(DependentObjects) as caught:
        books.drop()
    assert any(named in found for found in caught.value.objects), caught.value.objects
    with store.transaction() as transaction:
        with pytest.raises(DependentObjects):
            transaction.drop_collection("books")
        assert transaction.has_collection("books")
    assert digest(store) == before
    books.drop(cascade=True)
    assert not store.has_collection("books")
    assert store.doctor() == ()


def test_installing_does_not_adopt_a_schema_vecstore_of_somebody_else(empty_url: URL) -> None:
    with vecstore.connect(empty_url) as store:
        run(store, "CREATE SCHEMA vecstore CREATE TABLE kept (id int)")
        with pytest.raises(NotOurs, match="vecstore"):
            store.upgrade()
        assert scalar(store, "SELECT count(*) FROM vecstore.kept") == 0
        assert scalar(store, "SELECT count(*) FROM pg_extension WHERE extname = 'vector'") == 0


def test_what_is_not_there_is_not_found_and_not_refused(store: Store) -> None:
    with pytest.raises(AliasNotFound):
        store.drop_alias("nothing")
    with pytest.raises(AliasNotFound):
        store.alter_alias("nothing", "nowhere")
    with pytest.raises(CollectionNotFound):
        store.rename_collection("nothing", "something")
