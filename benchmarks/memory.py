"""How much memory a load takes beyond what the program has anyway: 200,000 vectors of 768 dimensions, 614 MB.

A new process loads them, from a generator of batches of 1,000 rows, each an insert, or from a memory-mapped array in
one insert. What is counted is the peak of its anonymous memory and of what is shared (RssAnon, RssShmem), seen by a
thread each 10 ms: pages of the mapped file are the page cache's, and gone when somebody needs the memory. The peak of
the whole resident set is in the notes.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from sqlalchemy import URL

import vecstore
from vecstore import Collection, DataType, Field
from vecstore.embedded.settings import MB

from .bench import Bench
from .data import Vectors
from .results import Result, Target

ROWS, DIM = 200_000, 768
_BATCH = 1_000
_SEED = 11
_PAUSE = 0.01


class _Watch(threading.Thread):
    """The peak of this process's own memory while it runs, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = self.before = _own_memory()
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(_PAUSE):
            self.peak = max(self.peak, _own_memory())

    def grown(self) -> float:
        self._ended.set()
        self.join()
        return (max(self.peak, _own_memory()) - self.before) / MB


def _status() -> dict[str, int]:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    pairs = [line.partition(":") for line in lines if line.endswith(" kB")]
    return {name: int(value.removesuffix(" kB")) * 1024 for name, _, value in pairs}


def _own_memory() -> int:
    status = _status()
    return status["RssAnon"] + status["RssShmem"]


def _batches(rows: int) -> Iterator[tuple[int, Vectors]]:
    chance = np.random.default_rng(_SEED)
    for begin in range(0, rows, _BATCH):
        yield begin, chance.standard_normal((min(_BATCH, rows - begin), DIM), dtype=np.float32)


def _from_generator(collection: Collection, rows: int) -> None:
    for begin, vectors in _batches(rows):
        collection.insert({"id": np.arange(begin, begin + len(vectors)), "embedding": vectors})


def _from_mapped_file(collection: Collection, rows: int) -> None:
    with tempfile.TemporaryDirectory(prefix="vecstore-benchmark-") as folder:
        file = Path(folder, "vectors.npy")
        written = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(rows, DIM))
        for begin, vectors in _batches(rows):
            written[begin : begin + len(vectors)] = vectors
        del written
        collection.insert({"id": np.arange(rows), "embedding": np.load(file, mmap_mode="r")})


_WAYS: dict[str, Callable[[Collection, int], None]] = {
    "a generator of batches": _from_generator,
    "a memory-mapped array": _from_mapped_file,
}


def _load(answer: Connection, url: URL, name: str, way: str, rows: int) -> None:
    with vecstore.connect(url) as store:
        collection = store.collection(name)
        collection.insert({"id": [-1], "embedding": np.ones((1, DIM), dtype=np.float32)})  # what is made once
        resident = _status()["VmRSS"]
        watch = _Watch()
        watch.start()
        _WAYS[way](collection, rows)
        answer.send((watch.grown(), (_status()["VmHWM"] - resident) / MB))


def cases(bench: Bench) -> Iterator[Result]:
    rows = ROWS
    for way in _WAYS:
        fields = (Field("id", DataType.INT64, primary_key=True), Field("embedding", DataType.FLOAT_VECTOR, dim=DIM))
        collection = bench.store.create_collection("large", fields)
        spawning = multiprocessing.get_context("spawn")
        answer, child = spawning.Pipe(duplex=False)
        process = spawning.Process(target=_load, args=(child, bench.url, collection.name, way, rows))
        process.start()
        child.close()
        grown, resident = answer.recv()
        process.join()
        count = collection.count()
        collection.drop()
        what = f"memory: {rows:,} x {DIM} from {way}"
        yield Result(
            what, {}, [Target(what, grown, 200, "MB")], notes={"rows": count - 1, "resident_set_grew_by_MB": resident}
        )
