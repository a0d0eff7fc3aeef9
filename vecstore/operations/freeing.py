"""Free the space of what was dropped: at last what was kept, and at once what is too much for one transaction.

A collection that is being freed is marked as dropped in its registry; it cannot be taken back, and whoever comes after
an interruption goes on with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, text

from .. import catalog, ddl, registry, trash
from ..database import Database
from ..errors import InvalidArgument, VecstoreError
from ..trash import Trashed

T = TypeVar("T")

_BATCH = 100

_log = logging.getLogger(__name__)

_UNFINISHED = text("""
    SELECT r.entities::oid::int8 AS oid, n.nspname AS schema, r.dropped_name AS name,
           pg_catalog.pg_has_role(c.relowner, 'USAGE') AS is_mine
    FROM vecstore.collection_registry r
    JOIN pg_catalog.pg_class c ON c.oid = r.entities
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE r.dropped_at IS NOT NULL
    ORDER BY r.dropped_at
""")

_LEAVES = text("""
    SELECT c.relname FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = CAST(:oid AS oid) ORDER BY c.oid LIMIT :most
""")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A collection that is being freed, or that an interruption has left; name is the one it had."""

    oid: int
    schema: str
    name: str
    is_mine: bool


def unfinished(connection: Connection) -> list[Unfinished]:
    return [Unfinished(*row) for row in connection.execute(_UNFINISHED)]


def finish(database: Database) -> None:
    """Free what dropped collections still hold, a hundred partitions a transaction.

    May be interrupted anywhere and run again.
    """
    with database.reading("look for dropped collections") as connection:
        waiting = unfinished(connection)
    _each(partial(_free, database), waiting)


def _free(database: Database, found: Unfinished) -> None:
    while not database.alter(f"free {found.schema}", [found.schema], _Batch(found.oid, found.schema)):
        pass


def _each(work: Callable[[T], None], things: Iterable[T]) -> None:
    """One that somebody uses, or owns, keeps no other from being worked on; the first error is raised at the end."""
    failed: list[VecstoreError] = []
    for thing in things:
        try:
            work(thing)
        except VecstoreError as error:
            failed.append(error)
    if failed:
        raise failed[0]


def finish_after_drop(database: Database) -> None:
    """Free them as far as that goes now: the drop is committed, whatever comes of this."""
    try:
        finish(database)
    except VecstoreError:
        _log.warning("what was dropped could not all be freed; store.repair() goes on with it", exc_info=True)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Drop up to a hundred partitions; True when the collection is gone. The drop has dealt with dependents."""

    oid: int
    schema: str

    def __call__(self, connection: Connection) -> bool:
        if not catalog.schema_exists(connection, self.schema):
            return True
        leaves = connection.execute(_LEAVES, {"oid": self.oid, "most": _BATCH}).scalars().all()
        for leaf in leaves:
            connection.execute(ddl.drop_table(self.schema, leaf, cascade=True))
        if len(leaves) == _BATCH:
            return False
        connection.execute(registry.forget_collection(self.oid))
        connection.execute(ddl.drop_schema(self.schema, cascade=True))
        return True


def purge(database: Database, older_than: timedelta | None) -> tuple[trash.TrashEntry, ...]:
    """Free what is past its keep, or was dropped longer ago than that; returns what is not in the trash any more."""
    if older_than is not None and (not isinstance(older_than, timedelta) or older_than < timedelta(0)):
        raise InvalidArgument(f"older_than must be a timedelta of 0 or more, got {older_than!r:.80}")
    if not database.owns_transactions:
        raise InvalidArgument("purge() cannot be part of a transaction; call it on the store itself")
    with database.writing("look into the trash") as connection:
        connection.execute(registry.forget_lost_trash())
        listed = trash.entries(connection)
        due = trash.due(connection, older_than)

    freed = set()

    def give_up(entry: Trashed) -> None:
        if database.alter(f"free {entry.label}", [entry.schema], partial(_give_up, entry)):
            freed.add(entry.id)

    try:
        _each(give_up, due)
    finally:
        with database.reading("look for dropped collections") as connection:
            waiting = [found for found in unfinished(connection) if found.is_mine]
        _each(partial(_free, database), waiting)
    return tuple(entry for entry in listed if entry.id in freed)


def _give_up(entry: Trashed, connection: Connection) -> bool:
    """Of a partition, all; of a collection, which may be large, the way back. False where somebody was faster."""
    if not trash.is_there(connection, entry.id):
        return False
    if entry.partition is not None:
        connection.execute(registry.forget_trash(entry.id))
        connection.execute(ddl.drop_table(entry.schema, entry.table, cascade=True))
        connection.execute(ddl.drop_schema(entry.schema, cascade=True))
        return True
    for schema in entry.alias_places.values():
        if catalog.schema_exists(connection, schema):
            connection.execute(registry.forget_alias(schema))
            connection.execute(ddl.drop_schema(schema, cascade=True))
    for statement in registry.give_up(entry.id):
        connection.execute(statement)
    return True
