"""`python -m benchmarks.restoring`: how long a drop that is kept, and taking it back, take beside loading anew."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from rich.console import Console
from rich.table import Table

from vecstore import Store

from . import machine, ours
from .data import Dataset, clustered

KEEP = timedelta(days=7)
PARTITION = "part_1"


def milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - started) / 1e6


def measured(store: Store, data: Dataset, rounds: int) -> dict[str, float]:
    """Milliseconds of each step: of loading once, of all others the median of the rounds."""
    loading = milliseconds(lambda: ours.loaded(store, data, partitions=2, indexed_filters=True))
    collection = store.collection(ours.COLLECTION)
    steps: dict[str, Callable[[], object]] = {
        "drop the collection, kept": lambda: collection.drop(keep=KEEP),
        "restore it": lambda: store.restore(ours.COLLECTION),
        "drop a partition of half the rows, kept": lambda: collection.drop_partition(PARTITION, keep=KEEP),
        "restore the partition": lambda: store.restore_partition(ours.COLLECTION, PARTITION),
    }
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            taken[name].append(milliseconds(step))
    if collection.count() != len(data.vectors):
        raise AssertionError("not all rows came back")
    return {"load it anew, with its indexes": loading} | {name: statistics.median(it) for name, it in taken.items()}


def show(data: Dataset, found: dict[str, float], versions: dict[str, str]) -> None:
    loading = next(iter(found.values()))
    table = Table("", "ms", "of loading")
    for name, took in found.items():
        table.add_row(name, f"{took:,.1f}", f"1 / {loading / took:,.0f}")
    console = Console()
    console.print(f"{len(data.vectors):,} rows of {data.dim} dimensions, two partitions")
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in {**versions, **machine.described()}.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.restoring", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--server", type=int, choices=(16, 18), default=18, help="the major version of PostgreSQL")
    options = parser.parse_args(arguments)
    data = clustered(options.rows, options.dim)
    with ours.temporary_store(options.server) as store:
        show(data, measured(store, data, options.rounds), ours.versions(store))
    return 0


if __name__ == "__main__":
    sys.exit(main())
