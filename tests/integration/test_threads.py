"""Threads share a store, its connections and what it remembers, and none gets what is another's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from samples import book
from vecstore import Collection, Hnsw
from waiting import SECONDS

THREADS = 8
ROUNDS = 14
SHARED = 50


def worked(books: Collection, thread: int, together: Barrier) -> None:
    """A hundred calls; what comes back is what there must be."""
    keys = [1000 * (thread + 1) + number for number in range(5)]
    own = f"id >= {keys[0]} and id <= {keys[-1]}"
    together.wait()
    for number in range(ROUNDS):
        limit = 1 + (thread + number) % 7
        books.insert([book(key) for key in keys[:3]])
        books.upsert([book(key, title=f"{thread}.{number}") for key in keys])
        assert [record["id"] for record in books.get(keys[::-1], output_fields=["id"])] == keys[::-1]
        titles = {record["title"] for record in books.query(own, output_fields=["title"])}
        assert titles == {f"{thread}.{number}"}
        assert books.search([book(key)["embedding"] for key in keys], limit=1, filter=own)[4].ids.tolist() == keys[4:]
        near = books.search(book(7)["embedding"], limit=limit, filter=f"id < {SHARED}")[0].ids.tolist()
        assert (len(near), near[0]) == (limit, 7)
        assert books.count(own) == 5
        assert books.delete(ids=keys).count == 5


def test_eight_threads_on_one_store_get_what_is_theirs(books: Collection) -> None:
    books.insert([book(key) for key in range(SHARED)])
    books.create_index("embedding", Hnsw(metric="L2"))
    together = Barrier(THREADS, timeout=SECONDS)
    with ThreadPoolExecutor(THREADS) as pool:
        for thread in [pool.submit(worked, books, thread, together) for thread in range(THREADS)]:
            thread.result()
    assert books.count() == SHARED
