"""Errors that a change made meanwhile by somebody else causes, said in terms of the data model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from .. import catalog
from ..database import Database
from ..errors import CollectionNotFound, DatabaseError
from ..pipeline import UNPREPARED

T = TypeVar("T")

# What a statement meets when its table goes away under it, from parsing to the executor's last look.
_GONE = frozenset({"42P01", "3F000", "42703", "42704", "XX000"})
_NO_PARTITION_FOR_ROW = "23514"


@contextmanager
def explaining(database: Database, collection: str, partition: str | None = None) -> Iterator[None]:
    """CollectionNotFound or PartitionNotFound, where that is why the server refused."""
    try:
        yield
    except DatabaseError as exc:
        if exc.sqlstate in _GONE or exc.sqlstate == _NO_PARTITION_FOR_ROW:
            try:
                with database.reading(f"look at {collection!r}") as connection:
                    description = catalog.describe(connection, collection)
                    is_there = catalog.table_exists(connection, description.name)
                if not is_there:  # the caller's snapshot is older than the drop
                    raise CollectionNotFound(
                        f"no collection {collection!r}: it was dropped since the transaction began"
                    )
                if partition is not None:
                    description.partition(partition)
            except LookupError as found:
                raise found from exc
        raise


def replanned(database: Database, attempt: Callable[[], T]) -> T:
    """Read; once more where a prepared plan no longer fits the table it was made for: the session has forgotten it."""
    try:
        return database.repeated(attempt)
    except DatabaseError as exc:
        if exc.sqlstate not in UNPREPARED:
            raise
    return attempt()
