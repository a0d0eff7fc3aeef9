"""The server is killed with everything under way, as by a loss of power to the process, and started again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import Connection

import vecstore
from killing import kill
from samples import BOOK_FIELDS, book
from vecstore import (
    Btree,
    Collection,
    ConnectionLost,
    DataType,
    Field,
    FindingKind,
    Hnsw,
    IndexState,
    Metric,
    SearchPath,
    Store,
)
from vecstore.embedded import EmbeddedServer, start
from waiting import SECONDS, eventually

SETTINGS = {"shared_buffers": "64MB", "max_connections": "60", "max_parallel_maintenance_workers": "0"}

# A row at a time into a graph is slow: so that there is time to interrupt it.
pytestmark = pytest.mark.filterwarnings("ignore:insert of 20,000 rows:vecstore.SlowLoadWarning")

ROWS = 20_000
DIM = 48
VECTOR_FIELDS = (Field("id", DataType.INT64, primary_key=True), Field("v", DataType.FLOAT_VECTOR, dim=DIM))
VECTORS = np.random.default_rng(1).normal(size=(ROWS, DIM)).astype(np.float32)
# Slow to build, so that there is time to kill it.
SLOW = Hnsw(Metric.L2, m=32, ef_construction=400)


def digest(store: Store) -> dict[str, object]:
    """Everything that the store holds: what each collection is, and each of its rows."""
    found: dict[str, object] = {"aliases": store.list_aliases()}
    for name in store.list_collections():
        collection = store.collection(name)
        rows = {
            partition.name: repr(collection.get(range(-1, ROWS + 1), partition_names=[partition.name]))
            for partition in collection.partitions
        }
        found[name] = (collection.describe(), rows)
    return found


def relations(store: Store) -> int:
    statement = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'books'"
    with store.engine.connect() as connection:
        return int(connection.exec_driver_sql(statement).scalar_one())


def library(store: Store) -> Collection:
    books = store.create_collection("books", BOOK_FIELDS)
    books.create_partition("novel")
    books.insert([book(key) for key in range(1, 200)])
    books.insert([book(key) for key in range(200, 300)], partition_name="novel")
    books.create_index("embedding", Hnsw(Metric.L2))
    books.create_index("year", Btree())
    return books


WEEK = timedelta(days=7)

UNCOMMITTED = {
    "drop_partition": lambda inside: inside.collection("books").drop_partition("novel"),
    "drop_collection": lambda inside: inside.drop_collection("books"),
    "drop_kept": lambda inside: inside.drop_collection("books", keep=WEEK),
    "drop_partition_kept": lambda inside: inside.collection("books").drop_partition("novel", keep=WEEK),
    "drop_index": lambda inside: inside.collection("books").drop_index("embedding_idx"),
    "truncate": lambda inside: inside.collection("books").truncate(),
    "truncate_partition": lambda inside: inside.collection("books").truncate("novel"),
    "delete": lambda inside: inside.collection("books").delete(ids=range(300)),
    "upsert": lambda inside: inside.collection("books").upsert([book(key, title="changed") for key in range(300)]),
    "rename": lambda inside: inside.rename_collection("books", "library"),
    "create": lambda inside: library_named(inside, "films"),
}
COMMITTED = {
    "drop_partition_done": lambda store: store.collection("books").drop_partition("novel"),
    "drop_index_done": lambda store: store.collection("books").drop_index("embedding_idx"),
    "truncate_done": lambda store: store.collection("books").truncate(),
    "drop_collection_done": lambda store: store.drop_collection("books"),
}

KEPT = {
    "drop_kept_done": (lambda store: store.drop_collection("books", keep=WEEK), lambda store: store.restore("books")),
    "drop_partition_kept_done": (
        lambda store: store.collection("books").drop_partition("novel", keep=WEEK),
        lambda store: store.restore_partition("books", "novel"),
    ),
}


def library_named(store: Store, name: str) -> None:
    films = store.create_collection(name, BOOK_FIELDS)
    films.insert([book(key) for key in range(1000)])
    films.create_index("embedding", Hnsw(Metric.L2))


def filled_vectors(store: Store) -> Collection:
    collection = store.create_collection("vectors", VECTOR_FIELDS)
    collection.insert({"id": np.arange(ROWS), "v": VECTORS})
    return collection


def indexed_and_empty(store: Store) -> Collection:
    collection = store.create_collection("vectors", VECTOR_FIELDS)
    collection.create_index("v", SLOW)
    return collection


# What takes long, what it is done to, and how the server says that it is at it.
UNDER_WAY: dict[str, tuple[Callable[[Store], Collection], Callable[[Collection], object], str]] = {
    "insert": (
        indexed_and_empty,
        lambda vectors: vectors.insert({"id": np.arange(ROWS), "v": VECTORS}),
        "SELECT coalesce(max(tuples_processed), 0) FROM pg_stat_progress_copy WHERE datname = current_database()",
    ),
    "build": (
        filled_vectors,
        lambda vectors: vectors.create_index("v", SLOW),
        "SELECT coalesce(max(tuples_done), 0) FROM pg_stat_progress_create_index WHERE datname = current_database()",
    ),
    "online": (
        filled_vectors,
        lambda vectors: vectors.create_index("v", SLOW, name="by_v", online=True),
        "SELECT coalesce(max(tuples_done), 0) FROM pg_stat_progress_create_index "  # noqa: ISC004
        "WHERE datname = current_database() AND command = 'CREATE INDEX CONCURRENTLY'",
    ),
}


class Crashed:
    """What the server held before it was killed, and the stores of its databases after it was started again."""

    def __init__(self, before: dict[str, object], server: EmbeddedServer, errors: dict[str, BaseException]) -> None:
        self.before = before
        self.server = server
        self.errors = errors

    def store(self, name: str) -> Store:
        return vecstore.connect(self.server.url(name))


@pytest.fixture(scope="module")
def crashed(tmp_path_factory, major) -> Iterator[Crashed]:
    """One kill for all tests: each has a database of its own, with something under way or just committed in it."""
    folder = tmp_path_factory.mktemp("crash") / "data"
    with start(folder, major=major, settings=SETTINGS) as server, ExitStack() as stack:
        make_databases(server, [*UNCOMMITTED, *COMMITTED, *KEPT, *UNDER_WAY])
        stores = {
            name: stack.enter_context(vecstore.connect(server.url(name)))
            for name in (*UNCOMMITTED, *COMMITTED, *KEPT, *UNDER_WAY)
        }
        before = {}
        for name in (*UNCOMMITTED, *COMMITTED, *KEPT):
            library(stores[name])
            before[name] = digest(stores[name])
        errors: dict[str, BaseException] = {}
        threads = [begin(stores[name], name, errors) for name in UNDER_WAY]
        open_transactions = [left_open(stores[name], work) for name, work in UNCOMMITTED.items()]
        for name, (_, _, progress) in UNDER_WAY.items():
            eventually(lambda name=name, progress=progress: asked(stores[name], progress) > 100)
        for name, work in COMMITTED.items():
            work(stores[name])
        for name, (drop, _) in KEPT.items():
            drop(stores[name])

        kill(folder)

        for thread in threads:
            thread.join(SECONDS)
            assert not thread.is_alive()
        for connection in open_transactions:
            connection.invalidate()
            connection.close()
        with start(folder, major=major) as again:
            yield Crashed(before, again, errors)


def make_databases(server: EmbeddedServer, names: list[str]) -> None:
    with vecstore.connect(server.url()) as store:
        store.upgrade()
    with (
        vecstore.connect(server.url("postgres")) as store,
        store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection,
    ):
        for name in names:
            connection.exec_driver_sql(f'CREATE DATABASE "{name}" TEMPLATE vecstore')


def begin(store: Store, name: str, errors: dict[str, BaseException]) -> threading.Thread:
    """Start the long work of a database in a thread, which ends with the server."""
    prepare, work, _ = UNDER_WAY[name]
    collection = prepare(store)

    def run() -> None:
        try:
            work(collection)
        except BaseException as exc:  # noqa: BLE001 - looked at by a test
            errors[name] = exc

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def left_open(store: Store, work: Callable[[Store], object]) -> Connection:
    """A transaction in which something was done, and that nobody commits."""
    connection = store.engine.connect()
    work(store.bind(connection))
    return connection


def asked(store: Store, statement: str) -> int:
    with store.engine.connect() as connection:
        return int(connection.exec_driver_sql(statement).scalar_one())


@pytest.mark.parametrize("name", UNCOMMITTED)
def test_what_was_not_committed_never_happened(crashed, name):
    with crashed.store(name) as store:
        assert digest(store) == crashed.before[name]
        assert store.doctor() == ()
        books = store.collection("books")
        (hits,) = books.search(book(250)["embedding"], limit=3, exact=False)
        assert (hits[0].id, hits.path) == (250, SearchPath.INDEX)
        # And it can be done now.
        UNCOMMITTED[name](store)
        assert digest(store) != crashed.before[name]


@pytest.mark.parametrize("name", COMMITTED)
def test_what_was_committed_a_moment_before_the_kill_is_done_and_nothing_else(crashed, name):
    with crashed.store(name) as store:
        assert store.doctor() == ()
        found = digest(store)
        if name == "drop_collection_done":
            assert found == {"aliases": {}}
            assert relations(store) == 0
            library(store)
            return
        description, rows = crashed.before[name]["books"]
        now, rows_now = found["books"]
        if name == "truncate_done":
            assert now == description
            assert rows_now == {"_default": "[]", "novel": "[]"}
        elif name == "drop_index_done":
            assert [index.name for index in now.indexes] == ["year_idx"]
            assert rows_now == rows
        else:
            assert now.indexes == description.indexes
            assert rows_now == {"_default": rows["_default"]}


@pytest.mark.parametrize("name", KEPT)
def test_what_was_dropped_and_kept_a_moment_before_the_kill_can_be_taken_back(crashed, name):
    _, restore = KEPT[name]
    with crashed.store(name) as store:
        assert store.doctor() == ()
        assert digest(store) != crashed.before[name]
        assert len(store.trash()) == 1
        restore(store)
        assert digest(store) == crashed.before[name]
        assert store.trash() == ()
        (hits,) = store.collection("books").search(book(250)["embedding"], limit=3, exact=False)
        assert (hits[0].id, hits.path) == (250, SearchPath.INDEX)


def test_an_insert_that_was_under_way_left_no_row(crashed):
    assert isinstance(crashed.errors["insert"], ConnectionLost)
    with crashed.store("insert") as store:
        vectors = store.collection("vectors")
        assert vectors.count() == 0
        # The index has pages of rows that never were: compact() frees them.
        assert {finding.kind for finding in store.doctor()} <= {FindingKind.WORN_INDEX}
        assert [index.state for index in vectors.indexes] == [IndexState.READY]
        assert len(vectors.search(VECTORS[0])[0]) == 0
        vectors.insert({"id": np.arange(100), "v": VECTORS[:100]})
        assert vectors.search(VECTORS[7], limit=1, exact=False)[0].ids.tolist() == [7]


def test_an_index_build_that_was_under_way_left_no_index_and_search_is_exact(crashed):
    assert isinstance(crashed.errors["build"], ConnectionLost)
    with crashed.store("build") as store:
        vectors = store.collection("vectors")
        assert vectors.indexes == []
        assert store.doctor() == ()
        assert_exact(vectors)
        vectors.delete(where=vectors.c.id >= 500)
        vectors.create_index("v", Hnsw(Metric.L2))
        (hits,) = vectors.search(VECTORS[7], limit=1, exact=False)
        assert (hits.ids.tolist(), hits.path) == ([7], SearchPath.INDEX)


def assert_exact(vectors: Collection) -> None:
    query = VECTORS[5] + VECTORS[6]
    nearest = np.argsort(((VECTORS.astype(np.float64) - query) ** 2).sum(axis=1))[:20]
    (hits,) = vectors.search(query, limit=20, metric=Metric.L2)
    assert hits.ids.tolist() == nearest.tolist()
    assert hits.path is SearchPath.EXACT


def test_an_online_build_that_was_under_way_is_reported_cleared_away_and_done_again(crashed):
    assert isinstance(crashed.errors["online"], ConnectionLost)
    with crashed.store("online") as store:
        vectors = store.collection("vectors")
        assert vectors.count() == ROWS
        found = store.doctor()
        assert {finding.kind for finding in found} == {FindingKind.INVALID_INDEX}
        assert {finding.collection for finding in found} == {"vectors"}
        assert "by_v" in {finding.name for finding in found}
        assert [index.state for index in vectors.indexes] == [IndexState.INVALID]
        assert_exact(vectors)  # an index that is not whole is not asked

        assert store.repair() == found
        assert store.doctor() == ()
        assert vectors.indexes == []
        assert_exact(vectors)
        vectors.delete(where=vectors.c.id >= 500)
        vectors.create_index("v", Hnsw(Metric.L2), name="by_v", online=True)
        assert vectors.index("by_v").state is IndexState.READY
        (hits,) = vectors.search(VECTORS[7], limit=1, exact=False)
        assert (hits.ids.tolist(), hits.path) == ([7], SearchPath.INDEX)
