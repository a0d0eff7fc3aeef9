"""The statements that a batch is written with: COPY, and the way of an upsert through a temporary table. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from psycopg import sql
from sqlalchemy import (
    Column,
    ColumnElement,
    Delete,
    FromClause,
    Insert,
    MetaData,
    Select,
    Table,
    Update,
    and_,
    delete,
    exists,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from vecstore.naming import DYNAMIC_COLUMN, PARTITION_COLUMN
from vecstore.schema import CollectionSchema

# One at a time on a connection: each upsert drops its own.
TEMPORARY, STAGING = "pg_temp", "vecstore_staging"


def copy_statement(schema: str, table: str, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL("COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)").format(
        table=sql.Identifier(schema, table), columns=sql.SQL(", ").join(map(sql.Identifier, columns))
    )


def replacement(entities: Table, schema: CollectionSchema, columns: Sequence[str]) -> Iterator[Delete | Insert]:
    """Let the rows of a staging table into the collection, in the order of the keys, each in place of its namesake.

    The order is what keeps two writers from waiting for each other: of batches in different orders 82 of 100
    deadlocked, of ordered ones none.
    """
    staging = _staging(columns)
    key = schema.primary_key.name
    router = PARTITION_COLUMN if schema.partition_key is None else schema.partition_key.name
    if schema.partition_key is not None:
        # The same key beside another partition key is another row to PostgreSQL, and the same entity to us.
        moved = entities.c[key] == staging.c[key], entities.c[router] != staging.c[router]
        yield delete(entities).where(*moved)
    statement = insert(entities).from_select(columns, select(staging).order_by(staging.c[key]))
    changes = {name: statement.excluded[name] for name in columns if name not in {key, router}}
    target = [entities.c[key], entities.c[router]]
    yield (
        statement.on_conflict_do_update(index_elements=target, set_=changes)
        if changes
        else (statement.on_conflict_do_nothing(index_elements=target))
    )


class Merge:
    """Let the rows of a staging table, which have some fields only, into entities that are there already.

    The statements are to be run in this order: lock, update, then unmatched, and insert if those may be new entities.
    """

    def __init__(self, entities: Table, schema: CollectionSchema, columns: Sequence[str]) -> None:
        self._entities = entities
        self._staging = _staging(columns)
        self._columns = tuple(columns)
        self._key = schema.primary_key.name
        # Beside another partition key the same key is the same entity to us.
        self._router = PARTITION_COLUMN if schema.partition_key is None else None

    @property
    def _is_same(self) -> ColumnElement[bool]:
        names = [self._key] if self._router is None else [self._key, self._router]
        return and_(*(self._entities.c[name] == self._staging.c[name] for name in names))

    def lock(self) -> Select[Any]:
        """In the order of the keys, as all writers go."""
        key = self._entities.c[self._key]
        return select(key).where(self._is_same).order_by(key).with_for_update(of=self._entities)

    def update(self) -> Update | None:
        """None where nothing but the key was given."""
        changes = self._changes(self._staging)
        return update(self._entities).values(changes).where(self._is_same) if changes else None

    def unmatched(self, most: int) -> Select[Any]:
        """Keys that no entity has."""
        key = self._staging.c[self._key]
        return select(key).where(~exists().where(self._is_same)).order_by(key).limit(most)

    def insert(self) -> Insert:
        new = select(self._staging).where(~exists().where(self._is_same)).order_by(self._staging.c[self._key])
        return insert(self._entities).from_select(self._columns, new)

    def _changes(self, given: FromClause) -> dict[str, ColumnElement[Any]]:
        changes: dict[str, ColumnElement[Any]] = {
            name: given.c[name] for name in self._columns if name not in {self._key, self._router}
        }
        if DYNAMIC_COLUMN in changes:
            merged = self._entities.c[DYNAMIC_COLUMN].op("||", return_type=JSONB())
            changes[DYNAMIC_COLUMN] = merged(changes[DYNAMIC_COLUMN])
        return changes


def _staging(columns: Sequence[str]) -> Table:
    return _staging_table(tuple(columns))


@lru_cache(maxsize=256)
def _staging_table(columns: tuple[str, ...]) -> Table:
    """Always the same for the same columns, so that SQLAlchemy compiles a statement on it once."""
    return Table(STAGING, MetaData(), *(Column(column) for column in columns), schema=TEMPORARY)
