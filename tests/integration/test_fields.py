from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from vecstore import (
    Btree,
    Collection,
    DataType,
    DependentObjects,
    Field,
    FieldNotFound,
    Gin,
    Hnsw,
    InvalidData,
    InvalidSchema,
    LockTimeout,
    OperationRefused,
    Store,
    connect,
)
from vecstore.altering import check_alterable
from vecstore.operations import fields

PAGES = Field("pages", DataType.INT32, nullable=True)

KINDS = [
    Field("added", DataType.BOOL, default_value=True),
    Field("added", DataType.INT8, default_value=-5),
    Field("added", DataType.INT64, nullable=True),
    Field("added", DataType.FLOAT, default_value=1.5),
    Field("added", DataType.VARCHAR, max_length=9, default_value="it's 5%"),
    Field("added", DataType.TEXT, nullable=True, text_search="english"),
    Field("added", DataType.JSON, nullable=True),
    Field("added", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=5, max_capacity=3, nullable=True),
    Field("added", DataType.TIMESTAMPTZ, default_value=datetime(2020, 1, 2, tzinfo=UTC)),
    Field("added", DataType.FLOAT_VECTOR, dim=3, nullable=True, description="the title's, O'Reilly \\ 5%"),
    Field("added", DataType.BFLOAT16_VECTOR, dim=3, nullable=True),
    Field("added", DataType.INT8_VECTOR, dim=3, nullable=True),
    Field("added", DataType.BINARY_VECTOR, dim=8, nullable=True),
    Field("added", DataType.SPARSE_FLOAT_VECTOR, nullable=True),
]


@pytest.mark.parametrize("field", KINDS, ids=lambda field: str(field.data_type))
def test_a_field_that_is_added_is_the_field_that_a_new_collection_would_have(
    store: Store, books: Collection, fill: Callable[..., None], field: Field
) -> None:
    fill(books, range(3))
    books.add_field(field)
    anew = store.create_collection("anew", [*books.describe().schema.fields[:-1], field])
    assert books.describe().schema == anew.describe().schema
    assert [book["added"] for book in books.query(output_fields=["added"])] == [field.default_value] * 3
    with store.engine.connect() as connection:
        checks = text(
            "SELECT n.nspname, pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE k.contype = 'c' AND c.relname = 'entities'"
        )
        found = connection.execute(checks).all()
    assert sorted(it for name, it in found if name == "books") == sorted(it for name, it in found if name == "anew")


def test_partitions_and_entities_made_before_and_after_have_the_field(
    books: Collection, fill: Callable[..., None]
) -> None:
    books.create_partition("before")
    fill(books, range(2), "before")
    books.add_field(PAGES)
    books.create_partition("after")
    for key, partition in ((10, "before"), (11, "after"), (12, "_default")):
        books.insert(
            [{"id": key, "title": "t", "pages": key, "embedding": [1, 0, 0, key]}],
            partition_name=partition,
        )
    books.upsert([{"id": 10, "title": "u", "pages": 100, "embedding": [1, 0, 0, 0]}], partition_name="before")
    found = {book["id"]: book["pages"] for book in books.query(output_fields=["id", "pages"])}
    assert found == {0: None, 1: None, 10: 100, 11: 11, 12: 12}
    assert books.search([[1, 0, 0, 0]], limit=1, filter="pages == 100", output_fields=["pages"])[0][0].fields == {
        "pages": 100
    }
    books.create_index("pages", Btree())
    books.drop_field("pages")
    books.create_partition("last")
    books.insert([{"id": 1, "title": "t", "embedding": [1, 0, 0, 0]}], partition_name="last")
    assert books.count() == 6
    assert books.indexes == []


def test_a_field_dropped_and_added_again_is_new(store: Store, books: Collection, fill: Callable[..., None]) -> None:
    books.add_field(Field("note", DataType.VARCHAR, max_length=5, nullable=True, description="short"))
    books.drop_field("note")
    assert "note" not in books.describe().schema.by_name
    with store.engine.connect() as connection:
        kept = connection.execute(text("SELECT fields FROM vecstore.collection_registry")).scalar_one()
    assert "note" not in kept
    books.add_field(Field("note", DataType.TEXT, nullable=True))
    assert books.describe().schema.field("note") == Field("note", DataType.TEXT, nullable=True)


