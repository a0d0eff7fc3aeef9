"""What a search found, in buckets."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecstore import Bucket, Facet, Hit, Hits, InvalidArgument, SearchPath


def found(*records: dict[str, Any]) -> Hits:
    """Hits with the ids 0, 1, 2, ... and the distances 0, 1, 2, ..."""
    return Hits([Hit(key, float(key), record) for key, record in enumerate(records)], SearchPath.INDEX)


SHOES = found(
    {"brand": "B", "colour": "red", "price": 20, "rating": 4.5},
    {"brand": "A", "colour": "red", "price": 10, "rating": None},
    {"brand": "B", "colour": "blue", "price": 30, "rating": 3.5},
    {"brand": None, "colour": "red", "price": 40, "rating": 1.0},
    {"brand": "A", "colour": "red", "price": 60, "rating": None},
    {"brand": "B", "colour": "red", "price": 20, "rating": 5.0},
)


def keys(buckets: list[Bucket]) -> list[Any]:
    return [next(iter(bucket.key.values())) for bucket in buckets]


def test_the_bucket_of_the_best_hit_comes_first() -> None:
    buckets = Facet("brand").over(SHOES)
    assert [(bucket.key, bucket.count) for bucket in buckets] == [
        ({"brand": "B"}, 3),
        ({"brand": "A"}, 2),
        ({"brand": None}, 1),
    ]
    assert all((bucket.aggregates, len(bucket.hits), bucket.buckets) == ({}, 0, []) for bucket in buckets)
    assert keys(Facet("brand", size=2).over(SHOES)) == ["B", "A"]
    assert Facet("brand").over(found()) == []


def test_values_that_come_together() -> None:
    buckets = Facet(["colour", "brand"]).over(SHOES)
    assert [(*bucket.key.values(), bucket.count) for bucket in buckets] == [
        ("red", "B", 2),
        ("red", "A", 2),
        ("blue", "B", 1),
        ("red", None, 1),
    ]
    assert list(buckets[0].key) == ["colour", "brand"]


def test_aggregates_leave_out_what_has_no_value() -> None:
    texts = ["count(*)", "count(rating)", "sum(price)", "avg(price)", "AVG(rating)", "min(rating)", "max(colour)"]
    first, second, _ = Facet("brand", aggregates=texts).over(SHOES)
    assert first.aggregates == dict(zip(texts, [3, 3, 70, pytest.approx(70 / 3), 13 / 3, 3.5, "red"], strict=True))
    assert second.aggregates == dict(zip(texts, [2, 0, 70, 35.0, None, None, "red"], strict=True))
    assert isinstance(first.aggregates["sum(price)"], int)
    (all_,) = Facet("kind", aggregates=["max(_score)", "max(at)"]).over(
        found({"kind": 1, "at": datetime(2026, 1, 1, tzinfo=UTC)}, {"kind": 1, "at": None})
    )
    assert all_.aggregates == {"max(_score)": 1.0, "max(at)": datetime(2026, 1, 1, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ("_count", [None, "A", "B"]),
        ("_count:desc", ["B", "A", None]),
        ("_key", [None, "A", "B"]),
        ("_key:desc", ["B", "A", None]),
        ("sum(price)", [None, "B", "A"]),
        (["sum(price):desc", "_key"], ["A", "B", None]),
        ("avg(rating)", ["A", None, "B"]),
        ("avg(rating):desc", ["B", None, "A"]),
    ],
)
def test_the_order_of_buckets(order_by: Any, expected: list[Any]) -> None:
    facet = Facet("brand", aggregates=["sum(price)", "avg(rating)"], order_by=order_by)
    assert keys(facet.over(SHOES)) == expected


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        (None, [0, 1, 2]),
        ("_score:desc", [5, 4, 3]),
        ("rating", [3, 2, 0]),
        ("rating:desc", [5, 0, 2]),
        (["price", "_score:desc"], [1, 5, 0]),
    ],
)
def test_the_hits_of_a_bucket(order_by: Any, expected: list[int]) -> None:
    hits = found(*({**hit.fields, "all": 1} for hit in SHOES))
    (bucket,) = Facet("all", hits=3, hits_order_by=order_by).over(hits)
    assert bucket.hits.ids.tolist() == expected
    assert bucket.hits.path is SearchPath.INDEX
    (bucket,) = Facet("all", hits=9, hits_order_by=order_by or "rating:desc").over(hits)
    assert bucket.count == len(bucket.hits) == 6
    if order_by == "rating:desc":
        assert bucket.hits.ids.tolist()[-2:] == [1, 4]  # None is last either way


def test_buckets_in_buckets() -> None:
    inner = Facet("colour", size=1, aggregates="count(*)", order_by="_key", hits=1)
    buckets = Facet("brand", inside=inner).over(SHOES)
    assert [[(it.key["colour"], it.count, it.hits.ids.tolist()) for it in bucket.buckets] for bucket in buckets] == [
        [("blue", 1, [2])],
        [("red", 2, [1])],
        [("red", 1, [3])],
    ]


@given(st.lists(st.sampled_from([None, 0, 1, True, False, 0.0, "0", "", math.nan])))
def test_every_hit_is_in_one_bucket(values: list[Any]) -> None:
    buckets = Facet("x", size=100).over(found(*({"x": value} for value in values)))
    told = {"nan" if value != value else (type(value), value) for value in values}  # noqa: PLR0124 - NaN
    assert sum(bucket.count for bucket in buckets) == len(values)
    assert len(buckets) == len(told)


def test_nan_is_larger_than_any_number() -> None:
    hits = found({"x": 1.0}, {"x": math.nan}, {"x": -math.inf}, {"x": math.inf})
    assert str(keys(Facet("x", order_by="_key").over(hits))) == "[-inf, 1.0, inf, nan]"
    hits = found({"x": math.nan, "k": 1}, {"x": 3.0, "k": 1})
    assert Facet("k", aggregates="min(x)").over(hits)[0].aggregates == {"min(x)": 3.0}


def test_a_key_that_only_some_entities_have_is_none_elsewhere() -> None:
    assert keys(Facet("shelf").over(found({"shelf": 1}, {}, {"shelf": 1}))) == [1, None]


@pytest.mark.parametrize(
    ("facet", "message"),
    [
        (Facet("nothing"), "no hit has a field 'nothing': put it into output_fields"),
        (Facet("brand", aggregates="max(nothing)"), "no hit has a field 'nothing'"),
        (Facet("brand", hits=1, hits_order_by="nothing"), "no hit has a field 'nothing'"),
        (Facet("brand", inside=Facet("nothing")), "no hit has a field 'nothing'"),
        (Facet("v"), "v: a list, a vector or JSON is no key"),
        (Facet("tags"), "tags: a list, a vector or JSON is no key"),
        (Facet("brand", aggregates="sum(colour)"), r"'sum\(colour\)': a value is of type str"),
        (Facet("brand", aggregates="avg(v)"), "a value is of type ndarray"),
        (Facet("brand", aggregates="max(sold)"), "a value is of type bool"),
        (Facet("brand", aggregates="max(mixed)"), "values of 'mixed' cannot be compared"),
        (Facet("mixed", order_by="_key"), "values of '_key' cannot be compared"),
        (Facet("brand", hits=1, hits_order_by="v"), "values of 'v' cannot be compared"),
    ],
)
def test_what_hits_cannot_be_put_in_buckets_by(facet: Facet, message: str) -> None:
    common = {"brand": "A", "colour": "red", "tags": [1], "sold": True}
    hits = found(
        {**common, "v": np.ones(2, np.float32), "mixed": 1}, {**common, "v": np.ones(2, np.float32), "mixed": "1"}
    )
    with pytest.raises(InvalidArgument, match=message):
        facet.over(hits)


def test_what_was_found_is_the_hits_of_one_query() -> None:
    with pytest.raises(InvalidArgument, match=r"the Hits of one query, search\(\.\.\.\)\[0\], not a list"):
        Facet("brand").over([SHOES])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fields": []}, "fields must name a field"),
        ({"fields": ["a", "a"]}, "several different ones"),
        ({"fields": [1]}, "fields must be a list of names"),
        ({"size": 0}, "size must be an int from 1"),
        ({"size": True}, "size must be an int from 1"),
        ({"hits": -1}, "hits must be an int from 0"),
        ({"aggregates": "median(x)"}, "no aggregate"),
        ({"aggregates": ["sum(*)"]}, "sum needs a field"),
        ({"order_by": "price"}, "order_by names 'price'; buckets are ordered by '_count', '_key', or an aggregate"),
        ({"order_by": "_count:up"}, "must end in"),
        ({"hits_order_by": "x"}, "belongs to hits"),
        ({"inside": "brand"}, "inside must be another Facet"),
    ],
)
def test_a_facet_that_is_none_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        Facet(**{"fields": "a", **wrong})
