"""Drops that are kept, and taken back: what comes back is what was there, and what is in the trash nobody meets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import MetaData, event, text

import vecstore
from migrating import compared
from samples import BOOK_FIELDS, book
from vecstore import (
    AliasExists,
    Btree,
    Collection,
    CollectionExists,
    CollectionHasAliases,
    CollectionNotFound,
    DataType,
    DependentObjects,
    Field,
    Hnsw,
    InvalidArgument,
    LockTimeout,
    Metric,
    NotOurs,
    OperationRefused,
    PartitionExists,
    PartitionNotFound,
    Store,
    TrashNotFound,
)
from vecstore.operations import fields

Fill = Callable[..., None]

WEEK = timedelta(days=7)
FOR_GOOD = timedelta(0)
PROPERTY = "vecstore.keep_dropped"

# What a schema holds, as the catalogue has it: OIDs, files, owners, grants, comments, options, and who is whose child.
CATALOGUE = text("""
    SELECT c.relname, c.oid, c.relkind, c.relfilenode, c.relowner, c.relacl::text, c.reloptions, c.reltuples,
           obj_description(c.oid, 'pg_class'), pg_get_expr(c.relpartbound, c.oid), h.inhparent,
           i.indisvalid, i.indisprimary, pg_get_indexdef(i.indexrelid)
    FROM pg_class c LEFT JOIN pg_inherits h ON h.inhrelid = c.oid LEFT JOIN pg_index i ON i.indexrelid = c.oid
    WHERE c.relnamespace = CAST(:schema AS regnamespace) ORDER BY c.oid
""")
COLUMNS = text("""
    SELECT c.relname, a.attname, a.attnum, a.atttypid, a.atttypmod, a.attnotnull, a.attislocal, a.attacl::text,
           col_description(c.oid, a.attnum), pg_get_expr(d.adbin, d.adrelid)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relnamespace = CAST(:schema AS regnamespace) AND NOT a.attisdropped ORDER BY c.oid, a.attnum
""")
CONSTRAINTS = text("""
    SELECT k.conrelid, k.conname, k.contype, k.conislocal, k.coninhcount, k.conparentid, k.conindid,
           pg_get_constraintdef(k.oid)
    FROM pg_constraint k WHERE k.connamespace = CAST(:schema AS regnamespace) ORDER BY k.oid
""")
SCHEMA = text(
    "SELECT oid, nspname, nspowner, nspacl::text, obj_description(oid) FROM pg_namespace WHERE nspname = :schema"
)
ROWS = text("SELECT tableoid, e::text, ctid::text FROM books.entities e ORDER BY tableoid, ctid")
REGISTRY = text(
    "SELECT entities::oid, fields, properties, created_at, dropped_at FROM vecstore.collection_registry ORDER BY 1"
)
LEFT_OVER = text("""
    SELECT (SELECT count(*) FROM pg_namespace WHERE nspname LIKE '\\_vecstore\\_trash%')
         + (SELECT count(*) FROM vecstore.trash_registry) + (SELECT count(*) FROM vecstore.collection_registry)
         + (SELECT count(*) FROM vecstore.alias_registry)
