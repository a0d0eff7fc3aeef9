"""What search() can be asked beside the nearest: each answer beside the same made with NumPy."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from vecstore import (
    Btree,
    Collection,
    DataType,
    Field,
    FieldNotFound,
    FilterError,
    Hnsw,
    IndexNotFound,
    InvalidArgument,
    InvalidData,
    IvfFlat,
    Metric,
    SearchPath,
    Store,
)

ROWS = 600
VECTORS = np.random.default_rng(5).normal(size=(ROWS, 8)).astype(np.float32)
QUERY = np.random.default_rng(6).normal(size=8).astype(np.float32)
GENRES = np.array([None, "poem", "novel", "essay", "play", "letter", "song"], dtype=object)[np.arange(ROWS) % 7]
SMALLER_IS_NEARER = {Metric.L2}

EVERY_WAY = pytest.mark.parametrize("way", [{"exact": True}, {}, {"exact": False}], ids=["exact", "chosen", "by index"])
Way = dict[str, bool]


@pytest.fixture
def points(store: Store) -> Collection:
    fields = (
        Field("id", DataType.INT64, primary_key=True),
        Field("year", DataType.INT32, nullable=True),
        Field("genre", DataType.VARCHAR, max_length=16, nullable=True),
        Field("v", DataType.FLOAT_VECTOR, dim=8),
    )
    points = store.create_collection("points", fields)
    years = [None if key % 5 == 0 else key % 50 for key in range(ROWS)]
    points.insert({"id": np.arange(ROWS), "year": years, "genre": GENRES.tolist(), "v": VECTORS})
    return points


def scores(metric: Metric, query: np.ndarray = QUERY) -> np.ndarray:
    """Milvus's score of every point."""
    points, one = VECTORS.astype(float), query.astype(float)
    if metric is Metric.L2:
        return ((points - one) ** 2).sum(axis=1)
    if metric is Metric.IP:
        return points @ one
    return points @ one / np.linalg.norm(points, axis=1) / np.linalg.norm(one)


def nearest(metric: Metric = Metric.COSINE, query: np.ndarray = QUERY) -> list[int]:
    found = scores(metric, query)
    return np.argsort(found if metric in SMALLER_IS_NEARER else -found, kind="stable").tolist()


# Pages


@EVERY_WAY
def test_pages_follow_each_other_without_gap_or_repetition(points: Collection, way: Way) -> None:
    points.create_index("v", Hnsw())
    whole = points.search(QUERY, 60, **way)[0].ids.tolist()
    pages = [points.search(QUERY, 20, offset=offset, **way)[0].ids.tolist() for offset in (0, 20, 40)]
    assert [*chain(*pages)] == whole
    assert len({*whole}) == 60


def test_a_page_far_off_is_the_exact_one(points: Collection) -> None:
    points.create_index("v", Hnsw())
    assert points.search(QUERY, 50, offset=500)[0].ids.tolist() == nearest()[500:550]
    assert points.search(QUERY, 50, offset=580)[0].ids.tolist() == nearest()[580:]
    assert len(points.search(QUERY, 50, offset=700)[0]) == 0


@pytest.mark.parametrize("offset", [-1, 1.5, "1", True, 16_375])
def test_an_offset_out_of_reach_is_refused(points: Collection, offset: object) -> None:
    with pytest.raises(InvalidArgument, match="offset"):
        points.search(QUERY, 10, offset=offset)


# Ranges


@EVERY_WAY
@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP, Metric.COSINE])
def test_a_range_has_the_scores_between_its_ends(points: Collection, metric: Metric, way: Way) -> None:
    points.create_index("v", Hnsw(metric=metric))
    true = scores(metric)
    ranked = nearest(metric)
    near, far = true[ranked[20]], true[ranked[50]]
    expected = [key for key in ranked if (near <= true[key] < far if metric is Metric.L2 else far < true[key] <= near)]
    # The bound is a number that was computed in double precision, the scores come from single precision.
    nudge = 1e-6 * abs(near) * (-1 if metric is Metric.L2 else 1)
    hits = points.search(QUERY, 100, metric=metric, radius=far, range_filter=near + nudge, **way)[0]
    assert abs(len(hits) - len(expected)) <= 1
    assert set(expected[:-1]) - {ranked[50]} <= {*hits.ids.tolist()}
    assert all(
        near - 1e-4 <= score < far if metric is Metric.L2 else far < score <= near + 1e-4 for score in hits.distances
    )


