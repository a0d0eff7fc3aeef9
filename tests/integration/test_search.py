from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from samples import BOOK_FIELDS, book
from vecstore import (
    Collection,
    DataType,
    Field,
    FieldNotFound,
    Hnsw,
    InvalidArgument,
    InvalidData,
    IvfFlat,
    Metric,
    Store,
)

Fill = Callable[..., None]

VECTORS = np.random.default_rng(5).normal(size=(500, 8)).astype(np.float32)
QUERIES = np.random.default_rng(6).normal(size=(5, 8)).astype(np.float32)


@pytest.fixture
def points(store: Store) -> Collection:
    fields = (
        Field("id", DataType.INT64, primary_key=True),
        Field("group", DataType.INT32),
        Field("v", DataType.FLOAT_VECTOR, dim=8),
    )
    points = store.create_collection("points", fields)
    points.insert({"id": np.arange(500), "group": np.arange(500) % 50, "v": VECTORS})
    return points


def scores(metric: Metric, query: np.ndarray) -> np.ndarray:
    """Milvus's score of every point, in double precision."""
    points, one = VECTORS.astype(float), query.astype(float)
    if metric is Metric.L2:
        return ((points - one) ** 2).sum(axis=1)
    if metric is Metric.IP:
        return points @ one
    return points @ one / np.linalg.norm(points, axis=1) / np.linalg.norm(one)


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP, Metric.COSINE])
def test_an_exact_search_agrees_with_numpy_in_order_and_score(points: Collection, metric: Metric) -> None:
    for query, hits in zip(QUERIES, points.search(QUERIES, limit=20, metric=metric), strict=True):
        expected = scores(metric, query)
        nearest = np.argsort(expected if metric is Metric.L2 else -expected)[:20]
        assert hits.ids.tolist() == nearest.tolist()
        assert hits.distances == pytest.approx(expected[nearest], rel=1e-5)
        assert hits.path == "exact"


# IvfFlat's clusters of noise, which has none, differ from build to build: what it finds in some of them is chance.
@pytest.mark.parametrize(("spec", "probes", "of_twenty"), [(Hnsw(), None, 19), (IvfFlat(lists=5), 5, 20)])
def test_a_search_by_index_is_sorted_and_finds_what_its_kind_can(
    points: Collection, spec: Hnsw | IvfFlat, probes: int | None, of_twenty: int
) -> None:
    exact = points.search(QUERIES, limit=20)
    points.create_index("v", spec)
    found = points.search(QUERIES, limit=20, exact=False, probes=probes)
    for hits, true in zip(found, exact, strict=True):
        assert hits.path == "index"
        assert np.all(np.diff(hits.distances) <= 0)
        assert len(set(hits.ids)) == 20
        assert len(set(hits.ids) & set(true.ids)) >= of_twenty


@pytest.mark.parametrize("limit", [1, 10, 300, 500, 1000])
def test_as_many_rows_come_back_as_match(points: Collection, limit: int) -> None:
    points.create_index("v", Hnsw())
    assert len(points.search(QUERIES[0], limit=limit)[0]) == min(limit, 500)
    assert len(points.search(QUERIES[0], limit=limit, where=points.c.group == 7)[0]) == min(limit, 10)
    assert len(points.search(QUERIES[0], limit=limit, where=points.c.group == 99)[0]) == 0


def test_what_the_index_misses_is_found_exactly(points: Collection) -> None:
    points.create_index("v", Hnsw())
    hits = points.search(QUERIES[0], limit=10, where=points.c.group == 7)[0]
    expected = scores(Metric.COSINE, QUERIES[0])
    members = np.flatnonzero(np.arange(500) % 50 == 7)
    assert hits.ids.tolist() == members[np.argsort(-expected[members])].tolist()


def test_equal_distances_come_in_the_order_of_the_key(books: Collection) -> None:
    books.insert([book(key, embedding=[1, 1, 1, 1]) for key in (5, 3, 9, 1)])
    assert books.search([2, 2, 2, 2])[0].ids.tolist() == [1, 3, 5, 9]
    books.create_index("embedding", Hnsw())
    assert books.search([2, 2, 2, 2])[0].ids.tolist() == [1, 3, 5, 9]


def test_a_search_keeps_to_its_partitions(books: Collection, fill: Fill) -> None:
    for number, name in enumerate(("novel", "poem", "essay")):
        books.create_partition(name)
        fill(books, range(number * 10, number * 10 + 10), name)
    books.create_index("embedding", Hnsw())
    found = books.search([1, 2, 3, 4], limit=100, partition_names=["novel", "essay"])[0]
    assert sorted(found.ids) == [*range(10), *range(20, 30)]
    assert sorted(books.partition("poem").search([1, 2, 3, 4], limit=100)[0].ids) == [*range(10, 20)]