def test_what_cannot_be_added_is_refused_and_changes_nothing(books: Collection, fill: Callable[..., None]) -> None:
    fill(books, range(2))
    before = books.describe()
    with pytest.raises(InvalidSchema, match="has a field 'year'"):
        books.add_field(Field("year", DataType.INT64, nullable=True))
    with pytest.raises(InvalidSchema, match="a key cannot be added"):
        books.add_field(Field("key", DataType.INT64, primary_key=True))
    with pytest.raises(InvalidSchema, match="a key cannot be added"):
        books.add_field(Field("key", DataType.INT64, partition_key=True))
    with pytest.raises(InvalidSchema, match="takes a Field"):
        books.add_field("pages")
    with pytest.raises(InvalidSchema, match="no text search configuration 'klingon'"):
        books.add_field(Field("note", DataType.TEXT, nullable=True, text_search="klingon"))
    with pytest.raises(InvalidSchema, match="default_value"):
        books.add_field(Field("note", DataType.INT8, default_value=300))
    with pytest.raises(InvalidData, match="there are entities without a value: declare it nullable=True"):
        books.add_field(Field("pages", DataType.INT32))
    assert books.describe() == before
    books.delete(ids=[0, 1])
    books.add_field(Field("pages", DataType.INT32))  # nobody is without one
    assert not books.describe().schema.field("pages").nullable


def test_a_column_of_plain_sql_is_in_the_way(store: Store, books: Collection) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("ALTER TABLE books.entities ADD COLUMN place point"))
    with pytest.raises(InvalidSchema, match="made by plain SQL"):
        books.add_field(Field("place", DataType.INT32, nullable=True))


def test_keys_and_the_only_vector_field_stay(store: Store, books: Collection) -> None:
    for name, why in (("id", "primary key"), ("embedding", "only vector field")):
        with pytest.raises(OperationRefused, match=why):
            books.drop_field(name)
    with pytest.raises(FieldNotFound, match="no field 'pages'"):
        books.drop_field("pages")
    keyed = store.create_collection(
        "keyed",
        [
            Field("id", DataType.INT64, primary_key=True),
            Field("tenant", DataType.INT64, partition_key=True),
            Field("embedding", DataType.FLOAT_VECTOR, dim=2),
        ],
        num_partitions=2,
    )
    with pytest.raises(OperationRefused, match="partition key"):
        keyed.drop_field("tenant")


def test_a_second_vector_field_can_take_the_place_of_the_first(books: Collection, fill: Callable[..., None]) -> None:
    books.create_index("embedding", Hnsw())
    fill(books, range(3))
    books.add_field(Field("better", DataType.FLOAT_VECTOR, dim=2, nullable=True))
    books.upsert([{"id": 1, "title": "one", "embedding": [1, 1, 1, 1], "better": [0, 1]}])
    books.create_index("better", Hnsw())
    books.drop_field("embedding")
    assert [hit.id for hit in books.search([[0, 1]], limit=1)[0]] == [1]
    assert [index.name for index in books.indexes] == ["better_idx"]


def test_what_others_made_on_a_field_stops_the_drop(store: Store, books: Collection) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("CREATE VIEW recent AS SELECT id FROM books.entities WHERE year > 2000"))
    with pytest.raises(DependentObjects, match="view recent") as refused:
        books.drop_field("year")
    assert any("recent" in it for it in refused.value.objects)
    books.drop_field("title")  # nobody asked for it
    books.drop_field("year", cascade=True)
    assert list(books.describe().schema.by_name) == ["id", "embedding"]


def test_an_alias_shows_the_fields_that_there_are_and_keeps_its_grants(store: Store, books: Collection) -> None:
    store.create_alias("books", "prod")
    with store.engine.begin() as connection:
        connection.execute(text("CREATE ROLE fields_reader"))
        connection.execute(text("GRANT SELECT ON prod.entities TO fields_reader"))
        connection.execute(text("GRANT SELECT ON prod.entities TO PUBLIC"))
        connection.execute(text("CREATE VIEW on_prod AS SELECT id, title FROM prod.entities"))
    columns = text(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'prod' ORDER BY ordinal_position"
    )
    try:
        store.collection("prod").add_field(PAGES)
        with store.engine.connect() as connection:
            assert connection.execute(columns).scalars().all() == [
                *("id", "title", "year", "embedding", "_partition", "pages")
            ]
        with pytest.raises(DependentObjects, match="on_prod"):
            books.drop_field("year")
        assert "year" in books.describe().schema.by_name
        with store.engine.begin() as connection:
            connection.execute(text("DROP VIEW on_prod"))
        books.drop_field("year")
        with store.engine.connect() as connection:
            assert "year" not in connection.execute(columns).scalars().all()
            granted = text("SELECT has_table_privilege('fields_reader', 'prod.entities', 'SELECT')")
            assert connection.execute(granted).scalar_one()
        assert store.list_aliases() == {"prod": "books"}
        store.alter_alias("books", "prod")
    finally:
        with store.engine.begin() as connection:
            connection.execute(text("DROP OWNED BY fields_reader"))
            connection.execute(text("DROP ROLE fields_reader"))


