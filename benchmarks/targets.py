"""What is promised of filtered search, and whether a run of the benchmark kept it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .measuring import Figures

OURS = "vecstore"
FEW = 0.10


class Row(NamedTuple):
    """One filter's line: how many rows match, everybody's figures, and vecstore's p50 in those of the yardstick."""

    label: str
    rows: int
    share: float
    figures: dict[str, Figures]
    times_yardstick: float

    @property
    def ours(self) -> Figures:
        return self.figures[OURS]

    @property
    def is_filtered(self) -> bool:
        return self.share < 1


@dataclass(frozen=True, slots=True)
class Target:
    """A promise, what was reached, and in which row, the worst."""

    promise: str
    reached: float
    worst: str
    met: bool


def targets(rows: Sequence[Row]) -> list[Target]:
    filtered = [row for row in rows if row.is_filtered]
    shortest = max(rows, key=lambda row: row.ours.short)
    short = sum(row.ours.short for row in rows)
    slowest = max(filtered, key=lambda row: row.times_yardstick)
    return [
        Target("answers short: 0", short, shortest.label, short == 0),
        _recall("recall, every row: at least .97", 0.97, rows),
        _recall("recall, at most 10 % match: at least .99", 0.99, [row for row in filtered if row.share <= FEW]),
        _recall("recall, no filter: at least .97", 0.97, [row for row in rows if not row.is_filtered]),
        Target(
            "p50, filtered: at most 4 times raw unfiltered",
            slowest.times_yardstick,
            slowest.label,
            slowest.times_yardstick <= 4,  # noqa: PLR2004 - it stands in the promise
        ),
    ]


def _recall(promise: str, least: float, rows: Sequence[Row]) -> Target:
    worst = min(rows, key=lambda row: row.ours.recall)
    return Target(promise, worst.ours.recall, worst.label, worst.ours.recall >= least)
