"""Where transactions begin and end.

A Database either owns its transactions (one for each call, on a connection from the engine) or is bound to a
connection whose transaction belongs to somebody else; then each call is a savepoint, so that an error leaves the
caller's transaction usable, and nothing is committed here.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TypeVar

import psycopg
from sqlalchemy import Connection, Engine, Transaction, func, select, text
from sqlalchemy.exc import DBAPIError

from . import retention
from .ddl import set_local
from .errors import (
    TRANSLATED,
    CommitUncertain,
    ConnectionLost,
    DatabaseError,
    InvalidArgument,
    LockTimeout,
    NotInstalled,
    SchemaOutdated,
    UnsupportedServer,
    translated,
)
from .facts import ServerFacts, read_facts
from .liveness import Unasked
from .naming import OWN_SCHEMA, can_be_looked_up
from .pipeline import UNPREPARED, Session, session_of
from .recent import Recent

T = TypeVar("T")

_LONGEST_TIMEOUT = 2_000_000  # in milliseconds it must be an int of PostgreSQL

# A waiting DDL statement stands at the head of the lock queue and every search behind it waits too: give the place
# up after this time and try again. Measured with an analyst's transaction open for 3 s: the worst search took
# 2,802 ms without it, 105 ms with 100 ms.
LOCK_TIMEOUT_MS = 150
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0


# serialization_failure, deadlock_detected; undefined_table, undefined_schema, undefined_column and the internal error
# of a catalogue row that went away: dropped under the statement, and there again where its name still leads to
# something, or needed no more. And what was prepared and is no more. The server undid the whole transaction.
_UNDONE_FOR_ANOTHER = frozenset({"40001", "40P01", "42P01", "3F000", "42703", "XX000"}) | UNPREPARED
_REPEAT_PAUSES = (0.02, 0.1, 0.5)

# Seconds. Where rows come and go faster, searches choose between index and exact a moment late. A description is kept
# with its version, which each call asks for: it cannot be old.
_ESTIMATES_HOLD = 10.0
_DESCRIPTIONS_HOLD = 600.0
_PROGRAMS_KEPT = 4_096
_STATEMENTS_KEPT = 512

_log = logging.getLogger(__name__)


def _jittered(pause: float) -> float:
    """Up to half less, so that those who collided do not collide again."""
    return pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True)
class Settings:
    """How long a call may wait, how connections are made, and how long what is dropped is kept.

    ddl_timeout      seconds that a structural change is tried for while others use the object
    max_connections  how many at most; a call more waits for one of them
    pgbouncer        they lead to PgBouncer in transaction mode
    keep_dropped     for drops that do not say it, of collections that do not say it
    """

    ddl_timeout: float = 30.0
    max_connections: int = 15
    pgbouncer: bool = False
    keep_dropped: timedelta | None = None

    def __post_init__(self) -> None:
        timeout = self.ddl_timeout
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 <= timeout <= _LONGEST_TIMEOUT:
            raise InvalidArgument(f"ddl_timeout must be seconds from 0 to {_LONGEST_TIMEOUT:,}, got {timeout!r}")
        if type(self.max_connections) is not int or self.max_connections < 1:
            raise InvalidArgument(f"max_connections must be 1 or more, got {self.max_connections!r}")
        retention.checked(self.keep_dropped, "keep_dropped")


# undefined_table, undefined_column, undefined_function: of our own schema, it is gone or was taken back.
_UNDEFINED = frozenset({"42P01", "42703", "42883"})


@contextmanager
def translating(doing: str) -> Iterator[None]:
    """Let no driver's error out: each becomes a typed one, with the driver's as its cause."""
    try:
        yield
    except TRANSLATED as exc:
        raise translated(exc, doing=doing) from exc


_LOCK = text("SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('vecstore:' || :name, 0))")


def lock_name(connection: Connection, name: str) -> None:
    """Wait until no other structural change of this collection or alias is under way; held until the transaction ends.

    The key is made by the server, so that the SQL functions for analysts take the same lock.
    """
    connection.execute(_LOCK, {"name": name if can_be_looked_up(name) else ascii(name)})


@dataclass(frozen=True)
class Database:
    """A database, and how transactions on it are run.

    keepalive  what must live as long as somebody uses the database: an embedded server
    descriptions, estimates, counts, programs, statements  what was found out about collections and need not be found
               out by each call: as they stand in the catalogue, how many rows match, how many did at a moment,
               questions, and what of these is the same for other values
    """

    engine: Engine
    settings: Settings = field(default_factory=Settings)
    connection: Connection | None = None
    keepalive: object = None
    after_commit: list[Callable[[Database], object]] = field(default_factory=list)
    descriptions: Recent = field(default_factory=lambda: Recent(seconds=_DESCRIPTIONS_HOLD))
    estimates: Recent = field(default_factory=lambda: Recent(seconds=_ESTIMATES_HOLD))
    counts: Recent = field(default_factory=lambda: Recent(seconds=_DESCRIPTIONS_HOLD))
    programs: Recent = field(default_factory=lambda: Recent(seconds=_ESTIMATES_HOLD, size=_PROGRAMS_KEPT))
    statements: Recent = field(default_factory=lambda: Recent(seconds=_DESCRIPTIONS_HOLD, size=_STATEMENTS_KEPT))

    @cached_property
    def facts(self) -> ServerFacts:
        """Read by connect(), and again after an upgrade(); an upgrade of pgvector asks for a new connect().

        Raises NotInstalled, SchemaOutdated, SchemaTooNew: no call is made on another library's schema `vecstore`.
        """
        with self._snapshot("read the server's version") as connection:
            return read_facts(connection)

    def read_facts_on(self, connection: Connection) -> None:
        """Know them from the start, if there is something to know: later calls then need one connection, not two."""
        with suppress(NotInstalled, SchemaOutdated):
            self.__dict__["facts"] = read_facts(connection)

    def bound_to(self, connection: Connection) -> Database:
        """The same database inside a transaction that the caller owns."""
        bound = Database(
            self.engine,
            self.settings,
            connection,
            self.keepalive,
            descriptions=self.descriptions,
            estimates=self.estimates,
            counts=self.counts,
            programs=self.programs,
            statements=self.statements,
        )
        if "facts" in self.__dict__:
            bound.__dict__["facts"] = self.facts
        return bound

    @property
    def owns_transactions(self) -> bool:
        return self.connection is None

    def _connect(self) -> Connection:
        # Explicit, for an engine of the caller's may have been made with AUTOCOMMIT.
        return self.engine.connect().execution_options(isolation_level="READ COMMITTED")

    @contextmanager
    def _explaining(self, doing: str) -> Iterator[None]:
        """Typed errors; where something of our own schema was missing, NotInstalled or SchemaOutdated."""
        try:
            with translating(doing):
                yield
        except DatabaseError as exc:
            if exc.sqlstate in _UNDEFINED and self.connection is None:
                with translating(doing), self._connect() as connection:
                    try:
                        read_facts(connection)
                    except UnsupportedServer as unusable:
                        raise unusable from exc
            raise

    @contextmanager
    def reading(self, doing: str) -> Iterator[Connection]:
        """A transaction, or a savepoint that is rolled back at its end: settings made in it do not leak.

        The transaction commits, for at a rollback psycopg forgets the statements that it has prepared.
        """
        _ = self.facts
        with self._snapshot(doing) as connection:
            yield connection

    def at_once(self, doing: str, work: Callable[[Session], T]) -> T:
        """One transaction that is sent at once, by Session.transact().

        Nobody asks first whether the connection is alive, for that costs as much as the transaction where the server is
        far away: on ConnectionLost nothing has happened, do it by reading() or writing(). Only for a Database that owns
        its transactions.
        """
        facts = self.facts
        try:
            with Unasked(self.engine) as connection:
                return work(session_of(connection, facts.vector_oids, pooled=facts.pooled))
        except TRANSLATED as exc:
            raise translated(exc, doing=doing) from exc

    @contextmanager
    def _snapshot(self, doing: str) -> Iterator[Connection]:
        with self._explaining(doing):
            if self.connection is None:
                with self._connect() as connection:
                    with _rolled_back_on_error(connection, connection.begin()):
                        yield connection
                    connection.commit()
            else:
                savepoint = self.connection.begin_nested()
                with _rolled_back_on_error(self.connection, savepoint):
                    yield self.connection
                savepoint.rollback()

    @contextmanager
    def writing(self, doing: str) -> Iterator[Connection]:
        """A transaction that commits at its end, or a savepoint; rolled back on any error."""
        _ = self.facts
        with self._change(doing) as connection:
            yield connection

    @contextmanager
    def _change(self, doing: str) -> Iterator[Connection]:
        with self._explaining(doing):
            if self.connection is not None:
                savepoint = self.connection.begin_nested()
                with _rolled_back_on_error(self.connection, savepoint):
                    yield self.connection
                savepoint.commit()
                return
            with self._connect() as connection:
                with _rolled_back_on_error(connection, connection.begin()):
                    yield connection
                _commit(connection, doing)

    @contextmanager
    def autocommitting(self, doing: str) -> Iterator[Connection]:
        """A connection without transactions, for CREATE INDEX CONCURRENTLY and its like."""
        if self.connection is not None:
            raise InvalidArgument(f"{doing}: this cannot be part of a transaction; call it on the store itself")
        _ = self.facts
        with translating(doing), self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection

    def repeated(self, attempt: Callable[[], T]) -> T:
        """Make an attempt, and a few more where the server undid it for the sake of another transaction.

        Only whole transactions of our own can be made again; in a caller's the error is the caller's to handle.
        """
        for pause in _REPEAT_PAUSES if self.owns_transactions else ():
            try:
                return attempt()
            except DatabaseError as exc:
                if exc.sqlstate not in _UNDONE_FOR_ANOTHER:
                    raise
            time.sleep(_jittered(pause))
        return attempt()

    def alter(
        self,
        doing: str,
        names: Iterable[str],
        work: Callable[[Connection], T],
        *,
        held_up: Callable[[], bool] = lambda: False,
    ) -> T:
        """Run a structural change, alone among the changes of these names.

        held_up  called after each try that met a lock, between transactions; True: who holds it is worth waiting for,
                 so that ddl_timeout begins anew

        Order matters: a short lock_timeout, the advisory locks, then the work. On an owned transaction a lock
        that others hold is tried for again, with growing pauses, until ddl_timeout; then LockTimeout, nothing
        changed. In a caller's transaction it is tried once.
        """
        _ = self.facts
        return self._alone(doing, names, work, held_up)

    def migrate(self, doing: str, work: Callable[[Connection], None]) -> None:
        """Change schema `vecstore` itself, as alter() does: the only change that needs no schema of this library's."""
        try:
            self._alone(doing, [OWN_SCHEMA], work, lambda: False)
        finally:
            self.__dict__.pop("facts", None)

    def _alone(
        self, doing: str, names: Iterable[str], work: Callable[[Connection], T], held_up: Callable[[], bool]
    ) -> T:
        locked = tuple(names)
        deadline = time.monotonic() + self.settings.ddl_timeout
        pause = _FIRST_PAUSE
        while True:
            try:
                with self._change(doing) as connection:
                    result = _altered(connection, locked, deadline, work, restore=not self.owns_transactions)
            except LockTimeout:
                waiting = _jittered(pause)
                if not self.owns_transactions:
                    raise
                if held_up():
                    deadline = time.monotonic() + self.settings.ddl_timeout
                elif time.monotonic() + waiting >= deadline:
                    raise
            else:
                _log.info("%s: done", doing)
                return result
            _log.debug("%s: others hold a lock, next try in %.2f s", doing, waiting)
            time.sleep(waiting)
            pause = min(pause * 2, _LONGEST_PAUSE)


