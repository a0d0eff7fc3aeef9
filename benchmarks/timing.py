"""Work done in turns by several sides, timed: wall clock, the client's CPU and that of the server's processes.

Machines are noisy, and what disturbs one side is to disturb the others: a round is made of short turns, each begun by
another side, and what counts is the ratio of two sides in one round.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psycopg
from numpy.typing import NDArray
from sqlalchemy import URL

_TICKS = os.sysconf("SC_CLK_TCK")
_MS = 1_000


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Side:
    """One who does the work.

    call    does it once; its argument counts the calls of a round
    before  puts right what a turn needs; not timed
    """

    call: Callable[[int], object]
    before: Callable[[], object] = _nothing


@dataclass
class Times:
    """What one side took: seconds of each call by the round, and CPU seconds of all calls together."""

    rounds: list[list[float]] = field(default_factory=list)
    client_cpu: float = 0.0
    server_cpu: float = 0.0

    @property
    def calls(self) -> int:
        return sum(map(len, self.rounds))

    def percentiles(self, percent: float) -> NDArray[np.float64]:
        """Milliseconds, one figure a round."""
        return np.array([np.percentile(seconds, percent) for seconds in self.rounds]) * _MS

    @property
    def client_cpu_ms(self) -> float:
        """Of one call."""
        return self.client_cpu / self.calls * _MS

    @property
    def server_cpu_ms(self) -> float:
        """Of one call."""
        return self.server_cpu / self.calls * _MS


def ratio(one: Times, other: Times) -> float:
    """How often the other's p50 goes into the one's: the median of the rounds."""
    return float(np.median(one.percentiles(50) / other.percentiles(50)))


class Processes:
    """The server's processes, seen from outside, on Linux: what CPU the sessions of an application_name have used."""

    def __init__(self, url: URL) -> None:
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._connection = psycopg.connect(plain, autocommit=True, application_name="benchmark")
        self.postmaster = int(_stat(self._connection.info.backend_pid)[1])

    def close(self) -> None:
        self._connection.close()

    def cpu(self, application: str) -> float:
        """Seconds, of its sessions and of all processes that have ended, among them the workers of its index builds."""
        statement = "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND backend_type = 'client backend'"
        own = [_stat(pid) for (pid,) in self._connection.execute(statement, [application])]
        ended = sum(map(int, _stat(self.postmaster)[13:15]))
        return (sum(int(stat[11]) + int(stat[12]) for stat in own) + ended) / _TICKS


def _stat(pid: int) -> Sequence[str]:
    """/proc/PID/stat from the third field on: state, parent; user and system time at 11, the ended children's at 13."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()


def race(
    sides: Mapping[str, Side], processes: Processes, *, rounds: int, calls: int, turn: int = 25, warming: int = 12
) -> dict[str, Times]:
    """Let the sides, by the application_name of their sessions, work in turns; `calls` is of a round.

    warming  calls that are not counted: psycopg prepares a statement after 5 executions, PostgreSQL takes a generic
             plan, or not, after 5 more
    """
    times = {name: Times() for name in sides}
    for side in sides.values():
        if warming:
            side.before()
        for number in range(warming):
            side.call(number % calls)
    names = list(sides)
    with _garbage_set_aside():
        for _ in range(rounds):
            for taken in times.values():
                taken.rounds.append([])
            for count, begin in enumerate(range(0, calls, turn)):
                first = count % len(names)
                for name in names[first:] + names[:first]:
                    _take_turn(name, sides[name], times[name], processes, range(begin, min(begin + turn, calls)))
    return times


@contextmanager
def _garbage_set_aside() -> Iterator[None]:
    """Or the collector would go through the data that are measured on, in the middle of some call."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _take_turn(name: str, side: Side, times: Times, processes: Processes, numbers: range) -> None:
    side.before()
    server, client = processes.cpu(name), time.process_time()
    seconds = times.rounds[-1]
    for number in numbers:
        started = time.perf_counter()
        side.call(number)
        seconds.append(time.perf_counter() - started)
    times.client_cpu += time.process_time() - client
    times.server_cpu += processes.cpu(name) - server
