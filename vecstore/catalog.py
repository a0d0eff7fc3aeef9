"""What is there: the only module that reads pg_catalog and the registry.

Whatever PostgreSQL knows (columns, types, dimensions, partitions, indexes, validity) is read from it, at least as a
version each time, so a change made by plain SQL is seen. The registry adds what it cannot know: that a schema is ours,
and the attributes of fields that two data types share a column type for. An index on an expression says of itself, in
its comment, what the expression means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from psycopg import sql
from sqlalchemy import Connection, text

from .description import UNDESCRIBED, CollectionDescription, CollectionSummary, Dependent, PartitionDescription
from .errors import (
    CollectionNotFound,
    InvalidName,
    InvalidSchema,
    OperationRefused,
)
from .naming import DEFAULT_PARTITION, DYNAMIC_COLUMN, PARENT_TABLE, PARTITION_COLUMN, can_be_looked_up, words_column
from .pipeline import Session
from .recognition import recognised
from .schema import CollectionSchema, DataType, Field
from .wire import TEXT_OID, Command

# One round trip: everything about a collection or the collection of an alias. The schema leads, by its unique index,
# so the number of collections does not matter. pg_get_expr() is told no relation, for it would wait for the locks of
# each: a look at the catalogue must not wait for a DROP that is under way. For the same reason no index of ours is
# rendered: of an expression, pg_depend knows the column, and whether all else in it is a cast.
_DESCRIBE = text("""
    WITH named AS (
        SELECT c.oid, c.relkind
        FROM pg_catalog.pg_namespace n
        JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = 'entities'
        WHERE n.nspname = :name
    ), target AS (
        SELECT r.entities::oid AS oid, r.fields, r.properties, r.created_at
        FROM named
        JOIN vecstore.collection_registry r ON r.entities = named.oid
        WHERE named.relkind = 'p' AND r.dropped_at IS NULL
      UNION
        SELECT r.entities::oid, r.fields, r.properties, r.created_at
        FROM named
        JOIN vecstore.alias_registry a ON a.view = named.oid
        JOIN pg_catalog.pg_rewrite w ON w.ev_class = named.oid
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
             AND d.refclassid = 'pg_catalog.pg_class'::regclass
        JOIN vecstore.collection_registry r ON r.entities = d.refobjid
        WHERE named.relkind = 'v' AND r.dropped_at IS NULL
    )
    SELECT t.oid::int8 AS oid, n.nspname AS name, t.fields, t.properties, t.created_at,
        pg_catalog.obj_description(n.oid, 'pg_namespace') AS description,
        pt.partstrat::text AS strategy, pt.partattrs::int2[] AS partition_columns,
        (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                    'name', a.attname, 'number', a.attnum, 'type', y.typname, 'typmod', a.atttypmod,
                    'element', e.typname, 'not_null', a.attnotnull, 'generated', a.attgenerated <> '',
                    'description', pg_catalog.col_description(t.oid, a.attnum),
                    'default', CASE a.attgenerated WHEN '' THEN pg_catalog.pg_get_expr(f.adbin, 0) END,
                    'primary', a.attnum = ANY (p.conkey)) ORDER BY a.attnum)
         FROM pg_catalog.pg_attribute a
         JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
         LEFT JOIN pg_catalog.pg_type e ON e.oid = y.typelem AND y.typcategory = 'A'
         LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
         LEFT JOIN pg_catalog.pg_constraint p ON p.conrelid = t.oid AND p.contype = 'p'
         WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
        (SELECT pg_catalog.jsonb_agg(i.inhrelid::regclass::text)
         FROM pg_catalog.pg_inherits i
         JOIN pg_catalog.pg_class l ON l.oid = i.inhrelid
         WHERE i.inhparent = t.oid AND l.relnamespace <> n.oid) AS foreign_leaves,
        (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                    'table', l.relname, 'bound', pg_catalog.pg_get_expr(l.relpartbound, 0)) ORDER BY l.oid)
         FROM pg_catalog.pg_inherits i
         JOIN pg_catalog.pg_class l ON l.oid = i.inhrelid
         WHERE i.inhparent = t.oid AND l.relnamespace = n.oid) AS leaves,
        (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                    'name', x.relname, 'valid', i.indisvalid, 'method', m.amname, 'class', o.opcname,
                    'options', x.reloptions, 'partial', i.indpred IS NOT NULL,
                    'columns', i.indnatts, 'column', a.attname, 'is_expression', i.indkey[0] = 0,
                    'half_precision', h.is_half, 'comment', s.description,
                    'expression', CASE WHEN i.indkey[0] = 0 AND NOT h.is_half
                                            AND NOT pg_catalog.starts_with(coalesce(s.description, ''), '{"vecstore":')
                                  THEN pg_catalog.pg_get_indexdef(x.oid, 1, true) END) ORDER BY x.oid)
         FROM pg_catalog.pg_index i
         JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
         JOIN pg_catalog.pg_am m ON m.oid = x.relam
         JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[0]
         JOIN pg_catalog.pg_attribute xa ON xa.attrelid = x.oid AND xa.attnum = 1
         CROSS JOIN LATERAL (
            SELECT pg_catalog.min(d.refobjsubid) FILTER (WHERE d.refobjsubid > 0) AS attnum,
                   pg_catalog.count(*) FILTER (WHERE d.refobjsubid > 0) AS columns,
                   pg_catalog.bool_and(EXISTS (SELECT FROM pg_catalog.pg_cast c
                                               WHERE c.castfunc = d.refobjid AND c.casttarget = xa.atttypid))
                       FILTER (WHERE d.refclassid IN ('pg_catalog.pg_proc'::regclass,
                                                      'pg_catalog.pg_operator'::regclass)) AS is_cast
            FROM pg_catalog.pg_depend d
            WHERE i.indkey[0] = 0 AND d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = x.oid) e
         LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0
              AND a.attnum = CASE WHEN i.indkey[0] > 0 THEN i.indkey[0] WHEN e.columns = 1 THEN e.attnum END
         LEFT JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
         CROSS JOIN LATERAL (
            SELECT coalesce(e.is_cast AND y.typname = 'vector' AND xa.atttypmod = a.atttypmod
                            AND pg_catalog.starts_with(o.opcname, 'halfvec_'), false) AS is_half) h
         LEFT JOIN pg_catalog.pg_description s ON s.objoid = x.oid AND s.objsubid = 0
              AND s.classoid = 'pg_catalog.pg_class'::regclass
         WHERE i.indrelid = t.oid AND NOT i.indisprimary) AS indexes,
        (SELECT pg_catalog.jsonb_agg(DISTINCT vn.nspname)
         FROM vecstore.alias_registry a
         JOIN pg_catalog.pg_class v ON v.oid = a.view
         JOIN pg_catalog.pg_namespace vn ON vn.oid = v.relnamespace
         JOIN pg_catalog.pg_rewrite w ON w.ev_class = v.oid
         JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
         WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = t.oid) AS aliases,
        (SELECT pg_catalog.jsonb_agg(c.relname) FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid) AS relations
    FROM target t
    JOIN pg_catalog.pg_class c ON c.oid = t.oid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_partitioned_table pt ON pt.partrelid = t.oid
