"""A writer keeps a ledger while its server is killed again and again: what it was told is true."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

from sqlalchemy import func, select

import vecstore
from killing import kill
from samples import BOOK_FIELDS, book
from vecstore import Collection, Store, VecstoreError
from vecstore.embedded import start
from waiting import eventually

KILLS = 5
BATCH = 20


class Ledger(threading.Thread):
    """Inserts batches of 20 rows, year = number of the batch; writes down which were begun, and which acknowledged."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.books = store.collection("books")
        self.begun: set[int] = set()
        self.acknowledged: set[int] = set()
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            number = len(self.begun)
            self.begun.add(number)
            rows = [book(number * BATCH + key, year=number) for key in range(BATCH)]
            try:
                self.books.insert(rows)
            except VecstoreError:
                time.sleep(0.02)  # the server is down, or coming up
            else:
                self.acknowledged.add(number)


def rows_of_batches(store: Store, books: Collection) -> dict[int, int]:
    counted = select(books.c.year, func.count().label("rows")).group_by(books.c.year)
    with store.engine.connect() as connection:
        return {row.year: row.rows for row in connection.execute(counted)}


def test_after_random_kills_nothing_acknowledged_is_lost_and_no_batch_is_torn(tmp_path: Path, major: int) -> None:
    order = random.Random(24)  # noqa: S311 - no secret
    folder = tmp_path / "data"
    with start(folder, major=major) as server, vecstore.connect(server.url()) as store:
        store.upgrade()
        books = store.create_collection("books", BOOK_FIELDS)
        ledger = Ledger(store)
        ledger.start()
        holders = []
        try:
            for _ in range(KILLS):
                enough = len(ledger.acknowledged) + order.randint(3, 30)
                eventually(lambda enough=enough: len(ledger.acknowledged) >= enough)
                kill(folder)
                holders.append(start(folder, major=major))
        finally:
            ledger.over.set()
            ledger.join()
        present = rows_of_batches(store, books)
        assert set(present.values()) == {BATCH}
        assert ledger.acknowledged <= set(present) <= ledger.begun
        assert len(ledger.acknowledged) >= 3 * KILLS
        assert store.doctor() == ()
        for holder in holders:
            holder.release()
