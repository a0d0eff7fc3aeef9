from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import URL, event
from sqlalchemy.engine import ExceptionContext

import vecstore
from samples import BOOK_FIELDS
from vecstore import Collection, CollectionNotFound, Hnsw, LockTimeout, PartitionNotFound, Store
from vecstore.errors import sqlstate_of
from waiting import SECONDS, eventually

Fill = Callable[..., None]

QUERY = [1.0, 2.0, 3.0, 4.0]


@contextmanager
def analyst(store: Store, statement: str = "SELECT id FROM books.entities") -> Iterator[None]:
    """Somebody's transaction, open: what its statement locked stays locked until the block ends."""
    with store.engine.connect() as connection:
        connection.exec_driver_sql(statement)
        yield


class Searches:
    """Search without pause in the background, until the collection is gone or enough is said."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._enough = threading.Event()
        self._begun: dict[int, float] = {}
        self._longest = 0.0
        self.done: dict[int, int] = {}

    def run(self, number: int) -> None:
        self.done[number] = 0
        while not self._enough.is_set():
            self._begun[number] = time.monotonic()
            try:
                self._collection.search(QUERY)
            except CollectionNotFound:
                return
            self._longest = max(self._longest, time.monotonic() - self._begun[number])
            self.done[number] += 1

    def end(self) -> None:
        self._enough.set()

    def longest(self) -> float:
        """The seconds that the slowest of them took, or has been waiting for by now."""
        return max(self._longest, *(time.monotonic() - begun for begun in self._begun.values()))

    def go_on(self) -> None:
        """Wait until each searcher has begun and ended a search from now on."""
        before = dict(self.done)
        eventually(lambda: all(self.done[number] >= count + 2 for number, count in before.items()))


@contextmanager
def searching(collection: Collection, *, searchers: int = 2) -> Iterator[Searches]:
    """Their errors are raised at the end."""
    searches = Searches(collection)
    with ThreadPoolExecutor(searchers) as pool:
        threads = [pool.submit(searches.run, number) for number in range(searchers)]
        try:
            eventually(lambda: len(searches.done) == searchers)
            searches.go_on()
            yield searches
        finally:
            searches.end()
        for thread in threads:
            thread.result()


@contextmanager
def lock_timeouts(store: Store) -> Iterator[list[int]]:
    """The milliseconds that its changes stand in line for a lock: searches behind them wait for as long."""
    seen: list[int] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if found := re.fullmatch(r"SET LOCAL lock_timeout = '?(\d+)(?:ms)?'?", statement):
            seen.append(int(found[1]))

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(store.engine, "before_cursor_execute", note)


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
    with refusals(store) as refused, searching(shelved) as searches, ThreadPoolExecutor(1) as pool:
        with analyst(store):
            began = time.monotonic()
            dropping = pool.submit(DROPS[what], shelved)
            # A search that queued behind the drop would wait for as long as this.
            eventually(
                lambda: dropping.done() or (len(refused) > 2 and time.monotonic() - began > 4 * searches.longest())
            )
            assert not dropping.done()
        dropping.result()

    assert set(refused) == {"55P03"}
    gone = {
        "partition": lambda: not shelved.has_partition("novel"),
        "index": lambda: shelved.indexes == [],
        "collection": lambda: not store.has_collection("books"),
        "rows of a partition": lambda: shelved.count() == 50,
    }
    assert gone[what]()


@pytest.mark.parametrize("what", DROPS)
def test_a_drop_stands_in_line_for_a_fifth_of_a_second_at_most(store: Store, shelved: Collection, what: str) -> None:
    with lock_timeouts(store) as milliseconds:
        DROPS[what](shelved)
    assert milliseconds
    assert all(0 < each <= 200 for each in milliseconds)


def test_a_partition_is_added_while_others_read_and_write(store: Store, shelved: Collection, fill: Fill) -> None:
    inserting = "UPDATE books.entities SET title = title WHERE id = 1"
    with refusals(store) as refused, searching(shelved) as searches, analyst(store), analyst(store, inserting):
        shelved.create_partition("poem")
        fill(shelved, range(100, 110), "poem")
        searches.go_on()

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
    with searching(shelved) as searches, analyst(store), store.transaction() as transaction:
        ours = transaction.collection("books")
        fill(ours, range(200, 210))
        for drop in DROPS.values():
            with refusals(store) as refused, pytest.raises(LockTimeout):
                drop(ours)
            assert refused == ["55P03"]
            searches.go_on()
        fill(ours, range(210, 220))
    assert shelved.count() == 100


def test_a_transaction_that_holds_one_collection_does_not_wait_long_for_another(
    store: Store, database_url: URL, shelved: Collection
) -> None:
    """Searches of the first wait for as long as it does: it tries once, and not until its deadline."""
    store.create_collection("films", BOOK_FIELDS)
    with vecstore.connect(database_url, ddl_timeout=SECONDS) as other, store.transaction() as first:
        first.collection("books").create_partition("poem")
        with lock_timeouts(other) as milliseconds, refusals(other) as refused, other.transaction() as second:
            held, wanted = second.collection("films"), second.collection("books")
            held.truncate()
            with pytest.raises(LockTimeout):
                wanted.drop_index()
    assert refused == ["55P03"]
    assert max(milliseconds) <= 200


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
            pool.submit(call).result(timeout=SECONDS)


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


def test_partitions_dropped_in_opposite_order_do_not_deadlock(
    store: Store, books: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for the server to find a deadlock, and for whoever comes second to wait.
    monkeypatch.setattr("vecstore.database.LOCK_TIMEOUT_MS", 1000 * SECONDS)

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
        return lambda _: (mine.set(), other.wait(SECONDS))

    errors = both(
        in_one_transaction(store, drop("books"), meet(first_has, second_has), drop("films")),
        in_one_transaction(store, drop("films"), meet(second_has, first_has), drop("books")),
    )
    failed = [error for error in errors if error is not None]
    assert all(isinstance(error, LockTimeout) for error in failed)
    assert len(failed) == 1 or store.list_collections() == ["books", "films"]
