"""Whether a pooled connection is still alive is asked when it is taken, but not of those who can do without knowing.

The question costs a round trip, which is what a search costs on a server that is far away. A read can do without: where
the connection turns out to be dead, it is made again on another.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, cast
from weakref import WeakSet

from psycopg.pq import TransactionStatus
from sqlalchemy import Engine, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry, ManagesConnection, PoolProxiedConnection, QueuePool
from sqlalchemy.util.queue import Queue

_taken_unasked: ContextVar[bool] = ContextVar("vecstore_taken_unasked", default=False)
_SEEN = "vecstore.seen"


def ask_when_taken(engine: Engine) -> None:
    """As pool_pre_ping=True does: connections that the server closed are replaced, all of the pool at once."""

    def ask(connection: Any, record: Any, _: Any) -> None:
        is_new = not record.info.get(_SEEN)
        record.info[_SEEN] = True
        if is_new or _taken_unasked.get():
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as exc:
            raise InvalidatePoolError from exc

    event.listen(engine, "checkout", ask)


class _Making:
    """Takes the slot of a connection while it is being made."""


class _Resting(Queue[ConnectionPoolEntry]):
    """The connections that nobody has. Ctrl-C amid a Condition's Python leaves the lock locked, for all other threads,
    and amid a lock's C it does not: only who must wait uses the Condition.
    """

    def get(self, block: bool = True, timeout: float | None = None) -> ConnectionPoolEntry:  # noqa: FBT001, FBT002
        with self.mutex:
            if not self._empty():
                return self._get()
        return super().get(block, timeout)

    def put(self, item: ConnectionPoolEntry, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002
        with self.mutex:
            if not self._full():
                self._put(item)
                self.not_empty.notify()
                return
        super().put(item, block, timeout)


class LendingPool(QueuePool):
    """A pool that also lends its connections without the ceremony of SQLAlchemy's, which takes 25 µs each time: no
    events, no proxy, nothing that gives a connection back for who forgets it.

    A Ctrl-C between two lines of SQLAlchemy's pool, or of ours, can lose a connection that was being taken. SQLAlchemy
    counts it for ever; here its slot is free again when nobody has it any more.
    """

    _queue_class = _Resting

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._taking_slots: WeakSet[object] = WeakSet()

    def _do_get(self) -> ConnectionPoolEntry:
        if self._overflow >= self._max_overflow and not self.checkedin():
            self._forget_lost()
        return super()._do_get()

    def _forget_lost(self) -> None:
        with self._overflow_lock:
            self._overflow = min(self._overflow, len(self._taking_slots) - self.size())

    def _create_connection(self) -> ConnectionPoolEntry:
        making = _Making()
        self._taking_slots.add(making)
        made = super()._create_connection()
        self._taking_slots.add(made)
        return made

    @property
    def has_no_listeners(self) -> bool:
        """None but ask_when_taken()'s: others may want to see each connection that is taken."""
        return len(self.dispatch.checkout) <= 1 and not self.dispatch.checkin

    def lend(self) -> ManagesConnection:
        """A connection that may be dead; it must come back by take_back(), without a transaction."""
        record: Any = self._do_get()
        try:
            record.get_connection()
        except BaseException:
            self._do_return_conn(record)
            raise
        lent: ManagesConnection = record
        return lent

    def take_back(self, lent: ManagesConnection) -> None:
        self._do_return_conn(cast("ConnectionPoolEntry", lent))


class Unasked:
    """A connection that may be dead, for a block: lent by a LendingPool, or taken from a pool of the caller's.

    One that is dead at the end of the block, or still in a transaction, is closed.
    """

    __slots__ = ("_connection", "_engine", "_lender")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> ManagesConnection:
        pool = self._engine.pool
        self._lender = pool if isinstance(pool, LendingPool) and pool.has_no_listeners else None
        self._connection = self._taken() if self._lender is None else self._lender.lend()
        return self._connection

    def _taken(self) -> ManagesConnection:
        token = _taken_unasked.set(True)
        try:
            return self._engine.raw_connection()
        finally:
            _taken_unasked.reset(token)

    def __exit__(self, *_: object) -> None:
        try:
            driver: Any = self._connection.driver_connection
            if driver.pgconn.transaction_status != TransactionStatus.IDLE:
                self._connection.invalidate()
        finally:
            if self._lender is None:
                cast("PoolProxiedConnection", self._connection).close()
            else:
                self._lender.take_back(self._connection)
