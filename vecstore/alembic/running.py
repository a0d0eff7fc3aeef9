"""Run operations in a migration's transaction, by the same calls as everybody's; or write them into a script."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from alembic.operations import Operations

from ..database import Database, Settings
from ..description import CollectionDescription, IndexState
from ..errors import IndexNotFound, InvalidArgument, LockTimeout
from ..operations import aliases, collections, fields, indexes, partitions
from ..store import Store
from . import scripts
from .operations import (
    OPERATIONS,
    AddFieldOp,
    AlterAliasOp,
    AlterCollectionOp,
    AlterFieldOp,
    CollectionOperation,
    CreateAliasOp,
    CreateCollectionOp,
    CreateIndexOp,
    CreatePartitionOp,
    DropAliasOp,
    DropCollectionOp,
    DropFieldOp,
    DropIndexOp,
    DropPartitionOp,
    RenameCollectionOp,
)

if TYPE_CHECKING:  # Alembic is half imported when it loads its plugins
    from alembic.runtime.migration import MigrationContext

_PAUSE_SECONDS = 0.2

_log = logging.getLogger(__name__)


def register_implementations() -> None:
    for kind in OPERATIONS:
        Operations.implementation_for(kind)(_run)


def _run(operations: Operations, operation: CollectionOperation) -> None:
    context = operations.get_context()
    if context.as_sql:
        scripts.write(context, operation)
    elif isinstance(operation, CreateIndexOp) and operation.online:
        _build_online(context, operation)
    else:
        database = _bound(context)
        _patiently(lambda: _apply(operation, database), database.settings.ddl_timeout)


def _database(context: MigrationContext) -> Database:
    """The database of a migration; `vecstore_ddl_timeout` given to context.configure() is connect()'s ddl_timeout."""
    connection = context.connection
    assert connection is not None  # noqa: S101 - a migration without one is a script
    given = context.opts.get("vecstore_ddl_timeout")
    return Database(connection.engine, Settings() if given is None else Settings(ddl_timeout=given))


def _bound(context: MigrationContext) -> Database:
    database, connection = _database(context), context.connection
    assert connection is not None  # noqa: S101 - as above
    Store(database).bind(connection)  # refuses a connection of another driver, or in AUTOCOMMIT
    return database.bound_to(connection)


def _patiently(attempt: Callable[[], None], seconds: float) -> None:
    """Try again while others hold a lock: each attempt is a savepoint, so it has given up its place in the queue."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except LockTimeout:
            if time.monotonic() + _PAUSE_SECONDS >= deadline:
                raise
        time.sleep(_PAUSE_SECONDS)


def _build_online(context: MigrationContext, operation: CreateIndexOp) -> None:
    """Outside of the migration's transaction, which is committed first; one that stands already is not built again."""
    database = _database(context)
    with ExitStack() as stack:
        try:
            stack.enter_context(context.autocommit_block())
        except AssertionError as exc:
            raise InvalidArgument(
                f"create index on {operation.field!r} of {operation.collection!r}: online=True has to leave the "
                "transaction, which here belongs to the caller of Alembic; call it with a connection on which no "
                "transaction has begun, or give online=False"
            ) from exc
        if _stands(Store(database).collection(operation.collection).describe(), operation):
            _log.info("index %s of collection %s stands already", operation.name, operation.collection)
            return
        indexes.create_online(database, operation.collection, _asked(operation))


def _asked(operation: CreateIndexOp) -> indexes.Asked:
    return indexes.Asked(operation.field, operation.spec, operation.name)


def _stands(description: CollectionDescription, operation: CreateIndexOp) -> bool:
    """Whether an earlier run, that did not come to its end, has built the very index."""
    if operation.name is None:
        return False
    try:
        found = description.index(operation.name)
    except IndexNotFound:
        return False
    return found.state is IndexState.READY and (found.field, found.spec) == (operation.field, operation.spec)


@singledispatch
def _apply(operation: Any, database: Database) -> None:
    raise AssertionError(f"no implementation of {operation!r} on {database!r}")


@_apply.register
def _(operation: CreateCollectionOp, database: Database) -> None:
    collections.create(database, operation.name, operation.schema)


@_apply.register
def _(operation: DropCollectionOp, database: Database) -> None:
    collections.drop(database, operation.name, cascade=operation.cascade)


@_apply.register
def _(operation: RenameCollectionOp, database: Database) -> None:
    collections.rename(database, operation.name, operation.new_name)


@_apply.register
def _(operation: AlterCollectionOp, database: Database) -> None:
    if operation.description is not None:
        fields.alter_collection(database, operation.name, operation.description)
    if operation.properties is not None:
        fields.set_properties(database, operation.name, operation.properties)


@_apply.register
def _(operation: CreatePartitionOp, database: Database) -> None:
    partitions.create(database, operation.collection, operation.partition)


@_apply.register
def _(operation: DropPartitionOp, database: Database) -> None:
    partitions.drop(database, operation.collection, operation.partition, cascade=operation.cascade)


@_apply.register
def _(operation: CreateIndexOp, database: Database) -> None:
    indexes.create(database, operation.collection, _asked(operation))


@_apply.register
def _(operation: DropIndexOp, database: Database) -> None:
    indexes.drop(database, operation.collection, operation.name)


@_apply.register
def _(operation: AddFieldOp, database: Database) -> None:
    fields.add(database, operation.collection, operation.field)


@_apply.register
def _(operation: DropFieldOp, database: Database) -> None:
    fields.drop(database, operation.collection, operation.name, cascade=operation.cascade)


@_apply.register
def _(operation: AlterFieldOp, database: Database) -> None:
    fields.alter(database, operation.collection, operation.field)


@_apply.register
def _(operation: CreateAliasOp, database: Database) -> None:
    aliases.create(database, operation.collection, operation.alias)


@_apply.register
def _(operation: AlterAliasOp, database: Database) -> None:
    aliases.alter(database, operation.collection, operation.alias)


@_apply.register
def _(operation: DropAliasOp, database: Database) -> None:
    aliases.drop(database, operation.alias)
