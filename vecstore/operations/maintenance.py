"""What is not as it should be: find it, and clear away what interrupted work left.

After a crash of the server the transactions of the library leave nothing; only online index builds, compact() and the
freeing of collections with very many partitions, which are no transactions, can stop half-way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Float, literal, select, text

from .. import catalog, ddl, registry
from ..database import Database
from ..description import IndexState
from ..errors import CollectionNotFound, VecstoreError
from ..naming import DEFAULT_PARTITION
from ..schema import Metric
from ..tables import OPERATORS, half_precision, qualified_operator
from . import freeing, indexes, partitions
from .locking import locked
from .opening import Opened, opened_anew
from .wear import worn

_SHOWN_KEYS = 5


class FindingKind(StrEnum):
    """What doctor() can find; repair() mends the first six."""

    INVALID_INDEX = "invalid index"
    UNFINISHED_DROP = "unfinished drop"
    UNFINISHED_DETACH = "unfinished detach"
    LOST_COLLECTION = "lost collection"
    LOST_ALIAS = "lost alias"
    NO_DEFAULT_PARTITION = "no default partition"
    WORN_INDEX = "worn index"
    """compact() builds it anew."""
    NO_DIRECTION = "vectors without direction"
    """Put in by plain SQL: an index by COSINE leaves them out, so searches by it do not find them."""
    OTHER_OWNER = "partition of another owner"
    """The owner of the collection can neither index nor drop it."""
    READABLE_PARTITION = "readable partition"
    """A grant on a partition's table leads past the row security of the collection."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be; the message says the way out of what repair() does not mend.

    name  of the index, or of a partition's table
    """

    kind: FindingKind
    collection: str
    name: str
    message: str


_LOST_COLLECTIONS = text("""
    SELECT r.entities::oid::int8 AS oid FROM vecstore.collection_registry r
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c
                      WHERE c.oid = r.entities AND c.relname = 'entities' AND c.relkind = 'p')
    ORDER BY 1
""")

_LOST_ALIASES = text("""
    SELECT a.view::oid::int8 AS oid FROM vecstore.alias_registry a
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c
                      WHERE c.oid = a.view AND c.relname = 'entities' AND c.relkind = 'v')
    ORDER BY 1
""")

_FORGET_LOST_ALIAS = text(
    "DELETE FROM vecstore.alias_registry WHERE view = CAST(CAST(:oid AS oid) AS regclass)",
)

# Leaves' indexes that a killed build did not come to attach: invalid, and children of nothing.
_INVALID_LEAF_INDEXES = text("""
    SELECT x.relname
    FROM pg_catalog.pg_inherits l
    JOIN pg_catalog.pg_index i ON i.indrelid = l.inhrelid
    JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    WHERE l.inhparent = CAST(:oid AS oid) AND NOT i.indisvalid
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits p WHERE p.inhrelid = x.oid)
    ORDER BY x.relname
""")


_LEAVES_AS_THEY_ARE = text("""
    SELECT c.relname, i.inhdetachpending AS is_detaching, c.relowner <> p.relowner AS is_others,
           pg_catalog.pg_get_userbyid(c.relowner) AS owner, pg_catalog.pg_get_userbyid(p.relowner) AS collection_owner,
           CASE WHEN p.relrowsecurity AND NOT c.relrowsecurity THEN (
               SELECT pg_catalog.string_agg(DISTINCT CASE g.grantee WHEN 0 THEN 'PUBLIC'
                                                     ELSE pg_catalog.pg_get_userbyid(g.grantee) END, ', ')
               FROM pg_catalog.aclexplode(c.relacl) g
               WHERE g.grantee NOT IN (c.relowner, p.relowner)) END AS grantees
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
    JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relnamespace = c.relnamespace
    WHERE i.inhparent = CAST(:oid AS oid)
    ORDER BY c.oid
