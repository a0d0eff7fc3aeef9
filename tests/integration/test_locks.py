from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

import pytest
from sqlalchemy import URL, event
from sqlalchemy.engine import ExceptionContext

import vecstore
from conftest import BOOK_FIELDS
from vecstore import Collection, CollectionNotFound, Hnsw, LockTimeout, PartitionNotFound, Store
from vecstore.errors import sqlstate_of

Fill = Callable[..., None]

ANALYST_SECONDS = 2.0
NO_SEARCH_WAITS_SECONDS = 1.0
QUERY = [1.0, 2.0, 3.0, 4.0]


def eventually(condition: Callable[[], object], *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@contextmanager
def analyst(store: Store, statement: str = "SELECT id FROM books.entities") -> Iterator[None]:
    """Somebody's transaction, open: what its statement locked stays locked until the block ends."""
    with store.engine.connect() as connection:
        connection.exec_driver_sql(statement)
        yield


@contextmanager
def searching(collection: Collection, *, searchers: int = 2) -> Iterator[list[float]]:
    """Search without pause in the background; the seconds that each search took. Their errors are raised at the end."""
    took: list[float] = []
    enough = threading.Event()

    def search() -> None:
        while not enough.is_set():
            began = time.monotonic()
            try:
                collection.search(QUERY)
            except CollectionNotFound:
                return
            took.append(time.monotonic() - began)

    with ThreadPoolExecutor(searchers) as pool:
        threads = [pool.submit(search) for _ in range(searchers)]
        try:
            eventually(lambda: len(took) > 10)
            yield took
        finally:
            enough.set()
        for thread in threads:
            thread.result()


@contextmanager
def refusals(store: Store) -> Iterator[list[str | None]]:
    """The SQLSTATEs of all errors that the server answers with, those that are tried again included."""
    seen: list[str | None] = []

    def note(context: ExceptionContext) -> None:
        seen.append(sqlstate_of(context.original_exception))

    event.listen(store.engine, "handle_error", note)
    try:
        yield seen
    finally:
        event.remove(store.engine, "handle_error", note)


def relations(store: Store) -> set[str]:
    with store.engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT relname FROM pg_class WHERE relnamespace = 'books'::regnamespace"
        ).scalars()
        return set(found)


def locks_of_others(store: Store) -> set[tuple[str, str, bool]]:
    """The locks on collections, and by name, that sessions of this database hold or wait for."""
    with store.engine.connect() as connection:
        found = connection.exec_driver_sql("""
            SELECT coalesce(c.relname, l.locktype), l.mode, l.granted
            FROM pg_locks l LEFT JOIN pg_class c ON c.oid = l.relation
            WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND l.pid <> pg_backend_pid() AND (l.locktype <> 'relation' OR c.oid >= 16384)
        """)
        return {(row[0], row[1], row[2]) for row in found}


DROPS: dict[str, Callable[[Collection], object]] = {
    "partition": lambda books: books.drop_partition("novel"),
    "index": lambda books: books.drop_index(),
    "collection": lambda books: books.drop(),
    "rows of a partition": lambda books: books.truncate("novel"),
}


@pytest.fixture
def shelved(books: Collection, fill: Fill) -> Collection:
    """Books in two partitions, with an index."""
    books.create_partition("novel")
    fill(books, range(50))
    fill(books, range(50, 80), "novel")
    books.create_index("embedding", Hnsw())
    return books


@pytest.mark.parametrize("what", DROPS)
def test_a_drop_that_waits_for_an_open_transaction_keeps_no_search_waiting(
    store: Store, shelved: Collection, what: str
) -> None:
    with refusals(store) as refused, searching(shelved) as took, ThreadPoolExecutor(1) as pool:
        with analyst(store):
            dropping = pool.submit(DROPS[what], shelved)
            # The figure is the point: a search that queues behind the drop waits for as long as this.
            time.sleep(ANALYST_SECONDS)
            assert not dropping.done()
        dropping.result()

    assert max(took) < NO_SEARCH_WAITS_SECONDS
    assert len(refused) > 1
    assert set(refused) == {"55P03"}
    gone = {
        "partition": lambda: not shelved.has_partition("novel"),
        "index": lambda: shelved.indexes == [],
        "collection": lambda: not store.has_collection("books"),
        "rows of a partition": lambda: shelved.count() == 50,
    }
    assert gone[what]()


def test_a_partition_is_added_while_others_read_and_write(store: Store, shelved: Collection, fill: Fill) -> None:
    inserting = "UPDATE books.entities SET title = title WHERE id = 1"
    with refusals(store) as refused, searching(shelved) as took, analyst(store), analyst(store, inserting):
        shelved.create_partition("poem")
        fill(shelved, range(100, 110), "poem")

    assert max(took) < NO_SEARCH_WAITS_SECONDS
    assert refused == []
    assert shelved.count() == 90


