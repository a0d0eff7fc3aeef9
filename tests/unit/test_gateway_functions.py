"""Functions and analyzers of Milvus, in its messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pymilvus.grpc_gen import schema_pb2

from vecstore.gateway.analyzers import configuration
from vecstore.gateway.errors import MilvusError
from vecstore.gateway.functions import functions_of
from vecstore.gateway.schema import collection_schema
from vecstore.schema import CollectionSchema, DataType, Field

BM25 = schema_pb2.FunctionType.BM25
ANALYZED = {"max_length": "9", "enable_analyzer": "true"}


def field(name: str, kind: int, params: dict[str, str] | None = None, **changes: Any) -> schema_pb2.FieldSchema:
    pairs = [{"key": key, "value": value} for key, value in (params or {}).items()]
    return schema_pb2.FieldSchema(name=name, data_type=kind, type_params=pairs, **changes)


def function(**changes: Any) -> dict[str, Any]:
    return {"name": "f", "type": BM25, "input_field_names": ["text"], "output_field_names": ["words"], **changes}


def asked(*functions: dict[str, Any], **changes: Any) -> schema_pb2.CollectionSchema:
    """changes  of the fields by their names"""
    fields = {
        "id": field("id", schema_pb2.Int64, is_primary_key=True),
        "text": field("text", schema_pb2.VarChar, ANALYZED),
        "other": field("other", schema_pb2.Text, ANALYZED),
        "words": field("words", schema_pb2.SparseFloatVector, description="of the text"),
        "more": field("more", schema_pb2.SparseFloatVector),
        **changes,
    }
    made = [schema_pb2.FunctionSchema(**it) for it in functions]
    return schema_pb2.CollectionSchema(fields=list(fields.values()), functions=made)


def test_what_a_function_makes_is_no_field_of_ours_and_its_text_is_ranked() -> None:
    schema = collection_schema(asked(function(description="d")), {}, 0)
    assert {it.name: it.bm25 for it in schema.fields} == {"id": False, "text": True, "other": False, "more": False}
    (found,) = functions_of(schema)
    assert (found.name, found.input, found.output) == ("f", "text", "words")
    assert (found.description, found.output_description) == ("d", "of the text")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (asked(function(type=schema_pb2.FunctionType.TextEmbedding)), r"functions \(f\) are not computed"),
        (asked(function(name="")), "function name cannot be empty"),
        (asked(function(params=[{"key": "k", "value": "v"}])), "BM25 function accepts no params"),
        (asked(function(input_field_names=["text", "other"])), "only need 1 input field, but got 2"),
        (asked(function(output_field_names=[])), "only need 1 output field, but got 0"),
        (asked(function(input_field_names=["nothing"])), "function input field not found: nothing"),
        (asked(function(output_field_names=["nothing"])), "function output field not found: nothing"),
        (asked(function(input_field_names=["id"])), "must be a VARCHAR/TEXT field, got 1 field with type Int64"),
        (asked(function(), text=field("text", schema_pb2.VarChar, {"max_length": "9"})), "must set enable_analyzer"),
        (asked(function(output_field_names=["other"])), "must be a SparseFloatVector field, but got Text"),
        (
            asked(function(), words=field("words", schema_pb2.SparseFloatVector, nullable=True)),
            "function output field cannot be nullable: function f, field words",
        ),
        (
            asked(function(), words=field("words", schema_pb2.SparseFloatVector, is_clustering_key=True)),
            "cannot be partition key or clustering key",
        ),
        (
            asked(function(), function(input_field_names=["other"], output_field_names=["more"])),
            "duplicate function name: f",
        ),
        (
            asked(function(), function(name="g", input_field_names=["other"])),
            "duplicate function output field: words",
        ),
        (asked(function(), function(name="g", output_field_names=["more"])), "one BM25 function of a field, not two"),
    ],
)
def test_a_function_that_cannot_be_had_is_refused(schema: schema_pb2.CollectionSchema, said: str) -> None:
    with pytest.raises(MilvusError, match=said):
        collection_schema(schema, {}, 0)


@pytest.mark.parametrize("kept", ["{", "[]", '{"input": "text"}', '{"input": "other", "output": "words"}'])
def test_a_property_that_somebody_changed_is_no_function(kept: str) -> None:
    fields = (Field("id", DataType.INT64, primary_key=True), Field("text", DataType.TEXT, bm25=True))
    assert functions_of(CollectionSchema(fields, properties={"milvus.function.f": kept})) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{", "analyzer_params is no JSON"),
        ('"english"', "must be an object of JSON"),
        (json.dumps({"tokenizer": {"type": "icu"}}), "the tokenizer icu is not supported"),
        (json.dumps({"filter": "asciifolding"}), "the filter asciifolding is not supported"),
        (
            json.dumps(
                {"filter": [{"type": "stemmer", "language": "english"}, {"type": "stemmer", "language": "dutch"}]}
            ),
            "a stemmer of several languages is not supported",
        ),
    ],
)
def test_an_analyzer_that_cannot_be_had_is_refused(given: str, said: str) -> None:
    with pytest.raises(MilvusError, match=said):
        configuration("text", {"analyzer_params": given}, needed=True)


def test_an_analyzer_that_nobody_needs_is_taken_as_far_as_it_can_be() -> None:
    for given, expected in (
        ({"type": "chinese"}, None),
        ({"tokenizer": "jieba"}, None),
        ({"type": "english", "stop_words": ["a"]}, "english"),
        ({"tokenizer": {"type": "standard"}, "filter": ["lowercase"]}, None),
    ):
        assert configuration("text", {"analyzer_params": json.dumps(given)}, needed=False) == expected
