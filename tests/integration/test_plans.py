from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import URL, Connection, event, text

import vecstore
from killing import eventually
from samples import BOOK_FIELDS, book
from vecstore import (
    Btree,
    Collection,
    CollectionHasAliases,
    DataType,
    DependentObjects,
    Field,
    Hnsw,
    IndexNotFound,
    InvalidArgument,
    LockHolder,
    LockMode,
    OperationRefused,
    PartitionNotFound,
    PermissionDenied,
    Plan,
    PlanKind,
    PlanOutdated,
    Store,
)
from vecstore.operations import collections, foreseeing
from vecstore.operations.relations import Watched

Fill = Callable[..., None]


def run(store: Store, *statements: str) -> None:
    with store.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.fixture
def shelf(books: Collection, fill: Fill) -> Collection:
    """Two partitions with rows and two indexes."""
    books.create_partition("novel")
    fill(books, range(30))
    fill(books, range(30, 100), "novel")
    books.create_index("embedding", Hnsw())
    books.create_index("year", Btree())
    return books


# What a plan shows is what happens


@dataclass(frozen=True)
class World:
    """What the catalogue has: every relation that is no system's, and how many bytes tables and sequences take."""

    names: dict[int, str]
    size: int


def world(connection: Connection) -> World:
    rows = connection.execute(
        text("""
            SELECT c.oid::int8, n.nspname || '.' || c.relname, c.relkind::text,
                   CASE WHEN c.relkind IN ('r', 'S') THEN pg_total_relation_size(c.oid) ELSE 0 END
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema', 'vecstore')
        """)
    ).all()
    return World({row[0]: row[1] for row in rows}, sum(row[3] for row in rows))


def locks_of(connection: Connection, among: World, mode: LockMode) -> set[str]:
    """The relations that a transaction has locked so, the dropped ones too."""
    rows = connection.execute(
        text("""
            SELECT relation::int8 FROM pg_locks
            WHERE pid = pg_backend_pid() AND locktype = 'relation' AND mode = :mode
        """),
        {"mode": mode.title().replace(" ", "") + "Lock"},
    )
    return {among.names[row[0]] for row in rows if row[0] in among.names}


CHANGING = {"DROP", "TRUNCATE", "DELETE", "ALTER", "UPDATE"}


@contextmanager
def statements_of(store: Store) -> Iterator[list[str]]:
    """What is sent that drops, empties or deletes."""
    seen: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.split(maxsplit=1)[0] in {"DROP", "TRUNCATE", "DELETE", "ALTER", "UPDATE"}:
            seen.append(" ".join(statement.split()))

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(store.engine, "before_cursor_execute", note)


def without_values(statements: list[str] | tuple[str, ...]) -> list[str]:
    """DDL as it is; of others, whose values are parameters when they are sent, what they do to which table."""
    lines = [re.sub(r"_trash_\d+", "_trash_0", " ".join(statement.split())) for statement in statements]
    lines = [line for line in lines if line.split()[0] in CHANGING]
    return [line if line.startswith(("DROP", "TRUNCATE", "ALTER")) else " ".join(line.split()[:3]) for line in lines]


@dataclass(frozen=True)
class Drawn:
    """A random collection, and what is planned on it."""

    rows: dict[str, int]
    indexes: frozenset[str]
    view: str | None
    alias: bool
    keyed: bool
    auto_id: bool
    kind: PlanKind
    cascade: bool
    whole: bool
    keep: timedelta | None


PARTITIONS = ("_default", "novel", "poem")

drawn = st.builds(
    Drawn,
    rows=st.dictionaries(st.sampled_from(PARTITIONS), st.integers(0, 40)),
    indexes=st.frozensets(st.sampled_from(["embedding", "year", "title"])),
    view=st.sampled_from([None, None, "entities", "entities_novel"]),
    alias=st.sampled_from([False, False, False, True]),
    keyed=st.sampled_from([False, False, False, True]),
    auto_id=st.booleans(),
    kind=st.sampled_from(PlanKind),
    cascade=st.booleans(),
    whole=st.booleans(),
    keep=st.sampled_from([None, None, timedelta(days=7)]),
)


