"""Charts of what was measured, as SVG: ratios beside their targets, and curves."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from .peers.report import PeerReport
from .results import OURS, Curve, Report, Target

_MET, _MISSED, _BOUND = "#4c8c5a", "#c0504d", "#333333"
_OWN, _OTHERS = "#3b6ea8", "#b8b8b8"
_PEERS = {
    "load_s": "load, s",
    "search_p50_ms": "search, p50 ms",
    "search_cpu_ms": "search, CPU ms",
    "filtered_p50_ms": "filtered, p50 ms",
    "memory_mb": "peak memory, MB",
}
_DECADES = 8  # from where on an axis is logarithmic: the largest in the smallest


def drawn(reports: Sequence[Report], folder: Path) -> list[Path]:
    """Write the charts there are data for; return their files."""
    return [_saved(figure, path) for path, figure in _figures(reports, folder)]


def drawn_peers(report: PeerReport, path: Path) -> Path:
    """A bar for each peer to each question."""
    figure = Figure(figsize=(11, 0.3 * len(report.peers) + 1))
    names = list(report.peers)[::-1]
    for axes, (key, title) in zip(figure.subplots(1, len(_PEERS), sharey=True), _PEERS.items(), strict=True):
        found = [report.peers[name][key] or 0 for name in names]
        axes.barh(names, found, color=[_OWN if name == OURS else _OTHERS for name in names], height=0.6)
        for place, number in enumerate(found):
            axes.annotate(f" {number:,.3g}", (number, place), va="center", fontsize=7)
        axes.set_title(title, fontsize=8)
        axes.set_xlim(0, max(found) * 1.3 or 1)
        axes.tick_params(labelsize=8)
        axes.set_xticks([])
        axes.spines[["top", "right", "bottom"]].set_visible(False)
    return _saved(figure, path)


def curve_file(curve: Curve) -> str:
    return re.sub(r"[^a-z0-9]+", "-", curve.case.lower()).strip("-") + ".svg"


def _figures(reports: Sequence[Report], folder: Path) -> Iterator[tuple[Path, Figure]]:
    targets = [target for report in reports for result in report.results for target in result.targets]
    ratios = [target for target in targets if target.unit == "times"]
    if ratios:
        yield folder / "ratios.svg", _ratios(ratios)
    for report in reports:
        for curve in report.curves:
            yield folder / curve_file(curve), _curve(curve)


def _saved(figure: Figure, path: Path) -> Path:
    # The same figures give the same file: nothing random, no date, letters that stay letters.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.stem}):
        figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    return path


def _ratios(targets: Sequence[Target]) -> Figure:
    """A bar for each target, and a line where it should end; the first on top."""
    figure = Figure(figsize=(9, 0.34 * len(targets) + 1))
    axes = figure.subplots()
    places = range(len(targets), 0, -1)
    reached = [target.reached for target in targets]
    axes.barh(places, reached, color=[_MET if target.met else _MISSED for target in targets], height=0.6)
    for place, target in zip(places, targets, strict=True):
        axes.plot([target.bound, target.bound], [place - 0.42, place + 0.42], color=_BOUND)
        axes.annotate(f" {target.measured}", (max(target.reached, target.bound), place), va="center", fontsize=8)
    axes.axvline(1, color="lightgrey", zorder=0)
    axes.set_yticks(places, [f"{target.promise} ({target.asked})" for target in targets], fontsize=8)
    axes.set_xlim(0, max(*reached, *(target.bound for target in targets)) * 1.12)
    axes.set_xlabel("vecstore in hand-written psycopg, p50; the line is the target", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _curve(curve: Curve) -> Figure:
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.subplots()
    for name, line in curve.p50.items():
        axes.plot(curve.x, line, marker="o", markersize=3, label=name)
    if max(curve.x) > _DECADES * max(1, min(curve.x)):
        axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xticks(curve.x, [f"{x:,}" for x in curve.x], fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel(curve.x_label)
    axes.set_ylabel("p50, ms")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
