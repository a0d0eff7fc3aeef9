"""The procedures of schema vecstore: what they change, what they refuse, and that ROLLBACK undoes them."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from samples import BOOK_FIELDS, book
from vecstore import Btree, Collection, DataType, Field, Hnsw, LockTimeout, Store
from vecstore.errors import driver_error

HOSTILE = ("x'; DROP SCHEMA books CASCADE; --", 'x"y', "%I %s $1", "é", "", "a" * 300, "pg_catalog", None)


def call(store: Store, statement: str, *parameters: object) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql(statement, parameters)


def refusal(store: Store, statement: str, *parameters: object) -> psycopg.Error:
    with pytest.raises(DBAPIError) as caught:
        call(store, statement, *parameters)
    error = driver_error(caught.value)
    assert error is not None
    return error


def lines(value: str | None) -> list[str]:
    return (value or "").splitlines()


@pytest.fixture
def loaded(books: Collection) -> Collection:
    books.create_partition("novel")
    books.insert([book(key) for key in range(5)])
    books.insert([book(key) for key in range(5)], partition_name="novel")
    books.create_index("embedding", Hnsw())
    books.create_index("year", Btree())
    return books


def test_each_change_is_what_python_would_have_made(store: Store, loaded: Collection) -> None:
    call(store, "CALL vecstore.drop_index('books', 'year_idx')")
    call(store, "CALL vecstore.drop_index('books')")
    assert loaded.indexes == []
    call(store, "CALL vecstore.truncate_partition('books', '_default')")
    assert loaded.count() == 5
    call(store, "CALL vecstore.drop_partition('books', partition_name => 'novel')")
    assert loaded.count() == 0
    call(store, "CALL vecstore.create_partition('books', 'poems')")
    loaded.insert([book(1)], partition_name="poems")
    assert [partition.name for partition in loaded.partitions] == ["_default", "poems"]
    call(store, "CALL vecstore.drop_collection('books')")
    assert store.list_collections() == []
    assert store.doctor() == ()


def test_a_partition_made_by_sql_is_like_one_of_python(store: Store, loaded: Collection) -> None:
    loaded.create_partition("python")
    call(store, "CALL vecstore.create_partition('books', 'sql')")
    with store.engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT replace(pg_get_constraintdef(k.oid), 'x', ''), c.reloptions FROM pg_class c"
            " JOIN pg_constraint k ON k.conrelid = c.oid WHERE relname IN ('entities_python', 'entities_sql')"
            " AND k.contype = 'c' GROUP BY 1, 2 HAVING count(*) <> 2"
        ).all()
        options = connection.exec_driver_sql(
            "SELECT DISTINCT reloptions FROM pg_class WHERE relname IN ('entities_python', 'entities_sql')"
        ).scalars()
        assert found == []
        assert list(options) == [["toast_tuple_target=8160"]]
        indexes = connection.exec_driver_sql(
            "SELECT count(*) FROM pg_indexes WHERE tablename IN ('entities_python', 'entities_sql') GROUP BY tablename"
        ).scalars()
        assert list(indexes) == [3, 3]


def test_names_of_partitions_are_data_of_any_length(store: Store, loaded: Collection) -> None:
    long = ["n" * 255, "n" * 254, "n" * 63]
    for name in long:
        call(store, "CALL vecstore.create_partition('books', %s)", name)
    call(store, "CALL vecstore.create_partition('books', '1-2')")
    assert {*long, "1-2"} < {partition.name for partition in loaded.partitions}
    for name in long:
        call(store, "CALL vecstore.drop_partition('books', %s)", name)
    assert not set(long) & {partition.name for partition in loaded.partitions}


def test_rollback_undoes_all_of_it_and_gives_the_lock_timeout_back(store: Store, loaded: Collection) -> None:
    before = loaded.describe()
    with store.engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '7s'")
        for statement in (
            "CALL vecstore.drop_index('books', 'year_idx')",
            "CALL vecstore.truncate_partition('books', '_default')",
            "CALL vecstore.drop_partition('books', 'novel')",
            "CALL vecstore.create_partition('books', 'poems')",
            "CALL vecstore.drop_collection('books')",
        ):
            connection.exec_driver_sql(statement)
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == "7s"
        connection.rollback()
    assert loaded.describe() == before
    assert loaded.count() == 10


@pytest.mark.parametrize(
    ("statement", "sqlstate", "words"),
    [
        ("drop_index('books')", "42P08", "several indexes"),
        ("drop_index('books', 'nope')", "42704", "no index 'nope'"),
        ("drop_index('books', 'entities_pkey')", "42704", "no index 'entities_pkey'"),
        ("drop_index('nope')", "42P01", "no collection 'nope'"),
        ("create_partition('books', 'novel')", "42710", "has a partition 'novel'"),
        ("create_partition('books', 'no good')", "42602", "invalid partition name"),
        ("drop_partition('books', '_default')", "55000", "default partition"),
        ("drop_partition('books', 'nope')", "42704", "no partition 'nope'"),
        ("truncate_partition('books', 'nope')", "42704", "no partition 'nope'"),
        ("drop_collection('nope')", "42P01", "no collection 'nope'"),
        ("drop_collection('public')", "42809", "not a collection of vecstore"),
        ("drop_collection('vecstore')", "42809", "not a collection of vecstore"),
        ("drop_collection('books')", "2BP01", "has aliases, drop them first: prod"),
        ("drop_collection('prod')", "42809", "'prod' is an alias of collection 'books'"),
        ("create_partition('tenants', 'x')", "55000", "made from its partition key 'tenant'"),
        ("drop_partition('tenants', '_default_0')", "55000", "made from its partition key 'tenant'"),
    ],
)
def test_what_is_refused_says_why(store: Store, loaded: Collection, statement: str, sqlstate: str, words: str) -> None:
    store.create_alias("books", "prod")
    tenant = Field("tenant", DataType.VARCHAR, max_length=9, partition_key=True)
    store.create_collection("tenants", (*BOOK_FIELDS, tenant), num_partitions=2)
    before = loaded.describe()
    error = refusal(store, f"CALL vecstore.{statement}")
    assert error.sqlstate == sqlstate
    assert words in (error.diag.message_primary or "")
    assert loaded.describe() == before


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_names(store: Store, loaded: Collection, name: str | None) -> None:
    before = loaded.describe()
    for statement in (
        "CALL vecstore.drop_index(%s)",
        "CALL vecstore.drop_index('books', coalesce(%s, 'x'))",
        "CALL vecstore.drop_partition('books', %s)",
        "CALL vecstore.create_partition('books', %s || '!')",
        "CALL vecstore.truncate_partition(%s, 'novel')",
        "CALL vecstore.drop_collection(%s)",
        "SELECT * FROM vecstore.search(%s, '[1,2,3,4]')",
        "SELECT * FROM vecstore.search('books', '[1,2,3,4]', field => coalesce(%s, 'x'))",
        "SELECT * FROM vecstore.search('books', '[1,2,3,4]', metric => coalesce(%s, 'x'))",
        "SELECT * FROM vecstore.search('books', '[1,2,3,4]', partitions => ARRAY[%s])",
        "SELECT * FROM vecstore.search('books', '[1,2,3,4]', filter => jsonb_build_object(coalesce(%s, ''), 1))",
        "SELECT * FROM vecstore.search('books', coalesce(%s, 'x'))",
    ):
        assert refusal(store, statement.replace("%s", "%s::text"), name).sqlstate in {
            "42P01", "42704", "42602", "42809", "42703", "22023"}  # fmt: skip
    assert loaded.describe() == before


def test_an_odd_name_that_is_there_is_quoted(store: Store, loaded: Collection) -> None:
    call(store, """ALTER INDEX books.year_idx RENAME TO "o'x"";--" """)
    call(store, "CALL vecstore.drop_index('books', %s)", "o'x\";--")
    assert [index.name for index in loaded.indexes] == ["embedding_idx"]


def test_what_others_made_stops_a_drop(store: Store, loaded: Collection) -> None:
    call(store, "CREATE VIEW public.recent AS SELECT id FROM books.entities")
    call(store, "CREATE VIEW public.novels AS SELECT id FROM books.entities_novel")
    error = refusal(store, "CALL vecstore.drop_partition('books', 'novel')")
    assert error.sqlstate == "2BP01"
    assert "cannot be dropped, others depend on it" in str(error.diag.message_primary)
    assert lines(error.diag.message_detail) == ["view public.novels depends on table books.entities_novel"]
    error = refusal(store, "CALL vecstore.drop_collection('books')")
    assert "view public.recent depends on table books.entities" in lines(error.diag.message_detail)
    assert loaded.count() == 10
    call(store, "CALL vecstore.drop_partition('books', 'novel', cascade => true)")
    call(store, "CALL vecstore.drop_collection('books', cascade => true)")


def test_a_table_of_somebody_else_that_became_a_partition_stays(store: Store, loaded: Collection) -> None:
    call(store, "CREATE TABLE public.mine (LIKE books.entities INCLUDING ALL)")
    call(store, "ALTER TABLE books.entities ATTACH PARTITION public.mine FOR VALUES IN ('mine')")
    error = refusal(store, "CALL vecstore.drop_collection('books')")
    assert (error.sqlstate, lines(error.diag.message_detail)) == ("2BP01", ["table public.mine"])
    assert refusal(store, "CALL vecstore.drop_partition('books', 'mine')").sqlstate == "42704"


def test_a_lock_that_others_hold_is_not_waited_for(store: Store, loaded: Collection) -> None:
    with store.engine.connect() as reader:
        reader.exec_driver_sql("SELECT FROM books.entities")
        for statement in ("drop_index('books', 'year_idx')", "drop_partition('books', 'novel')",
                          "drop_collection('books')", "truncate_partition('books', 'novel')"):  # fmt: skip
            error = refusal(store, f"CALL vecstore.{statement}")
            assert error.sqlstate == "55P03"
            assert "Nothing was changed" in str(error.diag.message_hint)
        call(store, "CALL vecstore.create_partition('books', 'poems')")  # keeps nobody out


def test_python_and_sql_keep_each_other_out(store: Store, loaded: Collection) -> None:
    with store.engine.connect() as connection:
        connection.exec_driver_sql("CALL vecstore.create_partition('books', 'poems')")
        with store.engine.connect() as other, pytest.raises(LockTimeout):
            store.bind(other).collection("books").create_partition("poems")
        connection.rollback()
    with store.engine.connect() as connection:
        store.bind(connection).collection("books").create_partition("poems")
        error = refusal(store, "CALL vecstore.create_partition('books', 'poems')")
        assert (error.sqlstate, error.diag.message_primary) == (
            "55P03", "collection 'books' is being changed by somebody else")  # fmt: skip


def test_a_collection_of_very_many_partitions_is_left_to_the_library(store: Store, books: Collection) -> None:
    with store.engine.begin() as connection:
        locks = "SELECT (0.5 * setting::int * current_setting('max_connections')::int / 10)::int + 1 FROM pg_settings"
        most = connection.exec_driver_sql(f"{locks} WHERE name = 'max_locks_per_transaction'").scalar_one()
    bulk = store.bind
    for first in range(0, most, 60):
        with store.engine.begin() as connection:
            inside = bulk(connection).collection("books")
            for number in range(first, min(most, first + 60)):
                inside.create_partition(f"p{number}")
    error = refusal(store, "CALL vecstore.drop_collection('books')")
    assert error.sqlstate == "54000"
    assert "store.drop_collection()" in str(error.diag.message_hint)
    books.drop()


def test_an_index_that_was_not_built_to_its_end_is_left_to_the_library(store: Store, books: Collection) -> None:
    call(store, "CREATE INDEX half_done ON ONLY books.entities (year)")
    assert refusal(store, "CALL vecstore.drop_index('books')").sqlstate == "55000"
    books.drop_index()
    assert refusal(store, "CALL vecstore.drop_index('books')").sqlstate == "42704"
