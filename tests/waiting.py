"""Wait for what can be seen, however slow the machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

# Far longer than anything takes: whoever waits for so long waits for what will not come.
SECONDS = 120


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


@contextmanager
def reader(engine: Engine) -> Iterator[None]:
    """Somebody's open transaction that sees what was: an index is built, and not finished before the transaction ends.

    It has read no table, so a drop need not wait for it.
    """
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.exec_driver_sql("SELECT 1")
        yield
