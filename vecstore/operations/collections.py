"""Create, rename and drop collections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import timedelta

from sqlalchemy import Connection, Executable
from sqlalchemy.exc import DBAPIError

from .. import catalog, ddl, registry, retention, tables
from ..database import Database
from ..description import CollectionDescription
from ..errors import (
    CollectionExists,
    CollectionHasAliases,
    CollectionNotFound,
    InvalidSchema,
    NotOurs,
    OperationRefused,
    sqlstate_of,
)
from ..ingest import with_plain_default
from ..naming import DEFAULT_PARTITION, PARENT_TABLE, TRASH_PREFIX, check_collection_name
from ..schema import CollectionSchema, Field
from . import freeing, keeping, partitions
from .building import stop_builds
from .dependents import dependence, refusing_dependents
from .locking import locked
from .objecting import Check, Objection, refuse, unchecked

# DROP SCHEMA takes some ten locks a partition, and two more for each index of it. Stay well inside the lock table,
# which every other session uses, too.
_LOCKS_A_PARTITION = 10
_LOCKS_AN_INDEX = 2
_SHARE_OF_LOCK_TABLE = 0.5

_SCHEMA_THERE = frozenset({"42P06", "23505"})  # duplicate_schema; the same, found by the catalogue's unique index


def create(database: Database, name: str, schema: CollectionSchema, *, exist_ok: bool = False) -> None:
    check_collection_name(name)
    retention.of(schema.properties, name)
    schema = replace(schema, fields=tuple(map(with_plain_default, schema.fields)))

    def work(connection: Connection) -> None:
        if exist_ok and _is_there(connection, name, schema):
            return
        check_free(connection, name)
        check_text_search(connection, schema)
        table = tables.entities(name, schema, extension_schema=database.facts.extension_schema)
        with taken_meanwhile(name):
            for statement in ddl.create_collection(name, table, schema):
                connection.execute(statement)
        connection.execute(registry.register_collection(name, schema))
        if schema.partition_key is None:
            partitions.add_list_leaf(connection, name, DEFAULT_PARTITION, taken=frozenset())
        else:
            partitions.add_hash_leaves(connection, name, schema.num_partitions)

    database.facts  # noqa: B018 - NotInstalled comes before any lock
    database.alter(f"create collection {name!r}", [name], work)


def _is_there(connection: Connection, name: str, schema: CollectionSchema) -> bool:
    """Whether there is a collection of this name; raises CollectionExists where it is not as asked for."""
    try:
        found = catalog.describe(connection, name)
    except CollectionNotFound:
        return False
    if found.name != name:
        return False
    difference = _difference(found.schema, schema)
    if difference is not None:
        raise CollectionExists(f"collection {name!r} exists and is another: {difference}")
    return True


def _difference(had: CollectionSchema, asked: CollectionSchema) -> str | None:
    if list(had.by_name) != list(asked.by_name):
        return f"its fields are {', '.join(had.by_name)}; asked for were {', '.join(asked.by_name)}"
    for one, other in zip(had.fields, asked.fields, strict=True):
        for name in (part.name for part in fields(Field)):
            if getattr(one, name) != getattr(other, name):
                return f"field {one.name!r} has {name}={getattr(one, name)!r}, asked for was {getattr(other, name)!r}"
    return None if had.dynamic == asked.dynamic else f"it has dynamic={had.dynamic}"


@contextmanager
def taken_meanwhile(name: str) -> Iterator[None]:
    """A schema that the transaction's snapshot does not show, or that somebody makes at this moment."""
    try:
        yield
    except DBAPIError as exc:
        if sqlstate_of(exc) in _SCHEMA_THERE:
            raise CollectionExists(f"schema {name!r} was made by somebody else at the same time") from exc
        raise


def check_free(connection: Connection, name: str) -> None:
    """Raise unless no collection, alias or foreign schema has the name. Holds, for the name is locked."""
    if not catalog.schema_exists(connection, name):
        return
    try:
        found = catalog.describe(connection, name)
    except CollectionNotFound:
        raise NotOurs(f"schema {name!r} exists and is not vecstore's: choose another name, or rename it") from None
    if found.name == name:
        raise CollectionExists(f"collection {name!r} exists; store.collection() opens it")
    raise CollectionExists(f"{name!r} is an alias of collection {found.name!r}")


def check_text_search(connection: Connection, schema: CollectionSchema) -> None:
    asked = [field for field in schema.fields if field.text_search is not None]
    known = catalog.text_search_configurations(connection) if asked else []
    for field in asked:
        if field.text_search not in known:
            raise InvalidSchema(
                f"field {field.name!r}: no text search configuration {field.text_search!r}; there are: "
                f"{', '.join(known)}"
            )


