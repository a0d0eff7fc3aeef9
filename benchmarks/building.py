"""Building an HNSW index.

vecstore      create_index(), as it comes, on a collection of one partition
by hand       CREATE INDEX on the leaf table, in a session with as much maintenance_work_mem as the graph needs and a
              parallel worker for each processor but its own
"""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from vecstore.embedded.settings import MB, cpu_count

from . import raw
from .bench import HNSW, Bench
from .results import BY_HAND, OURS, Result, compared
from .timing import Side

ROUNDS = 3
_LEAST_MEMORY = 64 * MB
_NEIGHBOURS = 400  # bytes of a graph's node beside its vector, at m = 16, with room to spare

_CREATE = sql.SQL(
    "CREATE INDEX by_hand ON {} USING hnsw (embedding vector_cosine_ops) WITH (m = 16, ef_construction = 64)"
)


def cases(bench: Bench) -> Iterator[Result]:
    memory = max(_LEAST_MEMORY, len(bench.data.vectors) * (bench.data.dim * 4 + _NEIGHBOURS) * 2) // MB
    settings = {"maintenance_work_mem": f"{memory}MB", "max_parallel_maintenance_workers": str(cpu_count() - 1)}
    with bench.temporary("building", bench.all_rows) as collection, raw.connected(bench.url, "off") as connection:
        leaf = bench.leaf(collection)
        for name, value in settings.items():
            connection.execute("SELECT set_config(%s, %s, false)", [name, value])

        def clear() -> None:
            connection.execute(sql.SQL("DROP INDEX IF EXISTS {}").format(sql.Identifier(collection.name, "by_hand")))
            if collection.indexes:
                collection.drop_index()

        sides = {
            OURS: Side(lambda _: collection.create_index("embedding", HNSW), clear),
            BY_HAND: Side(lambda _: connection.execute(_CREATE.format(leaf)), clear),
        }
        times = bench.race(sides, calls=1, rounds=min(ROUNDS, bench.rounds), warming=0)
        clear()
    yield compared("HNSW build", times, most=1.05, **settings)
