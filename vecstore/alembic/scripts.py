"""Operations as SQL for psql (`alembic upgrade --sql`): the statements that the library runs, with every value written.

A script cannot look first: it leaves that to functions of schema vecstore, which lock a collection and refuse what is
none, and to DO blocks. What else the library would refuse, PostgreSQL does; run as one transaction, all is undone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from sqlalchemy import Executable, text
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.schema import ExecutableDDLElement

from .. import altering, ddl, registry, tables
from ..ddl import IndexScope, Name, Statement
from ..errors import InvalidArgument
from ..indexing import indexed
from ..ingest import with_plain_default
from ..naming import (
    DEFAULT_PARTITION,
    DYNAMIC_FIELD,
    PARENT_TABLE,
    check_collection_name,
    check_index_name,
    index_name,
    leaf_name,
)
from ..schema import CollectionSchema, DataType, Field
from .operations import (
    AddFieldOp,
    AlterAliasOp,
    AlterCollectionOp,
    AlterFieldOp,
    CollectionOperation,
    CreateAliasOp,
    CreateCollectionOp,
    CreateIndexOp,
    CreatePartitionOp,
    DropAliasOp,
    DropCollectionOp,
    DropFieldOp,
    DropIndexOp,
    DropPartitionOp,
    RenameCollectionOp,
)

if TYPE_CHECKING:  # Alembic is half imported when it loads its plugins
    from alembic.runtime.migration import MigrationContext


class _ScriptDialect(PGDialect):
    """PostgreSQL as psql speaks to it: a backslash in a literal is a backslash, and a percent sign is one."""

    supports_statement_cache = False
    _backslash_escapes = False

    def __init__(self) -> None:
        super().__init__(paramstyle="named")  # type: ignore[no-untyped-call]


_DIALECT = _ScriptDialect()


def write(context: MigrationContext, operation: CollectionOperation) -> None:
    """Print the statements; `vecstore_extension_schema` given to context.configure() says where pgvector is."""
    extension_schema = context.opts.get("vecstore_extension_schema", "public")
    for statement in _statements(operation, extension_schema):
        literal = {} if isinstance(statement, ExecutableDDLElement) else {"literal_binds": True}
        compiled = statement.compile(dialect=_DIALECT, compile_kwargs=literal)  # type: ignore[attr-defined]
        context.impl.static_output(f"{str(compiled).strip()}{context.impl.command_terminator}")


# What vecstore's own procedures for analysts do, with the library's checks, is left to them.
_LOCKED = text("SELECT vecstore._locked_collection(:collection)")
_DROP_COLLECTION = text("CALL vecstore.drop_collection(:collection, :cascade)")
_CREATE_PARTITION = text("CALL vecstore.create_partition(:collection, :partition)")
_DROP_PARTITION = text("CALL vecstore.drop_partition(:collection, :partition, :cascade)")
_DROP_INDEX = text("CALL vecstore.drop_index(:collection, :index)")

_LOCK = text("SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('vecstore:' || :name, 0))")

_CHECK_ALIAS_OURS = text("""
    DO $$ BEGIN
        IF NOT EXISTS (
            SELECT FROM vecstore.alias_registry r
            JOIN pg_catalog.pg_class c ON c.oid = r.view AND c.relname = 'entities'
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = pg_catalog.current_setting('vecstore.alias'))
        THEN
            RAISE EXCEPTION USING MESSAGE = 'no alias of vecstore has the name '
                || pg_catalog.quote_literal(pg_catalog.current_setting('vecstore.alias'));
        END IF;
    END $$
""")

_CHECK_NO_KEY = text("""
    DO $$ BEGIN
        IF EXISTS (
            SELECT FROM pg_catalog.pg_constraint k
            JOIN pg_catalog.pg_class c ON c.oid = k.conrelid AND c.relname = 'entities'
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (k.conkey)
            WHERE n.nspname = pg_catalog.current_setting('vecstore.collection') AND k.contype = 'p'
                AND a.attname = pg_catalog.current_setting('vecstore.field'))
        THEN
            RAISE EXCEPTION 'a key of a collection cannot be dropped';
        END IF;
    END $$
