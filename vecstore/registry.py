"""The rows of the registries: statements that write them. Pure; catalog.py and trash.py read them.

Every name is resolved by PostgreSQL (`regclass`), in the transaction of the change that the row records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
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

_LOCK_COLLECTION = text("""
    SELECT 1 FROM vecstore.collection_registry WHERE entities = CAST(CAST(:oid AS oid) AS regclass) FOR UPDATE
""")

_MARK_DROPPED = text("""
    UPDATE vecstore.collection_registry SET dropped_at = pg_catalog.now(), dropped_name = :name
    WHERE entities = CAST(CAST(:oid AS oid) AS regclass)
""")

_TRASH_COLLECTION = text("""
    INSERT INTO vecstore.trash_registry (id, relation, collection, aliases, fields, properties, created_at, kept_until)
    SELECT :id, r.entities, :name, :aliases, r.fields, r.properties, r.created_at,
           pg_catalog.now() + CAST(:keep AS interval)
    FROM vecstore.collection_registry r
    WHERE r.entities = CAST(CAST(:oid AS oid) AS regclass)
""")

_TRASH_PARTITION = text("""
    INSERT INTO vecstore.trash_registry (id, relation, collection, partition, parent, indexes, kept_until)
    SELECT :id, c.oid::regclass, :collection, :partition, CAST(CAST(:parent AS oid) AS regclass),
           ARRAY(SELECT x.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
                 JOIN pg_catalog.pg_inherits h ON h.inhrelid = x.oid WHERE i.indrelid = c.oid ORDER BY x.oid),
           pg_catalog.now() + CAST(:keep AS interval)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :collection AND c.relname = :leaf
""")

_FORGET_TRASH = text("DELETE FROM vecstore.trash_registry WHERE id = :id")

_FORGET_LOST_TRASH = text("""
    DELETE FROM vecstore.trash_registry t WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.relation)
""")

_TAKE_BACK = text("""
    INSERT INTO vecstore.collection_registry (entities, fields, properties, created_at)
    SELECT t.relation, t.fields, t.properties, t.created_at FROM vecstore.trash_registry t WHERE t.id = :id
""")

_GIVE_UP = text("""
    INSERT INTO vecstore.collection_registry (entities, fields, properties, created_at, dropped_at, dropped_name)
    SELECT t.relation, t.fields, t.properties, t.created_at, t.dropped_at, t.collection
    FROM vecstore.trash_registry t WHERE t.id = :id
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


def lock_collection(oid: int) -> Executable:
    """Keep the row for us until the transaction ends; no row where it is gone, or belongs to another role."""
    return _LOCK_COLLECTION.bindparams(oid=oid)


def forget_collection(oid: int) -> Executable:
    return _FORGET_COLLECTION.bindparams(oid=oid)


def mark_dropped(oid: int, name: str) -> Executable:
    return _MARK_DROPPED.bindparams(oid=oid, name=name)


def move_to_trash(oid: int, name: str, *, number: int, aliases: Sequence[str], keep: timedelta) -> Iterator[Executable]:
    yield _TRASH_COLLECTION.bindparams(oid=oid, name=name, id=number, aliases=list(aliases), keep=keep)
    yield forget_collection(oid)


def move_partition_to_trash(
    collection: str, parent: int, partition: str, leaf: str, *, number: int, keep: timedelta
) -> Executable:
    """While it is still attached: which of its indexes are parts of the collection's is known by that."""
    values = {"collection": collection, "parent": parent, "partition": partition, "leaf": leaf}
    return _TRASH_PARTITION.bindparams(**values, id=number, keep=keep)


def take_back(number: int) -> Iterator[Executable]:
    """A collection of the trash is one again."""
    yield _TAKE_BACK.bindparams(id=number)
    yield forget_trash(number)


def give_up(number: int) -> Iterator[Executable]:
    """A collection of the trash cannot be taken back any more: it is being freed."""
    yield _GIVE_UP.bindparams(id=number)
    yield forget_trash(number)


def forget_trash(number: int) -> Executable:
    return _FORGET_TRASH.bindparams(id=number)


def forget_lost_trash() -> Executable:
    """What somebody dropped from the trash by plain SQL."""
    return _FORGET_LOST_TRASH


def register_alias(alias: str) -> Executable:
    return _REGISTER_ALIAS.bindparams(alias=alias)


def forget_alias(alias: str) -> Executable:
    return _FORGET_ALIAS.bindparams(alias=alias)
