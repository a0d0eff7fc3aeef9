"""Indexes on expressions: the compiled filters have the very expressions that the indexes are on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from planned import plan_of
from sqlalchemy import URL, select

import vecstore
from vecstore import (
    Btree,
    Collection,
    DataType,
    Field,
    FieldNotFound,
    Gin,
    Hnsw,
    IndexExists,
    InvalidArgument,
    InvalidData,
    OtherIndex,
    Store,
)
from vecstore.conditions import Selection
from vecstore.ddl import IndexScope, comment_on_index, create_index
from vecstore.indexing import indexed
from vecstore.schema import IndexSpec
from vecstore.tables import table_of

FIELDS = (
    Field("id", DataType.INT64, primary_key=True),
    Field("title", DataType.VARCHAR, max_length=64, nullable=True),
    Field("synopsis", DataType.VARCHAR, max_length=2_000, nullable=True, text_search="english"),
    Field("notes", DataType.TEXT, nullable=True),
    Field("meta", DataType.JSON, nullable=True),
    Field("words", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=16, max_capacity=4, nullable=True),
    Field("tiny", DataType.ARRAY, element_type=DataType.INT8, max_capacity=4, nullable=True),
    Field("embedding", DataType.FLOAT_VECTOR, dim=2),
)
ROWS = 3_000
LANGUAGES = 150


def row(key: int) -> dict[str, Any]:
    language = f"l{key % LANGUAGES:03}"
    return {
        "id": key,
        "title": None if key % 10 == 9 else f"T{key:04} of {language}",
        "synopsis": f"The story of horse{key % 200} running in the city of tower{key % 200}",
        "notes": f"note{key % 200} on it",
        "meta": {"lang": language, "n": key / 2, "good": key % 300 == 0, "a'\"\\": [language], "tags": [language, "x"]},
        "words": [language, "x"],
        "tiny": [key % 127, -1],
        "embedding": [1.0, key],
        "pages": key,
        "kind": language if key % 2 else key,
    }


@pytest.fixture
def library(store: Store) -> Collection:
    library = store.create_collection("library", FIELDS, dynamic=True)
    library.create_partition("old")
    library.insert([row(key) for key in range(ROWS // 2)])
    library.insert([row(key) for key in range(ROWS // 2, ROWS)], partition_name="old")
    return library


def analyze(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE library.entities")


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def indexed_leaves(store: Store, collection: Collection, text: str) -> set[str]:
    """The indexes that PostgreSQL looks a filter up in, its parents' names in place of theirs; "" for a whole table."""
    description = collection.describe()
    with store.engine.connect() as connection:
        facts = store._database.facts
        table = table_of(description, facts.extension_schema)
        conditions = Selection(filter=text).conditions(description, table)
        plan = plan_of(connection, facts, select(table.c.id).where(*conditions))
        inherited = connection.exec_driver_sql(
            "SELECT c.relname, p.relname FROM pg_inherits i"
            " JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent"
        )
        parents = dict(inherited.all())
    found = list(nodes(plan))
    scans = {parents[node["Index Name"]] for node in found if "Index Name" in node and "Index Cond" in node}
    return scans | {"" for node in found if node["Node Type"] == "Seq Scan"}


JSON_FILTERS = [
    ("meta['lang']", DataType.VARCHAR, "meta['lang'] == 'l007'", 20),
    ("meta['lang']", DataType.VARCHAR, "meta['lang'] in ['l007', 'l008'] and id > 5", 40),
    ("meta['lang']", DataType.VARCHAR, "meta['lang'] < 'l002'", 40),
    ("meta['lang']", DataType.VARCHAR, "'l001' <= meta['lang'] <= 'l002'", 40),
    ("meta['lang']", DataType.VARCHAR, "meta['lang'] like 'l00%'", 200),
    ("meta['n']", DataType.DOUBLE, "meta['n'] == 7", 1),
    ("meta['n']", DataType.DOUBLE, "meta['n'] in [7, 7.5, 0.25]", 2),
    ("meta['n']", DataType.DOUBLE, "10 <= meta['n'] < 12.5", 5),
    ("meta['good']", DataType.BOOL, "meta['good'] == true", 10),
    (r"""meta['a\'"\\'][0]""", DataType.VARCHAR, r"""meta["a'\"\\"][0] == 'l007'""", 20),
    ("$meta['pages']", DataType.DOUBLE, "pages < 20", 20),
    ("$meta['pages']", DataType.DOUBLE, "$meta['pages'] == 20", 1),
    ("$meta['kind']", DataType.VARCHAR, "kind == 'l007'", 20),
]


