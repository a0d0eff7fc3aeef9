from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from vecstore import CollectionSchema, DataType, Field, errors
from vecstore.description import CollectionDescription
from vecstore.gateway.calls import CALLS
from vecstore.gateway.errors import Fault, MilvusError, described, failed, status
from vecstore.gateway.logs import JsonLines
from vecstore.gateway.names import check_collection, check_database, check_partition
from vecstore.gateway.refusals import REFUSED
from vecstore.gateway.schema import TYPES, collection_schema, field_message, schema_message

RPCS = {method.name for method in milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"].methods}


def test_every_rpc_of_milvus_is_either_served_or_refused_with_a_reason() -> None:
    assert set(CALLS) | set(REFUSED) == RPCS
    assert set(CALLS) & set(REFUSED) == set()
    assert all(len(why) > len(name) + 20 for name, why in REFUSED.items())


@pytest.mark.parametrize(
    ("error", "code", "legacy", "reason"),
    [
        (errors.CollectionNotFound("x"), 100, 4, "collection not found[database=default][collection=books]"),
        (errors.PartitionNotFound("x"), 200, 15, "partition not found[partition=novel]"),
        (errors.IndexNotFound("x"), 700, 25, "x: index not found"),
        (errors.AliasNotFound("x"), 1600, 1, "x: alias not found"),
        (errors.DatabaseNotFound("x"), 800, 1, "x: database not found"),
        (errors.InvalidData("no"), 1100, 5, "no: invalid parameter"),
        (errors.DependentObjects("no", objects=[]), 1100, 5, "no: invalid parameter"),
        (errors.PermissionDenied("no"), 1401, 3, "no: privilege not permitted"),
        (errors.ConnectionLost("gone"), 2, 56, "gone: service unavailable"),
        (errors.LockTimeout("busy"), 65535, 1, "busy: unexpected error"),
        (RuntimeError("secret"), 65535, 1, "the gateway failed; its log says why: unexpected error"),
        (
            MilvusError(Fault.COLLECTION_NOT_LOADED, collection="books"),
            101,
            1,
            "collection not loaded[collection=books]",
        ),
    ],
)
def test_an_error_becomes_a_status_for_new_clients_and_old(
    error: Exception, code: int, legacy: int, reason: str
) -> None:
    request = milvus_pb2.DropPartitionRequest(collection_name="books", partition_name="novel")
    answer = status(described(error, request, "default"), error)
    assert (answer.code, answer.error_code, answer.reason) == (code, legacy, reason)
    assert (answer.extra_info.get("is_input_error") == "true") == (code not in {2, 65535})


def test_only_what_left_nothing_behind_may_be_tried_again_blindly() -> None:
    request = milvus_pb2.DropPartitionRequest()
    retriable = {
        type(error): status(described(error, request, ""), error).retriable
        for error in (errors.LockTimeout(), errors.PoolTimeout(), errors.CommitUncertain(), errors.InvalidArgument())
    }
    assert [kind.__name__ for kind, it in retriable.items() if it] == ["LockTimeout", "PoolTimeout"]


def test_every_response_has_a_place_for_the_status() -> None:
    answer = common_pb2.Status(code=1)
    for method in milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"].methods:
        if method.name in CALLS:
            response = getattr(milvus_pb2, method.output_type.name, common_pb2.Status)
            assert failed(response, answer).ByteSize() > 0, method.name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "collection name should not be empty"),
        (
            "1st",
            "Invalid collection name: 1st. the first character of a collection name must be an underscore",
        ),
        ("a-b", "Invalid collection name: a-b. collection name can only contain numbers, letters and underscores"),
        ("a" * 256, "the length of a collection name must be less than 255 characters"),
    ],
)
def test_names_are_refused_in_milvuss_words(name: str, why: str) -> None:
    with pytest.raises(MilvusError) as raised:
        check_collection(name)
    assert why in str(raised.value)
    assert raised.value.fault is Fault.INVALID_PARAMETER
    for check in (check_partition, check_database):
        if name not in {"1st", "a-b"}:
            with pytest.raises(MilvusError):
                check(name)


def test_what_milvus_takes_as_a_name_is_taken() -> None:
    assert check_collection("_Book_1") == "_Book_1"
    assert check_partition("1st-half") == "1st-half"
    assert check_database("lib") == "lib"