""")


_TEXT_FORMAT = 0

# A moment's look at what a description is made of, as far as searches and writes depend on it: rows of the catalogue
# that are changed become other rows, of another transaction. Comments, and names of leaves and indexes, are not in it.
_VERSION = b"""
    WITH named AS (
        SELECT c.oid, c.relkind
        FROM pg_catalog.pg_namespace n
        JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = 'entities'
        WHERE n.nspname = $1
    ), target AS (
        SELECT named.oid FROM named WHERE named.relkind = 'p'
      UNION
        SELECT d.refobjid
        FROM named
        JOIN pg_catalog.pg_rewrite w ON w.ev_class = named.oid
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
             AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0
        WHERE named.relkind = 'v'
    )
    SELECT pg_catalog.concat_ws(' ', n.nspname, t.oid, c.xmin, r.xmin,
        (SELECT pg_catalog.concat(pg_catalog.count(*), ' ', pg_catalog.sum(a.xmin::text::int8))
         FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.oid),
        (SELECT pg_catalog.concat(pg_catalog.sum(i.indexrelid::int8), ' ', pg_catalog.sum(i.xmin::text::int8))
         FROM pg_catalog.pg_index i WHERE i.indrelid = t.oid),
        (SELECT pg_catalog.concat(pg_catalog.sum(i.inhrelid::int8), ' ', pg_catalog.sum(i.xmin::text::int8))
         FROM pg_catalog.pg_inherits i WHERE i.inhparent = t.oid))
    FROM target t
    JOIN pg_catalog.pg_class c ON c.oid = t.oid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN vecstore.collection_registry r ON r.entities = t.oid AND r.dropped_at IS NULL
