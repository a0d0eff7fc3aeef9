"""Rankers and facets of one search through the gateway, by an unmodified client over a socket."""

from __future__ import annotations

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
    SearchAggregation,
    TopHits,
)

QUERY = [1.0, 0.0]
ANGLES = np.linspace(0.1, 1.5, 40)
COSINES = np.cos(ANGLES)
BRANDS = ("acme", "bolt", "crux", None)


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


def test_what_is_boosted_before_it_decays(milvus: MilvusClient, products: str) -> None:
    ranker = FunctionScore([decay(origin=0, scale=1), boost(filter="id == 4", weight=100)])
    (hits,) = milvus.search(products, [QUERY], limit=6, ranker=ranker)
    assert [hit["id"] for hit in hits] == [4, 0, 1, 2, 3, 5]
    assert hits[0]["distance"] == pytest.approx(100 * COSINES[4] * 0.5**4, rel=1e-5)


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
        (FunctionScore([decay(), decay()]), "currently only supports one rerank function"),
        (FunctionScore([decay(), boost(filter="nothing >", weight=1)]), "cannot parse expression:  / nothing >, error"),
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


# Buckets


def buckets(milvus: MilvusClient, products: str, aggregation: SearchAggregation, **options: Any) -> list[Any]:
    options = {"data": [QUERY], "anns_field": "v", **options}
    found = milvus.search(products, search_aggregation=aggregation, **options)
    assert [len(hits) for hits in found] == [0] * len(options["data"])
    return found.agg_buckets[0]


def key(bucket: Any) -> Any:
    (part,) = bucket.key
    return part["value"]


def test_buckets_hold_one_hit_of_each_value_where_they_show_none(milvus: MilvusClient, products: str) -> None:
    metrics = {
        "n": {"count": "*"},
        "known": {"count": "stock"},
        "sum": {"sum": "stock"},
        "price": {"avg": "price"},
        "near": {"max": "_score"},
        "latest": {"max": "at"},
        "colour": {"min": "colour"},
    }
    found = buckets(milvus, products, SearchAggregation(["brand"], 3, metrics=metrics))
    assert [key(bucket) for bucket in found] == ["acme", "bolt", "crux"]
    assert [part["field_name"] for part in found[0].key] == ["brand"]
    described = {field["name"]: field["field_id"] for field in milvus.describe_collection(products)["fields"]}
    assert found[0].key[0]["field_id"] == described["brand"]
    assert found[0].metrics == {  # the sum of no value is left out, as Milvus does
        "n": 1,
        "known": 0,
        "price": 0.0,
        "near": pytest.approx(COSINES[0]),
        "latest": "2026-01-01T00:00:00Z",
        "colour": "blue",
    }
    assert found[1].metrics["sum"] == 1
    assert isinstance(found[1].metrics["price"], float)
    assert [(bucket.count, bucket.hits, bucket.sub_groups) for bucket in found] == [(1, [], [])] * 3


def test_the_nearest_of_each_bucket_and_their_order(milvus: MilvusClient, products: str) -> None:
    aggregation = SearchAggregation(
        ["brand"],
        4,
        metrics={"sum": {"sum": "price"}, "n": {"count": "*"}},
        order=[{"sum": "desc"}],
        top_hits=TopHits(3, [{"colour": "asc"}, {"_score": "asc"}]),
    )
    found = buckets(milvus, products, aggregation, output_fields=["*"], filter="id > 1", round_decimal=2)
    assert [key(bucket) for bucket in found] == ["bolt", "acme", None, "crux"]
    assert found[0].metrics == {"sum": (5 + 9 + 13) / 2, "n": 3}
    assert [hit.pk for hit in found[0].hits] == [9, 13, 5]
    assert [hit.pk for hit in found[2].hits] == [3, 11, 7]
    first = found[0].hits[0]
    assert first.score == pytest.approx(round(COSINES[9], 2))
    assert first.fields == {
        "id": 9,
        "brand": "bolt",
        "colour": "blue",
        "price": 4.5,
        "stock": 9,
        "sold": False,
        "tags": b"[9]",
        "at": "2026-01-10T00:00:00Z",
        "text": "sea",
        "shelf": 4,
    }
    assert "brand" not in found[2].hits[0].fields  # NULL


