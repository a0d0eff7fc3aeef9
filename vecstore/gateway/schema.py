"""Milvus's messages of collections and fields, and ours: each way. Pure.

What Milvus keeps of a field and PostgreSQL has no place for, such as mmap or a clustering key, is kept as it was asked,
in a property of the collection, `milvus.field.<name>`, and shown again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.message import DecodeError
from pymilvus.grpc_gen import common_pb2, schema_pb2

from ..description import CollectionDescription
from ..naming import words_column
from ..schema import TEXTS, CollectionSchema, DataType, Field
from .analyzers import configuration
from .errors import invalid
from .functions import Function, asked_functions, function_message, functions_of, output_message

_Type = schema_pb2.DataType

TYPES: Mapping[int, DataType] = {
    _Type.Bool: DataType.BOOL,
    _Type.Int8: DataType.INT8,
    _Type.Int16: DataType.INT16,
    _Type.Int32: DataType.INT32,
    _Type.Int64: DataType.INT64,
    _Type.Float: DataType.FLOAT,
    _Type.Double: DataType.DOUBLE,
    _Type.VarChar: DataType.VARCHAR,
    _Type.Text: DataType.TEXT,
    _Type.JSON: DataType.JSON,
    _Type.Array: DataType.ARRAY,
    _Type.Timestamptz: DataType.TIMESTAMPTZ,
    _Type.FloatVector: DataType.FLOAT_VECTOR,
    _Type.Float16Vector: DataType.FLOAT16_VECTOR,
    _Type.BFloat16Vector: DataType.BFLOAT16_VECTOR,
    _Type.Int8Vector: DataType.INT8_VECTOR,
    _Type.BinaryVector: DataType.BINARY_VECTOR,
    _Type.SparseFloatVector: DataType.SPARSE_FLOAT_VECTOR,
}
NUMBERS: Mapping[DataType, int] = {ours: number for number, ours in TYPES.items()}

# Milvus numbers the fields of a collection from 100, and the numbers below are its own; PostgreSQL columns from 1.
_FIRST_COLUMN = 99

OWN_PROPERTIES = "milvus."
FIELD_PROPERTY = "milvus.field."
_CLUSTERING_KEY = "is_clustering_key"
_SIZES = frozenset({"dim", "max_length", "max_capacity"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def pairs(messages: Iterable[Any]) -> dict[str, str]:
    """Repeated KeyValuePair as a dict, in order."""
    return {pair.key: pair.value for pair in messages}


def messages(given: Mapping[str, str]) -> list[Any]:
    """A dict as repeated KeyValuePair."""
    return [common_pb2.KeyValuePair(key=name, value=value) for name, value in given.items()]


def parsed(data: bytes, message: Any) -> Any:
    """A message that travels as bytes inside another."""
    try:
        return message.FromString(data)
    except DecodeError:
        raise invalid(f"the schema is no {message.DESCRIPTOR.name}") from None


def collection_schema(asked: Any, properties: Mapping[str, str], num_partitions: int) -> CollectionSchema:
    """A schema of Milvus as ours; raises MilvusError, InvalidSchema or InvalidName for what cannot be had here."""
    if asked.struct_array_fields:
        names = ", ".join(field.name for field in asked.struct_array_fields)
        raise invalid(f"arrays of structs ({names}) are not supported by vecstore: use a JSON field")
    if asked.enable_namespace or asked.external_source:
        raise invalid("namespaces and external collections are not supported by vecstore")
    fields = [it for it in asked.fields if not it.is_dynamic]
    functions = asked_functions(asked.functions, {it.name: it for it in fields})
    keys = [it.name for it in fields if it.is_primary_key]
    if not keys:
        raise invalid("primary key is not specified")
    if len(keys) > 1:
        raise invalid(f"there are more than one primary key, field name = {keys[0]}, {keys[1]}")
    sources, made = {it.input for it in functions}, {it.output for it in functions}
    stored = [it for it in fields if it.name not in made]
    kept = {name: value for it in stored for name, value in field_property(it).items()}
    kept |= {it.property_name: it.kept for it in functions}
    return CollectionSchema(
        tuple(field(it, auto_id=asked.autoID and it.is_primary_key, bm25=it.name in sources) for it in stored),
        dynamic=asked.enable_dynamic_field,
        description=asked.description,
        properties={**properties, **kept},
        num_partitions=num_partitions or 16,
    )


def field(asked: Any, *, auto_id: bool = False, bm25: bool = False) -> Field:
    """A field of Milvus as ours; raises MilvusError or InvalidSchema.

    bm25  a function makes a field of it
    """
    data_type = _data_type(asked.name, asked.data_type)
    params = pairs(asked.type_params)
    needs_words = bm25 or params.get("enable_match", "").lower() == "true"
    has_text = data_type is DataType.VARCHAR or (data_type is DataType.ARRAY and asked.element_type == _Type.VarChar)
    return Field(
        asked.name,
        data_type,
        primary_key=asked.is_primary_key,
        auto_id=asked.autoID or auto_id,
        dim=_size(asked.name, params, "dim") if _has_dim(data_type) else None,
        max_length=_size(asked.name, params, "max_length") if has_text else None,
        element_type=_data_type(asked.name, asked.element_type) if data_type is DataType.ARRAY else None,
        max_capacity=_size(asked.name, params, "max_capacity") if data_type is DataType.ARRAY else None,
        nullable=asked.nullable,
        default_value=_default(asked, data_type),
        partition_key=asked.is_partition_key,
        text_search=configuration(f"field {asked.name}", params, needed=needs_words) if data_type in TEXTS else None,
        bm25=bm25,
        description=asked.description,
    )


def _has_dim(data_type: DataType) -> bool:
    return data_type.is_vector and data_type is not DataType.SPARSE_FLOAT_VECTOR


def _data_type(name: str, number: int) -> DataType:
    if number == _Type.String:
        raise invalid(f"string data type not supported yet, please use VarChar type instead, field name: {name}")
    if number not in TYPES:
        known = _Type.Name(number) if number in _Type.values() else number
        raise invalid(f"field {name}: data type {known} is not supported by vecstore")
    return TYPES[number]


def _size(name: str, params: Mapping[str, str], size: str) -> int | None:
    value = params.get(size)
    if value is None:
        if size == "dim":
            raise invalid(
                f"dimension is not defined in field type params of field {name}, check type param `dim` for vector "
                "field"
            )
        raise invalid(f"type param({size}) should be specified for the field({name})")
    try:
        return int(value)
    except ValueError:
        raise invalid(f"the value for {size} of field {name} must be an integer, got {value!r:.40}") from None


def _default(asked: Any, data_type: DataType) -> Any:
    kind = asked.default_value.WhichOneof("data") if asked.HasField("default_value") else None
    if kind is None:
        return None
    value = getattr(asked.default_value, kind)
    if data_type is DataType.TIMESTAMPTZ:
        return _moment(value)
    return value


def _moment(value: int | str) -> datetime:
    """A time as Milvus sends a default: text of ISO 8601, or microseconds since 1970."""
    if isinstance(value, int):
        return _EPOCH + timedelta(microseconds=value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise invalid(f"invalid timestamp {value!r:.60}: expected ISO 8601") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def field_property(asked: Any) -> dict[str, str]:
    """The property that keeps what is not in a Field; empty where there is nothing."""
    kept = {name: value for name, value in pairs(asked.type_params).items() if name not in _SIZES}
    if asked.is_clustering_key:
        kept[_CLUSTERING_KEY] = "true"
    return {f"{FIELD_PROPERTY}{asked.name}": json.dumps(kept)} if kept else {}


def kept_of_field(properties: Mapping[str, str], name: str) -> dict[str, str]:
    """What field_property() has kept of a field."""
    try:
        kept = json.loads(properties.get(f"{FIELD_PROPERTY}{name}", "{}"))
    except ValueError:
        return {}
    return {key: str(value) for key, value in kept.items()} if isinstance(kept, dict) else {}


def shown_properties(properties: Mapping[str, str]) -> dict[str, str]:
    """The properties without those that the gateway keeps for itself."""
    return {name: value for name, value in properties.items() if not name.startswith(OWN_PROPERTIES)}


def schema_message(found: CollectionDescription) -> Any:
    """A collection's schema as Milvus shows it."""
    schema = found.schema
    return schema_pb2.CollectionSchema(
        name=found.name,
        description=schema.description,
        autoID=schema.primary_key.auto_id,
        enable_dynamic_field=schema.dynamic,
        fields=list(_field_messages(found)),
        functions=[
            function_message(it, field_id(found, it.input), output_id(found, it)) for it in functions_of(schema)
        ],
        properties=messages(shown_properties(schema.properties)),
    )


