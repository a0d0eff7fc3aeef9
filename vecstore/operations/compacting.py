"""Give back what deleted rows hold: vector indexes built anew, then VACUUM; a leaf at a time, nobody waits."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, text

from .. import ddl
from ..conditions import checked_partitions
from ..database import Database
from ..ddl import set_local
from ..description import CollectionDescription
from ..errors import PermissionDenied, VecstoreError
from ..progress import tracked
from ..rebuilding import build_memory
from ..schema import Hnsw
from . import indexes
from .building import with_memory_of_session
from .explaining import explaining
from .locking import locked
from .opening import Opened, opened_anew
from .wear import SMALL, LeafIndex, leaf_indexes, worn

_log = logging.getLogger(__name__)

# Of all rows. VACUUM mends the graph of an HNSW index around each dead row, which soon takes longer than to build it
# anew: from a fiftieth on where it fits into maintenance_work_mem, from a fifth on where it is five times too large.
_DEAD = 0.1


@dataclass(frozen=True, slots=True)
class PartitionState:
    """A partition on disk.

    table_bytes  with TOAST, without indexes
    live_rows, dead_rows  of the latter, deleted or replaced, a VACUUM has not removed any yet; estimated before
                 compact() where the table is larger than 30,000 pages
    """

    table_bytes: int
    index_bytes: int
    live_rows: int
    dead_rows: int

    @property
    def bytes(self) -> int:
        return self.table_bytes + self.index_bytes


@dataclass(frozen=True, slots=True)
class CompactedPartition:
    """What compact() did to a partition.

    name     the partition's; its table's where somebody made it by hand for several values
    rebuilt  the names of the indexes that were built anew
    """

    name: str
    rebuilt: tuple[str, ...]
    before: PartitionState
    after: PartitionState


@dataclass(frozen=True, slots=True)
class CompactResult:
    """What compact() did.

    dead_rows_left  rows that older transactions, still open, may see: a VACUUM after their end removes them
    """

    partitions: tuple[CompactedPartition, ...]

    @property
    def bytes_freed(self) -> int:
        """Less than nothing where others wrote more meanwhile."""
        return sum(partition.before.bytes - partition.after.bytes for partition in self.partitions)

    @property
    def dead_rows_left(self) -> int:
        return sum(partition.after.dead_rows for partition in self.partitions)


def compact(
    database: Database, collection: str, *, partition_names: Sequence[str] | None, force: bool, progress: bool
) -> CompactResult:
    """Leaf by leaf, each guarded as an online build is, for REINDEX and VACUUM cannot be in a transaction."""
    doing = f"compact {collection!r}"
    with explaining(database, collection), database.autocommitting(doing) as worker:
        with opened_anew(database, collection, "look at") as found:
            leaves = _leaves(found.description, partition_names)
            _check_rights(found, leaves)
        steps: Iterable[str] = leaves
        if progress:
            steps = tracked(leaves, total=len(leaves), what=f"{len(leaves):,} partitions")
        done = [
            database.alter(doing, [collection], _Compaction(database, worker, collection, leaf, force))
            for leaf in steps
        ]
    return CompactResult(tuple(partition for partition in done if partition is not None))


def _leaves(description: CollectionDescription, partition_names: Sequence[str] | None) -> Sequence[str]:
    if partition_names is None:
        return description.leaves
    names = checked_partitions(description, partition_names)
    return [description.partition(name).table for name in dict.fromkeys(names)]


# Without these rights ANALYZE and VACUUM do nothing, and only warn. MAINTAIN is a privilege since PostgreSQL 17.
_NOT_OURS = text("""
    SELECT c.relname
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = ANY (:leaves)
      AND NOT CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 170000
                   THEN pg_catalog.has_table_privilege(c.oid, 'MAINTAIN')
                   ELSE pg_catalog.pg_has_role(c.relowner, 'USAGE') END
    ORDER BY c.oid LIMIT 1
""")


def _check_rights(collection: Opened, leaves: Sequence[str]) -> None:
    name = collection.description.name
    foreign = collection.connection.execute(_NOT_OURS, {"schema": name, "leaves": list(leaves)}).scalar()
    if foreign is not None:
        raise PermissionDenied(
            f"compact {name!r}: table {foreign!r} belongs to another role; call it as the owner of the "
            "collection, or have MAINTAIN granted on its partitions (PostgreSQL 17 or newer)"
        )


# The sizes of what somebody drops meanwhile are NULL. ANALYZE and VACUUM have counted a moment ago.
_STATE = text("""
    SELECT coalesce(pg_catalog.pg_table_size(c.oid), 0), coalesce(pg_catalog.pg_indexes_size(c.oid), 0),
           pg_catalog.pg_stat_get_live_tuples(c.oid), pg_catalog.pg_stat_get_dead_tuples(c.oid)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = :leaf
