"""The main job on real data: load 3,000 packages, search them, then walk Milvus's page of delete operations.

Run it with `make demo`. The data are Debian packages, their descriptions embedded with all-MiniLM-L6-v2; see
examples/debian-3k/README.md. Everything happens in a temporary folder.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import vecstore
from vecstore import Collection, DataType, Field, Hnsw, Metric, Store

DATA = Path(__file__).parent / "debian-3k"

# Debian's 58 sections in five groups, one partition each; what is in none goes to _default.
GROUPS = {
    "libraries": "libs libdevel devel oldlibs introspection",
    "languages": "perl python golang javascript haskell rust ruby java php lisp ocaml gnu-r interpreters cli-mono",
    "documents": "doc text tex fonts localization editors",
    "desktop": "x11 gnome kde xfce games graphics sound video misc",
    "science": "science math electronics hamradio education",
}
PARTITION_OF = {section: group for group, sections in GROUPS.items() for section in sections.split()}

FIELDS = (
    Field("id", DataType.INT64, primary_key=True, description="position in the data set"),
    Field("name", DataType.VARCHAR, max_length=200, description="the package"),
    Field("section", DataType.VARCHAR, max_length=40),
    Field("installed_size", DataType.INT64, nullable=True, description="KiB"),
    Field("synopsis", DataType.VARCHAR, max_length=1000),
    Field("embedding", DataType.FLOAT_VECTOR, dim=384, description="all-MiniLM-L6-v2 of name and description"),
)


class Rollback(Exception):
    """Leaves a transaction without its changes."""


@dataclass
class Report:
    """What is shown at the end: the state after each step."""

    rows: list[tuple[str, ...]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str, store: Store) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.rows.append((name, *state(store), f"{(time.perf_counter() - started) * 1000:,.0f} ms"))

    def print(self, console: Console) -> None:
        table = Table(title="What each step left behind", title_justify="left")
        table.add_column("step")
        for column in ("rows", "partitions", "indexes", "on disk", "took"):
            table.add_column(column, justify="right")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)


def state(store: Store) -> tuple[str, str, str, str]:
    """Rows, partitions, indexes and bytes of the collection as anybody else sees them now."""
    if not store.has_collection("packages"):
        return ("gone", "gone", "gone", "0 kB")
    stats = store.collection("packages").stats()
    return (
        f"{stats.rows:,}",
        str(len(stats.partitions)),
        ", ".join(index.name for index in stats.indexes) or "none",
        f"{stats.bytes / 1024:,.0f} kB",
    )


def read() -> tuple[list[dict[str, Any]], np.ndarray, np.ndarray, np.ndarray]:
    """Rows, their vectors (3000, 384), query vectors (100, 384), and the ids of the true neighbours (100, 100)."""
    with (DATA / "rows.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return rows, *(np.load(DATA / f"{name}.npy") for name in ("vectors", "queries", "truth_ids"))


def load(packages: Collection, rows: list[dict[str, Any]], vectors: np.ndarray) -> None:
    """Insert the rows of each partition as columns, the vectors as one array."""
    of_partition: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        of_partition[PARTITION_OF.get(row["section"], "_default")].append(row)
    for partition, members in of_partition.items():
        columns: dict[str, Any] = {
            name: [row[name] for row in members] for name in ("id", "name", "section", "installed_size", "synopsis")
        }
        columns["embedding"] = vectors[columns["id"]]
        packages.insert(columns, partition_name=partition)


def answers(packages: Collection, queries: np.ndarray) -> list[list[int]]:
    """The ids of the ten nearest of each query."""
    return [hits.ids.tolist() for hits in packages.search(queries, limit=10)]


def recall(found: list[list[int]], truth: np.ndarray) -> float:
    """The share of the ten true nearest neighbours that was found."""
    return float(np.mean([len({*ids} & {*true[:10].tolist()}) / 10 for ids, true in zip(found, truth, strict=True)]))


def show_search(console: Console, packages: Collection, queries: np.ndarray) -> None:
    with (DATA / "queries.jsonl").open(encoding="utf-8") as lines:
        asked = json.loads(lines.readline())
    table = Table(title=f"Nearest to «{asked['name']}: {asked['synopsis']}»", title_justify="left")
    for column in ("cosine", "package", "section"):
        table.add_column(column, min_width=len(column), max_width=19, no_wrap=True)
    table.add_column("synopsis", no_wrap=True, max_width=34)
    for hit in packages.search(queries[0], limit=5, output_fields=["name", "section", "synopsis"])[0]:
        table.add_row(f"{hit.distance:.3f}", hit.fields["name"], hit.fields["section"], hit.fields["synopsis"])
    console.print(table)


def drop_everything(store: Store) -> None:
    """The three drops of the page, one after the other, on a Store that is one transaction."""
    packages = store.collection("packages")
    packages.drop_index()
    packages.drop_partition(partition_name="documents")
    packages.drop()


def walk(console: Console, store: Store) -> None:
    report = Report()
    rows, vectors, queries, truth = read()

    with report.step("create collection", store):
        packages = store.create_collection("packages", FIELDS, description="Debian packages and their embeddings")
        for group in GROUPS:
            packages.create_partition(group)
    with report.step(f"insert {len(rows):,} rows", store):
        load(packages, rows, vectors)
    with report.step("create_index, HNSW", store):
        packages.create_index("embedding", Hnsw(metric=Metric.COSINE))
    with report.step(f"{len(queries)} searches", store):
        found = answers(packages, queries)
    show_search(console, packages, queries)
    reached = recall(found, truth)
    console.print(f"recall@10 of {len(queries)} real queries against the exact answers: [bold]{reached:.3f}[/bold]\n")

    doomed = found[0][:3]
    with report.step("delete 3 by id", store):
        deleted = packages.delete(ids=doomed).count
    with report.step("delete by section", store):
        deleted += packages.delete(where=packages.c.section == "games").count
    found = answers(packages, queries)
    console.print(
        f"{deleted} entities deleted, {len(rows) - packages.num_entities} missing; "
        f"found by the next search: {len({*doomed} & {*found[0]})} of the deleted."
    )

    with report.step("3 drops, ROLLBACK", store), suppress(Rollback), store.transaction() as transaction:
        drop_everything(transaction)
        console.print(f"before ROLLBACK, inside: collections = {transaction.list_collections()}")
        raise Rollback  # and every drop is undone
    same = "the same" if answers(packages, queries) == found else "DIFFERENT"
    console.print(f"after ROLLBACK:          collections = {store.list_collections()}, {same} answers as before")
    with report.step("3 drops, COMMIT", store), store.transaction() as transaction:
        drop_everything(transaction)
    console.print(f"after COMMIT:            collections = {store.list_collections()}\n")
    report.print(console)


def main() -> None:
    console = Console()
    started = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="vecstore-demo-") as folder,
        vecstore.connect(Path(folder, "data")) as store,
    ):
        console.print(f"PostgreSQL is up after {time.perf_counter() - started:.1f} s, from nothing but a wheel.\n")
        walk(console, store)
    console.print(f"Everything, the server's start and stop included: {time.perf_counter() - started:.1f} s.")


if __name__ == "__main__":
    main()