def test_a_range_that_the_index_has_seen_the_end_of_needs_no_exact_look(points: Collection) -> None:
    points.create_index("v", Hnsw())
    far = scores(Metric.COSINE)[nearest()[5]] + 1e-6
    hits = points.search(QUERY, 50, radius=float(far), exact=False)[0]
    assert (len(hits), hits.path) == (5, SearchPath.INDEX)


def test_what_lies_nearer_than_the_range_takes_nobody_s_place(points: Collection) -> None:
    points.create_index("v", Hnsw())
    near = float(scores(Metric.COSINE)[nearest()[400]])
    assert points.search(QUERY, 10, range_filter=near + 1e-7)[0].ids.tolist() == nearest()[400:410]


@pytest.mark.parametrize(
    ("metric", "radius", "range_filter"), [(Metric.L2, 1, 2), (Metric.IP, 2, 1), (Metric.COSINE, 0.5, 0.5)]
)
def test_a_range_that_nothing_lies_in_is_refused(
    points: Collection, metric: Metric, radius: float, range_filter: float
) -> None:
    with pytest.raises(InvalidArgument, match="range"):
        points.search(QUERY, metric=metric, radius=radius, range_filter=range_filter)


@pytest.mark.parametrize("radius", [float("nan"), float("inf"), "1", True])
def test_a_radius_that_is_no_number_is_refused(points: Collection, radius: object) -> None:
    with pytest.raises(InvalidArgument, match="radius"):
        points.search(QUERY, radius=radius)


# Groups


def grouped(limit: int, size: int, offset: int = 0) -> list[int]:
    """The nearest `size` points of each of the nearest genres, nearest first."""
    groups: dict[str | None, list[int]] = {}
    for key in nearest():
        groups.setdefault(GENRES[key], []).append(key)
    chosen = list(groups.values())[offset : offset + limit]
    members = {key for group in chosen for key in group[:size]}
    return [key for key in nearest() if key in members]


@EVERY_WAY
@pytest.mark.parametrize(("limit", "size", "offset"), [(3, 1, 0), (3, 4, 0), (2, 2, 3), (20, 3, 0)])
def test_groups_bring_their_nearest(points: Collection, way: Way, limit: int, size: int, offset: int) -> None:
    points.create_index("v", Hnsw())
    hits = points.search(QUERY, limit, offset=offset, group_by="genre", group_size=size, strict_group_size=True, **way)[
        0
    ]
    if way != {"exact": False} or limit < 20:
        assert hits.ids.tolist() == grouped(limit, size, offset)
    assert np.all(np.diff(hits.distances) <= 0)


@EVERY_WAY
def test_groups_of_several_fields_are_of_the_values_that_come_together(points: Collection, way: Way) -> None:
    points.create_index("v", Hnsw())
    way = {**way, "order_by": "year:desc"} if way else way
    asked = {"group_by": ["year", "genre"], "group_size": 2, "output_fields": ["genre", "year"]}
    hits = points.search(QUERY, limit=8, offset=1, **asked, **way)[0]
    groups: dict[tuple[int | None, str | None], list[int]] = {}
    for key in nearest():
        groups.setdefault((None if key % 5 == 0 else key % 50, GENRES[key]), []).append(key)
    expected = [key for group in list(groups.values())[1:9] for key in group[:2]]
    assert len(hits) > 8
    assert {*hits.ids.tolist()} == {*expected} or way == {"exact": False, "order_by": "year:desc"}
    assert all(
        hit.fields == {"genre": GENRES[hit.id], "year": None if hit.id % 5 == 0 else hit.id % 50} for hit in hits
    )


