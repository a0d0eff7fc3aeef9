from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import (
    AliasExists,
    AlreadyExists,
    Btree,
    Collection,
    CollectionExists,
    CollectionNotFound,
    DataType,
    DuplicateKey,
    Field,
    Hnsw,
    IndexExists,
    LockTimeout,
    PartitionExists,
    PartitionNotFound,
    Store,
)
from waiting import eventually

Fill = Callable[..., None]

QUERY = [1.0, 2.0, 3.0, 4.0]


def outcomes(*calls: Callable[[], Any]) -> list[Any]:
    """Run at the same moment, in a thread each; what each returned, or the error that it raised, in order."""
    together = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        together.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        running: list[Future[Any]] = [pool.submit(run, call) for call in calls]
    return [future.exception() or future.result() for future in running]


def waiting_for_locks(store: Store) -> int:
    with store.engine.connect() as connection:
        waiting = connection.exec_driver_sql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(waiting.scalar_one())


CREATIONS: dict[str, tuple[Callable[[Store, int], object], type[AlreadyExists]]] = {
    "collection": (lambda store, n: store.create_collection(f"films_{n}", BOOK_FIELDS), CollectionExists),
    "partition": (lambda store, n: store.collection("books").create_partition(f"novel_{n}"), PartitionExists),
    "alias": (lambda store, n: store.create_alias("books", f"prod_{n}"), AliasExists),
    "index": (lambda store, n: store.collection("books").create_index("year", Btree(), name=f"by_{n}"), IndexExists),
    "online index": (
        lambda store, n: store.collection("books").create_index("year", Btree(), name=f"by_{n}", online=True),
        IndexExists,
    ),
}


@pytest.mark.parametrize("what", CREATIONS)
def test_of_four_that_create_the_same_at_once_one_does_and_three_are_told(
    store: Store, books: Collection, what: str
) -> None:
    create, told = CREATIONS[what]
    for number in range(3):
        results = outcomes(*[lambda number=number: create(store, number)] * 4)
        assert sum(isinstance(result, told) for result in results) == 3, results
        assert sum(isinstance(result, BaseException) for result in results) == 3
        if "index" in what:
            assert books.index(f"by_{number}").state == "ready"
            books.drop_index()
    assert len(store.list_collections()) == (4 if what == "collection" else 1)
    assert all(store.collection(name).describe().schema.fields == BOOK_FIELDS for name in store.list_collections())
    assert len(books.partitions) == (4 if what == "partition" else 1)
    assert store.doctor() == ()


def test_of_four_that_drop_the_same_at_once_one_does(store: Store) -> None:
    for _ in range(3):
        books = store.create_collection("books", BOOK_FIELDS)
        books.create_partition("novel")
        results = outcomes(*[lambda books=books: books.drop_partition("novel")] * 4)
        assert sorted(type(result).__name__ for result in results) == ["NoneType"] + ["PartitionNotFound"] * 3
        results = outcomes(*[books.drop] * 4)
        assert sorted(type(result).__name__ for result in results) == ["CollectionNotFound"] * 3 + ["NoneType"]


READS_AND_WRITES: dict[str, Callable[[Collection, str | None], object]] = {
    "insert": lambda books, where: books.insert([book(7)], partition_name=where),
    "upsert": lambda books, where: books.upsert([book(7)], partition_name=where),
    "delete": lambda books, where: books.delete(ids=[1], partition_names=where and [where]),
    "get": lambda books, where: books.get([1], partition_names=where and [where]),
    "count": lambda books, where: books.count(partition_names=where and [where]),
    "search": lambda books, where: books.search(QUERY, partition_names=where and [where]),
    "stats": lambda books, where: books.stats(),  # noqa: ARG005
    "truncate": lambda books, where: books.truncate(where),
    "create_index": lambda books, where: books.create_index("year", Btree()),  # noqa: ARG005
    "describe": lambda books, where: books.describe(),  # noqa: ARG005
}


