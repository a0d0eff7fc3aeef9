"""Functions: BM25, whose output is a field for clients and no column of the table. Pure.

A client declares a text, a sparse vector, and the function that makes the one of the other. Here the text has bm25, and
what the client knows of the function is kept as a property of the collection, `milvus.function.<name>`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pymilvus.grpc_gen import schema_pb2

from ..schema import CollectionSchema
from .errors import Fault, MilvusError, invalid

_PROPERTY = "milvus.function."
_Type = schema_pb2.DataType
_TEXTS = frozenset({_Type.VarChar, _Type.Text})
_BM25 = schema_pb2.FunctionType.BM25


@dataclass(frozen=True, slots=True)
class Function:
    """What makes the field `output` of the field `input`, which is a text with bm25."""

    name: str
    input: str
    output: str
    description: str
    output_description: str

    @property
    def property_name(self) -> str:
        return f"{_PROPERTY}{self.name}"

    @property
    def kept(self) -> str:
        return json.dumps({name: value for name, value in asdict(self).items() if name != "name"})


def functions_of(schema: CollectionSchema) -> list[Function]:
    """The functions of a collection, as far as their input is still so."""
    kept = {name: value for name, value in schema.properties.items() if name.startswith(_PROPERTY)}
    found = (_loaded(name.removeprefix(_PROPERTY), value) for name, value in kept.items())
    fields = schema.by_name
    return [it for it in found if it is not None and it.input in fields and fields[it.input].bm25]


def _loaded(name: str, kept: str) -> Function | None:
    try:
        return Function(name=name, **json.loads(kept))
    except (ValueError, TypeError):
        return None


def function_of(schema: CollectionSchema, output: str) -> Function | None:
    """The function that makes a field; None for an ordinary field."""
    return next((it for it in functions_of(schema) if it.output == output), None)


def refuse_output(schema: CollectionSchema, names: Iterable[str]) -> None:
    """What a function makes is looked for, and never read."""
    outputs = {it.output for it in functions_of(schema)}
    for name in names:
        if name in outputs:
            raise invalid(f"not allowed to retrieve raw data of field {name}")


def asked_functions(asked: Iterable[Any], fields: Mapping[str, Any]) -> list[Function]:
    """The functions of a schema, by the messages of its fields; raises MilvusError in Milvus's words."""
    found = [_checked(it, fields) for it in asked]
    check_different(found)
    return found


def check_different(functions: Iterable[Function]) -> None:
    """Raise MilvusError where two have something in common that only one can have."""
    seen = set[tuple[str, str]]()
    for it in functions:
        for what, value in (
            ("duplicate function name", it.name),
            ("duplicate function output field", it.output),
            ("vecstore has one BM25 function of a field, not two", it.input),
        ):
            if (what, value) in seen:
                raise invalid(f"{what}: {value}")
            seen.add((what, value))


def _checked(asked: Any, fields: Mapping[str, Any]) -> Function:
    if asked.type != _BM25:
        raise invalid(
            f"functions ({asked.name}) are not computed by vecstore: insert their output as an ordinary field"
        )
    if not asked.name:
        raise MilvusError(Fault.MISSING_PARAMETER, "function name cannot be empty")
    if asked.params:
        raise invalid("BM25 function accepts no params")
    source = _only_field("input", asked.input_field_names, fields)
    made = _only_field("output", asked.output_field_names, fields)
    if source.data_type not in _TEXTS:
        kind = _Type.Name(source.data_type)
        raise invalid(f"BM25 function input field must be a VARCHAR/TEXT field, got 1 field with type {kind}")
    if {pair.key: pair.value for pair in source.type_params}.get("enable_analyzer", "").lower() != "true":
        raise invalid("BM25 function input field must set enable_analyzer to true")
    _check_output(asked.name, made)
    return Function(asked.name, source.name, made.name, asked.description, made.description)


def _only_field(kind: str, names: Iterable[str], fields: Mapping[str, Any]) -> Any:
    listed = list(names)
    if len(listed) != 1:
        raise invalid(f"BM25 function only need 1 {kind} field, but got {len(listed)}")
    if listed[0] not in fields:
        raise invalid(f"function {kind} field not found: {listed[0]}")
    return fields[listed[0]]


def _check_output(function: str, made: Any) -> None:
    if made.data_type != _Type.SparseFloatVector:
        kind = _Type.Name(made.data_type)
        raise invalid(f"BM25 function output field must be a SparseFloatVector field, but got {kind}")
    for what, is_so in _forbidden(made):
        if is_so:
            raise invalid(f"function output field cannot be {what}: function {function}, field {made.name}")


def _forbidden(made: Any) -> Iterator[tuple[str, bool]]:
    yield "primary key", made.is_primary_key
    yield "partition key or clustering key", made.is_partition_key or made.is_clustering_key
    yield "nullable", made.nullable


def output_message(function: Function, number: int) -> Any:
    """The field that a function makes, as Milvus shows it."""
    return schema_pb2.FieldSchema(
        fieldID=number,
        name=function.output,
        description=function.output_description,
        data_type=_Type.SparseFloatVector,
        is_function_output=True,
    )


def function_message(function: Function, source: int, made: int) -> Any:
    """source, made: the numbers of its fields."""
    return schema_pb2.FunctionSchema(
        name=function.name,
        id=made,
        description=function.description,
        type=_BM25,
        input_field_names=[function.input],
        input_field_ids=[source],
        output_field_names=[function.output],
        output_field_ids=[made],
    )