def rename(database: Database, old: str, new: str) -> None:
    check_collection_name(new)

    def work(connection: Connection) -> None:
        description = _ours(connection, old, "rename")
        check_free(connection, new)
        connection.execute(ddl.rename_schema(description.name, new))

    database.alter(f"rename collection {old!r} to {new!r}", sorted({old, new}), work)


def drop(
    database: Database, name: str, *, cascade: bool, keep: timedelta | None = None, check: Check = unchecked
) -> None:
    """Drop in one transaction; one of very many partitions leaves its name at once and its files in batches after."""
    check_collection_name(name)
    retention.checked(keep)

    def work(connection: Connection) -> bool:
        description = _ours(connection, name, "drop")
        check(connection)
        kept_for = keeping.period(database, connection, description, keep)
        is_kept = kept_for > retention.NOT_AT_ALL
        refuse(objections(connection, name, description, cascade=cascade, is_kept=is_kept))
        if is_kept:
            keeping.keep_collection(connection, description, kept_for)
            return False
        with refusing_dependents(f"collection {name!r}"):
            for statement in drop_statements(database, description, cascade=cascade):
                connection.execute(statement)
        return is_too_large(database, description)

    def stopped() -> bool:
        """Indexes of what is to go need not be built."""
        with database.reading(f"drop collection {name!r}") as connection:
            description = catalog.describe(connection, name)
            is_kept = keeping.period(database, connection, description, keep) > retention.NOT_AT_ALL
            refuse(objections(connection, name, description, cascade=cascade, is_kept=is_kept))
            stop_builds(connection, description)
        return False

    locked_names = [*(_aliases_of(database, name) if cascade else ()), name]
    thrown_away = database.alter(f"drop collection {name!r}", locked_names, work, held_up=stopped)
    if thrown_away and database.owns_transactions:
        freeing.finish_after_drop(database)
    elif thrown_away:
        database.after_commit.append(freeing.finish_after_drop)


def _aliases_of(database: Database, name: str) -> list[str]:
    """Those that go along with a drop that is kept: aliases are locked before collections."""
    with database.reading(f"drop collection {name!r}") as connection:
        return [alias for alias, collection in catalog.aliases(connection).items() if collection == name]


def objections(
    connection: Connection, name: str, description: CollectionDescription, *, cascade: bool, is_kept: bool
) -> Iterator[Objection]:
    """What stands against dropping a collection that was found under this name."""
    if description.name != name:
        yield _is_alias(name, description, "drop")
    if is_kept:
        yield from keeping.objections(connection, description, cascade=cascade)
        return
    if description.aliases:
        yield CollectionHasAliases(
            f"collection {description.name!r} has aliases, drop them first: {', '.join(description.aliases)}; or keep "
            "what is dropped, which takes them along with cascade=True",
            aliases=description.aliases,
        )
    if not cascade:
        what = f"collection {description.name!r}"
        yield from dependence(connection, what, description.name, PARENT_TABLE, with_schema=True)


def drop_statements(database: Database, description: CollectionDescription, *, cascade: bool) -> Iterator[Executable]:
    """The table and the schema; of one that is too large, its name alone, for its partitions go in batches after it."""
    if is_too_large(database, description):
        yield ddl.rename_schema(description.name, f"{TRASH_PREFIX}{description.oid}")
        yield registry.mark_dropped(description.oid, description.name)
    else:
        yield ddl.drop_table(description.name, PARENT_TABLE, cascade=cascade)
        yield ddl.drop_schema(description.name, cascade=cascade)
        yield registry.forget_collection(description.oid)


def is_too_large(database: Database, description: CollectionDescription) -> bool:
    """Whether one transaction cannot lock all partitions."""
    needed = len(description.leaves) * (_LOCKS_A_PARTITION + _LOCKS_AN_INDEX * len(description.indexes))
    return needed > database.facts.lock_slots * _SHARE_OF_LOCK_TABLE


def _ours(connection: Connection, name: str, verb: str) -> CollectionDescription:
    try:
        description = locked(connection, name)
    except CollectionNotFound:
        if catalog.schema_exists(connection, name):
            raise NotOurs(f"schema {name!r} is not a collection of vecstore: refusing to {verb} it") from None
        raise
    if description.name != name:
        raise _is_alias(name, description, verb)
    return description


def _is_alias(name: str, description: CollectionDescription, verb: str) -> OperationRefused:
    return OperationRefused(
        f"{name!r} is an alias of collection {description.name!r}: {verb} the collection by its own name"
    )
