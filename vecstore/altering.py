"""Statements that change the fields of a collection that is there, as data: built here, run elsewhere. Pure.

What must look at the catalogue while it runs is a DO block: a constant, which reads the names it works on from settings
of the transaction. So a script written for psql has the very statements that the library runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import CheckConstraint, Column, ColumnElement, DefaultClause, Executable, Table, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateColumn, ExecutableDDLElement
from sqlalchemy.sql.compiler import DDLCompiler

from .ddl import Name, Statement, set_local
from .description import UNDESCRIBED
from .errors import OperationRefused
from .naming import PARENT_TABLE, fitted, words_column
from .schema import Field

# What cannot be changed without every value being written anew.
_FIXED = ("data_type", "dim", "element_type", "primary_key", "auto_id", "partition_key")


def check_alterable(collection: str, before: Field, after: Field) -> None:
    """Raise OperationRefused, with the way out, unless the one declaration of a field can become the other in place."""
    for attribute in _FIXED:
        old, new = getattr(before, attribute), getattr(after, attribute)
        if old != new:
            raise OperationRefused(
                f"field {before.name!r} of collection {collection!r} has {attribute} {_shown(old)}, which cannot "
                f"become {_shown(new)}: add a field of another name, write its values and drop the old one; or load a "
                "new collection and let an alias stand for it"
            )


def _shown(value: object) -> str:
    return str(value) if isinstance(value, str | int | None) else repr(value)


@dataclass(frozen=True, eq=False)
class _AddColumn(ExecutableDDLElement):
    """ALTER TABLE ... ADD COLUMN, with the checks of the column."""

    column: Column[object]
    checks: tuple[CheckConstraint, ...]

    inherit_cache = False


@compiles(_AddColumn)
def _render_add_column(element: _AddColumn, compiler: DDLCompiler, **_: object) -> str:
    actions = [f"ADD COLUMN {compiler.process(CreateColumn(element.column))}"]
    actions += [f"ADD {compiler.process(check)}" for check in element.checks]
    return f"ALTER TABLE {compiler.preparer.format_table(element.column.table)} {', '.join(actions)}"


@dataclass(frozen=True, eq=False)
class _AddCheck(ExecutableDDLElement):
    table: Table
    check: CheckConstraint

    inherit_cache = False


@compiles(_AddCheck)
def _render_add_check(element: _AddCheck, compiler: DDLCompiler, **_: object) -> str:
    return f"ALTER TABLE {compiler.preparer.format_table(element.table)} ADD {compiler.process(element.check)}"


def _checks(table: Table, field: Field) -> tuple[CheckConstraint, ...]:
    name = fitted(f"{field.name}_size")
    return tuple(it for it in table.constraints if isinstance(it, CheckConstraint) and it.name == name)


def _comment(table: Table, field: Field) -> Statement:
    column = Name(str(table.schema), PARENT_TABLE, field.name)
    return Statement("COMMENT ON COLUMN {column} IS {text}", {"column": column, "text": field.description})


def add_field(table: Table, field: Field) -> Iterator[Executable]:
    """The column, its checks, its description; then the views of aliases show it, too.

    Takes ACCESS EXCLUSIVE on the table and its partitions. Rewrites nothing: a default is kept once. With bm25 it does:
    the words of the default are kept in each row.

    table  with the field
    """
    yield _AddColumn(table.c[field.name], _checks(table, field))
    if field.bm25:
        yield _AddColumn(table.c[words_column(field.name)], ())
    if field.description:
        yield _comment(table, field)
    yield from _of_aliases(str(table.schema), field.name)
    yield _WIDEN_ALIASES


def drop_field(collection: str, field: str, *, cascade: bool = False) -> Iterator[Executable]:
    """The views of aliases go without the column, then it is dropped, with its indexes.

    Takes ACCESS EXCLUSIVE on the table and its partitions, for a moment: the values' space comes back as rows are
    rewritten.
    """
    blanks = {"table": Name(collection, PARENT_TABLE), "column": Name(field)}
    yield from _of_aliases(collection, field)
    yield _NARROW_ALIASES
    yield from _forget_words(collection, field, cascade=cascade)
    if cascade:
        yield Statement("ALTER TABLE {table} DROP COLUMN {column} CASCADE", blanks)
    else:
        yield Statement("ALTER TABLE {table} DROP COLUMN {column} RESTRICT", blanks)


def alter_field(table: Table, before: Field, after: Field) -> Iterator[Executable]:
    """What turns one declaration of a field into another; nothing where both say the same.

    To begin with bm25, and to change the text search of what has it, rewrites the table.

    table  with the field as it is to be
    """
    blanks: dict[str, Statement | Name] = {
        "table": Name(str(table.schema), PARENT_TABLE),
        "column": Name(after.name),
    }
    if (before.max_length, before.max_capacity) != (after.max_length, after.max_capacity):
        for check in _checks(table, after):
            named = {"table": blanks["table"], "check": Name(str(check.name))}
            yield Statement("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {check}", named)
            yield _AddCheck(table, check)
    if before.nullable and not after.nullable:
        yield Statement("ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL", blanks)
    if after.nullable and not before.nullable:
        yield Statement("ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL", blanks)
    if before.default_value != after.default_value:
        default = table.c[after.name].server_default
        if not isinstance(default, DefaultClause) or not isinstance(default.arg, ColumnElement):
            yield Statement("ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT", blanks)
        else:
            setting = Statement("SET DEFAULT {value}", {"value": default.arg})
            yield Statement("ALTER TABLE {table} ALTER COLUMN {column} {setting}", {**blanks, "setting": setting})
    if before.description != after.description:
        yield _comment(table, after)
    if (before.bm25, before.text_search) != (after.bm25, after.text_search):
        yield from _forget_words(str(table.schema), after.name)
        if after.bm25:
            yield _AddColumn(table.c[words_column(after.name)], ())


def describe_collection(collection: str, description: str) -> Iterator[Statement]:
    """The description, for the schema and the table; what stands there for an empty one."""
    description = description or UNDESCRIBED
    yield Statement("COMMENT ON SCHEMA {it} IS {text}", {"it": Name(collection), "text": description})
    yield Statement("COMMENT ON TABLE {it} IS {text}", {"it": Name(collection, PARENT_TABLE), "text": description})


def _forget_words(collection: str, field: str, *, cascade: bool = False) -> Iterator[Executable]:
    """The column with the words of a field goes, with its index; nothing where there is none."""
    yield set_local("vecstore.collection", collection)
    yield set_local("vecstore.words", words_column(field))
    yield set_local("vecstore.cascade", "true" if cascade else "false")
    yield _FORGET_WORDS


def _of_aliases(collection: str, field: str) -> Iterator[Statement]:
    yield set_local("vecstore.collection", collection)
    yield set_local("vecstore.field", field)


# A field of somebody's may have the name; a column that PostgreSQL fills is no field.
_FORGET_WORDS = text("""
    DO $$
    DECLARE words record;
    BEGIN
        FOR words IN
            SELECT a.attrelid::regclass AS entities, pg_catalog.quote_ident(a.attname) AS name
            FROM pg_catalog.pg_attribute a
            JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relname = 'entities'
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = pg_catalog.current_setting('vecstore.collection')
                AND a.attname = pg_catalog.current_setting('vecstore.words')
                AND a.attgenerated <> '' AND a.atttypid = 'pg_catalog.tsvector'::regtype AND NOT a.attisdropped
        LOOP
            EXECUTE 'ALTER TABLE ' || words.entities || ' DROP COLUMN ' || words.name
                || CASE pg_catalog.current_setting('vecstore.cascade') WHEN 'true' THEN ' CASCADE' ELSE ' RESTRICT' END;
        END LOOP;
    END $$