def test_buckets_in_buckets(milvus: MilvusClient, products: str) -> None:
    inner = SearchAggregation(
        ["colour", "sold"],
        3,
        metrics={"price": {"max": "price"}},
        order=[{"_key": "desc"}],
        top_hits=TopHits(2),
    )
    outer = SearchAggregation(["brand"], 2, order=[{"_count": "desc"}, {"_key": "asc"}], sub_aggregation=inner)
    found = buckets(milvus, products, outer, output_fields=["shelf"], filter="brand is not null")
    # Six values come together here, three brands by two colours, and of each the nearest two are counted.
    assert [(key(bucket), bucket.count, bucket.hits) for bucket in found] == [("acme", 4, []), ("bolt", 4, [])]
    first, second = found[0].sub_groups
    assert [part["value"] for part in first.key] == ["red", True]
    assert [part["value"] for part in second.key] == ["blue", True]
    assert [(hit.pk, hit.fields) for hit in first.hits] == [(4, {"shelf": 4}), (8, {"shelf": 3})]
    assert first.metrics == {"price": 4.0}
    assert [hit.pk for hit in second.hits] == [0, 12]


def test_buckets_of_each_query_by_texts_and_ids(milvus: MilvusClient, products: str) -> None:
    aggregation = SearchAggregation(["colour"], 2, top_hits=TopHits(1))
    found = milvus.search(products, [QUERY, [0.0, 1.0]], search_aggregation=aggregation, limit=1)
    assert [[bucket.hits[0].pk for bucket in query] for query in found.agg_buckets] == [[0, 1], [39, 38]]
    found = milvus.search(products, ids=[30], search_aggregation=aggregation)
    first, second = (bucket.hits[0].pk for bucket in found.agg_buckets[0])
    assert (first, second in {29, 31}) == (30, True)  # which are equally near
    found = buckets(milvus, products, aggregation, data=["sea"], anns_field="text")
    assert {hit.pk % 2 for bucket in found for hit in bucket.hits} == {1}
    assert [bucket.count for bucket in found] == [1, 1]
    assert milvus.search(products, [QUERY], filter="id < 0", search_aggregation=aggregation).agg_buckets == []


def test_a_search_in_groups_of_several_fields(milvus: MilvusClient, products: str) -> None:
    names = ["brand", "colour"]
    (hits,) = milvus.search(
        products, [QUERY], limit=5, group_by_fields=names, group_size=1, output_fields=names
    )  # fmt: skip
    together = [tuple(hit["entity"][name] for name in names) for hit in hits]
    assert [hit["id"] for hit in hits] == [0, 1, 2, 3, 4]
    assert len(set(together)) == 5
    (hits,) = milvus.search(products, ["sea"], anns_field="text", limit=2, group_by_field="colour", group_size=3)
    assert len(hits) == 6


def nested(*names: str) -> SearchAggregation:
    inner = None
    for name in reversed(names):
        inner = SearchAggregation([name], 2, sub_aggregation=inner)
    assert inner is not None
    return inner


@pytest.mark.parametrize(
    ("aggregation", "message"),
    [
        (nested("brand", "colour", "sold", "stock", "id"), "search_aggregation nesting exceeds max 4 levels"),
        (nested("brand", "brand"), 'duplicated group_by field "brand" across levels'),
        (SearchAggregation(["brand", "brand"], 2), "duplicated group_by field in one level"),
        (SearchAggregation(["price"], 2), "FLOAT / DOUBLE fields are not supported with search_aggregation"),
        (SearchAggregation(["tags"], 2), 'group_by field "tags": ARRAY fields are not supported'),
        (SearchAggregation(["v"], 2), "FLOAT_VECTOR fields are not supported"),
        (SearchAggregation(["shelf"], 2), "JSON / dynamic fields are not yet supported with search_aggregation"),
        (SearchAggregation(["brand"], 10_001), "number of search_aggregation result entries is too large"),
        (SearchAggregation(["brand"], 101, top_hits=TopHits(100)), "result entries is too large"),
        (SearchAggregation(["brand"], 2, metrics={"m": {"sum": "colour"}}), 'invalid metric "m": .*is VARCHAR; sum'),
        (SearchAggregation(["brand"], 2, metrics={"m": {"max": "shelf"}}), 'metric field "shelf": JSON / dynamic'),
        (SearchAggregation(["brand"], 2, top_hits=TopHits(1, [{"tags": "asc"}])), 'top_hits.sort field "tags": ARRAY'),
    ],
)
def test_aggregations_that_are_none(
    milvus: MilvusClient, products: str, aggregation: SearchAggregation, message: str
) -> None:
    with pytest.raises(MilvusException, match=message):
        milvus.search(products, [QUERY], search_aggregation=aggregation)


def test_what_an_aggregation_does_not_go_with(milvus: MilvusClient, products: str) -> None:
    aggregation = SearchAggregation(["brand"], 2)
    with pytest.raises(MilvusException, match="offset is not supported with search_aggregation"):
        milvus.search(products, [QUERY], search_params={"offset": 1}, search_aggregation=aggregation)
    with pytest.raises(MilvusException, match="function_score and search_aggregation cannot be used simultaneously"):
        milvus.search(products, [QUERY], ranker=boost(weight=1), search_aggregation=aggregation)
