"""What was found out a moment ago, and need not be asked again yet."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")


class Recent:
    """Values by key, each for some seconds, the oldest dropped when there are too many. Threads may share it."""

    def __init__(self, *, seconds: float, size: int = 4096) -> None:
        self._seconds = seconds
        self._size = size
        self._values: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()
        self._lock = Lock()

    def known(self, key: Hashable) -> Any | None:
        """The value of the key; None where there is none, or it is too old."""
        until, value = self._values.get(key, (0.0, None))
        return value if until > time.monotonic() else None

    def keep(self, key: Hashable, value: T) -> T:
        now = time.monotonic()
        with self._lock:
            self._forget(now)
            self._values.pop(key, None)
            self._values[key] = (now + self._seconds, value)
        return value

    def get(self, key: Hashable | None, find: Callable[[], T]) -> T:
        """The value of the key; found anew where there is none, or it is too old, and each time for the key None."""
        if key is None:
            return find()
        until, value = self._values.get(key, (0.0, None))
        if until > time.monotonic():
            known: T = value
            return known
        return self.keep(key, find())

    def clear(self) -> None:
        with self._lock:
            self._values.clear()

    def _forget(self, now: float) -> None:
        """Make room: the values stand in the order in which they grow too old."""
        while self._values:
            until, _ = next(iter(self._values.values()))
            if until > now and len(self._values) < self._size:
                return
            self._values.popitem(last=False)
