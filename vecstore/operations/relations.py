"""What a table consists of (leaves, indexes, sequences), how large that is, and who holds its locks.

Reads the catalogue and pg_locks, and waits for nobody: what somebody else has locked is not measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, literal_column, select, text
from sqlalchemy.exc import DBAPIError

from ..ddl import set_local
from ..errors import sqlstate_of
from ..lock_modes import BY_PG_LOCKS, LockMode
from ..plan import LockHolder, PlannedLock

_LOCK_NOT_AVAILABLE = "55P03"
# Searches and counts take the same lock, and it is nobody's who waits: a moment is enough for one that just ends.
_PATIENCE_MS = 50


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, index or sequence.

    kind   PostgreSQL's letter: p and r of tables, I and i of indexes, S of a sequence
    table  that it is of; whole: the index that it is the leaf's part of
    """

    oid: int
    schema: str
    name: str
    kind: str
    table: int
    whole: int | None
    rows_estimated: int | None

    @property
    def qualified(self) -> str:
        return f"{self.schema}.{self.name}"


_RELATIONS = text("""
    WITH RECURSIVE tables AS (
        SELECT CAST(:oid AS oid) AS oid
      UNION
        SELECT i.inhrelid FROM tables t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid
    ), parts AS (
        SELECT t.oid, t.oid AS of_table FROM tables t
      UNION ALL
        SELECT x.indexrelid, x.indrelid FROM tables t JOIN pg_catalog.pg_index x ON x.indrelid = t.oid
      UNION ALL
        SELECT DISTINCT d.objid, t.oid
        FROM tables t
        JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = t.oid
             AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
        JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
    )
    SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text, p.of_table::int8, w.inhparent::int8,
           coalesce(nullif(pg_catalog.pg_stat_get_live_tuples(c.oid), 0), nullif(c.reltuples, -1)::int8)
    FROM parts p
    JOIN pg_catalog.pg_class c ON c.oid = p.oid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_inherits w ON w.inhrelid = c.oid AND c.relkind IN ('i', 'I')
    ORDER BY c.relkind IN ('i', 'I'), c.oid
""")

_OID = text("""
    SELECT c.oid::int8 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = :name
""")


def oid_of(connection: Connection, schema: str, name: str) -> int:
    oid: int = connection.execute(_OID, {"schema": schema, "name": name}).scalar_one()
    return oid


def relations(connection: Connection, oid: int) -> tuple[Relation, ...]:
    """A table with its leaves, the sequences that they own, and then their indexes; of each the oldest first."""
    return tuple(Relation(*row) for row in connection.execute(_RELATIONS, {"oid": oid}))


# pg_locks does not wait, and shows everybody everything; whose activity a role may not see has NULLs there.
_LOCKS = text("""
    SELECT l.pid, coalesce(a.usename::text, a.backend_type) AS user, a.application_name AS application, a.xact_start,
           a.state, nullif(a.query, '<insufficient privilege>') AS query,
           CASE l.locktype WHEN 'relation' THEN l.mode END AS mode, l.relation::int8 AS relation, l.granted
    FROM pg_catalog.pg_locks l
    LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
    WHERE l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
      AND a.leader_pid IS NULL  -- a parallel worker's locks are its leader's as well
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
      AND (l.locktype = 'relation' AND l.mode <> 'SIReadLock' AND l.relation = ANY (CAST(:oids AS int8[])::oid[])
           OR l.locktype = 'advisory' AND l.objsubid = 1
              AND (l.classid::int8 << 32 | l.objid::int8) = pg_catalog.hashtextextended('vecstore:' || :name, 0))
    ORDER BY l.pid, l.relation
""")


@dataclass(frozen=True)
class Watched:
    """The locks of others at one moment, on some relations and on the name of their collection."""

    rows: Sequence[Any]
    names: Mapping[int, str]

    @cached_property
    def _order(self) -> Mapping[int, int]:
        return {oid: at for at, oid in enumerate(self.names)}

    @property
    def shut(self) -> frozenset[int]:
        """Relations that not even a reader gets at: somebody changes them, or stands in line to."""
        return frozenset(row.relation for row in self.rows if row.mode == "AccessExclusiveLock")

    def holders(self, locks: Sequence[PlannedLock]) -> tuple[LockHolder, ...]:
        """Who is in the way of these locks."""
        wanted = {lock.oid: lock.mode for lock in locks}
        found = [row for row in self.rows if row.mode is None or _conflict(row, wanted)]
        return tuple(self._holder(list(rows)) for _, rows in groupby(found, key=lambda row: row.pid))

    def _holder(self, rows: Sequence[Any]) -> LockHolder:
        about = sorted((row for row in rows if row.mode is not None), key=lambda row: self._order[row.relation])
        first = rows[0]
        modes = [BY_PG_LOCKS[row.mode] for row in about]
        return LockHolder(
            pid=first.pid,
            user=first.user,
            application=first.application,
            mode=max(modes, key=lambda mode: mode.strength, default=None),
            waiting=not any(row.granted for row in rows),
            relations=tuple(dict.fromkeys(self.names[row.relation] for row in about)) or ("the collection",),
            since=first.xact_start,
            state=first.state,
            query=first.query,
        )


def _conflict(row: Any, wanted: Mapping[int, LockMode]) -> bool:
    mode = wanted.get(row.relation)
    return mode is not None and BY_PG_LOCKS[row.mode].conflicts_with(mode)


def watched(connection: Connection, found: Sequence[Relation], collection: str) -> Watched:
    names = {relation.oid: relation.qualified for relation in found}
    parameters = {"oids": list(names), "name": collection}
    return Watched(connection.execute(_LOCKS, parameters).all(), names)


_SIZES = text("""
    SELECT r.oid::int8, vecstore._bytes(r.oid::regclass) FROM pg_catalog.unnest(CAST(:oids AS int8[])::oid[]) AS r (oid)
""")


def sizes(connection: Connection, found: Sequence[Relation], shut: frozenset[int]) -> dict[int, int | None]:
    """Bytes on disk of each, of a table with its indexes; None of what is shut, or has an index that is."""
    closed = shut | {relation.table for relation in found if relation.oid in shut}
    open_to_us = [relation.oid for relation in found if relation.oid not in closed]
    measured: dict[int, int | None] = dict.fromkeys(closed)
    measured.update((row[0], row[1]) for row in connection.execute(_SIZES, {"oids": open_to_us}))
    return measured


@contextmanager
def _looking(connection: Connection) -> Iterator[None]:
    """Read tables, give up rather than wait, and leave no lock behind."""
    savepoint = connection.begin_nested()
    try:
        connection.execute(set_local("lock_timeout", _PATIENCE_MS))
        yield
    finally:
        savepoint.rollback()


def counted_by_leaf(
    connection: Connection, table: Table, conditions: Sequence[ColumnElement[bool]] = ()
) -> dict[int, int] | None:
    """How many rows match in each leaf, by its oid; None where somebody holds a lock that readers wait for."""
    leaf: ColumnElement[int] = literal_column("tableoid").label("leaf")
    statement = select(leaf, func.count()).select_from(table).where(*conditions).group_by(leaf)
    try:
        with _looking(connection):
            return {row[0]: row[1] for row in connection.execute(statement)}
    except DBAPIError as exc:
        if sqlstate_of(exc) != _LOCK_NOT_AVAILABLE:
            raise
        return None


_NOW = text("SELECT pg_catalog.clock_timestamp()")


def now(connection: Connection) -> datetime:
    moment: datetime = connection.execute(_NOW).scalar_one()
    return moment
