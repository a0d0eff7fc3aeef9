"""Requests that no client of good will sends: each gets an answer that it can read, and the gateway keeps serving."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from pymilvus import MilvusClient
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2
from sqlalchemy import URL

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import DataType, Field, Store
from vecstore.gateway import Gateway, serve
from vecstore.gateway.server import MAX_MESSAGE_BYTES

ROUNDS = 2_100
METHODS = ("Insert", "Upsert", "Delete", "Query", "Search", "HybridSearch")
SERVICE = milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"]

TEXTS = (
    "",
    "books",
    "nope",
    "_default",
    "id",
    "title",
    "embedding",
    "$meta",
    "*",
    "count(*)",
    "\0",
    "'; DROP SCHEMA books CASCADE; --",
    "id in [1, 2]",
    "id in {ids}",
    "title like 'b%' and (year > 1900 or not id in [3])",
    "id ==",
    "((((((((",
    "9" * 400,
    "é" * 5_000,
    "true",
    "None",
    "-1",
    "0",
    "16385",
    "1e309",
    "nan",
    json.dumps({"ef": "x", "radius": [1], "range_filter": {}}),
    json.dumps([0.5, "a", None]),
    "[" * 3_000,
)
KEYS = [
    "topk",
    "limit",
    "offset",
    "anns_field",
    "metric_type",
    "params",
    "round_decimal",
    "group_by_field",
    "group_size",
    "strict_group_size",
    "order_by_fields",
    "search_iter_v2",
    "search_iter_batch_size",
    "search_iter_last_bound",
    "search_iter_id",
    "iterator",
    "strategy",
    "k",
    "weights",
    "norm_score",
    "group_by_fields",
    "timezone",
    "nprobe",
    "ef",
    "radius",
    "range_filter",
    "reduce_stop_for_best",
]
NUMBERS = (0, 1, -1, 2, 7, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 4)


class Fuzzer:
    """Messages of a kind, right ones with something changed in them; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - no secret

    def request(self, name: str) -> Any:
        request = getattr(self, f"_{name.lower()}")()
        for _ in range(self.random.randint(0, 3)):
            self._change(request)
        return request

    def data(self, name: str) -> bytes:
        """A request on the wire; of one in three, bytes were changed, added, or cut off."""
        encoded = bytearray(self.request(name).SerializeToString())
        if self.random.random() < 1 / 3 and encoded:
            for _ in range(self.random.randint(1, 8)):
                encoded[self.random.randrange(len(encoded))] = self.random.randrange(256)
            encoded = encoded[: self.random.randint(0, len(encoded))] if self.random.random() < 1 / 2 else encoded
        return bytes(encoded)

    def _columns(self) -> list[Any]:
        key = schema_pb2.FieldData(type=5, field_name="id")
        key.scalars.long_data.data.extend([1_000, 1_001])
        title = schema_pb2.FieldData(type=21, field_name="title")
        title.scalars.string_data.data.extend(["a", "b"])
        year = schema_pb2.FieldData(type=4, field_name="year", valid_data=[True, False])
        year.scalars.int_data.data.append(3)
        vector = schema_pb2.FieldData(type=101, field_name="embedding")
        vector.vectors.dim = 4
        vector.vectors.float_vector.data.extend([1, 2, 3, 4, 5, 6, 7, 8])
        dynamic = schema_pb2.FieldData(type=23, field_name="$meta", is_dynamic=True)
        dynamic.scalars.json_data.data.extend([b"{}", b'{"a": [1]}'])
        return [key, title, year, vector, dynamic]

    def _insert(self) -> Any:
        return milvus_pb2.InsertRequest(collection_name="books", fields_data=self._columns(), num_rows=2)

    def _upsert(self) -> Any:
        partial = self.random.random() < 1 / 2
        columns = self._columns()
        return milvus_pb2.UpsertRequest(
            collection_name="books", fields_data=columns, num_rows=2, partial_update=partial
        )

    def _delete(self) -> Any:
        return milvus_pb2.DeleteRequest(collection_name="books", expr="id in [1000]")

    def _query(self) -> Any:
        pairs = self._pairs({"limit": "5"})
        return milvus_pb2.QueryRequest(collection_name="books", expr="id < 9", output_fields=["*"], query_params=pairs)

    def _search(self) -> Any:
        values = [bytes([0, 0, 128, 63] * 4)]
        group = common_pb2.PlaceholderGroup(
            placeholders=[common_pb2.PlaceholderValue(tag="$0", type=101, values=values)]
        )
        if self.random.random() < 1 / 4:
            self._change(group)
        return milvus_pb2.SearchRequest(
            collection_name="books",
            dsl="id < 50",
            dsl_type=1,
            nq=1,
            placeholder_group=group.SerializeToString(),
            output_fields=["*"],
            search_params=self._pairs({"topk": "3", "anns_field": "embedding"}),
        )

    def _hybridsearch(self) -> Any:
        return milvus_pb2.HybridSearchRequest(
            collection_name="books",
            requests=[self._search(), self._search()],
            rank_params=self._pairs({"strategy": "rrf", "limit": "3"}),
        )

    def _pairs(self, given: dict[str, str]) -> list[Any]:
        if self.random.random() < 1 / 2:
            given = {**given, self.random.choice(KEYS): self.random.choice(TEXTS)}
        return [common_pb2.KeyValuePair(key=key, value=value) for key, value in given.items()]

    def _change(self, message: Message) -> None:
        """Set, add to or clear a field somewhere in a message."""
        set_fields = [(field, value) for field, value in message.ListFields() if field.message_type is not None]
        if set_fields and self.random.random() < 2 / 3:
            field, value = self.random.choice(set_fields)
            if not field.is_repeated:
                return self._change(value)
            if not field.message_type.GetOptions().map_entry and len(value):
                return self._change(value[self.random.randrange(len(value))])
        field = self.random.choice(list(message.DESCRIPTOR.fields))
        if self.random.random() < 1 / 4:
            return message.ClearField(field.name)
        return self._set(message, field)

    def _set(self, message: Message, field: Any) -> None:
        if field.message_type is not None:
            if field.message_type.GetOptions().map_entry:
                values = getattr(message, field.name)
                if field.message_type.full_name.endswith("ExprTemplateValuesEntry"):
                    values["ids"].array_val.long_data.data.extend([1, 2])
                return
            inner = getattr(message, field.name)
            self._change(inner.add() if field.is_repeated else inner)
            return
        value = self._value(field)
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)

    def _value(self, field: Any) -> Any:
        kinds = {
            field.CPPTYPE_STRING: lambda: self.random.choice(TEXTS),
            field.CPPTYPE_BOOL: lambda: self.random.random() < 1 / 2,
            field.CPPTYPE_ENUM: lambda: self.random.choice(field.enum_type.values).number if field.enum_type else 0,
            field.CPPTYPE_FLOAT: lambda: self.random.choice([0.0, float("nan"), float("inf"), -1e30]),
            field.CPPTYPE_DOUBLE: lambda: self.random.choice([0.0, float("nan"), float("inf"), -1e300]),
        }
        if field.type == field.TYPE_BYTES:
            return self.random.choice([b"", b"\0", b"\xff" * 9, b"\x0a\x04\x08\x65"])
        if field.cpp_type in kinds:
            return kinds[field.cpp_type]()
        number = self.random.choice(NUMBERS)
        bits = 32 if field.cpp_type in {field.CPPTYPE_INT32, field.CPPTYPE_UINT32} else 64
        unsigned = field.cpp_type in {field.CPPTYPE_UINT32, field.CPPTYPE_UINT64}
        return number % 2**bits if unsigned else (number + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)


