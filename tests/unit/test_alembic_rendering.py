from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable

import pytest
from alembic.operations import Operations
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

import vecstore
from migrating import code, revision, script
from vecstore import (
    Btree,
    DataType,
    Field,
    Gin,
    Hnsw,
    InvalidArgument,
    InvalidSchema,
    IvfFlat,
    Metric,
    OperationRefused,
)
from vecstore.alembic import operations, rendering
from vecstore.schema import CollectionSchema

ID = Field("id", DataType.INT64, primary_key=True)
YEAR = Field("year", DataType.INT32, nullable=True)
BOOKS = operations.CreateCollectionOp("books", CollectionSchema((ID, YEAR)))

REVERSIBLE = [
    operations.CollectionOps("books", [BOOKS]),
    operations.RenameCollectionOp("books", "library"),
    operations.AlterCollectionOp("books", description="a", existing_description="b"),
    operations.AlterCollectionOp("books", properties={"a": "b"}, existing_properties={}),
    operations.CreatePartitionOp("books", "novel"),
    operations.CreateIndexOp("books", "year", Btree(), name="year_idx"),
    operations.CreateIndexOp("books", "embedding", Hnsw(), name="near"),
    operations.AddFieldOp("books", YEAR),
    operations.AlterFieldOp("books", YEAR, existing=Field("year", DataType.INT32)),
    operations.CreateAliasOp("books", "prod"),
    operations.AlterAliasOp("films", "prod", existing="books"),
]


@pytest.mark.parametrize(
    "operation", REVERSIBLE, ids=[f"{type(it).__name__} {number}" for number, it in enumerate(REVERSIBLE)]
)
def test_an_operation_reversed_twice_is_itself(operation: operations.CollectionOperation) -> None:
    there, again = operation.reverse(), operation.reverse().reverse()
    assert code(operations.OpContainer([there])) != code(operations.OpContainer([operation]))
    without_remarks = [line for line in code(operations.OpContainer([again])).splitlines() if "# the" not in line]
    assert without_remarks == code(operations.OpContainer([operation])).splitlines()


@pytest.mark.parametrize(
    "operation",
    [
        operations.DropCollectionOp("books"),
        operations.DropFieldOp("books", "year"),
        operations.DropIndexOp("books", "year_idx"),
        operations.DropAliasOp("prod"),
        operations.AlterAliasOp("films", "prod"),
        operations.CreateIndexOp("books", "year", Btree()),
    ],
    ids=lambda it: type(it).__name__,
)
def test_what_cannot_be_made_again_says_so(operation: operations.CollectionOperation) -> None:
    with pytest.raises(ValueError, match=r"is not known|that is named"):
        operation.reverse()


VALUES = st.one_of(
    st.builds(Hnsw, metric=st.sampled_from(Metric), m=st.integers(2, 30)),
    st.builds(IvfFlat, metric=st.sampled_from(Metric), lists=st.integers(1, 100)),
    st.sampled_from([Btree(), Btree(cast=DataType.VARCHAR), Gin()]),
    st.builds(
        Field,
        st.from_regex(r"f_[a-z]{1,9}", fullmatch=True),
        st.just(DataType.VARCHAR),
        max_length=st.integers(1, 99),
        nullable=st.booleans(),
        default_value=st.none() | st.text(),
        description=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    ),
    st.builds(
        Field,
        st.just("when"),
        st.just(DataType.TIMESTAMPTZ),
        default_value=st.datetimes(timezones=st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=5))])),
    ),
    st.builds(Field, st.just("near"), st.just(DataType.FLOAT), default_value=st.floats(allow_nan=False)),
    st.builds(Field, st.just("sparse"), st.just(DataType.SPARSE_FLOAT_VECTOR), dim=st.none() | st.integers(1, 9)),
)


@given(VALUES)
def test_a_rendered_value_is_the_value(value: object) -> None:
    assert eval(rendering.code(value), {"vecstore": vecstore, "datetime": dt}) == value  # noqa: S307 - our own


def test_a_float_that_is_no_number_is_rendered_so_that_it_can_be_read() -> None:
    rendered = rendering.code(Field("near", DataType.FLOAT, default_value=math.nan))
    assert "float('nan')" in rendered


def test_an_index_is_rendered_with_all_its_options() -> None:
    rendered = rendering.code(Hnsw())
    assert rendered == "vecstore.Hnsw(metric=vecstore.Metric.COSINE, m=16, ef_construction=64)"


REFUSED: dict[str, tuple[Callable[[Operations], None], type[Exception], str]] = {
    "online": (
        lambda op: op.create_vector_index("books", "embedding", Hnsw(), online=True),
        InvalidArgument,
        "online=True cannot be written into a script",
    ),
    "unknown field": (
        lambda op: op.create_vector_index("books", "embedding", Hnsw()),
        InvalidArgument,
        r"existing=vecstore.Field\('embedding', ...\)",
    ),
    "dimension": (
        lambda op: op.alter_field(
            "books",
            Field("embedding", DataType.FLOAT_VECTOR, dim=8),
            existing=Field("embedding", DataType.FLOAT_VECTOR, dim=4),
        ),
        OperationRefused,
        "dim 4, which cannot become 8",
    ),
    "no field": (lambda op: op.create_collection("books"), InvalidSchema, "exactly one primary key"),
    "kind": (lambda op: op.create_scalar_index("books", "embedding", Hnsw()), InvalidArgument, "no scalar index"),
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_written_into_a_script_is_refused(
    refused: tuple[Callable[[Operations], None], type[Exception], str],
) -> None:
    work, error, said = refused
    with pytest.raises(error, match=said):
        script(work)


def test_a_script_is_written_for_psql_whatever_the_environment_says() -> None:
    """Backslashes, quotes, percent signs and colons stand as they are; pgvector is where it is said to be."""

    def work(op: Operations) -> None:
        op.create_collection(
            "books",
            ID,
            Field("embedding", DataType.FLOAT_VECTOR, dim=2, description="O'Reilly \\ 5% :name"),
        )
        op.execute(text("SELECT 1"))

    written = script(work, vecstore_extension_schema="extensions")
    assert "IS 'O''Reilly \\ 5% :name';" in written
    assert "embedding extensions.vector(2)" in written
    assert "%%" not in written


def test_autogenerate_writes_nothing_that_a_name_could_break_out_of() -> None:
    hostile = "x'); import os; os.abort() #"
    add = operations.AddFieldOp("books", Field("title", DataType.TEXT, nullable=True, description=hostile))
    seen = []

    class Op:
        def add_field(self, collection: str, field: Field) -> None:
            seen.append((collection, field))

    revision(operations.OpContainer([add]))(Op())
    assert seen == [("books", add.field)]