def made(store: Store, wanted: Drawn) -> Collection:
    first = Field("id", DataType.INT64, primary_key=True, auto_id=wanted.auto_id)
    year = Field("year", DataType.INT64, partition_key=True) if wanted.keyed else BOOK_FIELDS[2]
    fields = [first, BOOK_FIELDS[1], year, BOOK_FIELDS[3]]
    books = store.create_collection("books", fields, num_partitions=2)
    for name in () if wanted.keyed else PARTITIONS[1:]:
        books.create_partition(name)
    for name, number in wanted.rows.items():
        rows = [book(key) for key in range(number)]
        if wanted.auto_id:
            rows = [{key: value for key, value in row.items() if key != "id"} for row in rows]
        if rows and (not wanted.keyed or name == "_default"):
            books.insert(rows, partition_name=None if wanted.keyed else name)
    for field in sorted(wanted.indexes):
        books.create_index(field, Hnsw() if field == "embedding" else Btree())
    if wanted.view is not None and not wanted.keyed:
        run(
            store,
            f"CREATE VIEW public.seen AS TABLE books.{wanted.view}",
            "CREATE VIEW public.seen_twice AS SELECT * FROM public.seen",
        )
    if wanted.alias:
        store.create_alias("books", "prod")
    return books


def plan_of(books: Collection, wanted: Drawn) -> Plan | None:
    partition = books.partitions[-1].name
    if wanted.kind is PlanKind.DROP_COLLECTION:
        return books.drop_plan(cascade=wanted.cascade, keep=wanted.keep)
    if wanted.kind is PlanKind.DROP_PARTITION:
        return books.drop_partition_plan(
            "_default_0" if wanted.keyed else "novel", cascade=wanted.cascade, keep=wanted.keep
        )
    if wanted.kind is PlanKind.TRUNCATE:
        return books.truncate_plan(None if wanted.whole else partition)
    if wanted.kind is PlanKind.DELETE:
        only = None if wanted.whole or wanted.keyed else ["novel"]
        return books.delete_plan("year > 1915 or title == 'book 3'", partition_names=only)
    return books.drop_index_plan(books.indexes[-1].name) if wanted.indexes else None


@given(drawn)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_a_plan_shows_is_what_then_happens(store: Store, wanted: Drawn) -> None:
    books = made(store, wanted)
    try:
        plan = plan_of(books, wanted)
        if plan is not None:
            check(store, books, plan, wanted)
    finally:
        run(store, "DROP VIEW IF EXISTS public.seen CASCADE")
        if "prod" in store.list_aliases():
            store.drop_alias("prod")
        store.drop_collection("books", missing_ok=True)
        store.purge(timedelta(0))


def check(store: Store, books: Collection, plan: Plan, wanted: Drawn) -> None:
    with store.engine.connect() as connection:
        before = world(connection)
    rows = books.count()
    if plan.objections:
        with pytest.raises(type(plan.objections[0])) as refused, store.transaction():
            plan.run()
        assert str(refused.value) == str(plan.objections[0])
        with store.engine.connect() as connection:
            assert world(connection) == before
        return
    with store.engine.connect() as connection, connection.begin(), statements_of(store) as seen:
        bound = store.bind(connection).collection("books")
        again = plan_of(bound, wanted)
        assert again is not None
        passing: dict[str, Any] = {"made_at": None, "holders": None}
        assert again.to_dict() | passing == plan.to_dict() | passing
        again.run()
        mode = LockMode.ROW_EXCLUSIVE if plan.kind is PlanKind.DELETE else LockMode.ACCESS_EXCLUSIVE
        assert {lock.mode for lock in plan.locks} <= {mode}
        locked = {lock.relation for lock in plan.locks}
        taken = locks_of(connection, before, mode)
        assert (taken - locked, locked - taken if plan.kind is not PlanKind.DELETE else set()) == (set(), set())
        connection.commit()
    assert without_values(seen) == without_values(plan.statements)
    with store.engine.connect() as connection:
        after = world(connection)
    gone = {name for oid, name in before.names.items() if oid not in after.names}
    left = rows - (books.count() if store.has_collection("books") else 0)
    assert (left, plan.rows_exact) == (plan.rows, True)
    if plan.keep:
        assert gone == set()
        assert [entry.bytes for entry in store.trash()] == [plan.objects[0].bytes]
    elif plan.kind is PlanKind.DROP_COLLECTION:
        assert gone == locked
    elif plan.kind is PlanKind.DROP_PARTITION:
        assert gone == locked - {"books.entities"}
    elif plan.kind is PlanKind.DROP_INDEX:
        tables = {f"books.{name}" for name in ("entities", *books.describe().leaves)}
        assert gone == locked - tables
    else:
        assert gone == set()
    if plan.kind in {PlanKind.DROP_COLLECTION, PlanKind.DROP_PARTITION, PlanKind.DROP_INDEX}:
        assert plan.bytes_freed == before.size - after.size
    elif plan.kind is PlanKind.TRUNCATE:
        assert plan.bytes_freed is not None
        assert plan.bytes_freed >= before.size - after.size


