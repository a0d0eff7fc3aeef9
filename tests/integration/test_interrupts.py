"""Ctrl-C at any moment on the way to a connection and back: it is not swallowed, and the store is as good as before."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial
from threading import Thread
from types import FrameType
from typing import TypeVar

import pytest
from sqlalchemy import URL, text

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import Collection, Store
from vecstore.database import Database
from vecstore.pipeline import psycopg_connection
from waiting import SECONDS

T = TypeVar("T")

# Connections that are lost are closed by the collector, which psycopg warns of.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

_WATCHED = (
    "/vecstore/database.py",
    "/vecstore/liveness.py",
    "/vecstore/pipeline.py",
    "/sqlalchemy/pool/base.py",
    "/sqlalchemy/pool/impl.py",
    "/sqlalchemy/util/queue.py",
    "/threading.py",
    "/psycopg/copy.py",
    "/psycopg/_copy.py",
)

CALLS: dict[str, Callable[[Collection, int], object]] = {
    "a search in one round trip": lambda books, _: books.search([1, 1, 1, 1], limit=2),
    "a query": lambda books, _: books.query("year > 1900", limit=2, offset=1),
    "an insert": lambda books, number: books.insert([book(100 + number)]),
}


def ends_before(moment: int, call: Callable[[], object]) -> bool:
    """Whether a call ends before its n-th moment at which Python looks whether Ctrl-C was pressed.

    It does so where a function begins, and where one in C has returned.
    """
    seen, where = 0, ""

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal seen, where
        if event in {"call", "c_return"} and frame.f_code.co_filename.endswith(_WATCHED):
            seen += 1
            if seen == moment:
                where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise KeyboardInterrupt

    gc.collect()  # what is collected amid a call has its own finalizers, in which Python swallows errors
    gc.disable()
    sys.setprofile(profile)
    try:
        call()
    except KeyboardInterrupt:
        return False
    finally:
        sys.setprofile(None)
        gc.enable()
    assert not where, f"Ctrl-C was swallowed at {where}"
    return True


def in_another_thread(call: Callable[[], T]) -> T:
    """Where no lock is left locked that the main thread could take again."""
    results: list[T] = []
    thread = Thread(target=lambda: results.append(call()), daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert results, "a lock is left locked"
    return results[0]


@pytest.fixture
def small_heap(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that is there already is looked through by gc.collect(), and no log keeps what a call has lost."""
    caplog.set_level(logging.CRITICAL, "vecstore.liveness.LendingPool")
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("small_heap")
@pytest.mark.parametrize("call", CALLS)
def test_wherever_a_call_is_interrupted_the_next_one_goes_well(database_url: URL, call: str) -> None:
    with vecstore.connect(database_url, max_connections=2) as store:
        books = store.create_collection("books", BOOK_FIELDS)
        books.insert([book(key) for key in range(10)])
        for number in range(1_000, 1_003):
            CALLS[call](books, number)
        moment = 1
        while not ends_before(moment, partial(CALLS[call], books, moment)):
            moment += 1
            assert len(in_another_thread(partial(books.search, [1, 1, 1, 1], limit=2))[0]) == 2
        assert moment > 20  # or nothing was watched


@pytest.mark.parametrize("doing", ["reading", "writing"])
@pytest.mark.parametrize("whose", ["the library's transaction", "the caller's"])
def test_an_interrupt_amid_a_statement_is_told_though_nothing_can_be_rolled_back(
    store: Store, books: Collection, doing: str, whose: str
) -> None:
    books.insert([book(1)])

    def interrupted(database: Database) -> None:
        with getattr(database, doing)("work") as connection:
            connection.execute(text("DELETE FROM books.entities"))
            psycopg_connection(connection.connection).pgconn.send_query(b"SELECT 1")
            raise KeyboardInterrupt

    with store.engine.connect() as connection:
        database = store._database if whose == "the library's transaction" else store.bind(connection)._database
        with pytest.raises(KeyboardInterrupt):
            interrupted(database)
    assert books.count() == 1
