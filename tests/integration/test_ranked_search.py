"""Searches whose answers a ranker orders."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from vecstore import (
    AnnRequest,
    Boost,
    Boosts,
    Collection,
    DataType,
    Decay,
    Field,
    FieldNotFound,
    FilterError,
    Hnsw,
    InvalidArgument,
    Metric,
    Rrf,
    SearchPath,
    Store,
    TextRequest,
)

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
FIELDS = (
    Field("id", DataType.INT64, primary_key=True),
    Field("title", DataType.VARCHAR, max_length=50),
    Field("year", DataType.INT32, nullable=True),
    Field("price", DataType.DOUBLE),
    Field("at", DataType.TIMESTAMPTZ),
    Field("v", DataType.FLOAT_VECTOR, dim=2),
)
ANGLES = np.linspace(0.1, 1.5, 40)
QUERY = [1.0, 0.0]


@pytest.fixture
def books(store: Store) -> Collection:
    """The farther an entity is from the query, the larger its id, year and price; of every tenth the year is NULL."""
    books = store.create_collection("books", FIELDS, dynamic=True)
    books.insert(
        [
            {
                "id": key,
                "title": f"a {'red' if key % 2 else 'blue'} book",
                "year": None if key % 10 == 5 else 1980 + key,
                "price": key / 2,
                "at": EPOCH + timedelta(days=key),
                "v": [np.cos(angle), np.sin(angle)],
                "shelf": key % 3,
            }
            for key, angle in enumerate(ANGLES)
        ]
    )
    return books


def similarity(key: int) -> float:
    return float(np.cos(ANGLES[key]))


def test_a_decay_orders_the_nearest_by_what_is_left_of_their_scores(books: Collection) -> None:
    decay = Decay("year", origin=1989, scale=4)
    (hits,) = books.search(QUERY, limit=10, ranker=decay, output_fields=["title"])
    left = {key: similarity(key) * 0.5 ** ((9 - key) / 4) ** 2 for key in range(10) if key != 5}
    expected = [*sorted(left, key=lambda key: -left[key]), 5]  # whose year is NULL
    assert hits.ids.tolist() == expected
    assert hits.distances == pytest.approx([*(left[key] for key in expected[:-1]), 0], abs=1e-6)
    assert hits[0].fields == {"title": "a red book"}  # and nothing that was read for the ranker
    assert books.search(QUERY, limit=3, offset=2, ranker=decay)[0].ids.tolist()  # of the nearest five


def test_a_page_is_cut_from_the_order_of_the_ranker(books: Collection) -> None:
    decay = Decay("price", origin=100, scale=20, function="exp")
    whole = books.search(QUERY, limit=8, ranker=decay)[0].ids.tolist()
    assert whole != sorted(whole)
    assert books.search(QUERY, limit=3, offset=5, ranker=decay)[0].ids.tolist() == whole[5:]


def test_times_decay_as_well(books: Collection) -> None:
    decay = Decay("at", origin=EPOCH + timedelta(days=7), scale=timedelta(days=2), function="linear", decay=0.1)
    (hits,) = books.search(QUERY, limit=8, ranker=decay, output_fields=["*"])
    left = {key: similarity(key) * max(0.1, 1 - 0.45 * (7 - key)) for key in range(8)}
    assert hits.ids.tolist() == sorted(left, key=lambda key: -left[key])
    assert set(hits[0].fields) == {"id", "title", "year", "price", "at", "v", "shelf"}


def test_a_boost_promotes_what_its_filter_holds_of(books: Collection) -> None:
    (hits,) = books.search(QUERY, limit=6, ranker=Boost("shelf == 1 and year > 1982", weight=1.5))
    assert hits.ids.tolist()[:1] == [4]  # of 0 to 5, the only one
    assert hits[0].distance == pytest.approx(1.5 * similarity(4))
    assert hits.ids.tolist()[1:] == [0, 1, 2, 3, 5]
    boost = Boost("id in {ids}", weight=2, filter_params={"ids": [3, 5]})
    assert books.search(QUERY, limit=6, ranker=boost)[0].ids.tolist() == [3, 5, 0, 1, 2, 4]
    assert books.search(QUERY, limit=3, ranker=Boost(" ", weight=2))[0].ids.tolist() == [0, 1, 2]


def test_by_a_distance_a_weight_under_one_promotes(books: Collection) -> None:
    (hits,) = books.search(QUERY, limit=4, metric=Metric.L2, ranker=Boost("id == 3", weight=0.01))
    assert hits.ids.tolist() == [3, 0, 1, 2]
    assert hits[0].distance == pytest.approx(0.01 * (2 - 2 * similarity(3)), rel=1e-4)


def test_several_boosts_and_random_ones(books: Collection) -> None:
    boosts = Boosts(
        Boost("id == 2", weight=3),
        Boost("title like '%red%'", weight=4),
        Boost(weight=5, random_seed=7, random_field="year"),
        Boost("id == 1", weight=6, random_seed=8),
        function_mode="sum",
        boost_mode="sum",
    )
    hits = {hit.id: hit.distance - similarity(hit.id) for hit in books.search(QUERY, limit=6, ranker=boosts)[0]}
    assert 3 < hits[2] < 8
    assert 4 < hits[1] < 15
    assert hits[5] == pytest.approx(4, abs=1e-6)  # no year, no random number
    assert 0 < hits[0] < 5
    again = books.search(QUERY, limit=6, ranker=boosts)[0]
    assert {hit.id: hit.distance - similarity(hit.id) for hit in again} == hits


def test_a_ranker_may_choose_among_more_than_it_gives_back(books: Collection) -> None:
    newest = Decay("price", origin=20, scale=1)
    (hits,) = books.hybrid_search([AnnRequest(QUERY, limit=30)], newest, limit=2, output_fields=["price"])
    assert hits.ids.tolist() == [29, 28]
    assert hits[0].fields == {"price": 14.5}
    (hits,) = books.hybrid_search([AnnRequest(QUERY, limit=30)], Boost("id == 29", weight=50), limit=2, offset=1)
    assert hits.ids.tolist() == [0, 1]


def test_a_decay_ranks_what_several_requests_found(books: Collection) -> None:
    requests = [AnnRequest(QUERY, limit=4), TextRequest("title", "red", limit=100)]
    (hits,) = books.hybrid_search(requests, Decay("price", origin=0, scale=5, norm_score=True), limit=100)
    ids = hits.ids.tolist()
    assert set(ids) == {0, 2} | set(range(1, 40, 2))
    left = 0.5 ** (1.5 / 5) ** 2
    assert dict(zip(ids, hits.distances, strict=True))[3] == pytest.approx((1 + similarity(3)) / 2 * left)
    with pytest.raises(InvalidArgument, match="there are 2"):
        books.hybrid_search(requests, Boost(weight=2))


def test_by_an_index_as_well_and_in_one_statement_whatever_the_numbers_are(books: Collection) -> None:
    books.create_index("v", Hnsw(metric=Metric.COSINE))
    for origin in (0.0, 2.0, 4.5):
        decay = Decay("price", origin=origin, scale=0.5)
        exact, found = (books.search([QUERY, QUERY], limit=10, exact=way, ranker=decay)[1] for way in (True, False))
        assert (exact.path, found.path) == (SearchPath.EXACT, SearchPath.INDEX)
        assert found.ids.tolist() == exact.ids.tolist()
        assert found.ids[0] == round(2 * origin)
    assert books.search(ids=[3], limit=5, ranker=Boost("id == 7", weight=0))[0].ids[0] == 3


def test_in_a_transaction_a_ranker_sees_what_was_written_in_it(books: Collection, store: Store) -> None:
    with store.transaction() as together:
        mine = together.collection("books")
        mine.delete("id < 5")
        assert mine.search(QUERY, limit=3, ranker=Boost("id == 7", weight=9))[0].ids.tolist() == [7, 5, 6]


@pytest.mark.parametrize(
    ("ranker", "error", "message"),
    [
        (Decay("title", origin=1, scale=1), InvalidArgument, "field 'title' is VARCHAR, and must be numeric"),
        (Decay("at", origin=1, scale=1), InvalidArgument, "field 'at' is TIMESTAMPTZ, and must be numeric"),
        (
            Decay("year", origin=EPOCH, scale=timedelta(1)),
            InvalidArgument,
            "field 'year' is INT32, and must be a TIMESTAMPTZ",
        ),
        (Decay("nothing", origin=1, scale=1), FieldNotFound, "nothing"),
        (Boost("nothing >", weight=1), FilterError, "nothing"),
        (Boost(weight=1, random_seed=1, random_field="title"), InvalidArgument, "random_field must be an integer"),
        (Boost(weight=1, random_seed=1, random_field="nothing"), FieldNotFound, "nothing"),
        (Rrf(), InvalidArgument, "the ranker of a search is Decay"),
        ("decay", InvalidArgument, "the ranker of a search is Decay"),
    ],
)
def test_rankers_that_do_not_fit(books: Collection, ranker: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        books.search(QUERY, ranker=ranker)


@pytest.mark.parametrize("option", [{"group_by": "title"}, {"order_by": "year"}])
def test_a_ranker_is_the_order_and_orders_entities(books: Collection, option: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="leave group_by and order_by out"):
        books.search(QUERY, ranker=Boost(weight=1), **option)


def test_a_product_that_is_smaller_than_any_number_is_zero(books: Collection) -> None:
    (hits,) = books.search(QUERY, limit=3, ranker=Decay("price", origin=1e9, scale=1e-3))
    assert hits.distances.tolist() == [0, 0, 0]
    assert not any(map(math.isnan, hits.distances))