@pytest.mark.parametrize("online", [False, True])
def test_filters_on_a_place_in_json_use_its_btree(store: Store, library: Collection, *, online: bool) -> None:
    places = {path: Btree(cast=cast) for path, cast, _, _ in JSON_FILTERS}
    names = {path: library.create_index(path, spec, online=online).name for path, spec in places.items()}
    analyze(store)
    assert {index.field: index.spec for index in library.indexes} == places
    for path, _, text, count in JSON_FILTERS:
        assert indexed_leaves(store, library, text) == {names[path]}, text
        assert library.count(text) == count, text


@pytest.mark.parametrize("online", [False, True])
def test_filters_on_what_json_and_arrays_contain_use_their_gin(
    store: Store, library: Collection, *, online: bool
) -> None:
    filters = [
        ("meta", "meta['lang'] == 'l007'", 20),
        ("meta", "meta['lang'] == 'l007' and not (meta['n'] == 3.5)", 19),
        ("meta", "meta['n'] == 7", 1),
        ("meta", "meta['lang'] in ['l007', 'l008', 5]", 40),
        ("meta", "json_contains(meta['tags'], 'l007')", 20),
        ("meta", "json_contains_all(meta['tags'], ['x', 'l007'])", 20),
        ("meta", "json_contains_any(meta['tags'], ['l008', 'l007'])", 40),
        ("$meta", "pages == 20", 1),
        ("$meta", "kind in ['l007', 12]", 21),
        ("words", "array_contains(words, 'l007')", 20),
        ("words", "array_contains_all(words, ['l007', 'x'])", 20),
        ("words", "array_contains_any(words, ['l007', 'l008'])", 40),
        ("tiny", "array_contains(tiny, 5)", 24),
    ]
    expected = [library.count(text) for _, text, _ in filters]
    names = {
        field: library.create_index(field, Gin(), online=online).name for field in ("meta", "$meta", "words", "tiny")
    }
    analyze(store)
    assert names == {"meta": "meta_idx", "$meta": "meta_gin_idx", "words": "words_idx", "tiny": "tiny_idx"}
    assert {index.field: index.spec for index in library.indexes} == dict.fromkeys(names, Gin())
    for (field, text, count), before in zip(filters, expected, strict=True):
        assert indexed_leaves(store, library, text) == {names[field]}, text
        assert library.count(text) == before == count, text


@pytest.mark.parametrize("online", [False, True])
def test_text_and_phrase_matches_use_the_gin_of_their_field(store: Store, library: Collection, *, online: bool) -> None:
    filters = [
        ("synopsis", "text_match(synopsis, 'horse7')", 15),
        ("synopsis", "text_match(synopsis, 'horse7 horse8')", 30),
        ("synopsis", "text_match(synopsis, 'horse7 tower7 nothing', minimum_should_match=2)", 15),
        ("synopsis", "phrase_match(synopsis, 'horse7 runs')", 15),  # by its stem
        ("synopsis", "phrase_match(synopsis, 'story of horse7')", 15),  # "of" is a place, not a word
        ("synopsis", "phrase_match(synopsis, 'horse7 city', 3)", 15),
        ("notes", "text_match(notes, 'note7')", 15),
        ("notes", "phrase_match(notes, 'note7 on')", 15),
    ]
    names = {field: library.create_index(field, Gin(), online=online).name for field in ("synopsis", "notes")}
    analyze(store)
    assert {index.field: index.spec for index in library.indexes} == {"synopsis": Gin(), "notes": Gin()}
    for field, text, count in filters:
        assert indexed_leaves(store, library, text) == {names[field]}, text
        assert library.count(text) == count, text