""")


@dataclass(frozen=True, slots=True)
class _Compaction:
    """Compact one leaf on the worker's connection; None where it is gone."""

    database: Database
    worker: Connection
    collection: str
    leaf: str
    force: bool

    def __call__(self, guard: Connection) -> CompactedPartition | None:
        description = locked(guard, self.collection)
        if self.leaf not in description.leaves:
            return None
        # Last, and without parameters: it ends the portal of the statement before, whose snapshot REINDEX would wait
        # for until the end of time.
        guard.execute(set_local("idle_in_transaction_session_timeout", 0))
        return self._run(description)

    def _run(self, description: CollectionDescription) -> CompactedPartition:
        # What this connection did itself would be counted twice, once it tells the statistics of it.
        self.worker.execute(select(func.pg_catalog.pg_stat_force_next_flush()))
        self.worker.execute(ddl.analyze(description.name, self.leaf, description.schema.primary_key.name))
        before = self._state(description)
        _drop_leftovers(self.database, description, self.leaf)
        rebuilt = self._deserving(description, before)
        for index in rebuilt:
            self._reindex(description, index, before)
        self.worker.execute(ddl.vacuum(description.name, self.leaf))
        names = {partition.table: partition.name for partition in description.partitions}
        return CompactedPartition(
            name=names.get(self.leaf, self.leaf),
            rebuilt=tuple(index.index for index in rebuilt),
            before=before,
            after=self._state(description),
        )

    def _state(self, description: CollectionDescription) -> PartitionState:
        return PartitionState(*self.worker.execute(_STATE, {"schema": description.name, "leaf": self.leaf}).one())

    def _deserving(self, description: CollectionDescription, state: PartitionState) -> list[LeafIndex]:
        """The indexes to build anew, also those that somebody made on the leaf: VACUUM would have to mend them, too."""
        with opened_anew(self.database, description.name, "look at") as collection:
            found = [index for index in leaf_indexes(collection.connection, description, self.leaf) if index.is_valid]
            if self.force:
                return found
            names = {part.index for part in worn(collection, self.leaf)}
        return [index for index in found if index.index in names or _is_slow_to_vacuum(index, state)]

    def _reindex(self, description: CollectionDescription, index: LeafIndex, state: PartitionState) -> None:
        needed = _needed_memory(description, index, state)
        try:
            with with_memory_of_session(self.database, self.worker, needed):
                self.worker.execute(ddl.reindex_concurrently(description.name, index.name))
        except BaseException:
            try:
                _drop_leftovers(self.database, description, self.leaf)
            except VecstoreError:
                _log.warning(
                    "what an interrupted rebuild of index %s of collection %s left could not be dropped; "
                    "store.repair() does it",
                    index.index,
                    description.name,
                    exc_info=True,
                )
            raise


def _needed_memory(description: CollectionDescription, index: LeafIndex, state: PartitionState) -> int | None:
    """In bytes; None for what the server's setting is for: other indexes, and those made by hand on a leaf."""
    known = next((it for it in description.indexes if it.name == index.index), None)
    field = None if known is None else description.schema.by_name.get(known.field)
    if known is None or field is None or not isinstance(known.spec, Hnsw):
        return None
    return build_memory(known.spec, field, state.live_rows + state.dead_rows)


def _is_slow_to_vacuum(index: LeafIndex, state: PartitionState) -> bool:
    rows = state.live_rows + state.dead_rows
    return index.method == "hnsw" and index.bytes >= SMALL and state.dead_rows >= _DEAD * max(1, rows)


def _drop_leftovers(database: Database, description: CollectionDescription, leaf: str) -> None:
    """Drop what an interrupted REINDEX CONCURRENTLY left: the new index unfinished, or the old one not yet dropped."""
    with database.reading(f"look at {description.name!r}") as connection:
        found = leaf_indexes(connection, description, leaf)
    for index in found:
        if index.is_left_by_reindex:
            indexes.drop_unfinished(database, description, index.name)
