"""Inserting beside COPY of a stream that was made beforehand.

vecstore      collection.insert() of columns (NumPy arrays, a list of dicts for the JSON field), or of a list of dicts:
              checked, turned into a stream and copied, in a transaction
by hand       COPY into the leaf table of the same rows as a binary stream, in blocks of 128 kB, in a transaction: what
              is left to do when all is done but the sending
The table has its primary key and no other index, and is empty at the beginning of each call.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from psycopg import sql

from .bench import Bench
from .results import BY_HAND, OURS, Result, Target, compared
from .streams import stream_of
from .timing import Side, Times

ROWS = 20_000
_US = 1_000


def cases(bench: Bench) -> Iterator[Result]:
    rows = bench.all_rows[:ROWS]
    columns = bench.data.columns(rows)
    with bench.temporary("loading", rows) as collection:
        leaf = bench.leaf(collection)
        stream = stream_of(bench.by_hand, leaf)

        def empty() -> None:
            bench.by_hand.execute(sql.SQL("TRUNCATE {}").format(leaf))

        def race(data: Any) -> dict[str, Times]:
            sides = {
                OURS: Side(lambda _: collection.insert(data), empty),
                BY_HAND: Side(lambda _: stream.copy_into(bench.by_hand, leaf), empty),
            }
            return bench.race(sides, calls=1, warming=1)

        times = race(columns)
        yield compared(
            f"insert {len(rows):,} rows, columns",
            times,
            Target("insert of columns, rows/s", _rate(times), 0.85, at_least=True),
            Target("client CPU per inserted row, columns", _client_us(times, len(rows)), 5, "µs"),
            rows_per_second=len(rows) / float(np.median(times[OURS].percentiles(50))) * 1_000,
        )
        times = race(_dicts(columns))
        yield compared(
            f"insert {len(rows):,} rows, dicts",
            times,
            Target("client CPU per inserted row, dicts", _client_us(times, len(rows)), 12, "µs"),
            rows_per_second=len(rows) / float(np.median(times[OURS].percentiles(50))) * 1_000,
        )


def _rate(times: dict[str, Times]) -> float:
    """Rows a second in those by hand, the median of the rounds."""
    return float(np.median(times[BY_HAND].percentiles(50) / times[OURS].percentiles(50)))


def _client_us(times: dict[str, Times], rows: int) -> float:
    return times[OURS].client_cpu_ms * _US / rows


def _dicts(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows as a program has them that reads JSON: Python's own numbers and words, vectors as NumPy arrays."""
    lists = {
        name: values.tolist() if isinstance(values, np.ndarray) and values.ndim == 1 else list(values)
        for name, values in columns.items()
    }
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
