"""Every error that vecstore raises, and how PostgreSQL's SQLSTATEs become them.

VecstoreError
├── InvalidName (ValueError)             a name that cannot be used, and why
├── InvalidArgument (ValueError)         an argument out of range, or arguments that exclude each other
├── InvalidSchema (ValueError)           a collection that cannot be declared so
├── FilterError (ValueError)             a filter that cannot be understood, and where (vecstore/filters/errors.py)
├── InvalidData (ValueError)             a value that its field does not take
│   └── DuplicateKey                     a primary key that is there already, or twice in one batch
├── NotFound (LookupError)
│   ├── CollectionNotFound
│   ├── PartitionNotFound
│   ├── IndexNotFound
│   ├── FieldNotFound
│   ├── AliasNotFound
│   ├── DatabaseNotFound
│   └── TrashNotFound                    nothing of this name was dropped and is kept
├── AlreadyExists (ValueError)
│   ├── CollectionExists
│   ├── PartitionExists
│   ├── IndexExists
│   ├── AliasExists
│   └── DatabaseExists
├── OperationRefused (RuntimeError)      allowed by PostgreSQL, refused by the data model
│   ├── NotOurs                          a schema or table that vecstore did not make
│   ├── DependentObjects                 something else depends on what would be dropped
│   ├── CollectionHasAliases             Milvus's rule: aliases go first
│   └── PlanOutdated                     the world is not as it was when a plan was made
├── PermissionDenied (PermissionError)
├── UnsupportedServer (RuntimeError)     PostgreSQL or pgvector too old, or missing
│   ├── NotInstalled                     schema `vecstore` is not in this database: store.upgrade()
│   ├── SchemaOutdated                   an older library's schema `vecstore`: store.upgrade()
│   └── SchemaTooNew                     a newer library's schema `vecstore`: install that one
├── MissingExtra (ImportError)           an optional part is not installed
├── EmbeddedServerError (RuntimeError)   the embedded PostgreSQL cannot be started
├── PoolTimeout (TimeoutError)           all connections of the engine's pool were in use
├── DatabaseError (RuntimeError)         the server refused a statement
│   ├── LockTimeout (TimeoutError)       others held the lock until the deadline
│   ├── QueryTimeout (TimeoutError)      statement_timeout, or a cancel
│   ├── OutOfLocks                       max_locks_per_transaction is too small for this
│   └── TransactionAborted               an earlier error ended the caller's transaction
└── ConnectionLost (ConnectionError)
    └── CommitUncertain                  lost while committing: it may or may not have happened

`sqlstate` is PostgreSQL's code where the server spoke, else None; the driver's error is the `__cause__`.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from sqlalchemy.exc import DBAPIError, InvalidRequestError, PendingRollbackError, ResourceClosedError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

__all__ = [
    "AliasExists",
    "AliasNotFound",
    "AlreadyExists",
    "CollectionExists",
    "CollectionHasAliases",
    "CollectionNotFound",
    "CommitUncertain",
    "ConnectionLost",
    "DatabaseError",
    "DatabaseExists",
    "DatabaseNotFound",
    "DependentObjects",
    "DuplicateKey",
    "EmbeddedServerError",
    "FieldNotFound",
    "IndexExists",
    "IndexNotFound",
    "InvalidArgument",
    "InvalidData",
    "InvalidName",
    "InvalidSchema",
    "LockTimeout",
    "MissingExtra",
    "NotFound",
    "NotInstalled",
    "NotOurs",
    "OperationRefused",
    "OutOfLocks",
    "PartitionExists",
    "PartitionNotFound",
    "PermissionDenied",
    "PlanOutdated",
    "PoolTimeout",
    "QueryTimeout",
    "SchemaOutdated",
    "SchemaTooNew",
    "TransactionAborted",
    "TrashNotFound",
    "UnsupportedServer",
    "VecstoreError",
]


class VecstoreError(Exception):
    """The root of all errors of vecstore."""

    sqlstate: str | None = None


class InvalidName(VecstoreError, ValueError):
    """A name that cannot be used."""


class InvalidArgument(VecstoreError, ValueError):
    """An argument out of range, or arguments that exclude each other."""


class InvalidSchema(VecstoreError, ValueError):
    """A collection that cannot be declared so."""


class InvalidData(VecstoreError, ValueError):
    """A value that its field does not take; nothing was written.

    `field` is the field's name and `row` the position in the input, both None where the fault has no such place.
    """

    def __init__(self, message: str, *, field: str | None = None, row: int | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.row = row


class DuplicateKey(InvalidData):
    """A primary key that its partition already holds, or that stands twice in one batch; nothing was written."""

    def __init__(self, message: str, *, field: str, keys: Sequence[int | str], row: int | None = None) -> None:
        super().__init__(message, field=field, row=row)
        self.keys = tuple(keys)


class NotFound(VecstoreError, LookupError):
    """The object is not there."""


class CollectionNotFound(NotFound):
    """No collection, and no alias, has this name."""


class PartitionNotFound(NotFound):
    """The collection has no such partition."""


class IndexNotFound(NotFound):
    """The collection has no such index, or several where one was to be chosen."""


class FieldNotFound(NotFound):
    """The collection has no such field."""


class AliasNotFound(NotFound):
    """No alias has this name."""


class DatabaseNotFound(NotFound):
    """The server has no such database, or none that vecstore made."""


class TrashNotFound(NotFound):
    """Nothing of this name was dropped and is kept; or it was freed, or restored, meanwhile."""


class AlreadyExists(VecstoreError, ValueError):
    """The name is taken."""


class CollectionExists(AlreadyExists):
    """A collection, an alias or somebody else's schema has this name."""


