from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from vecstore import CollectionSchema, DataType, Field, FieldNotFound, InvalidArgument
from vecstore.aggregates import Aggregate, aggregate, is_aggregate
from vecstore.tables import entities

YEAR = Field("year", DataType.INT32)
SCHEMA = CollectionSchema(
    (
        Field("id", DataType.INT64, primary_key=True),
        YEAR,
        Field("flag", DataType.BOOL),
        Field("price", DataType.FLOAT),
        Field("title", DataType.VARCHAR, max_length=8),
        Field("born", DataType.TIMESTAMPTZ),
        Field("meta", DataType.JSON),
        Field("tags", DataType.ARRAY, element_type=DataType.INT8, max_capacity=4),
        Field("v", DataType.FLOAT_VECTOR, dim=2),
    )
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("count(*)", Aggregate("count", None)),
        (" COUNT ( * ) ", Aggregate("count", None)),
        ("count(year)", Aggregate("count", YEAR)),
        ("Avg( year )", Aggregate("avg", YEAR)),
    ],
)
def test_an_aggregate_is_a_function_of_a_field(text: str, expected: Aggregate) -> None:
    assert is_aggregate(text)
    assert aggregate(SCHEMA, text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("median(year)", r"no aggregate 'median\(year\)'; there are count\(\*\), and count, sum, avg, min, max"),
        ("year", "no aggregate 'year'"),
        ("sum(year) + 1", "no aggregate"),
        ("sum(year, id)", "no aggregate"),
        ("sum(distinct year)", "no aggregate"),
        ("sum()", "no aggregate"),
        ("sum(*)", "only count takes"),
        ("sum(title)", "field 'title' is VARCHAR; sum takes fields of INT8, INT16, INT32, INT64, FLOAT, DOUBLE"),
        ("avg(born)", "is TIMESTAMPTZ; avg takes"),
        ("sum(flag)", "is BOOL; sum takes"),
        ("max(flag)", "is BOOL; max takes .* VARCHAR, TEXT, TIMESTAMPTZ"),
        ("min(meta)", "is JSON; min takes"),
        ("min(tags)", "is ARRAY; min takes"),
        ("max(v)", "is FLOAT_VECTOR; max takes"),
    ],
)
def test_what_is_no_aggregate_is_refused_with_what_would_be_one(text: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        aggregate(SCHEMA, text)


def test_an_aggregate_of_no_field_names_the_fields_there_are() -> None:
    with pytest.raises(FieldNotFound, match="'yaer'; fields: id, year"):
        aggregate(SCHEMA, "sum(yaer)")


@pytest.mark.parametrize("key", ["price (EUR)", "count", "median(year)", "count(*), sum(id)"])
def test_a_key_of_the_dynamic_field_may_have_brackets(key: str) -> None:
    assert not is_aggregate(key)


def test_aggregates_name_postgresqls_own_functions() -> None:
    table = entities("books", SCHEMA, extension_schema="public")
    said = [str(aggregate(SCHEMA, f"{function}(year)").over(table)) for function in ("sum", "avg", "min", "max")]
    assert all(text.startswith("pg_catalog.") for text in said)
    assert str(aggregate(SCHEMA, "count(*)").over(table)) == "count(*)"


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("sum(id)", Decimal(2**70), 2**70),
        ("sum(price)", 0.5, 0.5),
        ("avg(id)", Decimal("1.5"), 1.5),
        ("max(title)", "z", "z"),
        ("avg(price)", None, None),
    ],
)
def test_values_come_back_in_the_types_of_python(text: str, value: Any, expected: Any) -> None:
    found = aggregate(SCHEMA, text).loaded(value)
    assert (found, type(found)) == (expected, type(expected))