def _altered(
    connection: Connection, names: tuple[str, ...], deadline: float, work: Callable[[Connection], T], *, restore: bool
) -> T:
    before = connection.execute(select(func.current_setting("lock_timeout"))).scalar_one() if restore else None
    remaining = max(1, int((deadline - time.monotonic()) * 1000))
    connection.execute(set_local("lock_timeout", min(LOCK_TIMEOUT_MS, remaining)))
    for name in names:
        lock_name(connection, name)
    result = work(connection)
    if before is not None:
        connection.execute(set_local("lock_timeout", before))
    return result


@contextmanager
def _rolled_back_on_error(connection: Connection, transaction: Transaction) -> Iterator[None]:
    """Where even that fails, as on a connection that Ctrl-C left in the middle of a statement, the connection goes: the
    server rolls back then, and what is told is the error that came first.
    """
    try:
        yield
    except BaseException:
        try:
            transaction.rollback()
        except DBAPIError:
            connection.invalidate()
        raise


def _commit(connection: Connection, doing: str) -> None:
    with leaving_doubt(doing):
        connection.commit()


@contextmanager
def leaving_doubt(doing: str) -> Iterator[None]:
    """Raise CommitUncertain where the connection breaks in here, and the errors of others as typed ones."""
    try:
        yield
    except (DBAPIError, psycopg.Error) as exc:
        error = translated(exc, doing=doing)
        if isinstance(error, ConnectionLost):
            raise CommitUncertain(
                f"{doing}: the connection was lost while committing; it may or may not have happened: look, "
                "or do it again only if that is harmless"
            ) from exc
        raise error from exc
