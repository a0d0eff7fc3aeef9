"""The rows of the registry: statements that write them. Pure; catalog.py reads them.

Every name is resolved by PostgreSQL (`regclass`), in the transaction of the change that the row records.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Executable, text

from .catalog import field_attributes
from .schema import CollectionSchema

_REGISTER_COLLECTION = text("""
    INSERT INTO vecstore.collection_registry (entities, fields, properties)
    SELECT c.oid::regclass, CAST(:fields AS jsonb), CAST(:properties AS jsonb)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :name AND c.relname = 'entities'
""")

_FORGET_COLLECTION = text("""
    DELETE FROM vecstore.collection_registry WHERE entities = CAST(CAST(:oid AS oid) AS regclass)
""")

_REGISTER_FIELD = text("""
    UPDATE vecstore.collection_registry r
    SET fields = (r.fields - CAST(:field AS text)) || CAST(:attributes AS jsonb)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = r.entities AND n.nspname = :name AND c.relname = 'entities'
""")

_REGISTER_PROPERTIES = text("""
    UPDATE vecstore.collection_registry r
    SET properties = CAST(:properties AS jsonb)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = r.entities AND n.nspname = :name AND c.relname = 'entities'
""")

_MARK_DROPPED = text("""
    UPDATE vecstore.collection_registry SET dropped_at = pg_catalog.now(), dropped_name = :name
    WHERE entities = CAST(CAST(:oid AS oid) AS regclass)
""")

_REGISTER_ALIAS = text("""
    INSERT INTO vecstore.alias_registry (view)
    SELECT c.oid::regclass
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :alias AND c.relname = 'entities'
""")

_FORGET_ALIAS = text("""
    DELETE FROM vecstore.alias_registry a
    USING pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = a.view AND n.nspname = :alias AND c.relname = 'entities'
""")


def register_collection(name: str, schema: CollectionSchema) -> Executable:
    values: Mapping[str, Any] = {
        "name": name,
        "fields": json.dumps(field_attributes(schema)),
        "properties": json.dumps(dict(schema.properties)),
    }
    return _REGISTER_COLLECTION.bindparams(**values)


def register_field(name: str, schema: CollectionSchema, field: str) -> Executable:
    """A field of a collection as the schema has it; one that it has no longer is forgotten."""
    attributes = field_attributes(schema).get(field)
    kept = json.dumps({} if attributes is None else {field: attributes})
    return _REGISTER_FIELD.bindparams(name=name, field=field, attributes=kept)


def register_properties(name: str, properties: Mapping[str, str]) -> Executable:
    return _REGISTER_PROPERTIES.bindparams(name=name, properties=json.dumps(dict(properties)))


def forget_collection(oid: int) -> Executable:
    return _FORGET_COLLECTION.bindparams(oid=oid)


def mark_dropped(oid: int, name: str) -> Executable:
    return _MARK_DROPPED.bindparams(oid=oid, name=name)


def register_alias(alias: str) -> Executable:
    return _REGISTER_ALIAS.bindparams(alias=alias)


def forget_alias(alias: str) -> Executable:
    return _FORGET_ALIAS.bindparams(alias=alias)
