"""Indexes that take longer to build than clients wait: answered at once, looked after, dropped in between."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import grpc
import pytest
from pymilvus import AsyncMilvusClient, DataType, MilvusClient, MilvusException, connections, utility
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc
from sqlalchemy import URL, text

from vecstore import Store
from vecstore.gateway import Gateway, indexes, serve, undertakings
from vecstore.gateway.call import Call
from waiting import SECONDS, eventually, reader

InProgress, Finished, Failed = (getattr(common_pb2.IndexState, it) for it in ("InProgress", "Finished", "Failed"))


@pytest.fixture
def books(milvus: MilvusClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Fifty of them, which take long to index, and nobody waits."""
    schema = milvus.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("year", DataType.INT32)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=4)
    milvus.create_collection("books", schema=schema)
    milvus.insert("books", [{"id": key, "year": 1900, "embedding": [1.0, 2.0, 3.0, key]} for key in range(1, 51)])
    monkeypatch.setattr(indexes, "_ONLINE_FROM", 1)
    monkeypatch.setattr(undertakings, "_PATIENCE", 0.0)
    yield "books"
    milvus.drop_collection("books")


def index(field: str, **asked: Any) -> Any:
    return MilvusClient.prepare_index_params(field, **asked)


NEAREST = index("embedding", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})


def scalar(store: Store, query: str) -> Any:
    with store.engine.connect() as connection:
        return connection.execute(text(query)).scalar_one()


HELD_UP = """
    SELECT count(*) FROM pg_stat_progress_create_index
    WHERE datname = current_database() AND phase = 'waiting for old snapshots'
"""
BUILDING = "SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = current_database()"
INDEXES = "SELECT count(*) FROM pg_index WHERE indrelid = 'books.entities'::regclass AND NOT indisprimary"
CUT_OFF = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_progress_create_index WHERE datname = current_database()"
)


def state(milvus: MilvusClient, name: str = "embedding") -> str:
    return str(milvus.describe_index("books", name)["state"])


@pytest.mark.filterwarnings("ignore::pymilvus.decorators.PyMilvusDeprecationWarning")
def test_a_build_goes_on_after_its_answer_and_tells_how_far_it_is(
    gateway: Gateway, milvus: MilvusClient, books: str, store: Store
) -> None:
    with grpc.insecure_channel(gateway.address) as channel, reader(store.engine):
        stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        milvus.create_index(books, NEAREST, sync=False)
        eventually(lambda: scalar(store, HELD_UP))
        shown = milvus.describe_index(books, "embedding")
        assert (shown["state"], shown["total_rows"], shown["indexed_rows"]) == ("InProgress", 50, 50)
        assert shown["pending_index_rows"] == 0
        asked = milvus_pb2.GetIndexStateRequest(collection_name=books, index_name="embedding")
        assert stub.GetIndexState(asked).state == InProgress
        progress = stub.GetIndexBuildProgress(milvus_pb2.GetIndexBuildProgressRequest(collection_name=books))
        assert (progress.indexed_rows, progress.total_rows) == (50, 50)
        connections.connect("orm", uri=f"http://{gateway.address}")
        assert utility.index_building_progress(books, using="orm")["state"] == "InProgress"
        connections.remove_connection("orm")
    eventually(lambda: state(milvus) == "Finished")
    assert scalar(store, INDEXES) == 1
    eventually(lambda: not [it for it in store.collection(books).describe().schema.properties if "wanted" in it])


def test_a_collection_is_loaded_searched_and_filled_while_its_index_is_built(
    milvus: MilvusClient, books: str, store: Store
) -> None:
    with reader(store.engine):
        milvus.create_index(books, NEAREST, sync=False)
        eventually(lambda: scalar(store, HELD_UP))
        milvus.load_collection(books)
        milvus.insert(books, [{"id": 51, "year": 1901, "embedding": [1.0, 2.0, 3.0, 51.0]}])
        found = milvus.search(books, [[1, 2, 3, 53]], limit=2, search_params={"metric_type": "L2"})[0]
        assert [(hit["id"], hit["distance"]) for hit in found] == [(51, 4.0), (50, 9.0)]
        milvus.release_collection(books)
        assert state(milvus) == "InProgress"
    eventually(lambda: state(milvus) == "Finished")


