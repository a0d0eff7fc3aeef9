"""How an index is built: in as much memory as it needs, watched, and stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, literal_column, select, text
from sqlalchemy.exc import SQLAlchemyError

from .. import catalog
from ..database import Database, lock_name
from ..ddl import set_local, set_session
from ..description import CollectionDescription, IndexDescription, IndexState
from ..errors import VecstoreError
from ..naming import leaf_index_name
from ..progress import Show, measured
from ..rebuilding import build_memory
from ..schema import Field, Hnsw, IndexSpec
from .outlooks import may_count

_log = logging.getLogger(__name__)

_KB = 1024
_LOOKS_APART = 0.2  # seconds
_LONGEST_GOODBYE = 2.0

_MEMORY = text("""
    SELECT pg_catalog.current_setting('maintenance_work_mem') AS setting,
           pg_catalog.pg_size_bytes(pg_catalog.current_setting('maintenance_work_mem')) AS bytes
""")


def maintenance_memory(connection: Connection) -> int:
    """The server's maintenance_work_mem in bytes, as the session has it."""
    size: int = connection.execute(_MEMORY).one().bytes
    return size


def needed_memory(
    connection: Connection, description: CollectionDescription, table: Table, field: Field | None, spec: IndexSpec
) -> int | None:
    """What an index needs in the largest leaf, in bytes; None where the server's setting is to stand. Counts the rows.

    Builds of other indexes than HNSW take what they need, HNSW's in parallel all that they may.
    """
    if not isinstance(spec, Hnsw) or field is None or not may_count(connection, description.oid):
        return None
    leaf: ColumnElement[int] = literal_column("tableoid")
    by_leaf = select(func.count().label("rows")).select_from(table).group_by(leaf).subquery()
    rows = connection.execute(select(func.max(by_leaf.c.rows))).scalar_one() or 0
    return build_memory(spec, field, rows)


@contextmanager
def with_memory(connection: Connection, needed: int | None) -> Iterator[None]:
    """Build in a transaction with so many bytes, or with the session's setting where that is less."""
    found = connection.execute(_MEMORY).one()
    if needed is None or needed >= found.bytes:
        yield
        return
    connection.execute(set_local("maintenance_work_mem", f"{needed // _KB}kB"))
    yield  # what an error leaves behind, its rollback takes away
    connection.execute(set_local("maintenance_work_mem", found.setting))


@contextmanager
def with_memory_of_session(database: Database, connection: Connection, needed: int | None) -> Iterator[None]:
    """The same for statements that cannot be in a transaction. Behind PgBouncer there is no session to tell it to."""
    found = connection.execute(_MEMORY).one()
    if needed is None or needed >= found.bytes or database.settings.pgbouncer:
        yield
        return
    try:
        connection.execute(set_session("maintenance_work_mem", f"{needed // _KB}kB"))
        yield
    finally:
        try:
            connection.execute(set_session("maintenance_work_mem", found.setting))
        except SQLAlchemyError:
            connection.invalidate()  # no other call shall have the setting


@dataclass(frozen=True, slots=True)
class IndexBuild:
    """How far a build is that is under way.

    done   the part of its work that is done, from 0 to 1; of work, for what is left may take longer or shorter
    phase  what it is at, in PostgreSQL's words; empty between two partitions
    """

    done: float
    phase: str


# Blocks are counted while rows are read, tuples while a tree is loaded or clusters are filled; a build on the parent
# counts the partitions that are done. Of a session of another role all is NULL.
_PROGRESS = text("""
    SELECT p.command, p.phase, p.partitions_total, p.partitions_done,
           CASE WHEN p.blocks_total > 0 THEN p.blocks_done::float8 / p.blocks_total
                WHEN p.tuples_total > 0 THEN p.tuples_done::float8 / p.tuples_total ELSE 0 END AS part
    FROM pg_catalog.pg_stat_progress_create_index p
    WHERE p.datname = pg_catalog.current_database()
      AND (p.relid = CAST(:oid AS oid)
           OR p.relid IN (SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = CAST(:oid AS oid)))
    ORDER BY p.pid LIMIT 1
""")

# What a concurrent build does after it has built: it reads the table again, and waits for older transactions.
_BUILT = 0.9


def _done(row: Any) -> float:
    """The part of one build that is done; it never goes back."""
    part: float = min(1.0, row.part)
    if not row.command.endswith("CONCURRENTLY"):
        return part
    if row.phase.startswith("building index"):
        return _BUILT * part
    if row.phase == "index validation: scanning table":
        return _BUILT + (1 - _BUILT) * part
    if row.phase.startswith("index validation") or row.phase == "waiting for writers before validation":
        return _BUILT
    return 0.0 if row.phase in {"initializing", "waiting for writers before build"} else 1.0


def build_under_way(connection: Connection, description: CollectionDescription) -> IndexBuild | None:
    """The build of an index of the collection, whoever runs it; None where there is none."""
    row = connection.execute(_PROGRESS, {"oid": description.oid}).first()
    if row is None or row.phase is None:
        return None
    of = max(1, row.partitions_total or 0)
    return IndexBuild(min(1.0, ((row.partitions_done or 0) + _done(row)) / of), row.phase)


def lock_build(connection: Connection, description: CollectionDescription, index: str) -> None:
    """Let others see until the transaction ends that somebody is building this index; its collection is locked."""
    lock_name(connection, _build_name(description, index))


def _build_name(description: CollectionDescription, index: str) -> str:
    return f"{description.name}.{index}"  # no name of a collection has a dot


_IS_LOCKED = text("""
    SELECT EXISTS (
        SELECT FROM pg_catalog.pg_locks l
        WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
          AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
          AND (l.classid::int8 << 32 | l.objid::int8) = pg_catalog.hashtextextended('vecstore:' || :name, 0))
""")

