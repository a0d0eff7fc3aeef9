"""What takes longer than clients wait for an answer: it goes on after it, and can be asked after."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field

from ..errors import VecstoreError
from .errors import Fault, MilvusError

# Clients of Node give a call fifteen seconds.
_PATIENCE = 5.0
_REMEMBERED = 1_000
_log = logging.getLogger("vecstore.gateway")

AT_ONCE = 4
"""So many are at work in a process; more wait for their turn. Each has memory of the server's."""

CONNECTIONS_EACH = 3
"""One works, one keeps other changes out meanwhile, one looks."""


@dataclass(frozen=True, slots=True, eq=False)
class Undertaking:
    """One that has begun, or waits for its turn.

    number  by which clients ask after it
    of      what is done, and to what
    line    of what has the same, one is done after the other, as they came
    before  the one before it in the line
    """

    number: int
    of: Hashable
    line: Hashable
    before: Future[None] | None
    done: Future[None] = field(default_factory=Future)

    @property
    def is_under_way(self) -> bool:
        return not self.done.done()

    @property
    def has_failed(self) -> bool:
        return self.done.done() and self.done.exception() is not None


class Undertakings:
    """Those of this process, a while back. Of one thing there is one at a time: who asks for another is given it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[int, Undertaking] = {}  # the oldest first
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._ended = threading.Event()

    def known(self, number: int) -> Undertaking | None:
        return self._known.get(number)

    def under_way(self, of: Hashable) -> Undertaking | None:
        return next((it for it in list(self._known.values()) if it.of == of and it.is_under_way), None)

    def begin(self, of: Hashable, work: Callable[[], object], *, line: Hashable) -> Undertaking:
        """Have the work done; returns when it is, or has gone on for some seconds. Raises what it raised by then."""
        found, is_new = self._found(of, line)
        if is_new:
            # No pool: the process may end before the work does, which PostgreSQL then brings to its end, or takes back.
            threading.Thread(target=self._run, args=(found, work), name="vecstore-undertaking", daemon=True).start()
        wait([found.done], timeout=_PATIENCE)
        if not found.is_under_way:
            found.done.result()
        return found

    def end(self, seconds: float) -> None:
        """Begin no other, and wait this long for those that are under way."""
        self._ended.set()
        with self._lock:
            under_way = [it.done for it in self._known.values() if it.is_under_way]
        wait(under_way, timeout=seconds)

    def _found(self, of: Hashable, line: Hashable) -> tuple[Undertaking, bool]:
        """The one that is under way, or a new one; and whether it is new."""
        with self._lock:
            if (known := self.under_way(of)) is not None:
                return known, False
            before = [it.done for it in self._known.values() if it.line == line and it.is_under_way]
            number = max([time.time_ns(), *(number + 1 for number in self._known)])
            new = Undertaking(number, of, line, before[-1] if before else None)
            self._known[new.number] = new
            self._forget()
            return new, True

    def _forget(self) -> None:
        old = [number for number, it in self._known.items() if not it.is_under_way]
        for number in old[: max(0, len(self._known) - _REMEMBERED)]:
            del self._known[number]

    def _run(self, undertaking: Undertaking, work: Callable[[], object]) -> None:
        try:
            if undertaking.before is not None:
                wait([undertaking.before])
            with self._turns:
                self._check_goes_on()
                work()
        except BaseException as exc:  # noqa: BLE001 - whatever it is, who waits is told
            about = {"undertaking": undertaking.number, "of": undertaking.of, "reason": str(exc)}
            _log.warning("an undertaking failed", extra=about, exc_info=not isinstance(exc, VecstoreError))
            undertaking.done.set_exception(_alone(exc))
        else:
            undertaking.done.set_result(None)

    def _check_goes_on(self) -> None:
        if self._ended.is_set():
            raise MilvusError(Fault.UNAVAILABLE, "the gateway was stopped")


def _alone(error: BaseException) -> BaseException:
    """The error without its tracebacks, whose frames would be remembered with it, and all that is in them."""
    link: BaseException | None = error
    while link is not None:
        link = link.with_traceback(None).__context__
    return error
