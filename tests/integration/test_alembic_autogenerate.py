from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from alembic.operations.ops import UpgradeOps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import URL, Column, Connection, Integer, MetaData, Table, create_engine, text
from sqlalchemy.pool import NullPool

from migrating import code, compared, revision, run, script
from samples import BOOK_FIELDS
from vecstore import (
    Btree,
    Collection,
    CollectionMetadata,
    DataType,
    Field,
    Gin,
    Hnsw,
    IndexDeclaration,
    Metric,
    OperationRefused,
    Store,
)
from vecstore.embedded import EmbeddedServer
from vecstore.embedded.account import server_account
from vecstore.embedded.wheel import programs


@pytest.fixture
def connection(store: Store) -> Iterator[Connection]:
    with store.engine.connect() as connection:
        yield connection


@pytest.fixture
def psql(database_url: URL, major: int) -> Callable[[str], None]:
    """Run a script as its reader would: in one transaction, which the script itself begins and commits."""

    def run(script: str) -> None:
        url = database_url
        command = [programs(major, server_account()) / "psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"]
        command += ["-h", str(url.query["host"]), "-p", str(url.port), "-U", str(url.username), "-d", str(url.database)]
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + script

    return run


def declared(**changes: object) -> CollectionMetadata:
    """Books as the fixture makes them, with other things declared of them."""
    metadata = CollectionMetadata()
    metadata.declare("books", **{"fields": BOOK_FIELDS, **changes})  # type: ignore[arg-type]
    return metadata


def test_nothing_is_proposed_for_what_is_there_already(connection: Connection, books: Collection) -> None:
    books.create_index("embedding", Hnsw(m=8))
    books.create_partition("novel")
    indexes = [IndexDeclaration("embedding", Hnsw(m=8))]
    assert compared(connection, declared(indexes=indexes, partitions=["novel", "_default"])).ops == []
    assert compared(connection, declared(indexes=indexes)).ops == []  # partitions are the application's


@pytest.mark.parametrize(
    ("changes", "written"),
    [
        (
            {"fields": (*BOOK_FIELDS, Field("pages", DataType.INT32, nullable=True))},
            'op.add_field("books", vecstore.Field("pages", vecstore.DataType.INT32, nullable=True))',
        ),
        ({"fields": (*BOOK_FIELDS[:2], BOOK_FIELDS[3])}, 'op.drop_field("books", "year")'),
        ({"description": "what we have"}, 'op.alter_collection("books", description="what we have", '),
        ({"properties": {"owner": "us"}}, "op.alter_collection(\"books\", properties={'owner': 'us'}, "),
        ({"partitions": ["novel"]}, 'op.create_partition("books", "novel")'),
        ({"aliases": ["prod"]}, 'op.create_alias("books", "prod")'),
        (
            {"indexes": [IndexDeclaration("year", Btree())]},
            'op.create_scalar_index("books", "year", vecstore.Btree(), name="year_idx", ',
        ),
        (
            {"indexes": [IndexDeclaration("embedding", Hnsw(metric=Metric.L2), "near")]},
            'vecstore.Hnsw(metric=vecstore.Metric.L2, m=16, ef_construction=64), name="near", ',
        ),
    ],
    ids=[*("add field", "drop field", "description", "properties", "partition", "alias", "scalar", "vector")],
)
def test_a_change_is_proposed_as_readable_code(
    connection: Connection, books: Collection, changes: dict[str, object], written: str
) -> None:
    proposed = compared(connection, declared(**changes))
    assert len(proposed.ops) == 1
    one_line = " ".join(code(proposed).split()).replace("( ", "(").replace(", )", ")")
    assert written.replace("'", '"') in one_line.replace("'", '"')
    run(connection, revision(proposed))
    assert compared(connection, declared(**changes)).ops == []


