"""What was dropped and is kept, as the catalogue and the registry of the trash have it. Only reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from .errors import PermissionDenied, TrashNotFound
from .naming import TRASH_PREFIX


@dataclass(frozen=True, slots=True)
class TrashEntry:
    """A dropped collection, or partition of one, that is kept.

    id         its number, for restore() to tell it from others of the name
    partition  None where it is a whole collection
    bytes      on disk, with indexes
    aliases    that went along with the collection
    table      where plain SQL can still read it
    """

    id: int
    collection: str
    partition: str | None
    dropped_at: datetime
    dropped_by: str
    kept_until: datetime
    bytes: int
    aliases: tuple[str, ...]
    table: str


_ENTRIES = text("""
    SELECT id, collection, partition, dropped_at, dropped_by, kept_until, bytes, aliases, relation::text AS table
    FROM vecstore.trash
    ORDER BY id
""")


def entries(connection: Connection) -> tuple[TrashEntry, ...]:
    """What the role may look into, the oldest first."""
    rows = connection.execute(_ENTRIES).mappings()
    return tuple(TrashEntry(**{**row, "aliases": tuple(row["aliases"])}) for row in rows)


@dataclass(frozen=True, slots=True)
class Trashed:
    """Where a thing in the trash is: the schema and table of a number."""

    id: int
    oid: int
    collection: str
    partition: str | None
    schema: str
    table: str
    indexes: tuple[str, ...]
    aliases: tuple[str, ...]

    @property
    def alias_places(self) -> dict[str, str]:
        return alias_places(self.schema, self.aliases)

    @property
    def label(self) -> str:
        if self.partition is None:
            return f"dropped collection {self.collection!r}"
        return f"dropped partition {self.partition!r} of collection {self.collection!r}"


def alias_places(place: str, aliases: Sequence[str]) -> dict[str, str]:
    """Each alias of a collection in the trash, and the schema that it is now."""
    return {alias: f"{place}_{number}" for number, alias in enumerate(aliases, 1)}


# A partition is its collection's, whatever that is called now; of one that is gone, of whoever has its name.
_FIND = text("""
    SELECT t.id, c.oid::int8 AS oid, t.collection, t.partition, n.nspname AS schema, c.relname AS table,
           t.indexes, t.aliases,
           pg_catalog.pg_get_userbyid(c.relowner) AS owner, pg_catalog.pg_has_role(c.relowner, 'USAGE') AS is_mine
    FROM vecstore.trash_registry t
    JOIN pg_catalog.pg_class c ON c.oid = t.relation
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE (CAST(:id AS int8) IS NULL OR t.id = :id)
      AND t.partition IS NOT DISTINCT FROM CAST(:partition AS text)
      AND CASE WHEN CAST(:parent AS oid) IS NOT NULL
                    AND EXISTS (SELECT FROM pg_catalog.pg_class p WHERE p.oid = t.parent)
               THEN t.parent = CAST(:parent AS oid) ELSE t.collection = :collection END
    ORDER BY t.id DESC
    LIMIT 1
""")


def find(
    connection: Connection,
    collection: str,
    partition: str | None = None,
    *,
    parent: int | None = None,
    trash_id: int | None = None,
) -> Trashed:
    """The newest of a name, or the one of a number; raises TrashNotFound, PermissionDenied where it is another's.

    parent  of a partition, the OID of the collection's table
    """
    parameters = {"collection": collection, "partition": partition, "parent": parent, "id": trash_id}
    row = connection.execute(_FIND, parameters).mappings().one_or_none()
    if row is None:
        what = f"collection {collection!r}"
        what = what if partition is None else f"partition {partition!r} of {what}"
        number = "" if trash_id is None else f" as number {trash_id}"
        raise TrashNotFound(f"no dropped {what} is kept{number}; store.trash() lists what is")
    if not row["is_mine"]:
        raise PermissionDenied(f"{collection!r} was dropped and belongs to {row['owner']!r}, who restores it")
    return _trashed({name: row[name] for name in row if name not in {"owner", "is_mine"}})


_IS_THERE = text("SELECT pg_catalog.count(*) > 0 FROM vecstore.trash_registry WHERE id = :id")


def is_there(connection: Connection, number: int) -> bool:
    return bool(connection.execute(_IS_THERE, {"id": number}).scalar_one())


_DUE = text("""
    SELECT t.id, c.oid::int8 AS oid, t.collection, t.partition, n.nspname AS schema, c.relname AS table,
           t.indexes, t.aliases
    FROM vecstore.trash_registry t
    JOIN pg_catalog.pg_class c ON c.oid = t.relation
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE (t.kept_until <= pg_catalog.now() OR t.dropped_at <= pg_catalog.now() - CAST(:older_than AS interval))
      AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
    ORDER BY t.id
""")


def due(connection: Connection, older_than: timedelta | None) -> list[Trashed]:
    """What the role may free: past its keep, or dropped longer ago than that."""
    return [_trashed(dict(row)) for row in connection.execute(_DUE, {"older_than": older_than}).mappings()]


def _trashed(row: dict[str, Any]) -> Trashed:
    return Trashed(**{**row, "indexes": tuple(row["indexes"]), "aliases": tuple(row["aliases"])})


_DIFFERENCES = text("SELECT vecstore._differences(CAST(:parent AS oid), CAST(:leaf AS oid))")


def differences(connection: Connection, parent: int, leaf: int) -> list[str]:
    """What keeps a table from being attached as the partition that it was: "field pages (integer) was added"."""
    return list(connection.execute(_DIFFERENCES, {"parent": parent, "leaf": leaf}).scalars())


_STALE_INDEXES = text("SELECT vecstore._stale_indexes(CAST(:parent AS oid), CAST(:leaf AS oid), :names)")


def stale_indexes(connection: Connection, parent: int, entry: Trashed) -> list[str]:
    """Of a partition's indexes that were parts of the collection's, those that are none now."""
    parameters = {"parent": parent, "leaf": entry.oid, "names": list(entry.indexes)}
    return list(connection.execute(_STALE_INDEXES, parameters).scalars())


_RELATIONS = text("""
    SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relkind IN ('r', 'i') ORDER BY c.oid
""")


def relations(connection: Connection, schema: str) -> list[str]:
    """The tables and indexes in a schema."""
    return list(connection.execute(_RELATIONS, {"schema": schema}).scalars())


_NEXT_ID = text("SELECT pg_catalog.nextval(CAST('vecstore.trash_id_seq' AS regclass))")


def new_place(connection: Connection) -> tuple[int, str]:
    """A number of its own, and the schema that it names."""
    number: int = connection.execute(_NEXT_ID).scalar_one()
    return number, f"{TRASH_PREFIX}{number}"


_BYTES = text("""
    SELECT coalesce(pg_catalog.sum(pg_catalog.pg_total_relation_size(c.oid)), 0)::int8
    FROM vecstore.trash_registry t JOIN pg_catalog.pg_class c ON c.oid = t.relation
    WHERE t.parent = CAST(CAST(:parent AS oid) AS regclass)
""")


def bytes_of_partitions(connection: Connection, parent: int) -> int:
    """What the kept partitions of a collection hold on disk, with indexes."""
    held: int = connection.execute(_BYTES, {"parent": parent}).scalar_one()
    return held
