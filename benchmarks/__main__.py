"""`python -m benchmarks`: vecstore beside hand-written psycopg, case by case, with targets.

Each case runs both on one server and the same tables, in turns. What counts is the ratio of one run: p50 of vecstore
in that by hand, the median of the rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from . import (
    building,
    charts,
    entities,
    gateway,
    growth,
    importing,
    ingest,
    link,
    machine,
    memory,
    ours,
    parallel,
    searching,
)
from .bench import Bench, prepared
from .data import BUNDLED, Dataset, clustered, load
from .printing import print_curve, print_result, print_setting, print_targets
from .results import Curve, Report, Result

Cases = Callable[[Bench], Iterator[Result | Curve]]

CASES: Mapping[str, Cases] = {
    "search": searching.cases,
    "link": link.cases,
    "parallel": parallel.cases,
    "ingest": ingest.cases,
    "entities": entities.cases,
    "build": building.cases,
    "import": importing.cases,
    "memory": memory.cases,
    "growth": growth.cases,
    "gateway": gateway.cases,
}
ASKED_FOR_BY_NAME = frozenset({"growth", "gateway"})


def run(data: Dataset, names: Sequence[str], options: argparse.Namespace) -> dict[str, Report]:
    """A report of each name's cases, printed as they come."""
    reports = {}
    with prepared(data, major=options.server, rounds=options.rounds, queries=options.queries) as bench:
        setting = {
            "data": data.name,
            "rows": len(data.vectors),
            "dimensions": data.dim,
            "rounds": bench.rounds,
            "queries": len(bench.queries),
            **ours.versions(bench.store),
            **machine.described(),
            "date": datetime.now(UTC).date().isoformat(),
        }
        for name in names:
            started = time.perf_counter()
            results, curves = _measured(CASES[name](bench))
            reports[name] = Report({**setting, "seconds": round(time.perf_counter() - started)}, results, curves)
            print_setting(reports[name])
    return reports


def _measured(cases: Iterator[Result | Curve]) -> tuple[list[Result], list[Curve]]:
    results: list[Result] = []
    curves: list[Curve] = []
    for found in cases:
        if isinstance(found, Result):
            results.append(found)
            print_result(found)
        else:
            curves.append(found)
            print_curve(found)
    return results, curves


def _at_least_one(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def _shape(word: str) -> tuple[int, int]:
    rows, _, dim = word.partition("x")
    try:
        return _at_least_one(rows), _at_least_one(dim)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is not ROWSxDIMENSIONS, such as 200000x768") from None


def _names(word: str) -> list[str]:
    names = word.split(",")
    unknown = sorted(set(names) - CASES.keys())
    if unknown:
        raise argparse.ArgumentTypeError(f"no cases {', '.join(unknown)}; there are {', '.join(CASES)}")
    return names


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=BUNDLED, metavar="DIR", help="with vectors.npy, queries.npy and rows.jsonl"
    )
    parser.add_argument("--synthetic", type=_shape, metavar="ROWSxDIM", help="instead of a folder, make rows up")
    all_but = [name for name in CASES if name not in ASKED_FOR_BY_NAME]
    parser.add_argument(
        "--only", type=_names, default=all_but, metavar="CASES", help=f"of {', '.join(CASES)}, with commas between"
    )
    parser.add_argument("--rounds", type=_at_least_one, default=5)
    parser.add_argument("--queries", type=_at_least_one, default=200, help="of a round, 200 unless there are fewer")
    parser.add_argument("--server", type=int, choices=(16, 18), default=18, help="the major version of PostgreSQL")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write JSON, a file a case, and charts here")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless every target is reached")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    data = load(options.data) if options.synthetic is None else clustered(*options.synthetic)
    reports = run(data, options.only, options)
    targets = [target for report in reports.values() for result in report.results for target in result.targets]
    print_targets(targets)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, report in reports.items():
            (options.out / f"{name}.json").write_text(report.as_json(), encoding="utf-8")
        charts.drawn(list(reports.values()), options.out)
    return int(options.check and not all(target.met for target in targets))


if __name__ == "__main__":
    sys.exit(main())
