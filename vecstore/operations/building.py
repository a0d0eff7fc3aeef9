"""How an index is built: in as much memory as it needs, and watched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

from sqlalchemy import ColumnElement, Connection, Table, func, literal_column, select, text
from sqlalchemy.exc import SQLAlchemyError

from ..database import Database
from ..ddl import set_local, set_session
from ..description import CollectionDescription
from ..errors import VecstoreError
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
class Build:
    """How far a build is that is under way: the part that is done, from 0 to 1, and the phase."""

    done: float
    phase: str


# Of a table and its partitions. Blocks are counted while rows are read, tuples while a tree is loaded or clusters are
# filled; a build on the parent counts the partitions that are done. Of a session of another role all is NULL.
_PROGRESS = text("""
    SELECT p.phase, p.partitions_total, p.partitions_done,
           CASE WHEN p.blocks_total > 0 THEN p.blocks_done::float8 / p.blocks_total
                WHEN p.tuples_total > 0 THEN p.tuples_done::float8 / p.tuples_total ELSE 0 END AS part
    FROM pg_catalog.pg_stat_progress_create_index p
    WHERE p.datname = pg_catalog.current_database()
      AND (p.relid = CAST(:oid AS oid)
           OR p.relid IN (SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = CAST(:oid AS oid)))
    ORDER BY p.pid LIMIT 1
""")


def build_under_way(connection: Connection, description: CollectionDescription) -> Build | None:
    """The build of an index of the collection, whoever runs it; None where there is none."""
    row = connection.execute(_PROGRESS, {"oid": description.oid}).first()
    if row is None or row.phase is None:
        return None
    of = max(1, row.partitions_total or 0)
    return Build(min(1.0, ((row.partitions_done or 0) + min(1.0, row.part)) / of), row.phase)


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
