"""Searches through the gateway, by unmodified clients over a socket."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pytest
from pymilvus import (
    AnnSearchRequest,
    Collection,
    DataType,
    Function,
    FunctionType,
    MilvusClient,
    MilvusException,
    RRFRanker,
    WeightedRanker,
    connections,
)

import vecstore
from vecstore import Store
from vecstore.gateway import Gateway

RNG = np.random.default_rng(6)
VECTORS = RNG.standard_normal((300, 8)).astype(np.float32)
QUERY = VECTORS[7].tolist()


def made(milvus: MilvusClient, name: str, metric: str) -> str:
    """300 entities: id, kind (one of five), a nullable year, a vector, dynamic `even`; searches are exact."""
    schema = milvus.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("kind", DataType.VARCHAR, max_length=20)
    schema.add_field("year", DataType.INT32, nullable=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=8)
    params = milvus.prepare_index_params()
    params.add_index("v", index_type="FLAT", metric_type=metric)
    milvus.create_collection(name, schema=schema, index_params=params)
    rows = [
        {"id": key, "kind": f"k{key % 5}", "year": key if key % 3 else None, "v": VECTORS[key], "even": key % 2 == 0}
        for key in range(300)
    ]
    milvus.insert(name, rows)
    return name


@pytest.fixture(scope="module")
def points(milvus: MilvusClient) -> str:
    return made(milvus, "points", "L2")


def scores(metric: str) -> np.ndarray:
    query = VECTORS[7].astype(np.float64)
    wide = VECTORS.astype(np.float64)
    if metric == "L2":
        return ((wide - query) ** 2).sum(axis=1)
    if metric == "IP":
        return wide @ query
    return (wide @ query) / np.linalg.norm(wide, axis=1) / np.linalg.norm(query)


def nearest(metric: str, count: int) -> list[int]:
    found = scores(metric)
    return np.argsort(found if metric == "L2" else -found, kind="stable")[:count].tolist()


@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
def test_scores_are_those_of_milvus(milvus: MilvusClient, metric: str) -> None:
    name = made(milvus, f"by_{metric}", metric)
    (hits,) = milvus.search(name, [QUERY], limit=10, output_fields=["kind"])
    assert [hit["id"] for hit in hits] == nearest(metric, 10)
    assert [hit["distance"] for hit in hits] == pytest.approx(scores(metric)[nearest(metric, 10)].tolist(), abs=1e-4)
    assert hits[0]["entity"] == {"kind": f"k{hits[0]['id'] % 5}"}


def test_several_vectors_offset_rounding_and_every_field(milvus: MilvusClient, points: str) -> None:
    first, second = milvus.search(points, VECTORS[[7, 8]], limit=4, offset=1, round_decimal=2, output_fields=["*"])
    assert [hit["id"] for hit in first] == nearest("L2", 5)[1:]
    assert all(round(hit["distance"], 2) == hit["distance"] for hit in [*first, *second])
    entity = first[0]["entity"]
    assert set(entity) == {"id", "kind", "year", "v", "even"}
    assert entity["v"] == VECTORS[first[0]["id"]].tolist()


def test_the_metric_must_be_the_index_s(milvus: MilvusClient, points: str) -> None:
    with pytest.raises(
        MilvusException, match=r"metric type not match: invalid parameter\[expected=L2\]\[actual=COSINE\]"
    ) as caught:
        milvus.search(points, [QUERY], search_params={"metric_type": "COSINE"})
    assert caught.value.code == 1100


def test_filters_with_templates_and_dynamic_keys(milvus: MilvusClient, points: str) -> None:
    (hits,) = milvus.search(
        points,
        [QUERY],
        limit=300,
        filter="kind in {kinds} and even == true",
        filter_params={"kinds": ["k1", "k2"]},
        output_fields=["even", "kind"],
    )
    assert len(hits) == 60
    assert all(hit["entity"] == {"even": True, "kind": f"k{hit['id'] % 5}"} for hit in hits)


def test_ranges_hold_their_near_end_and_not_their_far_one(milvus: MilvusClient, points: str) -> None:
    (hits,) = milvus.search(points, [QUERY], limit=20, search_params={"params": {"ef": 200}})
    near, far = hits[3]["distance"], hits[9]["distance"]
    (ranged,) = milvus.search(
        points, [QUERY], limit=20, search_params={"metric_type": "L2", "params": {"radius": far, "range_filter": near}}
    )
    assert [hit["id"] for hit in ranged] == [hit["id"] for hit in hits][3:9]


def test_groups(milvus: MilvusClient, points: str) -> None:
    (hits,) = milvus.search(points, [QUERY], limit=3, group_by_field="kind", group_size=2, strict_group_size=True)
    assert len(hits) == 6
    kinds = [hit["id"] % 5 for hit in hits]
    assert sorted(kinds.count(kind) for kind in set(kinds)) == [2, 2, 2]


def test_an_order_of_what_was_found(milvus: MilvusClient, points: str) -> None:
    (hits,) = milvus.search(
        points, [QUERY], limit=10, output_fields=["year"], order_by_fields=[{"field": "year", "order": "desc"}]
    )
    years = [hit["entity"]["year"] for hit in hits]
    told = [year for year in years if year is not None]
    assert told == sorted(told, reverse=True)
    assert {hit["id"] for hit in hits} == set(nearest("L2", 10))


def test_search_by_ids(milvus: MilvusClient, points: str) -> None:
    (hits,) = milvus.search(points, ids=[7], limit=5, anns_field="v")
    assert [hit["id"] for hit in hits] == nearest("L2", 5)


def test_partitions(milvus: MilvusClient) -> None:
    points = made(milvus, "parted", "L2")
    milvus.create_partition(points, "other")
    milvus.insert(points, [{"id": 1000, "kind": "k", "v": QUERY}], partition_name="other")
    (hits,) = milvus.search(points, [QUERY], limit=5, partition_names=["other"])
    assert [hit["id"] for hit in hits] == [1000]
    with pytest.raises(MilvusException, match="partition name nope not found"):
        milvus.search(points, [QUERY], partition_names=["nope"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"search_params": {"offset": 16380}}, r"\(offset\+limit\) should be in range \[1, 16384\], but got 16390"),
        ({"limit": 16385}, r"topk \[16385\] is invalid"),
        ({"anns_field": "nope"}, r"fieldName\(nope\) not found"),
        ({"output_fields": ["v", "nope['a']"], "filter": "nope("}, "failed to create query plan"),
        ({"search_params": {"params": {"ef": "many"}}}, r"ef \[many\] is invalid"),
        (
            {"search_params": {"params": {"radius": 1.0, "range_filter": 2.0}}},
            r"metric type \(L2\), range_filter\(2.0\) must be less than radius\(1.0\)",
        ),
    ],
)
def test_options_out_of_range(milvus: MilvusClient, points: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MilvusException, match=message) as caught:
        milvus.search(points, [QUERY], **options)
    assert caught.value.code == 1100


def test_vectors_that_do_not_fit(milvus: MilvusClient, points: str) -> None:
    with pytest.raises(MilvusException, match="expected 8 dimensions, got 3"):
        milvus.search(points, [[1.0, 2.0, 3.0]])
    with pytest.raises(MilvusException, match="is no field of text"):
        milvus.search(points, ["a text"], anns_field="v")


def test_what_a_client_changes_is_seen_by_its_next_search(milvus: MilvusClient) -> None:
    points = made(milvus, "changing", "L2")
    assert len(milvus.search(points, [QUERY], limit=3)[0]) == 3
    milvus.release_collection(points)
    with pytest.raises(MilvusException, match="collection not loaded"):
        milvus.search(points, [QUERY], limit=3)
    milvus.drop_collection(points)
    milvus.create_collection(points, dimension=2, id_type="str", max_length=8)
    milvus.insert(points, [{"id": "a", "vector": [1.0, 2.0]}])
    assert [hit["id"] for hit in milvus.search(points, [[1.0, 2.0]], limit=3)[0]] == ["a"]


def test_no_error_is_due_to_what_another_process_has_changed_meanwhile(milvus: MilvusClient, store: Store) -> None:
    points = made(milvus, "elsewhere", "L2")
    assert len(milvus.search(points, [QUERY], limit=3)[0]) == 3
    collection = store.collection(points)
    collection.create_partition("late")
    collection.insert([{"id": 1000, "kind": "k", "year": None, "v": QUERY}], partition_name="late")
    (hits,) = milvus.search(points, [QUERY], limit=3, partition_names=["late"])
    assert [hit["id"] for hit in hits] == [1000]
    collection.drop()
    fields = (
        vecstore.Field("id", vecstore.DataType.VARCHAR, primary_key=True, max_length=8),
        vecstore.Field("v", vecstore.DataType.FLOAT_VECTOR, dim=2),
    )
    store.create_collection(points, fields).insert([{"id": "a", "v": [1, 2]}])
    (hits,) = milvus.search(points, [[1.0, 2.0]], limit=3)
    assert [hit["id"] for hit in hits] == ["a"]


def test_searches_that_differ_in_one_thing_are_not_taken_for_each_other(milvus: MilvusClient, points: str) -> None:
    other = made(milvus, "other_points", "IP")
    asked: list[tuple[str, dict[str, Any]]] = [
        (points, {}),
        (other, {}),
        (points, {"limit": 4}),
        (points, {"offset": 2}),
        (points, {"filter": "kind == 'k1'"}),
        (points, {"filter": "kind == {kind}", "filter_params": {"kind": "k2"}}),
        (points, {"filter": "kind == {kind}", "filter_params": {"kind": "k3"}}),
        (points, {"output_fields": ["kind"]}),
        (points, {"search_params": {"params": {"radius": 9.0}}}),
        (points, {"group_by_field": "kind"}),
    ]

    def found() -> list[Any]:
        return [
            list(milvus.search(name, [VECTORS[place]], **{"limit": 6, **options})[0])
            for place, (name, options) in enumerate(asked)
        ]

    first, again = found(), found()
    assert again == first
    for place, (hits, (name, options)) in enumerate(zip(first, asked, strict=True)):
        fresh = milvus.search(name, VECTORS[[place, place]], **{"limit": 6, **options})
        assert list(fresh[0]) == list(fresh[1]) == hits
        assert name == other or options.get("offset") or options.get("filter") or hits[0]["id"] == place
    assert [len(hits) for hits in first[:4]] == [6, 6, 4, 6]
    assert {hit["id"] % 5 for hit in first[5]} == {2}
    assert {hit["id"] % 5 for hit in first[6]} == {3}


# Other vectors


OTHERS: dict[str, tuple[DataType, str, Any]] = {
    "halves": (DataType.FLOAT16_VECTOR, "L2", VECTORS[:50].astype(np.float16)),
    "bytes8": (DataType.INT8_VECTOR, "L2", (VECTORS[:50] * 20).astype(np.int8)),
    "bits": (DataType.BINARY_VECTOR, "HAMMING", [np.packbits(vector > 0).tobytes() for vector in VECTORS[:50]]),
    "brains": (
        DataType.BFLOAT16_VECTOR,
        "IP",
        [(vector.view(np.uint32) >> 16).astype("<u2").tobytes() for vector in VECTORS[:50]],
    ),
    "sparse": (DataType.SPARSE_FLOAT_VECTOR, "IP", [{key: 1.0, 1000 + key % 7: 0.5} for key in range(50)]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_vectors_of_every_type_find_themselves(milvus: MilvusClient, name: str) -> None:
    kind, metric, vectors = OTHERS[name]
    schema = milvus.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", kind, **({} if kind is DataType.SPARSE_FLOAT_VECTOR else {"dim": 8}))
    milvus.create_collection(name, schema=schema)
    milvus.insert(name, [{"id": key, "v": vector} for key, vector in enumerate(vectors)])
    milvus.load_collection(name)
    (hits,) = milvus.search(name, [vectors[3]], limit=50, anns_field="v", search_params={"metric_type": metric})
    scored = {hit["id"]: hit["distance"] for hit in hits}
    if metric in {"L2", "HAMMING"}:
        assert scored[3] == min(scored.values()) == 0
    else:
        assert scored[3] > 0
        assert hits[0]["distance"] == max(scored.values())


# Iterators


@pytest.mark.parametrize("metric", ["L2", "COSINE"])
def test_the_search_iterator_gives_each_entity_once_nearest_first(milvus: MilvusClient, metric: str) -> None:
    name = made(milvus, f"through_{metric}", metric)
    iterator = milvus.search_iterator(name, [QUERY], batch_size=64, search_params={"metric_type": metric})
    ids = []
    while page := iterator.next():
        ids += [hit["id"] for hit in page]
    iterator.close()
    assert ids == nearest(metric, 300)


def test_the_search_iterator_passes_over_no_equal_scores(milvus: MilvusClient) -> None:
    milvus.create_collection("equals", dimension=2, metric_type="L2")
    milvus.insert("equals", [{"id": key, "vector": [float(key // 40), 0.0]} for key in range(120)])
    iterator = milvus.search_iterator("equals", [[0.0, 0.0]], batch_size=25, search_params={"metric_type": "L2"})
    pages = []
    while page := iterator.next():
        pages.append([hit["id"] for hit in page])
    assert sorted(chain.from_iterable(pages)) == list(range(120))
    assert [len(page) for page in pages] == [40, 40, 40]  # what is equal stays together
    limited = milvus.search_iterator("equals", [[0.0, 0.0]], batch_size=25, limit=60)
    assert [len(limited.next()), len(limited.next()), limited.next()] == [40, 20, None]


def test_the_search_iterator_takes_a_filter_and_a_range(milvus: MilvusClient, points: str) -> None:
    far = float(np.sort(scores("L2"))[150])
    iterator = milvus.search_iterator(
        points,
        [QUERY],
        batch_size=30,
        filter="kind == 'k2'",
        search_params={"metric_type": "L2", "params": {"radius": far}},
        output_fields=["kind"],
    )
    ids = []
    while page := iterator.next():
        assert all(hit["entity"]["kind"] == "k2" for hit in page)
        ids += [hit["id"] for hit in page]
    assert ids == [key for key in nearest("L2", 300) if key % 5 == 2 and scores("L2")[key] < far - 1e-6]


# Hybrid search


@pytest.fixture(scope="module")
def papers(milvus: MilvusClient) -> str:
    schema = milvus.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("text", DataType.VARCHAR, max_length=100)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=8)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    params = milvus.prepare_index_params()
    params.add_index("dense", index_type="FLAT", metric_type="COSINE")
    params.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    milvus.create_collection("papers", schema=schema, index_params=params)
    rows = [
        {"id": key, "text": f"word{key % 10} common", "dense": VECTORS[key], "sparse": {key: 1.0, 500: 0.1}}
        for key in range(100)
    ]
    milvus.insert("papers", rows)
    return "papers"


RANKERS = {
    "rrf": RRFRanker(60),
    "weighted": WeightedRanker(0.7, 0.3),
    "rrf as a function": Function(
        name="rrf", function_type=FunctionType.RERANK, input_field_names=[], params={"reranker": "rrf", "k": 60}
    ),
    "weighted as a function": Function(
        name="weighted",
        function_type=FunctionType.RERANK,
        input_field_names=[],
        params={"reranker": "weighted", "weights": [0.7, 0.3], "norm_score": True},
    ),
}


@pytest.mark.parametrize("ranker", RANKERS)
def test_hybrid_search(milvus: MilvusClient, papers: str, ranker: str) -> None:
    requests = [
        AnnSearchRequest([QUERY], "dense", {"metric_type": "COSINE"}, limit=20, expr="id < 50"),
        AnnSearchRequest([{7: 1.0}], "sparse", {"metric_type": "IP"}, limit=20),
    ]
    (hits,) = milvus.hybrid_search(papers, requests, RANKERS[ranker], limit=5, output_fields=["text"])
    assert hits[0]["id"] == 7
    assert hits[0]["entity"] == {"text": "word7 common"}
    distances = [hit["distance"] for hit in hits]
    assert distances == sorted(distances, reverse=True)
    if ranker.startswith("rrf"):
        assert distances[0] == pytest.approx(2 / 61)


def test_hybrid_search_in_groups(milvus: MilvusClient, papers: str) -> None:
    requests = [AnnSearchRequest([QUERY], field, {}, limit=50) for field in ("dense",)]
    (hits,) = milvus.hybrid_search(papers, requests, RRFRanker(), limit=4, group_by_field="text", group_size=1)
    assert len({hit["id"] % 10 for hit in hits}) == len(hits) == 4
    with pytest.raises(MilvusException, match="strict_group_size is not supported"):
        milvus.hybrid_search(papers, requests, RRFRanker(), limit=4, group_by_field="text", strict_group_size=True)


def test_a_text_is_searched_for_in_a_field_of_text(milvus: MilvusClient, papers: str) -> None:
    (hits,) = milvus.search(papers, ["word3"], anns_field="text", limit=20, output_fields=["text"])
    assert {hit["entity"]["text"] for hit in hits} == {"word3 common"}
    assert len(hits) == 10


def test_rankers_that_are_not_there(milvus: MilvusClient, papers: str) -> None:
    model = Function(name="m", function_type=FunctionType.RERANK, input_field_names=[], params={"reranker": "model"})
    requests = [AnnSearchRequest([QUERY], "dense", {}, limit=5)]
    with pytest.raises(MilvusException, match="ranker 'model' is not supported: rrf, weighted and decay are"):
        milvus.hybrid_search(papers, requests, model, limit=5)


# The older interface


@pytest.fixture
def orm(gateway: Gateway) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # every name of it says that it is old
        connections.connect("default", uri=f"http://{gateway.address}")
        yield
        connections.disconnect("default")


@pytest.mark.usefixtures("orm")
def test_the_older_interface(milvus: MilvusClient, store: Store) -> None:
    points = made(milvus, "older", "L2")
    collection = Collection(points)
    assert collection.num_entities == 300
    (hits,) = collection.search([QUERY], "v", {"metric_type": "L2"}, limit=3, output_fields=["kind"])
    assert hits.ids == nearest("L2", 3)
    assert hits[0].entity.get("kind") == "k2"
    assert collection.query("id in [1, 2]", output_fields=["kind"]) == [
        {"id": 1, "kind": "k1"},
        {"id": 2, "kind": "k2"},
    ]
    assert collection.delete("id in [1,2]").delete_count == 2
    assert store.collection(points).count() == 298
    inserted = collection.insert([{"id": 1, "kind": "new", "v": QUERY}])
    assert (inserted.insert_count, list(inserted.primary_keys)) == (1, [1])
    assert collection.upsert([{"id": 2, "kind": "row", "v": QUERY}]).upsert_count == 1


@pytest.mark.usefixtures("orm")
@pytest.mark.parametrize("metric", ["L2", "IP"])
def test_the_older_search_iterator(milvus: MilvusClient, metric: str) -> None:
    name = made(milvus, f"older_{metric}", metric)
    iterator = Collection(name).search_iterator([QUERY], "v", {"metric_type": metric}, batch_size=50)
    ids = []
    while page := iterator.next():
        ids += page.ids()
    iterator.close()
    assert sorted(ids) == list(range(300))
    assert len(ids) == 300
