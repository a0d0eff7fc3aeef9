from __future__ import annotations

import inspect

import psycopg
import pytest
import sqlalchemy.exc
from psycopg import errors as driver

import vecstore
from vecstore import errors
from vecstore.errors import driver_error, sqlstate_of, translated

CLASSES = [getattr(errors, name) for name in errors.__all__]


def test_every_error_has_one_root_and_says_what_it_means() -> None:
    assert all(issubclass(kind, vecstore.VecstoreError) for kind in CLASSES)
    assert all(inspect.getdoc(kind) for kind in CLASSES)
    assert {kind.__module__ for kind in CLASSES} == {"vecstore"}


def test_the_tree_in_the_docstring_shows_every_error() -> None:
    drawn = errors.__doc__ or ""
    assert [kind.__name__ for kind in CLASSES if kind.__name__ not in drawn] == []


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (driver.LockNotAvailable(), vecstore.LockTimeout),
        (driver.DeadlockDetected(), vecstore.LockTimeout),
        (driver.QueryCanceled(), vecstore.QueryTimeout),
        (driver.OutOfMemory(), vecstore.OutOfLocks),
        (driver.InFailedSqlTransaction(), vecstore.TransactionAborted),
        (driver.InsufficientPrivilege(), vecstore.PermissionDenied),
        (driver.AdminShutdown(), vecstore.ConnectionLost),
        (driver.ConnectionFailure(), vecstore.ConnectionLost),
        (psycopg.OperationalError("server closed the connection"), vecstore.ConnectionLost),
        (driver.UndefinedTable(), vecstore.DatabaseError),
        (psycopg.DataError(), vecstore.DatabaseError),
        (sqlalchemy.exc.TimeoutError(), vecstore.PoolTimeout),
        (sqlalchemy.exc.PendingRollbackError(), vecstore.TransactionAborted),
        (sqlalchemy.exc.ResourceClosedError(), vecstore.ConnectionLost),
        (sqlalchemy.exc.StatementError("", None, None, ValueError()), vecstore.InvalidArgument),
    ],
)
def test_each_cause_has_its_error(cause: Exception, kind: type[Exception]) -> None:
    error = translated(cause, doing="drop 'books'")
    assert type(error) is kind
    assert str(error).startswith("drop 'books': ")
    assert error.sqlstate == getattr(cause, "sqlstate", None)


def test_the_drivers_error_is_found_inside_sqlalchemys() -> None:
    cause = driver.LockNotAvailable()
    wrapped = sqlalchemy.exc.OperationalError("DROP", None, cause)
    assert driver_error(wrapped) is cause
    assert sqlstate_of(wrapped) == "55P03"
    assert type(translated(wrapped, doing="x")) is vecstore.LockTimeout
    assert (driver_error(ValueError()), sqlstate_of(ValueError())) == (None, None)


def test_no_parameter_is_part_of_a_message() -> None:
    wrapped = sqlalchemy.exc.DataError("SELECT %(v)s", {"v": "secret"}, driver.DataException("vector must have"))
    assert "secret" not in str(translated(wrapped, doing="search 'books'"))
