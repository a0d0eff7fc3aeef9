"""How large a collection is: rows counted, bytes as they are on disk."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Table, column, func, literal_column, select, table, text

from .. import catalog, tables, trash
from ..database import Database
from ..description import CollectionDescription, IndexState
from .explaining import explaining


@dataclass(frozen=True, slots=True)
class PartitionStats:
    """bytes: the table with its indexes and TOAST."""

    name: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class IndexStats:
    """bytes: over all partitions, part of theirs."""

    name: str
    field: str
    bytes: int
    state: IndexState


@dataclass(frozen=True, slots=True)
class CollectionStats:
    """Rows are counted, not estimated; bytes are those of all partitions.

    trash_bytes  what partitions hold that were dropped and are kept; not part of `bytes`
    """

    rows: int
    bytes: int
    partitions: tuple[PartitionStats, ...]
    indexes: tuple[IndexStats, ...]
    trash_bytes: int = 0


_CLASS = table("pg_class", column("oid"), column("relname"), schema="pg_catalog")

# The size of what somebody drops meanwhile is NULL.
_LEAF_BYTES = text("""
    SELECT c.relname, coalesce(pg_catalog.pg_total_relation_size(c.oid), 0) AS bytes
    FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = CAST(:oid AS oid)
""")

_INDEX_BYTES = text("""
    SELECT x.relname, coalesce(pg_catalog.sum(pg_catalog.pg_relation_size(c.inhrelid)), 0)::int8 AS bytes
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    JOIN pg_catalog.pg_inherits c ON c.inhparent = x.oid
    WHERE i.indrelid = CAST(:oid AS oid)
    GROUP BY x.relname
""")


def _rows_by_leaf(connection: Connection, entities: Table) -> dict[str, int]:
    """Counted by the table that a row is in, which every row knows, so that hash partitions are told apart, too."""
    oid: ColumnElement[int] = literal_column("tableoid")
    counted = select(oid.label("leaf"), func.count().label("rows")).select_from(entities).group_by(oid).subquery()
    names = select(_CLASS.c.relname, counted.c.rows).join(counted, counted.c.leaf == _CLASS.c.oid)
    return {row.relname: row.rows for row in connection.execute(names)}


def stats(database: Database, collection: str) -> CollectionStats:
    def attempt() -> CollectionStats:
        with explaining(database, collection), database.reading(f"measure {collection!r}") as connection:
            return _measured(connection, catalog.describe(connection, collection), database.facts.extension_schema)

    return database.repeated(attempt)


def _measured(connection: Connection, description: CollectionDescription, extension_schema: str) -> CollectionStats:
    parameters = {"oid": description.oid}
    leaf_bytes = {row.relname: row.bytes for row in connection.execute(_LEAF_BYTES, parameters)}
    index_bytes = {row.relname: row.bytes for row in connection.execute(_INDEX_BYTES, parameters)}
    rows = _rows_by_leaf(connection, tables.table_of(description, extension_schema))
    return CollectionStats(
        rows=sum(rows.values()),
        bytes=sum(leaf_bytes.values()),
        partitions=tuple(
            PartitionStats(partition.name, rows.get(partition.table, 0), leaf_bytes.get(partition.table, 0))
            for partition in description.partitions
        ),
        indexes=tuple(
            IndexStats(index.name, index.field, index_bytes.get(index.name, 0), index.state)
            for index in description.indexes
        ),
        trash_bytes=trash.bytes_of_partitions(connection, description.oid),
    )