"""


def version_command(name: str) -> Command:
    """Ask for the version of a collection or alias: what the description of it can be known by, another one after each
    change of structure.

    One row of one text; another number of rows where there is no collection of that name, or more than one: describe()
    says what is wrong.
    """
    return Command(_VERSION, (TEXT_OID,), (name.encode(),), (_TEXT_FORMAT,))


SEEN = "vecstore.seen"
"""The parameter of a transaction that holds what a look in it saw."""


def version_look(name: str) -> Command:
    """The version as a look: one row of one text, empty where there is no collection of that name."""
    return Command(_VERSION_LOOK, (TEXT_OID,), (name.encode(),), (_TEXT_FORMAT,))


_VERSION_LOOK = b"SELECT pg_catalog.set_config('%s', (%s), true)" % (SEEN.encode(), _VERSION)


@lru_cache(maxsize=4096)
def plan_look(name: str) -> Command:
    """Ask for the plan that the server has of this very command, on a collection or alias.

    One row of one text, which is another when the structure of the collection has changed; for a fraction of what the
    version costs, however many partitions there are. The collection stays as it is until the transaction ends.
    """
    seen = sql.SQL("pg_catalog.set_config({}, vecstore._plan_id()::pg_catalog.text, true)").format(sql.Literal(SEEN))
    text = sql.SQL("SELECT {} WHERE NOT EXISTS (SELECT FROM {} WHERE false)")
    return Command(text.format(seen, sql.Identifier(name, PARENT_TABLE)).as_bytes(None), at_once=True)


def version(session: Session, name: str) -> str | None:
    """The version of a collection or alias; None where describe() says why there is none."""
    if not can_be_looked_up(name):
        return None
    [rows] = session.rows(session.run([version_command(name)]))
    return str(rows[0][0]) if len(rows) == 1 else None


def describe(connection: Connection, name: str) -> CollectionDescription:
    """The collection of this name or alias; raises CollectionNotFound."""
    rows = connection.execute(_DESCRIBE, {"name": name}).all() if can_be_looked_up(name) else []
    if not rows:
        raise CollectionNotFound(f"no collection {name!r}")
    if len(rows) > 1:
        shown = ", ".join(sorted(row.name for row in rows))
        raise OperationRefused(f"the view of alias {name!r} was changed and shows several collections: {shown}")
    row = rows[0]
    try:
        schema = _schema(row)
    except InvalidSchema as exc:
        raise InvalidSchema(f"collection {name!r} was changed by plain SQL into none: {exc}") from exc
    words = {words_column(field.name): field.name for field in schema.fields if field.bm25}
    return CollectionDescription(
        name=row.name,
        oid=row.oid,
        schema=schema,
        partitions=_partitions(row.leaves or ()),
        indexes=tuple(recognised(index, words) for index in row.indexes or ()),
        aliases=tuple(row.aliases or ()),
        leaves=tuple(leaf["table"] for leaf in row.leaves or ()),
        foreign_leaves=tuple(row.foreign_leaves or ()),
        relations=frozenset(row.relations),
        filled=frozenset(column["name"] for column in row.columns if _fills_itself(column, schema)),
        created_at=row.created_at,
        numbers={column["name"]: column["number"] for column in row.columns},
    )


def _fills_itself(column: Mapping[str, Any], schema: CollectionSchema) -> bool:
    """Whether a field that may not be NULL need not be given, for the server has a default that is not the field's."""
    field = schema.by_name.get(column["name"])
    if field is None or field.primary_key or field.default_value is not None:
        return False
    return bool(column["not_null"]) and column["default"] is not None


# Types that say by themselves what they are; the registry decides between the types that share one.
_TYPE_NAMES: Mapping[str, DataType] = {
    "bool": DataType.BOOL,
    "int2": DataType.INT16,
    "int4": DataType.INT32,
    "int8": DataType.INT64,
    "float4": DataType.FLOAT,
    "float8": DataType.DOUBLE,
    "text": DataType.TEXT,
    "varchar": DataType.TEXT,
    "jsonb": DataType.JSON,
    "timestamptz": DataType.TIMESTAMPTZ,
    "vector": DataType.FLOAT_VECTOR,
    "halfvec": DataType.FLOAT16_VECTOR,
    "sparsevec": DataType.SPARSE_FLOAT_VECTOR,
    "bit": DataType.BINARY_VECTOR,
}

