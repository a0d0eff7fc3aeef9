"""Entities without a vector: by condition, in order, page by page of an offset, and what is computed over them."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from samples import BOOK_FIELDS, book
from vecstore import (
    Collection,
    DataType,
    Field,
    FieldNotFound,
    FilterError,
    InvalidArgument,
    InvalidData,
    PartitionNotFound,
    Store,
)

Fill = Callable[..., None]
Record = dict[str, Any]


@pytest.fixture
def shelves(store: Store) -> Collection:
    """Four books with keys of their own beside the fields, two of them in partition `novel`."""
    shelves = store.create_collection("shelves", BOOK_FIELDS, dynamic=True)
    shelves.create_partition("novel")
    shelves.insert([book(1, title="b", year=1990, color="red"), book(4, title="a", year=None)])
    shelves.insert([book(2, title="a", year=2000), book(3, title="b", year=1990, color="blue")], partition_name="novel")
    return shelves


def keys(records: list[Record]) -> list[int]:
    return [record["id"] for record in records]


def test_a_query_gives_all_that_match_in_the_order_of_the_key(shelves: Collection) -> None:
    assert keys(shelves.query()) == keys(shelves.query("")) == [1, 2, 3, 4]
    assert keys(shelves.query("year == 1990")) == [1, 3]
    assert keys(shelves.query("year < {y}", filter_params={"y": 2000}, where=shelves.c.id > 1)) == [3]
    assert shelves.query("year > 2000") == []


def test_records_are_those_of_get(shelves: Collection) -> None:
    [record] = shelves.query("color == 'red'")
    assert record["embedding"].tolist() == [1.0, 1.0, 1.0, 0.5]
    assert (record["embedding"].dtype, record["color"], record["year"]) == (np.float32, "red", 1990)
    assert shelves.query(output_fields=["title", "color"], limit=2) == [{"title": "b", "color": "red"}, {"title": "a"}]
    assert shelves.query(output_fields=["*"], limit=1).pop().keys() == record.keys()
    assert shelves.query(output_fields=[]) == [{}] * 4


def test_a_query_may_be_kept_to_partitions(shelves: Collection) -> None:
    assert keys(shelves.query(partition_names=["novel"])) == keys(shelves.partition("novel").query()) == [2, 3]
    assert keys(shelves.partition("novel").query("year == 1990", limit=5)) == [3]
    with pytest.raises(PartitionNotFound):
        shelves.query(partition_names=["poems"])


def test_null_is_last_and_descending_first_and_the_key_decides_among_equals(shelves: Collection) -> None:
    assert keys(shelves.query(order_by="year")) == [1, 3, 2, 4]
    assert keys(shelves.query(order_by="year:desc")) == [4, 2, 1, 3]
    assert keys(shelves.query(order_by=["title:desc", "year"])) == [1, 3, 2, 4]
    assert keys(shelves.query(order_by="id:desc", limit=2, offset=1)) == [3, 2]


def test_a_key_that_two_partitions_hold_is_in_the_order_of_their_names(store: Store) -> None:
    books = store.create_collection("books", BOOK_FIELDS)
    for name in ("b", "a"):
        books.create_partition(name)
        books.insert([book(1, title=name, year=1)], partition_name=name)
    assert [record["title"] for record in books.query(order_by="year:desc")] == ["a", "b"]
    assert [record["title"] for record in books.query(order_by="year:desc", offset=1)] == ["b"]
    assert [record["title"] for record in books.get([1])] == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"limit": 0}, InvalidArgument, "limit must be an int from 1, got 0"),
        ({"limit": True}, InvalidArgument, "limit must be an int from 1"),
        ({"limit": 2**63}, InvalidArgument, "limit must be"),
        ({"offset": -1}, InvalidArgument, "offset must be an int from 0, got -1"),
        ({"offset": None}, InvalidArgument, "offset must be"),
        ({"offset": 1.0}, InvalidArgument, "offset must be"),
        ({"order_by": "meta"}, InvalidArgument, "dynamic keys and JSON paths are not supported"),
        ({"order_by": "embedding"}, InvalidArgument, "FLOAT_VECTOR"),
        ({"output_fields": "title"}, InvalidArgument, "output_fields must be a list of names"),
        ({"aggregates": 5}, InvalidArgument, "aggregates must be a list of names"),
        ({"aggregates": ["median(year)"]}, InvalidArgument, "no aggregate"),
        ({"aggregates": ["sum(yaer)"]}, FieldNotFound, "yaer"),
        ({"output_fields": ["sum(title)"]}, InvalidArgument, "VARCHAR"),
        ({"output_fields": ["count(*)", "title"]}, InvalidArgument, "'title' is neither grouped by nor an aggregate"),
        ({"group_by": "title", "output_fields": ["*"]}, InvalidArgument, "'\\*' is neither grouped by nor"),
        ({"group_by": "title", "order_by": "year"}, InvalidArgument, "'year' is neither .* 'max\\(year\\)'"),
        ({"group_by": ["embedding"]}, InvalidArgument, "group_by needs a field of one value"),
        ({"group_by": "color"}, InvalidArgument, "group_by: 'color' is no field"),
        ({"aggregates": "count(*)", "limit": 1}, InvalidArgument, "are one record: leave limit, offset and order_by"),
        ({"aggregates": "count(*)", "offset": 1}, InvalidArgument, "are one record"),
        ({"output_fields": ["count(*)"], "order_by": "year"}, InvalidArgument, "are one record"),
        ({"filter": "year >"}, FilterError, "\\^"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    shelves: Collection, arguments: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        shelves.query(**arguments)


def test_limit_and_offset_have_no_ceiling_but_that_of_64_bits(shelves: Collection) -> None:
    most = 2**63 - 1
    assert keys(shelves.query(limit=most)) == [1, 2, 3, 4]
    assert keys(shelves.query(limit=most, offset=2)) == keys(shelves.query(offset=2)) == [3, 4]
    assert shelves.query(offset=most, limit=most, order_by="year") == []


# Aggregates


def test_counting_as_in_milvus(shelves: Collection) -> None:
    assert shelves.query(output_fields=["count(*)"]) == [{"count(*)": 4}]
    assert shelves.query("year == 1990", output_fields=["count(*)"], partition_names=["novel"]) == [{"count(*)": 1}]
    assert shelves.query("id > 99", output_fields=["count(*)"]) == [{"count(*)": 0}]


def test_aggregates_of_all_that_match_are_one_record(shelves: Collection) -> None:
    wanted = ["count(*)", "count(year)", "sum(year)", "avg(year)", "min(year)", "max(title)"]
    [record] = shelves.query(aggregates=wanted)
    assert list(record.items()) == list(zip(wanted, (4, 3, 5980, 5980 / 3, 1990, "b"), strict=True))
    assert [type(value) for value in record.values()] == [int, int, int, float, int, str]
    [nothing] = shelves.query("id > 99", aggregates=wanted)
    assert list(nothing.values()) == [0, 0, None, None, None, None]
    assert shelves.query(output_fields=[" COUNT( * ) "], aggregates="max(id)") == [{" COUNT( * ) ": 4, "max(id)": 4}]


def test_groups_are_one_record_for_each_value_and_null_is_one(shelves: Collection) -> None:
    assert shelves.query(group_by="year", aggregates=["count(*)"]) == [
        {"year": 1990, "count(*)": 2},
        {"year": 2000, "count(*)": 1},
        {"year": None, "count(*)": 1},
    ]
    assert shelves.query(group_by="title") == [{"title": "a"}, {"title": "b"}]
    assert shelves.query(group_by=["title", "year"]) == [
        {"title": "a", "year": 2000},
        {"title": "a", "year": None},
        {"title": "b", "year": 1990},
    ]
    assert shelves.query("id > 99", group_by="year", aggregates="count(*)") == []


def test_groups_are_ordered_cut_and_shown_as_asked(shelves: Collection) -> None:
    by_count = shelves.query(group_by="year", order_by=["count(*):desc", "year:desc"], aggregates="count(*)")
    assert [group["year"] for group in by_count] == [1990, None, 2000]
    assert shelves.query(group_by="year", order_by="max(id):desc", limit=1, offset=1) == [{"year": 1990}]
    assert shelves.query(group_by=["title", "year"], output_fields=["max(id)", "title"], limit=1) == [
        {"max(id)": 2, "title": "a"}
    ]


def test_sums_are_exact_for_integers_and_doubles_for_floats(store: Store) -> None:
    fields = (
        Field("id", DataType.INT64, primary_key=True),
        Field("big", DataType.INT64),
        Field("small", DataType.INT8),
        Field("single", DataType.FLOAT),
    )
    numbers = store.create_collection("numbers", fields)
    most = 2**63 - 1
    numbers.insert([{"id": key, "big": most, "small": 127, "single": 0.1} for key in range(1000)])
    [sums] = numbers.query(aggregates=["sum(big)", "sum(small)", "sum(single)", "avg(big)", "avg(small)", "max(big)"])
    single = float(np.float32(0.1))
    assert (sums["sum(big)"], sums["sum(small)"], sums["max(big)"]) == (1000 * most, 127_000, most)
    assert sums["sum(single)"] == pytest.approx(1000 * single, rel=1e-12)
    assert (sums["avg(big)"], sums["avg(small)"]) == (float(most), 127.0)
    assert {name: type(value) for name, value in sums.items() if name != "max(big)"} == {
        "sum(big)": int, "sum(small)": int, "sum(single)": float, "avg(big)": float, "avg(small)": float
    }  # fmt: skip


def test_no_function_of_somebody_elses_takes_the_place_of_an_aggregate(store: Store, shelves: Collection) -> None:
    with store.engine.begin() as connection:
        for name in ("count", "sum", "max"):
            connection.exec_driver_sql(
                f"CREATE FUNCTION public.{name}(integer) RETURNS bigint LANGUAGE sql AS 'SELECT 666::bigint'"
            )
    assert shelves.query(aggregates=["count(year)", "sum(year)", "max(year)"]) == [
        {"count(year)": 3, "sum(year)": 5980, "max(year)": 2000}
    ]


# Get by condition


def test_get_takes_ids_or_a_condition_or_both(shelves: Collection) -> None:
    assert keys(shelves.get(filter="year == 1990")) == keys(shelves.get(where=shelves.c.year == 1990)) == [1, 3]
    assert keys(shelves.get([3, 2, 1, 3], filter="year == {y}", filter_params={"y": 1990})) == [3, 1]
    assert keys(shelves.get([4, 3, 1], where=shelves.c.title == "b", partition_names=["novel"])) == [3]
    assert shelves.get(filter="year == 2000", output_fields=["title"]) == [{"title": "a"}]
    assert shelves.get([], filter="year == 1990") == []


def test_get_needs_to_be_told_what(shelves: Collection) -> None:
    for arguments in ({}, {"partition_names": ["novel"]}):
        with pytest.raises(InvalidArgument, match="get\\(\\) takes ids, a filter or where"):
            shelves.get(**arguments)
    with pytest.raises(InvalidData):
        shelves.get(["x"], filter="year == 1990")


def test_get_gives_entities_never_aggregates(books: Collection) -> None:
    books.insert([book(1)])
    for arguments in ({"ids": [1]}, {"filter": "id == 1"}):
        with pytest.raises(FieldNotFound, match=r"count\(\*\)"):
            books.get(**arguments, output_fields=["count(*)"])


# Prepared statements


def test_a_query_goes_on_when_the_collection_is_made_again_with_other_types(store: Store, books: Collection) -> None:
    books.insert([book(1)])
    for _ in range(10):
        assert books.query(output_fields=["year"], aggregates=None) == [{"year": 1901}]
        assert books.query(aggregates="max(year)") == [{"max(year)": 1901}]
    books.drop()
    again = [Field("year", DataType.VARCHAR, max_length=4) if field.name == "year" else field for field in BOOK_FIELDS]
    store.create_collection("books", again).insert([book(1, year="1901")])
    assert books.query(output_fields=["year"]) == [{"year": "1901"}]
    assert books.query(aggregates="max(year)") == [{"max(year)": "1901"}]


# Against plain Python

ROWS, QUESTIONS, EXAMPLES = 20, 25, 12

RANDOM_FIELDS = (
    Field("id", DataType.INT64, primary_key=True),
    Field("row", DataType.INT32),
    Field("flag", DataType.BOOL, nullable=True),
    Field("small", DataType.INT8, nullable=True),
    Field("big", DataType.INT64, nullable=True),
    Field("price", DataType.FLOAT, nullable=True),
    Field("title", DataType.VARCHAR, max_length=16, nullable=True),
    Field("born", DataType.TIMESTAMPTZ, nullable=True),
)
PLACES = ("_default", "novel")
NUMBERS = ("small", "big", "price")

values = {
    "flag": st.booleans(),
    "small": st.integers(-2, 2),
    "big": st.sampled_from([-(2**63), -1, 0, 1, 2**62, 2**63 - 1]),
    "price": st.sampled_from([-1.5, 0.0, 0.25, 1e10]),
    "title": st.sampled_from(["", "a", "A", "ab", "é", "z", "\U0001f600", "￿"]),
    "born": st.sampled_from([datetime(1999, 1, 1, tzinfo=UTC), datetime(2024, 2, 29, 12, tzinfo=UTC)]),
}
plain_fields = st.sampled_from(list(values))
rows = st.fixed_dictionaries({name: st.none() | drawn for name, drawn in values.items()})
placed = st.lists(rows, min_size=ROWS, max_size=ROWS)
conditions: dict[str, Callable[[Record], bool]] = {
    "": lambda _: True,
    "small >= 0": lambda row: row["small"] is not None and row["small"] >= 0,
    "title is null": lambda row: row["title"] is None,
    "not (big < 1)": lambda row: row["big"] is not None and row["big"] >= 1,
    "row < 0": lambda _: False,
}
aggregates = st.one_of(
    st.just("count(*)"),
    plain_fields.map("count({})".format),
    st.tuples(st.sampled_from(["sum", "avg"]), st.sampled_from(NUMBERS)).map(lambda pair: "{}({})".format(*pair)),
    st.tuples(st.sampled_from(["min", "max"]), plain_fields.filter(lambda name: name != "flag")).map(
        lambda pair: "{}({})".format(*pair)
    ),
)


def directed(names: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    terms = st.tuples(names, st.sampled_from(["", ":asc", ":desc"])).map("".join)
    return st.lists(terms, max_size=3)


common = {
    "filter": st.sampled_from(list(conditions)),
    "limit": st.none() | st.integers(1, ROWS),
    "offset": st.integers(0, ROWS // 2),
}
of_rows = st.fixed_dictionaries({**common, "order_by": directed(plain_fields | st.just("id"))})


@st.composite
def of_groups(draw: st.DrawFn) -> dict[str, Any]:
    group_by = draw(st.lists(plain_fields, min_size=1, max_size=2, unique=True))
    wanted = draw(st.lists(aggregates, max_size=3, unique=True))
    order_by = draw(directed(st.sampled_from(group_by) | aggregates))
    return draw(st.fixed_dictionaries(common)) | {"group_by": group_by, "aggregates": wanted, "order_by": order_by}


of_all = st.fixed_dictionaries(
    {"filter": common["filter"], "aggregates": st.lists(aggregates, min_size=1, max_size=4, unique=True)}
)


def comparable(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def aggregated(text: str, members: list[Record]) -> Any:
    function, name = text.rstrip(")").split("(")
    if name == "*":
        return len(members)
    present = [row[name] for row in members if row[name] is not None]
    if function == "count":
        return len(present)
    if not present:
        return None
    if function == "sum":
        return sum(present)
    if function == "avg":
        return sum(present) / len(present)
    return (min if function == "min" else max)(present, key=comparable)


def sort(records: list[Any], order_by: list[str], value_of: Callable[[Any, str], Any]) -> None:
    """By several terms, one stable sort for each; NULL is the greatest of all."""
    for term in reversed(order_by):
        name, _, direction = term.partition(":")

        def sort_key(record: Any, name: str = name) -> tuple[bool, Any]:
            value = value_of(record, name)
            return (True, 0) if value is None else (False, comparable(value))

        records.sort(key=sort_key, reverse=direction == "desc")


def cut(records: list[Any], question: dict[str, Any]) -> list[Any]:
    left = records[question["offset"] :]
    return left if question["limit"] is None else left[: question["limit"]]


def expected(entities: list[Record], question: dict[str, Any]) -> list[Record]:
    matching = [row for row in entities if conditions[question["filter"]](row)]
    if "aggregates" not in question:
        sort(matching, question["order_by"], lambda row, name: row[name])
        return [{"row": row["row"]} for row in cut(matching, question)]
    if "group_by" not in question:
        return [{text: aggregated(text, matching) for text in question["aggregates"]}]
    members: dict[tuple[Any, ...], list[Record]] = {}
    for row in matching:
        members.setdefault(tuple(row[name] for name in question["group_by"]), []).append(row)
    groups = [(dict(zip(question["group_by"], key, strict=True)), rows_) for key, rows_ in members.items()]

    def value_of(group: tuple[Record, list[Record]], name: str) -> Any:
        return group[0][name] if name in group[0] else aggregated(name, group[1])

    sort(groups, [*question["order_by"], *question["group_by"]], value_of)
    shown = [*question["group_by"], *question["aggregates"]]
    return [{name: value_of(group, name) for name in shown} for group in cut(groups, question)]


def same(found: list[Record], wanted: list[Record]) -> bool:
    """Equal, also in the types; floats but for the order in which they were added up."""
    pairs = [
        (ours, theirs)
        for left, right in zip(found, wanted, strict=True)
        for ours, theirs in zip(left.items(), right.items(), strict=True)
    ]
    return all(
        name == other_name
        and type(value) is type(other)
        and (math.isclose(value, other, rel_tol=1e-12) if isinstance(value, float) else value == other)
        for (name, value), (other_name, other) in pairs
    )


@pytest.fixture
def random_rows(store: Store) -> Collection:
    collection = store.create_collection("random", RANDOM_FIELDS)
    collection.create_partition(PLACES[1])
    return collection


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(placed, st.lists(of_rows | of_groups() | of_all, min_size=QUESTIONS, max_size=QUESTIONS))
def test_order_pages_groups_and_aggregates_are_those_of_plain_python(
    random_rows: Collection, drawn: list[Record], questions: list[dict[str, Any]]
) -> None:
    """Each key is in both partitions, so that only the partition tells its entities apart."""
    random_rows.truncate()
    entities = [{"id": n // 2, "row": n, **row} for n, row in enumerate(drawn)]
    for place, name in enumerate(PLACES):
        random_rows.insert(entities[place::2], partition_name=name)
    for question in questions:
        shown = {} if "aggregates" in question else {"output_fields": ["row"]}
        found = random_rows.query(**question, **shown)
        assert same(found, expected(entities, question)), (question, found)
