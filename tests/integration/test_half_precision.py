"""Vectors of 2,001 to 4,000 dimensions: the table holds them in single precision, the index in half."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from planned import plan_of
from sqlalchemy import bindparam, select
from sqlalchemy.types import Float

from vecstore import (
    Collection,
    DataType,
    Field,
    Hnsw,
    InvalidArgument,
    InvalidData,
    IvfFlat,
    Metric,
    Store,
)
from vecstore.tables import OPERATORS, QualifiedHalfvec, half_precision, qualified_operator, table_of

DIM = 2_001
ROWS = 120


def vector(*first: float) -> list[float]:
    return [*first, *[0.0] * (DIM - len(first))]


@pytest.fixture(params=[DataType.FLOAT_VECTOR, DataType.BFLOAT16_VECTOR])
def wide(request: pytest.FixtureRequest, store: Store) -> Collection:
    fields = (
        Field("id", DataType.INT64, primary_key=True),
        Field("v", request.param, dim=DIM, nullable=True),
    )
    return store.create_collection("wide", fields)


def fill(wide: Collection) -> np.ndarray[Any, Any]:
    vectors = np.random.default_rng(1).normal(size=(ROWS, DIM)).astype(np.float32)
    wide.insert({"id": range(ROWS), "v": vectors})
    wide.insert([{"id": ROWS, "v": None}])
    return vectors


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP, Metric.COSINE])
@pytest.mark.parametrize("kind", [Hnsw, IvfFlat])
def test_a_search_in_half_precision_uses_the_index(
    store: Store, wide: Collection, kind: Any, metric: Metric, *, online: bool
) -> None:
    fill(wide)
    wide.create_partition("more")
    spec = kind(metric) if kind is Hnsw else kind(metric, lists=2)
    wide.create_index("v", spec, online=online)
    description = wide.describe()
    (index,) = description.indexes
    assert (index.field, index.spec, index.metric, index.half_precision) == ("v", spec, metric, True)
    assert index.state == "ready"

    table = table_of(description, "public")
    operator = qualified_operator(OPERATORS[metric], "public")
    vectors = half_precision(table.c.v, description.schema.by_name["v"], "public")
    query = bindparam("query", vector(1.0), QualifiedHalfvec(DIM, "public"))
    nearest = select(table.c.id).order_by(vectors.op(operator, return_type=Float())(query)).limit(5)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = plan_of(connection, store._database.facts, nearest)
    (limit,) = plan["Plans"]
    leaves = limit["Plans"]
    assert [(leaf["Node Type"], "Order By" in leaf) for leaf in leaves] == [("Index Scan", True)] * 2


@pytest.mark.parametrize("dim", [4_000, 4_001])
def test_the_most_dimensions_of_an_index_are_4_000(store: Store, dim: int) -> None:
    fields = (Field("id", DataType.INT64, primary_key=True), Field("v", DataType.FLOAT_VECTOR, dim=dim))
    wide = store.create_collection("wide", fields)
    if dim == 4_000:
        assert wide.create_index("v", Hnsw()).state == "ready"
    else:
        with pytest.raises(InvalidArgument, match="4,001 dimensions, pgvector indexes at most 4,000"):
            wide.create_index("v", Hnsw())


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_rows_beyond_half_precision_keep_the_index_from_being_built(
    wide: Collection, sign: float, *, online: bool
) -> None:
    many = vector(*[sign * 65_000.0] * 5)  # longer than 65,504, but no number of it is
    wide.insert([{"id": 1, "v": vector(sign * 65_024.0)}, {"id": 2, "v": many}, {"id": 3, "v": None}])
    wide.insert([{"id": 4, "v": vector(0.0, sign * 65_536.0)}, {"id": 5, "v": vector(sign * 3e38)}])
    with pytest.raises(InvalidData, match=r"'v' of collection 'wide'.* beyond 65,504; id: 4, 5") as caught:
        wide.create_index("v", Hnsw(Metric.L2), online=online)
    assert caught.value.field == "v"
    assert wide.indexes == []
    wide.delete("id in [4, 5]")
    assert wide.create_index("v", Hnsw(Metric.L2), online=online).state == "ready"


@pytest.mark.parametrize("online", [False, True])
def test_rows_that_half_precision_makes_zero_keep_an_index_by_cosine_from_being_built(
    wide: Collection, *, online: bool
) -> None:
    wide.insert([{"id": 1, "v": vector(1e-7)}, {"id": 2, "v": vector(1e-9)}, {"id": 3, "v": None}])
    with pytest.raises(InvalidData, match="length zero in half precision, which have no direction; id: 2"):
        wide.create_index("v", Hnsw(Metric.COSINE), online=online)
    assert wide.create_index("v", Hnsw(Metric.L2), online=online).state == "ready"


def test_what_an_index_in_half_precision_cannot_hold_is_refused_with_its_row(wide: Collection) -> None:
    wide.create_index("v", Hnsw(Metric.COSINE))
    wide.insert([{"id": 0, "v": vector(1.0)}, {"id": 1, "v": None}])
    good = {"id": 2, "v": None}
    for write in (wide.insert, wide.upsert):
        with pytest.raises(
            InvalidData, match=r"'v', row 1: element 2 is out of the range of float16.*half pre"
        ) as caught:
            write([good, {"id": 3, "v": vector(0, 0, 66_000.0)}])
        assert (caught.value.field, caught.value.row) == ("v", 1)
        with pytest.raises(InvalidData, match="row 1: the vector is zero as FLOAT16_VECTOR, and has no COSINE"):
            write([good, {"id": 3, "v": vector(1e-9)}])
    assert wide.count() == 2
    wide.drop_index()
    wide.insert([{"id": 3, "v": vector(66_000.0)}, {"id": 4, "v": vector(1e-9)}])


def test_an_index_that_halves_by_hand_is_known_from_its_expression(store: Store) -> None:
    fields = (Field("id", DataType.INT64, primary_key=True), Field("v", DataType.FLOAT_VECTOR, dim=3))
    small = store.create_collection("small", fields)
    with store.engine.begin() as connection:
        for name, expression in {
            "halved": "(v::halfvec(3)) halfvec_l2_ops",
            "shorter": "(subvector(v, 1, 2)::halfvec(2)) halfvec_l2_ops",
            "normal": "(l2_normalize(v)::halfvec(3)) halfvec_l2_ops",
            "doubled": "((v + v)::halfvec(3)) halfvec_l2_ops",
            "bits": "(binary_quantize(v)::bit(3)) bit_hamming_ops",
        }.items():
            connection.exec_driver_sql(f"CREATE INDEX {name} ON small.entities USING hnsw ({expression})")
    found = {index.name: (index.field == "v", index.half_precision, index.metric) for index in small.describe().indexes}
    assert found == {
        "halved": (True, True, Metric.L2),
        "shorter": (False, False, Metric.L2),
        "normal": (False, False, Metric.L2),
        "doubled": (False, False, Metric.L2),
        "bits": (False, False, Metric.HAMMING),
    }
    with pytest.raises(InvalidData, match="float16"):
        small.insert([{"id": 1, "v": [1e6, 0, 0]}])


@pytest.mark.parametrize(("metric", "query"), [(Metric.L2, vector(66_000.0)), (Metric.COSINE, vector(1e-9))])
def test_a_query_that_half_precision_does_not_hold_is_compared_exactly_or_refused(
    wide: Collection, metric: Metric, query: list[float]
) -> None:
    fill(wide)
    wide.create_index("v", Hnsw(metric))
    (hits,) = wide.search(query, limit=ROWS)
    assert (len(hits), hits.path) == (ROWS, "exact")
    with pytest.raises(InvalidData, match=r"'v': its index is in half precision.*exact=False forbids") as caught:
        wide.search(query, exact=False)
    assert caught.value.field == "v"
