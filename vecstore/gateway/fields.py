"""The schema of a collection that is there: fields added, altered, dropped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pymilvus.grpc_gen import schema_pb2

from ..description import CollectionDescription
from ..schema import Field, Gin
from ..store import Store
from .asked import forgotten_with_field
from .call import Call
from .errors import invalid
from .functions import asked_functions, check_different, function_of, functions_of
from .indexes import function_index
from .schema import FIELD_PROPERTY, field, field_id, field_message, field_property, kept_of_field, pairs, parsed

_DESCRIPTION = "field.description"
# How a field is to be cached, which is kept and shown. Of all else, such as a dimension, what is shown must be so.
_CACHING = frozenset({"mmap.enabled", "mmap_enabled", "warmup"})
_ALTERABLE = frozenset({"max_length", "max_capacity", _DESCRIPTION}) | _CACHING


def add_collection_field(call: Call, request: Any) -> None:
    """The RPC of older clients."""
    found = call.described(request.collection_name)
    _add(call, found, parsed(request.schema, schema_pb2.FieldSchema))


def alter_collection_schema(call: Call, request: Any) -> None:
    action = request.action
    found = call.described(request.collection_name)
    if action.HasField("drop_request"):
        _drop(call, found, action.drop_request)
        return
    if action.add_request.func_schema:
        _add_function(call, found, action.add_request)
        return
    if any(info.extra_params for info in action.add_request.field_infos):
        raise invalid("a field and its index cannot be added in one call: create_index() after it")
    _add(call, found, *(info.field_schema for info in action.add_request.field_infos))


def _add(call: Call, found: CollectionDescription, *asked: Any) -> None:
    added = [_addable(it) for it in asked]
    for it in added:
        if function_of(found.schema, it.name) is not None:
            raise invalid(f"duplicate field name: {it.name}")
    kept = {key: value for it in asked for key, value in field_property(it).items()}

    def work(together: Store) -> None:
        collection = together.collection(found.name, check=False)
        for it in added:
            collection.add_field(it)
        collection.alter(properties=kept)

    call.store.change(work)


def _addable(asked: Any) -> Field:
    added = field(asked)
    if added.primary_key or added.partition_key or added.auto_id:
        raise invalid(f"field {added.name} cannot be a key: keys are declared with the collection")
    if not added.nullable and added.default_value is None:
        raise invalid(f"added field must be nullable, please check it, field name = {added.name}")
    return added


def _add_function(call: Call, found: CollectionDescription, asked: Any) -> None:
    """The words of a text are kept and indexed from now on: the table is written anew, in one transaction."""
    if len(asked.func_schema) != 1 or len(asked.field_infos) != 1:
        raise invalid("a function is added with the one field that it makes")
    info, schema = asked.field_infos[0], found.schema
    fields = {it.name: field_message(it, 0, kept_of_field(schema.properties, it.name)) for it in schema.fields}
    if info.field_schema.name in fields or function_of(schema, info.field_schema.name) is not None:
        raise invalid(f"duplicate field name: {info.field_schema.name}")
    fields[info.field_schema.name] = info.field_schema
    [added] = asked_functions(asked.func_schema, fields)
    check_different([*functions_of(schema), added])
    ranked = field(fields[added.input], bm25=True)
    index = function_index(found, added, info.index_name, pairs(info.extra_params))

    def work(together: Store) -> None:
        collection = together.collection(found.name, check=False)
        collection.alter_field(replace(schema.by_name[added.input], bm25=True, text_search=ranked.text_search))
        collection.create_index(**index)
        collection.alter(properties={added.property_name: added.kept})

    call.store.change(work)


def _drop_function(call: Call, found: CollectionDescription, name: str) -> None:
    """With what it makes: the words of the text, and their index."""
    functions = functions_of(found.schema)
    dropped = next((it for it in functions if it.name == name), None)
    if dropped is None:
        raise invalid(f"function not found: {name}")
    if not found.schema.vector_fields and len(functions) == 1:
        raise invalid(f"cannot drop function {name}: it would leave no vector field in the collection")
    source = dropped.input
    held = [it.name for it in found.indexes if it.field == source and isinstance(it.spec, Gin)]

    def work(together: Store) -> None:
        collection = together.collection(found.name, check=False)
        for index in held:
            collection.drop_index(index)
        collection.alter_field(replace(found.schema.by_name[source], bm25=False))
        collection.alter(delete_properties=[dropped.property_name])

    call.store.change(work)


def _drop(call: Call, found: CollectionDescription, asked: Any) -> None:
    kind = asked.WhichOneof("identifier")
    if kind == "function_name":
        _drop_function(call, found, asked.function_name)
        return
    dropped = _named(found, asked)
    _check_droppable(found, dropped)
    forgotten = [f"{FIELD_PROPERTY}{dropped.name}", *forgotten_with_field(found, dropped.name)]

    def work(together: Store) -> None:
        collection = together.collection(found.name, check=False)
        collection.drop_field(dropped.name)
        collection.alter(delete_properties=forgotten)

    call.store.change(work)


def _named(found: CollectionDescription, asked: Any) -> Field:
    name = asked.field_name
    if not name and asked.field_id:
        numbered = (it.name for it in found.schema.fields if field_id(found, it.name) == asked.field_id)
        name = next(numbered, str(asked.field_id))
    if not name:
        raise invalid(
            "Must specify exactly one valid Drop identifier (drop_field_name/drop_field_id/drop_function_name)"
        )
    function = function_of(found.schema, name)
    if function is not None:
        raise invalid(f"field is referenced by function {function.name} as output, drop function first")
    if name not in found.schema.by_name:
        raise invalid(f"field not found: {name}")
    return found.schema.by_name[name]


def _check_droppable(found: CollectionDescription, dropped: Field) -> None:
    for it in functions_of(found.schema):
        if it.input == dropped.name:
            raise invalid(f"field is referenced by function {it.name} as input, drop function first")
    if dropped.primary_key:
        raise invalid(f"cannot drop primary key field: {dropped.name}")
    if dropped.partition_key:
        raise invalid(f"cannot drop partition key field: {dropped.name}")
    if found.schema.vector_fields == (dropped,):
        raise invalid(f"cannot drop the last vector field: {dropped.name}")


def alter_collection_field(call: Call, request: Any) -> None:
    """max_length, max_capacity and the description change the column; how it is to be cached is kept and shown."""
    found = call.described(request.collection_name)
    if request.field_name not in found.schema.by_name:
        raise invalid(f"field not found: {request.field_name}")
    before = found.schema.by_name[request.field_name]
    given = pairs(request.properties)
    _check_alterable(given, request.delete_keys)
    after = before
    if "max_length" in given:
        after = replace(after, max_length=_number("max_length", given.pop("max_length")))
    if "max_capacity" in given:
        after = replace(after, max_capacity=_number("max_capacity", given.pop("max_capacity")))
    if _DESCRIPTION in given:
        after = replace(after, description=given.pop(_DESCRIPTION))
    kept = {**kept_of_field(found.schema.properties, before.name), **given}
    kept = {name: value for name, value in kept.items() if name not in request.delete_keys}

    def work(together: Store) -> None:
        collection = together.collection(found.name, check=False)
        if after != before:
            collection.alter_field(after)
        collection.alter(properties={f"{FIELD_PROPERTY}{before.name}": json.dumps(kept)})

    call.store.change(work)


def _check_alterable(given: Iterable[str], deleted: Iterable[str]) -> None:
    for name in given:
        if name not in _ALTERABLE:
            raise invalid(f"{name:.80} does not allow update in collection field param")
    for name in deleted:
        if name not in _CACHING:
            raise invalid(f"{name:.80} is not allowed to drop in collection field param")


def _number(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise invalid(f"the value for {name} must be an integer, got {value!r:.40}") from None


CALLS = {
    "AddCollectionField": add_collection_field,
    "AlterCollectionField": alter_collection_field,
    "AlterCollectionSchema": alter_collection_schema,
}
