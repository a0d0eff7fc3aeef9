from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from planned import plan_of

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import (
    Btree,
    Collection,
    CollectionNotFound,
    DataType,
    Field,
    FieldNotFound,
    FilterError,
    InvalidArgument,
    PartitionNotFound,
    Store,
)
from vecstore.conditions import Selection
from vecstore.operations.opening import opened
from vecstore.query import Question, entities_of

Fill = Callable[..., None]

# In the order of bytes, which is that of the embedded server's databases.
TEXTS = sorted(["", " ", "'", "--", "A", "B", "a", "a ", "a\nb", "b", "é", "\U0001f600", "￿"], key=str.encode)


def keys(pages: Iterator[list[dict[str, Any]]]) -> list[Any]:
    return [record["id"] for page in pages for record in page]


@pytest.fixture
def shelves(store: Store, fill: Fill) -> Collection:
    """100 books, every second one in partition `novel`."""
    shelves = store.create_collection("shelves", BOOK_FIELDS)
    shelves.create_partition("novel")
    fill(shelves, range(0, 100, 2))
    fill(shelves, range(1, 100, 2), "novel")
    return shelves


@pytest.mark.parametrize("batch_size", [1, 7, 50, 100, 16_384])
def test_the_pages_are_every_entity_once_in_the_order_of_the_key(shelves: Collection, batch_size: int) -> None:
    pages = list(shelves.query_iterator(batch_size=batch_size))
    assert keys(iter(pages)) == list(range(100))
    assert {len(page) for page in pages[:-1]} <= {batch_size}
    assert all(pages)
    assert pages[0][0].keys() == {"id", "title", "year", "embedding"}


def test_pages_are_of_what_matches_and_show_what_was_asked_for(shelves: Collection) -> None:
    pages = shelves.query_iterator(
        "year >= {y}", filter_params={"y": 1950}, where=shelves.c.id < 60, batch_size=4, output_fields=["id"]
    )
    assert list(itertools.chain(*pages)) == [{"id": key} for key in range(50, 60)]
    assert keys(shelves.query_iterator(partition_names=["novel"], batch_size=8)) == list(range(1, 100, 2))
    assert list(shelves.query_iterator("year < 0")) == []
    assert [len(page) for page in shelves.query_iterator(batch_size=40, output_fields=["title"])] == [40, 40, 20]


def test_a_limit_ends_in_the_middle_of_a_page(shelves: Collection) -> None:
    assert [len(page) for page in shelves.query_iterator(batch_size=30, limit=70)] == [30, 30, 10]
    assert [len(page) for page in shelves.query_iterator(batch_size=30, limit=60)] == [30, 30]
    assert keys(shelves.query_iterator(batch_size=30, limit=1000)) == list(range(100))


def test_a_key_that_two_partitions_hold_may_end_one_page_and_begin_the_next(store: Store) -> None:
    books = store.create_collection("books", BOOK_FIELDS)
    for name in ("c", "b"):
        books.create_partition(name)
    for name in ("c", "_default", "b"):
        books.insert([book(key, title=name) for key in range(5)], partition_name=name)
    for batch_size in (1, 2, 4, 5):
        found = [(row["id"], row["title"]) for page in books.query_iterator(batch_size=batch_size) for row in page]
        assert found == [(key, name) for key in range(5) for name in ("_default", "b", "c")]


def test_keys_may_be_text_and_partitions_decided_by_a_key(store: Store) -> None:
    fields = (
        Field("tenant", DataType.VARCHAR, max_length=16, partition_key=True),
        Field("id", DataType.VARCHAR, primary_key=True, max_length=16),
    )
    names = store.create_collection("names", fields, num_partitions=3)
    for tenant in ("x", "y'"):
        names.insert([{"id": text, "tenant": tenant} for text in TEXTS])
    for batch_size in (1, 3, 100):
        found = [(row["id"], row["tenant"]) for page in names.query_iterator(batch_size=batch_size) for row in page]
        assert found == [(text, tenant) for text in TEXTS for tenant in ("x", "y'")]


def test_what_is_wrong_with_the_question_is_said_at_once(shelves: Collection) -> None:
    for wrong in ({"batch_size": 0}, {"batch_size": 16_385}, {"batch_size": "7"}, {"limit": 0}, {"limit": 1.5}):
        with pytest.raises(InvalidArgument):
            shelves.query_iterator(**wrong)
    with pytest.raises(FieldNotFound):
        shelves.query_iterator(output_fields=["isbn"])
    with pytest.raises(FieldNotFound, match=r"count\(\*\)"):
        shelves.query_iterator(output_fields=["count(*)"])
    with pytest.raises(FilterError):
        shelves.query_iterator("yaer > 1")
    with pytest.raises(PartitionNotFound):
        shelves.query_iterator(partition_names=["poems"])
    shelves.drop()
    with pytest.raises(CollectionNotFound):
        shelves.query_iterator()


# Between the pages

