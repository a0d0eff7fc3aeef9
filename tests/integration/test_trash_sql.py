"""The trash for those who never call the library: procedures, the view, roles, and Milvus's clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from types import SimpleNamespace

import psycopg
import pytest
from pymilvus import MilvusClient
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import (
    Btree,
    Collection,
    DataType,
    Field,
    Hnsw,
    Metric,
    PermissionDenied,
    Store,
    TrashNotFound,
)
from vecstore.errors import driver_error

WEEK = timedelta(days=7)


def call(store: Store, statement: str) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql(statement)


def alone(store: Store, statement: str) -> list[str]:
    """As psql sends it: outside a transaction; what the server warned of."""
    warned: list[str] = []
    with store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)

        def hear(notice: psycopg.errors.Diagnostic) -> None:
            warned.append(str(notice.message_primary))

        driver.add_notice_handler(hear)
        connection.exec_driver_sql(statement)
        driver.remove_notice_handler(hear)
    return warned


def refusal(store: Store, statement: str) -> psycopg.Error:
    with pytest.raises(DBAPIError) as caught:
        call(store, statement)
    error = driver_error(caught.value)
    assert error is not None
    return error


def rows(store: Store, statement: str) -> list[tuple[object, ...]]:
    with store.engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(statement)]


def left_over(store: Store) -> list[tuple[object, ...]]:
    return rows(
        store,
        "SELECT nspname FROM pg_namespace WHERE nspname LIKE '\\_vecstore\\_trash%%'"
        " UNION ALL SELECT entities::text FROM vecstore.collection_registry"
        " UNION ALL SELECT relation::text FROM vecstore.trash_registry"
        " UNION ALL SELECT view::text FROM vecstore.alias_registry",
    )


@pytest.fixture
def loaded(store: Store) -> Collection:
    drawn = (Field("id", DataType.INT64, primary_key=True, auto_id=True), *BOOK_FIELDS[1:])
    books = store.create_collection("books", drawn)
    books.create_partition("novel")
    for partition in ("_default", "novel"):
        books.insert([new(key) for key in range(5)], partition_name=partition)
    books.create_index("embedding", Hnsw(Metric.L2))
    books.create_index("year", Btree())
    return books


def new(key: int) -> dict[str, object]:
    return {name: value for name, value in book(key).items() if name != "id"}


def test_a_collection_is_kept_shown_and_taken_back(store: Store, loaded: Collection) -> None:
    store.create_alias("books", "prod")
    call(store, "ANALYZE books.entities")
    before = loaded.describe()
    call(store, "CALL vecstore.drop_collection('books', keep => '7 days', cascade => true)")
    assert store.list_collections() == []
    shown = rows(
        store,
        "SELECT collection, partition, kept_until - dropped_at, aliases, rows_estimated, bytes > 0 FROM vecstore.trash",
    )
    assert shown == [("books", None, WEEK, ["prod"], 10, True)]
    call(store, "CALL vecstore.restore_collection('books')")
    assert loaded.describe() == before
    assert store.collection("prod").count() == 10
    # What the one drops, the other restores.
    loaded.drop(keep=WEEK, cascade=True)
    call(store, "CALL vecstore.restore_collection('books', as_name => 'texts', with_aliases => false)")
    call(store, "CALL vecstore.drop_collection('texts', keep => '1 month')")
    assert store.restore("texts").count() == 10
    assert store.list_aliases() == {}


def test_a_partition_is_kept_and_taken_back(store: Store, loaded: Collection) -> None:
    before = loaded.describe()
    plan = "EXPLAIN SELECT id FROM books.entities WHERE _partition = 'novel' AND year = 1903"
    call(store, "CALL vecstore.drop_partition('books', 'novel', keep => '7 days')")
    assert loaded.count() == 5
    loaded.create_index("title", Btree())
    call(store, "CALL vecstore.restore_partition('books', 'novel')")
    loaded.drop_index("title_idx")
    assert loaded.describe() == before
    assert loaded.insert([new(9)], partition_name="novel").ids == [11]
    call(store, "SET LOCAL enable_seqscan = off")
    with store.engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        assert "entities_novel_year_idx" in "".join(connection.exec_driver_sql(plan).scalars())
    loaded.drop_partition("novel", keep=WEEK)
    call(store, "CREATE TABLE books.entities_novel ()")
    call(store, "CALL vecstore.restore_partition('books', 'novel')")
    assert loaded.count(partition_names=["novel"]) == 6
    call(store, "CALL vecstore.drop_partition('books', 'novel', keep => '7 days')")
    assert store.restore_partition("books", "novel").count() == 6


def test_property_and_setting_say_how_long_where_the_call_does_not(store: Store, loaded: Collection) -> None:
    kept = "SELECT kept_until - dropped_at FROM vecstore.trash ORDER BY id DESC LIMIT 1"
    call(store, f"ALTER DATABASE {store.engine.url.database} SET vecstore.keep_dropped = '2 weeks'")
    store.engine.dispose()  # a setting of the database is one of sessions that begin after it
    assert alone(store, "CALL vecstore.drop_partition('books', 'novel')") == []
    assert rows(store, kept) == [(timedelta(days=14),)]
    loaded.alter(properties={"vecstore.keep_dropped": "90 minutes"})
    alone(store, "CALL vecstore.drop_collection('books')")
    assert rows(store, kept) == [(timedelta(minutes=90),)]
    store.restore("books")
    call(store, "CALL vecstore.drop_collection('books', keep => '0')")
    assert rows(store, "SELECT partition FROM vecstore.trash") == [("novel",)]


@pytest.mark.parametrize(
    ("statement", "sqlstate", "words"),
    [
        ("drop_collection('books', keep => '-1 day')", "22023", "cannot keep what is dropped for"),
        ("drop_collection('books', keep => '200 years')", "22023", "cannot keep"),
        ("drop_collection('books', keep => '1 day')", "2BP01", "has aliases, drop them first: prod"),
        ("drop_collection('texts', keep => '1 day')", "2BP01", "cannot be dropped and kept"),
        ("drop_partition('books', 'novel', keep => '1 day', cascade => true)", "2BP01", "cannot be dropped and kept"),
        ("drop_collection('films')", "22023", "vecstore.keep_dropped is 'soon'"),
        ("restore_collection('nope')", "42704", "no dropped collection 'nope' is kept"),
        ("restore_collection('old', trash_id => 999)", "42704", "no dropped collection 'old' is kept as number 999"),
        ("restore_collection('old')", "42P06", "'old' is taken meanwhile"),
        ("restore_collection('old', as_name => 'x y')", "42602", "invalid collection name 'x y'"),
        ("restore_collection('old', as_name => 'Vecstore')", "42602", "invalid collection name"),
        ("restore_collection('old', as_name => 'new')", "42P06", "'of_old' is taken meanwhile"),
        ("restore_partition('books', 'nope')", "42704", "no dropped partition 'nope' of collection 'books' is kept"),
        ("restore_partition('books', 'poems')", "42710", "has a partition 'poems' again"),
        ("restore_partition('books', 'plays')", "42804", "field pages (integer) was added"),
        ("purge('-1 day')", "22023", "nothing was dropped longer ago"),
    ],
)
def test_what_is_refused_says_why(troubled: Store, statement: str, sqlstate: str, words: str) -> None:
    before = rows(troubled, "SELECT id, relation::text FROM vecstore.trash")
    error = refusal(troubled, f"CALL vecstore.{statement}")
    assert (error.sqlstate, words in str(error.diag.message_primary)) == (sqlstate, True), error
    assert error.diag.message_hint
    assert rows(troubled, "SELECT id, relation::text FROM vecstore.trash") == before


@pytest.fixture(scope="module")
def troubled(server, template) -> Iterator[Store]:
    """A store in which much stands in the way."""
    with vecstore.connect(server.url()) as admin:
        call_alone = admin.engine.execution_options(isolation_level="AUTOCOMMIT")
        with call_alone.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE troubled TEMPLATE {template}")
        with vecstore.connect(server.url("troubled")) as store:
            books = store.create_collection("books", BOOK_FIELDS)
            for name in ("novel", "poems", "plays"):
                books.create_partition(name)
            for name in ("poems", "plays"):
                books.drop_partition(name, keep=WEEK)
            books.create_partition("poems")
            books.add_field(Field("pages", DataType.INT32, nullable=True))
            store.create_alias("books", "prod")
            store.create_collection("texts", BOOK_FIELDS)
            store.create_collection("films", BOOK_FIELDS)
            for name in ("old", "of_old"):
                store.create_collection(name, BOOK_FIELDS)
            store.drop_collection("of_old")
            store.create_alias("old", "of_old")
            store.drop_collection("old", keep=WEEK, cascade=True)
            for name in ("old", "of_old"):
                store.create_collection(name, BOOK_FIELDS)
            call(store, "CREATE VIEW public.of_texts AS SELECT id FROM texts.entities")
            call(store, "CREATE VIEW public.of_novels AS SELECT id FROM books.entities_novel")
            call(
                store,
                """UPDATE vecstore.collection_registry SET properties = '{"vecstore.keep_dropped": "soon"}'
                   WHERE entities = 'films.entities'::regclass""",
            )
            yield store
        with call_alone.connect() as connection:
            connection.exec_driver_sql("DROP DATABASE troubled WITH (FORCE)")


def test_purge_frees_what_is_due_and_warns_of_what_is_in_use(store: Store, loaded: Collection) -> None:
    store.create_alias("books", "prod")
    store.create_collection("short", BOOK_FIELDS).drop(keep=timedelta(microseconds=1))
    loaded.drop_partition("novel", keep=WEEK)
    loaded.drop(keep=WEEK, cascade=True)
    assert alone(store, "CALL vecstore.purge()") == []
    assert rows(store, "SELECT collection, partition FROM vecstore.trash") == [("books", "novel"), ("books", None)]
    assert refusal(store, "CALL vecstore.purge('0')").sqlstate == "2D000"  # in a transaction it cannot commit
    novel, _ = store.trash()
    with store.engine.connect() as reader:
        reader.exec_driver_sql(f"SELECT FROM {novel.table}")
        warned = alone(store, "CALL vecstore.purge(older_than => '0')")
    assert warned == [f"number {novel.id} of the trash is not freed: others use it"]
    assert store.trash() == (novel,)
    alone(store, "CALL vecstore.purge('0')")
    assert left_over(store) == []


# Roles


@pytest.fixture
def roles(store: Store, database_url: URL) -> Iterator[SimpleNamespace]:
    """A store for each role; roles belong to the whole server, so their names carry the database's."""
    with ExitStack() as stack:
        opened = {}
        for name in ("owner", "member", "reader", "stranger"):
            role = f"{name}_{database_url.database}"
            call(store, f"CREATE ROLE {role}")
            url = database_url.update_query_dict({"options": f"-c role={role}"})
            opened[name] = stack.enter_context(vecstore.connect(url))
        yield SimpleNamespace(**opened, named=lambda name: f"{name}_{database_url.database}")


