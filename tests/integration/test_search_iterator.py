from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from vecstore import Collection, CollectionNotFound, DataType, Field, Hnsw, InvalidArgument, InvalidData, Store

Fill = Callable[..., None]

ROWS = 700
VECTORS = np.random.default_rng(8).normal(size=(ROWS, 8)).astype(np.float32)
QUERY = np.random.default_rng(9).normal(size=8).astype(np.float32)
SIMILARITY = VECTORS @ QUERY / np.linalg.norm(VECTORS, axis=1) / np.linalg.norm(QUERY)
NEAREST = np.argsort(-SIMILARITY).tolist()


@pytest.fixture
def points(store: Store) -> Collection:
    fields = [Field("id", DataType.INT64, primary_key=True), Field("v", DataType.FLOAT_VECTOR, dim=8)]
    points = store.create_collection("points", fields)
    points.insert({"id": np.arange(ROWS), "v": VECTORS})
    return points


@pytest.mark.parametrize("batch_size", [1, 7, 100, 1000])
@pytest.mark.parametrize("specs", [[], [Hnsw()]], ids=["no index", "index"])
def test_the_pages_are_everything_from_the_nearest_on(points: Collection, batch_size: int, specs: list[Hnsw]) -> None:
    for spec in specs:
        points.create_index("v", spec)
    limit = 50 if batch_size == 1 else None
    pages = list(points.search_iterator(QUERY, batch_size=batch_size, limit=limit))
    assert [len(page) for page in pages[:-1]] == [batch_size] * (len(pages) - 1)
    assert list(itertools.chain(*(page.ids.tolist() for page in pages))) == NEAREST[:limit]


def test_pages_by_the_index_alone_repeat_nothing_and_stay_in_order(points: Collection) -> None:
    points.create_index("v", Hnsw())
    pages = list(itertools.islice(points.search_iterator(QUERY, batch_size=20, exact=False), 5))
    found = list(itertools.chain(*(page.ids.tolist() for page in pages)))
    distances = list(itertools.chain(*(page.distances.tolist() for page in pages)))
    assert len(found) == len({*found}) == 100
    assert distances == sorted(distances, reverse=True)
    assert len({*found} & {*NEAREST[:100]}) >= 95


def test_a_limit_ends_in_the_middle_of_a_page(points: Collection) -> None:
    assert [len(page) for page in points.search_iterator(QUERY, batch_size=30, limit=70)] == [30, 30, 10]
    assert [len(page) for page in points.search_iterator(QUERY, batch_size=30, limit=60)] == [30, 30]


def test_a_range_ends_the_pages(points: Collection) -> None:
    radius = float(SIMILARITY[NEAREST[45]])
    pages = points.search_iterator(QUERY, batch_size=20, radius=radius)
    assert sum(len(page) for page in pages) == pytest.approx(45, abs=1)


def test_equal_distances_and_equal_keys_of_partitions_are_each_given_once(books: Collection) -> None:
    books.create_partition("novel")
    for partition in ("_default", "novel"):
        same = [{"id": key, "title": "", "year": None, "embedding": [1, 1, 1, 1]} for key in range(25)]
        books.insert(same, partition_name=partition)
    keys = [hit.id for page in books.search_iterator([1, 1, 1, 1], batch_size=7) for hit in page]
    assert sorted(keys) == sorted([*range(25), *range(25)])


def test_an_open_iterator_holds_nothing(books: Collection, fill: Fill) -> None:
    books.create_partition("novel")
    fill(books, range(50))
    fill(books, range(50, 100), "novel")
    pages = books.search_iterator([1, 2, 3, 4], batch_size=10)
    first = next(pages)
    books.drop_partition("novel")
    rest = [hit.id for page in pages for hit in page]
    assert not {*rest} & {*range(50, 100)}
    assert {*rest} | {*first.ids.tolist()} >= {*range(50)}


def test_after_a_drop_the_next_page_says_so(books: Collection, fill: Fill) -> None:
    fill(books, range(30))
    pages = books.search_iterator([1, 2, 3, 4], batch_size=10)
    next(pages)
    books.drop()
    with pytest.raises(CollectionNotFound, match="books"):
        next(pages)


def test_what_is_wrong_with_the_question_is_said_at_once(points: Collection) -> None:
    for wrong in ({"batch_size": 0}, {"batch_size": 16_385}, {"limit": 0}, {"limit": "all"}):
        with pytest.raises(InvalidArgument):
            points.search_iterator(QUERY, **wrong)
    with pytest.raises(InvalidArgument, match="one vector"):
        points.search_iterator(VECTORS[:2])
    with pytest.raises(InvalidData):
        points.search_iterator([1, 2])
    assert next(points.search_iterator(ids=3, batch_size=1)).ids.tolist() == [3]


def test_what_is_deleted_between_two_pages_is_on_none_of_the_next(books: Collection, fill: Fill) -> None:
    fill(books, range(60))
    pages = books.search_iterator([1, 2, 3, 4], batch_size=10)
    seen = [hit.id for _ in range(3) for hit in next(pages)]
    left = [key for key in range(60) if key not in seen]
    books.delete(ids=left[:15])
    rest = [hit.id for page in pages for hit in page]
    assert sorted(rest) == left[15:]