_LOCKS = """
    SELECT count(*) FROM pg_locks
    WHERE relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'shelves'::regnamespace)
"""
_TRANSACTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE state LIKE 'idle in transaction%%' AND datname = pg_catalog.current_database()
"""


def test_an_open_iterator_holds_no_lock_and_no_transaction(store: Store, shelves: Collection) -> None:
    pages = shelves.query_iterator(batch_size=10)
    next(pages)
    with store.engine.connect() as connection:
        for counted in (_LOCKS, _TRANSACTIONS):
            assert connection.exec_driver_sql(counted).scalar_one() == 0
    assert keys(pages) == list(range(10, 100))


def test_an_open_iterator_does_not_keep_a_partition_from_being_dropped(shelves: Collection, database_url: Any) -> None:
    everything = shelves.query_iterator(batch_size=10)
    novels = shelves.query_iterator(batch_size=10, partition_names=["novel"])
    assert len(next(everything)) == len(next(novels)) == 10
    with vecstore.connect(database_url, ddl_timeout=0) as impatient:
        impatient.collection("shelves").drop_partition("novel")
    assert keys(everything) == list(range(10, 100, 2))
    with pytest.raises(PartitionNotFound, match="novel"):
        next(novels)


def test_after_a_drop_the_next_page_says_so(shelves: Collection) -> None:
    pages = shelves.query_iterator(batch_size=10)
    next(pages)
    shelves.drop()
    with pytest.raises(CollectionNotFound, match="shelves"):
        next(pages)


def test_what_is_written_meanwhile_is_seen_ahead_of_the_last_key_only(shelves: Collection) -> None:
    shelves.delete(ids=[3, 50])
    pages = shelves.query_iterator(batch_size=10)
    assert keys(iter([next(pages)])) == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]
    shelves.delete("id in [10, 20]")  # 10 is where the page ended
    shelves.insert([book(3), book(50), book(1000)])
    assert keys(pages) == [key for key in range(11, 100) if key != 20] + [1000]


def test_inside_a_transaction_the_pages_are_of_that_transaction(store: Store, shelves: Collection) -> None:
    with store.transaction() as transaction:
        inside = transaction.collection("shelves")
        pages = inside.query_iterator(batch_size=10)
        next(pages)
        inside.delete("id >= 50")
        assert keys(pages) == list(range(10, 50))
        assert keys(shelves.query_iterator()) == list(range(100))


def test_inside_a_repeatable_read_transaction_the_pages_are_of_one_moment(store: Store, shelves: Collection) -> None:
    with store.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        pages = store.bind(connection).collection("shelves").query_iterator(batch_size=10)
        next(pages)
        shelves.delete("id >= 50")
        assert keys(pages) == list(range(10, 100))
    assert shelves.count() == 50


# What a page costs


def nodes(plan: Any) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


@pytest.mark.parametrize("key_type", [DataType.INT64, DataType.VARCHAR])
@pytest.mark.parametrize("analysed", [False, True])
def test_a_page_is_read_from_the_index_of_the_key_without_a_sort(
    store: Store,
    key_type: DataType,
    analysed: bool,  # noqa: FBT001
) -> None:
    options = {} if key_type is DataType.INT64 else {"max_length": 8}
    fields = (Field("id", key_type, primary_key=True, **options), Field("year", DataType.INT32))
    many = store.create_collection("many", fields)
    made = int if key_type is DataType.INT64 else "{:05}".format
    for part in range(4):
        many.create_partition(f"part_{part}")
        drawn = [n * 7919 % 20_000 for n in range(part, 20_000, 4)]
        many.insert({"id": [made(n) for n in drawn], "year": drawn}, partition_name=f"part_{part}")
    many.create_index("year", Btree())
    if analysed:
        with store.engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE")

    def plan_of_page(selection: Selection) -> list[dict[str, Any]]:
        with opened(many._database, "many", "look at") as found:
            asked = entities_of(found.description, found.table, Question(selection))
            statement = asked.statement(100, after=(made(9_000), "part_2"))
            return list(nodes(plan_of(found.connection, found.facts, statement)))

    for selection in (Selection(), Selection(filter="year > 100")):
        plan = plan_of_page(selection)
        assert {node["Node Type"] for node in plan} == {"Limit", "Merge Append", "Index Scan"}
        scans = [node for node in plan if node["Node Type"] == "Index Scan"]
        assert len(scans) == 5  # `_default` is one, too
        assert all("ROW(id, _partition) > ROW(" in scan["Index Cond"] for scan in scans)
    alone = plan_of_page(Selection(partition_names=["part_1"]))
    assert [node["Node Type"] for node in alone] == ["Limit", "Index Scan"]


def test_pages_are_the_same_when_their_statement_is_prepared(store: Store) -> None:
    """From the sixth page on psycopg prepares it, and from the eleventh PostgreSQL may plan it for any position."""
    books = store.create_collection("books", BOOK_FIELDS)
    books.insert([book(key) for key in range(300)])
    assert keys(books.query_iterator(batch_size=5)) == list(range(300))
