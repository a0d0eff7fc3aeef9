from __future__ import annotations

import pytest
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.schema import CreateTable

from vecstore import Btree, CollectionSchema, DataType, Field, Gin, Hnsw, IvfFlat, Metric, ddl, tables
from vecstore.ddl import IndexKey, IndexScope, Name

DIALECT = psycopg.dialect()

SCHEMA = CollectionSchema(
    (
        Field("id", DataType.INT64, primary_key=True, auto_id=True, description="it's 100 %"),
        Field("title", DataType.VARCHAR, max_length=5, default_value="it's 100 % \\"),
        Field("small", DataType.INT8),
        Field("tags", DataType.ARRAY, element_type=DataType.INT8, max_capacity=3),
        Field("v", DataType.FLOAT_VECTOR, dim=3),
        Field("bits", DataType.BINARY_VECTOR, dim=16),
        Field("sparse", DataType.SPARSE_FLOAT_VECTOR, nullable=True),
    ),
    dynamic=True,
    description="Books",
)


TABLE = tables.entities("books", SCHEMA, extension_schema="my ext")


def sql(statement: object) -> str:
    return " ".join(str(statement.compile(dialect=DIALECT)).split())  # type: ignore[attr-defined]


def test_a_table_has_a_column_a_field_and_checks_for_what_types_do_not_say() -> None:
    text = sql(CreateTable(tables.entities("Books", SCHEMA, extension_schema="my ext")))
    assert text == (
        'CREATE TABLE "Books".entities ( '
        "id BIGINT DEFAULT pg_catalog.nextval(CAST('\"Books\".entities_id_seq' AS REGCLASS)) NOT NULL, "
        "title TEXT DEFAULT 'it''s 100 %% \\' NOT NULL, "
        "small SMALLINT NOT NULL, "
        "tags SMALLINT[] NOT NULL, "
        'v "my ext".vector(3) NOT NULL, '
        "bits BIT(16) NOT NULL, "
        'sparse "my ext".sparsevec(1000000000), '
        "_meta JSONB DEFAULT '{}'::jsonb NOT NULL, "
        "_partition TEXT NOT NULL, "
        "PRIMARY KEY (id, _partition), "
        "CONSTRAINT title_size CHECK (pg_catalog.octet_length(title) <= 5), "
        "CONSTRAINT small_size CHECK (small BETWEEN -128 AND 127), "
        "CONSTRAINT tags_size CHECK (pg_catalog.cardinality(tags) <= 3), "
        "CONSTRAINT _meta_object CHECK (pg_catalog.jsonb_typeof(_meta) = 'object') "
        ") PARTITION BY LIST (_partition)"
    )


def test_a_partition_key_partitions_by_hash_and_belongs_to_the_primary_key() -> None:
    schema = CollectionSchema(
        (Field("id", DataType.INT64, primary_key=True), Field("Tenant", DataType.INT64, partition_key=True))
    )
    text = sql(CreateTable(tables.entities("books", schema, extension_schema="public")))
    assert 'PRIMARY KEY (id, "Tenant")' in text
    assert text.endswith('PARTITION BY HASH ("Tenant")')
    assert "_partition" not in text


def test_values_in_ddl_are_literals_and_names_are_quoted() -> None:
    statements = [
        sql(statement)
        for statement in ddl.create_collection(
            "Books", tables.entities("Books", SCHEMA, extension_schema="public"), SCHEMA
        )
    ]
    assert statements[0] == 'CREATE SCHEMA "Books"'
    assert "COMMENT ON COLUMN \"Books\".entities.id IS 'it''s 100 %%'" in statements
    assert 'ALTER SEQUENCE "Books".entities_id_seq OWNED BY "Books".entities.id' in statements
    hostile = """o'x"; DROP TABLE t; --{leaf}%s"""
    assert sql(ddl.attach_list_leaf("books", 'le"af', hostile)) == (
        'ALTER TABLE books.entities ATTACH PARTITION books."le""af" FOR VALUES IN '
        "('o''x\"; DROP TABLE t; --{leaf}%%s')"
    )


@pytest.mark.parametrize(
    ("key", "spec", "scope", "expected"),
    [
        (
            IndexKey(TABLE.c.v, Name("my ext", "vector_l2_ops")),
            Hnsw(metric=Metric.L2, m=5, ef_construction=20),
            IndexScope.TABLE,
            'CREATE INDEX i ON books.t USING hnsw (v "my ext".vector_l2_ops) WITH (m = 5, ef_construction = 20)',
        ),
        (
            IndexKey(TABLE.c.bits, Name("my ext", "bit_hamming_ops")),
            IvfFlat(metric=Metric.HAMMING, lists=7),
            IndexScope.CONCURRENTLY,
            'CREATE INDEX CONCURRENTLY i ON books.t USING ivfflat (bits "my ext".bit_hamming_ops) WITH (lists = 7)',
        ),
        (
            IndexKey(TABLE.c.title),
            Btree(),
            IndexScope.PARENT_ONLY,
            "CREATE INDEX i ON ONLY books.t USING btree (title )",
        ),
        (
            IndexKey(TABLE.c._meta["it's 100 % {x}"].astext, Name("pg_catalog", "text_pattern_ops")),
            Btree(),
            IndexScope.TABLE,
            "CREATE INDEX i ON books.t USING btree ((_meta ->> 'it''s 100 %% {x}') pg_catalog.text_pattern_ops)",
        ),
        (IndexKey(TABLE.c.tags), Gin(), IndexScope.TABLE, "CREATE INDEX i ON books.t USING gin (tags )"),
    ],
)
def test_an_index_is_on_a_column_or_an_expression_without_parameters(
    key: IndexKey, spec: object, scope: IndexScope, expected: str
) -> None:
    statement = ddl.create_index("books", "t", "i", key, spec, scope=scope)  # type: ignore[arg-type]
    assert sql(statement).rstrip() == expected


def test_a_comment_is_a_literal() -> None:
    comment = """{"a": "it's 100 %"}"""
    assert sql(ddl.comment_on_index("books", "i", comment)) == (
        """COMMENT ON INDEX books.i IS '{"a": "it''s 100 %%"}'"""
    )


def test_conditions_of_callers_use_pgvectors_own_operators() -> None:
    table = tables.entities("books", SCHEMA, extension_schema="my ext")
    assert sql(table.c.v.l2_distance([1, 2, 3])) == 'books.entities.v OPERATOR("my ext".<->) %(v_1)s'
    assert sql(table.c.bits.jaccard_distance("1")) == 'books.entities.bits OPERATOR("my ext".<%%>) %(bits_1)s::BIT(16)'


@pytest.mark.parametrize("metric", list(Metric))
def test_an_operator_class_tells_its_metric(metric: Metric) -> None:
    field = next(f for f in SCHEMA.fields if f.name == ("v" if metric in {"L2", "IP", "COSINE"} else "bits"))
    assert tables.metric_of_operator_class(tables.operator_class(field, metric)) is metric
    assert tables.metric_of_operator_class("text_ops") is None
