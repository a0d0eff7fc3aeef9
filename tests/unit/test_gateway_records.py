"""FieldData as pymilvus writes them, and as it reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from pymilvus import DataType as Sent
from pymilvus.client.field_data_extractors import decode_cell
from pymilvus.client.prepare import Prepare
from pymilvus.grpc_gen import schema_pb2

from vecstore import CollectionSchema, DataType, Field, InvalidData
from vecstore.gateway.records import columns_of, field_data, scalar_data
from vecstore.ingest import prepare
from vecstore.ingest.jsonb import json_texts

KEY = Field("id", DataType.INT64, primary_key=True)
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SIZES: Mapping[DataType, Mapping[str, Any]] = {
    DataType.VARCHAR: {"max_length": 64},
    DataType.ARRAY: {"max_capacity": 8, "element_type": DataType.INT32},
    DataType.SPARSE_FLOAT_VECTOR: {},
}
# The type as the client names it, values of rows, and how they come back if not as they were.
SAMPLES: Mapping[DataType, tuple[Sent, list[Any]]] = {
    DataType.BOOL: (Sent.BOOL, [True, False]),
    DataType.INT8: (Sent.INT8, [-128, 127]),
    DataType.INT16: (Sent.INT16, [-32768, 7]),
    DataType.INT32: (Sent.INT32, [-(2**31), 7]),
    DataType.INT64: (Sent.INT64, [-(2**63), 2**63 - 1]),
    DataType.FLOAT: (Sent.FLOAT, [1.5, -0.25]),
    DataType.DOUBLE: (Sent.DOUBLE, [0.1, 1e300]),
    DataType.VARCHAR: (Sent.VARCHAR, ["", "naïve 好"]),
    DataType.TEXT: (Sent.TEXT, ["a", "b" * 500]),
    DataType.JSON: (Sent.JSON, [{"a": [1, {"b": None}]}, [1.5, "x"]]),
    DataType.ARRAY: (Sent.ARRAY, [[1, 2, 3], []]),
    DataType.TIMESTAMPTZ: (Sent.TIMESTAMPTZ, ["2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00"]),
    DataType.FLOAT_VECTOR: (Sent.FLOAT_VECTOR, [[0.5] * 8, list(np.arange(8.0))]),
    DataType.FLOAT16_VECTOR: (Sent.FLOAT16_VECTOR, [np.arange(8, dtype=np.float16), np.ones(8, np.float16)]),
    DataType.BFLOAT16_VECTOR: (Sent.BFLOAT16_VECTOR, [b"\x80\x3f" * 8, b"\x00\x40" * 8]),
    DataType.INT8_VECTOR: (Sent.INT8_VECTOR, [np.arange(-4, 4, dtype=np.int8), np.ones(8, np.int8)]),
    DataType.BINARY_VECTOR: (Sent.BINARY_VECTOR, [b"\x81", b"\x00"]),
    DataType.SPARSE_FLOAT_VECTOR: (Sent.SPARSE_FLOAT_VECTOR, [{7: 0.5, 1: 2.0}, {0: 1.0}]),
}


def field_of(kind: DataType, **more: Any) -> Field:
    sizes = SIZES.get(kind, {"dim": 8} if kind.is_vector else {})
    return Field("value", kind, **{**sizes, **more})


def sent(field: Field, rows: Sequence[Mapping[str, Any]], *, dynamic: bool = False) -> Sequence[Any]:
    """The FieldData of an insert, as pymilvus makes them."""
    infos = [
        {"name": "id", "type": Sent.INT64, "is_primary": True},
        {
            "name": "value",
            "type": SAMPLES[field.data_type][0],
            "nullable": field.nullable,
            "default_value": field.default_value,
            "element_type": Sent.INT32,
            "params": {"dim": 8, "max_length": 64, "max_capacity": 8},
        },
    ]
    return list(Prepare.row_insert_param("c", list(rows), "", infos, enable_dynamic=dynamic).fields_data)


def given_back(field: Field, columns: Mapping[str, Any]) -> list[Any]:
    """What a reader of pymilvus sees of columns, after the way through the library's own checks and types."""
    batch = prepare(CollectionSchema((KEY, field)), columns)
    stored = batch.columns["value"]
    nulls = stored.nulls if stored.nulls is not None else [False] * len(stored)
    values = [None if null else value for null, value in zip(nulls, _library_values(field, stored), strict=True)]
    answer = field_data(field, values)
    assert answer.type == SAMPLES[field.data_type][0]
    return [decode_cell(answer, row) for row in range(len(values))]