class PartitionExists(AlreadyExists):
    """The collection has this partition."""


class IndexExists(AlreadyExists):
    """The collection has an index, or another relation, of this name."""


class AliasExists(AlreadyExists):
    """An alias has this name."""


class DatabaseExists(AlreadyExists):
    """The server has a database of this name."""


class OperationRefused(VecstoreError, RuntimeError):
    """The data model forbids it."""


class NotOurs(OperationRefused):
    """A schema or table that vecstore did not make; it is never dropped, renamed or adopted."""


class DependentObjects(OperationRefused):
    """Objects outside the collection depend on what would be dropped; `objects` names them."""

    def __init__(self, message: str, *, objects: Sequence[str]) -> None:
        super().__init__(message)
        self.objects = tuple(objects)


class CollectionHasAliases(OperationRefused):
    """A collection with aliases cannot be dropped; `aliases` names them."""

    def __init__(self, message: str, *, aliases: Sequence[str]) -> None:
        super().__init__(message)
        self.aliases = tuple(aliases)


class PlanOutdated(OperationRefused):
    """What a plan would do now is not what it showed; nothing was changed. `differences` says each in a line."""

    def __init__(self, message: str, *, differences: Sequence[str]) -> None:
        super().__init__(message)
        self.differences = tuple(differences)


class PermissionDenied(VecstoreError, PermissionError):
    """The role may not do this."""


class UnsupportedServer(VecstoreError, RuntimeError):
    """The server, or its pgvector, is missing or too old."""


class NotInstalled(UnsupportedServer):
    """This database has no schema `vecstore` yet: run store.upgrade() as a role that may create it."""


class SchemaOutdated(UnsupportedServer):
    """Schema `vecstore` is an older library's: run store.upgrade() as the role that owns it."""


class SchemaTooNew(UnsupportedServer):
    """Schema `vecstore` is a newer library's: install that, or let it take the schema back."""


class MissingExtra(VecstoreError, ImportError):
    """An optional part is not installed."""


class EmbeddedServerError(VecstoreError, RuntimeError):
    """The embedded PostgreSQL cannot be started or used."""


class PoolTimeout(VecstoreError, TimeoutError):
    """All connections of the engine's pool were in use, by other threads or by transactions left open."""


class DatabaseError(VecstoreError, RuntimeError):
    """The server refused a statement for a reason that has no class of its own here."""


class LockTimeout(DatabaseError, TimeoutError):
    """Others held a conflicting lock until the deadline; nothing was changed."""


class QueryTimeout(DatabaseError, TimeoutError):
    """The statement ran into statement_timeout, or was cancelled; the connection is usable."""


class OutOfLocks(DatabaseError):
    """The statement needs more locks than max_locks_per_transaction allows; nothing was changed."""


class TransactionAborted(DatabaseError):
    """An earlier error ended the caller's transaction: roll it back."""


class ConnectionLost(VecstoreError, ConnectionError):
    """The connection broke; what was not committed is undone."""


class CommitUncertain(ConnectionLost):
    """The connection broke during COMMIT: look before doing it again, or repeat it only if that is harmless."""


