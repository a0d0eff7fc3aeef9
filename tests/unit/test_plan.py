from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from vecstore import Btree, CollectionHasAliases, DataType, Field, Gin, Hnsw, IvfFlat, LockMode, OtherIndex
from vecstore.lock_modes import BY_PG_LOCKS
from vecstore.plan import LockHolder, Plan, PlanKind, PlannedLock, PlannedObject, differences
from vecstore.printing import Column, Section, bytes_text, counted, page, page_html, rows_text, seconds_text, table
from vecstore.rebuilding import rebuild_seconds

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOLDER = LockHolder(
    pid=4242,
    user="ana",
    application="psql",
    mode=LockMode.ACCESS_SHARE,
    waiting=False,
    relations=("books.entities",),
    since=NOW - timedelta(minutes=4),
    state="idle in transaction",
    query="SELECT *\nFROM books.entities",
)
PLAN = Plan(
    kind=PlanKind.DROP_COLLECTION,
    title="drop collection 'books'",
    collection="books",
    name=None,
    objects=(
        PlannedObject("collection", "books", 1, rows=20_000, bytes=41_000_000),
        PlannedObject("partition", "_default", 2, rows=20_000, bytes=41_000_000),
        PlannedObject("index", "embedding_idx", 3, bytes=20_000_000, rebuild_seconds=41.3),
        PlannedObject("view", "public.<old>", 4, is_ours=False),
    ),
    objections=(CollectionHasAliases("it has aliases: prod", aliases=["prod"]),),
    locks=(
        PlannedLock("books.entities", 1, LockMode.ACCESS_EXCLUSIVE),
        PlannedLock("books.entities__default", 2, LockMode.ACCESS_EXCLUSIVE),
    ),
    holders=(HOLDER,),
    statements=("DROP TABLE books.entities CASCADE", "DROP SCHEMA books CASCADE"),
    bytes_freed=41_000_000,
    notes=("think twice",),
    made_at=NOW,
    keep=timedelta(0),
    perform=repr,
)


def test_a_plan_reads_as_a_table() -> None:
    assert (
        str(PLAN)
        == """\
drop collection 'books'

What goes: ~20,000 rows; 41.0 MB freed at commit (~ estimated from PostgreSQL's statistics)
  kind        name              rows     size  to build again
  collection  books          ~20,000  41.0 MB
  partition   _default       ~20,000  41.0 MB
  index       embedding_idx           20.0 MB      about 41 s
  view        public.<old>

What stands against it
  CollectionHasAliases: it has aliases: prod

Locks
  ACCESS EXCLUSIVE on books.entities, books.entities__default

In the way now
  pid 4242 (ana, psql, idle in transaction) holds ACCESS SHARE on books.entities, in a transaction of about 4.0 min: \
SELECT * FROM books.entities

Statements
  DROP TABLE books.entities CASCADE
  DROP SCHEMA books CASCADE

To know
  think twice"""
    )


def test_its_repr_is_a_line() -> None:
    assert repr(PLAN) == "<Plan drop collection 'books': 4 objects, ~20,000 rows, 41.0 MB freed, 1 objection>"


def test_a_notebook_gets_html_in_which_no_name_is_markup() -> None:
    html = PLAN._repr_html_()
    assert html.startswith("<h4>drop collection &#x27;books&#x27;</h4><p><b>What goes: ")
    assert "<td>public.&lt;old&gt;</td>" in html
    assert "<old>" not in html
    assert "<ul><li>DROP TABLE books.entities CASCADE</li><li>DROP SCHEMA books CASCADE</li></ul>" in html


def test_a_program_gets_json() -> None:
    document = json.loads(json.dumps(PLAN.to_dict()))
    assert document["kind"] == "drop collection"
    assert document["objections"] == [{"error": "CollectionHasAliases", "message": "it has aliases: prod"}]
    assert document["locks"][0] == {"relation": "books.entities", "oid": 1, "mode": "ACCESS EXCLUSIVE"}
    assert document["holders"][0]["since"] == "2026-03-01T11:56:00+00:00"
    assert document["objects"][2]["rebuild_seconds"] == 41.3
    assert (document["rows"], document["rows_exact"]) == (20_000, False)
    assert "perform" not in document


def test_a_long_plan_is_cut_for_reading_and_whole_for_programs() -> None:
    leaves = tuple(PlannedObject("partition", f"p{number}", number, rows=1, rows_exact=True) for number in range(30))
    locks = tuple(PlannedLock(f"books.p{number}", number, LockMode.ACCESS_EXCLUSIVE) for number in range(30))
    plan = replace(PLAN, objects=leaves, locks=locks, statements=("x" * 1000,), holders=(), notes=())
    shown = str(plan)
    assert "  and 10 more\n" in shown
    assert "ACCESS EXCLUSIVE on books.p0, books.p1, books.p2, books.p3 and 26 more" in shown
    assert f"  {'x' * 300}…" in shown
    assert "x" * 301 not in shown
    assert len(plan.to_dict()["objects"]) == 30
    assert plan.to_dict()["statements"] == ["x" * 1000]


def test_who_is_in_the_way_is_said_with_what_is_known_of_them() -> None:
    unknown = LockHolder(None, None, None, LockMode.SHARE, True, ("books.entities",), None, None, None)  # noqa: FBT003
    changing = replace(HOLDER, mode=None, relations=("the collection",), query=None, since=None)
    lines = str(replace(PLAN, holders=(unknown, changing))).splitlines()
    assert "  a prepared transaction waits for SHARE on books.entities" in lines
    assert "  pid 4242 (ana, psql, idle in transaction) is changing the collection" in lines