def test_a_btree_on_strings_serves_equality_order_by_bytes_and_prefixes(store: Store, library: Collection) -> None:
    library.create_index("title", Btree())
    library.create_index("title", Gin())
    analyze(store)
    assert [(index.name, index.spec) for index in library.indexes] == [("title_idx", Btree()), ("title_gin_idx", Gin())]
    for text, count in (
        ("title == 'T0007 of l007'", 1),
        ("title in ['T0007 of l007', 'T0008 of l008']", 2),
        ("title < 'T002'", 18),
        ("'T2990' <= title", 9),
        ("'T001' < title < 'T002'", 9),
        ("title like 'T001%'", 9),
        ("title like 'T001% of l016'", 1),
    ):
        assert indexed_leaves(store, library, text) == {"title_idx"}, text
        assert library.count(text) == count, text
    with store.engine.connect() as connection:  # and equality of anybody's own SQL
        plan = connection.exec_driver_sql("EXPLAIN SELECT id FROM library.entities WHERE title = 'x'").scalars().all()
    assert sum("Index Cond: (title = 'x'::text)" in line for line in plan) == 2


def test_an_index_on_an_expression_is_used_however_often_a_statement_was_prepared(
    store: Store, library: Collection
) -> None:
    library.create_index("meta['lang']", Btree(cast=DataType.VARCHAR))
    library.create_index("synopsis", Gin())
    analyze(store)

    def scans() -> list[int]:
        with store.engine.begin() as connection:
            connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
        with store.engine.begin() as connection:
            found = connection.exec_driver_sql(
                "SELECT sum(s.idx_scan) FROM pg_stat_user_indexes s JOIN pg_inherits i ON i.inhrelid = s.indexrelid"
                " JOIN pg_class p ON p.oid = i.inhparent WHERE p.relname IN ('meta_lang_idx', 'synopsis_idx')"
                " GROUP BY p.oid"
            )
            return [int(count) for count in found.scalars()]

    before = scans()
    with store.transaction() as transaction:
        inside = transaction.collection("library")
        for key in range(20):
            assert inside.count("meta['lang'] == {lang}", filter_params={"lang": f"l{key:03}"}) == 20
            assert inside.count(f"text_match(synopsis, 'horse{key}')") == 15
    assert [after - earlier for after, earlier in zip(scans(), before, strict=True)] == [40, 40]


def test_a_partition_to_come_has_the_index_once(store: Store, library: Collection) -> None:
    library.create_index("meta['lang']", Btree(cast=DataType.VARCHAR))
    library.create_index("synopsis", Gin(), online=True)
    library.create_partition("new")
    with store.engine.connect() as connection:
        indexes = connection.exec_driver_sql(
            "SELECT count(*), count(DISTINCT parent.inhparent) FROM pg_index i"
            " JOIN pg_inherits parent ON parent.inhrelid = i.indexrelid"
            " WHERE i.indrelid = 'library.entities_new'::regclass"
        ).one()
    assert tuple(indexes) == (3, 3)


def test_the_same_index_is_not_made_twice_and_another_has_a_name_of_its_own(library: Collection) -> None:
    assert library.create_index("meta['lang']", Btree(cast=DataType.VARCHAR)).name == "meta_lang_idx"
    with pytest.raises(IndexExists, match=r"\"meta\['lang'\]\" of collection 'library' has an index by VARCHAR"):
        library.create_index('meta["lang"]', Btree(cast="VARCHAR"))
    assert library.create_index("meta['lang']", Btree(cast=DataType.DOUBLE)).name == "meta_lang_double_idx"
    others = [
        library.create_index(path, Btree(cast="BOOL")).name for path in ("meta['l-g']", "meta['l+g']", "meta['é']")
    ]
    assert len(set(others)) == 3
    assert library.create_index("pages", Btree(cast=DataType.DOUBLE), name="by_pages").field == "$meta['pages']"
    library.drop_index("meta_lang_double_idx")
    assert "meta_lang_idx" in {index.name for index in library.indexes}


