"""How a search grows dearer: with the rows, with what else is in the database, with partitions, with fields.

The sides are those of `searching`. All but the first chart search few rows, 64 dimensions, so that what does not come
from comparing vectors is seen; only ids and distances are taken where nothing else is said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vecstore import Collection, DataType, Field

from .bench import HNSW, Bench, fields
from .data import clustered
from .measuring import K
from .results import BY_HAND, OURS, Curve
from .searching import is_exact, searching_by_hand, statement
from .timing import Side

ROWS = (20_000, 50_000, 100_000, 200_000)
COLLECTIONS = (1, 10, 100, 500, 1_000, 2_000)
PARTITIONS = (1, 4, 16, 64, 256, 1_024)
FIELDS = (3, 10, 20, 40, 60)

_FEW, _DIM = 300, 64


@dataclass(frozen=True)
class _Lines:
    """A point is added to each line as it is measured."""

    p50: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def curve(self, case: str, x_label: str, x: Sequence[float]) -> Curve:
        return Curve(case, x_label, x, dict(self.p50), dict(self.cpu))


def cases(bench: Bench) -> Iterator[Curve]:
    yield by_rows(bench, ROWS)
    small = clustered(_FEW, _DIM)
    few = replace(bench, data=small, queries=small.queries[: len(bench.queries)])
    yield by_collections(few, COLLECTIONS)
    yield by_partitions(few, PARTITIONS)
    yield by_fields(few, FIELDS)
    few.by_hand.close()


def by_rows(bench: Bench, sizes: Sequence[int]) -> Curve:
    """Of one partition with an HNSW index, made up in the dimensions of the data."""
    lines = _Lines()
    for size in sizes:
        data = clustered(size, bench.data.dim)
        grown = replace(bench, data=data, queries=data.queries[: len(bench.queries)])
        with grown.temporary("grown", grown.all_rows) as collection:
            collection.create_index("embedding", HNSW)
            grown.settle(collection)
            _measure(grown, _sides(grown, collection), lines)
        grown.by_hand.close()
    return lines.curve("Search by rows", f"rows of {bench.data.dim} dimensions", sizes)


def by_collections(bench: Bench, counts: Sequence[int]) -> Curve:
    """One collection among many, searched alone; and all of them, one after the other, the client knowing them."""
    lines = _Lines()
    made: list[Collection] = []
    searches: list[Callable[[int], object]] = []
    for count in counts:
        for number in range(len(made), count):
            made.append(_filled(bench, f"one_of_many_{number}"))
            asked = statement(bench.by_hand, bench.leaf(made[-1]), exact=True)
            searches.append(_by_hand(bench, asked))
            bench.settle(made[-1])
        _measure(bench, _sides(bench, made[0]), lines)
        each = {
            OURS: Side(lambda number: _ours(bench, made[number % len(made)], number)),
            BY_HAND: Side(lambda number: searches[number % len(searches)](number)),
        }
        _measure(bench, each, lines, ", another one each time", calls=max(len(bench.queries), len(made)))
    for collection in made:
        collection.drop()
    return lines.curve("Search by collections", "collections in the database", counts)


def by_partitions(bench: Bench, counts: Sequence[int]) -> Curve:
    """One partition of many, by name; the leaf table by hand."""
    lines = _Lines()
    with bench.temporary("partitioned", bench.all_rows) as collection:
        collection.create_index("embedding", HNSW)
        made = 1
        for count in counts:
            for number in range(made, count):
                collection.create_partition(f"part_{number}")
            made = count
            bench.settle(collection)
            _measure(bench, _sides(bench, collection, partition_names=["_default"]), lines)
    return lines.curve("Search of one partition by partitions", "partitions", counts)


def by_fields(bench: Bench, counts: Sequence[int]) -> Curve:
    """Ids alone, and with all fields but the vector."""
    lines = _Lines()
    data = bench.data
    for count in counts:
        names = [f"number_{position}" for position in range(count - 2)]
        schema = (
            Field("id", DataType.INT64, primary_key=True),
            *(Field(name, DataType.INT32) for name in names),
            Field("embedding", DataType.FLOAT_VECTOR, dim=data.dim),
        )
        collection = bench.store.create_collection("wide", schema)
        numbers = dict.fromkeys(names, data.draws)
        collection.insert({"id": bench.all_rows, **numbers, "embedding": data.vectors})
        bench.settle(collection)
        _measure(bench, _sides(bench, collection), lines)
        _measure(bench, _sides(bench, collection, output_fields=names), lines, ", all fields")
        collection.drop()
    return lines.curve("Search by fields", "fields", counts)


def _filled(bench: Bench, name: str) -> Collection:
    collection = bench.store.create_collection(name, fields(bench.data.dim))
    collection.insert(bench.data.columns(bench.all_rows))
    return collection


def _ours(bench: Bench, collection: Collection, number: int, **options: Sequence[str]) -> object:
    [hits] = collection.search(bench.queries[number % len(bench.queries)], K, **options)  # type: ignore[arg-type]
    return [(hit.id, hit.distance, hit.fields) for hit in hits]


def _by_hand(bench: Bench, asked: bytes) -> Callable[[int], object]:
    search = searching_by_hand(bench.by_hand, asked)
    return lambda number: search(bench.queries[number % len(bench.queries)])


def _sides(bench: Bench, collection: Collection, **options: Sequence[str]) -> dict[str, Side]:
    exact = is_exact(collection, bench.queries[0], **options)
    names = options.get("output_fields", ())
    asked = statement(bench.by_hand, bench.leaf(collection), output_fields=names, exact=exact)
    return {
        OURS: Side(lambda number: _ours(bench, collection, number, **options)),
        BY_HAND: Side(_by_hand(bench, asked)),
    }


def _measure(
    bench: Bench, sides: Mapping[str, Side], lines: _Lines, suffix: str = "", *, calls: int | None = None
) -> None:
    """Add a point to each side's line. All that is called is called once before."""
    count = calls or len(bench.queries)
    for name, times in bench.race(sides, calls=count, warming=count).items():
        lines.p50[name + suffix].append(float(np.median(times.percentiles(50))))
        lines.cpu[name + suffix].append(times.client_cpu_ms + times.server_cpu_ms)
