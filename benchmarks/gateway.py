"""Milvus's own client through the gateway: a search beside the library's, inserts, sixteen clients, milvus-lite.

`python -m benchmarks.gateway [DATA]`, or `python -m benchmarks --only gateway`. The gateway is a process of its own, as
`vecstore serve` is. Where milvus-lite is installed it does the same in the same run.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from pymilvus import DataType, MilvusClient
from sqlalchemy import URL

from vecstore.gateway import serve

from .bench import Bench, fields
from .data import Dataset
from .measuring import K
from .results import OURS, Figures, Result, Target, figures
from .timing import Side, ratio

GATEWAY = "gateway"
LITE = "milvus-lite"
BATCH = 1_000
CLIENTS = 16
SEARCHES = 50
LITE_SEARCHES = 10
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Served:
    """A gateway in another process."""

    address: str
    pid: int

    @property
    def cpu(self) -> float:
        """Seconds that it has worked, on Linux."""
        stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / _TICKS


def _serve(url: URL, told: Connection) -> None:
    with serve(url, port=0) as gateway:
        told.send(gateway.address)
        told.recv()


@contextmanager
def served(url: URL) -> Iterator[Served]:
    spawning = multiprocessing.get_context("spawn")
    told, child = spawning.Pipe()
    named = url.update_query_dict({"application_name": GATEWAY})
    process = spawning.Process(target=_serve, args=(named, child), daemon=True)
    process.start()
    try:
        yield Served(f"http://{told.recv()}", process.pid or 0)
    finally:
        told.send(None)
        process.join()


@contextmanager
def client(target: str) -> Iterator[MilvusClient]:
    opened = MilvusClient(target)
    try:
        yield opened
    finally:
        opened.close()


def cases(bench: Bench) -> Iterator[Result]:
    with ExitStack() as stack:
        gateway = stack.enter_context(served(bench.url))
        remote = stack.enter_context(client(gateway.address))
        lite = _lite(stack, bench.data) if find_spec("milvus_lite") is not None else None
        yield _search(bench, gateway, remote, lite)
        yield _insert(bench, gateway, remote, lite)
        yield _clients(bench, gateway)


def _search(bench: Bench, gateway: Served, remote: MilvusClient, lite: MilvusClient | None) -> Result:
    collection, queries = bench.packages, bench.queries

    def by(searcher: MilvusClient) -> Side:
        return Side(lambda number: list(searcher.search(collection.name, [queries[number]], limit=K)[0]))

    sides = {GATEWAY: by(remote), OURS: Side(lambda number: list(collection.search(queries[number], K)[0]))}
    before = gateway.cpu
    times = bench.race(sides, calls=len(queries))
    cpu = (gateway.cpu - before) / times[GATEWAY].calls * 1_000
    found = ratio(times[GATEWAY], times[OURS])
    nothing = bench.race({GATEWAY: Side(lambda _: remote.get_server_version())}, calls=len(queries), rounds=1)
    if lite is not None:  # not in turns: it takes a hundred times as long
        times |= bench.race({LITE: by(lite)}, calls=min(LITE_SEARCHES, len(queries)), rounds=1, warming=1)
    return Result(
        f"search of {K} by MilvusClient through the gateway",
        {name: figures(taken) for name, taken in times.items()},
        [Target("a search through the gateway, in times of the library's", found, 2.0)],
        found,
        {
            "gateway CPU ms": round(cpu, 3),
            "p50 ms of a call that asks nothing": round(figures(nothing[GATEWAY]).p50, 3),
        },
    )


def _insert(bench: Bench, gateway: Served, remote: MilvusClient, lite: MilvusClient | None) -> Result:
    batches = list(_batches(bench.data))
    rows = sum(map(len, batches))
    notes: dict[str, Any] = {}
    with bench.temporary("inserted", np.empty(0, np.int64)) as collection:
        before, started = gateway.cpu, time.perf_counter()
        for batch in batches:
            remote.insert(collection.name, batch)
        seconds = time.perf_counter() - started
        cpu = max(gateway.cpu - before, 1 / _TICKS)  # less is not told
        if collection.count() != rows:
            raise AssertionError(f"{collection.count()} of {rows} rows are there")
    notes["rows/s, client included"] = round(rows / seconds)
    if lite is not None:
        started = time.perf_counter()
        for batch in batches:
            lite.insert("inserted", batch)
        notes[f"rows/s of {LITE}, client included"] = round(rows / (time.perf_counter() - started))
    return Result(
        f"insert of {rows:,} rows in batches of {BATCH:,} by MilvusClient",
        {},
        [Target("insert through the gateway", rows / cpu, 15_000, "rows/s of its CPU", at_least=True)],
        notes={**notes, "dimensions": bench.data.dim},
    )


def _batches(data: Dataset) -> Iterator[list[Mapping[str, Any]]]:
    """Rows as a program has them: dicts."""
    for first in range(0, len(data.vectors), BATCH):
        columns = data.columns(np.arange(first, min(first + BATCH, len(data.vectors))))
        plain = {
            name: column.tolist() if name not in {"embedding", "details"} else column
            for name, column in columns.items()
        }
        yield [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]


def _clients(bench: Bench, gateway: Served) -> Result:
    """Each in a thread, with a connection of its own; an error of one is the end of the case."""
    name, queries = bench.packages.name, bench.queries

    def work(number: int) -> list[float]:
        seconds = []
        with client(gateway.address) as own:
            for call in range(SEARCHES):
                started = time.perf_counter()
                (hits,) = own.search(name, [queries[(number + call) % len(queries)]], limit=K)
                seconds.append(time.perf_counter() - started)
                if len(hits) != K:
                    raise AssertionError(f"{len(hits)} hits of {K}")
        return seconds

    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        taken = np.array([seconds for own in pool.map(work, range(CLIENTS)) for seconds in own])
    p50, p99 = np.percentile(taken, [50, 99]) * 1_000
    rate = len(taken) / (time.perf_counter() - started)
    return Result(
        f"{CLIENTS} clients at once",
        {GATEWAY: Figures(len(taken), float(p50), float(p99), float("nan"), float("nan"))},
        [Target(f"errors of {CLIENTS} clients", 0, 0, "errors")],
        notes={"searches/s": round(rate)},
    )


def _lite(stack: ExitStack, data: Dataset) -> MilvusClient:
    """milvus-lite with the same rows and the same kind of index."""
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    lite = stack.enter_context(client(str(Path(folder) / "lite.db")))
    schema = lite.create_schema()
    for field in fields(data.dim):
        kind = DataType[field.data_type]
        sizes = {"max_length": field.max_length} if field.max_length else {"dim": field.dim} if field.dim else {}
        schema.add_field(field.name, kind, is_primary=field.primary_key, **sizes)
    index = lite.prepare_index_params()
    index.add_index("embedding", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 64})
    for name in ("packages", "inserted"):
        lite.create_collection(name, schema=schema, index_params=index)
    for batch in _batches(data):
        lite.insert("packages", batch)
    return lite


if __name__ == "__main__":
    from .__main__ import main

    sys.exit(main(["--only", GATEWAY, *(["--data", sys.argv[1]] if len(sys.argv) > 1 else [])]))