# The SQLSTATEs that a caller can act upon. Decided by code, never by message text, which is translated.
_BY_SQLSTATE: dict[str, type[VecstoreError]] = {
    "55P03": LockTimeout,  # lock_not_available
    "40P01": LockTimeout,  # deadlock_detected: the other one of two lock holders
    "57014": QueryTimeout,  # query_canceled
    "53200": OutOfLocks,  # out_of_memory: "out of shared memory" is the lock table
    "25P02": TransactionAborted,  # in_failed_sql_transaction
    "42501": PermissionDenied,  # insufficient_privilege
    "57P01": ConnectionLost,  # admin_shutdown
    "57P02": ConnectionLost,  # crash_shutdown
    "57P03": ConnectionLost,  # cannot_connect_now
    "25P03": ConnectionLost,  # idle_in_transaction_session_timeout
    "25P04": ConnectionLost,  # transaction_timeout
}


def driver_error(exc: BaseException | None) -> psycopg.Error | None:
    """The psycopg error that an exception is or wraps."""
    if isinstance(exc, DBAPIError):
        exc = exc.orig if exc.orig is not None else exc
    return exc if isinstance(exc, psycopg.Error) else None


def sqlstate_of(exc: BaseException) -> str | None:
    """PostgreSQL's code for an error, None where the server did not speak."""
    cause = driver_error(exc)
    return None if cause is None else cause.sqlstate


# What SQLAlchemy itself finds, before or without the server.
_BY_CLASS: tuple[tuple[type[Exception], type[VecstoreError], str], ...] = (
    (
        PoolTimeoutError,
        PoolTimeout,
        "no connection became free; close transactions sooner, or give the engine a larger pool",
    ),
    (PendingRollbackError, TransactionAborted, "the transaction ended with an earlier error; roll it back"),
    (ResourceClosedError, ConnectionLost, "the connection is closed"),
    (StatementError, InvalidArgument, "a value in the condition cannot be sent to PostgreSQL"),
    (InvalidRequestError, InvalidArgument, "the condition is incomplete: a bound parameter without a value"),
    (UnicodeEncodeError, InvalidArgument, "a text in the condition has a lone surrogate, which is no character"),
)


def _is_alive(exc: BaseException) -> bool:
    """Whether SQLAlchemy found the connection usable after the error of a statement."""
    return isinstance(exc, DBAPIError) and exc.statement is not None and not exc.connection_invalidated


def _said_by_the_client(exc: BaseException) -> str:
    """Libpq's own words, of connections, hold no password; what else a client says may show a value."""
    lines = str(exc).strip().splitlines() if isinstance(exc, psycopg.OperationalError) else []
    return lines[0] if lines else f"{type(exc).__name__}: a value cannot be sent to PostgreSQL"


def translated(exc: BaseException, *, doing: str) -> VecstoreError:
    """The typed error for a driver's or SQLAlchemy's, to be raised `from` it.

    `doing` begins the message: what was being done, with the object's name. No parameter is ever part of the
    message: it could be a vector or a secret.
    """
    cause = driver_error(exc)
    if cause is None:
        for found, kind, said in _BY_CLASS:
            if isinstance(exc, found):
                return kind(f"{doing}: {said}")
    sqlstate = None if cause is None else cause.sqlstate
    said = (None if cause is None else cause.diag.message_primary) or _said_by_the_client(cause or exc)
    if sqlstate is None and isinstance(cause, psycopg.OperationalError) and _is_alive(exc):
        return InvalidArgument(f"{doing}: the condition cannot be sent: {said}")
    by_code = _BY_SQLSTATE.get(sqlstate or "")
    if by_code is None:
        lost = sqlstate is None or sqlstate.startswith("08")
        by_code = ConnectionLost if lost and isinstance(cause, psycopg.OperationalError) else DatabaseError
    hint = POOLER if sqlstate in _MISPLACED or _REFUSED_BY_POOLER in said else _HINTS.get(by_code, "")
    error = by_code(f"{doing}: {said}{hint}")
    error.sqlstate = sqlstate
    return error


# invalid_sql_statement_name, duplicate_prepared_statement: not, or already, prepared on the connection to the server.
_MISPLACED = frozenset({"26000", "42P05"})
_REFUSED_BY_POOLER = "unsupported startup parameter"  # PgBouncer's own words, which have no code and no translation
POOLER = (
    "; where a pooler such as PgBouncer gives each transaction another server process, say connect(..., "
    "pgbouncer=True), and make an engine of your own with connect_args={'prepare_threshold': None}"
)

_HINTS: dict[type[VecstoreError], str] = {
    LockTimeout: "; others use the object, try again or raise ddl_timeout; nothing was changed",
    OutOfLocks: "; raise max_locks_per_transaction on the server, or work on fewer partitions at a time",
    TransactionAborted: "; roll the transaction back and begin a new one",
}


TRANSLATED: tuple[type[Exception], ...] = (psycopg.Error, *(found for found, _, _ in _BY_CLASS))
"""What translated() has a typed error for; DBAPIError is a StatementError."""