# What stands against it


def messages(plan: Plan) -> list[tuple[str, str]]:
    return [(type(error).__name__, str(error)) for error in plan.objections]


def test_all_that_stands_against_a_drop_is_shown_at_once(store: Store, shelf: Collection) -> None:
    store.create_alias("books", "prod")
    run(store, "CREATE VIEW public.old AS SELECT id FROM books.entities WHERE year < 1920")
    plan = store.collection("prod").drop_plan()
    assert [type(error) for error in plan.objections] == [OperationRefused, CollectionHasAliases, DependentObjects]
    assert "'prod' is an alias of collection 'books'" in str(plan.objections[0])
    assert plan.objections[1].aliases == ("prod",)  # type: ignore[attr-defined]
    assert plan.objections[2].objects == ("view public.old",)  # type: ignore[attr-defined]
    assert repr(plan).startswith("<Plan drop collection 'prod': 5 objects, 100 rows, ")
    assert repr(plan).endswith(" freed, 3 objections>")


def test_cascade_shows_what_others_lose_and_how_far_that_goes(store: Store, shelf: Collection) -> None:
    run(
        store,
        "CREATE MATERIALIZED VIEW public.years AS SELECT year, count(*) FROM books.entities GROUP BY year",
        "CREATE UNIQUE INDEX ON public.years (year)",
        "CREATE VIEW public.first_year AS SELECT min(year) FROM public.years",
    )
    plan = shelf.drop_plan(cascade=True)
    assert plan.objections == ()
    others = [found for found in plan.objects if not found.is_ours]
    assert [found.identity for found in others] == ["materialized view public.years", "view public.first_year"]
    assert {lock.relation for lock in plan.locks} >= {"public.years", "public.first_year"}
    plan.run()
    with store.engine.connect() as connection:
        assert connection.execute(text("SELECT to_regclass('public.first_year')")).scalar() is None


def test_the_default_partition_and_partitions_of_a_key_cannot_go(store: Store, shelf: Collection) -> None:
    assert [type(error) for error in shelf.drop_partition_plan("_default").objections] == [OperationRefused]
    key = Field("tenant", DataType.INT64, partition_key=True)
    films = store.create_collection("films", [*BOOK_FIELDS, key], num_partitions=2)
    plan = films.drop_partition_plan("_default_1")
    assert "partition key 'tenant'" in str(plan.objections[0])
    with pytest.raises(OperationRefused, match="partition key 'tenant'"):
        plan.run()


def test_foreign_keys_keep_rows_from_being_truncated(store: Store, shelf: Collection) -> None:
    run(
        store,
        "CREATE TABLE public.loan (id bigint, part text, FOREIGN KEY (id, part) REFERENCES books.entities)",
    )
    for plan in (shelf.truncate_plan(), shelf.truncate_plan("novel")):
        assert [type(error) for error in plan.objections] == [DependentObjects]
        with pytest.raises(DependentObjects, match="on loan"):
            plan.run()
    assert shelf.count() == 100


def test_who_may_not_do_it_is_told_so(store: Store, shelf: Collection) -> None:
    run(store, "CREATE ROLE plan_reader")
    store.grant("plan_reader", on="books")
    url = store.engine.url.update_query_dict({"options": "-c role=plan_reader"})
    with vecstore.connect(url) as reader:
        books = reader.collection("books")
        plans = [
            books.drop_plan(),
            books.drop_partition_plan("novel"),
            books.drop_index_plan("year_idx"),
            books.truncate_plan(),
            books.delete_plan("year > 1950"),
        ]
        for plan in plans:
            assert [type(error) for error in plan.objections] == [PermissionDenied]
            assert "'plan_reader' may not; it belongs to 'postgres'" in str(plan.objections[0])
        assert [plans[0].rows, plans[0].rows_exact] == [100, True]
        assert [plans[1].rows_exact, plans[4].rows] == [False, None]
        for plan in plans[:4]:
            with pytest.raises(PermissionDenied):
                plan.run()
        with pytest.raises(PlanOutdated, match="not counted"):
            plans[4].run()
    assert shelf.count() == 100