""")

# The columns of a view stay in their order, so that it can be replaced and what others made on it stays.
_WIDEN_ALIASES = text("""
    DO $$
    DECLARE alias record;
    BEGIN
        FOR alias IN
            SELECT v.oid, n.nspname AS name, (
                SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum)
                FROM pg_catalog.pg_attribute a WHERE a.attrelid = v.oid AND a.attnum > 0) AS columns
            FROM vecstore.alias_registry r
            JOIN pg_catalog.pg_class v ON v.oid = r.view
            JOIN pg_catalog.pg_namespace n ON n.oid = v.relnamespace
            WHERE EXISTS (
                SELECT FROM pg_catalog.pg_rewrite w
                JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
                JOIN pg_catalog.pg_class c ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid
                JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
                WHERE w.ev_class = v.oid AND c.relname = 'entities'
                    AND cn.nspname = pg_catalog.current_setting('vecstore.collection'))
        LOOP
            EXECUTE 'CREATE OR REPLACE VIEW ' || pg_catalog.quote_ident(alias.name)
                || '.entities WITH (security_invoker = true) AS SELECT ' || alias.columns || ', '
                || pg_catalog.quote_ident(pg_catalog.current_setting('vecstore.field')) || ' FROM '
                || pg_catalog.quote_ident(pg_catalog.current_setting('vecstore.collection')) || '.entities';
        END LOOP;
    END $$
""")

# A view cannot lose a column: it is made anew, with comment and grants. Of what others made on it, RESTRICT tells.
_NARROW_ALIASES = text("""
    DO $$
    DECLARE alias record; view_grant record;
    BEGIN
        FOR alias IN
            SELECT v.oid, v.relacl, pg_catalog.quote_ident(n.nspname) || '.entities' AS name,
                pg_catalog.obj_description(v.oid, 'pg_class') AS comment, (
                SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum)
                FROM pg_catalog.pg_attribute a
                WHERE a.attrelid = v.oid AND a.attnum > 0
                    AND a.attname <> pg_catalog.current_setting('vecstore.field')) AS columns
            FROM vecstore.alias_registry r
            JOIN pg_catalog.pg_class v ON v.oid = r.view
            JOIN pg_catalog.pg_namespace n ON n.oid = v.relnamespace
            WHERE EXISTS (
                SELECT FROM pg_catalog.pg_rewrite w
                JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
                JOIN pg_catalog.pg_class c ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid
                JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
                WHERE w.ev_class = v.oid AND c.relname = 'entities'
                    AND cn.nspname = pg_catalog.current_setting('vecstore.collection'))
        LOOP
            DELETE FROM vecstore.alias_registry r WHERE r.view = alias.oid;
            EXECUTE 'DROP VIEW ' || alias.name || ' RESTRICT';
            EXECUTE 'CREATE VIEW ' || alias.name || ' WITH (security_invoker = true) AS SELECT ' || alias.columns
                || ' FROM ' || pg_catalog.quote_ident(pg_catalog.current_setting('vecstore.collection')) || '.entities';
            EXECUTE 'COMMENT ON VIEW ' || alias.name || ' IS ' || pg_catalog.quote_nullable(alias.comment);
            INSERT INTO vecstore.alias_registry (view) VALUES (alias.name::regclass);
            FOR view_grant IN
                SELECT g.privilege_type, g.is_grantable,
                    CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END AS grantee
                FROM pg_catalog.aclexplode(alias.relacl) g
            LOOP
                EXECUTE 'GRANT ' || view_grant.privilege_type || ' ON ' || alias.name || ' TO ' || view_grant.grantee
                    || CASE WHEN view_grant.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END;
            END LOOP;
        END LOOP;
    END $$
""")
