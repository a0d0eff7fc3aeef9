"""The other side: pgvector by hand, with psycopg, as well as it can be done in one statement.

Each way of going on through the index has a connection of its own, in autocommit, with session settings. Statements
are prepared at once; query vectors and rows travel in binary; a filter's value is a literal, so that the prepared plan
is made for it, and not for an average value. Whether to use the vector index is left to the planner. The table is the
collection's only partition, which is a table like any other: partitioning costs this side nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from pgvector.psycopg import register_vector
from psycopg import sql
from sqlalchemy import URL

from .measuring import Answer, K, Search
from .ours import COLLECTION
from .results import BY_HAND

EF_SEARCH = 40
ITERATIVE_SCANS = ("off", "strict_order", "relaxed_order")

Connection = psycopg.Connection[tuple[Any, ...]]

_LEAVES = """
    SELECT c.relname FROM pg_partition_tree('packages.entities') t JOIN pg_class c ON c.oid = t.relid WHERE t.isleaf
"""

_SEARCH = sql.SQL(
    "SELECT id, embedding <=> %(query)b AS distance FROM {table} WHERE {condition} "
    "ORDER BY embedding <=> %(query)b LIMIT {limit}"
)


def connected(url: URL, iterative_scan: str, *, ef_search: int = EF_SEARCH) -> Connection:
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg.connect(plain, autocommit=True, application_name=BY_HAND)
    register_vector(connection)
    connection.execute(sql.SQL("SET hnsw.ef_search = {}").format(sql.Literal(ef_search)))
    connection.execute(sql.SQL("SET hnsw.iterative_scan = {}").format(sql.Literal(iterative_scan)))
    return connection


def _table(connection: Connection) -> sql.Identifier:
    """The leaf where there is one, or the parent of many."""
    leaves = [name for (name,) in connection.execute(_LEAVES)]
    return sql.Identifier(COLLECTION, leaves[0] if len(leaves) == 1 else "entities")


def _path(connection: Connection, statement: sql.Composed, query: NDArray[np.float32]) -> str:
    """What the planner makes of it. Only a scan of the vector index is ordered by a distance."""
    plan = connection.execute(sql.SQL("EXPLAIN {}").format(statement), {"query": query}).fetchall()
    return "index" if any("Order By:" in line for (line,) in plan) else "exact"


def searching(connection: Connection, condition: sql.Composable, example: NDArray[np.float32]) -> Search:
    """Searches by one statement; the plan of the example's is every query's, whose vector the planner does not see."""
    statement = _SEARCH.format(table=_table(connection), condition=condition, limit=sql.Literal(K))
    path = _path(connection, statement, example)
    cursor = connection.cursor(binary=True)

    def search(query: NDArray[np.float32]) -> Answer:
        rows = cursor.execute(statement, {"query": query}, prepare=True).fetchall()
        return Answer([row[0] for row in rows], path)

    return search
