"""What a server is, as far as it must be known: too old or not, and what calls go by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, text

from .errors import UnsupportedServer
from .pipeline import psycopg_connection
from .revisions import check

OLDEST_SERVER = 150_000
OLDEST_VECTOR = (0, 8, 0)
ADVISED_VECTOR = (0, 8, 4)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What the library must know of a server and its pgvector.

    shared_buffers, seq_page_cost  in bytes; and what its planner reckons a page costs that follows another
    keeps_plans  the plan of a prepared statement stays until its tables change; Citus plans in its own way
    pooled       a pooler stands before it: who answers is not the process that the connection was greeted by
    """

    server_version: int
    vector_version: str
    extension_schema: str
    vector_oids: Mapping[str, int]
    lock_slots: int
    shared_buffers: int
    seq_page_cost: str
    keeps_plans: bool
    pooled: bool


def version_tuple(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


_SERVER = text("""
    SELECT current_setting('server_version_num')::int AS server_version,
           current_setting('server_version') AS server_name,
           current_setting('max_locks_per_transaction')::int
             * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int)
             AS lock_slots,
           (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'vector') AS vector_version,
           (SELECT default_version FROM pg_catalog.pg_available_extensions WHERE name = 'vector') AS vector_available,
           EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'citus') AS has_citus,
           pg_catalog.to_regclass('vecstore.alembic_version') IS NOT NULL AS installed,
           pg_catalog.pg_size_bytes(current_setting('shared_buffers')) AS shared_buffers,
           current_setting('seq_page_cost') AS seq_page_cost,
           current_setting('server_encoding') AS encoding,
           pg_catalog.pg_backend_pid() AS process
""")

_INSTALLED = text("""
    SELECT n.nspname, t.typname, t.oid::int8,
           ARRAY(SELECT version_num::text FROM vecstore.alembic_version) AS revisions
    FROM pg_catalog.pg_extension e
    JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
    JOIN pg_catalog.pg_type t ON t.typnamespace = n.oid
    WHERE e.extname = 'vector' AND t.typname IN ('vector', 'halfvec', 'sparsevec')
""")


def check_server(connection: Connection) -> str:
    """Refuse a server that is too old; return the version of pgvector that is, or would be, installed."""
    row = connection.execute(_SERVER).one()
    return acceptable_vector_version(
        server_version=row.server_version,
        server_name=row.server_name,
        encoding=row.encoding,
        vector_version=row.vector_version or row.vector_available,
    )


def acceptable_vector_version(
    *, server_version: int, server_name: str, encoding: str, vector_version: str | None
) -> str:
    """The version of pgvector; raises UnsupportedServer where it, or PostgreSQL, will not do."""
    if server_version < OLDEST_SERVER:
        raise UnsupportedServer(f"vecstore needs PostgreSQL 15 or newer, this server is {server_name}")
    if encoding != "UTF8":
        raise UnsupportedServer(
            f"vecstore needs a database in UTF8, this one is in {encoding}: CREATE DATABASE ... ENCODING 'UTF8' "
            "TEMPLATE template0"
        )
    if vector_version is None:
        raise UnsupportedServer(
            "pgvector is not available on this server: install it (Debian: postgresql-NN-pgvector), "
            "see https://github.com/pgvector/pgvector#installation"
        )
    if version_tuple(vector_version) < OLDEST_VECTOR:
        raise UnsupportedServer(
            f"vecstore needs pgvector 0.8.0 or newer, this server has {vector_version}: install a newer package, "
            "then ALTER EXTENSION vector UPDATE"
        )
    return vector_version


def read_facts(connection: Connection) -> ServerFacts:
    """What must be known of a server that this library's schema `vecstore` is on.

    Raises NotInstalled, SchemaOutdated, SchemaTooNew.
    """
    row = connection.execute(_SERVER).one()
    types = connection.execute(_INSTALLED).all() if row.installed else []
    check(types[0].revisions if types else ())
    return ServerFacts(
        server_version=row.server_version,
        vector_version=row.vector_version,
        extension_schema=types[0].nspname,
        vector_oids={found.typname: found.oid for found in types},
        lock_slots=row.lock_slots,
        shared_buffers=row.shared_buffers,
        seq_page_cost=row.seq_page_cost,
        keeps_plans=not row.has_citus,
        pooled=row.process != psycopg_connection(connection.connection).info.backend_pid,
    )
