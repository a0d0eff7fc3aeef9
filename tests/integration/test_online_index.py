from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from sqlalchemy import URL, event

import vecstore
from samples import book
from vecstore import (
    Btree,
    Collection,
    CollectionHasAliases,
    ConnectionLost,
    DataType,
    Field,
    FindingKind,
    Hnsw,
    IndexBuild,
    IndexExists,
    InvalidArgument,
    LockTimeout,
    QueryTimeout,
    Store,
)
from waiting import SECONDS, eventually, reader

Fill = Callable[..., None]


def scalar(store: Store, statement: str) -> object:
    with store.engine.connect() as connection:
        return connection.exec_driver_sql(statement).scalar_one()


def phase(store: Store) -> str:
    return str(scalar(store, "SELECT coalesce(min(phase), '') FROM pg_stat_progress_create_index"))


def held_up(store: Store, leaf: str) -> object:
    """The backend whose build of this leaf's index waits for somebody's transaction; None: there is none yet.

    Every build says for a moment that it waits, also where there is nobody to wait for.
    """
    waits = f"""
        SELECT min(pid) FROM pg_stat_progress_create_index JOIN pg_stat_activity USING (pid)
        WHERE relid = 'books.{leaf}'::regclass AND phase LIKE 'waiting for%%' AND wait_event_type = 'Lock'
    """  # noqa: S608
    return scalar(store, waits)


def relations(store: Store) -> set[str]:
    return set(store.collection("books").describe().relations)


@contextmanager
def writer(store: Store, leaf: str) -> Iterator[None]:
    """Somebody's open transaction that has written into a leaf: its index is not begun before the transaction ends."""
    with store.engine.connect() as connection:
        connection.exec_driver_sql(f"UPDATE books.{leaf} SET title = 'written'")  # noqa: S608
        yield


def is_almost_done(store: Store) -> bool:
    return phase(store) == "waiting for old snapshots"


@pytest.fixture
def shelved(books: Collection, fill: Fill) -> Collection:
    books.create_partition("novel")
    fill(books, range(30))
    fill(books, range(30, 60), "novel")
    return books


def test_inserts_complete_while_the_index_is_being_built(store: Store) -> None:
    fields = (Field("id", DataType.INT64, primary_key=True), Field("embedding", DataType.FLOAT_VECTOR, dim=64))
    books = store.create_collection("books", fields)
    vectors = np.random.default_rng(1).normal(size=(20_000, 64)).astype(np.float32)
    books.insert({"id": range(2_000), "embedding": vectors[:2_000]})
    inserted, amid = [], 0
    with ThreadPoolExecutor(1) as pool:
        spec = Hnsw(m=24, ef_construction=400)
        building = pool.submit(books.create_index, "embedding", spec, online=True)
        eventually(lambda: building.done() or phase(store).startswith("building index"))
        while not building.done():
            key = 10_000 + len(inserted)
            books.insert([{"id": key, "embedding": vectors[len(inserted)]}])
            inserted.append(key)
            amid += phase(store).startswith("building index")
        index = building.result()
    assert amid > 0
    assert index.state == "ready"
    found = books.search(vectors[0], limit=2, exact=False)[0]
    assert (found.path, sorted(found.ids)) == ("index", [0, 10_000])
    assert books.count() == 2_000 + len(inserted)
    assert store.doctor() == ()


def test_the_index_is_in_all_partitions_and_those_to_come(store: Store, shelved: Collection) -> None:
    index = shelved.create_index("embedding", Hnsw(), online=True)
    shelved.create_partition("poem")
    assert index.state == "ready"
    leaves = scalar(store, f"SELECT count(*) FROM pg_inherits WHERE inhparent = 'books.{index.name}'::regclass")  # noqa: S608
    assert leaves == 3
    assert shelved.search([1, 2, 3, 4], limit=60, exact=False)[0].path == "index"


def test_a_partition_made_by_hand_is_in_the_index_too(store: Store, shelved: Collection) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE books.by_hand PARTITION OF books.entities FOR VALUES IN ('poem', 'play')"
        )
    assert shelved.create_index("embedding", Hnsw(), online=True).state == "ready"


def test_online_is_refused_inside_a_transaction(store: Store, shelved: Collection) -> None:
    before = relations(store)
    with store.transaction() as transaction, pytest.raises(InvalidArgument, match="part of a transaction"):
        transaction.collection("books").create_index("embedding", Hnsw(), online=True)
    with store.engine.connect() as connection, pytest.raises(InvalidArgument, match="part of a transaction"):
        store.bind(connection).collection("books").create_index("embedding", Hnsw(), online=True)
    assert relations(store) == before