@pytest.mark.parametrize(
    ("name", "spec", "error", "reason"),
    [
        ("meta", Btree(), InvalidArgument, "use Gin, or Btree"),
        ("meta['a']", Btree(), InvalidArgument, "say as what"),
        ("pages", Btree(), InvalidArgument, "say as what"),
        ("meta['a']", Gin(), InvalidArgument, "as a whole"),
        ("meta['a']", Hnsw(), FieldNotFound, "no field"),
        ("meta", Hnsw(), InvalidArgument, "indexes vectors"),
        ("embeding", Hnsw(), FieldNotFound, "'embeding'"),
        ("title", Btree(cast=DataType.VARCHAR), InvalidArgument, "cast belongs to a place in JSON"),
        ("words[0]", Btree(cast=DataType.VARCHAR), InvalidArgument, "element of an array"),
        ("title['a']", Btree(cast=DataType.VARCHAR), FieldNotFound, "only JSON and ARRAY"),
        ("meta['a'] == 1", Btree(cast=DataType.DOUBLE), FieldNotFound, "neither a field nor a path"),
        ("meta['a", Btree(cast=DataType.DOUBLE), FieldNotFound, "neither a field nor a path"),
        ("", Btree(cast=DataType.DOUBLE), FieldNotFound, "neither a field nor a path"),
        (5, Btree(), FieldNotFound, "no field 5"),
        (["title"], Btree(), FieldNotFound, "no field"),
        ("$meta", "GIN", InvalidArgument, "not 'GIN'"),
    ],
)
def test_what_cannot_be_indexed_is_refused_with_the_way_out(
    store: Store, name: Any, spec: Any, error: type[Exception], reason: str
) -> None:
    library = store.create_collection("library", FIELDS, dynamic=True)
    with pytest.raises(error, match=reason):
        library.create_index(name, spec)
    assert library.indexes == []


@pytest.mark.parametrize("name", ["$meta", "lang", "$meta['lang']"])
def test_a_collection_that_is_not_dynamic_has_no_other_keys(store: Store, name: str) -> None:
    library = store.create_collection("library", FIELDS)
    with pytest.raises(FieldNotFound, match="fields: id, title"):
        library.create_index(name, Btree(cast=DataType.VARCHAR))


@pytest.mark.parametrize("cast", [DataType.JSON, "text", 5, [], "INT64"])
def test_only_what_json_can_be_compared_with_is_a_cast(cast: Any) -> None:
    with pytest.raises(InvalidArgument, match="cast must be one of VARCHAR, DOUBLE, BOOL"):
        Btree(cast=cast)


def test_an_index_follows_its_collection_and_its_column(store: Store, library: Collection) -> None:
    library.create_index("meta['lang']", Btree(cast=DataType.VARCHAR))
    library.create_index("synopsis", Gin())
    store.rename_collection("library", "shelf")
    with store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE shelf.entities RENAME COLUMN meta TO info")
    found = {index.field: index.spec for index in store.collection("shelf").indexes}
    assert found == {"info['lang']": Btree(cast=DataType.VARCHAR), "synopsis": Gin()}


@pytest.mark.parametrize(
    "comment",
    [
        None,
        "for Bob",
        "{",
        "null",
        "[]",
        '{"vecstore": ',
        '{"vecstore": null}',
        '{"vecstore": {}}',
        '{"vecstore": {"keys": "lang", "cast": "VARCHAR"}}',
        '{"vecstore": {"keys": [null], "cast": "VARCHAR"}}',
        '{"vecstore": {"keys": [true], "cast": "VARCHAR"}}',
        '{"vecstore": {"keys": ["lang"]}}',
        '{"vecstore": {"keys": ["lang"], "cast": "JSON"}}',
        '{"vecstore": {"keys": ["lang"], "cast": {}}}',
        '{"vecstore": {"text_search": "english"}}',
        '{"vecstore":' * 50_000,
    ],
)
def test_a_comment_that_was_changed_makes_an_index_of_somebodys_own(
    store: Store, library: Collection, comment: str | None
) -> None:
    library.create_index("meta['lang']", Btree(cast=DataType.VARCHAR))
    with store.engine.begin() as connection:
        connection.execute(comment_on_index("library", "meta_lang_idx", comment or ""))
    index = library.index("meta_lang_idx")
    assert index.spec == OtherIndex("btree", "text_pattern_ops")
    assert "meta" in index.field
    assert library.count("meta['lang'] == 'l007'") == 20
    index.drop()


