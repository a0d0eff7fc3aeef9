"""Whether a pooled connection is still alive is asked when it is taken, but not of those who can do without knowing.

The question costs a round trip, which is what a search costs on a server that is far away. A read can do without: where
the connection turns out to be dead, it is made again on another.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import PoolProxiedConnection

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


def take_unasked(engine: Engine) -> PoolProxiedConnection:
    """A connection that may be dead."""
    token = _taken_unasked.set(True)
    try:
        return engine.raw_connection()
    finally:
        _taken_unasked.reset(token)
