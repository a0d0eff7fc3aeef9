"""What was found out a moment ago, and need not be asked again yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Recent:
    """Values by key, each for some seconds, the oldest dropped when there are too many. Threads may share it."""

    def __init__(self, *, seconds: float, size: int = 1024) -> None:
        self._seconds = seconds
        self._size = size
        self._values: dict[Hashable, tuple[float, Any]] = {}

    def get(self, key: Hashable, find: Callable[[], T]) -> T:
        """The value of the key; found anew where there is none, or it is too old."""
        now = time.monotonic()
        until, value = self._values.get(key, (now, None))
        if until > now:
            known: T = value
            return known
        found = find()
        while len(self._values) >= self._size:
            self._values.pop(next(iter(self._values)), None)
        self._values[key] = (now + self._seconds, found)
        return found
