"""How worn the vector indexes are: whether searches would gain from building one anew.

Measured on the rows themselves. Statistics of deletes come seconds late, a crash forgets them, and so does a VACUUM,
which leaves an index as large as it was.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    MetaData,
    Select,
    Table,
    column,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.sql.selectable import Subquery

from ..description import CollectionDescription
from ..schema import Field, Hnsw, IvfFlat
from .opening import Opened

# Of an index, in bytes: what is smaller is gone through in no time, whatever its state.
SMALL = 512 * 1024
# Of an index, the part that is for rows that are not there.
_UNUSED = 0.2
# Rows there are for each that an IvfFlat index found its clusters by.
_GROWTH = 10

# How pgvector lays an index out, in bytes: hnsw.h and ivfflat.h in https://github.com/pgvector/pgvector.
_PAGE = 8192
_ROOM = 8160
_LINE_POINTER = 4
_TID = 6
_ELEMENT = 72
_NEIGHBOURS = 4
_ENTRY = 8
_VECTOR = 8

_REINDEXING = re.compile(r".*_cc(?:new|old)\d*")


@dataclass(frozen=True, slots=True)
class LeafIndex:
    """A vector index of one leaf.

    name   its own
    index  that of the collection which it is a part of; its own name where it is part of none
    """

    leaf: str
    name: str
    index: str
    method: str
    bytes: int
    is_valid: bool

    @property
    def is_left_by_reindex(self) -> bool:
        return not self.is_valid and self.index == self.name and _REINDEXING.fullmatch(self.name) is not None


_LEAF_INDEXES = text("""
    SELECT l.relname, x.relname, coalesce(p.relname, x.relname), m.amname,
           coalesce(pg_catalog.pg_relation_size(x.oid), 0), i.indisvalid
    FROM pg_catalog.pg_inherits h
    JOIN pg_catalog.pg_class l ON l.oid = h.inhrelid
    JOIN pg_catalog.pg_index i ON i.indrelid = l.oid
    JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    JOIN pg_catalog.pg_am m ON m.oid = x.relam AND m.amname IN ('hnsw', 'ivfflat')
    LEFT JOIN pg_catalog.pg_inherits a ON a.inhrelid = x.oid
    LEFT JOIN pg_catalog.pg_class p ON p.oid = a.inhparent
    WHERE h.inhparent = CAST(:oid AS oid) AND l.relname = :leaf
    ORDER BY x.oid
""")


def leaf_indexes(connection: Connection, description: CollectionDescription, leaf: str) -> list[LeafIndex]:
    """All vector indexes of a leaf, valid or not."""
    rows = connection.execute(_LEAF_INDEXES, {"oid": description.oid, "leaf": leaf})
    return [LeafIndex(leaf, *row[1:]) for row in rows]


@dataclass(frozen=True, slots=True)
class Worn:
    """A part of an index that is worth building anew, and why."""

    index: str
    leaf: str
    why: str


# The row of an index in pg_class is as old as the index itself: whatever builds one anew writes that row. Whoever may
# not see all rows cannot count them.
_PARTS = text("""
    SELECT l.oid AS leaf, l.relname AS name, pg_catalog.pg_relation_size(x.oid) AS bytes, pg_catalog.age(x.xmin) AS age
    FROM pg_catalog.pg_index pi
    JOIN pg_catalog.pg_class p ON p.oid = pi.indexrelid
    JOIN pg_catalog.pg_inherits h ON h.inhparent = p.oid
    JOIN pg_catalog.pg_class x ON x.oid = h.inhrelid
    JOIN pg_catalog.pg_index i ON i.indexrelid = x.oid
    JOIN pg_catalog.pg_class l ON l.oid = i.indrelid
    WHERE pi.indrelid = CAST(:oid AS oid) AND p.relname = :index AND i.indisvalid
      AND (CAST(:leaf AS text) IS NULL OR l.relname = :leaf)
      AND pg_catalog.pg_relation_size(x.oid) >= :small
      AND pg_catalog.has_table_privilege(pi.indrelid, 'SELECT')
      AND NOT pg_catalog.row_security_active(pi.indrelid)
