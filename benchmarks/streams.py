"""Rows as PostgreSQL's own binary COPY stream, made before anything is timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from .raw import Connection

_BLOCK = 1 << 17


@dataclass(frozen=True)
class Stream:
    """blocks: of 128 kB, as libpq likes them."""

    columns: sql.Composed
    blocks: Sequence[bytes]

    def copy_into(self, connection: Connection, table: sql.Composable) -> None:
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(table, self.columns)
        with connection.cursor().copy(statement) as copy:
            for block in self.blocks:
                copy.write(block)


def stream_of(connection: Connection, table: sql.Identifier, *, below: int | None = None) -> Stream:
    """Of all rows of a table, or of those whose id is below a number, in the order of their ids."""
    columns = sql.SQL(", ").join(sql.Identifier(name) for name in column_names(connection, table))
    condition = sql.SQL("true") if below is None else sql.SQL("id < {}").format(sql.Literal(below))
    statement = sql.SQL("COPY (SELECT {} FROM {} WHERE {} ORDER BY id) TO STDOUT (FORMAT BINARY)")
    with connection.cursor().copy(statement.format(columns, table, condition)) as copy:
        everything = b"".join(copy)
    return Stream(columns, [everything[begin : begin + _BLOCK] for begin in range(0, len(everything), _BLOCK)])


def column_names(connection: Connection, table: sql.Identifier) -> list[str]:
    description = connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(table)).description
    return [column.name for column in description or ()]