def test_a_large_collection_is_estimated_and_a_writer_may_not_count_its_partitions(
    store: Store, shelf: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreseeing, "_COUNTED_BYTES", 0)
    run(store, "ANALYZE books.entities", "CREATE ROLE plan_writer")
    plan = shelf.drop_plan()
    assert (plan.rows, plan.rows_exact) == (100, False)
    assert "~100 rows" in repr(plan)
    assert any("all entities of partition" in note for note in shelf.delete_plan("id >= 30").notes)
    store.grant("plan_writer", on="books", privileges="write")
    url = store.engine.url.update_query_dict({"options": "-c role=plan_writer"})
    with vecstore.connect(url) as writer:
        plan = writer.collection("books").delete_plan("id >= 30")
        assert (plan.objections, plan.rows) == ((), 70)
        assert not any("all entities of partition" in note for note in plan.notes)
        plan.run()
    assert shelf.count() == 30


def test_what_is_not_there_cannot_be_planned(shelf: Collection) -> None:
    with pytest.raises(PartitionNotFound):
        shelf.drop_partition_plan("drama")
    with pytest.raises(PartitionNotFound):
        shelf.truncate_plan("drama")
    with pytest.raises(IndexNotFound):
        shelf.drop_index_plan("drama")
    with pytest.raises(InvalidArgument, match="several indexes"):
        shelf.drop_index_plan()


@pytest.mark.parametrize("filter_", [None, "", "true", "1 == 1"])
def test_a_delete_of_everything_is_refused_as_delete_refuses_it(shelf: Collection, filter_: str | None) -> None:
    with pytest.raises(InvalidArgument, match="truncate"):
        shelf.delete(filter_)
    with pytest.raises(InvalidArgument, match="truncate"):
        shelf.delete_plan(filter_)


# Who is in the way


def people(plan: Plan) -> list[LockHolder]:
    """Who is in the way, autovacuum aside, which comes and goes as it likes."""
    return [holder for holder in plan.holders if holder.user != "autovacuum worker"]


@contextmanager
def analyst(url: URL, *statements: str) -> Iterator[psycopg.Connection[Any]]:
    """A transaction of somebody else's, left open."""
    target = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(target, application_name="notebook") as connection:
        for statement in statements:
            connection.execute(statement)
        yield connection
        connection.rollback()


def test_a_plan_names_who_is_in_the_way_and_waits_for_nobody(
    store: Store, shelf: Collection, database_url: URL
) -> None:
    with analyst(database_url, "SELECT count(*) FROM books.entities") as reading:
        (holder,) = people(shelf.drop_plan())
        assert (holder.pid, holder.user, holder.application) == (reading.info.backend_pid, "postgres", "notebook")
        assert (holder.mode, holder.waiting, holder.state) == (LockMode.ACCESS_SHARE, False, "idle in transaction")
        assert holder.query == "SELECT count(*) FROM books.entities"
        assert holder.since is not None
        assert {"books.entities", "books.entities_novel"} <= set(holder.relations)
        assert f"pid {holder.pid} (postgres, notebook, idle in transaction) holds ACCESS SHARE" in str(
            shelf.drop_plan()
        )
        assert people(shelf.delete_plan("year > 1950")) == []  # readers are not in its way
        with psycopg.connect(
            database_url.set(drivername="postgresql").render_as_string(hide_password=False)
        ) as dropping:
            waiting = threading.Thread(target=failing, args=(dropping, "DROP TABLE books.entities_novel"))
            waiting.start()
            try:
                eventually(lambda: len(people(shelf.drop_plan())) == 2)
                plan = shelf.drop_plan()
                other = next(found for found in people(plan) if found.pid != holder.pid)
                assert (other.pid, other.mode) == (dropping.info.backend_pid, LockMode.ACCESS_EXCLUSIVE)
                assert not plan.rows_exact  # to count them would be to stand in line behind the DROP
                counted = shelf.delete_plan("year > 1950")
                assert counted.rows is None
                assert any("not counted" in note for note in counted.notes)
            finally:
                dropping.cancel_safe()
                waiting.join()