def test_a_group_that_an_index_did_not_fill_is_filled_only_if_that_is_asked_for(points: Collection) -> None:
    points.create_index("v", Hnsw())
    wanted = {"group_by": "genre", "group_size": 80}
    # 7 genres of 85 or 86 points: to fill each, nearly all points must be seen.
    strict = points.search(QUERY, 7, strict_group_size=True, ef=10, **wanted)[0]
    assert len(strict) == 7 * 80


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"group_by": "v"}, InvalidArgument),
        ({"group_by": "nothing"}, FieldNotFound),
        ({"group_by": ["genre", "genre"]}, InvalidArgument),
        ({"group_by": ["genre", 7]}, InvalidArgument),
        ({"group_by": []}, InvalidArgument),
        ({"group_by": 7}, InvalidArgument),
        ({"group_by": ["genre", "v"]}, InvalidArgument),
        ({"group_size": 2}, InvalidArgument),
        ({"strict_group_size": True}, InvalidArgument),
        ({"group_by": "genre", "group_size": 0}, InvalidArgument),
    ],
)
def test_a_grouping_that_cannot_be_is_refused(points: Collection, options: dict[str, object], error: type) -> None:
    with pytest.raises(error):
        points.search(QUERY, **options)


# Order


@EVERY_WAY
def test_the_nearest_can_be_given_back_in_another_order(points: Collection, way: Way) -> None:
    points.create_index("v", Hnsw())
    hits = points.search(QUERY, 10, order_by="year:desc", output_fields=["year"], **way)[0]
    assert {*hits.ids.tolist()} == {*nearest()[:10]}
    years = [hit.fields["year"] for hit in hits]
    known = [year for year in years if year is not None]
    assert years == [None] * (10 - len(known)) + sorted(known, reverse=True)


def test_what_is_ordered_by_need_not_be_given_back(points: Collection) -> None:
    hits = points.search(QUERY, 10, order_by=["genre", "year:desc"])[0]
    assert hits[0].fields == {}
    keys = [(GENRES[key] or "~", -(key % 50)) for key in hits.ids.tolist()]
    assert [genre for genre, _ in keys] == sorted(genre for genre, _ in keys)


# By primary key


def test_the_vectors_of_entities_are_searched_with(points: Collection) -> None:
    by_key = points.search(ids=[7, 3], limit=5)
    by_vector = points.search(VECTORS[[7, 3]], limit=5)
    assert [hits.ids.tolist() for hits in by_key] == [hits.ids.tolist() for hits in by_vector]
    assert [hits.ids[0] for hits in by_key] == [7, 3]
    assert points.search(ids=7, limit=1)[0].ids.tolist() == [7]


def test_an_entity_that_is_not_there_has_no_neighbours(points: Collection) -> None:
    with pytest.raises(InvalidArgument, match="9999"):
        points.search(ids=[1, 9999])
    with pytest.raises(InvalidData, match="'id'"):
        points.search(ids=["one"])


@pytest.mark.parametrize("query", [{}, {"vectors": QUERY, "ids": [1]}, {"vectors": None}])
def test_a_search_needs_vectors_or_keys(points: Collection, query: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument, match="vectors"):
        points.search(**query)


# The way


def test_the_way_can_be_forced(points: Collection) -> None:
    with pytest.raises(IndexNotFound, match="exact=False"):
        points.search(QUERY, exact=False)
    points.create_index("v", Hnsw())
    assert points.search(QUERY, exact=True)[0].path is SearchPath.EXACT
    assert points.search(QUERY, exact=False)[0].path is SearchPath.INDEX
    with pytest.raises(IndexNotFound, match="L2"):
        points.search(QUERY, metric=Metric.L2, exact=False)


def test_forbidden_to_look_exactly_a_search_takes_what_the_index_gives(points: Collection) -> None:
    points.create_index("v", IvfFlat(lists=20))
    hits = points.search(QUERY, ROWS, probes=1, exact=False)[0]
    assert hits.path is SearchPath.INDEX
    assert 0 < len(hits) <= ROWS


