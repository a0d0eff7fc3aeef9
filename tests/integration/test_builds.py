"""How indexes are built: the memory they are given, the progress that is shown, and loads that build them after."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from sqlalchemy import URL, event, text

import vecstore
from samples import book
from vecstore import (
    Btree,
    Collection,
    DataType,
    DuplicateKey,
    Field,
    Hnsw,
    IndexBuild,
    IndexQualityWarning,
    InvalidData,
    IvfFlat,
    Metric,
    MissingExtra,
    SlowLoadWarning,
    Store,
)
from vecstore.operations.building import build_under_way
from waiting import eventually

Fill = Callable[..., None]

NEEDED = "SET {}maintenance_work_mem = '65536kB'"
BEFORE = "SET {}maintenance_work_mem = '128MB'"


@pytest.fixture
def store(database_url: URL) -> Iterator[Store]:
    """Its sessions may use more memory for a build than any collection of these tests needs."""
    url = database_url.update_query_dict({"options": "-c maintenance_work_mem=128MB"})
    with vecstore.connect(url) as store:
        yield store


@pytest.fixture
def shelved(books: Collection, fill: Fill) -> Collection:
    books.create_partition("novel")
    fill(books, range(30))
    fill(books, range(30, 60), "novel")
    return books


@contextmanager
def builds(store: Store) -> Iterator[list[str]]:
    """The statements that build indexes, and those that give them memory, as the server gets them."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SET") and "maintenance_work_mem" in statement:
            statements.append(statement)
        elif statement.startswith(("CREATE INDEX", "REINDEX")) and " ON ONLY " not in statement:
            statements.append("build")

    event.listen(store.engine, "before_cursor_execute", note)
    yield statements
    event.remove(store.engine, "before_cursor_execute", note)


def memory(store: Store) -> object:
    with store.engine.connect() as connection:
        return connection.exec_driver_sql("SELECT current_setting('maintenance_work_mem')").scalar_one()


def test_a_graph_is_built_with_the_memory_that_it_needs(store: Store, shelved: Collection) -> None:
    with builds(store) as statements:
        shelved.create_index("embedding", Hnsw())
    assert statements == [NEEDED.format("LOCAL "), "build", BEFORE.format("LOCAL ")]


def test_online_the_session_has_its_memory_back_afterwards(store: Store, shelved: Collection) -> None:
    with builds(store) as statements:
        shelved.create_index("embedding", Hnsw(), online=True)
    assert statements == [NEEDED.format(""), "build", "build", BEFORE.format("")]
    assert memory(store) == "128MB"


def test_a_compaction_builds_with_the_memory_that_is_needed(store: Store, shelved: Collection) -> None:
    shelved.create_index("embedding", Hnsw())
    with builds(store) as statements:
        shelved.compact(partition_names=["novel"], force=True)
    assert statements == [NEEDED.format(""), "build", BEFORE.format("")]


def test_a_build_that_fails_online_leaves_no_session_with_its_memory(store: Store, books: Collection) -> None:
    books.insert([book(1)])
    with ThreadPoolExecutor(1) as pool, store.engine.connect() as writer:
        writer.exec_driver_sql("UPDATE books.entities__default SET title = 'written'")
        building = pool.submit(books.create_index, "embedding", Hnsw(), online=True)
        cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index WHERE phase ~ '^waiting'"

        def cancelled() -> bool:
            with store.engine.connect() as other:
                return other.exec_driver_sql(cancel).first() is not None

        eventually(lambda: building.done() or cancelled())
        writer.rollback()
        with pytest.raises(vecstore.QueryTimeout):
            building.result()
    with store.engine.connect() as one, store.engine.connect() as two, store.engine.connect() as three:
        setting = text("SELECT current_setting('maintenance_work_mem')")
        assert {session.execute(setting).scalar_one() for session in (one, two, three)} == {"128MB"}


def test_a_transaction_of_the_callers_keeps_its_memory(store: Store, shelved: Collection) -> None:
    with store.engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL maintenance_work_mem = '96MB'")
        bound = store.bind(connection).collection("books")
        bound.create_index("embedding", Hnsw(), progress=True)
        assert connection.exec_driver_sql("SHOW maintenance_work_mem").scalar_one() == "96MB"
        connection.commit()
    assert [index.name for index in shelved.indexes] == ["embedding_idx"]


def test_a_smaller_setting_of_the_server_stands(database_url: URL) -> None:
    url = database_url.update_query_dict({"options": "-c maintenance_work_mem=16MB"})
    with vecstore.connect(url) as store:
        books = store.create_collection("books", [Field("id", DataType.INT64, primary_key=True), VECTOR])
        with builds(store) as statements:
            books.create_index("v", Hnsw())
            books.create_index("id", Btree(), name="by_id")
    assert statements == ["build", "build"]


def test_what_is_done_of_a_build_can_be_read_while_it_is_under_way(store: Store, shelved: Collection) -> None:
    description = shelved.describe()
    looks = []

    def look() -> IndexBuild | None:
        with store.engine.connect() as connection:  # a transaction sees one state of the statistics
            return build_under_way(connection, description)

    assert look() is None
    with ThreadPoolExecutor(1) as pool, store.engine.connect() as writer:
        writer.exec_driver_sql("UPDATE books.entities__default SET title = 'written'")
        building = pool.submit(shelved.create_index, "embedding", Hnsw(), online=True, progress=True)

        def waiting() -> bool:
            build = look()
            looks.append(build)
            return build is not None and build.phase.startswith("waiting for writers")

        eventually(waiting)
        writer.rollback()
        assert looks[-1] is not None
        assert 0 <= looks[-1].done <= 1
        assert building.result().state == "ready"