def test_a_lock_that_is_taken_in_the_middle_of_a_plan_is_not_waited_for(
    shelf: Collection, database_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watched, "shut", frozenset())  # as it was a moment ago
    with analyst(database_url, "LOCK TABLE books.entities_novel IN ACCESS EXCLUSIVE MODE"):
        plan = shelf.drop_plan()
        assert (plan.rows_exact, plan.bytes_freed) == (False, None)
        assert [found.bytes for found in plan.objects if found.name == "novel"] == [None]
        assert shelf.delete_plan("year > 1950").rows is None
    assert shelf.delete_plan("year > 1950").rows == 49


def failing(connection: psycopg.Connection[Any], statement: str) -> None:
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute(statement)


def test_a_structural_change_under_way_is_in_the_way(store: Store, shelf: Collection) -> None:
    with store.transaction() as changing:
        changing.collection("books").create_partition("poem")
        (holder,) = people(shelf.drop_index_plan("year_idx"))
        assert holder.application == "vecstore"
        (holder,) = people(shelf.truncate_plan("novel"))
        assert (holder.mode, holder.relations) == (None, ("the collection",))
        assert "is changing the collection" in str(shelf.truncate_plan("novel"))


def test_a_plan_leaves_no_lock_behind_that_anybody_could_wait_for(store: Store, shelf: Collection) -> None:
    with store.engine.connect() as connection, connection.begin():
        before = world(connection)
        books = store.bind(connection).collection("books")
        for plan in (
            books.drop_plan(),
            books.drop_partition_plan("novel"),
            books.drop_index_plan("year_idx"),
            books.truncate_plan(),
            books.delete_plan("year > 1950"),
        ):
            assert plan.rows_exact
        for mode in LockMode:
            assert locks_of(connection, before, mode) == set()
        shelf.drop_partition("novel")  # on another connection, while this transaction is open


# A plan that the world has overtaken


CHANGES: dict[str, Callable[[Store, Collection], object]] = {
    "partition poem is new": lambda _, books: books.create_partition("poem"),
    "partition novel is gone": lambda _, books: books.drop_partition("novel"),
    "index title_idx is new": lambda _, books: books.create_index("title", Btree()),
    "index year_idx is gone": lambda _, books: books.drop_index("year_idx"),
    "CollectionHasAliases": lambda store, _: store.create_alias("books", "prod"),
    "DependentObjects": lambda store, _: run(store, "CREATE VIEW public.seen AS SELECT id FROM books.entities"),
}


@pytest.mark.parametrize("difference", CHANGES)
def test_a_plan_refuses_when_something_else_would_go(store: Store, shelf: Collection, difference: str) -> None:
    plan = shelf.drop_plan()
    CHANGES[difference](store, shelf)
    with pytest.raises(PlanOutdated, match="nothing was changed, plan it again") as refused:
        plan.run()
    assert any(difference in line for line in refused.value.differences)
    assert store.list_collections() == ["books"]


def test_a_plan_knows_a_collection_from_another_of_its_name(store: Store, shelf: Collection) -> None:
    plan = shelf.drop_plan()
    shelf.drop()
    with pytest.raises(vecstore.CollectionNotFound):
        plan.run()
    store.create_collection("books", BOOK_FIELDS)
    with pytest.raises(PlanOutdated):
        plan.run()
    assert store.list_collections() == ["books"]


def test_what_was_empty_and_is_no_longer_stays(store: Store, books: Collection, fill: Fill) -> None:
    books.create_partition("novel")
    plans = [books.drop_plan(), books.truncate_plan(), books.drop_partition_plan("novel"), books.truncate_plan("novel")]
    fill(books, range(3), "novel")
    for plan in plans:
        with pytest.raises(PlanOutdated, match="had no rows, and now has some"):
            plan.run()
    assert books.count() == 3


def test_rows_that_come_and_go_do_not_keep_a_drop(shelf: Collection, fill: Fill) -> None:
    plan = shelf.drop_partition_plan("novel")
    fill(shelf, range(200, 210), "novel")
    plan.run()
    assert shelf.count() == 30


def test_a_delete_is_done_only_if_as_many_match(shelf: Collection, fill: Fill) -> None:
    plan = shelf.delete_plan("year >= 1990")
    assert plan.rows == 10
    fill(shelf, range(195, 198))
    with pytest.raises(PlanOutdated, match="13 match, 10 did") as refused:
        plan.run()
    assert refused.value.differences == ("+3 entities match",)
    assert shelf.count() == 103
    shelf.delete_plan("year >= 1990").run()
    assert shelf.count() == 90


