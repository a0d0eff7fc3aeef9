"""Search beside the prepared statement.

vecstore      collection.search() of the public API, which reads the catalogue, chooses the way, makes the settings and
              searches, in a transaction of its own
by hand       one statement on the leaf table, prepared, binary both ways, in autocommit, vectors as NumPy arrays; its
              hnsw.ef_search and hnsw.iterative_scan are vecstore's, set once for the session. Where vecstore compares
              all rows because they are few, so does this side
What is taken from both: id and distance of each row found, and the fields asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from vecstore import Collection
from vecstore.hits import SearchPath

from .bench import SCALARS, Bench
from .measuring import K, Truth, cosine_similarities
from .raw import Connection
from .results import BY_HAND, OURS, Result, Target, compared
from .timing import Side

BATCH = 64
_EF_LADDER = (10, 20, 30, 40, 60, 80, 100, 130, 160, 200, 300, 400, 600, 800, 1_000)
_EQUAL = 0.002  # two builds of one index differ by as much in recall

_SEARCH = sql.SQL("SELECT id, embedding <=> %(query)b{fields} FROM {table} ORDER BY {distance} LIMIT {limit}")
_BY_INDEX = sql.SQL("embedding <=> %(query)b")
_EXACTLY = sql.SQL("(embedding <=> %(query)b) + 0")

Query = NDArray[np.float32]


def statement(
    connection: Connection, table: sql.Identifier, *, output_fields: Sequence[str] = (), exact: bool = False
) -> bytes:
    """Rendered once: psycopg would render a composed statement at each execution."""
    names = sql.SQL("").join(sql.SQL(", {}").format(sql.Identifier(name)) for name in output_fields)
    distance = _EXACTLY if exact else _BY_INDEX
    return _SEARCH.format(fields=names, table=table, distance=distance, limit=sql.Literal(K)).as_bytes(connection)


def searching_by_hand(connection: Connection, asked: bytes) -> Callable[[Query], list[tuple[Any, ...]]]:
    cursor = connection.cursor(binary=True)

    def search(query: Query) -> list[tuple[Any, ...]]:
        return cursor.execute(asked, {"query": query}, prepare=True).fetchall()

    return search


def is_exact(collection: Collection, query: Query, **options: Any) -> bool:
    """Whether vecstore compares all rows of such a search."""
    return collection.search(query, K, **options)[0].path is SearchPath.EXACT


def cases(bench: Bench) -> Iterator[Result]:
    yield _one_query(bench)
    yield _with_fields(bench)
    yield _many_queries(bench)
    yield _one_partition(bench)
    yield _all_partitions(bench)


def _recall(bench: Bench, found: Callable[[Query], Sequence[int]]) -> float:
    similarities = cosine_similarities(bench.queries, bench.data.vectors)
    truth = Truth(similarities, np.ones(len(bench.data.vectors), dtype=bool))
    return float(np.mean([truth.recall(number, found(query)) for number, query in enumerate(bench.queries)]))


def one_query_sides(bench: Bench, collection: Collection, connection: Connection) -> dict[str, Side]:
    """Ids and distances for one query vector."""
    queries = bench.queries
    exact = is_exact(collection, queries[0])
    by_hand = searching_by_hand(connection, statement(connection, bench.leaf(collection), exact=exact))

    def ours(number: int) -> object:
        [hits] = collection.search(queries[number], K)
        return [(hit.id, hit.distance) for hit in hits]

    return {OURS: Side(ours), BY_HAND: Side(lambda number: by_hand(queries[number]))}


def _one_query(bench: Bench) -> Result:
    sides = one_query_sides(bench, bench.packages, bench.by_hand)
    times = bench.race(sides, calls=len(bench.queries))
    asked = statement(bench.by_hand, bench.leaf(bench.packages), exact=is_exact(bench.packages, bench.queries[0]))
    by_hand = searching_by_hand(bench.by_hand, asked)
    return compared(
        "search, ids and distances",
        times,
        Target("client CPU per search", times[OURS].client_cpu_ms, 0.15, "ms"),
        most=1.15,
        path=bench.packages.search(bench.queries[0], K)[0].path,
        recall=_recall(bench, lambda query: bench.packages.search(query, K)[0].ids.tolist()),
        recall_by_hand=_recall(bench, lambda query: [row[0] for row in by_hand(query)]),
    )


def _with_fields(bench: Bench) -> Result:
    collection, queries = bench.packages, bench.queries
    exact = is_exact(collection, queries[0], output_fields=SCALARS)
    asked = statement(bench.by_hand, bench.leaf(collection), output_fields=SCALARS, exact=exact)
    by_hand = searching_by_hand(bench.by_hand, asked)

    def ours(number: int) -> object:
        [hits] = collection.search(queries[number], K, output_fields=SCALARS)
        return [(hit.id, hit.distance, hit.fields) for hit in hits]

    sides = {OURS: Side(ours), BY_HAND: Side(lambda number: by_hand(queries[number]))}
    return compared("search, five output fields", bench.race(sides, calls=len(queries)), most=1.20)


def _many_queries(bench: Bench) -> Result:
    """64 query vectors: one call of vecstore's, one pipeline by hand."""
    collection, connection = bench.packages, bench.by_hand
    queries = np.resize(bench.queries, (BATCH, bench.data.dim))
    asked = statement(connection, bench.leaf(collection), exact=is_exact(collection, queries[0]))

    def ours(_: int) -> object:
        return [[(hit.id, hit.distance) for hit in hits] for hits in collection.search(queries, K)]

    def by_hand(_: int) -> object:
        with connection.pipeline():
            sent = [connection.execute(asked, {"query": query}, prepare=True, binary=True) for query in queries]
        return [cursor.fetchall() for cursor in sent]

    sides = {OURS: Side(ours), BY_HAND: Side(by_hand)}
    calls = max(1, len(bench.queries) // 20)
    return compared(f"search, {BATCH} queries in one call", bench.race(sides, calls=calls, turn=5), most=1.10)


def _one_partition(bench: Bench) -> Result:
    """The leaf table by hand: no pruning to be done at all."""
    collection, queries, names = bench.split, bench.queries, ["part_7"]
    exact = is_exact(collection, queries[0], partition_names=names)
    by_hand = searching_by_hand(bench.by_hand, statement(bench.by_hand, bench.leaf(collection, names[0]), exact=exact))

    def ours(number: int) -> object:
        [hits] = collection.search(queries[number], K, partition_names=names)
        return [(hit.id, hit.distance) for hit in hits]

    sides = {OURS: Side(ours), BY_HAND: Side(lambda number: by_hand(queries[number]))}
    times = bench.race(sides, calls=len(queries))
    path = collection.search(queries[0], K, partition_names=names)[0].path
    return compared("search pruned to one partition of 16", times, most=1.20, path=path)


def _all_partitions(bench: Bench) -> Result:
    """One index over all rows by hand, at the least ef_search whose recall is vecstore's, but for .002."""
    collection, queries, connection = bench.split, bench.queries, bench.by_hand
    by_hand = searching_by_hand(connection, statement(connection, bench.leaf(bench.packages)))
    recall = _recall(bench, lambda query: collection.search(query, K)[0].ids.tolist())
    before = connection.execute("SELECT current_setting('hnsw.ef_search')::int").fetchone()
    reached, ef = 0.0, 0
    for ef in _EF_LADDER:
        _set_ef(connection, ef)
        reached = _recall(bench, lambda query: [row[0] for row in by_hand(query)])
        if reached >= recall - _EQUAL:
            break

    def ours(number: int) -> object:
        [hits] = collection.search(queries[number], K)
        return [(hit.id, hit.distance) for hit in hits]

    sides = {OURS: Side(ours), BY_HAND: Side(lambda number: by_hand(queries[number]))}
    times = bench.race(sides, calls=len(queries))
    _set_ef(connection, before[0] if before else ef)
    return compared(
        "search over 16 partitions / one index over all rows",
        times,
        most=5,
        path=collection.search(queries[0], K)[0].path,
        recall=recall,
        recall_by_hand=reached,
        ef_search_by_hand=ef,
    )


def _set_ef(connection: Connection, ef: int) -> None:
    connection.execute(sql.SQL("SET hnsw.ef_search = {}").format(sql.Literal(ef)))