def message_of_each_type() -> schema_pb2.CollectionSchema:
    sizes = {"dim": "8", "max_length": "20", "max_capacity": "4"}
    asked = schema_pb2.CollectionSchema(name="books", enable_dynamic_field=True, description="all")
    asked.fields.add(name="id", data_type=schema_pb2.Int64, is_primary_key=True, autoID=True)
    for number, data_type in TYPES.items():
        it = asked.fields.add(name=f"f_{data_type.lower()}", data_type=number)
        needed = {
            DataType.VARCHAR: ["max_length"],
            DataType.ARRAY: ["max_length", "max_capacity"],
            DataType.SPARSE_FLOAT_VECTOR: [],
        }.get(data_type, ["dim"] if data_type.is_vector else [])
        it.type_params.extend(common_pb2.KeyValuePair(key=size, value=sizes[size]) for size in needed)
        if data_type is DataType.ARRAY:
            it.element_type = schema_pb2.VarChar
    return asked


def described_by(schema: CollectionSchema) -> CollectionDescription:
    numbers = {field.name: 2 * place + 1 for place, field in enumerate(schema.fields)}
    return CollectionDescription("books", 1, schema, (), (), (), (), (), frozenset(), numbers=numbers)


def test_a_schema_of_every_type_comes_back_as_it_was_asked() -> None:
    asked = message_of_each_type()
    ours = collection_schema(asked, {"a": "b", "milvus.loaded": "[]"}, 0)
    shown = schema_message(described_by(ours))
    for before, after in zip(asked.fields, shown.fields, strict=True):
        before.fieldID = after.fieldID
        assert {it.key: it.value for it in before.type_params} == {it.key: it.value for it in after.type_params}
        del before.type_params[:], after.type_params[:]
        assert before == after
    assert {it.key: it.value for it in shown.properties} == {"a": "b"}
    assert [it.fieldID for it in shown.fields] == [100 + 2 * place for place in range(len(ours.fields))]


def test_what_a_field_is_in_milvus_alone_is_kept() -> None:
    asked = message_of_each_type()
    asked.fields[1].is_clustering_key = True
    asked.fields[1].type_params.add(key="mmap.enabled", value="true")
    ours = collection_schema(asked, {}, 0)
    shown = schema_message(described_by(ours)).fields[1]
    assert shown.is_clustering_key
    assert [(it.key, it.value) for it in shown.type_params] == [("mmap.enabled", "true")]


@pytest.mark.parametrize("value", [True, 7, 1.5, "x"])
def test_defaults_go_both_ways(value: object) -> None:
    kinds = {bool: DataType.BOOL, int: DataType.INT32, float: DataType.DOUBLE, str: DataType.VARCHAR}
    kind = kinds[type(value)]
    ours = Field("x", kind, max_length=9 if kind is DataType.VARCHAR else None, default_value=value)
    shown = field_message(ours, 100, {}).default_value
    assert getattr(shown, shown.WhichOneof("data")) == value


def altered(**changes: object) -> schema_pb2.CollectionSchema:
    asked = message_of_each_type()
    for name, value in changes.items():
        setattr(asked.fields[1], name, value)
    return asked


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (altered(data_type=schema_pb2.Geometry), "data type Geometry is not supported"),
        (altered(data_type=schema_pb2.String), "please use VarChar"),
        (altered(data_type=9999), "data type 9999"),
        (altered(data_type=schema_pb2.FloatVector), "dimension is not defined in field type params of field f_bool"),
        (
            altered(data_type=schema_pb2.VarChar),
            r"type param\(max_length\) should be specified for the field",
        ),
        (altered(is_primary_key=True), "more than one primary key"),
        (schema_pb2.CollectionSchema(), "primary key is not specified"),
        (schema_pb2.CollectionSchema(functions=[schema_pb2.FunctionSchema(name="bm25")]), "functions .bm25. are not"),
        (schema_pb2.CollectionSchema(struct_array_fields=[schema_pb2.StructArrayFieldSchema(name="s")]), "structs"),
        (schema_pb2.CollectionSchema(enable_namespace=True), "namespaces"),
    ],
)
def test_what_cannot_be_had_here_is_said(asked: schema_pb2.CollectionSchema, why: str) -> None:
    with pytest.raises(MilvusError, match=why):
        collection_schema(asked, {}, 0)


def test_a_line_of_the_log_is_json_with_what_the_call_says_of_itself() -> None:
    record = logging.makeLogRecord({"msg": "call %s", "args": ("x",), "levelname": "INFO", "rpc": "Insert", "code": 0})
    line = json.loads(JsonLines().format(record))
    assert (line["message"], line["rpc"], line["code"], line["level"]) == ("call x", "Insert", 0, "info")


def test_in_a_process_of_its_own_a_warning_of_python_is_a_line_of_the_log() -> None:
    program = (
        "import warnings, vecstore\n"
        "from vecstore.gateway.logs import write_to_stderr\n"
        "write_to_stderr('info')\n"
        "warnings.warn('a load\\nof 10,000 rows', vecstore.SlowLoadWarning)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (line["level"], line["logger"]) == ("warning", "py.warnings")
    assert "SlowLoadWarning: a load\nof 10,000 rows" in line["message"]