def test_what_is_not_known_is_a_question_mark() -> None:
    plan = replace(PLAN, objects=(replace(PLAN.objects[0], rows=None, bytes=None),), bytes_freed=None)
    assert (
        "What goes: ? rows; ? freed at commit\n  kind        name   rows  size\n  collection  books     ?     ?"
        in str(plan)
    )


def test_two_plans_are_equal_however_they_are_run() -> None:
    assert replace(PLAN, perform=print) == PLAN
    done: list[Plan] = []
    plan = replace(PLAN, perform=done.append)
    plan.run()
    assert done == [plan]


def test_differences_are_told_by_what_things_are_not_by_their_names() -> None:
    objects, objections = list(PLAN.objects), list(PLAN.objections)
    assert differences(PLAN, objects, objections) == []
    grown = [replace(objects[0], rows=30_000, bytes=1), *objects[1:]]
    assert differences(PLAN, grown, [CollectionHasAliases("it has aliases: prod", aliases=["prod"])]) == []
    another = [*objects[:2], replace(objects[2], oid=33)]
    assert differences(PLAN, another, []) == [
        "index embedding_idx is new",
        "index embedding_idx is gone",
        "view public.<old> is gone",
        "no longer stands against it: CollectionHasAliases: it has aliases: prod",
    ]
    assert differences(PLAN, objects, [*objections, CollectionHasAliases("live", aliases=["live"])]) == [
        "stands against it: CollectionHasAliases: live"
    ]


# https://www.postgresql.org/docs/18/explicit-locking.html#TABLE-LOCK-COMPATIBILITY, row by row.
CONFLICTS = [".......X", "......XX", "....XXXX", "...XXXXX", "..XX.XXX", "..XXXXXX", ".XXXXXXX", "XXXXXXXX"]


def test_lock_modes_conflict_as_the_manual_says() -> None:
    modes = list(LockMode)
    found = ["".join("X" if one.conflicts_with(other) else "." for other in modes) for one in modes]
    assert found == CONFLICTS
    assert [mode.strength for mode in modes] == list(range(8))
    assert BY_PG_LOCKS["ShareUpdateExclusiveLock"] is LockMode.SHARE_UPDATE_EXCLUSIVE


VECTOR = Field("embedding", DataType.FLOAT_VECTOR, dim=384)
GB = 2**30


@pytest.mark.parametrize(
    ("spec", "rows", "measured"),
    [
        (Hnsw(), 20_000, 5.34),
        (Hnsw(ef_construction=200), 10_000, 5.66),
        (Hnsw(m=32), 10_000, 4.85),
        (IvfFlat(lists=50), 20_000, 0.28),
        (IvfFlat(lists=200), 10_000, 0.37),
        (Btree(), 300_000, 0.22),
        (Gin(), 300_000, 2.77),
    ],
)
def test_a_rebuild_is_estimated_near_what_was_measured(
    spec: Hnsw | IvfFlat | Btree | Gin, rows: int, measured: float
) -> None:
    estimated = rebuild_seconds(spec, VECTOR, rows, size=0, memory=GB)
    assert estimated is not None
    assert 0.7 * measured < estimated < 1.4 * measured


def test_a_rebuild_takes_longer_for_more_and_without_memory() -> None:
    def of(rows: int, dim: int, memory: int) -> float:
        field = Field("embedding", DataType.FLOAT_VECTOR, dim=dim)
        return rebuild_seconds(Hnsw(), field, rows, size=GB, memory=memory) or 0

    assert 0 == of(0, 384, GB) < of(1000, 384, GB) < of(2000, 384, GB) < of(2000, 768, GB)
    assert of(2000, 384, GB // 5) == pytest.approx(6.6 * of(2000, 384, GB))
    assert rebuild_seconds(OtherIndex("hash", "int4_ops"), None, 1000, size=1, memory=1) is None
    assert (rebuild_seconds(IvfFlat(), None, 1000, size=1, memory=1) or 0) > 0


def test_figures_read_well() -> None:
    assert [bytes_text(size) for size in (None, 0, 999, 1000, 41_000_000, 3 * 10**12)] == [
        "?",
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "41.0 MB",
        "3,000.0 GB",
    ]
    assert [rows_text(None), rows_text(1000), rows_text(1000, exact=True)] == ["?", "~1,000", "1,000"]
    assert [seconds_text(number) for number in (-1, 0.2, 1, 41.3, 119, 120, 5400, 90_000, 200_000)] == [
        "under a second",
        "under a second",
        "about 1.0 s",
        "about 41 s",
        "about 119 s",
        "about 2.0 min",
        "about 90 min",
        "about 25 h",
        "about 2.3 days",
    ]
    assert [counted(1, "index", "indexes"), counted(2, "index", "indexes"), counted(3, "row")] == [
        "1 index",
        "2 indexes",
        "3 rows",
    ]


def test_a_table_is_as_wide_as_its_cells() -> None:
    columns = [Column("name"), Column("rows", number=True)]
    assert (
        table(columns, [("a", "1"), ("long name", "22,222")])
        == "name         rows\na               1\nlong name  22,222"
    )
    assert table(columns, []) == "name  rows"


def test_a_page_has_a_title_and_sections() -> None:
    sections = [Section("Lines", ["one", "two"]), Section("Table", ["more"], [Column("a")], [("1",)])]
    assert page("Title", sections) == "Title\n\nLines\n  one\n  two\n\nTable\n  a\n  1\n  more"
    assert page_html("<T>", sections).startswith("<h4>&lt;T&gt;</h4><p><b>Lines</b></p><ul><li>one</li>")