@pytest.fixture
def gateway(database_url: URL) -> Iterator[Gateway]:
    """One that waits for what is under way, however slow the machine is."""
    gateway = serve(database_url, port=0)
    yield gateway
    gateway.stop(grace=120)


@pytest.fixture
def channel(gateway: Gateway) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(gateway.address) as channel:
        yield channel


@pytest.fixture
def loose(store: Store) -> vecstore.Collection:
    loose = store.create_collection("books", BOOK_FIELDS, dynamic=True)
    loose.insert([book(key) for key in range(100)])
    return loose


def answer(channel: grpc.Channel, method: str, data: bytes) -> Any:
    """The status of an answer, or the code of gRPC that took its place."""
    call = channel.unary_unary(
        f"/{SERVICE.full_name}/{method}",
        request_serializer=None,
        response_deserializer=getattr(
            milvus_pb2,
            {"Query": "QueryResults", "Search": "SearchResults", "HybridSearch": "SearchResults"}.get(
                method, "MutationResult"
            ),
        ).FromString,
    )
    try:
        return call(data, timeout=60).status
    except grpc.RpcError as error:
        return error


@pytest.mark.parametrize("method", METHODS)
def test_a_request_changed_anywhere_gets_an_answer(
    method: str, channel: grpc.Channel, loose: vecstore.Collection, caplog: pytest.LogCaptureFixture
) -> None:
    fuzzer = Fuzzer(METHODS.index(method))
    codes: dict[object, int] = {}
    with caplog.at_level(logging.ERROR, "vecstore.gateway"):
        for _ in range(ROUNDS // len(METHODS)):
            status = answer(channel, method, fuzzer.data(method))
            told = f"{status.details()}" if isinstance(status, grpc.RpcError) else status.reason
            assert "Traceback" not in told
            assert 'File "' not in told
            code = status.code() if isinstance(status, grpc.RpcError) else status.code
            assert code not in {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, 65535}, told
            codes[code] = codes.get(code, 0) + 1
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert len(codes) > 1, codes
    assert loose.search([1.0, 2.0, 3.0, 0.5], limit=1)[0][0].id is not None


def test_a_client_that_goes_away_in_mid_insert_leaves_all_of_it_or_nothing(
    gateway: Gateway, store: Store, milvus: MilvusClient
) -> None:
    wide = store.create_collection(
        "wide", (Field("id", DataType.INT64, primary_key=True), Field("v", DataType.FLOAT_VECTOR, dim=256))
    )
    rows = 5_000
    key = schema_pb2.FieldData(type=5, field_name="id")
    key.scalars.long_data.data.extend(range(rows))
    vector = schema_pb2.FieldData(type=101, field_name="v")
    vector.vectors.dim = 256
    vector.vectors.float_vector.data.extend([0.5] * (256 * rows))
    request = milvus_pb2.InsertRequest(collection_name="wide", fields_data=[key, vector], num_rows=rows)
    for milliseconds in (1, 10, 40, 120, 250):
        with grpc.insecure_channel(gateway.address) as channel:
            future = milvus_pb2_grpc.MilvusServiceStub(channel).Insert.future(request)
            try:
                future.result(timeout=milliseconds / 1_000)
            except grpc.FutureTimeoutError:
                future.cancel()
        assert milvus.get_server_version()
        assert wide.count() in {0, rows}


def test_a_message_that_is_too_large_is_refused(channel: grpc.Channel, milvus: MilvusClient) -> None:
    refused = answer(channel, "Insert", bytes(MAX_MESSAGE_BYTES + 1))
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert milvus.get_server_version()