def _field_messages(found: CollectionDescription) -> Iterator[Any]:
    """What a function makes comes after what it is made of, as its number does."""
    made = {it.input: it for it in functions_of(found.schema)}
    for it in found.schema.fields:
        yield field_message(it, field_id(found, it.name), kept_of_field(found.schema.properties, it.name))
        if it.name in made:
            yield output_message(made[it.name], output_id(found, made[it.name]))


def field_message(ours: Field, number: int, kept: Mapping[str, str]) -> Any:
    sizes = {
        "dim": ours.dim if _has_dim(ours.data_type) else None,
        "max_length": ours.max_length,
        "max_capacity": ours.max_capacity,
    }
    params = {name: str(size) for name, size in sizes.items() if size is not None}
    return schema_pb2.FieldSchema(
        fieldID=number,
        name=ours.name,
        is_primary_key=ours.primary_key,
        description=ours.description,
        data_type=NUMBERS[ours.data_type],
        type_params=messages(params | {name: value for name, value in kept.items() if name != _CLUSTERING_KEY}),
        autoID=ours.auto_id,
        element_type=_Type.Value("None") if ours.element_type is None else NUMBERS[ours.element_type],
        default_value=_default_message(ours),
        is_partition_key=ours.partition_key,
        is_clustering_key=kept.get(_CLUSTERING_KEY) == "true",
        nullable=ours.nullable,
    )


_DEFAULT_KINDS: Mapping[DataType, str] = {
    DataType.BOOL: "bool_data",
    DataType.INT8: "int_data",
    DataType.INT16: "int_data",
    DataType.INT32: "int_data",
    DataType.INT64: "long_data",
    DataType.FLOAT: "float_data",
    DataType.DOUBLE: "double_data",
}


def _default_message(ours: Field) -> Any:
    value = ours.default_value
    if value is None:
        return None
    if isinstance(value, datetime):
        value = value.isoformat()
    return schema_pb2.ValueField(**{_DEFAULT_KINDS.get(ours.data_type, "string_data"): value})


def field_id(found: CollectionDescription, name: str) -> int:
    """The number of a field, which stays the same whatever becomes of others, and is given to no other field."""
    return _FIRST_COLUMN + found.numbers[name]


def output_id(found: CollectionDescription, function: Function) -> int:
    """The number of the field that a function makes: that of the column which keeps the words."""
    return field_id(found, words_column(function.input))