def _library_values(field: Field, stored: Any) -> list[Any]:
    """The values as the library gives them back."""
    kind = field.data_type
    if kind is DataType.SPARSE_FLOAT_VECTOR:
        return [dict(zip(places.tolist(), numbers.tolist(), strict=True)) for places, numbers in stored.rows]
    if kind is DataType.ARRAY:
        bounds = zip(stored.offsets[:-1], stored.offsets[1:], strict=True)
        return [stored.elements.values[start:end].tolist() for start, end in bounds]
    given: Mapping[DataType, Any] = {
        DataType.BINARY_VECTOR: lambda row: row.tobytes(),
        DataType.TIMESTAMPTZ: lambda _: MOMENT,
        DataType.JSON: lambda value: json.loads(*json_texts([value])),
        DataType.VARCHAR: str,
        DataType.TEXT: str,
    }
    return list(map(given.get(kind, np.asarray if kind.is_vector else np.generic.item), stored.values))


def same(kind: DataType, got: Any, expected: Any) -> bool:
    if got is None or expected is None:
        return got is expected
    if kind is DataType.TIMESTAMPTZ:
        return bool(got == "2026-01-02T03:04:05Z")
    if isinstance(got, bytes):
        return got == (expected.tobytes() if isinstance(expected, np.ndarray) else expected)
    return bool(list(got) == list(expected)) if kind.is_vector and not isinstance(got, dict) else bool(got == expected)


@pytest.mark.parametrize("kind", SAMPLES)
def test_values_go_in_and_come_back(kind: DataType) -> None:
    values = SAMPLES[kind][1]
    fields_data = sent(field_of(kind), [{"id": row, "value": value} for row, value in enumerate(values)])
    columns = columns_of(CollectionSchema((KEY, field_of(kind))), fields_data, 2)
    back = given_back(field_of(kind), columns)
    assert all(same(kind, got, value) for got, value in zip(back, values, strict=True)), back


@pytest.mark.parametrize("kind", SAMPLES)
def test_none_goes_in_and_comes_back(kind: DataType) -> None:
    field = field_of(kind, nullable=True)
    first, second = SAMPLES[kind][1]
    for values in ([None, first, None, second], [None, None], [first, second]):
        fields_data = sent(field, [{"id": row, "value": value} for row, value in enumerate(values)])
        columns = columns_of(CollectionSchema((KEY, field)), fields_data, len(values))
        back = given_back(field, columns)
        assert all(same(kind, got, value) for got, value in zip(back, values, strict=True)), back


def test_a_default_takes_the_place_of_none() -> None:
    field = field_of(DataType.INT32, default_value=9)
    fields_data = sent(field, [{"id": 1}, {"id": 2, "value": 3}, {"id": 3, "value": None}])
    columns = columns_of(CollectionSchema((KEY, field)), fields_data, 3)
    assert given_back(field, columns) == [9, 3, 9]


def test_a_value_in_every_row_is_understood_as_well() -> None:
    field = field_of(DataType.INT64, nullable=True)
    full = schema_pb2.FieldData(type=5, field_name="value", valid_data=[True, False, True])
    full.scalars.long_data.data.extend([1, 0, 3])
    key = schema_pb2.FieldData(type=5, field_name="id")
    key.scalars.long_data.data.extend([1, 2, 3])
    assert columns_of(CollectionSchema((KEY, field)), [key, full], 3)["value"] == [1, None, 3]


