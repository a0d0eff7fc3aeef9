"""Migrations without an environment's files: compare, render, run and write operations."""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Callable
from io import StringIO
from typing import Any

import sqlalchemy
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations import Operations
from alembic.operations.ops import OpContainer, UpgradeOps
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData

import vecstore

PLUGINS = ["alembic.autogenerate.*", "vecstore"]


def compared(connection: Connection, *metadata: MetaData, **options: Any) -> UpgradeOps:
    """What autogenerate proposes."""
    given = {"autogenerate_plugins": PLUGINS, "target_metadata": list(metadata), **options}
    context = MigrationContext.configure(connection, opts=given)
    operations = produce_migrations(context, list(metadata)).upgrade_ops
    assert operations is not None
    return operations


def code(operations: OpContainer) -> str:
    """The lines that autogenerate writes."""
    return textwrap.dedent("    " + render_python_code(operations, alembic_module_prefix="op."))


def revision(operations: OpContainer) -> Callable[[Operations], None]:
    """What autogenerate writes, to be run: the same code as in a file."""
    names = {"vecstore": vecstore, "datetime": dt, "sa": sqlalchemy}

    def run(op: Operations) -> None:
        exec(code(operations), {**names, "op": op})  # noqa: S102 - it is what is to be shown

    return run


def run(connection: Connection, work: Callable[[Operations], None], **options: Any) -> None:
    """Run a revision in the connection's transaction, which stays open."""
    work(Operations(MigrationContext.configure(connection, opts=options)))


def script(work: Callable[[Operations], None], **options: Any) -> str:
    """What `alembic upgrade --sql` prints of a revision, as one transaction."""
    written = StringIO()
    given = {"as_sql": True, "output_buffer": written, **options}
    context = MigrationContext.configure(dialect_name="postgresql", opts=given)
    with context.begin_transaction():
        work(Operations(context))
    return written.getvalue()
