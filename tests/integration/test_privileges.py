"""Who may do what: the matrix of roles and calls, and what a role cannot reach around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from pymilvus import MilvusClient, MilvusException
from sqlalchemy import URL

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import (
    Collection,
    CollectionNotFound,
    DataType,
    Field,
    Hnsw,
    InvalidArgument,
    OperationRefused,
    PermissionDenied,
    Store,
)
from vecstore.gateway import serve

DRAWN = (Field("id", DataType.INT64, primary_key=True, auto_id=True), *BOOK_FIELDS[1:])


def run(store: Store, statement: str) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql(statement)


@pytest.fixture
def roles(store: Store, database_url: URL) -> Iterator[SimpleNamespace]:
    """A store for each role; roles belong to the whole server, so their names carry the database's."""
    with ExitStack() as stack:
        opened = {}
        for name in ("owner", "writer", "reader", "stranger"):
            role = f"{name}_{database_url.database}"
            run(store, f"CREATE ROLE {role}")
            url = database_url.update_query_dict({"options": f"-c role={role}"})
            opened[name] = stack.enter_context(vecstore.connect(url))
        yield SimpleNamespace(**opened, named=lambda name: f"{name}_{database_url.database}")


@pytest.fixture
def shared(store: Store, roles: SimpleNamespace) -> Collection:
    """A collection of the owner's, used by the others."""
    books = store.create_collection("books", DRAWN, dynamic=True)
    books.create_index("embedding", Hnsw())
    store.create_alias("books", "prod")
    store.grant(roles.named("owner"), on="books", privileges="own")
    roles.owner.grant(roles.named("writer"), on="books", privileges="write")
    roles.owner.grant(roles.named("reader"), on="books")
    roles.owner.collection("books").create_partition("later")
    roles.owner.collection("books").insert([new(key) for key in range(3)])
    roles.owner.collection("books").insert([new(3)], partition_name="later")
    return books


def new(key: int) -> dict[str, object]:
    return {name: value for name, value in book(key, color="red").items() if name != "id"}


READS: dict[str, Callable[[Collection], object]] = {
    "search": lambda books: books.search([1, 2, 3, 4], filter="year > 1900", output_fields=["*"]),
    "search by index": lambda books: books.search([1, 2, 3, 4], exact=False),
    "get": lambda books: books.get([1]),
    "query": lambda books: books.query("year > 0"),
    "count": lambda books: books.count(),
    "stats": lambda books: books.stats(),
}
WRITES: dict[str, Callable[[Collection], object]] = {
    "insert": lambda books: books.insert([new(4)]),
    "insert into a later partition": lambda books: books.insert([new(5)], partition_name="later"),
    "upsert": lambda books: books.upsert([book(1)]),
    "delete": lambda books: books.delete(ids=[1]),
}
CHANGES: dict[str, Callable[[Collection], object]] = {
    "alter": lambda books: books.alter(properties={"shelf": "3"}),
    "truncate": lambda books: books.truncate("later"),
    "create_index": lambda books: books.create_index("year", vecstore.Btree()),
    "drop_index": lambda books: books.drop_index(),
    "create_partition": lambda books: books.create_partition("more"),
    "drop_partition": lambda books: books.drop_partition("later"),
    "grant": lambda books: Store(books._database).grant("pg_monitor", on="books"),
    "rename": lambda books: Store(books._database).rename_collection("books", "tomes"),
    "drop": lambda books: Store(books._database).drop_collection("books", cascade=True),
}


ALLOWED = {"owner": {*READS, *WRITES, *CHANGES}, "writer": {*READS, *WRITES}, "reader": {*READS}, "stranger": set()}


def outcome(store: Store, attempt: Callable[[Collection], object]) -> str:
    """Whether a call is allowed; what it did is undone."""
    with store.engine.connect() as connection:
        books = store.bind(connection).collection("books")
        try:
            attempt(books)
        except PermissionDenied as denied:
            return denied.sqlstate or "42501"
        return "allowed"


