"""A small batch as arrays, the parameters of the statements that let it in. Pure.

Beside COPY into a temporary table and INSERT ... SELECT from it, the server has no table to make and to drop, and is
spoken to once instead of four times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from struct import Struct

from psycopg import pq, sql
from psycopg.abc import Buffer

from vecstore.naming import PARENT_TABLE, PARTITION_COLUMN
from vecstore.schema import DataType
from vecstore.tables import VECTOR_STORAGE
from vecstore.vectors import DenseColumn, SparseColumn
from vecstore.wire import BIT_OID, Command

from .binary import cells
from .scalars import ArrayColumn, FixedColumn, JsonColumn, TextColumn
from .validation import AnyColumn, Batch

# work_mem, where nobody has set it: of more rows the server makes a file.
MOST_BYTES = 4 << 20

_TOGETHER = 1_024  # rows that are written before their size is looked at
_HEAD = Struct(">iiIii")  # dimensions, whether there are NULLs, type of the elements, their number, first index
_PG_CATALOG = "pg_catalog"

# The name in pg_catalog and the OID (pg_type.dat).
_SCALARS: Mapping[DataType, tuple[str, int]] = {
    DataType.BOOL: ("bool", 16),
    DataType.INT8: ("int2", 21),
    DataType.INT16: ("int2", 21),
    DataType.INT32: ("int4", 23),
    DataType.INT64: ("int8", 20),
    DataType.FLOAT: ("float4", 700),
    DataType.DOUBLE: ("float8", 701),
    DataType.TIMESTAMPTZ: ("timestamptz", 1184),
    DataType.TEXT: ("text", 25),
    DataType.JSON: ("jsonb", 3802),
}

_Type = tuple[str, str]  # schema, name
_Given = tuple[tuple[str, _Type], ...]  # columns, and the types of their values


def replacing(
    batch: Batch,
    collection: str,
    *,
    partition: str | None,
    extension_schema: str,
    vector_oids: Mapping[str, int],
    seen: tuple[str, bytes] | None = None,
) -> list[Command] | None:
    """Let a batch into its collection, in the order of the keys, each row in place of its namesake.

    partition  what the column `_partition` is set to; None where a partition key decides
    seen       a parameter of the transaction, and what it must be for the rows to go in

    None where the rows have more than MOST_BYTES, or arrays among their values, which no array holds.
    """
    found = {name: _type(column, extension_schema, vector_oids) for name, column in batch.columns.items()}
    types = {name: kind for name, kind in found.items() if kind is not None}
    if len(types) < len(found):
        return None
    arrays = _arrays(batch, {name: oid for name, (_, oid) in types.items()})
    if arrays is None:
        return None
    key, router = batch.schema.primary_key.name, batch.schema.partition_key
    given = tuple((name, kind) for name, (kind, _) in types.items())
    parameter, constants = (None, []) if seen is None else (seen[0], [seen[1]])
    if router is None:
        insert = _insert(collection, given, key, PARTITION_COLUMN, parameter)
        return [_command(insert, [*arrays.values(), (partition or "").encode(), *constants])]
    # The same key beside another partition key is another row to PostgreSQL, and the same entity to us.
    moved = tuple((name, kind) for name, kind in given if name in {key, router.name})
    return [
        _command(_delete_moved(collection, moved, key, router.name), [arrays[name] for name, _ in moved]),
        _command(_insert(collection, given, key, router.name, parameter), [*arrays.values(), *constants]),
    ]


def _command(text: bytes, values: Sequence[bytes]) -> Command:
    """The types stand in the text."""
    return Command(text, (0,) * len(values), values, (pq.Format.BINARY,) * len(values))


# Values


def _type(column: AnyColumn, extension_schema: str, vector_oids: Mapping[str, int]) -> tuple[_Type, int] | None:
    """The type of a column's values and its OID; None for arrays."""
    if isinstance(column, DenseColumn | SparseColumn):
        name = VECTOR_STORAGE[column.field.data_type]
        if name in vector_oids:
            return (extension_schema, name), vector_oids[name]
        return (_PG_CATALOG, name), BIT_OID
    if isinstance(column, ArrayColumn):
        return None
    kind = column.kind if isinstance(column, FixedColumn) else _OTHERS[type(column)]
    name, oid = _SCALARS[kind]
    return (_PG_CATALOG, name), oid


