"""What connect() is given, and the SQLAlchemy Engine that comes of it."""

from __future__ import annotations

import os
import re
import sys
import weakref
from pathlib import Path
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from .database import Settings
from .errors import InvalidArgument
from .liveness import LendingPool, ask_when_taken
from .pipeline import psycopg_connection

_CONNINFO = re.compile(r"\b(host|hostaddr|dbname|service)\s*=")
_CONNECT_TIMEOUT_SECONDS = 10
_IDLE_IN_TRANSACTION = "10min"
_CONNECTIONS_KEPT = 5


def as_folder(target: object) -> Path | None:
    """The folder of an embedded server; raises InvalidArgument for what is hardly meant as one."""
    if target is None:
        return None
    if not isinstance(target, str | os.PathLike) or not str(target).strip() or _CONNINFO.search(str(target)):
        raise InvalidArgument(
            f"connect() takes a folder, a postgresql:// URL or a SQLAlchemy Engine, got {type(target).__name__} "
            f"{'that is empty' if target == '' else 'that is none of them'}"
        )
    if str(target) == ":memory:":
        raise InvalidArgument("connect() keeps nothing in memory: give it a folder, a temporary one perhaps")
    return Path(target)


def as_url(target: str | Path | URL | None) -> URL | None:
    """The URL that a target is; None for a folder."""
    if isinstance(target, URL):
        return target
    if not isinstance(target, str) or "://" not in target:
        return None
    try:
        return make_url(target)
    except (ArgumentError, ValueError):
        # Without the cause, which shows the URL, and with it a password.
        raise InvalidArgument("not a URL of PostgreSQL: expected postgresql://user@host:5432/database") from None


def engine_for(url: URL, settings: Settings) -> Engine:
    if url.drivername in {"postgres", "postgresql"}:
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername != "postgresql+psycopg":
        raise InvalidArgument(
            f"vecstore runs on PostgreSQL by psycopg 3: expected postgresql://..., got {url.drivername}"
        )
    arguments: dict[str, object] = {
        "connect_timeout": _CONNECT_TIMEOUT_SECONDS,
        "application_name": "vecstore",
        "client_encoding": "utf8",  # COPY sends text as it is
    }
    if settings.pgbouncer:
        arguments["prepare_threshold"] = None
    else:
        # Search settings of a transaction reach the workers of a Citus cluster; elsewhere the first is a placeholder.
        options = (
            "-c citus.propagate_set_commands=local",
            f"-c idle_in_transaction_session_timeout={_IDLE_IN_TRANSACTION}",
        )
        arguments["options"] = " ".join(options)
        # Sessions prepare what is worth it; psycopg drops theirs with its own at each rollback, if it has any.
        arguments["prepare_threshold"] = sys.maxsize
    # What the URL says itself goes first. Parameters are ids, names and vectors of others: they are in no traceback.
    kept = min(_CONNECTIONS_KEPT, settings.max_connections)
    engine = create_engine(
        url,
        poolclass=LendingPool,
        pool_size=kept,
        max_overflow=settings.max_connections - kept,
        hide_parameters=True,
        pool_use_lifo=True,  # the server's process that was asked last has most of what it needs at hand
        pool_reset_on_return=None,  # _end_transaction() does it
        connect_args={**arguments, **dict(url.query)},
    )
    ask_when_taken(engine)
    event.listen(engine, "reset", _end_transaction)
    _engines.add(engine)
    return engine


def _end_transaction(connection: psycopg.Connection[Any], *_: Any) -> None:
    """When a connection comes back to the pool. Most come back without a transaction, and a rollback of none is not
    free.
    """
    if connection.pgconn.transaction_status != TransactionStatus.IDLE:
        connection.rollback()


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _forget_after_fork() -> None:
    """A forked child must not speak on its parent's connections: both would read each other's answers."""
    for engine in _engines:
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_forget_after_fork)


def checked_engine(engine: Engine) -> Engine:
    if engine.dialect.driver != "psycopg":
        raise InvalidArgument(
            f"vecstore needs an engine by psycopg 3 (postgresql+psycopg://...), got {engine.dialect.name}+"
            f"{engine.dialect.driver}"
        )
    return engine


def check_prepares_nothing(connection: Connection) -> None:
    if psycopg_connection(connection.connection).prepare_threshold is not None:
        raise InvalidArgument(
            "pgbouncer=True: the engine must prepare nothing, too: create_engine(..., "
            "connect_args={'prepare_threshold': None})"
        )
