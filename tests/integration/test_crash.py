"""kill -9 of the server, with its own folder for each test: what was not committed never was, what was stays."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection, text

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import CollectionNotFound, DataType, Field, FindingKind, Hnsw, IndexState, Store, VecstoreError
from vecstore.embedded import EmbeddedServer, start

NAMES = ("dropped_partition", "dropped_collection", "dropped_index", "truncated")

_DIGEST = text("""
    SELECT md5(string_agg(line, ';' ORDER BY line)) FROM (
        SELECT n.nspname || c.relname || c.relkind::text || coalesce(pg_get_expr(c.relpartbound, c.oid), '')
               || coalesce(i.indisvalid::text, '') || coalesce(pg_get_indexdef(i.indexrelid), '') AS line
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_index i ON i.indexrelid = c.oid
        WHERE n.nspname = ANY (:names) OR n.nspname = 'vecstore'
      UNION ALL
        SELECT entities::text || fields::text || coalesce(dropped_name, '') FROM vecstore.collection_registry
    ) AS lines
""")


def digest(store: Store) -> tuple[str, list[int]]:
    """The catalogue of all collections, and their rows."""
    with store.engine.connect() as connection:
        catalogue = connection.execute(_DIGEST, {"names": list(NAMES)}).scalar_one()
    return catalogue, [store.collection(name).count() for name in store.list_collections()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(folder: Path, major: int) -> Iterator[EmbeddedServer]:
    with start(folder, major=major) as server:
        with vecstore.connect(server.url()) as store:
            store.upgrade()
        yield server


@pytest.fixture
def restart(server: EmbeddedServer, folder: Path, major: int) -> Iterator[Callable[[], None]]:
    """Kill the postmaster and its children at once, then start on the same folder."""
    started: list[EmbeddedServer] = []

    def killed_and_started() -> None:
        postmaster = int((folder / "postgresql" / "postmaster.pid").read_text().splitlines()[0])
        group = [postmaster, *children_of(postmaster)]
        for pid in group:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(is_alive(pid) for pid in group))
        started.append(start(folder, major=major))

    yield killed_and_started
    for again in started:
        again.release()


def children_of(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def filled(store: Store, name: str) -> vecstore.Collection:
    collection = store.create_collection(name, BOOK_FIELDS)
    collection.create_partition("novel")
    collection.insert([book(key) for key in range(100)], partition_name="novel")
    collection.create_index("embedding", Hnsw())
    return collection


def undone_on_one_connection(store: Store) -> Connection:
    """All four destructive calls, uncommitted."""
    connection = store.engine.connect()
    bound = store.bind(connection)
    bound.collection("dropped_partition").drop_partition("novel")
    bound.collection("dropped_index").drop_index()
    bound.collection("truncated").truncate()
    bound.collection("dropped_collection").drop()
    assert "dropped_collection" not in bound.list_collections()
    return connection


def test_what_was_dropped_but_not_committed_is_there_after_a_crash(
    server: EmbeddedServer, restart: Callable[[], None]
) -> None:
    with vecstore.connect(server.url()) as store:
        for name in NAMES:
            filled(store, name)
        before = digest(store)
        connection = undone_on_one_connection(store)
        restart()
        connection.invalidate()
        connection.close()
        assert digest(store) == before
        assert store.doctor() == ()
        assert len(store.collection("dropped_index").search([1, 2, 3, 4])[0]) == 10


def test_what_was_committed_is_gone_after_a_crash(server: EmbeddedServer, restart: Callable[[], None]) -> None:
    with vecstore.connect(server.url()) as store:
        for name in NAMES:
            filled(store, name)
        connection = undone_on_one_connection(store)
        connection.commit()
        restart()
        connection.invalidate()
        connection.close()
        assert store.list_collections() == ["dropped_index", "dropped_partition", "truncated"]
        assert store.doctor() == ()
        assert not store.collection("dropped_partition").has_partition("novel")
        assert store.collection("dropped_index").indexes == []
        assert store.collection("truncated").num_entities == 0
        with pytest.raises(CollectionNotFound):
            store.collection("dropped_collection")
        filled(store, "dropped_collection")


def waiting_query(store: Store, beginning: str) -> bool:
    """Whether a statement that begins so is under way."""
    with store.engine.connect() as connection:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE :beginning")
        return bool(connection.execute(query, {"beginning": f"{beginning}%"}).scalar_one())


class Failing(threading.Thread):
    """Runs what a crash is to interrupt, and keeps its error."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self.work = work
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.work()
        except VecstoreError as error:
            self.error = error


def test_an_insert_cut_by_a_crash_leaves_no_row(server: EmbeddedServer, restart: Callable[[], None]) -> None:
    with vecstore.connect(server.url()) as store:
        points = store.create_collection(
            "points", [Field("id", DataType.INT64, primary_key=True), Field("v", DataType.FLOAT_VECTOR, dim=384)]
        )
        points.create_index("v", Hnsw())  # makes the COPY last long enough to be hit
        vectors = np.random.default_rng(3).normal(size=(20_000, 384)).astype(np.float32)
        insert = Failing(lambda: points.insert({"id": np.arange(20_000), "v": vectors}))
        wait_until(lambda: waiting_query(store, "COPY"))
        restart()
        insert.join()
        assert isinstance(insert.error, vecstore.ConnectionLost)
        assert points.num_entities == 0
        assert store.doctor() == ()


@pytest.fixture
def many_points(server: EmbeddedServer) -> Iterator[tuple[Store, vecstore.Collection]]:
    with vecstore.connect(server.url()) as store:
        points = store.create_collection(
            "points", [Field("id", DataType.INT64, primary_key=True), Field("v", DataType.FLOAT_VECTOR, dim=128)]
        )
        vectors = np.random.default_rng(4).normal(size=(15_000, 128)).astype(np.float32)
        points.insert({"id": np.arange(15_000), "v": vectors})
        yield store, points


def test_a_build_cut_by_a_crash_leaves_no_index(
    many_points: tuple[Store, vecstore.Collection], restart: Callable[[], None]
) -> None:
    store, points = many_points
    build = Failing(lambda: points.create_index("v", Hnsw()))
    wait_until(lambda: waiting_query(store, "CREATE INDEX"))
    restart()
    build.join()
    assert isinstance(build.error, vecstore.ConnectionLost)
    assert points.indexes == []
    assert store.doctor() == ()
    assert points.search(np.ones(128), 5)[0].path == "exact"


def test_an_online_build_cut_by_a_crash_is_found_and_cleared_away(
    many_points: tuple[Store, vecstore.Collection], restart: Callable[[], None]
) -> None:
    store, points = many_points
    build = Failing(lambda: points.create_index("v", Hnsw(), online=True))
    wait_until(lambda: waiting_query(store, "CREATE INDEX CONCURRENTLY"))
    restart()
    build.join()
    assert build.error is not None
    if points.indexes:  # else the client was quick enough to clear away by itself
        assert points.indexes[0].state == IndexState.INVALID
    findings = store.doctor()
    assert {finding.kind for finding in findings} <= {FindingKind.INVALID_INDEX}
    assert points.search(np.ones(128), 5)[0].path == "exact"
    assert store.repair() == findings
    assert store.doctor() == ()
    assert points.indexes == []
    points.truncate()
    assert points.create_index("v", Hnsw(), online=True).state == IndexState.READY