@pytest.mark.parametrize("role", ALLOWED)
def test_each_role_may_do_what_it_was_given_and_nothing_else(
    store: Store, shared: Collection, roles: SimpleNamespace, role: str
) -> None:
    store.drop_alias("prod")
    run(store, f"GRANT CREATE ON DATABASE {store.engine.url.database} TO {roles.named('owner')}")  # to rename
    calls = READS | WRITES | CHANGES
    outcomes = {call: outcome(getattr(roles, role), attempt) for call, attempt in calls.items()}
    assert outcomes == {call: "allowed" if call in ALLOWED[role] else "42501" for call in calls}
    assert shared.count() == 4


def test_rights_are_on_the_parent_alone(shared: Collection, roles: SimpleNamespace) -> None:
    for leaf in ("entities__default", "entities_later"):
        with pytest.raises(Exception, match="permission denied"):
            run(roles.writer, f"SELECT FROM books.{leaf}")
    assert shared.count() == 4


def test_an_alias_is_readable_by_whoever_may_read_the_collection(shared: Collection, roles: SimpleNamespace) -> None:
    assert roles.reader.collection("prod").count() == 4
    run(roles.reader, "SELECT id FROM prod.entities")
    run(roles.writer, "UPDATE prod.entities SET year = 1")
    with pytest.raises(Exception, match="permission denied"):
        run(roles.stranger, "SELECT id FROM prod.entities")


def test_one_owner_has_all_parts_whoever_made_them(store: Store, shared: Collection, roles: SimpleNamespace) -> None:
    shared.create_partition("by_a_superuser")
    run(store, "CALL vecstore.create_partition('books', 'by_sql')")
    with store.engine.connect() as connection:
        owners = connection.exec_driver_sql(
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'books'::regnamespace"
        )
        assert owners.scalars().all() == [roles.named("owner")]
    roles.owner.collection("books").drop_partition("by_a_superuser")
    roles.owner.collection("books").drop_partition("by_sql")


def test_revoking_a_right_takes_those_above_it(store: Store, shared: Collection, roles: SimpleNamespace) -> None:
    writer = roles.named("writer")
    store.revoke(writer, on="books", privileges="write")
    assert roles.writer.collection("books").count() == 4
    with pytest.raises(PermissionDenied):
        roles.writer.collection("books").insert([new(9)])
    store.grant(writer, on="prod", privileges="write")
    assert roles.writer.collection("books").insert([new(9)]).count == 1
    store.revoke(writer)
    with pytest.raises(PermissionDenied):
        roles.writer.collection("books").count()


def test_owning_can_be_taken_back(store: Store, shared: Collection, roles: SimpleNamespace) -> None:
    owner = roles.named("owner")
    with pytest.raises(OperationRefused, match=r"owns collection 'books'.*revoke 'own' first"):
        store.revoke(owner, on="books")
    store.revoke(owner, on="books", privileges="own")
    with pytest.raises(PermissionDenied):
        roles.owner.collection("books").count()
    with pytest.raises(OperationRefused, match="belongs to 'postgres'"):
        store.revoke(owner, on="books", privileges="own")


def test_members_of_a_role_own_together(store: Store, shared: Collection, roles: SimpleNamespace) -> None:
    run(store, f"GRANT {roles.named('owner')} TO {roles.named('reader')}")
    member = roles.reader.collection("books")
    member.create_partition("by_a_member")
    roles.owner.collection("books").drop_partition("by_a_member")


def test_what_cannot_be_granted_says_so(store: Store, shared: Collection, roles: SimpleNamespace) -> None:
    for role in ("nobody here", 'x"; DROP TABLE books.entities; --', "", "a\0b", 7, "x" * 70):
        with pytest.raises(InvalidArgument, match="no role"):
            store.grant(role, on="books")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="'read', 'write', 'own'"):
        store.grant(roles.named("reader"), on="books", privileges="all")
    with pytest.raises(CollectionNotFound):
        store.grant(roles.named("reader"), on="nope")
    with pytest.raises(PermissionDenied, match="belongs to"):
        roles.reader.grant(roles.named("stranger"), on="books")
    assert shared.count() == 4


