"""A run as tables on a terminal and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from .measuring import Figures
from .targets import OURS, Row, Target

# Wider than a terminal that was not asked; a narrower one is to wrap whole lines, not cells.
_WIDTH = 200
_HEADER = "recall short   p50    p99"


@dataclass(frozen=True)
class Report:
    """setting says what was measured on what; times are in ms."""

    setting: dict[str, Any]
    rows: Sequence[Row]
    targets: Sequence[Target]

    def as_json(self) -> str:
        rows = [
            {**row._asdict(), "figures": {name: asdict(found) for name, found in row.figures.items()}}
            for row in self.rows
        ]
        document = {"setting": self.setting, "rows": rows, "targets": [asdict(target) for target in self.targets]}
        return json.dumps(document, indent=1)

    def print(self) -> None:
        console = Console(width=max(Console().width, _WIDTH))
        console.print(", ".join(f"{name} {value}" for name, value in self.setting.items()), highlight=False)
        console.print(_rows(self.rows), highlight=False)
        console.print(
            "recall@10 against brute force; short: answers of fewer than min(10, matching) rows; p50, p99 in ms, "
            "median of the rounds;\ni: by the vector index, e: exact, i+e: by the index, then exact; "
            "times: vecstore's p50 in that of raw pgvector without a filter, measured beside it\n",
            highlight=False,
        )
        console.print(_targets(self.targets), highlight=False)


def _rows(rows: Sequence[Row]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("filter", no_wrap=True)
    table.add_column("matching", justify="right")
    names = list(rows[0].figures)
    for name in names:
        table.add_column(f"{name}\n{_HEADER}", no_wrap=True)
        if name == OURS:
            table.add_column("times", justify="right")
    for row in rows:
        cells = [_cell(row.figures[name]) for name in names]
        cells.insert(names.index(OURS) + 1, f"{row.times_yardstick:.2f}")
        table.add_row(row.label, f"{row.rows:,}", *cells)
    return table


def _cell(figures: Figures) -> str:
    numbers = f"{figures.recall:6.3f} {figures.short:5} {figures.p50:5.2f} {figures.p99:6.2f}"
    return f"{numbers} {_paths(figures.paths)}"


def _paths(paths: dict[str, int]) -> str:
    """Initials, with their counts where there are several."""
    short = {"+".join(word[0] for word in path.split("+")): count for path, count in paths.items()}
    return next(iter(short)) if len(short) == 1 else " ".join(f"{count}{path}" for path, count in short.items())


def _targets(targets: Sequence[Target]) -> Table:
    table = Table(title="Promised, for vecstore", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in ("", "reached", "worst row", "met"):
        table.add_column(name, justify="right" if name == "reached" else "left")
    for target in targets:
        met = "[green]yes[/green]" if target.met else "[bold red]no[/bold red]"
        table.add_row(target.promise, f"{target.reached:.4g}", target.worst, met)
    return table
