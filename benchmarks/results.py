"""What a run came to: figures of each side, targets reached or not, curves; to JSON and back. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .timing import Times, ratio

OURS = "vecstore"
BY_HAND = "by hand"


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds of one call: medians of the rounds, and means of CPU time."""

    calls: int
    p50: float
    p99: float
    client_cpu: float
    server_cpu: float


def figures(times: Times) -> Figures:
    return Figures(
        calls=times.calls,
        p50=float(np.median(times.percentiles(50))),
        p99=float(np.median(times.percentiles(99))),
        client_cpu=times.client_cpu_ms,
        server_cpu=times.server_cpu_ms,
    )


@dataclass(frozen=True, slots=True)
class Target:
    """A promise, and what was reached. unit: "times", where a ratio is meant, or of what is measured."""

    promise: str
    reached: float
    bound: float
    unit: str = "times"
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.reached >= self.bound if self.at_least else self.reached <= self.bound

    @property
    def asked(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {_with_unit(self.bound, self.unit)}"

    @property
    def measured(self) -> str:
        return _with_unit(self.reached, self.unit)


def _with_unit(number: float, unit: str) -> str:
    shown = f"{number:.3g}" if abs(number) < 100 else f"{number:,.0f}"  # noqa: PLR2004
    return shown if unit == "times" else f"{shown} {unit}"


@dataclass(frozen=True, slots=True)
class Result:
    """One case: the sides' figures, the targets, and what else is to be known, in words.

    ratio  p50 of vecstore in that of the other side; None where there is no other
    """

    case: str
    sides: Mapping[str, Figures]
    targets: Sequence[Target] = ()
    ratio: float | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


def compared(
    case: str, times: Mapping[str, Times], *targets: Target, most: float | None = None, **notes: Any
) -> Result:
    """Of a race between vecstore and another side, whose ratio of p50 may be at most `most`."""
    ours, other = times[OURS], next(taken for name, taken in times.items() if name != OURS)
    found = ratio(ours, other)
    promised = [] if most is None else [Target(case, found, most)]
    sides = {name: figures(taken) for name, taken in times.items()}
    return Result(case, sides, (*promised, *targets), found, notes)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table; all columns but the first are numbers."""
    rule = ["---", *["--:"] * (len(header) - 1)]
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]


def listed(setting: Mapping[str, object]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {noted(value)}" for name, value in setting.items())


def noted(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True)
class Curve:
    """How p50 grows: lines by name, milliseconds for each x; and CPU milliseconds of client and server together."""

    case: str
    x_label: str
    x: Sequence[float]
    p50: Mapping[str, Sequence[float]]
    cpu: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Report:
    """setting says what was measured on what, and when."""

    setting: Mapping[str, Any]
    results: Sequence[Result] = ()
    curves: Sequence[Curve] = ()

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Report:
        read = json.loads(text)
        return cls(read["setting"], [*map(_result, read["results"])], [Curve(**curve) for curve in read["curves"]])


def _result(read: dict[str, Any]) -> Result:
    sides = {name: Figures(**found) for name, found in read["sides"].items()}
    targets = [Target(**target) for target in read["targets"]]
    return Result(read["case"], sides, targets, read["ratio"], read["notes"])