""")

# The columns in the order of a description's.
_CREATE_ALIAS_VIEW = text("""
    DO $$ BEGIN
        EXECUTE 'CREATE VIEW ' || pg_catalog.quote_ident(pg_catalog.current_setting('vecstore.alias'))
            || '.entities WITH (security_invoker = true) AS SELECT '
            || (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', '
                    ORDER BY a.attname = '_partition', a.attname = '_meta', a.attnum)
                FROM pg_catalog.pg_attribute a
                JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relname = 'entities'
                JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = pg_catalog.current_setting('vecstore.collection')
                    AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '')
            || ' FROM ' || pg_catalog.quote_ident(pg_catalog.current_setting('vecstore.collection')) || '.entities';
    END $$
""")


def _locked(collection: str) -> Executable:
    """Alone among the changes of a collection, which has to be there."""
    return _LOCKED.bindparams(collection=collection)


def _alias(alias: str, collection: str) -> Iterator[Executable]:
    """Alone among the changes of an alias; and what the blocks below work on."""
    yield _LOCK.bindparams(name=check_collection_name(alias, kind="alias"))
    yield ddl.set_local("vecstore.alias", alias)
    yield ddl.set_local("vecstore.collection", collection)


def _around(field: Field | None) -> CollectionSchema:
    """A schema in which a field of a collection, whose other fields are not known, stands by itself."""
    if field is not None and field.primary_key:
        return CollectionSchema((field,), dynamic=True)
    name = "id" if field is None or field.name != "id" else "key"
    key = Field(name, DataType.INT64, primary_key=True)
    return CollectionSchema((key,) if field is None else (key, with_plain_default(field)), dynamic=True)


@singledispatch
def _statements(operation: Any, extension_schema: str) -> Iterator[Executable]:
    raise AssertionError(f"no script for {operation!r}: {extension_schema}")


@_statements.register
def _(operation: CreateCollectionOp, extension_schema: str) -> Iterator[Executable]:
    name, schema = operation.name, operation.schema
    schema = replace(schema, fields=tuple(map(with_plain_default, schema.fields)))
    yield _LOCK.bindparams(name=check_collection_name(name))
    yield from ddl.create_collection(name, tables.entities(name, schema, extension_schema=extension_schema), schema)
    yield registry.register_collection(name, schema)
    if schema.partition_key is None:
        leaf = leaf_name(DEFAULT_PARTITION)
        yield from ddl.create_leaf(name, leaf, DEFAULT_PARTITION)
        yield ddl.attach_list_leaf(name, leaf, DEFAULT_PARTITION)
        return
    for remainder in range(schema.num_partitions):
        partition = f"{DEFAULT_PARTITION}_{remainder}"
        leaf = leaf_name(partition)
        yield from ddl.create_leaf(name, leaf, partition)
        yield ddl.attach_hash_leaf(name, leaf, modulus=schema.num_partitions, remainder=remainder)


@_statements.register
def _(operation: DropCollectionOp, extension_schema: str) -> Iterator[Executable]:
    del extension_schema
    yield _DROP_COLLECTION.bindparams(collection=operation.name, cascade=operation.cascade)


@_statements.register
def _(operation: RenameCollectionOp, extension_schema: str) -> Iterator[Executable]:
    del extension_schema
    yield _locked(operation.name)
    yield ddl.rename_schema(operation.name, check_collection_name(operation.new_name))


@_statements.register
def _(operation: AlterCollectionOp, extension_schema: str) -> Iterator[Executable]:
    del extension_schema
    yield _locked(operation.name)
    if operation.description is not None:
        yield from altering.describe_collection(operation.name, operation.description)
    if operation.properties is not None:
        yield registry.register_properties(operation.name, operation.properties)


@_statements.register
def _(operation: CreatePartitionOp, extension_schema: str) -> Iterator[Executable]:
    del extension_schema
    yield _CREATE_PARTITION.bindparams(collection=operation.collection, partition=operation.partition)


@_statements.register
def _(operation: DropPartitionOp, extension_schema: str) -> Iterator[Executable]:
    del extension_schema
    given = {"collection": operation.collection, "partition": operation.partition}
    yield _DROP_PARTITION.bindparams(cascade=operation.cascade, **given)


@_statements.register
def _(operation: CreateIndexOp, extension_schema: str) -> Iterator[Executable]:
    collection, where = operation.collection, f"index on {operation.field!r} of {operation.collection!r}"
    if operation.online:
        raise InvalidArgument(
            f"{where}: online=True cannot be written into a script, for it has to look which partitions there are: "
            "run this revision on the database, or give online=False"
        )
    if operation.existing is None and not operation.field.startswith(DYNAMIC_FIELD):
        raise InvalidArgument(
            f"{where}: a script has to be told what the field is: existing=vecstore.Field({operation.field!r}, ...)"
        )
    schema = _around(operation.existing)
    table = tables.entities(collection, schema, extension_schema=extension_schema)
    target = indexed(schema, table, operation.field, operation.spec, extension_schema)
    name = check_index_name(operation.name or index_name(target.name))
    yield _locked(collection)
    yield ddl.create_index(collection, PARENT_TABLE, name, target.key, target.spec, scope=IndexScope.TABLE)
    if target.comment is not None:
        yield ddl.comment_on_index(collection, name, target.comment)


@_statements.register
def _(operation: DropIndexOp, extension_schema: str) -> Iterator[Executable]:
    del extension_schema
    yield _DROP_INDEX.bindparams(collection=operation.collection, index=operation.name)


@_statements.register
def _(operation: AddFieldOp, extension_schema: str) -> Iterator[Executable]:
    schema = _around(operation.field)
    table = tables.entities(operation.collection, schema, extension_schema=extension_schema)
    yield _locked(operation.collection)
    yield from altering.add_field(table, schema.field(operation.field.name))
    yield registry.register_field(operation.collection, schema, operation.field.name)


@_statements.register
def _(operation: DropFieldOp, extension_schema: str) -> Iterator[Executable]:
    del extension_schema
    yield _locked(operation.collection)
    yield ddl.set_local("vecstore.collection", operation.collection)
    yield ddl.set_local("vecstore.field", operation.name)
    yield _CHECK_NO_KEY
    yield from altering.drop_field(operation.collection, operation.name, cascade=operation.cascade)
    yield registry.register_field(operation.collection, _around(None), operation.name)


@_statements.register
def _(operation: AlterFieldOp, extension_schema: str) -> Iterator[Executable]:
    altering.check_alterable(operation.collection, operation.existing, operation.field)
    schema = _around(operation.field)
    after = schema.field(operation.field.name)
    table = tables.entities(operation.collection, schema, extension_schema=extension_schema)
    yield _locked(operation.collection)
    yield from altering.alter_field(table, with_plain_default(operation.existing), after)
    yield registry.register_field(operation.collection, schema, after.name)


@_statements.register
def _(operation: CreateAliasOp, extension_schema: str) -> Iterator[Executable]:
    del extension_schema
    yield from _alias(operation.alias, operation.collection)
    yield _locked(operation.collection)
    yield Statement("CREATE SCHEMA {schema}", {"schema": Name(operation.alias)})
    yield _CREATE_ALIAS_VIEW
    yield ddl.comment_on_alias_view(operation.alias)
    yield registry.register_alias(operation.alias)


@_statements.register
def _(operation: AlterAliasOp, extension_schema: str) -> Iterator[Executable]:
    del extension_schema
    yield from _alias(operation.alias, operation.collection)
    yield _CHECK_ALIAS_OURS
    yield _locked(operation.collection)
    yield registry.forget_alias(operation.alias)
    yield ddl.drop_view(operation.alias, PARENT_TABLE)
    yield _CREATE_ALIAS_VIEW
    yield ddl.comment_on_alias_view(operation.alias)
    yield registry.register_alias(operation.alias)


@_statements.register
def _(operation: DropAliasOp, extension_schema: str) -> Iterator[Executable]:
    del extension_schema
    yield from _alias(operation.alias, operation.rebuild or "")
    yield _CHECK_ALIAS_OURS
    yield registry.forget_alias(operation.alias)
    yield ddl.drop_view(operation.alias, PARENT_TABLE)
    yield ddl.drop_schema(operation.alias)