def test_vectors_become_one_array_and_are_not_walked_through() -> None:
    vectors = np.random.default_rng(1).random((50, 8), np.float32)
    field = field_of(DataType.FLOAT_VECTOR)
    fields_data = sent(field, [{"id": row, "value": vector} for row, vector in enumerate(vectors)])
    column = columns_of(CollectionSchema((KEY, field)), fields_data, 50)["value"]
    assert isinstance(column, np.ndarray)
    assert column.dtype == np.float32
    assert (column == vectors).all()


def test_halves_may_be_sent_in_single_precision() -> None:
    field = field_of(DataType.FLOAT16_VECTOR)
    fields_data = sent(field, [{"id": 1, "value": [0.5] * 8}])
    columns = columns_of(CollectionSchema((KEY, field)), fields_data, 1)
    assert given_back(field, columns) == [np.full(8, 0.5, np.float16).tobytes()]


def test_dynamic_fields_are_one_column_of_dicts() -> None:
    schema = CollectionSchema((KEY, field_of(DataType.INT32)), dynamic=True)
    rows = [{"id": 1, "value": 2, "color": "red"}, {"id": 2, "value": 3}]
    assert columns_of(schema, sent(field_of(DataType.INT32), rows, dynamic=True), 2)["$meta"] == [{"color": "red"}, {}]


def test_a_time_without_a_zone_is_utc() -> None:
    field = field_of(DataType.TIMESTAMPTZ)
    fields_data = sent(field, [{"id": 1, "value": "2026-01-02T03:04:05"}])
    assert columns_of(CollectionSchema((KEY, field)), fields_data, 1)["value"] == [MOMENT]


def test_columns_of_no_row_are_read_by_clients() -> None:
    for kind in SAMPLES:
        answer = field_data(field_of(kind), [])
        assert answer.WhichOneof("field") == ("vectors" if kind.is_vector else "scalars")
        assert (answer.vectors if kind.is_vector else answer.scalars).WhichOneof("data") is not None


def test_an_aggregate_that_has_no_value_is_none() -> None:
    answer = scalar_data("avg(price)", DataType.DOUBLE, [None, 1.5])
    assert [decode_cell(answer, row) for row in range(2)] == [None, 1.5]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda data: data[1].scalars.int_data.data.append(1), r"the num_rows \(3\) of field \(value\)"),
        (
            lambda data: data[1].valid_data.extend([True, True, True, False]),
            "2 values, and valid_data gives one to 3 of 4",
        ),
        (lambda data: data.append(data[1]), "field 'value' is there twice"),
        (lambda data: setattr(data[1], "field_name", "stranger"), "field 'stranger' not exist"),
        (lambda data: data[1].struct_arrays.SetInParent(), "arrays of structs are not supported"),
        (lambda data: data[1].scalars.geometry_data.SetInParent(), "geometry_data is not supported"),
        (lambda data: data[1].scalars.json_data.data.append(b"{"), "field 'value': Expecting property name"),
        (lambda data: data[1].vectors.vector_array.SetInParent(), "vector_array is not supported"),
        (lambda data: data[1].vectors.float_vector.data.append(1), "1 components are no vectors of 0 each"),
        (lambda data: setattr(data[1].vectors, "int8_vector", b"123"), "3 components are no vectors of 0 each"),
        (lambda data: data[1].vectors.sparse_float_vector.contents.append(b"123"), "buffer size must be a multiple"),
        (
            lambda data: data[1].vectors.sparse_float_vector.contents.append(bytes(16)),
            "an index of a sparse vector stands there twice",
        ),
    ],
)
def test_what_no_field_could_take_is_said(changed: Any, message: str) -> None:
    field = field_of(DataType.INT32)
    fields_data = sent(field, [{"id": 1, "value": 2}, {"id": 2, "value": 3}])
    changed(fields_data)
    with pytest.raises(InvalidData, match=message):
        columns_of(CollectionSchema((KEY, field)), fields_data, 2)


def test_documents_nested_beyond_reason_are_refused() -> None:
    data = schema_pb2.FieldData(type=23, field_name="value")
    data.scalars.json_data.data.append(b"[" * 100_000)
    with pytest.raises(InvalidData, match="field 'value'"):
        columns_of(CollectionSchema((KEY, field_of(DataType.JSON))), [data], 1)