@pytest.mark.parametrize(
    ("stop", "error"), [("pg_cancel_backend", QueryTimeout), ("pg_terminate_backend", ConnectionLost)]
)
@pytest.mark.parametrize("leaf", ["entities__default", "entities_novel"])
def test_a_build_that_is_stopped_leaves_nothing(
    store: Store, shelved: Collection, leaf: str, stop: str, error: type[Exception]
) -> None:
    before = relations(store)
    with ThreadPoolExecutor(1) as pool:
        with writer(store, leaf):
            building = pool.submit(shelved.create_index, "embedding", Hnsw(), online=True)
            eventually(lambda: building.done() or held_up(store, leaf))
            assert len(relations(store)) > len(before)
            scalar(store, f"SELECT {stop}({held_up(store, leaf)})")
        with pytest.raises(error):
            building.result()
    assert relations(store) == before
    assert shelved.indexes == []
    assert store.doctor() == ()
    assert shelved.create_index("embedding", Hnsw(), online=True).state == "ready"


def test_other_changes_of_structure_wait_for_the_build_and_do_not_hold_it_up(
    store: Store, database_url: URL, shelved: Collection
) -> None:
    with vecstore.connect(database_url, ddl_timeout=SECONDS) as other, ThreadPoolExecutor(2) as pool:
        with writer(store, "entities_novel"):
            building = pool.submit(shelved.create_index, "embedding", Hnsw(), online=True)
            eventually(lambda: building.done() or held_up(store, "entities_novel"))
            waiting = pool.submit(other.collection("books").create_partition, "poem")
            blocked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            eventually(lambda: waiting.done() or scalar(store, blocked))
        assert waiting.result().name == "poem"
        assert building.result().state == "ready"


def test_how_far_a_build_is_is_told_to_everybody(store: Store, shelved: Collection) -> None:
    with ThreadPoolExecutor(1) as pool:
        with reader(store.engine):
            building = pool.submit(shelved.create_index, "embedding", Hnsw(), name="nearest", online=True)
            eventually(lambda: building.done() or is_almost_done(store))
            build = shelved.index("nearest").build
            assert build == IndexBuild(0.5, "waiting for old snapshots")  # the first of two partitions
        index = building.result()
    assert (index.state, index.build) == ("ready", None)


def test_an_index_that_is_being_built_can_be_dropped(store: Store, database_url: URL, shelved: Collection) -> None:
    with vecstore.connect(database_url) as other, ThreadPoolExecutor(1) as pool, reader(store.engine):
        building = pool.submit(shelved.create_index, "embedding", Hnsw(), online=True)
        eventually(lambda: building.done() or is_almost_done(store))
        other.collection("books").drop_index("embedding_idx")
        with pytest.raises(QueryTimeout):
            building.result()
    assert not [name for name in relations(store) if name.startswith("embedding_idx")]


def test_the_drop_of_another_index_stops_no_build(store: Store, database_url: URL, shelved: Collection) -> None:
    shelved.create_index("year", Btree())
    with vecstore.connect(database_url, ddl_timeout=0.5) as other, ThreadPoolExecutor(1) as pool:
        with reader(store.engine):
            building = pool.submit(shelved.create_index, "embedding", Hnsw(), online=True)
            eventually(lambda: building.done() or is_almost_done(store))
            with pytest.raises(LockTimeout):
                other.collection("books").drop_index("year_idx")
        assert building.result().state == "ready"


def test_a_collection_can_be_dropped_while_an_index_of_it_is_built(
    store: Store, database_url: URL, shelved: Collection
) -> None:
    store.create_alias("books", "shelf")
    with vecstore.connect(database_url) as other, ThreadPoolExecutor(1) as pool, reader(store.engine):
        building = pool.submit(shelved.create_index, "embedding", Hnsw(), online=True)
        eventually(lambda: building.done() or is_almost_done(store))
        with pytest.raises(CollectionHasAliases):
            other.drop_collection("books")
        assert is_almost_done(store)  # a drop that is refused stops nothing
        with store.engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA shelf CASCADE")
        other.drop_collection("books")
        with pytest.raises(QueryTimeout):
            building.result()
    assert store.list_collections() == []


def test_a_build_waits_for_another_one_however_long_it_takes(
    store: Store, database_url: URL, shelved: Collection
) -> None:
    tries = []
    with vecstore.connect(database_url, ddl_timeout=0.3) as other, ThreadPoolExecutor(2) as pool:

        @event.listens_for(other.engine, "before_cursor_execute")
        def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if "pg_advisory_xact_lock" in statement:
                tries.append(statement)

        with reader(store.engine):
            building = pool.submit(shelved.create_index, "embedding", Hnsw(), online=True)
            eventually(lambda: building.done() or is_almost_done(store))
            waiting = pool.submit(other.collection("books").create_index, "year", Btree(), online=True)
            eventually(lambda: waiting.done() or len(tries) > 5)  # in 0.3 seconds there are three of them at the most
            assert not waiting.done()
        assert {building.result().state, waiting.result().state} == {"ready"}


