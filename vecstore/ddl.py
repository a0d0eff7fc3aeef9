"""Statements that change structure, as data: built here, run elsewhere. Pure.

Every statement is a constant template whose blanks are names (quoted), values (written as literals, for DDL takes no
parameters), expressions of SQLAlchemy or further templates, so no text of a caller can become SQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, LiteralString

from sqlalchemy import Column, ColumnElement, Integer, String, Table
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateSequence, CreateTable, ExecutableDDLElement
from sqlalchemy.sql.compiler import DDLCompiler

from .description import UNDESCRIBED
from .naming import DYNAMIC_COLUMN, PARENT_TABLE, PARTITION_COLUMN
from .schema import Btree, CollectionSchema, Gin, Hnsw, IndexSpec, IvfFlat
from .tables import id_sequence

# Rows of up to 8 kB keep their vector beside them instead of in the TOAST table: COPY costs the server 1.6 times
# less, and exact scans run two to three times as fast. 8160 is the most that PostgreSQL takes.
LEAF_TOAST_TARGET = 8160


class Name:
    """A name, quoted; several parts make a qualified one."""

    def __init__(self, *parts: str) -> None:
        self.parts = parts


Blank = Name | ColumnElement[Any] | str | int


@dataclass(frozen=True, eq=False)
class Statement(ExecutableDDLElement):
    """A template of SQL, and what fills its blanks."""

    template: LiteralString
    blanks: Mapping[str, Statement | Blank]

    inherit_cache = False


def _sql(template: LiteralString, **blanks: Statement | Blank) -> Statement:
    return Statement(template, blanks)


@compiles(Statement)
def _render(statement: Statement, compiler: DDLCompiler, **_: Any) -> str:
    return statement.template.format(
        **{blank: _render_blank(value, compiler) for blank, value in statement.blanks.items()}
    )


def _render_blank(value: Statement | Blank, compiler: DDLCompiler) -> str:
    if isinstance(value, Name):
        return ".".join(compiler.preparer.quote(part) for part in value.parts)
    if isinstance(value, Statement):
        return _render(value, compiler)
    if isinstance(value, ColumnElement):
        rendered: str = compiler.sql_compiler.process(value, include_table=False, literal_binds=True)
        return rendered
    return compiler.sql_compiler.render_literal_value(value, Integer() if isinstance(value, int) else String())


_NOTHING = _sql("")
_CASCADE = _sql("CASCADE")
_RESTRICT = _sql("RESTRICT")


def _behaviour(*, cascade: bool) -> Statement:
    return _CASCADE if cascade else _RESTRICT


def create_collection(name: str, table: Table, schema: CollectionSchema) -> Iterator[ExecutableDDLElement]:
    """The schema, the id sequence, the partitioned table and the descriptions; leaves come after it."""
    yield _sql("CREATE SCHEMA {schema}", schema=Name(name))
    key = schema.primary_key
    if key.auto_id:
        yield CreateSequence(id_sequence(name, key))
    yield CreateTable(table)
    if key.auto_id:
        yield _sql(
            "ALTER SEQUENCE {sequence} OWNED BY {column}",
            sequence=Name(name, id_sequence(name, key).name),
            column=Name(name, PARENT_TABLE, key.name),
        )
    description = schema.description or UNDESCRIBED
    yield _comment_on_schema(name, description)
    yield _comment_on_table(name, PARENT_TABLE, description)
    own = {DYNAMIC_COLUMN: _ABOUT_DYNAMIC_COLUMN, PARTITION_COLUMN: _ABOUT_PARTITION_COLUMN}
    described = {field.name: field.description for field in schema.fields if field.description}
    for column, text in (described | {name: text for name, text in own.items() if name in table.c}).items():
        yield _sql("COMMENT ON COLUMN {column} IS {text}", column=Name(name, PARENT_TABLE, column), text=text)


_ABOUT_DYNAMIC_COLUMN = "What entities have beside the fields, as JSON"
_ABOUT_PARTITION_COLUMN = "The name of the partition"


def _comment_on_schema(schema: str, text: str) -> Statement:
    return _sql("COMMENT ON SCHEMA {schema} IS {text}", schema=Name(schema), text=text)


def _comment_on_table(schema: str, table: str, text: str) -> Statement:
    return _sql("COMMENT ON TABLE {table} IS {text}", table=Name(schema, table), text=text)


def create_leaf(collection: str, leaf: str, partition: str) -> Iterator[Statement]:
    """A table like the parent, to be attached: that locks nobody out, where PARTITION OF would."""
    yield _sql(
        "CREATE TABLE {leaf} (LIKE {parent} INCLUDING ALL) WITH (toast_tuple_target = {target})",
        leaf=Name(collection, leaf),
        parent=Name(collection, PARENT_TABLE),
        target=LEAF_TOAST_TARGET,
    )
    yield _comment_on_table(collection, leaf, f"The entities of partition {partition}")


def attach_list_leaf(collection: str, leaf: str, partition: str) -> Statement:
    """Takes SHARE UPDATE EXCLUSIVE on the parent: searches and inserts go on."""
    return _sql(
        "ALTER TABLE {parent} ATTACH PARTITION {leaf} FOR VALUES IN ({partition})",
        parent=Name(collection, PARENT_TABLE),
        leaf=Name(collection, leaf),
        partition=partition,
    )


def attach_hash_leaf(collection: str, leaf: str, *, modulus: int, remainder: int) -> Statement:
    return _sql(
        "ALTER TABLE {parent} ATTACH PARTITION {leaf} FOR VALUES WITH (MODULUS {modulus}, REMAINDER {remainder})",
        parent=Name(collection, PARENT_TABLE),
        leaf=Name(collection, leaf),
        modulus=modulus,
        remainder=remainder,
    )


def detach_leaf(collection: str, leaf: str) -> Statement:
    """Takes ACCESS EXCLUSIVE on the parent and the leaf, as a drop does; reads no row."""
    return _sql(
        "ALTER TABLE {parent} DETACH PARTITION {leaf}",
        parent=Name(collection, PARENT_TABLE),
        leaf=Name(collection, leaf),
    )


def create_trash_schema(schema: str, owner: str) -> Iterator[Statement]:
    yield _sql("CREATE SCHEMA {schema} AUTHORIZATION {owner}", schema=Name(schema), owner=Name(owner))
    yield _comment_on_schema(schema, "A partition that was dropped and is kept by vecstore")


def move_table(schema: str, table: str, to: str) -> Statement:
    """Into another schema, with its indexes; takes ACCESS EXCLUSIVE on it."""
    return _sql("ALTER TABLE {table} SET SCHEMA {to}", table=Name(schema, table), to=Name(to))


def rename_relation(schema: str, relation: str, to: str) -> Statement:
    """A table or an index."""
    return _sql("ALTER TABLE {it} RENAME TO {to}", it=Name(schema, relation), to=Name(to))


def drop_default(schema: str, table: str, column: str) -> Statement:
    return _sql("ALTER TABLE {it} ALTER COLUMN {column} DROP DEFAULT", it=Name(schema, table), column=Name(column))


def create_staging(table: str, collection: str) -> Statement:
    """A temporary table with the columns of a collection's, and nothing else of it: each takes NULL."""
    return _sql(
        "CREATE TEMPORARY TABLE {table} WITH (toast_tuple_target = {target}) ON COMMIT DROP "
        "AS SELECT * FROM {parent} WITH NO DATA",
        target=LEAF_TOAST_TARGET,
        table=Name(table),
        parent=Name(collection, PARENT_TABLE),
    )