def test_hits_are_a_list_with_arrays_and_dicts(books: Collection, fill: Fill) -> None:
    fill(books, range(1, 6))
    hits = books.search([1, 5, 5, 0.5], limit=3, output_fields=["title"])[0]
    assert (len(hits), len(hits[:2]), hits[-1].id) == (3, 2, hits.ids[2])
    assert hits.to_dicts()[0] == {"id": 5, "distance": hits.distances[0], "title": "book 5"}
    assert repr(hits) == "<Hits 3, nearest id=5 distance=1, by exact>"
    assert repr(books.search([1, 1, 1, 1], where=books.c.id == 99)[0]) == "<Hits 0, by exact>"
    assert [hit.fields for hit in books.search([1, 1, 1, 1], limit=1)[0]] == [{}]


def test_ids_of_strings_are_strings(store: Store) -> None:
    fields = (Field("id", DataType.VARCHAR, primary_key=True, max_length=9), BOOK_FIELDS[-1])
    books = store.create_collection("books", fields)
    books.insert({"id": ["a", "b"], "embedding": [[1, 2, 3, 4], [4, 3, 2, 1]]})
    assert books.search([4, 3, 2, 1])[0].ids.tolist() == ["b", "a"]


def test_a_null_vector_is_found_by_no_search(store: Store) -> None:
    fields = (BOOK_FIELDS[0], Field("v", DataType.FLOAT_VECTOR, dim=2, nullable=True))
    books = store.create_collection("books", fields)
    books.insert([{"id": 1, "v": None}, {"id": 2, "v": [1, 1]}])
    assert books.search([1, 1])[0].ids.tolist() == [2]
    books.create_index("v", Hnsw())
    assert books.search([1, 1])[0].ids.tolist() == [2]
    assert books.get([1])[0]["v"] is None


def test_a_zero_vector_is_found_by_l2_and_never_by_cosine(books: Collection) -> None:
    books.insert([book(1, embedding=[0, 0, 0, 0]), book(2)])
    assert books.search([1, 2, 3, 4], metric="COSINE")[0].ids.tolist() == [2]
    assert sorted(books.search([1, 2, 3, 4], metric="L2")[0].ids) == [1, 2]
    with pytest.raises(InvalidData, match=r"no index by COSINE .* id: 1"):
        books.create_index("embedding", Hnsw(metric=Metric.COSINE))
    books.create_index("embedding", Hnsw(metric=Metric.L2))
    assert sorted(books.search([1, 2, 3, 4])[0].ids) == [1, 2]


def test_with_two_vector_fields_the_search_says_which(store: Store) -> None:
    fields = (*BOOK_FIELDS, Field("cover", DataType.BINARY_VECTOR, dim=8))
    books = store.create_collection("books", fields)
    books.insert([book(1, cover=b"\x0f")])
    with pytest.raises(InvalidArgument, match="embedding, cover"):
        books.search([1, 2, 3, 4])
    hit = books.search(b"\xff", field="cover")[0][0]
    assert (hit.id, hit.distance) == (1, 4.0)
    for wrong, error in (("title", InvalidArgument), ("nothing", FieldNotFound)):
        with pytest.raises(error, match=wrong):
            books.search([1, 2, 3, 4], field=wrong)


def test_a_metric_that_the_field_does_not_have_is_refused(books: Collection) -> None:
    with pytest.raises(InvalidArgument, match="HAMMING"):
        books.search([1, 2, 3, 4], metric="HAMMING")


def test_a_field_may_be_named_like_anything_in_sql(store: Store) -> None:
    names = ("select", "distance", "id_", "query", "user", "Order")
    fields = (BOOK_FIELDS[0], *(Field(name, DataType.INT32) for name in names), BOOK_FIELDS[-1])
    books = store.create_collection("table", fields)
    books.insert([{"id": 1, "embedding": [1, 2, 3, 4], **dict.fromkeys(names, 7)}])
    books.create_index("embedding", Hnsw())
    books.upsert([{"id": 1, "embedding": [1, 2, 3, 4], **dict.fromkeys(names, 8)}])
    hit = books.search([1, 2, 3, 4], output_fields=["*"], where=books.c["select"] == 8)[0][0]
    assert {name: hit.fields[name] for name in names} == dict.fromkeys(names, 8)


def test_real_queries_find_their_true_neighbours(store: Store, real_data: Path) -> None:
    vectors, queries, truth = (np.load(real_data / f"{name}.npy") for name in ("vectors", "queries", "truth_ids"))
    packages = store.create_collection(
        "packages", [Field("id", DataType.INT64, primary_key=True), Field("v", DataType.FLOAT_VECTOR, dim=384)]
    )
    packages.insert({"id": np.arange(len(vectors)), "v": vectors})
    packages.create_index("v", Hnsw())
    found = packages.search(queries, limit=10, exact=False)
    assert {hits.path for hits in found} == {"index"}
    recall = np.mean([len({*hits.ids} & {*true[:10]}) / 10 for hits, true in zip(found, truth, strict=True)])
    assert recall >= 0.97