def test_a_grant_in_a_transaction_is_rolled_back_with_it(
    store: Store, shared: Collection, roles: SimpleNamespace
) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction() as transaction:  # noqa: PT012 - a block
        transaction.grant(roles.named("stranger"), privileges="own")
        raise ZeroDivisionError
    with pytest.raises(PermissionDenied):
        roles.stranger.collection("books").count()


def test_who_may_create_schemas_may_create_collections_and_touches_nobody_elses(
    store: Store, shared: Collection, roles: SimpleNamespace
) -> None:
    run(store, f"GRANT CREATE ON DATABASE {store.engine.url.database} TO {roles.named('stranger')}")
    mine = roles.stranger.create_collection("films", BOOK_FIELDS)
    roles.stranger.create_alias("films", "movies")
    assert mine.insert([book(1)]).count == 1
    for theirs in (
        "DELETE FROM vecstore.collection_registry WHERE entities::text !~ 'films'",
        "DELETE FROM vecstore.alias_registry WHERE view::text !~ 'movies'",
    ):
        with roles.stranger.engine.begin() as connection:
            assert connection.exec_driver_sql(theirs).rowcount == 0
    with pytest.raises(Exception, match="row-level security"):
        run(roles.stranger, "INSERT INTO vecstore.collection_registry (entities) VALUES ('pg_class')")
    roles.stranger.drop_alias("movies")
    mine.drop()
    assert store.list_collections() == ["books"]
    assert store.list_aliases() == {"prod": "books"}
    assert store.doctor() == ()


def test_row_security_holds_on_every_way_in(store: Store, shared: Collection, roles: SimpleNamespace) -> None:
    run(store, "ALTER TABLE books.entities ENABLE ROW LEVEL SECURITY")
    run(store, "CREATE POLICY early ON books.entities USING (year < 1902)")
    reader = roles.reader.collection("books")
    assert reader.count() == 2
    for exact in (True, False):
        assert len(reader.search([1, 2, 3, 4], exact=exact)[0]) == 2
    with roles.reader.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT id FROM vecstore.search('books', '[1,2,3,4]')").all()
        assert len(found) == 2
    for relation in ("entities__default", "entities_later"):
        with pytest.raises(Exception, match="permission denied"):
            run(roles.reader, f"SELECT FROM books.{relation}")
    assert roles.owner.collection("books").count() == 4


def test_writers_need_temporary_tables_for_large_upserts_alone(
    store: Store, shared: Collection, roles: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(store, f"REVOKE TEMPORARY ON DATABASE {store.engine.url.database} FROM PUBLIC")
    books = roles.writer.collection("books")
    assert books.upsert([{"id": 1, **new(9)}]).count == 1
    monkeypatch.setattr("vecstore.ingest.arrays.MOST_BYTES", 0)
    with pytest.raises(PermissionDenied, match="temporary"):
        books.upsert([{"id": 1, **new(9)}])
    assert shared.num_entities == 4


@pytest.mark.usefixtures("shared")
def test_a_gateway_may_do_what_its_role_may(store: Store, roles: SimpleNamespace) -> None:
    with serve(roles.reader.engine.url, port=0) as gateway:
        client = MilvusClient(f"http://{gateway.address}")
        client.load_collection("books")
        assert len(client.query("books", "id > 0", output_fields=["id"])) == 4
        for call in (
            lambda: client.release_collection("books"),
            lambda: client.alter_collection_properties("books", {"shelf": "3"}),
            lambda: client.delete("books", ids=[1]),
            lambda: client.truncate_collection("books"),
        ):
            with pytest.raises(MilvusException, match="privilege not permitted"):
                call()
        assert len(client.query("books", "id > 0", output_fields=["id"])) == 4
        store.collection("books").alter(properties={"milvus.loaded": "[]"})
        with pytest.raises(MilvusException, match="privilege not permitted"):
            client.load_collection("books")
        client.close()