@pytest.mark.parametrize(
    "other", [Hnsw(m=32), Hnsw(ef_construction=100), Hnsw(metric=Metric.L2)], ids=["m", "ef", "operator class"]
)
def test_another_index_of_the_same_name_is_seen(connection: Connection, books: Collection, other: Hnsw) -> None:
    books.create_index("embedding", Hnsw())
    proposed = compared(connection, declared(indexes=[IndexDeclaration("embedding", other)]))
    assert [it.verb for it in proposed.ops] == ["drop_vector_index", "create_vector_index"]
    run(connection, revision(proposed))
    assert compared(connection, declared(indexes=[IndexDeclaration("embedding", other)])).ops == []
    run(connection, revision(proposed.reverse()))
    assert compared(connection, declared(indexes=[IndexDeclaration("embedding", Hnsw())])).ops == []


def test_a_text_index_is_built_anew_when_the_words_of_its_field_change(
    connection: Connection, books: Collection
) -> None:
    """An index of the words of one configuration serves no other, and keeps its field from being changed."""
    books.create_index("title", Gin())
    indexes = [IndexDeclaration("title", Gin())]
    english = (BOOK_FIELDS[0], replace(BOOK_FIELDS[1], text_search="english"), *BOOK_FIELDS[2:])
    proposed = compared(connection, declared(fields=english, indexes=indexes))
    assert [it.verb for it in proposed.ops] == ["drop_scalar_index", "alter_field", "create_scalar_index"]
    run(connection, revision(proposed))
    assert compared(connection, declared(fields=english, indexes=indexes)).ops == []
    run(connection, revision(proposed.reverse()))
    assert compared(connection, declared(indexes=indexes)).ops == []


def test_what_plain_sql_made_or_dropped_is_seen(store: Store, connection: Connection, books: Collection) -> None:
    books.create_index("year", Btree())
    indexes = [IndexDeclaration("year", Btree())]
    connection.execute(text("CREATE INDEX by_hand ON books.entities (year, title)"))  # none of ours: left alone
    assert compared(connection, declared(indexes=indexes)).ops == []
    connection.execute(text("DROP INDEX books.year_idx"))
    assert [it.verb for it in compared(connection, declared(indexes=indexes)).ops] == ["create_scalar_index"]


def test_what_no_change_in_place_leads_to_is_refused_with_the_way_out(
    store: Store, connection: Connection, books: Collection
) -> None:
    wider = (*BOOK_FIELDS[:3], replace(BOOK_FIELDS[3], dim=8))
    with pytest.raises(
        OperationRefused, match=r"'embedding' of collection 'books' has dim 4, .* add a field of another"
    ):
        compared(connection, declared(fields=wider))
    with pytest.raises(OperationRefused, match="is not dynamic, which cannot be changed"):
        compared(connection, declared(dynamic=True))
    other_key = (replace(BOOK_FIELDS[0], name="key"), *BOOK_FIELDS[1:])
    with pytest.raises(OperationRefused, match="has the keys id, which cannot become key"):
        compared(connection, declared(fields=other_key))
    keyed = (*BOOK_FIELDS, Field("tenant", DataType.INT64, partition_key=True))
    store.create_collection("keyed", keyed, num_partitions=2)
    metadata = declared()
    metadata.declare("keyed", keyed, num_partitions=3)
    with pytest.raises(OperationRefused, match="has 2 hash partitions, which cannot become 3"):
        compared(connection, metadata)


def test_a_downgrade_of_a_drop_says_what_does_not_come_back(connection: Connection, books: Collection) -> None:
    books.create_partition("novel")
    books.create_index("embedding", Hnsw())
    dropped = compared(connection, CollectionMetadata())
    assert code(dropped).count("op.") == 1
    again = code(dropped.reverse())
    assert "# the definition only: the entities that were dropped do not come back" in again
    assert [
        again.count(f"op.{verb}(") for verb in ("create_collection", "create_partition", "create_vector_index")
    ] == [*(1, 1, 1)]
    without_title = compared(connection, declared(fields=(BOOK_FIELDS[0], *BOOK_FIELDS[2:]))).reverse()
    assert "# where entities are there it needs nullable=True or a default_value" in code(without_title)


