from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from sqlalchemy import URL, Connection

import vecstore
from vecstore import Collection, DataType, Field, Finding, FindingKind, Hnsw, Store
from waiting import eventually

Fill = Callable[..., None]


def run(store: Store, *statements: str) -> None:
    with store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def scalar(store: Store, statement: str) -> object:
    with store.engine.connect() as connection:
        return connection.exec_driver_sql(statement).scalar_one()


@pytest.fixture
def shelved(books: Collection, fill: Fill) -> Collection:
    books.create_partition("novel")
    fill(books, range(30))
    fill(books, range(30, 60), "novel")
    return books


@contextmanager
def role(store: Store, name: str) -> Iterator[str]:
    run(store, f"CREATE ROLE {name}")
    try:
        yield name
    finally:
        run(store, f"REASSIGN OWNED BY {name} TO CURRENT_USER", f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def only(store: Store) -> Finding:
    [found] = store.doctor()
    return found


def interrupt_a_detach(store: Store, reader: Connection) -> None:
    """DETACH ... CONCURRENTLY, cancelled while it waits for a transaction that has read the collection."""
    reader.exec_driver_sql("SELECT count(*) FROM books.entities")
    detaching = (
        "FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE books.entities DETACH%%' AND wait_event_type = 'Lock'"
    )
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(run, store, "ALTER TABLE books.entities DETACH PARTITION books.entities_novel CONCURRENTLY")
        eventually(lambda: done.done() or scalar(store, f"SELECT count(*) {detaching}"))
        scalar(store, f"SELECT count(pg_cancel_backend(pid)) {detaching}")
        assert done.exception() is not None


def test_a_detach_that_was_interrupted_is_found_and_finished_and_the_table_kept(
    store: Store, shelved: Collection
) -> None:
    with store.engine.connect() as reader:
        interrupt_a_detach(store, reader)
    found = only(store)
    assert (found.kind, found.collection, found.name) == (FindingKind.UNFINISHED_DETACH, "books", "entities_novel")
    assert store.repair() == (found,)
    assert store.doctor() == ()
    assert not shelved.has_partition("novel")
    assert scalar(store, "SELECT count(*) FROM books.entities_novel") == 30
    assert shelved.count() == 30
    shelved.create_partition("novel")
    shelved.insert([{"id": 1, "title": "t", "embedding": [1, 2, 3, 4]}], partition_name="novel")


def test_finishing_a_detach_waits_for_readers_no_longer_than_told(
    store: Store, shelved: Collection, database_url: URL
) -> None:
    with vecstore.connect(database_url, ddl_timeout=0.3) as hasty, store.engine.connect() as reader:
        interrupt_a_detach(store, reader)
        with pytest.raises(vecstore.LockTimeout):
            hasty.repair()
        assert only(store).kind is FindingKind.UNFINISHED_DETACH
    assert [found.kind for found in store.repair()] == [FindingKind.UNFINISHED_DETACH]


def test_what_an_interrupted_reindex_left_is_found_and_dropped(store: Store, shelved: Collection) -> None:
    shelved.create_index("embedding", Hnsw(), name="by_embedding")
    index = scalar(
        store, "SELECT indexrelid::regclass::text FROM pg_index i JOIN pg_inherits h ON h.inhrelid = i.indexrelid "
        "WHERE indrelid = 'books.entities_novel'::regclass AND h.inhparent = 'books.by_embedding'::regclass"
    )  # fmt: skip
    with store.engine.connect() as writer, ThreadPoolExecutor(1) as pool:
        writer.exec_driver_sql("UPDATE books.entities_novel SET title = 'written'")
        done = pool.submit(run, store, f"REINDEX INDEX CONCURRENTLY {index}")
        waiting = "FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting for writers%%'"
        eventually(lambda: done.done() or scalar(store, f"SELECT count(*) {waiting}"))
        scalar(store, f"SELECT count(pg_cancel_backend(pid)) {waiting}")
        assert done.exception() is not None
    found = only(store)
    assert (found.kind, found.collection) == (FindingKind.INVALID_INDEX, "books")
    assert found.name.endswith("_ccnew")
    assert store.repair() == (found,)
    assert store.doctor() == ()
    assert [index.state for index in shelved.indexes] == ["ready"]
    assert shelved.search([1, 2, 3, 4], limit=60, exact=False)[0].path == "index"


def test_a_partition_that_belongs_to_another_role_is_reported_and_left_to_its_owner(
    store: Store, shelved: Collection
) -> None:
    with role(store, "doctor_stranger") as stranger:
        run(store, f"ALTER TABLE books.entities_novel OWNER TO {stranger}")
        found = only(store)
        assert (found.kind, found.name) == (FindingKind.OTHER_OWNER, "entities_novel")
        assert "belongs to 'doctor_stranger', the collection to 'postgres'" in found.message
        assert store.repair() == ()
        assert store.doctor() == (found,)
        run(store, "ALTER TABLE books.entities_novel OWNER TO CURRENT_USER")
        assert store.doctor() == ()


def test_grants_on_a_partition_are_reported_where_they_lead_past_row_security(
    store: Store, shelved: Collection
) -> None:
    with role(store, "doctor_tenant") as tenant:
        run(store, f"GRANT SELECT ON ALL TABLES IN SCHEMA books TO {tenant}")
        run(store, "GRANT SELECT ON books.entities_novel TO PUBLIC")
        assert store.doctor() == ()
        run(store, "ALTER TABLE books.entities ENABLE ROW LEVEL SECURITY")
        found = store.doctor()
        assert {(finding.kind, finding.name) for finding in found} == {
            (FindingKind.READABLE_PARTITION, "entities__default"),
            (FindingKind.READABLE_PARTITION, "entities_novel"),
        }
        assert "grants to PUBLIC, doctor_tenant," in found[-1].message
        assert store.repair() == ()
        run(store, f"REVOKE ALL ON books.entities_novel, books.entities__default FROM {tenant}, PUBLIC")
        assert store.doctor() == ()


@pytest.mark.parametrize("vector", ["[0,0,0,0]", "[1e-30,0,0,0]", "[3e38,3e38,0,0]"])
def test_vectors_without_direction_that_plain_sql_put_under_a_cosine_index_are_reported(
    store: Store, shelved: Collection, vector: str
) -> None:
    shelved.create_index("embedding", Hnsw("L2"))
    shelved.create_index("embedding", Hnsw("COSINE"))
    assert store.doctor() == ()
    run(store, f"INSERT INTO books.entities VALUES (77, 'zero', 1999, '{vector}', 'novel')")  # noqa: S608
    found = only(store)
    assert (found.kind, found.name) == (FindingKind.NO_DIRECTION, "embedding_cosine_idx")
    assert found.message.endswith("id: 77")
    assert store.repair() == ()
    shelved.delete(ids=[77])
    assert store.doctor() == ()


def test_vectors_that_lose_their_direction_in_half_precision_are_reported(store: Store) -> None:
    fields = (Field("id", DataType.INT64, primary_key=True), Field("v", DataType.FLOAT_VECTOR, dim=2_001))
    wide = store.create_collection("wide", fields)
    wide.insert({"id": [1], "v": np.ones((1, 2_001))})
    wide.create_index("v", Hnsw("COSINE"))
    run(store, "INSERT INTO wide.entities SELECT 2, array_fill(1e-9, ARRAY[2001])::real[], '_default'")
    assert only(store).message.endswith("id: 2")


def test_whoever_may_not_read_a_collection_still_gets_the_rest(
    store: Store, shelved: Collection, database_url: URL
) -> None:
    shelved.create_index("embedding", Hnsw("COSINE"))
    run(store, "INSERT INTO books.entities VALUES (77, 'zero', 1999, '[0,0,0,0]', 'novel')")
    with role(store, "doctor_reader") as reader:
        run(store, f"GRANT USAGE ON SCHEMA vecstore, books TO {reader}")
        run(store, f"GRANT SELECT ON ALL TABLES IN SCHEMA vecstore TO {reader}")
        run(store, f"ALTER TABLE books.entities_novel OWNER TO {reader}")
        with vecstore.connect(database_url.update_query_dict({"options": f"-c role={reader}"})) as other:
            assert [found.kind for found in other.doctor()] == [FindingKind.OTHER_OWNER]
            run(store, f"GRANT SELECT ON books.entities TO {reader}")
            assert [found.kind for found in other.doctor()] == [FindingKind.OTHER_OWNER, FindingKind.NO_DIRECTION]


def test_indexes_that_row_security_keeps_one_from_measuring_are_passed_over(store: Store, database_url: URL) -> None:
    fields = (Field("id", DataType.INT64, primary_key=True), Field("v", DataType.FLOAT_VECTOR, dim=128))
    books = store.create_collection("books", fields)
    books.insert({"id": np.arange(2_000), "v": np.random.default_rng(3).normal(size=(2_000, 128))})
    books.create_index("v", Hnsw())
    with role(store, "doctor_tenant") as tenant:
        run(store, f"GRANT USAGE ON SCHEMA vecstore, books TO {tenant}")
        run(store, f"GRANT SELECT ON books.entities TO {tenant}")
        run(store, f"GRANT SELECT ON ALL TABLES IN SCHEMA vecstore TO {tenant}")
        run(store, "ALTER TABLE books.entities ENABLE ROW LEVEL SECURITY")
        with vecstore.connect(database_url.update_query_dict({"options": f"-c role={tenant}"})) as other:
            assert other.collection("books").count() == 0
            assert other.doctor() == ()


def test_doctor_can_be_part_of_a_transaction_and_changes_nothing(store: Store, shelved: Collection) -> None:
    shelved.create_index("embedding", Hnsw("COSINE"))
    with store.transaction() as transaction:
        transaction.collection("books").drop_partition("novel")
        assert transaction.doctor() == ()
    assert not shelved.has_partition("novel")
