"""Rankers and facets of one search through the gateway, by an unmodified client over a socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pymilvus import (
    AnnSearchRequest,
    DataType,
    Function,
    FunctionScore,
    FunctionType,
    MilvusClient,
    MilvusException,
)
from sqlalchemy import URL

from vecstore.gateway import serve

QUERY = [1.0, 0.0]
ANGLES = np.linspace(0.1, 1.5, 40)
COSINES = np.cos(ANGLES)
BRANDS = ("acme", "bolt", "crux", None)


@pytest.fixture(scope="module")
def milvus(module_url: URL) -> Iterator[MilvusClient]:
    with serve(module_url, port=0) as gateway:
        client = MilvusClient(f"http://{gateway.address}")
        yield client
        client.close()


def made(milvus: MilvusClient, name: str, metric: str) -> str:
    """40 products: the larger the id, the farther from the query. Brands by turns, one of them NULL."""
    schema = milvus.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("brand", DataType.VARCHAR, max_length=20, nullable=True)
    schema.add_field("colour", DataType.VARCHAR, max_length=20)
    schema.add_field("price", DataType.DOUBLE)
    schema.add_field("stock", DataType.INT32, nullable=True)
    schema.add_field("sold", DataType.BOOL)
    schema.add_field("tags", DataType.ARRAY, element_type=DataType.INT64, max_capacity=4)
    schema.add_field("at", DataType.TIMESTAMPTZ)
    schema.add_field("text", DataType.VARCHAR, max_length=50, enable_match=True, enable_analyzer=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    params = milvus.prepare_index_params()
    params.add_index("v", index_type="FLAT", metric_type=metric)
    milvus.create_collection(name, schema=schema, index_params=params)
    milvus.insert(
        name,
        [
            {
                "id": key,
                "brand": BRANDS[key % 4],
                "colour": "red" if key % 3 else "blue",
                "price": key / 2,
                "stock": None if key == 0 else key,
                "sold": key % 2 == 0,
                "tags": [key],
                "at": f"2026-01-{1 + key % 28:02d}T00:00:00Z",
                "text": "sea" if key % 2 else "land",
                "v": [np.cos(angle), np.sin(angle)],
                "shelf": key % 5,
            }
            for key, angle in enumerate(ANGLES)
        ],
    )
    return name


@pytest.fixture(scope="module")
def products(milvus: MilvusClient) -> str:
    return made(milvus, "products", "COSINE")


def function(field: str | None, **params: Any) -> Function:
    names = [] if field is None else [field]
    return Function(name="r", function_type=FunctionType.RERANK, input_field_names=names, params=params)


def decay(field: str | None = "price", **params: Any) -> Function:
    return function(field, **{"reranker": "decay", "function": "gauss", "origin": 5, "scale": 2, **params})


def boost(**params: Any) -> Function:
    return function(None, reranker="boost", **params)


# Rankers


@pytest.mark.parametrize("curve", ["gauss", "exp", "linear"])
def test_a_search_is_ranked_by_what_a_decay_leaves(milvus: MilvusClient, products: str, curve: str) -> None:
    ranker = decay(function=curve, offset=0.5, decay=0.3)
    (hits,) = milvus.search(products, [QUERY], limit=12, output_fields=["price"], ranker=ranker)
    far = np.maximum(0, np.abs(np.arange(12) / 2 - 5) - 0.5) / 2
    left = {"gauss": 0.3**far**2, "exp": 0.3**far, "linear": np.maximum(0.3, 1 - 0.7 * far)}[curve] * COSINES[:12]
    order = np.argsort(-left, kind="stable")
    assert [hit["id"] for hit in hits] == order.tolist()
    assert [hit["distance"] for hit in hits] == pytest.approx(left[order].tolist(), rel=1e-5)
    assert hits[0]["entity"] == {"price": order[0] / 2}


def test_a_page_of_what_was_ranked(milvus: MilvusClient, products: str) -> None:
    (whole,) = milvus.search(products, [QUERY], limit=10, ranker=decay(), round_decimal=3)
    (page,) = milvus.search(products, [QUERY], limit=4, offset=6, ranker=decay(), round_decimal=3)
    assert [hit["id"] for hit in page] == [hit["id"] for hit in whole][6:]
    assert all(round(hit["distance"], 3) == hit["distance"] for hit in page)


def test_distances_are_similarities_before_they_decay(milvus: MilvusClient) -> None:
    name = made(milvus, "by_l2", "L2")
    (hits,) = milvus.search(name, [QUERY], limit=3, ranker=decay(origin=1, scale=1))
    left = {key: (1 - 2 * np.arctan(2 - 2 * COSINES[key]) / np.pi) * 0.5 ** (1 - key / 2) ** 2 for key in range(3)}
    assert {hit["id"]: hit["distance"] for hit in hits} == pytest.approx(left, rel=1e-4)
    assert [hit["id"] for hit in hits] == [2, 1, 0]
    (hits,) = milvus.search(name, [QUERY], limit=3, ranker=boost(filter="id == 2", weight=0.01))
    assert [hit["id"] for hit in hits] == [2, 0, 1]  # a smaller distance is a better one


def test_boosts_promote_what_their_filters_hold_of(milvus: MilvusClient, products: str) -> None:
    ranker = boost(filter='"red" == colour and brand == "bolt"', weight=2.5)
    (hits,) = milvus.search(products, [QUERY], limit=6, ranker=ranker)
    assert [hit["id"] for hit in hits] == [1, 5, 0, 2, 3, 4]
    assert hits[0]["distance"] == pytest.approx(2.5 * COSINES[1], rel=1e-5)
    (hits,) = milvus.search(products, [QUERY], limit=3, ranker=boost(weight=0.5))
    assert [hit["distance"] for hit in hits] == pytest.approx((0.5 * COSINES[:3]).tolist(), rel=1e-5)
    (hits,) = milvus.search(
        products, [QUERY], limit=6, filter="id > {least}", filter_params={"least": 2, "shelves": [0]},
        ranker=boost(filter="shelf in {shelves}", weight=9),
    )  # fmt: skip
    assert [hit["id"] for hit in hits] == [5, 3, 4, 6, 7, 8]


def test_several_boosts_and_a_random_one(milvus: MilvusClient, products: str) -> None:
    random = boost(weight=0.5, random_score={"seed": 126, "field": "id"})
    functions = [boost(filter="id == 1", weight=2), boost(filter="id == 1", weight=3)]
    ranker = FunctionScore([*functions, random], params={"boost_mode": "Sum", "function_mode": "Sum"})
    (hits,) = milvus.search(products, [QUERY], limit=3, ranker=ranker)
    found = {hit["id"]: hit["distance"] - COSINES[hit["id"]] for hit in hits}
    # As Milvus's own code throws the dice.
    assert found == pytest.approx({0: 0.17659648907 / 2, 1: 5 + 0.03323853663 / 2, 2: found[2]}, abs=1e-5)
    (hits,) = milvus.search(products, [QUERY], limit=3, ranker=FunctionScore(functions))
    assert hits[0]["distance"] == pytest.approx(6 * COSINES[1], rel=1e-5)
    (hits,) = milvus.search(products, [QUERY], limit=3, ranker=boost(weight=1, random_score={"seed": 5}))
    assert all(0 <= hit["distance"] < 1 for hit in hits)


def test_a_hybrid_search_is_ranked_by_a_decay(milvus: MilvusClient, products: str) -> None:
    requests = [AnnSearchRequest([QUERY], "v", {}, limit=20), AnnSearchRequest([[0.0, 1.0]], "v", {}, limit=20)]
    (hits,) = milvus.hybrid_search(products, requests, decay(origin=0, scale=1), limit=40)
    left = np.maximum(np.where(np.arange(40) < 20, COSINES, 0), np.where(np.arange(40) >= 20, np.sin(ANGLES), 0))
    left *= 0.5 ** (np.arange(40) / 2) ** 2
    assert [hit["id"] for hit in hits][:8] == np.argsort(-left)[:8].tolist()
    assert [hit["distance"] for hit in hits][:8] == pytest.approx(np.sort(left)[::-1][:8].tolist(), rel=1e-4)


def test_texts_are_ranked_as_well(milvus: MilvusClient, products: str) -> None:
    ranker = decay(origin=10, scale=0.1)
    (hits,) = milvus.search(products, ["sea"], anns_field="text", limit=40, ranker=ranker, output_fields=["price"])
    assert hits[0]["entity"]["price"] in {9.5, 10.5}
    (hits,) = milvus.search(products, ["sea"], anns_field="text", limit=40, ranker=boost(filter="id == 17", weight=2))
    assert hits[0]["id"] == 17


@pytest.mark.parametrize(
    ("ranker", "message"),
    [
        (decay(scale=0), "rerank_builder: decay: scale must be > 0, got 0.0: invalid parameter"),
        (decay(offset=-1), "decay: offset must be >= 0"),
        (decay(decay=1), "decay: decay must be"),
        (decay(function="cubic"), "decay: function must be"),
        (decay(score_mode="min"), "decay: score_mode must be"),
        (decay(origin="now"), "decay param origin: now is not a number"),
        (decay(origin="nan"), "decay: origin must be a finite number"),
        (function("price", reranker="decay", function="exp", scale=1), "decay origin not specified"),
        (function("price", reranker="decay", function="exp", origin=1), "decay scale not specified"),
        (function("price", reranker="decay", scale=1, origin=1), "decay function not specified"),
        (decay("colour"), "decay input field colour must be numeric, got VarChar"),
        (decay("at"), "decay input field at must be numeric, got Timestamptz"),
        (decay("nothing"), "input field nothing not found in collection schema"),
        (decay(None), "decay reranker requires exactly 1 input field, got 0"),
        (function(None, reranker="rrf"), "ranker 'rrf' is not supported here: a search is ranked by decay or boost"),
        (function(None), "reranker name not specified"),
        (Function("b", FunctionType.BM25, ["text"], ["v"]), "BM25 is not rerank function"),
        (FunctionScore([]), "no rerank functions specified"),
        (FunctionScore([decay(), boost(weight=1)]), "currently only supports one rerank function"),
        (boost(filter="id == 1"), "must set weight params for weight scorer"),
        (boost(weight="heavy"), "parse function scorer weight params failed with error"),
        (boost(weight="inf"), "parse function scorer weight params failed with error"),
        (boost(weight=1, filter="nothing >"), "cannot parse expression:  / nothing >, error"),
        (boost(weight=1, random_score={"seed": "x"}), "random seed must be number"),
        (boost(weight=1, random_score={"seed": True}), "random seed must be number"),
        (boost(weight=1, random_score="x"), "random_score cannot be read"),
        (boost(weight=1, random_score={"field": 1}), "random seed field name must be string"),
        (boost(weight=1, random_score={"field": "stock"}), "only support int64 field as random seed, but got Int32"),
        (boost(weight=1, random_score={"field": "nothing"}), r"random seed field not found: field not found\[field="),
        (FunctionScore([boost(weight=1)], params={"boost_mode": "max"}), "unknown boost mode: max"),
        (FunctionScore([boost(weight=1)], params={"function_mode": "max"}), "unknown boost mode: max"),
    ],
)
def test_rankers_that_are_none(milvus: MilvusClient, products: str, ranker: Any, message: str) -> None:
    with pytest.raises(MilvusException, match=message):
        milvus.search(products, [QUERY], ranker=ranker)


def test_what_a_ranker_does_not_go_with(milvus: MilvusClient, products: str) -> None:
    with pytest.raises(MilvusException, match="don't support use segment scorer with group_by or search_iterator"):
        milvus.search(products, [QUERY], group_by_field="brand", ranker=boost(weight=1))
    with pytest.raises(MilvusException, match="leave group_by and order_by out"):
        milvus.search(
            products, [QUERY], order_by_fields=[{"field": "price"}], ranker=boost(weight=1)
        )  # fmt: skip
    with pytest.raises(MilvusException, match="boost cannot rank a hybrid search"):
        milvus.hybrid_search(products, [AnnSearchRequest([QUERY], "v", {}, limit=5)], boost(weight=1), limit=5)
