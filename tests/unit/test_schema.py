from __future__ import annotations

from typing import Any

import pytest

from vecstore import (
    Btree,
    CollectionSchema,
    DataType,
    Field,
    FieldNotFound,
    Gin,
    Hnsw,
    InvalidArgument,
    InvalidName,
    InvalidSchema,
    IvfFlat,
    Metric,
)
from vecstore.schema import check_index, metrics_of

KEY = Field("id", DataType.INT64, primary_key=True)
VECTOR = Field("v", DataType.FLOAT_VECTOR, dim=4)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"data_type": "FLOAT_VECTOR"}, "needs dim from 1 to 16,000, got None"),
        ({"data_type": "FLOAT_VECTOR", "dim": 16_001}, "got 16001"),
        ({"data_type": "FLOAT_VECTOR", "dim": True}, "got True"),
        ({"data_type": "FLOAT_VECTOR", "dim": 0}, "got 0"),
        ({"data_type": "BINARY_VECTOR", "dim": 12}, "multiple of 8"),
        ({"data_type": "INT64", "dim": 3}, "dim does not belong to INT64"),
        ({"data_type": "VARCHAR"}, "needs max_length from 1 to 65,535, got None"),
        ({"data_type": "VARCHAR", "max_length": 65_536}, "got 65536"),
        ({"data_type": "ARRAY", "max_capacity": 3}, "an ARRAY needs an element_type"),
        ({"data_type": "ARRAY", "max_capacity": 3, "element_type": "JSON"}, "an ARRAY needs an element_type"),
        ({"data_type": "ARRAY", "element_type": "INT8"}, "needs max_capacity from 1 to 4,096"),
        ({"data_type": "ARRAY", "element_type": "VARCHAR", "max_capacity": 3}, "needs max_length"),
        ({"data_type": "BOOL", "element_type": "INT8"}, "element_type belongs to ARRAY"),
        ({"data_type": "GEOMETRY"}, "'GEOMETRY' is not one of BOOL"),
        ({"data_type": "ARRAY", "element_type": "STRUCT", "max_capacity": 3}, "'STRUCT' is not one of"),
        ({"data_type": "FLOAT", "primary_key": True}, "primary key is INT64 or VARCHAR"),
        ({"data_type": "INT64", "primary_key": True, "nullable": True}, "never nullable"),
        ({"data_type": "INT64", "auto_id": True}, "auto_id belongs to the primary key"),
        ({"data_type": "INT64", "partition_key": True, "nullable": True}, "partition key"),
        ({"data_type": "INT64", "partition_key": True, "primary_key": True}, "partition key"),
        ({"data_type": "BOOL", "partition_key": True}, "partition key"),
        ({"data_type": "JSON", "default_value": {}}, "has no default value"),
        ({"data_type": "INT64", "primary_key": True, "default_value": 1}, "has no default value"),
        ({"data_type": "INT64", "description": "a\0b"}, "NUL"),
        ({"data_type": "INT64", "description": "\ud800"}, "lone surrogate"),
        ({"data_type": "INT64", "description": 5}, "must be a str"),
    ],
)
def test_a_field_that_cannot_be_is_refused_with_the_reason(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidSchema, match=complaint) as caught:
        Field("f", **arguments)
    assert "'f'" in str(caught.value)


def test_a_sparse_vector_has_as_many_dimensions_as_pgvector() -> None:
    assert Field("s", DataType.SPARSE_FLOAT_VECTOR).dim == 1_000_000_000


@pytest.mark.parametrize(
    ("fields", "options", "complaint"),
    [
        ((VECTOR,), {}, "exactly one primary key, got none"),
        ((KEY, Field("other", DataType.INT64, primary_key=True)), {}, "exactly one primary key"),
        ((KEY, VECTOR, VECTOR), {}, "declared twice: 'v'"),
        (
            (KEY, *(Field(name, DataType.INT64, partition_key=True) for name in "ab")),
            {},
            "at most one partition key",
        ),
        ((KEY, *(Field(f"f{number}", DataType.BOOL) for number in range(1000))), {}, "1,001 fields, at most 1,000"),
        ((KEY,), {"num_partitions": 0}, "num_partitions must be from 1 to 1,024, got 0"),
        ((KEY,), {"num_partitions": 1025}, "got 1025"),
        ((KEY,), {"description": "\0"}, "NUL"),
        ((KEY,), {"properties": {"a": 5}}, "property 'a' must be a str"),
    ],
)
def test_a_collection_that_cannot_be_is_refused_with_the_reason(
    fields: tuple[Field, ...], options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidSchema, match=complaint):
        CollectionSchema(fields, **options)


def test_a_field_that_is_not_there_is_named_with_those_that_are() -> None:
    schema = CollectionSchema((KEY, VECTOR))
    with pytest.raises(FieldNotFound, match="no field 'w'; fields: id, v"):
        schema.field("w")
    assert schema.field("v") is VECTOR