def caught_by(store: Store, change: Callable[[Store], object], *calls: Callable[[], Any]) -> list[Any]:
    """What becomes of calls that begin before a change commits, and wait for its locks."""

    def attempt(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as exc:  # noqa: BLE001 - to be looked at
            return exc

    with ThreadPoolExecutor(len(calls)) as pool, store.transaction() as transaction:
        change(transaction)
        running = [pool.submit(attempt, call) for call in calls]
        eventually(lambda: waiting_for_locks(store) + sum(future.done() for future in running) == len(calls))
    return [future.result() for future in running]


@pytest.mark.parametrize("call", READS_AND_WRITES)
def test_a_call_that_waited_behind_the_drop_of_its_collection_says_so(
    store: Store, books: Collection, fill: Fill, call: str
) -> None:
    fill(books, range(5))
    begun = READS_AND_WRITES[call]
    [result] = caught_by(store, lambda inside: inside.drop_collection("books"), lambda: begun(books, None))
    # describe() locks nothing, and may have answered before the drop was committed.
    assert isinstance(result, CollectionNotFound) or (call == "describe" and result.name == "books"), repr(result)


@pytest.mark.parametrize("call", ["insert", "upsert", "truncate"])
def test_a_write_that_waited_behind_the_drop_of_its_partition_says_so(
    store: Store, books: Collection, fill: Fill, call: str
) -> None:
    books.create_partition("novel")
    fill(books, range(5), "novel")
    write = READS_AND_WRITES[call]

    def drop(inside: Store) -> None:
        inside.collection("books").drop_partition("novel")

    [result] = caught_by(store, drop, lambda: write(books, "novel"))
    assert isinstance(result, PartitionNotFound), repr(result)
    assert books.count() == 0


@pytest.mark.parametrize("call", ["insert", "upsert", "delete", "get", "search"])
def test_a_call_that_waited_behind_the_drop_of_a_field_does_without_it(
    store: Store, books: Collection, fill: Fill, call: str
) -> None:
    fill(books, range(5))
    books.add_field(Field("lent", DataType.BOOL, nullable=True))
    begun = READS_AND_WRITES[call]
    with vecstore.connect(store.engine) as other:  # it has not looked at the collection yet
        late = other.collection("books", check=False)
        [result] = caught_by(
            store, lambda inside: inside.collection("books").drop_field("lent"), lambda: begun(late, None)
        )
    assert not isinstance(result, BaseException), repr(result)


@pytest.mark.parametrize("call", ["delete", "get", "count", "search", "stats", "describe"])
def test_a_read_that_waited_behind_the_drop_of_a_partition_finds_nothing_of_it_or_says_so(
    store: Store, books: Collection, fill: Fill, call: str
) -> None:
    books.create_partition("novel")
    fill(books, range(5), "novel")
    read = READS_AND_WRITES[call]

    def drop(inside: Store) -> None:
        inside.collection("books").drop_partition("novel")

    result, restricted = caught_by(store, drop, lambda: read(books, None), lambda: read(books, "novel"))
    empty = {"delete": 0, "get": [], "count": 0, "search": [[]]}
    for answer in (result, restricted):
        if isinstance(answer, PartitionNotFound) and answer is restricted:
            continue
        assert not isinstance(answer, BaseException), repr(answer)
        if call in empty:
            shown = (
                answer.count if call == "delete" else [list(hits) for hits in answer] if call == "search" else answer
            )
            assert shown == empty[call]


@pytest.mark.parametrize("call", ["insert", "upsert", "delete", "get", "count", "search", "stats"])
def test_a_call_that_waited_while_the_collection_was_replaced_works_on_the_new_one(
    store: Store, books: Collection, fill: Fill, call: str
) -> None:
    fill(books, range(5))
    begun = READS_AND_WRITES[call]

    def replace(inside: Store) -> None:
        inside.drop_collection("books")
        fill(inside.create_collection("books", BOOK_FIELDS), range(1, 3))

    [result] = caught_by(store, replace, lambda: begun(books, None))
    assert not isinstance(result, BaseException), repr(result)
    assert books.count() == {"insert": 3, "upsert": 3, "delete": 1}.get(call, 2)


def replaces(store: Store) -> bool:
    """A transaction that holds locks gives up soon where others hold theirs: it is for the caller to try again."""
    try:
        with store.transaction() as transaction:
            transaction.drop_collection("books")
            transaction.create_collection("books", BOOK_FIELDS)
    except LockTimeout:
        return False
    return True


def test_calls_amid_drops_and_creations_raise_typed_errors_only(store: Store, books: Collection, fill: Fill) -> None:
    fill(books, range(20))
    over = threading.Event()
    expected = (CollectionNotFound, CollectionExists, PartitionNotFound, PartitionExists, DuplicateKey, IndexExists)

    def hammer(seed: int) -> tuple[int, list[Exception]]:
        order, done, unexpected = random.Random(seed), 0, []  # noqa: S311
        while not over.is_set():
            call = order.choice([name for name in READS_AND_WRITES if name != "create_index"])
            try:
                READS_AND_WRITES[call](books, order.choice([None, "novel"]))
                done += 1
            except expected:
                pass
            except Exception as exc:  # noqa: BLE001 - to be looked at
                unexpected.append(exc)
        return done, unexpected

    with ThreadPoolExecutor(4) as pool:
        hammering = [pool.submit(hammer, seed) for seed in range(4)]
        try:
            for _ in range(12):
                books.create_partition("novel")
                books.create_index("embedding", Hnsw())
                books.drop_partition("novel")
                books.drop_index()
                eventually(lambda: replaces(store))
                books.drop()
                store.create_collection("books", BOOK_FIELDS)
        finally:
            over.set()
    results = [hammered.result() for hammered in hammering]
    assert [error for _, errors in results for error in errors] == []
    assert all(done > 0 for done, _ in results)
    assert store.doctor() == ()


def test_four_writers_of_overlapping_batches_neither_deadlock_nor_mix(store: Store, books: Collection) -> None:
    """Every batch holds the same keys in an order of its own: all of one batch stands at the end."""
    rounds = 25

    def write(writer: int) -> None:
        order = random.Random(writer)  # noqa: S311
        for number in range(rounds):
            keys = order.sample(range(40), 40)
            books.upsert([book(key, title=f"{writer}", year=number) for key in keys])

    assert outcomes(*[lambda writer=writer: write(writer) for writer in range(4)]) == [None] * 4
    rows = books.get(range(40), output_fields=["title", "year"])
    assert len(rows) == 40
    assert books.count() == 40
    assert len({row["title"] for row in rows}) == 1
    assert {row["year"] for row in rows} == {rounds - 1}


@pytest.fixture
def snapshot(store: Store, books: Collection, fill: Fill):
    """A caller's REPEATABLE READ transaction that has looked at something else already."""
    books.create_partition("novel")
    fill(books, range(5))
    fill(books, range(5, 8), "novel")
    with store.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.exec_driver_sql("SELECT count(*) FROM pg_class")
        yield store.bind(connection)


def test_an_older_snapshot_does_not_see_a_delete(books: Collection, snapshot: Store) -> None:
    books.delete(ids=range(4))
    assert snapshot.collection("books").count() == 8
    assert books.count() == 4


def test_an_older_snapshot_sees_a_partition_dropped_or_emptied(books: Collection, snapshot: Store) -> None:
    """PostgreSQL's DDL is not of the past: a documented limit."""
    books.truncate("_default")
    assert snapshot.collection("books").count() == 3
    assert books.count() == 3


def test_an_older_snapshot_sees_a_dropped_partition_gone(books: Collection, snapshot: Store) -> None:
    books.drop_partition("novel")
    assert snapshot.collection("books").count() == 5
    assert len(snapshot.collection("books").search(QUERY)[0]) == 5


@pytest.mark.parametrize("call", ["count", "search", "get", "insert", "delete"])
def test_an_older_snapshot_is_told_that_the_collection_is_gone(books: Collection, snapshot: Store, call: str) -> None:
    books.drop()
    with pytest.raises(CollectionNotFound):
        READS_AND_WRITES[call](Collection(snapshot._database, "books"), None)


def test_a_snapshot_that_has_looked_at_the_collection_keeps_it_from_being_dropped(
    store: Store, books: Collection, snapshot: Store
) -> None:
    ours = snapshot.collection("books")
    with ThreadPoolExecutor(1) as pool:
        # count() is a savepoint and lets go of its locks; a statement of the caller's own does not.
        snapshot._database.connection.exec_driver_sql("SELECT id FROM books.entities")
        dropping = pool.submit(books.drop)
        eventually(lambda: waiting_for_locks(store))
        assert ours.count() == 8
        snapshot._database.connection.rollback()
        dropping.result()
    assert not store.has_collection("books")
