from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import URL

import vecstore
from vecstore import (
    Btree,
    Collection,
    CollectionNotFound,
    ConnectionLost,
    DataType,
    Field,
    FindingKind,
    Hnsw,
    IndexQualityWarning,
    InvalidArgument,
    IvfFlat,
    LockTimeout,
    PartitionNotFound,
    PermissionDenied,
    QueryTimeout,
    Store,
)
from waiting import eventually

Fill = Callable[..., None]
Vectors = NDArray[np.float32]

ROWS = 3_000
LEAF = "entities__default"


def scalar(store: Store, statement: str) -> object:
    with store.engine.connect() as connection:
        return connection.exec_driver_sql(statement).scalar_one()


def run(store: Store, *statements: str) -> None:
    with store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def files(store: Store) -> set[object]:
    """The files of the leaves' vector indexes: an index built anew has another."""
    with store.engine.connect() as connection:
        return set(
            connection.exec_driver_sql(
                "SELECT x.relfilenode FROM pg_class x JOIN pg_am m ON m.oid = x.relam "
                "WHERE m.amname IN ('hnsw', 'ivfflat') AND x.relkind = 'i' AND x.relnamespace = 'books'::regnamespace"
            ).scalars()
        )


def leftovers(store: Store) -> list[str]:
    return [name for name in store.collection("books").describe().relations if "_ccnew" in name]


@pytest.fixture(scope="module")
def vectors(real_data: Path) -> Vectors:
    return np.load(real_data / "vectors.npy").astype(np.float32)


@pytest.fixture(scope="module")
def queries(real_data: Path) -> Vectors:
    return np.load(real_data / "queries.npy").astype(np.float32)[:50]


@pytest.fixture
def packages(store: Store, vectors: Vectors) -> Collection:
    """3,000 real embeddings, not indexed; what is deleted stays until somebody says VACUUM."""
    fields = (Field("id", DataType.INT64, primary_key=True), Field("v", DataType.FLOAT_VECTOR, dim=vectors.shape[1]))
    packages = store.create_collection("books", fields)
    run(store, f"ALTER TABLE books.{LEAF} SET (autovacuum_enabled = false)")
    packages.insert({"id": np.arange(ROWS), "v": vectors})
    return packages


def delete(collection: Collection, share: float) -> NDArray[np.int64]:
    """Delete so many of the rows, and return the keys of the others."""
    dead = np.random.default_rng(7).permutation(ROWS)[: int(share * ROWS)]
    assert collection.delete(ids=dead.tolist()).count == len(dead)
    return np.setdiff1d(np.arange(ROWS), dead)


def recall(collection: Collection, vectors: Vectors, queries: Vectors, keys: NDArray[np.int64]) -> float:
    """The part of the ten nearest by the index alone, as NumPy sees them."""
    nearest = keys[np.argsort(-(queries @ vectors[keys].T), axis=1)[:, :10]]
    found = collection.search(queries, limit=10, exact=False, ef=40)
    return float(np.mean([len(set(hits.ids) & set(true)) / 10 for hits, true in zip(found, nearest, strict=True)]))


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("vacuumed", [False, True], ids=["dead rows", "rows that a VACUUM has removed"])
def test_after_deletes_the_index_is_built_anew_smaller_and_as_good(
    store: Store, packages: Collection, vectors: Vectors, queries: Vectors, *, share: float, vacuumed: bool
) -> None:
    packages.create_index("v", Hnsw())
    left = delete(packages, share)
    if vacuumed:
        run(store, f"VACUUM books.{LEAF}")
    assert [found.kind for found in store.doctor()] == [FindingKind.WORN_INDEX]
    [partition] = packages.compact().partitions
    assert (partition.name, partition.rebuilt) == ("_default", ("v_idx",))
    index = packages.stats().indexes[0]
    assert index.bytes < (1.1 - share) * len(vectors) * 2048
    assert partition.after.index_bytes < partition.before.index_bytes
    assert (partition.before.dead_rows, partition.after.dead_rows) == (0 if vacuumed else ROWS - len(left), 0)
    assert recall(packages, vectors, queries, left) >= 0.95
    assert packages.count() == len(left)
    assert store.doctor() == ()


