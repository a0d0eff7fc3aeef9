"""What there is, at a glance: rows estimated, sizes measured where that needs no waiting.

Read from the views that analysts have, so that both see the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, TextClause, text

from .. import catalog
from ..database import Database
from ..errors import PermissionDenied


@dataclass(frozen=True, slots=True)
class PartitionOverview:
    """bytes: the table with its indexes; None while somebody drops or alters it."""

    name: str
    rows_estimated: int
    bytes: int | None


@dataclass(frozen=True, slots=True)
class IndexOverview:
    """An index, over all partitions.

    name, field, method  None of one that is being built in a transaction, which shows its progress alone
    state                "ready", "building", or "invalid", which is left of an interrupted build
    """

    name: str | None
    field: str | None
    method: str | None
    metric: str | None
    state: str
    build_percent: float | None
    bytes: int | None


@dataclass(frozen=True, slots=True)
class CollectionOverview:
    """A collection at a glance."""

    name: str
    description: str
    owner: str
    aliases: tuple[str, ...]
    partitions: tuple[PartitionOverview, ...]
    indexes: tuple[IndexOverview, ...]

    @property
    def rows_estimated(self) -> int:
        return sum(partition.rows_estimated for partition in self.partitions)

    @property
    def bytes(self) -> int | None:
        """Of all partitions; None where one of them could not be measured."""
        sizes = [partition.bytes for partition in self.partitions]
        return None if None in sizes else sum(size for size in sizes if size is not None)


_COLLECTIONS = text("""
    SELECT name, coalesce(description, '') AS description, owner, aliases FROM vecstore.collections
    WHERE CAST(:name AS text) IS NULL OR name = :name
    ORDER BY name
""")

_PARTITIONS = text("""
    SELECT collection, name, rows_estimated, bytes FROM vecstore.partitions
    WHERE CAST(:name AS text) IS NULL OR collection = :name
    ORDER BY collection, relation::oid
""")

_INDEXES = text("""
    SELECT collection, name, field, method, metric, state, build_percent::float8, bytes FROM vecstore.indexes
    WHERE CAST(:name AS text) IS NULL OR collection = :name
    ORDER BY collection, name
""")


def overview(database: Database) -> tuple[CollectionOverview, ...]:
    """All collections that the role may use, by name."""
    with database.reading("look at the collections") as connection:
        return _read(connection, None)


def one(database: Database, name: str) -> CollectionOverview:
    """One collection, by its name or an alias."""
    with database.reading(f"look at {name!r}") as connection:
        found = _read(connection, catalog.describe(connection, name).name)
    if not found:
        raise PermissionDenied(f"look at {name!r}: this role has no rights on it; store.grant() gives them")
    return found[0]


def _read(connection: Connection, name: str | None) -> tuple[CollectionOverview, ...]:
    partitions = _by_collection(connection, _PARTITIONS, name)
    indexes = _by_collection(connection, _INDEXES, name)
    return tuple(
        CollectionOverview(
            row.name,
            row.description,
            row.owner,
            tuple(row.aliases),
            tuple(PartitionOverview(*found[1:]) for found in partitions.get(row.name, ())),
            tuple(IndexOverview(*found[1:]) for found in indexes.get(row.name, ())),
        )
        for row in connection.execute(_COLLECTIONS, {"name": name})
    )


def _by_collection(connection: Connection, view: TextClause, name: str | None) -> dict[str, Sequence[Any]]:
    rows = connection.execute(view, {"name": name}).all()
    return {collection: list(found) for collection, found in groupby(rows, key=lambda row: row.collection)}