def test_collections_stay_out_of_the_ordinary_comparison(
    store: Store, connection: Connection, books: Collection
) -> None:
    books.create_partition("novel")
    store.create_alias("books", "prod")
    connection.execute(text("CREATE SCHEMA mine"))
    connection.execute(text("CREATE TABLE mine.readers (id int)"))
    tables = MetaData()
    Table("loans", tables, Column("id", Integer))
    with_schemas = compared(connection, tables, include_schemas=True)
    assert sorted(it.table_name for it in with_schemas.ops) == ["loans", "readers"]
    beside = compared(connection, tables, declared(), include_schemas=True)
    assert sorted(it.table_name for it in beside.ops) == ["loans", "readers"]
    # What Alembic would do by itself: this is what the plugin is for.
    alone = compared(connection, tables, include_schemas=True, autogenerate_plugins=["alembic.autogenerate.*"])
    assert {"entities", "entities_novel"} <= {it.table_name for it in alone.ops}


def test_environments_can_leave_collections_out_by_name(
    store: Store, connection: Connection, books: Collection
) -> None:
    store.create_collection("notebook", BOOK_FIELDS)
    ours = {"include_name": lambda name, kind, _: kind != "collection" or name != "notebook"}
    assert compared(connection, declared(), **ours).ops == []
    other = {"include_object": lambda _, name, kind, *__: kind != "collection" or name == "books"}
    assert compared(connection, declared(), **other).ops == []
    assert [it.verb for it in compared(connection, declared()).ops] == ["drop_collection"]


def test_an_alias_moves_before_its_old_collection_goes(store: Store, connection: Connection, books: Collection) -> None:
    store.create_alias("books", "prod")
    metadata = CollectionMetadata()
    metadata.declare("books_v2", BOOK_FIELDS, aliases=["prod"])
    proposed = compared(connection, metadata)
    run(connection, revision(proposed))
    assert compared(connection, metadata).ops == []
    run(connection, revision(proposed.reverse()))
    connection.commit()
    assert store.list_aliases() == {"prod": "books"}
    assert store.list_collections() == ["books"]


def test_a_script_renames_and_refuses_what_is_not_ours(
    store: Store, connection: Connection, books: Collection, psql: Callable[[str], None]
) -> None:
    psql(script(lambda op: op.rename_collection("books", "library")))
    assert store.list_collections() == ["library"]
    connection.execute(text("CREATE SCHEMA mine"))
    connection.execute(text("CREATE TABLE mine.entities (id int)"))
    connection.commit()
    for work in (
        lambda op: op.rename_collection("mine", "yours"),
        lambda op: op.drop_collection("mine"),
        lambda op: op.drop_field("mine", "id"),
        lambda op: op.drop_alias("mine"),
        lambda op: op.drop_field("library", "id"),
    ):
        with pytest.raises(AssertionError, match=r"no collection|no alias|a key of a collection"):
            psql(script(work))
    assert connection.execute(text("SELECT to_regclass('mine.entities') IS NOT NULL")).scalar_one()
    assert "id" in store.collection("library").describe().schema.by_name


def test_before_vecstore_is_installed_all_collections_are_proposed(server: EmbeddedServer, store: Store) -> None:
    with store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("CREATE DATABASE uninstalled TEMPLATE template0"))
        engine = create_engine(server.url("uninstalled").set(drivername="postgresql+psycopg"), poolclass=NullPool)
        try:
            with engine.connect() as bare:
                proposed = compared(bare, MetaData(), declared(), include_schemas=True)
                assert code(proposed).count("op.create_collection(") == 1
        finally:
            connection.execute(text("DROP DATABASE uninstalled"))


# Any two declarations: there, back, and the same by a script for psql.