def test_an_index_that_nothing_is_wrong_with_is_left_as_it_is(store: Store, packages: Collection) -> None:
    packages.create_index("v", Hnsw())
    before = files(store)
    packages.compact()
    delete(packages, 0.01)
    [partition] = packages.compact().partitions
    assert (partition.rebuilt, files(store)) == ((), before)
    assert (partition.before.dead_rows, partition.after.dead_rows) == (30, 0)


def test_force_builds_all_vector_indexes_anew_and_no_others(store: Store, packages: Collection) -> None:
    packages.create_index("v", Hnsw())
    packages.create_index("v", Hnsw("L2"))
    packages.create_index("id", Btree())
    before = files(store)
    [partition] = packages.compact(force=True).partitions
    assert partition.rebuilt == ("v_idx", "v_l2_idx")
    assert files(store) & before == set()
    assert [index.state for index in packages.indexes] == ["ready", "ready", "ready"]


def test_dead_rows_of_which_the_last_connection_has_not_told_the_statistics_yet_count(
    store: Store, packages: Collection
) -> None:
    packages.create_index("v", Hnsw())
    with store.engine.connect() as connection:
        connection.exec_driver_sql("DELETE FROM books.entities WHERE id < 300")
        connection.commit()
    [partition] = packages.compact().partitions
    assert (partition.before.dead_rows, partition.rebuilt) == (300, ("v_idx",))


def test_an_ivfflat_index_made_before_its_rows_is_found_and_made_good(
    store: Store, packages: Collection, vectors: Vectors, queries: Vectors
) -> None:
    packages.truncate()
    with pytest.warns(IndexQualityWarning, match="0 rows for 50 lists"):
        packages.create_index("v", IvfFlat(lists=50))
    packages.insert({"id": np.arange(ROWS), "v": vectors})
    keys = np.arange(ROWS)
    poor = recall(packages, vectors, queries, keys)
    [found] = store.doctor()
    assert (found.kind, found.name) == (FindingKind.WORN_INDEX, "v_idx")
    assert "of its 3,000 rows 0 were there" in found.message
    assert packages.compact().partitions[0].rebuilt == ("v_idx",)
    assert store.doctor() == ()
    good = recall(packages, vectors, queries, keys)
    assert good >= 0.8
    assert good > poor + 0.2


@pytest.mark.parametrize(("rows", "is_worn"), [(299, True), (600, False)])
def test_an_ivfflat_index_wants_a_rebuild_when_its_rows_are_ten_times_what_they_were(
    store: Store, packages: Collection, vectors: Vectors, rows: int, *, is_worn: bool
) -> None:
    packages.delete(where=packages.c.id >= rows)
    packages.create_index("v", IvfFlat(lists=50))
    packages.insert({"id": np.arange(rows, ROWS), "v": vectors[rows:]})
    assert [found.kind for found in store.doctor()] == [FindingKind.WORN_INDEX] * is_worn


