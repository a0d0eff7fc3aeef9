"""Four processes searching at once, each with a session of its own: searches a second of all together.

Both sides' processes live all the while, and work in turns. Where there are fewer processors than the processes and
their backends want, it is CPU time that is compared here, of client and server together.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection

import numpy as np
from sqlalchemy import URL

import vecstore
from vecstore.embedded.settings import cpu_count
from vecstore.planning import DEFAULT_EF

from . import raw
from .bench import Bench
from .data import Vectors
from .measuring import K
from .results import BY_HAND, OURS, Result, Target, compared
from .searching import is_exact, searching_by_hand, statement
from .timing import Times

WORKERS = 4
_TURNS = 4  # of a round, for a slow moment of the machine should be as long for both sides
_WARMING = 12


class _Worker:
    """A process that searches when told to; go() begins a turn, and wait() gives the seconds of each search."""

    def __init__(self, orders: Connection) -> None:
        self._orders = orders

    def go(self, calls: int) -> None:
        self._orders.send(calls)

    def wait(self) -> tuple[list[float], float]:
        """The seconds of each search, and CPU seconds of all."""
        seconds, cpu = self._orders.recv()
        return seconds, cpu


def _obey(orders: Connection, search: Callable[[int], object]) -> None:
    while (calls := orders.recv()) is not None:
        seconds, before = [], time.process_time()
        for number in range(calls):
            started = time.perf_counter()
            search(number)
            seconds.append(time.perf_counter() - started)
        orders.send((seconds, time.process_time() - before))


def _search_ours(orders: Connection, url: URL, name: str, queries: Vectors) -> None:
    with vecstore.connect(url) as store:
        collection = store.collection(name)
        _obey(orders, lambda number: [(hit.id, hit.distance) for hit in collection.search(queries[number], K)[0]])


def _search_by_hand(orders: Connection, url: URL, asked: bytes, queries: Vectors) -> None:
    with raw.connected(url, "relaxed_order", ef_search=DEFAULT_EF) as connection:
        search = searching_by_hand(connection, asked)
        _obey(orders, lambda number: search(queries[number]))


@contextmanager
def _working(target: Callable[..., None], *arguments: object) -> Iterator[_Worker]:
    spawning = multiprocessing.get_context("spawn")
    orders, child = spawning.Pipe()
    process = spawning.Process(target=target, args=(child, *arguments), daemon=True)
    process.start()
    child.close()
    try:
        yield _Worker(orders)
    finally:
        orders.send(None)
        process.join()


def _turn(workers: Sequence[_Worker], calls: int) -> tuple[list[float], float, float]:
    """Seconds of all searches, CPU seconds of the processes, searches a second."""
    started = time.perf_counter()
    for worker in workers:
        worker.go(calls)
    answers = [worker.wait() for worker in workers]
    elapsed = time.perf_counter() - started
    seconds = [second for taken, _ in answers for second in taken]
    return seconds, sum(cpu for _, cpu in answers), len(seconds) / elapsed


def cases(bench: Bench) -> Iterator[Result]:
    collection, queries = bench.packages, bench.queries
    exact = is_exact(collection, queries[0])
    asked = statement(bench.by_hand, bench.leaf(collection), exact=exact)
    with ExitStack() as stack:
        workers: dict[str, list[_Worker]] = {OURS: [], BY_HAND: []}
        for _ in range(WORKERS):
            ours = _working(_search_ours, bench.url, collection.name, queries)
            workers[OURS].append(stack.enter_context(ours))
            by_hand = _working(_search_by_hand, bench.url, asked, queries)
            workers[BY_HAND].append(stack.enter_context(by_hand))
        for side in workers.values():
            _turn(side, min(_WARMING, len(queries)))
        times = {name: Times() for name in workers}
        rates: dict[str, list[float]] = {name: [] for name in workers}
        turn = max(1, len(queries) // _TURNS)
        for number in range(bench.rounds * _TURNS):
            for name in list(workers)[:: -1 if number % 2 else 1]:
                before = bench.processes.cpu(name)
                seconds, cpu, rate = _turn(workers[name], turn)
                times[name].rounds.append(seconds)
                times[name].client_cpu += cpu
                times[name].server_cpu += bench.processes.cpu(name) - before
                rates[name].append(rate)
    found = float(np.median(np.array(rates[OURS]) / np.array(rates[BY_HAND])))
    yield compared(
        f"search by {WORKERS} processes at once",
        times,
        Target(f"{WORKERS} processes, searches/s of all", found, 0.90, at_least=True),
        searches_per_second=", ".join(f"{name} {np.median(found):,.0f}" for name, found in rates.items()),
        processors=cpu_count(),
    )