""")


def run(store: Store, statement: str) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql(statement)


def scalar(store: Store, statement: str) -> object:
    with store.engine.connect() as connection:
        return connection.exec_driver_sql(statement).scalar_one()


def digest(store: Store, *schemas: str) -> list[object]:
    """Every bit of the schemas, and of the rows of books."""
    with store.engine.connect() as connection:
        found: list[object] = [
            [tuple(row) for row in connection.execute(statement, {"schema": schema})]
            for schema in ("books", *schemas)
            for statement in (SCHEMA, CATALOGUE, COLUMNS, CONSTRAINTS)
        ]
        found += [[tuple(row) for row in connection.execute(statement)] for statement in (ROWS, REGISTRY)]
    return [*found, store.list_aliases(), store.collection("books").describe()]


def left_over(store: Store) -> int:
    with store.engine.connect() as connection:
        return int(connection.execute(LEFT_OVER).scalar_one())


def uses_index(store: Store, table: str = "books.entities_novel") -> bool:
    with store.engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = connection.exec_driver_sql(
            "EXPLAIN SELECT id FROM books.entities WHERE _partition = 'novel' ORDER BY embedding <-> '[1,2,3,4]'"
        )
        lines = list(plan.scalars())
    return any("Index Scan using" in line and table.rpartition(".")[2] in line for line in lines)


@pytest.fixture
def library(store: Store, books: Collection, fill: Fill) -> Collection:
    """Two partitions, indexes, an alias, and everything that an administrator may have added."""
    books.create_partition("novel")
    fill(books, range(50))
    fill(books, range(50, 150), "novel")
    books.create_index("embedding", Hnsw(Metric.L2))
    books.create_index("year", Btree())
    store.create_alias("books", "prod")
    run(store, "DROP ROLE IF EXISTS trash_reader")
    run(store, "CREATE ROLE trash_reader")
    store.grant("trash_reader", on="books")
    run(store, "GRANT SELECT ON books.entities_novel TO trash_reader")
    run(store, "COMMENT ON TABLE books.entities_novel IS 'long ones'")
    run(store, "COMMENT ON COLUMN books.entities_novel.title IS 'as on the cover'")
    run(store, "COMMENT ON SCHEMA books IS 'all of them'")
    run(store, "CREATE INDEX by_hand ON books.entities_novel (title)")
    run(store, "ALTER TABLE books.entities_novel ADD CONSTRAINT by_hand_too CHECK (id >= 0)")
    run(store, "ANALYZE books.entities")
    return books


# A collection


def test_what_comes_back_is_what_was_there(store: Store, library: Collection) -> None:
    before = digest(store, "prod")
    library.drop(keep=WEEK, cascade=True)
    assert not store.has_collection("books")
    assert not store.has_collection("prod")
    restored = store.restore("books")
    assert digest(store, "prod") == before
    assert restored.search([1, 60, 4, 0.5], limit=1, exact=False)[0].ids.tolist() == [60]
    assert store.collection("prod").count() == 150
    assert store.trash() == ()
    assert uses_index(store)


def test_the_name_is_free_at_once_and_nobody_meets_what_is_in_the_trash(store: Store, library: Collection) -> None:
    store.drop_alias("prod")
    engine = store.engine
    with engine.connect() as connection:
        options = {"include_schemas": True}
        assert [op.to_diff_tuple() for op in compared(connection, MetaData(), **options).ops] == []
    library.drop(keep=WEEK)
    again = store.create_collection("books", BOOK_FIELDS)
    again.create_partition("novel")
    again.drop_partition("novel", keep=WEEK)
    assert (again.count(), store.list_collections()) == (0, ["books"])
    assert store.doctor() == ()
    assert store.repair() == ()
    assert len(store.trash()) == 2
    with engine.connect() as connection:
        assert [op.to_diff_tuple() for op in compared(connection, MetaData(), **options).ops] == []
        for view in ("collections", "partitions", "indexes", "aliases"):
            names = connection.exec_driver_sql(f"TABLE vecstore.{view}").all()
            assert "trash" not in repr(names)
    assert store.overview()[0].rows_estimated == 0


def test_statements_that_are_prepared_do_not_find_what_is_in_the_trash(
    store: Store, library: Collection, fill: Fill
) -> None:
    def found(**options: object) -> set[int]:
        return set(library.search([1, 60, 4, 0.5], limit=100, **options)[0].ids.tolist())

    for _ in range(12):
        assert len(found()) == 100
        assert 60 in found(exact=True)
        assert library.count() == 150
    library.drop_partition("novel", keep=WEEK)
    assert max(found()) < 50
    assert max(found(exact=True)) < 50
    assert library.count() == 50
    library.drop(keep=WEEK, cascade=True)
    for call in (found, library.count, lambda: fill(library, range(3)), lambda: library.delete(ids=[1])):
        with pytest.raises(CollectionNotFound):
            call()
    store.create_collection("books", BOOK_FIELDS)
    fill(library, range(1000, 1003))
    assert found() == found(exact=True) == {1000, 1001, 1002}
    library.drop()
    store.restore("books")
    assert found() == set(range(50))


def test_the_trash_says_what_it_holds(store: Store, library: Collection) -> None:
    bytes_before = library.stats().bytes
    novel_before = next(part.bytes for part in library.stats().partitions if part.name == "novel")
    library.drop_partition("novel", keep=timedelta(hours=2))
    assert (library.stats().trash_bytes, library.stats().bytes) == (novel_before, bytes_before - novel_before)
    library.drop(keep=WEEK, cascade=True)
    novel, whole = store.trash()
    assert (novel.collection, novel.partition, novel.bytes) == ("books", "novel", novel_before)
    assert (whole.collection, whole.partition, whole.aliases) == ("books", None, ("prod",))
    assert whole.bytes == bytes_before - novel_before
    assert novel.kept_until - novel.dropped_at == timedelta(hours=2)
    assert (whole.kept_until - whole.dropped_at, whole.dropped_by) == (WEEK, "postgres")
    assert abs(datetime.now(UTC) - whole.dropped_at) < timedelta(minutes=10)
    assert scalar(store, f"SELECT count(*) FROM {novel.table}") == 100  # noqa: S608
    assert scalar(store, f"SELECT count(*) FROM {whole.table}") == 50  # noqa: S608


def test_a_drop_that_is_kept_locks_no_table_and_frees_nothing(store: Store, library: Collection) -> None:
    with store.engine.connect() as reader:
        reader.exec_driver_sql("SELECT FROM books.entities")
        with store.transaction() as transaction:  # where a lock is tried for once
            transaction.drop_collection("books", keep=WEEK, cascade=True)
        with store.transaction() as transaction:
            transaction.restore("books")
    assert library.count() == 150


def test_in_a_transaction_it_is_undone_with_it(store: Store, library: Collection) -> None:
    before = digest(store, "prod")
    with store.engine.connect() as connection:
        bound = store.bind(connection)
        bound.drop_collection("books", keep=WEEK, cascade=True)
        assert len(bound.trash()) == 1
        bound.create_collection("books", BOOK_FIELDS).drop(keep=WEEK)
        bound.restore("books", as_name="other")
        connection.rollback()
    assert digest(store, "prod") == before
    with store.engine.connect() as connection:
        bound = store.bind(connection)
        bound.collection("books").drop_partition("novel", keep=WEEK)
        bound.restore_partition("books", "novel")
        connection.rollback()
    assert digest(store, "prod") == before
    with store.transaction() as transaction:
        transaction.collection("books").drop_partition("novel", keep=WEEK)
        transaction.restore_partition("books", "novel")
        transaction.drop_collection("books", keep=WEEK, cascade=True)
        transaction.restore("books")
    assert digest(store, "prod") == before


def test_two_hundred_drops_of_one_name_are_told_apart(store: Store) -> None:
    with store.transaction() as transaction:
        for number in range(200):
            made = transaction.create_collection("books", BOOK_FIELDS, description=f"number {number}")
            made.drop(keep=WEEK)
    entries = store.trash()
    assert len({entry.id for entry in entries}) == 200
    assert {entry.collection for entry in entries} == {"books"}
    assert store.restore("books").describe().schema.description == "number 199"
    assert store.restore("books", as_name="old").describe().schema.description == "number 198"
    oldest = store.restore("books", as_name="oldest", trash_id=entries[0].id)
    assert oldest.describe().schema.description == "number 0"
    with pytest.raises(TrashNotFound, match=f"as number {entries[0].id}"):
        store.restore("books", as_name="again", trash_id=entries[0].id)
    assert len(store.purge(FOR_GOOD)) == 197
    for name in store.list_collections():
        store.drop_collection(name)
    assert left_over(store) == 0


def test_a_name_of_every_length_can_be_kept(store: Store) -> None:
    name = "B" + "x" * 62
    books = store.create_collection(name, BOOK_FIELDS)
    store.create_alias(name, "Y" * 63)
    partition = "p" * 255
    books.create_partition(partition)
    books.create_partition("p" * 254 + "q")
    books.drop_partition(partition, keep=WEEK)
    store.restore_partition(name, partition)
    books.drop(keep=WEEK, cascade=True)
    store.restore(name)
    assert store.list_aliases() == {"Y" * 63: name}
    assert len(books.partitions) == 3


# Names taken meanwhile, aliases, dependents


def test_a_name_that_is_taken_meanwhile_is_an_error_with_the_way_out(store: Store, library: Collection) -> None:
    library.drop(keep=WEEK, cascade=True)
    store.create_collection("books", BOOK_FIELDS)
    with pytest.raises(CollectionExists, match="as_name='another' restores"):
        store.restore("books")
    run(store, "CREATE SCHEMA mine")
    with pytest.raises(NotOurs, match="as_name"):
        store.restore("books", as_name="mine")
    store.create_alias("books", "prod")
    with pytest.raises(AliasExists, match="with_aliases=False"):
        store.restore("books", as_name="old_books")
    assert len(store.trash()) == 1
    old = store.restore("books", as_name="old_books", with_aliases=False)
    assert (old.count(), old.describe().aliases) == (150, ())
    assert store.list_aliases() == {"prod": "books"}
    for name in ("books", "old_books"):
        for alias in store.collection(name).describe().aliases:
            store.drop_alias(alias)
        store.drop_collection(name)
    assert left_over(store) == 0


def test_aliases_go_along_only_where_the_caller_says_so(store: Store, library: Collection) -> None:
    with pytest.raises(CollectionHasAliases, match="cascade=True"):
        library.drop(keep=WEEK)
    with pytest.raises(CollectionHasAliases):
        library.drop(cascade=True)
    run(store, "CREATE VIEW public.of_prod AS SELECT id FROM prod.entities")
    with pytest.raises(DependentObjects, match=r"view public\.of_prod") as caught:
        library.drop(keep=WEEK, cascade=True)
    assert caught.value.objects == ("view public.of_prod",)
    assert store.list_aliases() == {"prod": "books"}


def test_a_view_of_somebody_else_does_not_go_on_showing_the_trash(store: Store, library: Collection) -> None:
    run(store, "CREATE VIEW public.recent AS SELECT id FROM books.entities")
    run(store, "CREATE VIEW public.novels AS SELECT id FROM books.entities_novel")
    for drop in (
        lambda: library.drop(keep=WEEK, cascade=True),
        lambda: library.drop_partition("novel", keep=WEEK, cascade=True),
    ):
        with pytest.raises(DependentObjects, match=r"drop it for good, with keep=timedelta\(0\)"):
            drop()
    assert library.count() == 150


# A partition


def test_a_partition_comes_back_as_it_was_and_no_index_is_built(store: Store, library: Collection) -> None:
    before = digest(store, "prod")
    library.drop_partition("novel", keep=WEEK)
    assert library.count() == 50
    assert [found.name for found in library.partitions] == ["_default"]
    with pytest.raises(PartitionNotFound):
        library.count(partition_names=["novel"])
    assert store.restore_partition("books", "novel").count() == 100
    assert digest(store, "prod") == before
    assert uses_index(store)
    assert left_over(store) == 2


def test_a_partition_follows_its_collection_into_another_name(store: Store, library: Collection) -> None:
    library.drop_partition("novel", keep=WEEK)
    store.rename_collection("books", "texts")
    other = store.create_collection("books", BOOK_FIELDS)
    with pytest.raises(TrashNotFound, match="no dropped partition 'novel' of collection 'books'"):
        store.restore_partition("books", "novel")
    other.drop()
    assert store.restore_partition("prod", "novel").count() == 100
    assert store.collection("texts").count() == 150


def test_a_partition_outlives_its_collection_and_fits_into_the_next(store: Store) -> None:
    drawn = (Field("id", DataType.INT64, primary_key=True, auto_id=True), *BOOK_FIELDS[1:])
    rows = [{name: value for name, value in book(key).items() if name != "id"} for key in range(5)]
    books = store.create_collection("books", drawn)
    books.create_partition("novel")
    books.insert(rows, partition_name="novel")
    books.drop_partition("novel", keep=WEEK)
    books.drop()
    again = store.create_collection("books", drawn)
    assert store.restore_partition("books", "novel").count() == 5
    assert again.insert(rows).ids == [6, 7, 8, 9, 10]
    assert scalar(store, "SELECT count(*) FROM books.entities_novel WHERE id > 5") == 0
    run(store, "INSERT INTO books.entities_novel (title, embedding, _partition) VALUES ('x', '[1,2,3,4]', 'novel')")
    again.drop()
    assert left_over(store) == 0


def test_an_index_that_came_meanwhile_is_built_and_one_that_went_is_gone(store: Store, library: Collection) -> None:
    library.drop_partition("novel", keep=WEEK)
    library.drop_index("year_idx")
    library.create_index("title", Btree())
    library.drop_index("embedding_idx")
    library.create_index("embedding", Hnsw(Metric.L2, m=24))
    store.restore_partition("books", "novel")
    names = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class JOIN pg_index ON indexrelid = oid"
    found = str(scalar(store, f"{names} WHERE indrelid = 'books.entities_novel'::regclass")).split()
    assert found == ["by_hand", "entities_novel_embedding_idx", "entities_novel_pkey", "entities_novel_title_idx"]
    options = "SELECT reloptions FROM pg_class WHERE oid = 'books.entities_novel_embedding_idx'::regclass"
    assert "m=24" in str(scalar(store, options))
    assert uses_index(store)


def test_a_partition_whose_collection_has_other_fields_is_refused_with_the_difference(
    store: Store, library: Collection
) -> None:
    library.drop_partition("novel", keep=WEEK)
    library.add_field(Field("pages", DataType.INT32, nullable=True))
    library.drop_field("year")
    [entry] = store.trash()
    with pytest.raises(OperationRefused) as caught:
        store.restore_partition("books", "novel")
    message = str(caught.value)
    for words in ("field pages (integer) was added", "field year (integer) was dropped", entry.table):
        assert words in message
    assert store.trash() == (entry,)
    library.drop_field("pages")
    library.add_field(Field("year", DataType.INT32, nullable=True))
    assert store.restore_partition("books", "novel").count() == 100


def test_a_partition_whose_name_is_taken_meanwhile_is_refused(store: Store, library: Collection, fill: Fill) -> None:
    library.drop_partition("novel", keep=WEEK)
    library.create_partition("novel")
    fill(library, range(3), "novel")
    with pytest.raises(PartitionExists, match="drop that one first"):
        store.restore_partition("books", "novel")
    library.drop_partition("novel", keep=WEEK)
    first, second = store.trash()
    # Names of tables and indexes that somebody took are no hindrance.
    run(store, "CREATE TABLE books.entities_novel ()")
    run(store, "CREATE VIEW books.entities_novel_pkey AS SELECT 1 AS one")
    assert store.restore_partition("books", "novel").count() == 3
    library.drop_partition("novel", keep=WEEK)
    assert store.restore_partition("books", "novel", trash_id=first.id).count() == 100
    assert len(store.trash()) == 1
    assert second.id not in {entry.id for entry in store.trash()}


def test_hash_partitions_are_not_restored_by_hand(store: Store) -> None:
    tenant = Field("tenant", DataType.VARCHAR, max_length=9, partition_key=True)
    store.create_collection("tenants", (*BOOK_FIELDS, tenant), num_partitions=2)
    with pytest.raises(OperationRefused, match="partition key 'tenant'"):
        store.restore_partition("tenants", "_default_0")


def test_while_somebody_reads_a_partition_it_is_neither_dropped_nor_missing(store: Store, library: Collection) -> None:
    with vecstore.connect(store.engine.url, ddl_timeout=0.3) as hasty, store.engine.connect() as reader:
        reader.exec_driver_sql("SELECT FROM books.entities_novel")
        with pytest.raises(LockTimeout):
            hasty.collection("books").drop_partition("novel", keep=WEEK)
    assert (library.count(), store.trash()) == (150, ())


# How long


PRECEDENCE = [  # what the call, the collection, the store and the database say, and what comes of it
    (None, None, None, None, FOR_GOOD),
    (timedelta(hours=1), "7 days", timedelta(days=30), "2 weeks", timedelta(hours=1)),
    (None, "90 minutes", timedelta(days=30), "2 weeks", timedelta(minutes=90)),
    (None, None, timedelta(days=30), "2 weeks", timedelta(days=30)),
    (None, None, None, "2 weeks", timedelta(weeks=2)),
    (FOR_GOOD, "7 days", timedelta(days=30), "2 weeks", FOR_GOOD),
    (None, "0", timedelta(days=30), "2 weeks", FOR_GOOD),
    (None, None, FOR_GOOD, "2 weeks", FOR_GOOD),
]


def test_the_call_goes_before_the_collection_before_the_store_before_the_setting(store: Store) -> None:
    for keep, of_collection, of_store, setting, expected in PRECEDENCE:
        run(store, f"ALTER DATABASE {store.engine.url.database} SET vecstore.keep_dropped = '{setting or 0}'")
        properties = {} if of_collection is None else {PROPERTY: of_collection}
        with vecstore.connect(store.engine.url, keep_dropped=of_store) as own:
            made = own.create_collection("books", BOOK_FIELDS, properties=properties)
            for name in ("novel", "poems"):
                made.create_partition(name)
            made.drop_partition("novel", keep=keep)
            made.partition("poems").drop(keep=keep)
            made.drop(keep=keep)
            found = [entry.kept_until - entry.dropped_at for entry in own.trash()]
            assert found == ([expected] * 3 if expected else [])
            own.purge(FOR_GOOD)
    assert left_over(store) == 0


def test_a_keep_that_is_none_is_refused(store: Store, books: Collection) -> None:
    for keep in (timedelta(seconds=-1), timedelta(days=36_501), timedelta.max, 7, "7 days", True):
        for call in (
            lambda keep=keep: books.drop(keep=keep),
            lambda keep=keep: books.drop_partition("_default", keep=keep),
            lambda keep=keep: vecstore.connect(store.engine.url, keep_dropped=keep),
        ):
            with pytest.raises(InvalidArgument, match="timedelta from 0 to 36,500 days"):
                call()


def test_a_property_that_is_no_time_is_refused_where_it_is_said(store: Store, books: Collection) -> None:
    for said in ("", "soon", "7", "99999999999 days"):
        with pytest.raises(InvalidArgument, match=r"property 'vecstore\.keep_dropped' of collection 'films'"):
            store.create_collection("films", BOOK_FIELDS, properties={PROPERTY: said})
        store.create_collection("films", BOOK_FIELDS)
        for call in (
            lambda said=said: store.collection("films").alter(properties={PROPERTY: said}),
            lambda said=said: fields.set_properties(store._database, "films", {PROPERTY: said}),
        ):
            with pytest.raises(InvalidArgument, match=r"property 'vecstore\.keep_dropped' of collection 'films'"):
                call()
        store.drop_collection("films")
    # And where plain SQL has said it, a drop says so, and can be told.
    run(store, """UPDATE vecstore.collection_registry SET properties = '{"vecstore.keep_dropped": "soon"}'""")
    with pytest.raises(InvalidArgument, match=r"property 'vecstore\.keep_dropped'"):
        books.drop()
    books.drop(keep=WEEK)
    assert len(store.trash()) == 1


# Purge


def test_purge_frees_what_is_past_its_keep_and_nothing_else(store: Store, library: Collection) -> None:
    store.create_collection("short", BOOK_FIELDS).drop(keep=timedelta(microseconds=1))
    library.drop_partition("novel", keep=WEEK)
    library.drop(keep=WEEK, cascade=True)
    assert [entry.collection for entry in store.purge()] == ["short"]
    assert store.purge(older_than=timedelta(days=1)) == ()
    assert [entry.partition for entry in store.trash()] == ["novel", None]
    assert store.repair() == ()
    assert len(store.trash()) == 2
    freed = store.purge(older_than=FOR_GOOD)
    assert [(entry.collection, entry.partition) for entry in freed] == [("books", "novel"), ("books", None)]
    assert left_over(store) == 0
    with pytest.raises(TrashNotFound):
        store.restore("books")


def test_what_is_past_its_keep_can_be_restored_until_it_is_freed(store: Store, library: Collection) -> None:
    library.drop(keep=timedelta(microseconds=1), cascade=True)
    assert store.restore("books").count() == 150


def test_purge_frees_the_rest_where_one_is_in_use(store: Store, library: Collection) -> None:
    library.drop_partition("novel", keep=WEEK)
    library.drop(keep=WEEK, cascade=True)
    novel, whole = store.trash()
    with vecstore.connect(store.engine.url, ddl_timeout=0.3) as hasty, store.engine.connect() as reader:
        reader.exec_driver_sql(f"SELECT FROM {novel.table}")
        with pytest.raises(LockTimeout):
            hasty.purge(older_than=FOR_GOOD)
    assert [entry.id for entry in store.trash()] == [novel.id]
    assert [entry.id for entry in store.purge(older_than=FOR_GOOD)] == [novel.id]
    assert whole.id != novel.id
    assert left_over(store) == 0


def test_of_a_purge_and_a_restore_at_once_one_has_its_way(store: Store, library: Collection) -> None:
    """And of two purges at once, each is free to free what the other has not."""
    library.drop_partition("novel", keep=WEEK)
    library.drop(keep=WEEK, cascade=True)
    begin = threading.Barrier(3)

    def restored() -> bool:
        begin.wait()
        try:
            return store.restore("books").count() == 50
        except TrashNotFound:
            return False

    def purged() -> list[int]:
        begin.wait()
        return [entry.id for entry in store.purge(FOR_GOOD)]

    with ThreadPoolExecutor(3) as pool:
        restoring, *purging = (pool.submit(work) for work in (restored, purged, purged))
        is_restored, freed = restoring.result(), [number for it in purging for number in it.result()]
    assert len(freed) == len(set(freed)) == (1 if is_restored else 2)
    assert store.trash() == ()
    assert store.has_collection("books") == store.has_collection("prod") == is_restored
    assert store.doctor() == ()


def test_what_plain_sql_dropped_from_the_trash_is_forgotten(store: Store, library: Collection) -> None:
    library.drop(keep=WEEK, cascade=True)
    [entry] = store.trash()
    run(store, f"DROP SCHEMA {entry.table.partition('.')[0]}_1 CASCADE")
    assert store.restore("books").describe().aliases == ()
    library.drop(keep=WEEK)
    [entry] = store.trash()
    run(store, f"DROP SCHEMA {entry.table.partition('.')[0]} CASCADE")
    assert store.trash() == ()
    with pytest.raises(TrashNotFound):
        store.restore("books")
    assert store.purge() == ()
    store.repair()
    assert left_over(store) == 0


def test_purge_is_no_part_of_a_transaction(store: Store) -> None:
    with store.transaction() as transaction, pytest.raises(InvalidArgument, match="cannot be part of a transaction"):
        transaction.purge()
    for odd in (timedelta(seconds=-1), 7):
        with pytest.raises(InvalidArgument, match="older_than"):
            store.purge(older_than=odd)


def test_an_id_that_is_none_is_refused(store: Store) -> None:
    for odd in ("1", 1.5, True):
        with pytest.raises(InvalidArgument, match="trash_id"):
            store.restore("books", trash_id=odd)
        with pytest.raises(InvalidArgument, match="trash_id"):
            store.restore_partition("books", "novel", trash_id=odd)


def test_without_keep_a_drop_is_a_drop(store: Store, library: Collection) -> None:
    store.drop_alias("prod")
    statements: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *heard: statements.append(heard[2]))
    library.drop_partition("novel")
    library.drop()
    assert left_over(store) == 0
    assert not any("RENAME" in statement or "DETACH" in statement for statement in statements)
    with pytest.raises(CollectionNotFound):
        library.count()