_SHARED_TYPES: Mapping[DataType, DataType] = {
    DataType.INT8: DataType.INT16,
    DataType.VARCHAR: DataType.TEXT,
    DataType.BFLOAT16_VECTOR: DataType.FLOAT_VECTOR,
    DataType.INT8_VECTOR: DataType.FLOAT16_VECTOR,
}


def field_attributes(schema: CollectionSchema) -> dict[str, dict[str, Any]]:
    """What the registry keeps of the fields: only what the catalogue has no place for."""
    kept = {}
    for declared in schema.fields:
        attributes = {
            "data_type": declared.data_type if declared.data_type in _SHARED_TYPES else None,
            "element_type": declared.element_type,
            "max_length": declared.max_length,
            "max_capacity": declared.max_capacity,
            "default_value": _json_default(declared.default_value),
            "text_search": declared.text_search,
        }
        kept[declared.name] = {name: value for name, value in attributes.items() if value is not None}
    return {name: attributes for name, attributes in kept.items() if attributes}


def _json_default(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else value.isoformat()


def _default(data_type: DataType, kept: Any) -> Any:
    """A default as it was declared: JSON has no times, and jsonb no floats that are whole."""
    if kept is None:
        return None
    if data_type is DataType.TIMESTAMPTZ:
        return datetime.fromisoformat(kept)
    return float(kept) if data_type in {DataType.FLOAT, DataType.DOUBLE} else kept


def _schema(row: Any) -> CollectionSchema:
    partition_column = row.partition_columns[0] if row.strategy == "h" else None
    kept_words = {column["name"] for column in row.columns if column["generated"] and column["type"] == "tsvector"}
    fields = [
        _field(
            column,
            row.fields.get(column["name"], {}),
            is_partition_key=column["number"] == partition_column,
            bm25=words_column(column["name"]) in kept_words,
        )
        for column in row.columns
        if column["name"] not in {DYNAMIC_COLUMN, PARTITION_COLUMN}
    ]
    return CollectionSchema(
        fields=tuple(field for field in fields if field is not None),
        dynamic=any(column["name"] == DYNAMIC_COLUMN for column in row.columns),
        description="" if row.description in {None, UNDESCRIBED} else row.description,
        properties=row.properties,
        num_partitions=max(1, len(row.leaves or ())) if row.strategy == "h" else 16,
    )


def _field(column: Mapping[str, Any], kept: Mapping[str, Any], *, is_partition_key: bool, bm25: bool) -> Field | None:
    """A column as a field; None for one of plain SQL that cannot be a field: by its type, its name, or generated.

    bm25  there is a column with its words
    """
    is_array = column["element"] is not None
    stored = DataType.ARRAY if is_array else _TYPE_NAMES.get(column["type"])
    if stored is None or column["generated"]:
        return None
    is_primary = bool(column["primary"]) and not is_partition_key
    usual = DataType.VARCHAR if stored is DataType.TEXT and (is_primary or is_partition_key) else stored
    declared = DataType(kept.get("data_type", usual))
    data_type = declared if _SHARED_TYPES.get(declared, declared) is stored else stored
    attributes: dict[str, Any] = {}
    if data_type.is_vector:
        attributes["dim"] = column["typmod"]
    if data_type is DataType.VARCHAR:
        attributes["max_length"] = kept.get("max_length", 65_535)
    if is_array:
        element = _element_type(column["element"], kept)
        if element is None:
            return None
        attributes["element_type"] = element
        attributes["max_capacity"] = kept.get("max_capacity", 4096)
        attributes["max_length"] = kept.get("max_length", 65_535) if element is DataType.VARCHAR else None
    if stored is DataType.TEXT:
        attributes |= {"text_search": kept.get("text_search"), "bm25": bm25}
    drawn = is_primary and "nextval(" in (column["default"] or "")
    try:
        return Field(
            column["name"],
            data_type,
            primary_key=is_primary,
            auto_id=drawn,
            nullable=not column["not_null"],
            default_value=_default(data_type, kept.get("default_value")),
            partition_key=is_partition_key,
            description=column["description"] or "",
            **attributes,
        )
    except (InvalidName, InvalidSchema):  # a column of plain SQL that is no field of ours
        return None


def _element_type(type_name: str, kept: Mapping[str, Any]) -> DataType | None:
    stored = _TYPE_NAMES.get(type_name)
    if stored is DataType.TEXT:
        return DataType.VARCHAR
    declared = DataType(kept.get("element_type", stored))
    return declared if _SHARED_TYPES.get(declared, declared) is stored else stored


_LIST_BOUND = re.compile(r"FOR VALUES IN \('([A-Za-z0-9_-]+)'(?:::text)?\)")
_HASH_BOUND = re.compile(r"FOR VALUES WITH \(modulus \d+, remainder (\d+)\)")


def _partitions(leaves: Iterable[Mapping[str, str]]) -> tuple[PartitionDescription, ...]:
    """The partitions that have a name; a leaf that somebody made for several values has none."""
    found = []
    for leaf in leaves:
        if listed := _LIST_BOUND.fullmatch(leaf["bound"]):
            found.append(PartitionDescription(listed[1], leaf["table"]))
        elif hashed := _HASH_BOUND.fullmatch(leaf["bound"]):
            found.append(PartitionDescription(f"{DEFAULT_PARTITION}_{hashed[1]}", leaf["table"]))
    return tuple(found)


_CONFIGURATIONS = text("""
    SELECT CASE n.nspname WHEN 'pg_catalog' THEN c.cfgname ELSE n.nspname || '.' || c.cfgname END
    FROM pg_catalog.pg_ts_config c JOIN pg_catalog.pg_namespace n ON n.oid = c.cfgnamespace
    ORDER BY 1
""")


def text_search_configurations(connection: Connection) -> list[str]:
    """The names that a field's text_search can have: bare for PostgreSQL's own, with the schema for all others."""
    return list(connection.execute(_CONFIGURATIONS).scalars())


_LIST_COLLECTIONS = text("""
    SELECT n.nspname AS name, c.oid::int8 AS oid, r.properties, r.created_at
    FROM vecstore.collection_registry r
    JOIN pg_catalog.pg_class c ON c.oid = r.entities AND c.relname = 'entities' AND c.relkind = 'p'
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE r.dropped_at IS NULL
    ORDER BY n.nspname
""")


def collection_summaries(connection: Connection) -> list[CollectionSummary]:
    return [CollectionSummary(*row) for row in connection.execute(_LIST_COLLECTIONS)]


def collection_names(connection: Connection) -> list[str]:
    return list(connection.execute(_LIST_COLLECTIONS).scalars())


_ALIASES = text("""
    SELECT DISTINCT vn.nspname AS alias, cn.nspname AS collection
    FROM vecstore.alias_registry a
    JOIN pg_catalog.pg_class v ON v.oid = a.view
    JOIN pg_catalog.pg_namespace vn ON vn.oid = v.relnamespace
    JOIN pg_catalog.pg_rewrite w ON w.ev_class = v.oid
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
         AND d.refclassid = 'pg_catalog.pg_class'::regclass
    JOIN vecstore.collection_registry r ON r.entities = d.refobjid AND r.dropped_at IS NULL
    JOIN pg_catalog.pg_class c ON c.oid = r.entities
    JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
    ORDER BY 1
""")


def aliases(connection: Connection) -> dict[str, str]:
    """Each alias, and the collection it stands for."""
    return {row.alias: row.collection for row in connection.execute(_ALIASES)}


_SCHEMA_EXISTS = text("SELECT pg_catalog.count(*) > 0 FROM pg_catalog.pg_namespace WHERE nspname = :name")


def schema_exists(connection: Connection, name: str) -> bool:
    """Whether PostgreSQL has a schema of this name, whosever it is."""
    return can_be_looked_up(name) and bool(connection.execute(_SCHEMA_EXISTS, {"name": name}).scalar_one())


_TABLE_EXISTS = text("SELECT pg_catalog.to_regclass(pg_catalog.quote_ident(:name) || '.entities') IS NOT NULL")


def table_exists(connection: Connection, name: str) -> bool:
    """Whether a collection's table is there now, also where the transaction's snapshot still shows it."""
    return bool(connection.execute(_TABLE_EXISTS, {"name": name}).scalar_one())


_DEPENDENTS = text(
    "SELECT oid, kind, name FROM vecstore._dependents(:schema, :table, :with_schema) ORDER BY kind, name"
)


def dependents(connection: Connection, schema: str, table: str, *, with_schema: bool) -> list[Dependent]:
    """What others would lose if the table (with its schema) were dropped; the views of aliases are not among them."""
    parameters = {"schema": schema, "table": table, "with_schema": with_schema}
    return [Dependent(*row) for row in connection.execute(_DEPENDENTS, parameters)]
