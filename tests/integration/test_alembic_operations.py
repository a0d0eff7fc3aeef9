from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.pool import NullPool

from migrating import run
from samples import BOOK_FIELDS
from vecstore import (
    Btree,
    Collection,
    CollectionNotFound,
    DataType,
    DependentObjects,
    Field,
    Gin,
    Hnsw,
    IndexState,
    InvalidArgument,
    LockTimeout,
    Metric,
    NotInstalled,
    OperationRefused,
    Store,
)
from vecstore.embedded import EmbeddedServer
from vecstore.errors import sqlstate_of

PAGES = Field("pages", DataType.INT32, nullable=True)


@pytest.fixture
def connection(store: Store) -> Iterator[Connection]:
    with store.engine.connect() as connection:
        yield connection


def test_operations_do_what_the_calls_of_the_store_do(store: Store, connection: Connection) -> None:
    def upgrade(op: Operations) -> None:
        op.create_collection("books", *BOOK_FIELDS, description="what we have", properties={"owner": "us"})
        op.create_partition("books", "novel")
        op.add_field("books", PAGES)
        op.create_vector_index("books", "embedding", Hnsw(metric=Metric.L2, m=8), name="near")
        op.create_scalar_index("books", "year", Btree())
        op.create_alias("books", "prod")
        op.create_collection("films", *BOOK_FIELDS)
        op.alter_alias("films", "prod", existing="books")
        op.alter_field(
            "books",
            Field("title", DataType.VARCHAR, max_length=99, description="on the cover"),
            existing=BOOK_FIELDS[1],
        )
        op.alter_collection("books", description="books", properties={})
        op.rename_collection("books", "library")

    run(connection, upgrade)
    assert store.list_collections() == []  # not committed
    connection.commit()
    description = store.collection("library").describe()
    assert [field.name for field in description.schema.fields] == ["id", "title", "year", "embedding", "pages"]
    assert description.schema.field("title").max_length == 99
    assert (description.schema.description, description.schema.properties) == ("books", {})
    assert [partition.name for partition in description.partitions] == ["_default", "novel"]
    assert {index.name: index.spec for index in description.indexes} == {
        "near": Hnsw(metric=Metric.L2, m=8),
        "year_idx": Btree(),
    }
    assert store.list_aliases() == {"prod": "films"}

    def downgrade(op: Operations) -> None:
        op.drop_alias("prod")
        op.drop_vector_index("library", "near")
        op.drop_scalar_index("library", "year_idx")
        op.drop_partition("library", "novel")
        op.drop_field("library", "pages")
        op.drop_collection("films")

    run(connection, downgrade)
    connection.commit()
    assert store.list_collections() == ["library"]
    assert store.list_aliases() == {}
    description = store.collection("library").describe()
    assert (description.indexes, len(description.partitions), len(description.schema.fields)) == ((), 1, 4)
    run(connection, lambda op: op.drop_collection("library"))
    connection.commit()
    assert store.list_collections() == []


def test_a_revision_that_fails_leaves_nothing(store: Store, connection: Connection) -> None:
    def upgrade(op: Operations) -> None:
        op.execute(text("CREATE TABLE readers (id int)"))
        op.create_collection("books", *BOOK_FIELDS)
        op.create_partition("nowhere", "novel")

    with pytest.raises(CollectionNotFound, match="'nowhere'"), connection.begin():
        run(connection, upgrade)
    assert store.list_collections() == []
    assert connection.execute(text("SELECT to_regclass('readers') IS NULL")).scalar_one()


def test_an_operation_gives_up_its_place_to_readers_and_tries_again(
    store: Store, books: Collection, fill: Callable[..., None], connection: Connection
) -> None:
    fill(books, range(3))
    refused: list[str | None] = []
    with store.engine.connect() as reader:
        reader.execute(text("SELECT count(*) FROM books.entities"))

        def note(context: ExceptionContext) -> None:
            refused.append(sqlstate_of(context.original_exception))
            if len(refused) == 2:
                reader.rollback()

        event.listen(store.engine, "handle_error", note)
        run(connection, lambda op: op.drop_field("books", "year"))
    connection.commit()
    assert refused == ["55P03"] * 2
    assert "year" not in books.describe().schema.by_name


def test_an_operation_waits_no_longer_than_it_is_told(store: Store, books: Collection, connection: Connection) -> None:
    with store.engine.connect() as reader:
        reader.execute(text("SELECT count(*) FROM books.entities"))
        with pytest.raises(LockTimeout):
            run(connection, lambda op: op.drop_collection("books"), vecstore_ddl_timeout=0.3)
        connection.execute(text("SELECT 1"))  # the transaction can go on
    assert store.list_collections() == ["books"]


