from __future__ import annotations

import pytest

from samples import BOOK_FIELDS
from vecstore import Metric
from vecstore.projection import Projection
from vecstore.schema import CollectionSchema
from vecstore.scores import ScoreRange
from vecstore.search import Grouping, Request
from vecstore.tables import entities

SCHEMA = CollectionSchema(BOOK_FIELDS)


def request(**options: object) -> Request:
    return Request(
        table=entities("books", SCHEMA, extension_schema="public"),
        field=SCHEMA.field("embedding"),
        metric=Metric.L2,
        key="id",
        limit=2,
        projection=Projection(()),
        conditions=(),
        extension_schema="public",
        **options,
    )


@pytest.mark.parametrize(("rows", "whole"), [(0, False), (1, False), (2, True)])
def test_an_answer_is_whole_when_its_page_is_full(rows: int, whole: bool) -> None:  # noqa: FBT001
    assert request().is_whole([(key, 1.0, "_default") for key in range(rows)]) is whole


def test_an_answer_that_shows_the_end_of_its_range_is_whole() -> None:
    near, far = (1, 1.0, "_default"), (2, 3.0, "_default")
    ranged = request(scores=ScoreRange(Metric.L2, radius=4.0))
    assert not ranged.is_whole([near])
    assert ranged.is_whole([far])
    assert ranged.hits([near, far], path="index").ids.tolist() == [1]


@pytest.mark.parametrize(
    ("strict", "groups", "whole"),
    [
        (True, [], False),
        (False, [], False),
        (True, [1, 1, 2], False),
        (False, [1, 1, 2], True),
        (True, [1, 1, 2, 2], True),
        (False, [1, 1], False),
    ],
)
def test_strict_groups_must_be_full(strict: bool, groups: list[int], whole: bool) -> None:  # noqa: FBT001
    grouped = request(grouping=Grouping(SCHEMA.field("title"), 2, strict))
    assert grouped.is_whole([(key, 1.0, "_default", group) for key, group in enumerate(groups)]) is whole