def drop_table(schema: str, table: str, *, cascade: bool = False) -> Statement:
    """Takes ACCESS EXCLUSIVE on the table and, of a partition, on its parent."""
    return _sql("DROP TABLE {table} {behaviour}", table=Name(schema, table), behaviour=_behaviour(cascade=cascade))


def drop_schema(schema: str, *, cascade: bool = False) -> Statement:
    return _sql("DROP SCHEMA {schema} {behaviour}", schema=Name(schema), behaviour=_behaviour(cascade=cascade))


def rename_schema(old: str, new: str) -> Statement:
    """Locks no table: searches that run go on."""
    return _sql("ALTER SCHEMA {old} RENAME TO {new}", old=Name(old), new=Name(new))


def truncate(schema: str, table: str) -> Statement:
    """Takes ACCESS EXCLUSIVE on the table and its partitions, nothing on a parent."""
    return _sql("TRUNCATE TABLE {table}", table=Name(schema, table))


class IndexScope(Enum):
    """Where CREATE INDEX builds."""

    TABLE = _sql("INDEX {index} ON {table}")
    """The table and its partitions; takes SHARE on all of them, so writers wait."""
    PARENT_ONLY = _sql("INDEX {index} ON ONLY {table}")
    """The parent alone; the index is invalid until one of every partition is attached to it."""
    CONCURRENTLY = _sql("INDEX CONCURRENTLY {index} ON {table}")
    """One leaf, outside a transaction; nobody waits."""


