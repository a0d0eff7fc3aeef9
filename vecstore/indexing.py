"""What an index is built on: a field, or a place in JSON, as SQL. Pure.

PostgreSQL uses an index on an expression only for conditions that have the very same one: these are the filters' own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Table

from .ddl import IndexKey, Name
from .errors import FieldNotFound, InvalidArgument
from .filters import FilterError, parse, tree
from .filters.binding import Scope
from .filters.errors import Fault
from .filters.operands import ElementOf, FieldOf, Kind, PathOf
from .filters.values import typed_at
from .naming import path_text
from .recognition import index_comment
from .schema import (
    Btree,
    CollectionSchema,
    DataType,
    Field,
    Hnsw,
    IndexSpec,
    IvfFlat,
    check_index,
    check_json_index,
)
from .tables import half_precision, operator_class
from .words import configuration_of, text_vector

_KINDS = {DataType.VARCHAR: Kind.STRING, DataType.DOUBLE: Kind.FLOAT, DataType.BOOL: Kind.BOOL}

# Equality, the filters' order by bytes and LIKE, whatever the collation of the database; text_ops has one of them.
_BY_BYTES = Name("pg_catalog", "text_pattern_ops")
# All that containment needs; jsonb_ops takes twice the time to build.
_CONTAINMENT = Name("pg_catalog", "jsonb_path_ops")


@dataclass(frozen=True, slots=True, eq=False)
class Indexed:
    """What an index is on.

    name     as a description shows it and create_index() takes it: a field's name, "$meta", "meta['lang']"
    spec     how it is indexed
    field    None for keys that are not fields
    key      what the index holds
    meaning  what the catalogue could not tell of the key
    properties  free text pairs that travel with the index
    """

    name: str
    spec: IndexSpec
    field: Field | None
    key: IndexKey
    meaning: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    properties: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def comment(self) -> str | None:
        """What COMMENT ON INDEX says of it; None for nothing."""
        return index_comment(self.meaning, self.properties) if self.meaning or self.properties else None

    @property
    def kind(self) -> str:
        """What tells it from other indexes on the same."""
        if isinstance(self.spec, Hnsw | IvfFlat):
            return self.spec.metric
        return (self.spec.cast if isinstance(self.spec, Btree) else None) or type(self.spec).__name__


def indexed(schema: CollectionSchema, table: Table, name: str, spec: IndexSpec, extension_schema: str) -> Indexed:
    """Look up what a name or path stands for; raises FieldNotFound, and InvalidArgument for what has no such index."""
    target = _target(schema, name, spec)
    if isinstance(target, PathOf):
        return _on_path(schema, table.c[target.column], target, spec)
    check_index(spec, target)
    return _on_field(target, table.c[target.name], spec, extension_schema)


def _target(schema: CollectionSchema, name: str, spec: IndexSpec) -> Field | PathOf:
    if not isinstance(name, str) or name in schema.by_name or isinstance(spec, Hnsw | IvfFlat):
        field = schema.field(name)
        return PathOf(field.name, (), 0) if field.data_type is DataType.JSON else field
    node = _node(name)
    if node is None:
        known = ", ".join(schema.by_name)
        raise FieldNotFound(f"{name!r:.80} is neither a field nor a path into JSON; fields: {known}")
    try:
        target = Scope(schema, {}).target(node)
    except Fault as fault:
        raise FieldNotFound(f"{name!r:.80}: {fault.why}; fields: {', '.join(schema.by_name)}") from None
    if isinstance(target, ElementOf):
        raise InvalidArgument(f"{name!r} is an element of an array: use Gin on {target.field.name!r} as a whole")
    return target.field if isinstance(target, FieldOf) else target


def _node(name: str) -> tree.Name | None:
    try:
        node = parse(name)
    except FilterError:
        return None
    return node if isinstance(node, tree.Name) else None


def _on_path(schema: CollectionSchema, column: ColumnElement[Any], path: PathOf, spec: IndexSpec) -> Indexed:
    name = path_text(path.column, path.keys)
    check_json_index(spec, name, is_whole=not path.keys)
    field = schema.by_name.get(path.column)
    if not isinstance(spec, Btree) or spec.cast is None:
        return Indexed(name, spec, field, IndexKey(column, _CONTAINMENT))
    operators = _BY_BYTES if spec.cast is DataType.VARCHAR else None
    key = IndexKey(typed_at(column, path.keys, _KINDS[spec.cast]), operators)
    return Indexed(name, spec, field, key, {"keys": path.keys, "cast": spec.cast})


def _on_field(field: Field, column: ColumnElement[Any], spec: IndexSpec, extension_schema: str) -> Indexed:
    is_text = field.data_type in {DataType.VARCHAR, DataType.TEXT}
    if isinstance(spec, Hnsw | IvfFlat):
        vector = half_precision(column, field, extension_schema) if field.indexed_in_half_precision else column
        key = IndexKey(vector, Name(extension_schema, operator_class(field, spec.metric)))
    elif isinstance(spec, Btree):
        key = IndexKey(column, _BY_BYTES if is_text else None)
    elif is_text and field.bm25:
        key = IndexKey(text_vector(field, column))
    elif is_text:
        meaning = {"text_search": configuration_of(field)}
        return Indexed(field.name, spec, field, IndexKey(text_vector(field, column)), meaning)
    else:
        key = IndexKey(column)
    return Indexed(field.name, spec, field, key)