def test_who_owns_it_keeps_restores_and_frees_it(store: Store, loaded: Collection, roles: SimpleNamespace) -> None:
    owner, member = roles.named("owner"), roles.named("member")
    call(store, f"GRANT {owner} TO {member}")
    store.grant(owner, on="books", privileges="own")
    roles.owner.grant(roles.named("reader"), on="books")
    with pytest.raises(PermissionDenied, match="GRANT CREATE ON DATABASE"):
        roles.member.drop_collection("books", keep=WEEK)
    with pytest.raises(PermissionDenied, match="GRANT CREATE ON DATABASE"):
        roles.member.collection("books").drop_partition("novel", keep=WEEK)
    call(store, f"GRANT CREATE ON DATABASE {store.engine.url.database} TO {owner}")

    roles.member.collection("books").drop_partition("novel", keep=WEEK)
    [entry] = roles.owner.trash()
    assert (entry.dropped_by, roles.reader.trash()) == (member, ())
    for role in (roles.reader, roles.stranger):
        with pytest.raises(PermissionDenied):
            role.restore_partition("books", "novel")
        assert role.purge(timedelta(0)) == ()
    roles.owner.restore_partition("books", "novel")
    assert roles.reader.collection("books").count() == 10
    roles.owner.collection("books").drop_partition("novel", keep=WEEK)
    roles.member.restore_partition("books", "novel")
    assert store.doctor() == ()

    roles.owner.drop_collection("books", keep=WEEK)
    assert [entry.collection for entry in roles.reader.trash()] == ["books"]  # what it could read it still can
    assert roles.stranger.trash() == ()
    for role in (roles.reader, roles.stranger):
        with pytest.raises(PermissionDenied, match=f"belongs to '{owner}'"):
            role.restore("books")
        call_denied = refusal(role, "CALL vecstore.restore_collection('books')")
        assert call_denied.sqlstate == "42501"
        alone(role, "CALL vecstore.purge('0')")
        assert role.purge(timedelta(0)) == ()
    assert roles.member.restore("books").count() == 10
    assert roles.reader.collection("books").count() == 10
    roles.member.drop_collection("books", keep=WEEK)
    assert [entry.collection for entry in roles.owner.purge(timedelta(0))] == ["books"]
    assert left_over(store) == []


# Milvus's clients


def test_milvus_clients_drop_as_the_property_says(store: Store, loaded: Collection, milvus: MilvusClient) -> None:
    loaded.alter(properties={"vecstore.keep_dropped": "7 days"})
    milvus.release_partitions("books", ["novel"])
    milvus.drop_partition("books", "novel")
    milvus.drop_collection("books")
    assert milvus.list_collections() == []
    assert [(entry.partition, entry.kept_until - entry.dropped_at) for entry in store.trash()] == [
        ("novel", WEEK),
        (None, WEEK),
    ]
    store.restore("books")
    store.restore_partition("books", "novel")
    assert milvus.get_collection_stats("books")["row_count"] == 10
    milvus.alter_collection_properties("books", {"vecstore.keep_dropped": "0"})
    milvus.drop_collection("books")
    assert store.trash() == ()
    with pytest.raises(TrashNotFound):
        store.restore("books")