_METHODS: Mapping[type, Statement] = {
    Hnsw: _sql("hnsw"),
    IvfFlat: _sql("ivfflat"),
    Btree: _sql("btree"),
    Gin: _sql("gin"),
}


@dataclass(frozen=True, eq=False)
class IndexKey:
    """What an index holds of each row: a column or an expression of it; and how, if not as its type usually does."""

    expression: ColumnElement[Any]
    operator_class: Name | None = None


def create_index(
    collection: str, table: str, index: str, key: IndexKey, spec: IndexSpec, *, scope: IndexScope = IndexScope.TABLE
) -> Statement:
    target = Statement(scope.value.template, {"index": Name(index), "table": Name(collection, table)})
    options = _NOTHING
    if isinstance(spec, Hnsw):
        options = _sql("WITH (m = {m}, ef_construction = {ef})", m=spec.m, ef=spec.ef_construction)
    elif isinstance(spec, IvfFlat):
        options = _sql("WITH (lists = {lists})", lists=spec.lists)
    return _sql(
        "CREATE {target} USING {method} ({expression} {operators}) {options}",
        target=target,
        method=_METHODS[type(spec)],
        expression=_sql("{it}" if isinstance(key.expression, Column) else "({it})", it=key.expression),
        operators=_NOTHING if key.operator_class is None else _sql("{it}", it=key.operator_class),
        options=options,
    )


def comment_on_index(collection: str, index: str, comment: str | None) -> Statement:
    text = _sql("NULL") if comment is None else comment
    return _sql("COMMENT ON INDEX {index} IS {text}", index=Name(collection, index), text=text)


def attach_index(collection: str, parent_index: str, leaf_index: str) -> Statement:
    return _sql(
        "ALTER INDEX {parent} ATTACH PARTITION {leaf}",
        parent=Name(collection, parent_index),
        leaf=Name(collection, leaf_index),
    )


def drop_index(collection: str, index: str) -> Statement:
    """Takes ACCESS EXCLUSIVE on the table and all its partitions, for a moment."""
    return _sql("DROP INDEX {index} RESTRICT", index=Name(collection, index))


def create_database(name: str) -> Statement:
    """Outside a transaction."""
    return _sql("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'", name=Name(name))


def comment_on_database(name: str, comment: str) -> Statement:
    return _sql("COMMENT ON DATABASE {name} IS {text}", name=Name(name), text=comment)


def drop_database(name: str) -> Statement:
    """Outside a transaction; ends the connections to it."""
    return _sql("DROP DATABASE {name} WITH (FORCE)", name=Name(name))


def create_alias(alias: str, collection: str, columns: tuple[str, ...]) -> Iterator[Statement]:
    """A schema with a view on the collection's table; columns are listed, so that it reads the same for ever."""
    yield _sql("CREATE SCHEMA {schema}", schema=Name(alias))
    yield _comment_on_schema(alias, _ABOUT_ALIAS)
    yield create_alias_view(alias, collection, columns)
    yield comment_on_alias_view(alias)


_ABOUT_ALIAS = "An alias of vecstore: a second name for a collection, whose entities its view shows"


