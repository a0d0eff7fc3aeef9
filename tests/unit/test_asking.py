"""A question that is asked again is made once, and never taken for another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import pytest
from sqlalchemy import column, create_engine

from vecstore.asking import Asked, asked
from vecstore.collection import Collection
from vecstore.conditions import Selection
from vecstore.database import Database
from vecstore.errors import InvalidArgument


def question(*, limit: Any = 10, output_fields: Any = None, group_size: Any = 1, **selection: Any) -> Asked:
    chosen = {"partition_names": None, "where": None, "filter": None, "filter_params": None} | selection
    rest = None, None, None, None, None, None, group_size, False, None
    return asked(*chosen.values(), limit, 0, None, None, output_fields, *rest)


def test_every_option_of_a_search_reaches_the_field_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """They go by position, for that is quicker."""
    given: list[object] = []
    monkeypatch.setattr("vecstore.collection.asked", lambda *options: given.extend(options))
    monkeypatch.setattr("vecstore.collection.searching.search", lambda *_: [])
    selection = [field.name for field in fields(Selection)]
    options = [field.name for field in fields(Asked) if field.name != "selection"]
    Collection(Database(create_engine("postgresql+psycopg://")), "books").search(
        [1.0], **{name: name for name in (*selection, *options)}
    )
    assert given == [*selection, *options]


def test_the_same_question_is_one_object() -> None:
    first = question(limit=7, filter="year > 1900", output_fields=["title"], partition_names=["a", "b"])
    assert question(limit=7, filter="year > 1900", output_fields=["title"], partition_names=["a", "b"]) is first
    assert first == Asked(Selection(("a", "b"), None, "year > 1900"), limit=7, output_fields=("title",))


@pytest.mark.parametrize(
    "other", [{"limit": 8}, {"filter": "year > 1901"}, {"output_fields": ["year"]}, {"partition_names": ["b"]}]
)
def test_another_question_is_another_object(other: dict[str, Any]) -> None:
    same = {"limit": 7, "filter": "year > 1900", "output_fields": ["title"], "partition_names": ["a"]}
    assert question(**same).key != question(**same | other).key


@pytest.mark.parametrize("wrong", [{"limit": True}, {"limit": 1.0}, {"group_size": True}])
def test_what_equals_a_number_and_is_none_is_refused_after_the_number_was_asked_too(wrong: dict[str, Any]) -> None:
    question(limit=1)
    for _ in range(2):
        with pytest.raises(InvalidArgument):
            question(**{"limit": 1} | wrong)


def test_a_filter_with_values_and_an_expression_are_made_each_time() -> None:
    for given in ({"filter": "year > {y}", "filter_params": {"y": 1}}, {"where": column("year") > 1}):
        assert question(**given) is not question(**given)


def test_what_cannot_be_remembered_is_made_each_time() -> None:
    fields = {"title": 1}.keys()
    assert question(output_fields=fields) is not question(output_fields=fields)
    assert question(output_fields=iter(["title"])).output_fields == ["title"]


def test_a_sequence_that_may_change_is_made_each_time() -> None:
    class Names(Sequence[str]):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, place: Any) -> Any:
            return ["title"][place]

    names = Names()
    assert question(output_fields=names) is not question(output_fields=names)