def test_rows_that_an_older_transaction_may_see_are_reported_as_left(store: Store, packages: Collection) -> None:
    with store.engine.connect().execution_options(isolation_level="REPEATABLE READ") as reader:
        reader.exec_driver_sql("SELECT 1 FROM books.entities LIMIT 1").scalar_one()
        delete(packages, 0.5)
        result = packages.compact()
        assert result.dead_rows_left == ROWS // 2
    result = packages.compact()
    assert (result.partitions[0].before.dead_rows, result.dead_rows_left) == (ROWS // 2, 0)


@pytest.fixture
def shelved(store: Store, packages: Collection, vectors: Vectors) -> Collection:
    """The same with a second partition, a third made by hand and empty, and an index over all."""
    packages.create_partition("novel")
    packages.insert({"id": np.arange(ROWS), "v": vectors}, partition_name="novel")
    run(store, "CREATE TABLE books.by_hand PARTITION OF books.entities FOR VALUES IN ('poem', 'play')")
    packages.create_index("v", Hnsw())
    return packages


def test_partitions_are_compacted_one_by_one_or_those_named(store: Store, shelved: Collection) -> None:
    shelved.delete("id % 2 == 0", partition_names=["novel"])
    result = shelved.compact(partition_names=["novel", "novel"])
    assert [(partition.name, partition.rebuilt) for partition in result.partitions] == [("novel", ("v_idx",))]
    assert result.bytes_freed > 0
    result = shelved.compact(progress=True)
    assert [partition.name for partition in result.partitions] == ["_default", "novel", "by_hand"]
    assert [partition.rebuilt for partition in result.partitions] == [(), (), ()]


def test_partitions_that_are_not_there_are_refused_before_anything_is_done(store: Store, shelved: Collection) -> None:
    before = files(store)
    with pytest.raises(PartitionNotFound, match="'poems'"):
        shelved.compact(partition_names=["novel", "poems"], force=True)
    with pytest.raises(InvalidArgument, match="list of names"):
        shelved.compact(partition_names="novel", force=True)
    assert files(store) == before


def test_hash_partitions_are_compacted(store: Store, vectors: Vectors) -> None:
    fields = (
        Field("id", DataType.INT64, primary_key=True),
        Field("tenant", DataType.INT64, partition_key=True),
        Field("v", DataType.FLOAT_VECTOR, dim=vectors.shape[1]),
    )
    packages = store.create_collection("books", fields, num_partitions=2)
    packages.insert({"id": np.arange(ROWS), "tenant": np.arange(ROWS) % 16, "v": vectors})
    packages.create_index("v", Hnsw())
    packages.delete("id >= 300")
    assert [partition.rebuilt for partition in packages.compact().partitions] == [("v_idx",), ("v_idx",)]
    assert packages.search(vectors[7], limit=1, exact=False)[0].ids.tolist() == [7]


def test_compact_is_refused_inside_a_transaction(store: Store, books: Collection) -> None:
    with store.transaction() as transaction, pytest.raises(InvalidArgument, match="part of a transaction"):
        transaction.collection("books").compact()
    with store.engine.connect() as connection, pytest.raises(InvalidArgument, match="part of a transaction"):
        store.bind(connection).collection("books").compact()


def test_a_collection_that_is_gone_cannot_be_compacted(store: Store, books: Collection) -> None:
    books.drop()
    with pytest.raises(CollectionNotFound):
        books.compact()


def test_an_alias_compacts_its_collection(store: Store, packages: Collection) -> None:
    packages.create_index("v", Hnsw())
    store.create_alias("books", "prod")
    delete(packages, 0.5)
    assert store.collection("prod").compact().partitions[0].rebuilt == ("v_idx",)


def test_a_role_that_may_only_write_is_told_that_it_cannot(store: Store, books: Collection, database_url: URL) -> None:
    run(
        store,
        "CREATE ROLE compact_writer",
        "GRANT USAGE ON SCHEMA books, vecstore TO compact_writer",
        "GRANT SELECT ON ALL TABLES IN SCHEMA vecstore TO compact_writer",
        "GRANT SELECT, INSERT, DELETE ON books.entities TO compact_writer",
    )
    try:
        with (
            vecstore.connect(database_url.update_query_dict({"options": "-c role=compact_writer"})) as other,
            pytest.raises(PermissionDenied, match="belongs to another role"),
        ):
            other.collection("books").compact()
    finally:
        run(store, "DROP OWNED BY compact_writer", "DROP ROLE compact_writer")


@contextmanager
def writer(store: Store) -> Iterator[None]:
    """Somebody's open transaction that has written into the second leaf: a rebuild there waits for its end."""
    with store.engine.connect() as connection:
        connection.exec_driver_sql("UPDATE books.entities_novel SET id = id WHERE id = 1")
        yield


_PHASE = (
    "SELECT coalesce(min(phase), '') FROM pg_stat_progress_create_index WHERE relid = 'books.entities_novel'::regclass"
)


def waits(store: Store) -> bool:
    return str(scalar(store, _PHASE)).startswith("waiting for")


def blocked(store: Store) -> object:
    return scalar(store, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")


@pytest.mark.parametrize(
    ("stop", "error"), [("pg_cancel_backend", QueryTimeout), ("pg_terminate_backend", ConnectionLost)]
)
def test_a_compaction_that_is_stopped_leaves_nothing_and_can_be_repeated(
    store: Store, shelved: Collection, vectors: Vectors, stop: str, error: type[Exception]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with writer(store):
            compacting = pool.submit(shelved.compact, force=True)
            eventually(lambda: compacting.done() or waits(store))
            assert leftovers(store)
            scalar(store, f"SELECT {stop}(pid) FROM pg_stat_progress_create_index")  # noqa: S608
        with pytest.raises(error):
            compacting.result()
    assert leftovers(store) == []
    assert store.doctor() == ()
    assert shelved.search(vectors[7], limit=1, exact=False)[0].ids.tolist() == [7]
    assert shelved.compact(force=True).partitions[1].rebuilt == ("v_idx",)


def test_other_changes_of_structure_wait_and_are_done(store: Store, shelved: Collection) -> None:
    with ThreadPoolExecutor(2) as pool:
        with writer(store):
            compacting = pool.submit(shelved.compact, force=True)
            eventually(lambda: compacting.done() or waits(store))
            dropping = pool.submit(shelved.drop_partition, "novel")
            eventually(lambda: dropping.done() or blocked(store))
            assert not dropping.done()
        dropping.result()
        # What was dropped before its turn came is left out.
        assert "_default" in [partition.name for partition in compacting.result().partitions]
    assert not shelved.has_partition("novel")
    assert store.doctor() == ()


def test_a_partition_that_was_dropped_before_its_turn_is_left_out(
    store: Store, shelved: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dropping(leaves: list[str], **_: object) -> Iterator[str]:
        for leaf in leaves:
            if leaf == "entities_novel":
                shelved.drop_partition("novel")
            yield leaf

    monkeypatch.setattr("vecstore.operations.compacting.tracked", dropping)
    result = shelved.compact(progress=True)
    assert [partition.name for partition in result.partitions] == ["_default", "by_hand"]


def test_a_collection_that_somebody_is_changing_is_not_waited_for_longer_than_told(
    store: Store, database_url: URL, books: Collection
) -> None:
    with store.transaction() as transaction, vecstore.connect(database_url, ddl_timeout=0.3) as other:
        transaction.collection("books").create_partition("novel")
        with pytest.raises(LockTimeout):
            other.collection("books").compact()


_CLIENT = """
import sys, vecstore
with vecstore.connect(sys.argv[1]) as store:
    store.collection("books").compact(force=True)
"""


@pytest.fixture
def interrupted(store: Store, database_url: URL, shelved: Collection) -> Collection:
    """A collection whose compaction was killed with its client and its backend, at the second partition."""
    url = database_url.render_as_string(hide_password=False)
    with subprocess.Popen([sys.executable, "-c", _CLIENT, url]) as client, writer(store):
        try:
            eventually(lambda: client.poll() is not None or waits(store))
            backend = scalar(store, "SELECT pid FROM pg_stat_progress_create_index")
        finally:
            os.kill(client.pid, signal.SIGKILL)
        client.wait()
        scalar(store, f"SELECT pg_terminate_backend({backend})")
        eventually(lambda: not scalar(store, f"SELECT count(*) FROM pg_stat_activity WHERE pid = {backend}"))  # noqa: S608
    return shelved


def test_what_a_killed_compaction_left_is_found_harmless_and_cleared_away(
    store: Store, interrupted: Collection, vectors: Vectors
) -> None:
    [left] = leftovers(store)
    assert [(found.kind, found.name) for found in store.doctor()] == [(FindingKind.INVALID_INDEX, left)]
    interrupted.insert({"id": [ROWS], "v": vectors[:1]}, partition_name="novel")
    assert interrupted.search(vectors[7], limit=1, exact=False)[0].ids.tolist() == [7]
    assert [found.name for found in store.repair()] == [left]
    assert leftovers(store) == []
    assert store.doctor() == ()


def test_the_next_compaction_clears_away_what_a_killed_one_left(store: Store, interrupted: Collection) -> None:
    interrupted.compact()
    assert leftovers(store) == []
    assert store.doctor() == ()


def test_an_index_that_somebody_made_on_the_leaf_by_hand_is_built_anew_too(store: Store, packages: Collection) -> None:
    run(store, f"CREATE INDEX by_hand ON books.{LEAF} USING hnsw (v vector_l2_ops) WHERE id < 1000")
    assert packages.compact().partitions[0].rebuilt == ()
    delete(packages, 0.5)
    [partition] = packages.compact().partitions
    assert partition.rebuilt == ("by_hand",)
