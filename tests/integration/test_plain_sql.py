"""What analysts change by plain SQL is seen, and breaks nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import (
    Collection,
    CollectionNotFound,
    DataType,
    DependentObjects,
    Field,
    Hnsw,
    IndexExists,
    InvalidData,
    InvalidSchema,
    OperationRefused,
    OtherIndex,
    Store,
)


def run(store: Store, statement: str) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql(statement)


@pytest.mark.parametrize(
    "column",
    [
        "v2 vector",
        "flags bit(3)",
        '"weird name" int',
        "place point",
        "doubled int GENERATED ALWAYS AS (year * 2) STORED",
        "isbn text",
        "price numeric(5, 2)",
    ],
)
def test_a_column_of_any_kind_may_be_added(store: Store, books: Collection, column: str) -> None:
    run(store, f"ALTER TABLE books.entities ADD COLUMN {column}")
    books.insert([book(1)])
    books.upsert([book(1), book(2)])
    assert books.search([1, 2, 3, 4], output_fields=["*"])[0][0].fields["title"].startswith("book")
    assert store.doctor() == ()
    books.drop()


def test_renamed_key_columns_are_followed(store: Store) -> None:
    drawn = (Field("id", DataType.INT64, primary_key=True, auto_id=True), *BOOK_FIELDS[1:])
    books = store.create_collection("books", drawn)
    named = store.create_collection("named", (Field("id", DataType.VARCHAR, primary_key=True, max_length=9),))
    for name in ("books", "named"):
        run(store, f"ALTER TABLE {name}.entities RENAME COLUMN id TO key")
    assert books.insert([{"title": "a", "embedding": [1, 2, 3, 4]}]).ids == [1]
    assert books.upsert([{"key": 1, "title": "b", "embedding": [1, 2, 3, 4]}]).count == 1
    named.insert([{"key": "a"}])
    assert named.get(["a"]) == [{"key": "a"}]


def test_a_collection_without_its_key_says_what_happened(store: Store, books: Collection) -> None:
    run(store, "ALTER TABLE books.entities DROP CONSTRAINT entities_pkey")
    with pytest.raises(InvalidSchema, match="'books' was changed by plain SQL"):
        books.count()


def test_dynamic_fields_stay_objects(store: Store) -> None:
    books = store.create_collection("books", BOOK_FIELDS, dynamic=True)
    books.insert([book(1, color="red")])
    with pytest.raises(Exception, match="_meta_object"):
        run(store, "UPDATE books.entities SET _meta = '[1]'")
    assert books.get([1])[0]["color"] == "red"


def test_a_table_of_somebody_else_that_became_a_partition_is_not_dropped(store: Store, books: Collection) -> None:
    run(store, "CREATE TABLE public.mine (LIKE books.entities INCLUDING ALL)")
    run(store, "ALTER TABLE books.entities ATTACH PARTITION public.mine FOR VALUES IN ('mine')")
    with pytest.raises(DependentObjects) as caught:
        books.drop()
    assert caught.value.objects == ("table public.mine",)
    with pytest.raises(OperationRefused, match=r"mine.*online=False"):
        books.create_index("embedding", Hnsw(), online=True)
    assert books.create_index("embedding", Hnsw()).state == "ready"
    run(store, "ALTER TABLE books.entities DETACH PARTITION public.mine")
    books.drop()
    run(store, "SELECT FROM public.mine")


def test_indexes_of_other_kinds_are_listed_and_not_mistaken(store: Store, books: Collection) -> None:
    books.insert([book(key) for key in range(20)])
    run(store, "CREATE INDEX partial ON books.entities USING hnsw (embedding vector_cosine_ops) WHERE year > 1910")
    run(store, "CREATE INDEX taxicab ON books.entities USING hnsw (embedding vector_l1_ops)")
    run(store, "CREATE INDEX pair ON books.entities (year, title)")
    assert all(isinstance(index.spec, OtherIndex) for index in books.indexes)
    assert books.search([1, 2, 3, 4])[0].path == "exact"
    assert len(books.search([1, 2, 3, 4], 20)[0]) == 20
    assert books.create_index("embedding", Hnsw()).state == "ready"
    with pytest.raises(IndexExists):
        books.create_index("embedding", Hnsw())
    books.drop_index("partial")


def test_a_view_that_no_longer_shows_one_collection_is_no_alias(store: Store, books: Collection) -> None:
    store.create_collection("films", BOOK_FIELDS)
    store.create_alias("books", "prod")
    run(
        store,
        "CREATE OR REPLACE VIEW prod.entities AS SELECT b.id, b.title, b.year, b.embedding, b._partition"
        " FROM books.entities b JOIN films.entities f USING (id)",
    )
    with pytest.raises(OperationRefused, match="books, films"):
        store.collection("prod")


def test_times_are_read_in_any_time_zone_of_the_session(store: Store) -> None:
    times = store.create_collection(
        "times", (Field("id", DataType.INT64, primary_key=True), Field("at", DataType.TIMESTAMPTZ))
    )
    ends = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)]
    times.insert({"id": [1, 2], "at": ends})
    for zone in ("Asia/Tokyo", "America/New_York"):
        with store.engine.begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL TIME ZONE '{zone}'")
            found = store.bind(connection).collection("times").get([1, 2], output_fields=["at"])
            assert [row["at"] for row in found] == ends


def test_another_schema_may_hold_the_extension(store: Store) -> None:
    run(store, 'CREATE SCHEMA "my ext"; ALTER EXTENSION vector SET SCHEMA "my ext"')

    with vecstore.connect(store.engine.url) as fresh:
        books = fresh.create_collection("books", BOOK_FIELDS)
        books.insert([book(key) for key in range(30)])
        books.create_index("embedding", Hnsw(), online=True)
        assert books.search([1, 2, 3, 4], exact=False)[0].path == "index"
        assert books.count(where=books.c.embedding.l2_distance([1, 0, 0, 0.5]) < 1.5) == 2


def view(store: Store, statement: str) -> list[object]:
    with store.engine.begin() as connection:
        return list(connection.exec_driver_sql(statement).scalars())


def test_an_index_dropped_and_one_made_by_hand_are_seen(store: Store, books: Collection) -> None:
    books.insert([book(key) for key in range(20)])
    books.create_index("embedding", Hnsw())
    run(store, "DROP INDEX books.embedding_idx")
    assert books.indexes == []
    assert view(store, "SELECT name FROM vecstore.indexes") == []
    assert books.search([1, 2, 3, 4])[0].path == "exact"
    run(store, "CREATE INDEX mine ON books.entities USING hnsw (embedding vector_l2_ops) WITH (m = 8)")
    assert books.index("mine").spec == Hnsw(metric="L2", m=8)
    assert view(store, "SELECT metric FROM vecstore.indexes WHERE name = 'mine'") == ["L2"]
    assert books.search([1, 2, 3, 4], exact=False)[0].path == "index"


def test_a_partition_dropped_and_rows_moved_are_seen(store: Store, books: Collection) -> None:
    for name in ("novel", "poems"):
        books.create_partition(name)
    books.insert([book(key) for key in range(6)], partition_name="novel")
    run(store, "UPDATE books.entities SET _partition = 'poems' WHERE id < 2")
    assert books.count(partition_names=["poems"]) == 2
    assert {hit.id for hit in books.search([1, 2, 3, 4], partition_names=["poems"])[0]} == {0, 1}
    run(store, "DROP TABLE books.entities_novel")
    assert [partition.name for partition in books.partitions] == ["_default", "poems"]
    assert view(store, "SELECT name FROM vecstore.partitions ORDER BY 1") == ["_default", "poems"]
    assert books.count() == 2


def test_a_column_added_and_one_dropped_are_seen(store: Store, books: Collection) -> None:
    books.insert([book(1)])
    run(store, "ALTER TABLE books.entities ADD COLUMN isbn text")
    run(store, "ALTER TABLE books.entities DROP COLUMN year")
    run(store, "COMMENT ON COLUMN books.entities.isbn IS 'On its back'")
    run(store, "COMMENT ON SCHEMA books IS 'Ours'")
    schema = books.describe().schema
    assert [field.name for field in schema.fields] == ["id", "title", "embedding", "isbn"]
    assert (schema.field("isbn").description, schema.description) == ("On its back", "Ours")
    assert view(store, "SELECT name FROM vecstore.fields ORDER BY position") == ["id", "title", "embedding", "isbn"]
    assert view(store, "SELECT description FROM vecstore.collections") == ["Ours"]


@pytest.mark.parametrize("statement", ["DROP SCHEMA books CASCADE", "DROP TABLE books.entities CASCADE"])
def test_a_collection_dropped_by_plain_sql_is_gone(store: Store, books: Collection, statement: str) -> None:
    store.create_alias("books", "prod")
    run(store, statement)
    assert store.list_collections() == []
    assert store.list_aliases() == {}
    for name in ("collections", "fields", "partitions", "indexes", "aliases"):
        assert view(store, f"TABLE vecstore.{name}") == []
    with pytest.raises(CollectionNotFound):
        books.count()


def test_a_collection_renamed_by_plain_sql_goes_on_under_its_new_name(store: Store, books: Collection) -> None:
    run(store, "ALTER SCHEMA books RENAME TO tomes")
    assert store.list_collections() == view(store, "SELECT name FROM vecstore.collections") == ["tomes"]
    assert store.collection("tomes").insert([book(1)]).count == 1


def test_vectors_and_models_of_ones_own_meet_in_one_select_and_one_transaction(store: Store, books: Collection) -> None:
    class Base(DeclarativeBase):
        pass

    class Loan(Base):
        __tablename__ = "loan"
        id: Mapped[int] = mapped_column(primary_key=True)
        book_id: Mapped[int]
        reader: Mapped[str]

    class Fine(Base):
        __tablename__ = "fine"
        id: Mapped[int] = mapped_column(primary_key=True)
        loan_id: Mapped[int] = mapped_column(ForeignKey("loan.id"))

    Base.metadata.create_all(store.engine)
    with Session(store.engine) as session, session.begin():
        store.bind(session.connection()).collection("books").insert([book(key) for key in range(5)])
        session.add(Loan(book_id=3, reader="Ada"))
    books_table = books.table
    nearest = (
        select(Loan.reader, books_table.c.title)
        .join(books_table, books_table.c.id == Loan.book_id)
        .outerjoin(Fine)
        .order_by(books_table.c.embedding.cosine_distance([1, 3, 3, 0.5]))
    )
    with Session(store.engine) as session:
        assert session.execute(nearest).all() == [("Ada", "book 3")]
    with pytest.raises(ZeroDivisionError), Session(store.engine) as session, session.begin():  # noqa: PT012 - a block
        session.add(Loan(book_id=4, reader="Bea"))
        store.bind(session.connection()).drop_collection("books")
        raise ZeroDivisionError
    assert books.count() == 5
    with Session(store.engine) as session:
        assert session.scalars(select(Loan.reader)).all() == ["Ada"]


DEFAULTS = "stars int NOT NULL DEFAULT 3", "seen timestamptz NOT NULL DEFAULT now()", "kind text NOT NULL DEFAULT 'x'"


def test_a_column_that_fills_itself_need_not_be_given(store: Store, books: Collection) -> None:
    for column in DEFAULTS:
        run(store, f"ALTER TABLE books.entities ADD COLUMN {column}")
    books.insert([book(1)])
    books.upsert([book(1, stars=5), book(2, stars=4)])
    books.upsert([book(2, title="again")])
    assert [(row["stars"], row["kind"]) for row in books.get([1, 2])] == [(5, "x"), (4, "x")]
    with pytest.raises(InvalidData, match="'stars'"):
        books.insert([book(3, stars=5), book(4)])