def test_a_plan_in_a_transaction_is_a_part_of_it(store: Store, shelf: Collection) -> None:
    with store.engine.connect() as connection:
        books = store.bind(connection).collection("books")
        books.delete_plan("year >= 1990").run()
        books.drop_partition_plan("novel").run()
        outdated = books.truncate_plan()
        books.create_partition("poem")
        with pytest.raises(PlanOutdated):
            outdated.run()
        books.truncate_plan().run()
        assert books.count() == 0
        books.drop_plan().run()
        connection.rollback()
    assert (shelf.count(), len(shelf.partitions)) == (100, 2)


def test_a_collection_that_is_too_large_for_one_transaction(
    store: Store, shelf: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collections, "_SHARE_OF_LOCK_TABLE", 0)
    plan = shelf.drop_plan()
    assert plan.locks == ()
    assert plan.statements[0].startswith("ALTER SCHEMA books RENAME TO _vecstore_trash_")
    assert "in batches after it" in plan.notes[0]
    plan.run()
    assert store.list_collections() == []
    assert store.doctor() == ()


# Drops that are kept


def test_a_drop_that_is_kept_is_a_rename_and_frees_nothing(store: Store, shelf: Collection) -> None:
    store.create_alias("books", "prod")
    week = timedelta(days=7)
    assert [type(error) for error in shelf.drop_plan(keep=week).objections] == [CollectionHasAliases]
    plan = shelf.drop_plan(keep=week, cascade=True)
    assert (plan.keep, plan.bytes_freed, plan.locks, plan.objections) == (week, 0, (), ())
    assert plan.statements[:2] == (
        "ALTER SCHEMA prod RENAME TO _vecstore_trash_0_1",
        "ALTER SCHEMA books RENAME TO _vecstore_trash_0",
    )
    assert "alias prod" in [found.identity for found in plan.objects]
    assert all(found.rebuild_seconds is None for found in plan.objects)
    assert "What goes into the trash: 100 rows; nothing is freed at commit" in str(plan)
    assert "kept for 7 days: store.restore('books') takes it back" in str(plan)
    assert plan.to_dict()["keep"] == 7 * 86_400
    assert store.trash() == ()
    plan.run()
    assert store.restore("books").count() == 100
    assert store.list_aliases() == {"prod": "books"}
    partition = shelf.drop_partition_plan("novel", keep=week)
    assert "store.restore_partition('books', 'novel')" in partition.notes[0]
    partition.run()
    assert [entry.partition for entry in store.trash()] == ["novel"]


def test_a_plan_knows_that_a_property_keeps_drops_and_when_that_changes(store: Store, shelf: Collection) -> None:
    plan = shelf.drop_plan()
    assert plan.keep == timedelta(0)
    shelf.alter(properties={"vecstore.keep_dropped": "12 hours"})
    with pytest.raises(PlanOutdated, match=re.escape("it would be kept for 12:00:00, not for 0:00:00")):
        plan.run()
    assert shelf.drop_plan().keep == timedelta(hours=12)
    for_good = shelf.drop_plan(keep=timedelta(0))
    assert (for_good.keep, for_good.bytes_freed) == (timedelta(0), plan.bytes_freed)
    for_good.run()
    assert store.trash() == ()


# What else a plan says


def test_a_delete_plan_tells_better_ways(shelf: Collection) -> None:
    plan = shelf.delete_plan("id >= 20")
    partitions = {found.name: found.rows for found in plan.objects if found.kind == "partition"}
    assert partitions == {"_default": 10, "novel": 70}
    assert any("drop_partition('novel') or truncate('novel') gives its" in note for note in plan.notes)
    assert any("compact(partition_names=['_default'])" in note for note in plan.notes)
    index = next(found for found in plan.objects if found.name == "embedding_idx")
    assert 0 < (index.bytes_unused or 0) < (index.bytes or 0)
    assert plan.bytes_freed == 0
    assert not any("compact" in note for note in shelf.delete_plan(ids=[1]).notes)


def test_an_index_plan_says_what_is_missed_and_how_long_it_takes_to_build(shelf: Collection) -> None:
    plan = shelf.drop_index_plan("embedding_idx")
    assert plan.notes == ("searches by 'embedding' are then exact and slower, until one is built again",)
    assert 0 < (plan.objects[0].rebuild_seconds or 0) < 60
    assert "read every row" in shelf.drop_index_plan("year_idx").notes[0]