_FIELDS: dict[str, list[Field | None]] = {
    "title": [
        None,
        Field("title", DataType.VARCHAR, max_length=64, default_value="it's 5%"),
        Field("title", DataType.VARCHAR, max_length=9, nullable=True, description="O'Reilly's \\ \"title\": é 5%"),
    ],
    "year": [None, Field("year", DataType.INT32, nullable=True), Field("year", DataType.INT32, default_value=7)],
    "words": [
        None,
        Field("words", DataType.TEXT, nullable=True),
        Field("words", DataType.TEXT, nullable=True, text_search="english"),
        Field("words", DataType.TEXT, nullable=True, text_search="english", bm25=True),
        Field("words", DataType.TEXT, nullable=True, bm25=True),
    ],
    "meta": [None, Field("meta", DataType.JSON, nullable=True)],
    "sparse": [None, Field("sparse", DataType.SPARSE_FLOAT_VECTOR, nullable=True)],
    "tags": [
        None,
        Field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=5, max_capacity=3, nullable=True),
        Field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=5, max_capacity=4, nullable=True),
    ],
}
_INDEXES: dict[str, list[IndexDeclaration | None]] = {
    "embedding": [
        None,
        IndexDeclaration("embedding", Hnsw()),
        IndexDeclaration("embedding", Hnsw(metric=Metric.IP, m=4)),
    ],
    "year": [None, IndexDeclaration("year", Btree()), IndexDeclaration("year", Btree(), "by_year")],
    "title": [None, IndexDeclaration("title", Btree())],
    "words": [None, IndexDeclaration("words", Gin())],
    "meta": [None, IndexDeclaration("meta['it\\'s'][0]", Btree(cast=DataType.DOUBLE)), IndexDeclaration("meta", Gin())],
    "sparse": [None, IndexDeclaration("sparse", Hnsw(metric=Metric.IP))],
    "tags": [None, IndexDeclaration("tags", Gin())],
}
_ALWAYS = (
    Field("id", DataType.INT64, primary_key=True),
    Field("embedding", DataType.FLOAT_VECTOR, dim=3),
)


@st.composite
def metadatas(draw: st.DrawFn) -> CollectionMetadata:
    metadata = CollectionMetadata()
    aliases = {alias: draw(st.sampled_from(["one", "two", None])) for alias in ("prod", "test")}
    for name in draw(st.sampled_from([[], ["one"], ["two"], ["one", "two"]])):
        chosen = [draw(st.sampled_from(variants)) for variants in _FIELDS.values()]
        fields = [*_ALWAYS, *(field for field in chosen if field is not None)]
        there = {field.name for field in fields}
        indexes = [draw(st.sampled_from(variants)) for field, variants in _INDEXES.items() if field in there]
        metadata.declare(
            name,
            fields,
            description=draw(st.sampled_from(["", "what we have", "O'Reilly's \\ \"books\": é 5%"])),
            properties=draw(st.sampled_from([{}, {"it's": "O'Reilly's \\ \"books\": é 5%"}])),
            indexes=[index for index in indexes if index is not None],
            partitions=draw(st.sampled_from([[], ["novel"], ["novel", "a-b"]])),
            aliases=[alias for alias, collection in aliases.items() if collection == name],
        )
    return metadata


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=metadatas(), after=metadatas())
def test_any_declaration_is_led_to_any_other_and_back(
    connection: Connection, before: CollectionMetadata, after: CollectionMetadata
) -> None:
    for metadata in (CollectionMetadata(), before):
        run(connection, revision(compared(connection, metadata)))
    proposed = compared(connection, after)
    run(connection, revision(proposed))
    assert compared(connection, after).ops == []
    run(connection, revision(proposed.reverse()))
    assert compared(connection, before).ops == []
    connection.commit()


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=metadatas(), after=metadatas())
def test_a_script_for_psql_leads_to_the_same(
    connection: Connection, psql: Callable[[str], None], before: CollectionMetadata, after: CollectionMetadata
) -> None:
    for metadata in (CollectionMetadata(), before):
        run(connection, revision(compared(connection, metadata)))
        connection.commit()
    proposed: UpgradeOps = compared(connection, after)
    connection.rollback()
    for operations, metadata in ((proposed, after), (proposed.reverse(), before)):
        psql(script(revision(operations)))
        assert compared(connection, metadata).ops == []
        connection.rollback()
