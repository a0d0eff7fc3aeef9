"""Run a Core statement with psycopg on SQLAlchemy's connection: binary results, vectors as bytes.

Core builds statements; its own execution costs two to three times psycopg's for a search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import pq
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Dumper, Loader, PyFormat
from sqlalchemy import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement, Executable

from .database import ServerFacts
from .ddl import Statement
from .errors import InvalidArgument

BIT_OID = 1560
_TIMESTAMPTZ_OID = 1184
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MAX_PARAMETERS = 65_535


@dataclass(frozen=True, slots=True)
class WireValue:
    """A parameter in PostgreSQL's binary form, with its type."""

    oid: int
    data: bytes


class _WireDumper(Dumper):
    """Sends a WireValue as it is; the type differs from value to value, so each type has a dumper of its own."""

    format = pq.Format.BINARY

    def dump(self, obj: WireValue) -> Buffer | None:
        return obj.data

    def get_key(self, obj: WireValue, format: PyFormat) -> tuple[type, int]:  # type: ignore[override]  # noqa: A002, ARG002
        return (WireValue, obj.oid)

    def upgrade(self, obj: WireValue, format: PyFormat) -> _WireDumper:  # noqa: A002, ARG002
        dumper = _WireDumper(WireValue, self._context)
        dumper.oid = obj.oid
        return dumper

    def __init__(self, cls: type, context: AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        self._context = context


class _BytesLoader(Loader):
    """Hands a value on as it came; vectors.decoder() knows what it means, for it knows the field."""

    format = pq.Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class _TimestampLoader(Loader):
    """A time as an aware datetime in UTC, which no time zone of a session can push out of Python's range."""

    format = pq.Format.BINARY

    def load(self, data: Buffer) -> datetime:
        try:
            return _EPOCH + timedelta(microseconds=int.from_bytes(data, "big", signed=True))
        except OverflowError:
            raise psycopg.DataError("a time before year 1, after year 9999 or infinite") from None


def _driver_connection(connection: Connection) -> psycopg.Connection[tuple[Any, ...]]:
    driver_connection = connection.connection.driver_connection
    if not isinstance(driver_connection, psycopg.Connection):
        raise TypeError(f"expected a connection of psycopg 3, got {type(driver_connection).__module__}")
    return driver_connection


def raw_cursor(connection: Connection, facts: ServerFacts) -> psycopg.Cursor[tuple[Any, ...]]:
    """A psycopg cursor in the connection's transaction; what is registered on it does not touch the connection."""
    driver_connection = _driver_connection(connection)
    if driver_connection.info.encoding != "utf-8":
        raise InvalidArgument(f"client_encoding must be UTF8, this connection's is {driver_connection.info.encoding}")
    cursor: psycopg.Cursor[tuple[Any, ...]] = driver_connection.cursor(binary=True)
    cursor.adapters.register_dumper(WireValue, _WireDumper)
    cursor.adapters.register_loader(_TIMESTAMPTZ_OID, _TimestampLoader)
    for oid in (*facts.vector_oids.values(), BIT_OID):
        cursor.adapters.register_loader(oid, _BytesLoader)
    return cursor


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement for psycopg: its text, and the parameters that were known when it was compiled."""

    text: str
    constants: Mapping[str, Any]


def compiled(connection: Connection, statement: ClauseElement) -> Compiled:
    """A statement with the types' own conversions applied and IN lists spelled out."""
    dialect = connection.dialect
    rendered = statement.compile(dialect=dialect)
    expanded = rendered.construct_expanded_state()  # type: ignore[attr-defined]
    parameters = dict(expanded.parameters)
    if len(parameters) > _MAX_PARAMETERS:
        raise InvalidArgument(
            f"the condition has {len(parameters):,} values, PostgreSQL takes {_MAX_PARAMETERS:,}: compare with one "
            "array, column == any_(literal(values, ARRAY(...)))"
        )
    processors = dict(expanded.processors)
    for name, bind in rendered.binds.items():  # type: ignore[attr-defined]
        if name in parameters and name not in processors:
            processors[name] = bind.type.dialect_impl(dialect).bind_processor(dialect)
    for name, processor in processors.items():
        if processor is not None and name in parameters:
            parameters[name] = processor(parameters[name])
    return Compiled(expanded.statement, parameters)


def compiled_settings(connection: Connection, settings: Statement) -> str:
    return str(settings.compile(dialect=connection.dialect))


def make_settings(connection: Connection, settings: str) -> None:
    """Run compiled settings: several at once, which a prepared statement could not be."""
    _driver_connection(connection).execute(settings, prepare=False)


Rows = list[tuple[Any, ...]]
Prepared = Callable[[Mapping[str, Any]], Rows]


def prepared(
    connection: Connection, facts: ServerFacts, statement: Compiled, *, prepare: bool | None = None
) -> Prepared:
    """A statement to be run with parameters, many times.

    prepare  psycopg's: None leaves it to the connection's threshold, False keeps it from being prepared
    """
    cursor = raw_cursor(connection, facts)

    def run(parameters: Mapping[str, Any]) -> Rows:
        return cursor.execute(statement.text, {**statement.constants, **parameters}, prepare=prepare).fetchall()

    return run


def fetch(connection: Connection, facts: ServerFacts, statement: ClauseElement, *, prepare: bool | None = None) -> Rows:
    """The rows of a statement."""
    return prepared(connection, facts, compiled(connection, statement), prepare=prepare)({})


class Explained(Executable, ClauseElement):
    """EXPLAIN of a statement: the plan that PostgreSQL has for it and its parameters."""

    inherit_cache = False

    def __init__(self, statement: ClauseElement) -> None:
        self.statement = statement


@compiles(Explained)
def _render_explained(element: Explained, compiler: SQLCompiler, **options: Any) -> str:
    return " ".join(["EXPLAIN (FORMAT JSON)", compiler.process(element.statement, **options)])


def plan_of(connection: Connection, facts: ServerFacts, statement: ClauseElement) -> Mapping[str, Any]:
    """The plan of a statement, which is not run."""
    rows = fetch(connection, facts, Explained(statement), prepare=False)
    plan: Mapping[str, Any] = rows[0][0][0]["Plan"]
    return plan