@pytest.mark.parametrize(
    "options", [{"ef": 0}, {"ef": 1001}, {"ef": 1.0}, {"probes": 0}, {"probes": 32_769}, {"exact": 1}, {"exact": "no"}]
)
def test_an_option_out_of_range_is_refused(points: Collection, options: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        points.search(QUERY, **options)


MANY = np.random.default_rng(1).normal(size=(8_000, 8)).astype(np.float32)
SIMILARITY = MANY @ QUERY / np.linalg.norm(MANY, axis=1)


@pytest.fixture
def many(store: Store) -> Collection:
    fields = [
        Field("id", DataType.INT64, primary_key=True),
        Field("rare", DataType.INT32),
        Field("v", DataType.FLOAT_VECTOR, dim=8),
    ]
    many = store.create_collection("many", fields)
    many.insert({"id": np.arange(8_000), "rare": np.arange(8_000) % 1000, "v": MANY})
    many.create_index("v", Hnsw())
    many.create_index("rare", Btree())
    return many


def test_a_large_collection_is_searched_by_its_index_and_few_matching_rows_exactly(many: Collection) -> None:
    assert many.search(QUERY)[0].path is SearchPath.INDEX
    found = many.search(QUERY, filter="rare == 5")[0]
    assert (len(found), found.path) == (8, SearchPath.EXACT)
    members = np.arange(5, 8_000, 1000)
    assert found.ids.tolist() == members[np.argsort(-SIMILARITY[members])].tolist()


@pytest.mark.parametrize("limit", [100, 1000, 5000])
@pytest.mark.parametrize("options", [{}, {"exact": False}], ids=["chosen", "by index"])
def test_more_rows_can_be_asked_for_than_an_index_takes_candidates(many: Collection, limit: int, options: Way) -> None:
    hits = many.search(QUERY, limit, **options)[0]
    assert len(hits) == len({*hits.ids.tolist()}) == limit
    assert len({*hits.ids.tolist()} & {*np.argsort(-SIMILARITY)[:limit].tolist()}) >= 0.97 * limit
    pages = [many.search(QUERY, limit // 4, offset=limit // 4 * page)[0] for page in range(4)]
    assert [*chain(*(page.ids.tolist() for page in pages))] == many.search(QUERY, limit)[0].ids.tolist()


def test_pages_of_real_data_are_one_ranking_cut_in_pieces(store: Store, real_data: Path) -> None:
    fields = [Field("id", DataType.INT64, primary_key=True), Field("v", DataType.FLOAT_VECTOR, dim=384)]
    packages = store.create_collection("packages", fields)
    vectors = np.load(real_data / "vectors.npy")
    packages.insert({"id": np.arange(len(vectors)), "v": vectors})
    packages.create_index("v", Hnsw())
    for query in np.load(real_data / "queries.npy")[:10]:
        pages = [packages.search(query, 20, offset=offset)[0].ids.tolist() for offset in range(0, 400, 20)]
        assert [*chain(*pages)] == packages.search(query, 400, exact=True)[0].ids.tolist()


def test_a_key_of_two_partitions_is_searched_with_only_where_it_is_clear_which(points: Collection) -> None:
    points.create_partition("other")
    points.insert([{"id": 7, "year": 1, "genre": "", "v": VECTORS[8]}], partition_name="other")
    with pytest.raises(InvalidArgument, match="several partitions have the id 7"):
        points.search(ids=[7])
    for partition in ("_default", "other"):
        hits = points.search(ids=[7], limit=1, partition_names=[partition])[0]
        assert (hits.ids.tolist(), hits.distances[0]) == ([7], pytest.approx(1))


@pytest.mark.parametrize(
    "options",
    [{"radius": 10**400}, {"filter_params": 5}, {"filter_params": "y"}, {"filter": ["x"]}, {"filter": {"x": 1}}],
    ids=str,
)
def test_an_argument_of_another_kind_is_refused(points: Collection, options: dict[str, object]) -> None:
    with pytest.raises((InvalidArgument, FilterError)):
        points.search(QUERY, **options)
