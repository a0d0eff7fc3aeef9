"""`python -m benchmarks.document [FOLDER]`: write what was measured into docs/performance.md.

FOLDER holds the JSON of runs with --out, one file a case; it is docs/performance unless said otherwise. Tables go
between `<!-- measured: NAME -->` and `<!-- end -->`, charts beside the JSON; the rest of the text is its authors'.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import charts
from .__main__ import CASES
from .peers.report import PeerReport
from .results import Curve, Report, Result, listed, markdown

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"

_PART = re.compile(r"(<!-- measured: (?P<name>[a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_NOT_MEASURED = "Not measured yet.\n"

# What is the same for all cases of a run, and is said once.
_MACHINE = ("PostgreSQL", "pgvector", "processors", "memory", "system", "Python")

Reports = Mapping[str, Report]


def read(folder: Path) -> dict[str, Report]:
    """The reports there are, by the case's name, in the order in which the cases are run."""
    files = {name: folder / f"{name}.json" for name in CASES}
    return {name: Report.from_json(file.read_text(encoding="utf-8")) for name, file in files.items() if file.exists()}


def read_peers(folder: Path) -> PeerReport | None:
    file = folder / "peers.json"
    return PeerReport.from_json(file.read_text(encoding="utf-8")) if file.exists() else None


def written(text: str, reports: Reports, peers: PeerReport | None = None) -> str:
    """The text with all tables in it as the reports have them."""
    parts = {name: _report(report) for name, report in reports.items()}
    parts["targets"] = _targets(reports)
    parts["peers"] = [] if peers is None else [*peers.table(), "", f"On {listed(peers.setting)}."]

    def filled(part: re.Match[str]) -> str:
        lines = parts.get(part["name"])
        return part[1] + ("\n".join(lines) + "\n" if lines else _NOT_MEASURED) + part[3]

    return _PART.sub(filled, text)


def _targets(reports: Reports) -> list[str]:
    targets = [target for report in reports.values() for result in report.results for target in result.targets]
    rows = [(target.promise, target.asked, target.measured, "yes" if target.met else "**no**") for target in targets]
    machines = {listed({name: report.setting[name] for name in _MACHINE}) for report in reports.values()}
    table = markdown(("", "asked", "reached", "met"), rows)
    return [*table, "", *(f"On {machine}." for machine in sorted(machines))] if rows else []


def _report(report: Report) -> list[str]:
    lines: list[str] = []
    compared = [result for result in report.results if result.sides]
    if compared:
        header = ("", "ratio", "p50 ms", "p99 ms", "client CPU ms", "server CPU ms")
        lines += [*markdown(header, [_row(result) for result in compared]), ""]
        lines += ["Each cell is vecstore / by hand.", ""]
    lines += [line for result in report.results for line in _notes(result)]
    lines += [line for curve in report.curves for line in _curve(curve)]
    lines.append(_occasion(report.setting))
    return lines


def _occasion(setting: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in setting.items() if name in {"load average", "date"}}
    return (
        f"{setting['data']}: {setting['rows']:,} x {setting['dimensions']}, {setting['rounds']} rounds, "
        f"{setting['queries']} queries, {listed(rest)}."
    )


def _row(result: Result) -> tuple[str, ...]:
    sides = list(result.sides.values())
    figures = [
        " / ".join(_shown(number) for number in numbers)
        for numbers in zip(*((side.p50, side.p99, side.client_cpu, side.server_cpu) for side in sides), strict=True)
    ]
    return (result.case, "" if result.ratio is None else f"{result.ratio:.2f}", *figures)


def _shown(milliseconds: float) -> str:
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"  # noqa: PLR2004


def _notes(result: Result) -> Iterator[str]:
    if result.notes:
        yield f"{result.case}: {listed(result.notes)}"
        yield ""


def _curve(curve: Curve) -> Iterator[str]:
    columns = {f"{name}, p50 ms": line for name, line in curve.p50.items()}
    columns |= {f"{name}, CPU ms": line for name, line in curve.cpu.items()}
    rows = [(f"{x:,}", *(f"{line[position]:.3g}" for line in columns.values())) for position, x in enumerate(curve.x)]
    yield f"![{curve.case}](performance/{charts.curve_file(curve)})"
    yield ""
    yield from markdown((curve.x_label, *columns), rows)
    yield ""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.document", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DOCUMENT.with_suffix(""), metavar="FOLDER")
    folder = parser.parse_args(arguments).folder
    reports, peers = read(folder), read_peers(folder)
    text = DOCUMENT.read_text(encoding="utf-8")
    homeless = sorted(reports.keys() - {part["name"] for part in _PART.finditer(text)})
    if homeless:
        parser.error(f"{DOCUMENT.name} has no place for {', '.join(homeless)}: <!-- measured: {homeless[0]} -->")
    DOCUMENT.write_text(written(text, reports, peers), encoding="utf-8")
    charts.drawn(list(reports.values()), DOCUMENT.with_suffix(""))
    if peers is not None:
        charts.drawn_peers(peers, DOCUMENT.with_suffix("") / "peers.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
