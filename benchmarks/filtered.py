"""Filtered search: `python -m benchmarks.filtered [PATH]`.

For every section of 20 rows or more, for random filters and without one: what vecstore finds and how fast, beside
pgvector by hand, in one run, in turns. Then what was promised of it, kept or not.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from rich.console import Console
from rich.progress import track

from vecstore import Collection, Store

from . import ours, raw
from .data import BUNDLED, DRAWS, Dataset, Vectors, clustered, load
from .measuring import Search, Tally, Truth, cosine_similarities
from .report import Report
from .targets import OURS, Row, targets

SMALLEST_SECTION = 20
PERMILLES = (1, 10, 100, 500)

_ALWAYS = sql.SQL("true")

# Raw pgvector without a filter, at ef_search 40: asked beside every row, so that a ratio is one of the same moment.
_YARDSTICK = "yardstick"

# psycopg prepares vecstore's statements after 5 executions, PostgreSQL takes a generic plan, or not, after 5 more.
_WARMING = 12
_TURN = 25


@dataclass(frozen=True, slots=True)
class Case:
    """A filter, in vecstore's language and in SQL, and the rows that match it, (rows,) of bool."""

    label: str
    filter: str | None
    condition: sql.Composable
    matching: NDArray[np.bool_]


def cases(data: Dataset) -> Iterator[Case]:
    """Without a filter first, then the random ones, then the sections, the largest first."""
    yield Case("no filter", None, _ALWAYS, np.ones(len(data.vectors), dtype=bool))
    for permille in PERMILLES:
        below = permille * DRAWS // 1_000
        condition = sql.SQL("draw < {}").format(sql.Literal(below))
        yield Case(f"{permille / 10:g} % random", f"draw < {below}", condition, data.draws < below)
    names, sizes = np.unique(data.sections, return_counts=True)
    for position in np.argsort(-sizes, kind="stable")[: np.sum(sizes >= SMALLEST_SECTION)]:
        name = str(names[position])
        condition = sql.SQL("section = {}").format(sql.Literal(name))
        yield Case(name, f"section == '{name}'", condition, data.sections == name)


@dataclass(frozen=True)
class Contest:
    """One case: who searches, and what came of it so far, by name; the yardstick is among them."""

    case: Case
    searches: Mapping[str, Search]
    tallies: Mapping[str, Tally]

    def warm_up(self, queries: Vectors) -> None:
        for search in self.searches.values():
            for number in range(_WARMING):
                search(queries[number % len(queries)])

    def play_round(self, queries: Vectors) -> None:
        """In short turns, each beginning with another one: what disturbs one disturbs all, and nobody finds the
        pages warm that another one has just read for the same query.
        """
        names = list(self.searches)
        for tally in self.tallies.values():
            tally.begin_round()
        for turn, begin in enumerate(range(0, len(queries), _TURN)):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                for number in range(begin, min(begin + _TURN, len(queries))):
                    started = time.perf_counter_ns()
                    answer = self.searches[name](queries[number])
                    elapsed = time.perf_counter_ns() - started
                    self.tallies[name].add(number, answer, elapsed / 1e6)

    def row(self) -> Row:
        ratios = self.tallies[OURS].percentiles(50) / self.tallies[_YARDSTICK].percentiles(50)
        return Row(
            label=self.case.label,
            rows=int(self.case.matching.sum()),
            share=float(self.case.matching.mean()),
            figures={name: tally.figures() for name, tally in self.tallies.items() if name != _YARDSTICK},
            times_yardstick=float(np.median(ratios)),
        )


def contests(
    data: Dataset, queries: Vectors, collection: Collection, connections: Mapping[str, raw.Connection]
) -> Iterator[Contest]:
    similarities = cosine_similarities(queries, data.vectors)
    everything = Truth(similarities, np.ones(len(data.vectors), dtype=bool))
    yardstick = raw.searching(connections["off"], _ALWAYS, queries[0])
    for case in cases(data):
        truth = Truth(similarities, case.matching)
        searches = {OURS: ours.searching(collection, case.filter)}
        for name, connection in connections.items():
            searches[f"raw, {name}"] = raw.searching(connection, case.condition, queries[0])
        yield Contest(
            case,
            searches | {_YARDSTICK: yardstick},
            {name: Tally(truth) for name in searches} | {_YARDSTICK: Tally(everything)},
        )


def run(store: Store, data: Dataset, options: argparse.Namespace) -> Report:
    started = time.perf_counter()
    collection = ours.loaded(store, data, partitions=options.partitions, indexed_filters=not options.no_index)
    queries = data.queries[: options.queries]
    with ExitStack() as stack:
        connections = {name: stack.enter_context(raw.connected(store.engine.url, name)) for name in raw.ITERATIVE_SCANS}
        played = list(contests(data, queries, collection, connections))
        for contest in _shown(played, "warming up"):
            contest.warm_up(queries)
        for number in range(options.rounds):
            for contest in _shown(played, f"round {number + 1} of {options.rounds}"):
                contest.play_round(queries)
    rows = [contest.row() for contest in played]
    setting = {
        "data": data.name,
        "rows": len(data.vectors),
        "dimensions": data.vectors.shape[1],
        "queries": len(queries),
        "rounds": options.rounds,
        "partitions": options.partitions,
        "btree": not options.no_index,
        **ours.versions(store),
        "seconds": round(time.perf_counter() - started),
    }
    return Report(setting, rows, targets(rows))


def _shown(played: Sequence[Contest], doing: str) -> Iterator[Contest]:
    errors = Console(stderr=True)
    yield from track(played, doing, console=errors, disable=not errors.is_terminal, transient=True)


def _at_least_one(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.filtered", description=__doc__)
    parser.add_argument(
        "path", nargs="?", type=Path, default=BUNDLED, help="a folder with vectors.npy, queries.npy and rows.jsonl"
    )
    parser.add_argument("--clustered", type=_at_least_one, metavar="ROWS", help="instead of a folder, make rows up")
    parser.add_argument("--queries", type=_at_least_one, default=200, help="of a round, 200 unless there are fewer")
    parser.add_argument("--rounds", type=_at_least_one, default=3)
    parser.add_argument("--partitions", type=_at_least_one, default=1)
    parser.add_argument("--no-index", action="store_true", help="without a Btree on the filtered columns")
    parser.add_argument("--server", type=int, choices=(16, 18), default=18, help="the major version of PostgreSQL")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless every promise is kept")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    data = load(options.path) if options.clustered is None else clustered(options.clustered)
    with ours.temporary_store(options.server) as store:
        report = run(store, data, options)
    report.print()
    if options.json is not None:
        options.json.write_text(report.as_json(), encoding="utf-8")
    return int(options.check and not all(target.met for target in report.targets))


if __name__ == "__main__":
    sys.exit(main())