_OTHERS: Mapping[type, DataType] = {TextColumn: DataType.TEXT, JsonColumn: DataType.JSON}


def _arrays(batch: Batch, oids: Mapping[str, int]) -> dict[str, bytes] | None:
    """Each column as an array, by ascending key; None where they have more than MOST_BYTES."""
    bodies: dict[str, list[Buffer]] = {
        name: [_HEAD.pack(1, column.nulls is not None, oids[name], batch.count, 1)]
        for name, column in batch.columns.items()
    }
    left = MOST_BYTES
    for rows in batch.in_key_order(_TOGETHER):
        for name, column in batch.columns.items():
            body = cells(column.take(rows))
            bodies[name].append(body)
            left -= len(body)
        if left < 0:
            return None
    return {name: b"".join(body) for name, body in bodies.items()}


# Statements, compiled once for the same columns

_INSERT = sql.SQL(
    "INSERT INTO {entities} ({columns}) SELECT {values} FROM {given}{condition}{order} "
    "ON CONFLICT ({key}, {router}) {action}"
)
_DELETE_MOVED = sql.SQL(
    "DELETE FROM {entities} AS e USING {given} WHERE e.{key} = given.{key} AND e.{router} <> given.{router}"
)


@lru_cache(maxsize=256)
def _insert(collection: str, given: _Given, key: str, router: str, seen: str | None) -> bytes:
    """In the server's order of the keys, for all writers go in one order: numbers come in it, texts are put into it."""
    names = [name for name, _ in given]
    in_order = dict(given)[key] == (_PG_CATALOG, _SCALARS[DataType.INT64][0])
    values: list[sql.Composable] = [sql.SQL("given.*")]
    if router not in names:
        values.append(sql.SQL("${}::pg_catalog.text").format(sql.Literal(len(names) + 1)))
    condition: sql.Composable = sql.SQL("")
    if seen is not None:
        condition = sql.SQL(" WHERE pg_catalog.current_setting({}) = ${}::pg_catalog.text").format(
            sql.Literal(seen), sql.Literal(len(names) + len(values))
        )
    changes = [
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in names if name not in {key, router}
    ]
    return _INSERT.format(
        entities=sql.Identifier(collection, PARENT_TABLE),
        columns=_listed(names if router in names else [*names, router]),
        values=sql.SQL(", ").join(values),
        given=_rows_of(given),
        condition=condition,
        order=sql.SQL("" if in_order else " ORDER BY given.{}").format(sql.Identifier(key)),
        key=sql.Identifier(key),
        router=sql.Identifier(router),
        action=sql.SQL("DO UPDATE SET {}").format(sql.SQL(", ").join(changes)) if changes else sql.SQL("DO NOTHING"),
    ).as_bytes(None)


@lru_cache(maxsize=256)
def _delete_moved(collection: str, given: _Given, key: str, router: str) -> bytes:
    return _DELETE_MOVED.format(
        entities=sql.Identifier(collection, PARENT_TABLE),
        given=_rows_of(given),
        key=sql.Identifier(key),
        router=sql.Identifier(router),
    ).as_bytes(None)


def _rows_of(given: _Given) -> sql.Composed:
    unnested = [
        sql.SQL("pg_catalog.unnest(${}::{}[])").format(sql.Literal(place), sql.Identifier(*kind))
        for place, (_, kind) in enumerate(given, 1)
    ]
    names = _listed(name for name, _ in given)
    return sql.SQL("ROWS FROM ({}) AS given ({})").format(sql.SQL(", ").join(unnested), names)


def _listed(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