""")


_MAY_READ = text("SELECT pg_catalog.has_table_privilege(CAST(:oid AS oid), 'SELECT')")


def doctor(database: Database) -> tuple[Finding, ...]:
    """Look at every collection, its vectors included as far as the role may read them; changes nothing."""
    leftovers = _leftovers(database)
    with database.reading("list collections") as connection:
        names = catalog.collection_names(connection)
    return (*leftovers, *(finding for name in names for finding in _of_vectors(database, name)))


def _leftovers(database: Database) -> list[Finding]:
    """What the catalogue and the registry alone can tell."""
    found: list[Finding] = []
    with database.reading("examine the store") as connection:
        for name in catalog.collection_names(connection):
            found += _of_catalogue(connection, name)
        found += [
            Finding(FindingKind.UNFINISHED_DROP, trash.name, trash.schema, f"{trash.name!r} was dropped, not yet freed")
            for trash in freeing.unfinished(connection)
        ]
        found += [
            Finding(FindingKind.LOST_COLLECTION, "", str(row.oid), "a collection was dropped by plain SQL")
            for row in connection.execute(_LOST_COLLECTIONS)
        ]
        found += [
            Finding(FindingKind.LOST_ALIAS, "", str(row.oid), "an alias was dropped by plain SQL")
            for row in connection.execute(_LOST_ALIASES)
        ]
    return found


def _of_catalogue(connection: Connection, name: str) -> list[Finding]:
    try:
        description = catalog.describe(connection, name)
    except CollectionNotFound:  # dropped since the names were read
        return []
    unfinished = [index.name for index in description.indexes if index.state is IndexState.INVALID]
    unfinished += connection.execute(_INVALID_LEAF_INDEXES, {"oid": description.oid}).scalars()
    found = [
        Finding(FindingKind.INVALID_INDEX, name, index, f"index {index!r} of {name!r} was not built to its end")
        for index in unfinished
    ]
    by_hand = description.schema.partition_key is None
    if by_hand and all(partition.name != DEFAULT_PARTITION for partition in description.partitions):
        message = f"collection {name!r} has lost its partition {DEFAULT_PARTITION!r}"
        found.append(Finding(FindingKind.NO_DEFAULT_PARTITION, name, DEFAULT_PARTITION, message))
    for leaf in connection.execute(_LEAVES_AS_THEY_ARE, {"oid": description.oid}):
        found += [Finding(kind, name, leaf.relname, message) for kind, message in _of_leaf(name, leaf)]
    return found


def _of_leaf(collection: str, leaf: Any) -> Iterator[tuple[FindingKind, str]]:
    what = f"table {leaf.relname!r}, a partition of {collection!r},"
    if leaf.is_detaching:
        message = "was not detached to the end: its rows are in no search; repair() detaches it, and keeps the table"
        yield FindingKind.UNFINISHED_DETACH, f"{what} {message}"
    if leaf.is_others:
        message = f"belongs to {leaf.owner!r}, the collection to {leaf.collection_owner!r}: ALTER TABLE ... OWNER TO"
        yield FindingKind.OTHER_OWNER, f"{what} {message}"
    if leaf.grantees is not None:
        message = f"has grants to {leaf.grantees}, past the row security of the collection: REVOKE them there"
        yield FindingKind.READABLE_PARTITION, f"{what} {message}"


def _of_vectors(database: Database, name: str) -> list[Finding]:
    def attempt() -> list[Finding]:
        with opened_anew(database, name, "examine") as collection:
            return [*_worn_indexes(collection), *_without_direction(collection)]

    try:
        return database.repeated(attempt)
    except CollectionNotFound:  # dropped since the names were read
        return []


def _worn_indexes(collection: Opened) -> Iterator[Finding]:
    name = collection.description.name
    for part in worn(collection):
        message = f"index {part.index!r} of {name!r}, in table {part.leaf!r}: {part.why}; compact() builds it anew"
        yield Finding(FindingKind.WORN_INDEX, name, part.index, message)


def _without_direction(collection: Opened) -> Iterator[Finding]:
    description, table = collection.description, collection.table
    if not collection.connection.execute(_MAY_READ, {"oid": description.oid}).scalar_one():
        return
    key = table.c[description.schema.primary_key.name]
    for index in description.indexes:
        if index.metric is not Metric.COSINE or index.field not in description.schema.by_name:
            continue
        vector: ColumnElement[Any] = table.c[index.field]
        if index.half_precision:
            vector = half_precision(vector, description.schema.field(index.field), collection.facts.extension_schema)
        operator = qualified_operator(OPERATORS[Metric.COSINE], collection.facts.extension_schema)
        to_itself = vector.op(operator, return_type=Float())(vector)
        lost = select(key).where(to_itself == literal(math.nan)).order_by(key).limit(_SHOWN_KEYS)
        if keys := collection.connection.execute(lost).scalars().all():
            message = (
                f"field {index.field!r} of {description.name!r} has vectors of length zero, or nearly, which index "
                f"{index.name!r} by COSINE leaves out: delete or replace them; {key.name}: {', '.join(map(repr, keys))}"
            )
            yield Finding(FindingKind.NO_DIRECTION, description.name, index.name, message)


def repair(database: Database) -> tuple[Finding, ...]:
    """Clear away what interrupted work and plain SQL left, as far as no data can be lost; returns what was mended."""
    found = tuple(finding for finding in _leftovers(database) if finding.kind in _REPAIRS)
    failed: list[VecstoreError] = []
    for finding in found:
        try:
            _REPAIRS[finding.kind](database, finding)
        except VecstoreError as error:  # the rest is mended all the same
            failed.append(error)
    if failed:
        raise failed[0]
    return found


def _drop_index(database: Database, finding: Finding) -> None:
    def work(connection: Connection) -> None:
        description = locked(connection, finding.collection)
        # Somebody may have been building it, and be done.
        if finding in _of_catalogue(connection, description.name):
            indexes.drop_unfinished(database.bound_to(connection), description, finding.name)

    database.alter(f"drop the unfinished index {finding.name!r}", [finding.collection], work)


def _finish_detaching(database: Database, finding: Finding) -> None:
    def work(connection: Connection) -> None:
        description = locked(connection, finding.collection)
        # Somebody may have done it meanwhile.
        if finding in _of_catalogue(connection, description.name):
            connection.execute(ddl.finish_detaching(description.name, finding.name))

    database.alter(f"finish detaching {finding.name!r}", [finding.collection], work)


def _free(database: Database, finding: Finding) -> None:  # noqa: ARG001 - all of them at once
    freeing.finish(database)


def _forget_collection(database: Database, finding: Finding) -> None:
    with database.writing("forget a lost collection") as connection:
        connection.execute(registry.forget_collection(int(finding.name)))


def _forget_alias(database: Database, finding: Finding) -> None:
    with database.writing("forget a lost alias") as connection:
        connection.execute(_FORGET_LOST_ALIAS, {"oid": int(finding.name)})


def _add_default_partition(database: Database, finding: Finding) -> None:
    partitions.create(database, finding.collection, DEFAULT_PARTITION)


_REPAIRS = {
    FindingKind.INVALID_INDEX: _drop_index,
    FindingKind.UNFINISHED_DROP: _free,
    FindingKind.UNFINISHED_DETACH: _finish_detaching,
    FindingKind.LOST_COLLECTION: _forget_collection,
    FindingKind.LOST_ALIAS: _forget_alias,
    FindingKind.NO_DEFAULT_PARTITION: _add_default_partition,
}
