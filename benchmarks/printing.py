"""Results on a terminal, as they come."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from .results import Curve, Report, Result, Target, listed

_WIDTH = 150


def _console() -> Console:
    return Console(width=max(Console().width, _WIDTH))


def print_result(result: Result) -> None:
    console = _console()
    shown = "" if result.ratio is None else f": {result.ratio:.2f}"
    console.print(f"[bold]{result.case}[/bold]{shown}", highlight=False)
    if result.sides:
        table = Table(box=None, pad_edge=False)
        for name in ("", "calls", "p50 ms", "p99 ms", "client CPU ms", "server CPU ms"):
            table.add_column(name, justify="right" if name else "left")
        for name, found in result.sides.items():
            numbers = (found.p50, found.p99, found.client_cpu, found.server_cpu)
            table.add_row(f"  {name}", f"{found.calls:,}", *(f"{number:,.3f}" for number in numbers))
        console.print(table, highlight=False)
    if result.notes:
        console.print("  " + listed(result.notes))


def print_curve(curve: Curve) -> None:
    table = Table(title=curve.case, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(curve.x_label, justify="right")
    for name in curve.p50:
        table.add_column(f"{name}\np50 / CPU ms", justify="right")
    for position, x in enumerate(curve.x):
        table.add_row(
            f"{x:,}", *(f"{line[position]:,.3f} / {curve.cpu[name][position]:,.3f}" for name, line in curve.p50.items())
        )
    _console().print(table, highlight=False)


def print_targets(targets: Sequence[Target]) -> None:
    table = Table(title="Targets", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in ("", "asked", "reached", "met"):
        table.add_column(name, justify="right" if name in {"asked", "reached"} else "left")
    for target in targets:
        met = "[green]yes[/green]" if target.met else "[bold red]no[/bold red]"
        table.add_row(target.promise, target.asked, target.measured, met)
    _console().print(table, highlight=False)


def print_setting(report: Report) -> None:
    _console().print(listed(report.setting) + "\n", highlight=False)
