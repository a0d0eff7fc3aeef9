"""Wait for what can be seen, however slow the machine."""

from __future__ import annotations

import time
from collections.abc import Callable

# Far longer than anything takes: whoever waits for so long waits for what will not come.
SECONDS = 120


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)
