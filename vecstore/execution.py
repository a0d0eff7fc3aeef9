"""Run a Core statement with psycopg on SQLAlchemy's connection: binary results, vectors as bytes.

Core builds statements; its own execution costs two to three times psycopg's for a search.
"""

from __future__ import annotations

from typing import Any

import psycopg
from sqlalchemy import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement, Executable

from .facts import ServerFacts
from .pipeline import Rows, Session, session_of
from .wire import numbered, template


def session_on(connection: Connection, facts: ServerFacts) -> Session:
    """The session of SQLAlchemy's connection: what it runs is part of the transaction that the connection is in."""
    return session_of(connection.connection, facts.vector_oids, pooled=facts.pooled)


def raw_cursor(connection: Connection, facts: ServerFacts) -> psycopg.Cursor[tuple[Any, ...]]:
    """A psycopg cursor in the connection's transaction, for COPY."""
    return session_on(connection, facts).connection.cursor(binary=True)


def fetch(connection: Connection, facts: ServerFacts, statement: ClauseElement) -> Rows:
    """The rows of a statement."""
    session = session_on(connection, facts)
    command = template(statement, numbered(connection.dialect), session).filled({})
    [rows] = session.rows(session.run([command]))
    return rows


class Explained(Executable, ClauseElement):
    """EXPLAIN of a statement: one row, the plan that PostgreSQL has for it and its parameters, as JSON."""

    inherit_cache = False

    def __init__(self, statement: ClauseElement) -> None:
        self.statement = statement


@compiles(Explained)
def _render_explained(element: Explained, compiler: SQLCompiler, **options: Any) -> str:
    return " ".join(["EXPLAIN (FORMAT JSON)", compiler.process(element.statement, **options)])