""").columns(column("leaf"), column("name"), column("bytes"), column("age"))


def worn(collection: Opened, leaf: str | None = None) -> Iterator[Worn]:
    """The worn parts of the collection's vector indexes, in all leaves or one. Reads every row's header.

    Nothing is said of indexes that are small or partial, nor where the role may not read all rows.
    """
    description = collection.description
    source = collection.table if leaf is None else collection.table.to_metadata(MetaData(), name=leaf)
    for index in description.indexes:
        field = description.schema.by_name.get(index.field)
        if field is None or not isinstance(index.spec, Hnsw | IvfFlat):
            continue
        parts = _PARTS.bindparams(oid=description.oid, index=index.name, leaf=leaf, small=SMALL)
        if collection.connection.execute(parts).first() is None:
            continue
        for part in collection.connection.execute(_measured(source, field, parts.subquery("part"))):
            width = _half_precision_bytes(field) if index.half_precision else math.ceil(part.width or 0)
            why = _why(index.spec, part.bytes, part.rows, part.older, width)
            if why is not None:
                yield Worn(index.name, part.name, why)


def _measured(source: Table, field: Field, part: Subquery) -> Select[Any]:
    """Of each part: rows with a vector, how many of them are older than the index, and how wide the vectors are."""
    vector = source.c[field.name].label("vector")
    leaf: ColumnElement[int] = literal_column("tableoid").label("leaf")
    age: ColumnElement[int] = func.pg_catalog.age(literal_column("xmin")).label("age")
    row = select(leaf, age, vector).select_from(source).where(vector.is_not(None)).subquery("row")
    return (
        select(
            part.c.name,
            part.c.bytes,
            func.pg_catalog.count(row.c.leaf).label("rows"),
            func.pg_catalog.count(row.c.leaf).filter(row.c.age >= part.c.age).label("older"),
            func.pg_catalog.avg(func.pg_catalog.pg_column_size(row.c.vector), type_=Float()).label("width"),
        )
        .select_from(part.outerjoin(row, part.c.leaf == row.c.leaf))
        .group_by(part.c.leaf, part.c.name, part.c.bytes)
        .order_by(part.c.leaf)
    )


def _half_precision_bytes(field: Field) -> int:
    assert field.dim is not None  # noqa: S101 - Field has checked it
    return _VECTOR + 2 * field.dim


def _why(spec: Hnsw | IvfFlat, size: int, rows: int, older: int, width: int) -> str | None:
    if isinstance(spec, IvfFlat) and rows >= _GROWTH * max(1, older):
        return f"of its {rows:,} rows {older:,} were there, as they are, when its clusters were found"
    needed = needed_bytes(spec, rows, width)
    if needed <= (1 - _UNUSED) * size:
        return f"its {rows:,} rows need {needed / 1e6:,.1f} MB, it has {size / 1e6:,.1f}"
    return None


def needed_bytes(spec: Hnsw | IvfFlat, rows: int, width: int) -> int:
    """How large a new index on so many different vectors of so many bytes is, within a few pages in a hundred."""
    if isinstance(spec, IvfFlat):
        entries = _ROOM // (_aligned(_ENTRY + width) + _LINE_POINTER)
        pages = math.ceil(rows / entries) + math.ceil(spec.lists / entries) + spec.lists
    else:
        element = _aligned(_ELEMENT + width) + _LINE_POINTER
        neighbours = _aligned(_NEIGHBOURS + 2 * spec.m * _TID) + _LINE_POINTER
        together = _ROOM // (element + neighbours)
        pages = math.ceil(rows / together) if together else 2 * rows
    return (1 + pages) * _PAGE


def _aligned(size: int) -> int:
    return -(-size // 8) * 8