def comment_on_alias_view(alias: str) -> Statement:
    return _sql("COMMENT ON VIEW {view} IS {text}", view=Name(alias, PARENT_TABLE), text=_ABOUT_ALIAS)


def create_alias_view(alias: str, collection: str, columns: tuple[str, ...]) -> Statement:
    """Replaces the view if there is one; fails if its columns differ. Readers need rights on the table itself."""
    listed: Statement = _NOTHING
    for position, column in enumerate(columns):
        listed = _sql("{before}, {column}" if position else "{before}{column}", before=listed, column=Name(column))
    return _sql(
        "CREATE OR REPLACE VIEW {view} WITH (security_invoker = true) AS SELECT {columns} FROM {table}",
        view=Name(alias, PARENT_TABLE),
        columns=listed,
        table=Name(collection, PARENT_TABLE),
    )


def drop_view(schema: str, view: str) -> Statement:
    return _sql("DROP VIEW {view} RESTRICT", view=Name(schema, view))


class Right(Enum):
    """What a role may do with an object."""

    LOOK_INTO = _sql("USAGE ON SCHEMA {object}")
    READ = _sql("SELECT ON TABLE {object}")
    WRITE = _sql("INSERT, UPDATE, DELETE ON TABLE {object}")
    DRAW = _sql("USAGE ON SEQUENCE {object}")


def grant(right: Right, name: Name, role: str) -> Statement:
    what = Statement(right.value.template, {"object": name})
    return _sql("GRANT {what} TO {role}", what=what, role=Name(role))


def revoke(right: Right, name: Name, role: str) -> Statement:
    what = Statement(right.value.template, {"object": name})
    return _sql("REVOKE {what} FROM {role}", what=what, role=Name(role))


def give_schema(schema: str, owner: str) -> Statement:
    return _sql("ALTER SCHEMA {schema} OWNER TO {owner}", schema=Name(schema), owner=Name(owner))


def give_table(schema: str, table: str, owner: str) -> Statement:
    """A table, with its indexes and the sequences of its columns, or a view. Takes ACCESS EXCLUSIVE on it."""
    return _sql("ALTER TABLE {table} OWNER TO {owner}", table=Name(schema, table), owner=Name(owner))


def lock_out_writers(schema: str, table: str) -> Statement:
    """Takes SHARE on the table and its partitions: the lock of CREATE INDEX, taken before a look at the rows."""
    return _sql("LOCK TABLE {table} IN SHARE MODE", table=Name(schema, table))


def set_local(setting: LiteralString, value: int | str) -> Statement:
    """For the rest of the transaction. A literal: what set_config() sets does not reach the workers of Citus."""
    return _sql("SET LOCAL {setting} = {value}", setting=Name(*setting.split(".")), value=value)


def set_session(setting: LiteralString, value: int | str) -> Statement:
    """For the rest of the session, for what cannot be in a transaction."""
    return _sql("SET {setting} = {value}", setting=Name(*setting.split(".")), value=value)


def reindex_concurrently(schema: str, index: str) -> Statement:
    """Outside a transaction; nobody waits. Interrupted, it leaves an invalid index `<index>_ccnew`."""
    return _sql("REINDEX INDEX CONCURRENTLY {index}", index=Name(schema, index))


def analyze(schema: str, table: str, column: str) -> Statement:
    """Of one column, for the sake of the rows: how many are live, how many dead."""
    return _sql("ANALYZE {table} ({column})", table=Name(schema, table), column=Name(column))


def vacuum(schema: str, table: str) -> Statement:
    """Outside a transaction; nobody waits."""
    return _sql("VACUUM (ANALYZE) {table}", table=Name(schema, table))


def finish_detaching(collection: str, leaf: str) -> Statement:
    """What an interrupted DETACH PARTITION ... CONCURRENTLY had still to do."""
    return _sql(
        "ALTER TABLE {parent} DETACH PARTITION {leaf} FINALIZE",
        parent=Name(collection, PARENT_TABLE),
        leaf=Name(collection, leaf),
    )