def test_fields_come_and_go_with_the_callers_transaction(store: Store, books: Collection) -> None:
    before = books.describe()
    with store.engine.connect() as connection:
        inside = store.bind(connection).collection("books")
        inside.add_field(PAGES)
        inside.drop_field("year")
        inside.insert([{"id": 1, "title": "t", "pages": 3, "embedding": [1, 0, 0, 0]}])
        assert inside.query(output_fields=["pages"]) == [{"pages": 3}]
        connection.rollback()
    assert books.describe() == before
    assert books.count() == 0


def test_a_field_waits_for_readers_only_until_the_deadline(store: Store, books: Collection) -> None:
    with connect(store.engine, ddl_timeout=0.3) as impatient, store.engine.connect() as reader:
        reader.execute(text("SELECT count(*) FROM books.entities"))
        with pytest.raises(LockTimeout):
            impatient.collection("books").add_field(PAGES)
        with pytest.raises(LockTimeout):
            impatient.collection("books").drop_field("year")
    books.add_field(PAGES)


CHANGES = [
    ("title", {"max_length": 200}),
    ("title", {"max_length": 7}),
    ("title", {"nullable": True}),
    ("title", {"default_value": "it's 5%"}),
    ("title", {"description": "on the cover, O'Reilly \\ 5%"}),
    ("title", {"text_search": "english"}),
    ("title", {"max_length": 9, "nullable": True, "default_value": "x", "description": "y"}),
    ("year", {"nullable": False}),
    ("year", {"default_value": 7}),
    ("embedding", {"nullable": True}),
    ("embedding", {"description": "by a model"}),
]


@pytest.mark.parametrize(("name", "changes"), CHANGES, ids=str)
def test_an_altered_field_is_the_field_as_declared_and_back(
    store: Store, books: Collection, fill: Callable[..., None], name: str, changes: dict[str, object]
) -> None:
    fill(books, range(2))
    books.create_partition("leaf")
    before = books.describe().schema
    altered = replace(before.field(name), **changes)
    fields.alter(store._database, "books", altered)
    assert books.describe().schema.field(name) == altered
    missing = {"id": 5, "title": "five", "year": 5, "embedding": [1, 0, 0, 0]}
    books.insert([missing], partition_name="leaf")
    fields.alter(store._database, "books", before.field(name))
    assert books.describe().schema == before


def test_rows_that_do_not_fit_stop_a_change(store: Store, books: Collection) -> None:
    books.insert([{"id": 1, "title": "a title", "embedding": [1, 0, 0, 0]}])
    before = books.describe()
    with pytest.raises(InvalidData, match="do not fit"):
        fields.alter(store._database, "books", Field("title", DataType.VARCHAR, max_length=3))
    with pytest.raises(InvalidData, match="without a value"):
        fields.alter(store._database, "books", Field("year", DataType.INT32))
    with pytest.raises(OperationRefused, match="dim 4, which cannot become 8: add a field of another name"):
        fields.alter(store._database, "books", Field("embedding", DataType.FLOAT_VECTOR, dim=8))
    books.create_index("title", Gin())
    with pytest.raises(OperationRefused, match="drop it first"):
        fields.alter(store._database, "books", Field("title", DataType.VARCHAR, max_length=64, text_search="english"))
    books.drop_index()
    assert books.describe() == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Field("x", DataType.INT32), Field("x", DataType.INT64)),
        (Field("x", DataType.INT64), Field("x", DataType.INT64, primary_key=True)),
        (Field("x", DataType.VARCHAR, max_length=5), Field("x", DataType.TEXT)),
        (
            Field("x", DataType.ARRAY, element_type=DataType.INT8, max_capacity=5),
            Field("x", DataType.ARRAY, element_type=DataType.INT16, max_capacity=5),
        ),
    ],
)
def test_what_would_write_every_value_anew_is_refused(before: Field, after: Field) -> None:
    with pytest.raises(OperationRefused, match="cannot become"):
        check_alterable("books", before, after)


def test_descriptions_and_properties_can_be_changed(store: Store, books: Collection) -> None:
    books.alter(description="what we have, O'Reilly \\ 5%")
    fields.set_properties(store._database, "books", {"owner": "library"})
    assert books.describe().schema.description == "what we have, O'Reilly \\ 5%"
    assert books.describe().schema.properties == {"owner": "library"}
    books.alter(description="")
    assert books.describe().schema.description == ""
    with pytest.raises(InvalidSchema, match="description"):
        books.alter(description=3)
    with pytest.raises(InvalidSchema, match="property"):
        fields.set_properties(store._database, "books", {"owner": 3})