def test_what_others_made_stops_a_drop_unless_it_cascades(
    store: Store, books: Collection, connection: Connection
) -> None:
    connection.execute(text("CREATE VIEW recent AS SELECT id FROM books.entities WHERE year > 2000"))
    connection.commit()
    for drop in (lambda op: op.drop_collection("books"), lambda op: op.drop_field("books", "year")):
        with pytest.raises(DependentObjects):
            run(connection, drop)
    run(connection, lambda op: op.drop_field("books", "year", cascade=True))
    run(connection, lambda op: op.drop_collection("books", cascade=True))
    connection.commit()
    assert store.list_collections() == []


def test_each_kind_of_index_has_its_operation(books: Collection, connection: Connection) -> None:
    with pytest.raises(InvalidArgument, match=r"Btree is no vector index: use op\.create_scalar_index"):
        run(connection, lambda op: op.create_vector_index("books", "year", Btree()))
    with pytest.raises(InvalidArgument, match=r"Hnsw is no scalar index: use op\.create_vector_index"):
        run(connection, lambda op: op.create_scalar_index("books", "embedding", Hnsw()))
    run(connection, lambda op: op.create_scalar_index("books", "title", Gin()))


def test_another_dimension_is_refused_with_the_way_out(books: Collection, connection: Connection) -> None:
    wider = Field("embedding", DataType.FLOAT_VECTOR, dim=8)
    with pytest.raises(OperationRefused, match="dim 4, which cannot become 8: add a field of another name"):
        run(connection, lambda op: op.alter_field("books", wider, existing=BOOK_FIELDS[3]))


def test_without_schema_vecstore_the_error_says_what_to_do(server: EmbeddedServer, store: Store) -> None:
    with store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("CREATE DATABASE bare TEMPLATE template0"))
    engine = create_engine(server.url("bare").set(drivername="postgresql+psycopg"), poolclass=NullPool)
    try:
        with engine.connect() as connection, pytest.raises(NotInstalled, match="upgrade"):
            run(connection, lambda op: op.create_collection("books", *BOOK_FIELDS))
    finally:
        with store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("DROP DATABASE bare"))


def test_a_connection_without_transactions_is_refused(store: Store) -> None:
    with (
        store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection,
        pytest.raises(InvalidArgument, match="AUTOCOMMIT"),
    ):
        run(connection, lambda op: op.create_collection("books", *BOOK_FIELDS))


def online(op: Operations) -> None:
    op.create_vector_index("books", "embedding", Hnsw(), name="embedding_idx", online=True)


def test_an_online_build_leaves_the_transaction_and_comes_back(
    store: Store, books: Collection, fill: Callable[..., None], connection: Connection
) -> None:
    fill(books, range(20))
    context = MigrationContext.configure(connection)
    with context.begin_transaction():
        op = Operations(context)
        op.execute(text("CREATE TABLE readers (id int)"))
        online(op)
        with store.engine.connect() as other:
            assert other.execute(text("SELECT to_regclass('readers') IS NOT NULL")).scalar_one()
        op.add_field("books", PAGES)  # in a transaction again
        assert "pages" not in store.collection("books").describe().schema.by_name
    assert books.describe().index("embedding_idx").state is IndexState.READY
    assert "pages" in books.describe().schema.by_name


def test_a_revision_whose_online_build_came_to_its_end_can_be_run_again(
    books: Collection, fill: Callable[..., None], connection: Connection
) -> None:
    fill(books, range(5))
    for _ in range(2):
        context = MigrationContext.configure(connection)
        with context.begin_transaction():
            online(Operations(context))
    assert [index.name for index in books.indexes] == ["embedding_idx"]


def test_a_failed_online_build_leaves_no_index(store: Store, books: Collection, connection: Connection) -> None:
    books.insert([{"id": 1, "title": "zero", "embedding": [0, 0, 0, 0]}])
    context = MigrationContext.configure(connection)
    with pytest.raises(ValueError, match="no direction"), context.begin_transaction():
        online(Operations(context))
    assert books.indexes == []
    assert store.doctor() == ()


def test_an_online_build_in_somebody_elses_transaction_is_refused(books: Collection, connection: Connection) -> None:
    connection.execute(text("SELECT 1"))
    with pytest.raises(InvalidArgument, match="online=True has to leave the transaction"):
        run(connection, online)
