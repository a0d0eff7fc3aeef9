"""What each peer is asked to do, and what is measured of it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset, Vectors, load
from ..measuring import K, Truth, cosine_similarities

RECALL = 0.95
QUERIES = 100
EFFORTS = (10, 20, 40, 80, 160, 320, 1_000)  # where an effort is an ef_search
_SHARE = 0.1  # of the rows in the section that is searched in and deleted, or nearly
_PAUSE = 0.05


Pids = Callable[[], Sequence[str]]


class Peer(Protocol):
    """A library with one collection of rows: a key, a section, a vector; nearness by cosine.

    efforts  how hard to search, the least first: ef_search or its like; one where nothing is to be chosen
    """

    @property
    def version(self) -> str: ...

    @property
    def efforts(self) -> Sequence[int]: ...

    def load(self, data: Dataset) -> None:
        """From nothing to answering searches."""

    def search(self, query: NDArray[np.float32], effort: int, section: str | None) -> list[int]:
        """The keys of the K nearest rows, of a section or of all."""

    def delete(self, section: str) -> None: ...

    def drop_collection(self) -> None: ...

    def close(self) -> None: ...

    def disk(self) -> int:
        """Bytes, whatever for."""


@runtime_checkable
class Indexed(Protocol):
    """A peer whose index can be dropped."""

    def drop_index(self) -> None: ...


@runtime_checkable
class Partitioned(Protocol):
    """A peer with partitions."""

    def add_partition(self, data: Dataset, rows: NDArray[np.int64]) -> None: ...

    def drop_partition(self) -> None: ...


def size_of(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


class Watch(threading.Thread):
    """The peak of what these processes have for themselves, and share with one another, in bytes."""

    def __init__(self, pids: Pids) -> None:
        super().__init__(daemon=True)
        self._pids = pids
        self._ended = threading.Event()
        self.before = self.peak = self._now()

    def _now(self) -> int:
        own, shared = 0, 0
        for pid in self._pids():
            try:
                lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
            except OSError:  # it has ended
                continue
            found = {name: line for name, _, line in (line.partition(":") for line in lines)}
            own += _kilobytes(found.get("RssAnon"))
            shared = max(shared, _kilobytes(found.get("RssShmem")))
        return own + shared

    def run(self) -> None:
        while not self._ended.wait(_PAUSE):
            self.peak = max(self.peak, self._now())

    def grown_mb(self) -> float:
        self._ended.set()
        self.join()
        return (self.peak - self.before) / 2**20


def _kilobytes(line: str | None) -> int:
    return 0 if line is None else int(line.split()[0]) * 1024


def family(extra: Sequence[str] = ()) -> list[str]:
    """This process, and these, with their children: those of a server of PostgreSQL's are its sessions."""
    found = [str(os.getpid()), *extra]
    for pid in tuple(found):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            found += children.read_text(encoding="ascii").split()
    return found


def cpu_seconds(pids: Sequence[str]) -> float:
    """User and system time of these processes."""
    stats = [Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split() for pid in pids]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def run(peer: Peer, data: Dataset, *, server: Sequence[str] = ()) -> dict[str, Any]:
    """Everything, in order; seconds, milliseconds and MB by name, None for what the peer does not have."""
    queries = data.queries[:QUERIES]
    similarities = cosine_similarities(queries, data.vectors)
    section = _section(data)
    inside = data.sections == section
    before = peer.disk()
    everybody = partial(family, server)
    watch = Watch(everybody)
    watch.start()
    found: dict[str, Any] = {"version": peer.version, "load_s": _seconds(lambda: peer.load(data))}
    found |= _searched(
        peer, queries, Truth(similarities, np.ones(len(inside), dtype=bool)), None, name="search", pids=everybody
    )
    found |= _searched(peer, queries, Truth(similarities, inside), section, name="filtered", pids=everybody)
    found["disk_mb"] = (peer.disk() - before) / 2**20
    found["delete_s"] = _seconds(lambda: peer.delete(section))
    found["found_after_delete"] = len(peer.search(queries[0], peer.efforts[-1], section))
    tenth = np.flatnonzero(~inside)[: len(inside) // 10].astype(np.int64)
    found["drop_partition_s"] = _dropped_partition(peer, data, tenth) if isinstance(peer, Partitioned) else None
    found["drop_index_s"] = _seconds(peer.drop_index) if isinstance(peer, Indexed) else None
    found["drop_collection_s"] = _seconds(peer.drop_collection)
    found["disk_left_mb"] = (peer.disk() - before) / 2**20
    found["memory_mb"] = watch.grown_mb()
    peer.close()
    return found


def _section(data: Dataset) -> str:
    names, sizes = np.unique(data.sections, return_counts=True)
    return str(names[np.argmin(np.abs(sizes - _SHARE * len(data.sections)))])


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _dropped_partition(peer: Partitioned, data: Dataset, rows: NDArray[np.int64]) -> float:
    peer.add_partition(data, rows)
    return _seconds(peer.drop_partition)


def _searched(
    peer: Peer, queries: Vectors, truth: Truth, section: str | None, *, name: str, pids: Pids
) -> dict[str, Any]:
    """With the least effort that finds RECALL of the exact answers, or the most there is."""
    recall, effort = 0.0, 0
    for effort in peer.efforts:
        answers = [peer.search(query, effort, section) for query in queries]
        recall = float(np.mean([truth.recall(number, ids) for number, ids in enumerate(answers)]))
        if recall >= RECALL:
            break
    seconds = []
    short = 0
    before = cpu_seconds(pids())
    for query in queries:
        started = time.perf_counter()
        ids = peer.search(query, effort, section)
        seconds.append(time.perf_counter() - started)
        short += truth.found(ids) < truth.expected
    p50, p99 = np.percentile(seconds, [50, 99]) * 1_000
    cpu = (cpu_seconds(pids()) - before) / len(queries) * 1_000
    found = {"p50_ms": p50, "p99_ms": p99, "cpu_ms": cpu, "recall": recall, "effort": effort, "short": short}
    return {f"{name}_{key}": value for key, value in found.items()}


def main(make: Callable[[Path], Peer]) -> None:
    """`python -m benchmarks.peers.NAME DATA`: figures as JSON on stdout. For a peer that keeps a folder."""
    folder = Path(tempfile.mkdtemp(prefix="vecstore-benchmark-"))
    try:
        print(json.dumps(run(make(folder), load(Path(sys.argv[1])))))  # noqa: T201
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main_on_server(make: Callable[[str], Peer]) -> None:
    """`python -m benchmarks.peers.NAME DATA URL PID`: the same for a peer on PostgreSQL, with the postmaster's PID."""
    print(json.dumps(run(make(sys.argv[2]), load(Path(sys.argv[1])), server=[sys.argv[3]])))  # noqa: T201


__all__ = ["EFFORTS", "K", "Peer", "main", "main_on_server", "run", "size_of"]