@pytest.mark.parametrize("online", [False, True])
def test_a_bar_is_drawn_on_stderr(shelved: Collection, capfd: pytest.CaptureFixture[str], *, online: bool) -> None:
    shelved.create_index("embedding", Hnsw(), online=online, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "books.embedding_idx" in err
    assert "100%" in err


def test_a_bar_without_rich_says_what_to_install(shelved: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rich.progress", None)
    with pytest.raises(MissingExtra, match=r"vecstore\[progress\]"):
        shelved.create_index("embedding", Hnsw(), progress=True)
    assert shelved.indexes == []


def test_a_bar_without_a_connection_to_read_on_stops_no_build(database_url: URL, shelved: Collection) -> None:
    with vecstore.connect(database_url, max_connections=1) as store:
        index = store.collection(shelved.name).create_index("embedding", Hnsw(), progress=True)
        assert index.state == "ready"


VECTOR = Field("v", DataType.FLOAT_VECTOR, dim=2)
MANY = 10_000


def rows(count: int) -> dict[str, Any]:
    angles = np.linspace(0, 6, count, dtype=np.float32)
    return {"id": np.arange(count), "v": np.stack([np.cos(angles), np.sin(angles)], axis=1)}


@pytest.fixture
def points(store: Store) -> Collection:
    return store.create_collection("points", [Field("id", DataType.INT64, primary_key=True), VECTOR])


def test_many_rows_into_an_empty_indexed_collection_warn_of_it(points: Collection) -> None:
    with pytest.warns(IndexQualityWarning):
        points.create_index("v", IvfFlat(lists=1, metric=Metric.L2))
    said = r"10,000 rows into 'points'.*'v_idx' keeps .*rebuild_indexes=True"
    with pytest.warns(SlowLoadWarning, match=said) as seen:
        points.insert(rows(MANY))
    assert [warning.filename for warning in seen] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        points.insert({**rows(MANY), "id": np.arange(MANY, 2 * MANY)})


def test_a_graph_that_is_slow_to_fill_is_named(store: Store, points: Collection) -> None:
    points.create_index("v", Hnsw(m=2, ef_construction=4))
    with pytest.warns(SlowLoadWarning, match="'v_idx' takes them in one by one"), store.transaction() as transaction:
        transaction.collection("points").partition("_default").insert(rows(MANY))
    assert points.num_entities == MANY


def test_indexes_are_built_after_a_load_as_they_were(store: Store, points: Collection) -> None:
    points.create_index("v", Hnsw(metric=Metric.L2, m=8, ef_construction=32), name="near", properties={"a": "b"})
    points.create_index("v", Hnsw(metric=Metric.COSINE), online=True)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("COMMENT ON INDEX points.v_idx IS 'by an analyst'")
        connection.exec_driver_sql("CREATE INDEX half ON points.entities USING hnsw ((v::halfvec(2)) halfvec_ip_ops)")
    before = points.describe()
    with builds(store) as statements:
        assert points.insert(rows(500), rebuild_indexes=True).count == 500
    after = points.describe()
    assert {(it.name, it.field, it.spec, it.state, it.half_precision) for it in after.indexes} == {
        (it.name, it.field, it.spec, it.state, it.half_precision) for it in before.indexes
    }
    assert statements.count("build") == 2
    assert after.index("near").properties == {"a": "b"}
    with store.engine.connect() as connection:
        comment = "SELECT obj_description('points.v_idx'::regclass, 'pg_class')"
        assert connection.exec_driver_sql(comment).scalar_one() == "by an analyst"
    # Opposite the gap in the circle: beside it a graph may lead to the wrong end.
    found = points.search([-1, 0], limit=1, metric="L2", exact=False)[0]
    assert (found.path, found.ids.tolist()) == ("index", [261])


def test_clusters_are_found_in_what_was_loaded(points: Collection, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(IndexQualityWarning):
        points.create_index("v", IvfFlat(lists=20, metric=Metric.L2))
    points.insert(rows(MANY), rebuild_indexes=True, progress=True)
    assert "points.v_idx" in capfd.readouterr().err
    ids = points.search([1, 0], limit=10, exact=False)[0].ids
    assert sorted(ids.tolist()) == list(range(10))


def test_a_load_that_fails_leaves_indexes_and_rows_as_they_were(points: Collection) -> None:
    points.insert(rows(5))
    points.create_index("v", Hnsw())
    before = points.describe()
    with pytest.raises(DuplicateKey, match="id 0, 1, 2"):
        points.insert(rows(3), rebuild_indexes=True)
    with pytest.raises(InvalidData, match="row 0"):
        points.insert([{"id": 9, "v": [0, 0]}], rebuild_indexes=True)
    assert points.insert([], rebuild_indexes=True).count == 0
    assert (points.describe(), points.num_entities) == (before, 5)


def test_a_load_in_a_transaction_is_rolled_back_with_it(store: Store, points: Collection) -> None:
    points.create_index("v", Hnsw())
    before = points.describe()
    with store.engine.connect() as connection:
        bound = store.bind(connection).collection("points")
        bound.insert(rows(50), rebuild_indexes=True)
        assert bound.num_entities == 50
        connection.rollback()
    assert (points.describe(), points.num_entities) == (before, 0)
