"""A name is taken and comes back as it is, or is refused: it never means something else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import URL, text

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import Btree, Collection, DataType, Field, InvalidName, OperationRefused, Store, VecstoreError

NASTY = [
    'a"b',
    "a'b",
    "a;b",
    "--",
    "a%sb",
    "a%(x)s",
    "{a}",
    "{0}",
    "a\\b",
    "a\0b",
    "a b",
    "a.b",
    "",
    "á",
    "a\u0301",
    "\u202ea",
    "😀",
    "x" * 63,
    "x" * 63 + "A",
    "x" * 63 + "B",
    "é" * 32,
    "pg_catalog",
    "PG_foo",
    "public",
    "PUBLIC",
    "information_schema",
    "vecstore",
    "_vecstore_trash_1",
    "ctid",
    "xmin",
    "tableoid",
    "_partition",
    "_meta",
    "entities",
    "select",
    "1a",
    "-a",
    "a-b",
]
NAMES = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=8),
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,3}", fullmatch=True),
    st.text(alphabet="xyé\"'%", min_size=61, max_size=66),
)

# One store for all examples of a test: each example puts back what it made.
SETTINGS = settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

CANARY = text("SELECT (SELECT string_agg(word, ' ') FROM canary.song) || ' ' || (SELECT count(*) FROM public.song)")


@pytest.fixture
def store(database_url: URL) -> Iterator[Store]:
    """A store beside a schema and a table of somebody else, which must be there after the test as before."""
    with vecstore.connect(database_url) as store:
        with store.engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA canary; CREATE TABLE canary.song AS SELECT 'tweet' AS word")
            connection.exec_driver_sql("CREATE TABLE public.song AS SELECT 1 AS one")
        yield store
        with store.engine.begin() as connection:
            assert connection.execute(CANARY).scalar_one() == "tweet 1"


@SETTINGS
@given(NAMES, NAMES)
def test_collections_of_two_names_never_share_a_table(store: Store, one: str, other: str) -> None:
    made = []
    for name in dict.fromkeys((one, other)):
        try:
            collection = store.create_collection(name, BOOK_FIELDS)
        except InvalidName:
            with pytest.raises(InvalidName):
                store.drop_collection(name)
            continue
        collection.insert([book(len(made), title=f"of {len(made)}")])
        made.append(name)
    assert sorted(store.list_collections()) == sorted(made)
    for number, name in enumerate(made):
        found = store.collection(name)
        assert found.describe().name == name
        assert found.get([number], output_fields=["title"]) == [{"title": f"of {number}"}]
        assert found.num_entities == 1
        found.drop()
    assert store.list_collections() == []


@SETTINGS
@given(NAMES)
def test_an_alias_comes_back_as_it_was_named(store: Store, alias: str) -> None:
    if not store.has_collection("books"):
        store.create_collection("books", BOOK_FIELDS)
    try:
        store.create_alias("books", alias)
    except VecstoreError as error:
        assert isinstance(error, InvalidName) or alias == "books"  # noqa: PT017 - which of two is the point
        return
    assert store.list_aliases() == {alias: "books"}
    store.drop_alias(alias)


@SETTINGS
@given(NAMES, NAMES)
def test_partitions_of_two_names_never_share_a_table(store: Store, one: str, other: str) -> None:
    books = (
        store.collection("books") if store.has_collection("books") else store.create_collection("books", BOOK_FIELDS)
    )
    made = []
    for name in dict.fromkeys((one, other)):
        try:
            books.create_partition(name).insert([book(len(made))])
        except InvalidName:
            continue
        made.append(name)
    assert [partition.name for partition in books.partitions] == ["_default", *made]
    for number, name in enumerate(made):
        assert books.get([number], partition_names=[name])[0]["id"] == number
        books.drop_partition(name)
    assert books.num_entities == 0


@SETTINGS
@given(NAMES, NAMES)
def test_a_field_and_its_index_come_back_as_they_were_named(store: Store, name: str, index: str) -> None:
    try:
        field = Field(name, DataType.INT32)
    except InvalidName:
        return
    if name in {"id", "embedding"}:
        return
    things = store.create_collection("things", (BOOK_FIELDS[0], field, BOOK_FIELDS[-1]))
    try:
        things.insert([{"id": 1, name: 7, "embedding": [1, 2, 3, 4]}])
        things.upsert([{"id": 2, name: 8, "embedding": [1, 2, 3, 4]}])
        assert things.describe().schema.field(name) == field
        assert things.get([1, 2], output_fields=[name]) == [{name: 7}, {name: 8}]
        assert things.search([1, 2, 3, 4], 2, where=things.c[name] > 7, output_fields=[name])[0][0].fields == {name: 8}
        try:
            assert things.create_index(name, Btree(), name=index).name == index
        except VecstoreError as error:
            taken = index in things.describe().relations
            assert isinstance(error, InvalidName) or taken  # noqa: PT017 - which of two is the point
        else:
            things.drop_index(index)
    finally:
        things.drop()


@SETTINGS
@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=70))
def test_a_dynamic_key_may_be_any_text(store: Store, key: str) -> None:
    if key in {"id", "embedding", "title", "year", "_meta", "_partition", "*"}:
        return
    name = "loose"
    loose = store.collection(name) if store.has_collection(name) else dynamic(store, name)
    loose.upsert([book(1, **{key: "kept"})])
    assert loose.get([1])[0][key] == "kept"
    assert loose.get([1], output_fields=[key]) == [{key: "kept"}]


def dynamic(store: Store, name: str) -> Collection:
    return store.create_collection(name, BOOK_FIELDS, dynamic=True)


def test_long_partition_names_that_begin_alike_live_side_by_side(store: Store) -> None:
    books = store.create_collection("books", BOOK_FIELDS)
    names = ["x" * 254 + end for end in "ab"] + ["x" * 63, "x" * 54, "x" * 55]
    for number, name in enumerate(names):
        books.create_partition(name).insert([book(number)])
    for number, name in enumerate(names):
        assert [hit.id for hit in books.partition(name).search([1, 2, 3, 4])[0]] == [number]
    books.drop_partition(names[0])
    assert books.num_entities == len(names) - 1


def test_a_partition_may_be_named_like_what_the_schema_has_already(store: Store) -> None:
    drawn = (Field("id", DataType.INT64, primary_key=True, auto_id=True), *BOOK_FIELDS[1:])
    books = store.create_collection("books", drawn)
    for name in ("id_seq", "pkey", "_default_pkey", "year_idx"):
        books.create_partition(name)
    books.create_index("year", Btree(), name="entities_late")
    books.create_partition("late")
    assert len(books.partitions) == 6
    for partition in books.partitions[1:]:
        partition.insert([{"title": partition.name, "embedding": [1, 2, 3, 4]}])
        assert partition.num_entities == 1
        partition.drop()
    with pytest.raises(OperationRefused):
        books.drop_partition("_default")