def test_the_same_index_again_is_no_error_while_it_is_built(milvus: MilvusClient, books: str, store: Store) -> None:
    with reader(store.engine):
        milvus.create_index(books, NEAREST, sync=False)
        milvus.create_index(books, NEAREST, sync=False)
        other = index("embedding", index_type="HNSW", metric_type="L2", params={"M": 16, "efConstruction": 64})
        with pytest.raises(MilvusException, match="at most one distinct index is allowed per field"):
            milvus.create_index(books, other, sync=False)
        with pytest.raises(MilvusException, match="embedding is not built"):
            milvus.alter_index_properties(books, "embedding", {"mmap.enabled": True})
        eventually(lambda: scalar(store, HELD_UP))
    eventually(lambda: state(milvus) == "Finished")
    assert scalar(store, INDEXES) == 1


def by_client(gateway: Gateway) -> None:
    client = MilvusClient(f"http://{gateway.address}")
    client.create_index("books", NEAREST)
    client.close()


def by_asynchronous_client(gateway: Gateway) -> None:
    async def work() -> None:
        client = AsyncMilvusClient(f"http://{gateway.address}")
        try:
            await client.create_index("books", NEAREST)
        finally:
            await client.close()

    asyncio.run(work())


@pytest.mark.parametrize("create", [by_client, by_asynchronous_client])
def test_clients_wait_until_it_is_built(
    gateway: Gateway, milvus: MilvusClient, books: str, store: Store, create: Callable[[Gateway], None]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with reader(store.engine):
            creating = pool.submit(create, gateway)
            eventually(lambda: creating.done() or scalar(store, HELD_UP))
            assert not creating.done()
        creating.result()
    assert (state(milvus), scalar(store, INDEXES)) == ("Finished", 1)


@pytest.mark.parametrize("create", [by_client, by_asynchronous_client])
def test_a_build_that_fails_after_its_answer_says_why_and_can_be_begun_again(
    gateway: Gateway, milvus: MilvusClient, books: str, store: Store, create: Callable[[Gateway], None]
) -> None:
    with ThreadPoolExecutor(1) as pool, reader(store.engine):
        creating = pool.submit(create, gateway)
        eventually(lambda: creating.done() or scalar(store, HELD_UP))
        scalar(store, CUT_OFF)
        with pytest.raises(MilvusException, match="create index on 'embedding' of 'books' online: "):
            creating.result()
    assert state(milvus) == "Failed"
    milvus.create_index(books, NEAREST)
    assert (state(milvus), scalar(store, INDEXES)) == ("Finished", 1)


def test_what_has_failed_can_be_dropped(milvus: MilvusClient, books: str, store: Store) -> None:
    with reader(store.engine):
        milvus.create_index(books, NEAREST, sync=False)
        eventually(lambda: scalar(store, HELD_UP))
        scalar(store, CUT_OFF)
        eventually(lambda: state(milvus) == "Failed")
    other = index("embedding", index_type="HNSW", metric_type="COSINE")
    with pytest.raises(MilvusException, match="at most one distinct index is allowed per field"):
        milvus.create_index(books, other)
    milvus.drop_index(books, "embedding")
    assert milvus.list_indexes(books) == []
    milvus.create_index(books, other)
    assert milvus.describe_index(books, "embedding")["metric_type"] == "COSINE"


def test_what_fails_before_the_answer_is_the_answer_and_leaves_nothing(
    milvus: MilvusClient, books: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undertakings, "_PATIENCE", SECONDS)
    milvus.insert(books, [{"id": 51, "year": 1901, "embedding": [0.0, 0.0, 0.0, 0.0]}])
    with pytest.raises(MilvusException, match="vectors of length zero"):
        milvus.create_index(books, index("embedding", index_type="HNSW", metric_type="COSINE"))
    assert milvus.list_indexes(books) == []
    assert scalar(store, INDEXES) == 0


def test_an_index_is_dropped_while_it_is_built(milvus: MilvusClient, books: str, store: Store) -> None:
    with reader(store.engine):
        milvus.create_index(books, NEAREST, sync=False)
        eventually(lambda: scalar(store, HELD_UP))
        milvus.drop_index(books, "embedding")
        assert (milvus.list_indexes(books), scalar(store, INDEXES), scalar(store, BUILDING)) == ([], 0, 0)
    milvus.create_index(books, NEAREST)
    assert state(milvus) == "Finished"


def test_a_collection_is_dropped_while_its_index_is_built(milvus: MilvusClient, books: str, store: Store) -> None:
    with reader(store.engine):
        milvus.create_index(books, NEAREST, sync=False)
        eventually(lambda: scalar(store, HELD_UP))
        milvus.drop_collection(books)
        assert (milvus.has_collection(books), scalar(store, BUILDING)) == (False, 0)


def test_one_index_waits_for_another(milvus: MilvusClient, books: str, store: Store) -> None:
    with reader(store.engine):
        milvus.create_index(books, NEAREST, sync=False)
        eventually(lambda: scalar(store, HELD_UP))
        milvus.create_index(books, index("year", index_name="dropped"), sync=False)
        milvus.drop_index(books, "dropped")
        milvus.create_index(books, index("year", index_name="kept"), sync=False)
        assert milvus.list_indexes(books) == ["embedding", "kept"]
        assert {state(milvus), state(milvus, "kept")} == {"InProgress"}
    eventually(lambda: {state(milvus), state(milvus, "kept")} == {"Finished"})
    eventually(lambda: [it.name for it in store.collection(books).indexes] == ["embedding", "kept"])


def test_two_who_ask_at_once_get_one_index(
    milvus: MilvusClient, books: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, looks, both = indexes.standings, itertools.count(), Barrier(2)

    def together(call: Call, name: str) -> Any:
        seen = look(call, name)
        if call.rpc == "CreateIndex" and next(looks) < 2:
            both.wait(SECONDS)  # neither sees the other's
        return seen

    monkeypatch.setattr(indexes, "standings", together)
    with ThreadPoolExecutor(2) as pool:
        for creating in [pool.submit(milvus.create_index, books, NEAREST) for _ in range(2)]:
            creating.result()
    assert (state(milvus), scalar(store, INDEXES)) == ("Finished", 1)


def test_another_process_knows_of_a_build(milvus: MilvusClient, books: str, store: Store, module_url: URL) -> None:
    with serve(module_url, port=0) as gateway:
        other = MilvusClient(f"http://{gateway.address}")
        with reader(store.engine):
            milvus.create_index(books, NEAREST, sync=False)
            eventually(lambda: scalar(store, HELD_UP))
            milvus.create_index(books, index("year"), sync=False)
            assert {state(other), state(other, "year")} == {"InProgress"}
            other.drop_index(books, "embedding")
        eventually(lambda: state(other, "year") == "Finished")
        assert milvus.list_indexes(books) == ["year"]
        other.close()


def test_an_index_that_is_wanted_again_is_there_whoever_builds_it(
    milvus: MilvusClient, books: str, store: Store, module_url: URL
) -> None:
    with serve(module_url, port=0) as gateway:
        other = MilvusClient(f"http://{gateway.address}")
        with reader(store.engine):
            milvus.create_index(books, NEAREST, sync=False)
            eventually(lambda: scalar(store, HELD_UP))
            other.create_index(books, index("year"), sync=False)
            milvus.drop_index(books, "year")
            milvus.create_index(books, index("year"), sync=False)
        other.close()
    # The gateway has stopped when all that it undertook was done.
    eventually(lambda: state(milvus, "year") == "Finished")
    eventually(lambda: not [it for it in store.collection(books).describe().schema.properties if "wanted" in it])
    assert (state(milvus, "year"), scalar(store, INDEXES)) == ("Finished", 2)


def test_an_index_that_nobody_builds_any_more_is_told_to_have_failed(
    gateway: Gateway, milvus: MilvusClient, books: str, store: Store
) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("CREATE INDEX left_over ON ONLY books.entities USING hnsw (embedding vector_l2_ops)"))
    with grpc.insecure_channel(gateway.address) as channel:
        stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        told = stub.GetIndexState(milvus_pb2.GetIndexStateRequest(collection_name=books, index_name="left_over"))
    assert (told.state, told.fail_reason) == (
        Failed,
        "its build was interrupted: create the index again, or drop it",
    )
    asked = {"index_type": "HNSW", "metric_type": "L2", "params": {"M": 16, "efConstruction": 64}}
    milvus.create_index(books, index("embedding", index_name="left_over", **asked))
    assert (state(milvus, "left_over"), scalar(store, INDEXES)) == ("Finished", 1)
