"""What interrupted work leaves behind: find it, and clear it away.

After a crash of the server the transactions of the library leave nothing; only online index builds and the freeing
of collections with very many partitions, which are no transactions, can stop half-way.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, text

from .. import catalog, ddl, registry
from ..database import Database
from ..description import IndexState
from ..errors import CollectionNotFound, VecstoreError
from ..naming import DEFAULT_PARTITION
from . import indexes, partitions
from .locking import locked

_PURGE_BATCH = 100

_log = logging.getLogger(__name__)

_TRASH = text("""
    SELECT r.entities::oid::int8 AS oid, n.nspname AS schema, r.dropped_name AS name
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


def purge(database: Database) -> int:
    """Free what dropped collections of very many partitions still hold, a hundred partitions a transaction.

    Returns how many collections were freed. May be interrupted anywhere and run again.
    """
    with database.reading("look for dropped collections") as connection:
        waiting = connection.execute(_TRASH).all()
    failed: list[VecstoreError] = []
    for trash in waiting:
        try:
            while not database.alter(f"free {trash.schema}", [trash.schema], _Batch(trash.oid, trash.schema)):
                pass
        except VecstoreError as error:  # one that somebody uses, or owns, keeps no other from being freed
            failed.append(error)
    if failed:
        raise failed[0]
    return len(waiting)


def purge_after_drop(database: Database) -> None:
    """Free them as far as that goes now: the drop is committed, whatever comes of this."""
    try:
        purge(database)
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
        leaves = connection.execute(_LEAVES, {"oid": self.oid, "most": _PURGE_BATCH}).scalars().all()
        for leaf in leaves:
            connection.execute(ddl.drop_table(self.schema, leaf, cascade=True))
        if len(leaves) == _PURGE_BATCH:
            return False
        connection.execute(registry.forget_collection(self.oid))
        connection.execute(ddl.drop_schema(self.schema, cascade=True))
        return True


class FindingKind(StrEnum):
    """What doctor() can find."""

    INVALID_INDEX = "invalid index"
    UNFINISHED_DROP = "unfinished drop"
    LOST_COLLECTION = "lost collection"
    LOST_ALIAS = "lost alias"
    NO_DEFAULT_PARTITION = "no default partition"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be; repair() mends all kinds."""

    kind: FindingKind
    collection: str
    name: str
    message: str


_LOST_COLLECTIONS = text("""
    SELECT r.entities::oid::int8 AS oid FROM vecstore.collection_registry r
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c
                      WHERE c.oid = r.entities AND c.relname = 'entities' AND c.relkind = 'p')
    ORDER BY 1
""")

_LOST_ALIASES = text("""
    SELECT a.view::oid::int8 AS oid FROM vecstore.alias_registry a
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c
                      WHERE c.oid = a.view AND c.relname = 'entities' AND c.relkind = 'v')
    ORDER BY 1
""")

_FORGET_LOST_ALIAS = text(
    "DELETE FROM vecstore.alias_registry WHERE view = CAST(CAST(:oid AS oid) AS regclass)",
)

# Leaves' indexes that a killed build did not come to attach: invalid, and children of nothing.
_INVALID_LEAF_INDEXES = text("""
    SELECT x.relname
    FROM pg_catalog.pg_inherits l
    JOIN pg_catalog.pg_index i ON i.indrelid = l.inhrelid
    JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    WHERE l.inhparent = CAST(:oid AS oid) AND NOT i.indisvalid
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits p WHERE p.inhrelid = x.oid)
    ORDER BY x.relname
""")


def doctor(database: Database) -> tuple[Finding, ...]:
    """Look at every collection for leftovers of interrupted work; changes nothing."""
    found: list[Finding] = []
    with database.reading("examine the store") as connection:
        for name in catalog.collection_names(connection):
            found += _examined(connection, name)
        found += [
            Finding(FindingKind.UNFINISHED_DROP, trash.name, trash.schema, f"{trash.name!r} was dropped, not yet freed")
            for trash in connection.execute(_TRASH)
        ]
        found += [
            Finding(FindingKind.LOST_COLLECTION, "", str(row.oid), "a collection was dropped by plain SQL")
            for row in connection.execute(_LOST_COLLECTIONS)
        ]
        found += [
            Finding(FindingKind.LOST_ALIAS, "", str(row.oid), "an alias was dropped by plain SQL")
            for row in connection.execute(_LOST_ALIASES)
        ]
    return tuple(found)


def _examined(connection: Connection, name: str) -> list[Finding]:
    try:
        description = catalog.describe(connection, name)
    except CollectionNotFound:  # dropped since the names were read
        return []
    unfinished = [index.name for index in description.indexes if index.state is IndexState.INVALID]
    unfinished += connection.execute(_INVALID_LEAF_INDEXES, {"oid": description.oid}).scalars()
    found = [
        Finding(FindingKind.INVALID_INDEX, name, index, f"index {index!r} of {name!r} was not built to its end")
        for index in unfinished
    ]
    by_hand = description.schema.partition_key is None
    if by_hand and all(partition.name != DEFAULT_PARTITION for partition in description.partitions):
        message = f"collection {name!r} has lost its partition {DEFAULT_PARTITION!r}"
        found.append(Finding(FindingKind.NO_DEFAULT_PARTITION, name, DEFAULT_PARTITION, message))
    return found


def repair(database: Database) -> tuple[Finding, ...]:
    """Drop unfinished indexes, free dropped collections, forget what plain SQL dropped; returns what was mended."""
    found = doctor(database)
    failed: list[VecstoreError] = []
    for finding in found:
        try:
            _REPAIRS[finding.kind](database, finding)
        except VecstoreError as error:  # the rest is mended all the same
            failed.append(error)
    if failed:
        raise failed[0]
    return found


def _drop_index(database: Database, finding: Finding) -> None:
    def work(connection: Connection) -> None:
        description = locked(connection, finding.collection)
        # Somebody may have been building it, and be done.
        if finding in _examined(connection, description.name):
            indexes.drop_unfinished(database.bound_to(connection), description, finding.name)

    database.alter(f"drop the unfinished index {finding.name!r}", [finding.collection], work)


def _free(database: Database, finding: Finding) -> None:  # noqa: ARG001 - all of them at once
    purge(database)


def _forget_collection(database: Database, finding: Finding) -> None:
    with database.writing("forget a lost collection") as connection:
        connection.execute(registry.forget_collection(int(finding.name)))


def _forget_alias(database: Database, finding: Finding) -> None:
    with database.writing("forget a lost alias") as connection:
        connection.execute(_FORGET_LOST_ALIAS, {"oid": int(finding.name)})


def _add_default_partition(database: Database, finding: Finding) -> None:
    partitions.create(database, finding.collection, DEFAULT_PARTITION)


_REPAIRS = {
    FindingKind.INVALID_INDEX: _drop_index,
    FindingKind.UNFINISHED_DROP: _free,
    FindingKind.LOST_COLLECTION: _forget_collection,
    FindingKind.LOST_ALIAS: _forget_alias,
    FindingKind.NO_DEFAULT_PARTITION: _add_default_partition,
}