# Of each leaf: whether its index is a part of this one already, and how far the build of it is otherwise.
_LEAVES = text("""
    SELECT pg_catalog.pg_relation_size(l.inhrelid) + 1 AS bytes, p.command, p.phase,
           EXISTS (SELECT FROM pg_catalog.pg_index x JOIN pg_catalog.pg_inherits h ON h.inhrelid = x.indexrelid
                   WHERE x.indrelid = l.inhrelid AND h.inhparent = i.oid) AS is_built,
           CASE WHEN p.blocks_total > 0 THEN p.blocks_done::float8 / p.blocks_total
                WHEN p.tuples_total > 0 THEN p.tuples_done::float8 / p.tuples_total ELSE 0 END AS part
    FROM pg_catalog.pg_class i
    JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace
    JOIN pg_catalog.pg_inherits l ON l.inhparent = CAST(:oid AS oid)
    LEFT JOIN pg_catalog.pg_stat_progress_create_index p
        ON p.relid = l.inhrelid AND p.datname = pg_catalog.current_database()
    WHERE n.nspname = :schema AND i.relname = :index
""")


def online_build(connection: Connection, description: CollectionDescription, index: str) -> IndexBuild | None:
    """The online build of this index, whoever runs it; None where nobody does, also of one that was left unfinished."""
    if not is_being_built(connection, description, index):
        return None
    leaves = connection.execute(_LEAVES, {"oid": description.oid, "schema": description.name, "index": index}).all()
    done = sum(leaf.bytes * (1.0 if leaf.is_built else _done(leaf) if leaf.phase else 0.0) for leaf in leaves)
    phase = next((leaf.phase for leaf in leaves if leaf.phase and not leaf.is_built), "")
    return IndexBuild(done / max(1, sum(leaf.bytes for leaf in leaves)), phase)


def is_being_built(connection: Connection, description: CollectionDescription, index: str) -> bool:
    """Whether somebody runs an online build of this index."""
    named = {"name": _build_name(description, index)}
    return bool(connection.execute(_IS_LOCKED, named).scalar_one())


def is_about_to_be_built(connection: Connection, description: CollectionDescription, index: str) -> bool:
    """Whether somebody will build this index, of which nothing is there yet: the rows are looked at before."""
    is_there = any(it.name == index for it in description.indexes)
    return not is_there and is_being_built(connection, description, index)


def builds_go_on(database: Database, collection: str) -> bool:
    """Whether somebody builds an index of the collection online, which may take hours."""
    with database.reading(f"look at {collection!r}") as connection:
        description = catalog.describe(connection, collection)
        return any(is_being_built(connection, description, index.name) for index in _unready(description))


def _unready(description: CollectionDescription) -> list[IndexDescription]:
    return [index for index in description.indexes if index.state is IndexState.INVALID]


# One moment after it was seen: a session that is at something else by then is not meant, and idle ones do not mind.
_STOP = text("""
    SELECT pg_catalog.count(pg_catalog.pg_cancel_backend(p.pid))
    FROM pg_catalog.pg_stat_progress_create_index p
    JOIN pg_catalog.pg_stat_activity a ON a.pid = p.pid
    JOIN pg_catalog.pg_class i ON i.oid = p.index_relid
    JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace
    WHERE p.datname = pg_catalog.current_database() AND p.command = 'CREATE INDEX CONCURRENTLY'
      AND n.nspname = :schema AND i.relname = ANY (:names) AND pg_catalog.pg_has_role(a.usesysid, 'USAGE')
""")


def stop_builds(connection: Connection, description: CollectionDescription, index: str | None = None) -> bool:
    """Have the server end the online builds of an index, or of all, as far as the role may; who runs them undoes them.

    Returns whether there were any. Between two partitions there is nothing to end: to be called until they are gone.
    """
    names = [
        leaf_index_name(it.name, leaf)
        for it in _unready(description)
        if index in {None, it.name}
        for leaf in description.leaves
    ]
    return bool(connection.execute(_STOP, {"schema": description.name, "names": names}).scalar_one())


@contextmanager
def watched(
    database: Database, description: CollectionDescription, index: str, *, progress: bool
) -> Iterator[Callable[[int, int], None]]:
    """Show on stderr how far a build is, read on a connection of its own.

    Yields what is to be told, where leaves are built one by one, that so many of so many are done. What goes wrong
    with the looking stops the looking alone. Raises MissingExtra without rich.
    """
    if not progress:
        yield lambda _done, _of: None
        return
    with measured(f"{description.name}.{index}") as show:
        watch = _Watch(database, description, show)
        thread = Thread(target=watch.run, name="vecstore-progress", daemon=True)
        thread.start()
        try:
            yield watch.tell
        finally:
            watch.ended.set()
            thread.join(_LONGEST_GOODBYE)  # it may wait for a connection that the build itself has
        show(1.0, "built")


class _Watch:
    """The looks at a build, on a thread of their own."""

    def __init__(self, database: Database, description: CollectionDescription, show: Show) -> None:
        self.ended = Event()
        self._database = Database(database.engine, database.settings)
        self._description = description
        self._show = show
        self._leaves = (0, 1)

    def tell(self, done: int, of: int) -> None:
        self._leaves = (done, of)

    def run(self) -> None:
        while not self.ended.wait(_LOOKS_APART):
            try:
                with self._database.reading("look at a build") as connection:
                    build = build_under_way(connection, self._description)
            except VecstoreError:
                _log.debug("the progress of a build cannot be read", exc_info=True)
                return
            if build is not None:
                done, of = self._leaves
                self._show((done + build.done) / of, build.phase)