def test_the_only_vector_field_needs_no_name() -> None:
    assert CollectionSchema((KEY, VECTOR)).vector_field(None) is VECTOR
    with pytest.raises(InvalidArgument, match="vector fields: none"):
        CollectionSchema((KEY,)).vector_field(None)
    with pytest.raises(InvalidArgument, match="'id' is INT64, not a vector"):
        CollectionSchema((KEY, VECTOR)).vector_field("id")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Hnsw(m=1), "m must be from 2 to 100, got 1"),
        (lambda: Hnsw(m=101), "got 101"),
        (lambda: Hnsw(ef_construction=1001), "ef_construction must be from 4 to 1,000"),
        (lambda: Hnsw(m=40), r"at least 2 \* m = 80, got 64"),
        (lambda: Hnsw(m=16.0), "got 16.0"),
        (lambda: IvfFlat(lists=0), "lists must be from 1 to 32,768"),
        (lambda: IvfFlat(lists=32_769), "got 32769"),
        (lambda: Hnsw(metric="EUCLID"), "'EUCLID' is not one of L2, IP"),
    ],
)
def test_index_options_out_of_range_are_refused(make: Any, complaint: str) -> None:
    with pytest.raises(InvalidArgument, match=complaint):
        make()


@pytest.mark.parametrize(
    ("field", "spec", "complaint"),
    [
        (Field("v", DataType.FLOAT_VECTOR, dim=4001), Hnsw(), "4,001 dimensions, pgvector indexes at most 4,000"),
        (Field("v", DataType.BFLOAT16_VECTOR, dim=4001), IvfFlat(), "at most 4,000"),
        (Field("v", DataType.FLOAT16_VECTOR, dim=4001), Hnsw(), "at most 4,000"),
        (Field("v", DataType.BINARY_VECTOR, dim=64_008), Hnsw(Metric.HAMMING), "at most 64,000"),
        (Field("v", DataType.SPARSE_FLOAT_VECTOR), IvfFlat(Metric.IP), "IvfFlat does not index SPARSE"),
        (Field("v", DataType.BINARY_VECTOR, dim=8), IvfFlat(Metric.JACCARD), "does not know JACCARD"),
        (Field("v", DataType.BINARY_VECTOR, dim=8), Hnsw(), "COSINE is not one of HAMMING, JACCARD"),
        (Field("j", DataType.JSON), Btree(), "use Gin"),
        (Field("j", DataType.JSON), Hnsw(), "use Btree or Gin"),
        (Field("j", DataType.JSON), "GIN", "not 'GIN'"),
        (Field("n", DataType.INT64), Btree(cast=DataType.DOUBLE), r"use Btree\(\)"),
        (Field("a", DataType.ARRAY, element_type="INT8", max_capacity=2), Btree(), "use Gin"),
        (Field("n", DataType.INT64), Gin(), "use Btree"),
        (Field("n", DataType.INT64), Hnsw(), "use Btree or Gin"),
        (VECTOR, Btree(), "use Hnsw or IvfFlat"),
    ],
)
def test_what_postgresql_cannot_index_is_refused_before_it_tries(field: Field, spec: Any, complaint: str) -> None:
    with pytest.raises(InvalidArgument, match=complaint):
        check_index(spec, field)


@pytest.mark.parametrize(
    ("data_type", "dim", "halved"),
    [
        (DataType.FLOAT_VECTOR, 2_000, False),
        (DataType.FLOAT_VECTOR, 2_001, True),
        (DataType.BFLOAT16_VECTOR, 4_000, True),
        (DataType.FLOAT16_VECTOR, 4_000, False),
        (DataType.INT8_VECTOR, 4_000, False),
        (DataType.SPARSE_FLOAT_VECTOR, 4_000, False),
    ],
)
def test_what_fits_on_no_page_is_indexed_in_half_precision(data_type: DataType, dim: int, *, halved: bool) -> None:
    field = Field("v", data_type, dim=dim)
    check_index(Hnsw(metrics_of(data_type)[0]), field)
    assert field.indexed_in_half_precision is halved


@pytest.mark.parametrize("name", ["english", "English", "_x1", "public.my_config", "a" * 63, f"{'a' * 63}.{'b' * 63}"])
@pytest.mark.parametrize("data_type", [DataType.VARCHAR, DataType.TEXT])
def test_a_text_may_name_the_configuration_of_its_search(data_type: DataType, name: str) -> None:
    max_length = 9 if data_type is DataType.VARCHAR else None
    assert Field("t", data_type, max_length=max_length, text_search=name).text_search == name


@pytest.mark.parametrize(
    "name", ["", "a b", "a'b", 'a"b', "a.b.c", ".a", "a.", "é", "1a", "a\n", "a" * 64, f"{'a' * 64}.b", 5, ["a"], True]
)
def test_a_name_that_no_configuration_has_is_refused(name: Any) -> None:
    with pytest.raises(InvalidSchema, match="field 't': text_search is the name of"):
        Field("t", DataType.TEXT, text_search=name)


def test_only_texts_are_searched_for_words() -> None:
    with pytest.raises(InvalidSchema, match="text_search belongs to VARCHAR and TEXT, not to INT64"):
        Field("n", DataType.INT64, text_search="english")


def test_each_vector_type_has_metrics_and_scalars_have_none() -> None:
    assert all(metrics_of(data_type) for data_type in DataType if data_type.is_vector)
    assert not any(metrics_of(data_type) for data_type in DataType if not data_type.is_vector)


def test_declarations_cannot_be_changed_afterwards() -> None:
    with pytest.raises(AttributeError):
        KEY.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("name", ["ctid", "XMIN", "_partition", "_meta", "a b", "", "1a", "é", "x" * 64])
def test_a_field_name_that_postgresql_or_we_need_is_refused(name: str) -> None:
    with pytest.raises(InvalidName, match="field"):
        Field(name, DataType.BOOL)
