from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import column

from vecstore import CollectionSchema, DataType, Field, FieldNotFound, InvalidArgument
from vecstore.ordering import Order, parsed

TITLE = Field("title", DataType.VARCHAR, max_length=8)
YEAR = Field("year", DataType.INT32, nullable=True)
FIELDS = (
    Field("id", DataType.INT64, primary_key=True),
    TITLE,
    YEAR,
    Field("meta", DataType.JSON),
    Field("tags", DataType.ARRAY, element_type=DataType.INT8, max_capacity=4),
    Field("v", DataType.FLOAT_VECTOR, dim=2),
)
SCHEMA = CollectionSchema(FIELDS)
DYNAMIC = CollectionSchema(FIELDS, dynamic=True)


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ("year", (Order(YEAR),)),
        ("year:asc", (Order(YEAR),)),
        ("year:desc", (Order(YEAR, descending=True),)),
        (" year : DESC ", (Order(YEAR, descending=True),)),
        (["year:desc", "title"], (Order(YEAR, descending=True), Order(TITLE))),
        (("title", "year:desc"), (Order(TITLE), Order(YEAR, descending=True))),
        ([], ()),
        (None, ()),
    ],
)
def test_an_order_names_fields_and_directions(order_by: Any, expected: tuple[Order, ...]) -> None:
    assert parsed(SCHEMA, order_by) == expected


@pytest.mark.parametrize(
    ("order_by", "said"),
    [
        ("year:up", "':asc' or ':desc'"),
        ("year:", "':asc' or ':desc'"),
        ("year:desc:asc", "':asc' or ':desc'"),
        (5, "'field', 'field:desc' or a list"),
        (["year", 5], "'field', 'field:desc' or a list"),
        ({"year": "desc"}, "'field', 'field:desc' or a list"),
        ("meta", "field 'meta' is JSON"),
        ("tags", "field 'tags' is ARRAY"),
        ("v:desc", "field 'v' is FLOAT_VECTOR"),
        ("meta['lang']", "JSON paths are not supported here"),
    ],
)
def test_what_is_no_order_is_refused_with_what_would_be_one(order_by: Any, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        parsed(SCHEMA, order_by)


def test_an_unknown_field_is_told_from_a_dynamic_key() -> None:
    for unknown in ("yaer", "", ":desc", "year, title"):
        with pytest.raises(FieldNotFound, match="fields: id, title, year"):
            parsed(SCHEMA, unknown)
    with pytest.raises(InvalidArgument, match="dynamic keys and JSON paths are not supported"):
        parsed(DYNAMIC, "color")


def test_null_comes_where_milvus_puts_it_for_nothing_is_said_of_it() -> None:
    assert str(Order(YEAR).by(column("year"))) == "year ASC"
    assert str(Order(YEAR, descending=True).by(column("year"))) == "year DESC"