def test_what_describes_a_collection_is_changed_while_an_index_of_it_is_built(
    store: Store, database_url: URL, shelved: Collection
) -> None:
    with vecstore.connect(database_url, ddl_timeout=0.3) as other, ThreadPoolExecutor(1) as pool:
        with reader(store.engine):
            building = pool.submit(shelved.create_index, "embedding", Hnsw(), online=True)
            eventually(lambda: building.done() or is_almost_done(store))
            other.collection("books").alter(description="what was read", properties={"floor": "3"})
            assert is_almost_done(store)
        building.result()
    found = shelved.describe().schema
    assert (found.description, dict(found.properties)) == ("what was read", {"floor": "3"})


def test_repair_leaves_an_index_alone_that_was_under_way_and_is_finished_now(
    store: Store, database_url: URL, shelved: Collection
) -> None:
    with vecstore.connect(database_url, ddl_timeout=SECONDS) as other, ThreadPoolExecutor(2) as pool:
        with writer(store, "entities_novel"):
            building = pool.submit(shelved.create_index, "embedding", Hnsw(), online=True)
            eventually(lambda: building.done() or held_up(store, "entities_novel"))
            repairing = pool.submit(other.repair)
            blocked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            eventually(lambda: repairing.done() or scalar(store, blocked))
        building.result()
        repairing.result()
    assert [index.state for index in shelved.indexes] == ["ready"]


_CLIENT = """
import sys, vecstore
with vecstore.connect(sys.argv[1]) as store:
    store.collection("books").create_index("embedding", vecstore.Hnsw(), online=True)
"""


@pytest.fixture(params=["the server went down too", "its backend went on alone"])
def interrupted(request: pytest.FixtureRequest, store: Store, database_url: URL, shelved: Collection) -> Collection:
    """A collection whose online build was killed with its client, at the second of two partitions."""
    url = database_url.render_as_string(hide_password=False)
    with subprocess.Popen([sys.executable, "-c", _CLIENT, url]) as client, writer(store, "entities_novel"):
        try:
            eventually(lambda: client.poll() is not None or held_up(store, "entities_novel"))
            backend = held_up(store, "entities_novel")
        finally:
            os.kill(client.pid, signal.SIGKILL)
        client.wait()
        alive = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {backend}"  # noqa: S608
        if request.param == "the server went down too":
            scalar(store, f"SELECT pg_terminate_backend({backend})")
            eventually(lambda: scalar(store, alive) == 0)
    eventually(lambda: scalar(store, alive) == 0)
    return shelved


def test_what_a_killed_client_left_to_the_server_to_build_is_stopped(
    store: Store, database_url: URL, shelved: Collection
) -> None:
    url = database_url.render_as_string(hide_password=False)
    with subprocess.Popen([sys.executable, "-c", _CLIENT, url]) as client, reader(store.engine):
        try:
            eventually(lambda: client.poll() is not None or is_almost_done(store))
        finally:
            os.kill(client.pid, signal.SIGKILL)
        client.wait()
        eventually(lambda: shelved.index("embedding_idx").build is None)  # the server sees that the client is gone
        assert is_almost_done(store)
        shelved.drop_index("embedding_idx")
        assert phase(store) == ""
    assert store.doctor() == ()


def test_what_a_killed_client_left_is_found_and_not_used(store: Store, interrupted: Collection) -> None:
    index = interrupted.index("embedding_idx")
    assert (index.state, index.build) == ("invalid", None)
    assert (FindingKind.INVALID_INDEX, "books", "embedding_idx") in {
        (found.kind, found.collection, found.name) for found in store.doctor()
    }
    assert interrupted.search([1, 2, 3, 4])[0].path == "exact"
    interrupted.insert([book(100)])
    with pytest.raises(IndexExists, match="left unfinished"):
        interrupted.create_index("embedding", Hnsw(), name="embedding_idx")


def test_repair_clears_what_a_killed_client_left(store: Store, interrupted: Collection) -> None:
    assert {found.kind for found in store.repair()} == {FindingKind.INVALID_INDEX}
    assert interrupted.indexes == []
    assert not [name for name in relations(store) if name.startswith("embedding_idx")]
    assert store.doctor() == ()


@pytest.mark.parametrize("name", ["embedding_idx", None])
def test_the_same_call_again_finishes_what_a_killed_client_left(
    store: Store, interrupted: Collection, name: str | None
) -> None:
    index = interrupted.create_index("embedding", Hnsw(), name=name, online=True)
    assert (index.name, index.state) == ("embedding_idx", "ready")
    assert store.doctor() == ()
    assert interrupted.search([1, 2, 3, 4], exact=False)[0].path == "index"
    index.drop()
    assert not [name for name in relations(store) if name.startswith("embedding_idx")]


def test_drop_index_takes_an_unfinished_one(store: Store, interrupted: Collection) -> None:
    interrupted.drop_index("embedding_idx")
    assert not [name for name in relations(store) if name.startswith("embedding_idx")]


def test_an_index_of_another_field_is_not_taken_for_an_unfinished_one(store: Store, interrupted: Collection) -> None:
    interrupted.create_index("year", Btree(), online=True)
    assert [(index.name, index.state) for index in interrupted.indexes] == [
        ("embedding_idx", "invalid"),
        ("year_idx", "ready"),
    ]