@pytest.mark.parametrize("what", DROPS)
def test_a_drop_whose_deadline_is_shorter_than_the_wait_raises_and_changes_nothing(
    store: Store, database_url: URL, shelved: Collection, what: str
) -> None:
    before = relations(store)
    with vecstore.connect(database_url, ddl_timeout=0.4) as impatient:
        with analyst(store):
            analysts_own = locks_of_others(store)
            with pytest.raises(LockTimeout, match="nothing was changed") as caught:
                DROPS[what](impatient.collection("books"))
            assert caught.value.sqlstate == "55P03"
            assert isinstance(caught.value, TimeoutError)
            assert relations(store) == before
            assert shelved.count() == 80
            assert locks_of_others(store) == analysts_own
        DROPS[what](impatient.collection("books"))


def test_a_drop_in_a_transaction_gives_up_after_a_moment_and_leaves_the_rest_usable(
    store: Store, shelved: Collection, fill: Fill
) -> None:
    with searching(shelved) as took, analyst(store), store.transaction() as transaction:
        ours = transaction.collection("books")
        fill(ours, range(200, 210))
        for drop in DROPS.values():
            with pytest.raises(LockTimeout):
                drop(ours)
        fill(ours, range(210, 220))
    assert max(took) < NO_SEARCH_WAITS_SECONDS
    assert shelved.count() == 100


def test_a_transaction_that_holds_one_collection_does_not_wait_long_for_another(
    store: Store, database_url: URL, shelved: Collection
) -> None:
    """Searches of the first wait for as long as it does."""
    films = store.create_collection("films", BOOK_FIELDS)
    with vecstore.connect(database_url, ddl_timeout=ANALYST_SECONDS) as other, store.transaction() as first:
        first.collection("books").create_partition("poem")
        with searching(films) as took, other.transaction() as second:
            held, wanted = second.collection("films"), second.collection("books")
            held.truncate()
            with pytest.raises(LockTimeout):
                wanted.drop_index()
    assert max(took) < NO_SEARCH_WAITS_SECONDS


@pytest.mark.parametrize("lock", ["TRUNCATE books.entities_novel", "DROP INDEX books.spare"])
def test_what_is_locked_in_one_partition_keeps_nobody_from_the_others(
    store: Store, shelved: Collection, fill: Fill, lock: str
) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql("CREATE INDEX spare ON books.entities_novel (year)")
    with ThreadPoolExecutor(1) as pool, analyst(store, lock):
        calls: list[Callable[[], object]] = [
            lambda: shelved.search(QUERY, partition_names=["_default"]),
            lambda: shelved.count(partition_names=["_default"]),
            lambda: shelved.get([1], partition_names=["_default"]),
            lambda: fill(shelved, range(300, 310)),
            lambda: store.collection("books"),
            lambda: shelved.create_partition("poem"),
        ]
        for call in calls:
            running = pool.submit(call)
            wait([running], timeout=NO_SEARCH_WAITS_SECONDS)
            assert running.done()


def both(*calls: Callable[[], object]) -> list[BaseException | None]:
    """Run at the same moment in a thread each; the errors, in order."""
    together = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> None:
        together.wait()
        call()

    with ThreadPoolExecutor(len(calls)) as pool:
        running: list[Future[None]] = [pool.submit(run, call) for call in calls]
    return [future.exception() for future in running]


def in_one_transaction(store: Store, *steps: Callable[[Store], object]) -> Callable[[], None]:
    def run() -> None:
        with store.transaction() as transaction:
            for step in steps:
                step(transaction)

    return run


def test_partitions_dropped_in_opposite_order_do_not_deadlock(store: Store, books: Collection) -> None:
    def drop_all(*names: str) -> None:
        with store.transaction() as transaction:
            for name in names:
                transaction.collection("books").drop_partition(name)

    with refusals(store) as refused, searching(books):
        for _ in range(5):
            books.create_partition("novel")
            books.create_partition("poem")
            errors = both(lambda: drop_all("novel", "poem"), lambda: drop_all("poem", "novel"))
            # Whichever came second found nothing.
            assert sum(isinstance(error, PartitionNotFound) for error in errors) == 1
            assert errors.count(None) == 1
            assert [partition.name for partition in books.partitions] == ["_default"]
    assert refused == []


def test_collections_dropped_in_opposite_order_end_with_one_lock_timeout_at_most(store: Store) -> None:
    """In transactions of their own making callers choose the order; nobody may hang, and one must win."""
    for name in ("books", "films"):
        store.create_collection(name, BOOK_FIELDS)
    first_has, second_has = threading.Event(), threading.Event()

    def drop(name: str) -> Callable[[Store], None]:
        return lambda store: store.drop_collection(name)

    def meet(mine: threading.Event, other: threading.Event) -> Callable[[Store], object]:
        return lambda _: (mine.set(), other.wait(10))

    errors = both(
        in_one_transaction(store, drop("books"), meet(first_has, second_has), drop("films")),
        in_one_transaction(store, drop("films"), meet(second_has, first_has), drop("books")),
    )
    failed = [error for error in errors if error is not None]
    assert all(isinstance(error, LockTimeout) for error in failed)
    assert len(failed) == 1 or store.list_collections() == ["books", "films"]