def test_a_comment_on_an_index_of_a_field_is_nobodys_business(store: Store, library: Collection) -> None:
    library.create_index("title", Btree())
    with store.engine.begin() as connection:
        meaning = '{"vecstore": {"keys": ["lang"], "cast": "VARCHAR"}}'
        connection.execute(comment_on_index("library", "title_idx", meaning))
    assert (library.index("title_idx").field, library.index("title_idx").spec) == ("title", Btree())


def test_indexes_that_do_not_serve_the_filters_are_somebodys_own(store: Store, library: Collection) -> None:
    with store.engine.begin() as connection:
        for name, definition in {
            "by_order": "(title)",
            "by_pattern": "(title text_pattern_ops)",
            "lowered": "(lower(title))",
            "ops": "USING gin (meta)",
            "german": "USING gin (to_tsvector('german', synopsis))",
            "joined": "((title || notes))",
            "partial": "(id) WHERE id > 5",
            "several": "(id, title)",
        }.items():
            connection.exec_driver_sql(f"CREATE INDEX {name} ON library.entities {definition}")
    found = {index.name: (index.field, index.spec) for index in library.indexes}
    assert found == {
        "by_order": ("title", OtherIndex("btree", "text_ops")),
        "by_pattern": ("title", Btree()),
        "lowered": ("lower(title)", OtherIndex("btree", "text_ops")),
        "ops": ("meta", Gin()),
        "german": ("to_tsvector('german'::regconfig, synopsis)", OtherIndex("gin", "tsvector_ops")),
        "joined": ("(title || notes)", OtherIndex("btree", "text_ops")),
        "partial": ("id", OtherIndex("btree", "int8_ops")),
        "several": ("id", OtherIndex("btree", "int8_ops")),
    }


@pytest.mark.parametrize(
    ("name", "spec"), [("meta['lang']", Btree(cast=DataType.VARCHAR)), ("synopsis", Gin()), ("$meta", Gin())]
)
def test_an_unfinished_index_on_an_expression_is_known_and_finished(
    store: Store, library: Collection, name: str, spec: IndexSpec
) -> None:
    description = library.describe()
    target = indexed(description.schema, table_of(description, "public"), name, spec, "public")
    with store.engine.begin() as connection:  # as far as a killed client came
        connection.execute(create_index("library", "entities", "begun", target.key, spec, scope=IndexScope.PARENT_ONLY))
        if target.comment is not None:
            connection.execute(comment_on_index("library", "begun", target.comment))
    assert [(index.field, index.spec, index.state) for index in library.indexes] == [(name, spec, "invalid")]
    assert library.describe().ready_indexes == frozenset()
    with pytest.raises(IndexExists, match="left unfinished"):
        library.create_index(name, spec)
    index = library.create_index(name, spec, online=True)
    assert (index.name, index.field, index.state) == ("begun", name, "ready")
    assert store.doctor() == ()


def test_a_value_that_an_index_cannot_hold_is_named_with_its_path(library: Collection) -> None:
    noise = "".join(np.random.default_rng(1).choice(list("abcdefgh"), 20_000))
    library.insert([row(ROWS) | {"meta": {"lang": noise}}])
    for online in (False, True):
        with pytest.raises(InvalidData, match=r"\"meta\['lang'\]\" holds a value that cannot be indexed"):
            library.create_index("meta['lang']", Btree(cast=DataType.VARCHAR), online=online)
    assert library.indexes == []
    library.delete(f"id == {ROWS}")
    library.create_index("meta['lang']", Btree(cast=DataType.VARCHAR))
    with pytest.raises(InvalidData, match="too large for an index of 'library'"):
        library.insert([row(ROWS) | {"meta": {"lang": noise}}])


def test_a_look_at_the_catalogue_waits_for_no_lock_of_the_table(store: Store, database_url: URL) -> None:
    fields = (*FIELDS, Field("wide", DataType.FLOAT_VECTOR, dim=2_001))
    library = store.create_collection("library", fields)
    library.create_index("meta['lang']", Btree(cast=DataType.VARCHAR))
    library.create_index("synopsis", Gin())
    library.create_index("wide", Hnsw())
    impatient = database_url.update_query_dict({"options": "-c lock_timeout=200"})
    with vecstore.connect(impatient) as other, store.engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE library.entities")
        assert len(other.collection("library").indexes) == 3
