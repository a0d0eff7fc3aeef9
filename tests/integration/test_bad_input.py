"""What a field, an index or a search does not take: the exact error, the field's name, and nothing written."""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from databases import database
from sqlalchemy import URL, make_url

import vecstore
from vecstore import (
    Btree,
    Collection,
    ConnectionLost,
    DatabaseError,
    DataType,
    DuplicateKey,
    Field,
    FieldNotFound,
    Gin,
    Hnsw,
    IndexNotFound,
    InvalidArgument,
    InvalidData,
    InvalidSchema,
    IvfFlat,
    Metric,
    PartitionNotFound,
    Store,
)

SECRET = 8675309.0  # an element of every vector that is refused: no message may show it
NAN, INF = math.nan, math.inf

KEY = Field("id", DataType.INT64, primary_key=True)
FIELDS = (
    KEY,
    Field("v", DataType.FLOAT_VECTOR, dim=3),
    Field("flag", DataType.BOOL, nullable=True),
    Field("int8", DataType.INT8, nullable=True),
    Field("int16", DataType.INT16, nullable=True),
    Field("int32", DataType.INT32, nullable=True),
    Field("int64", DataType.INT64, nullable=True),
    Field("real", DataType.FLOAT, nullable=True),
    Field("double", DataType.DOUBLE, nullable=True),
    Field("name", DataType.VARCHAR, max_length=8, nullable=True),
    Field("text", DataType.TEXT, nullable=True),
    Field("doc", DataType.JSON, nullable=True),
    Field("at", DataType.TIMESTAMPTZ, nullable=True),
    Field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=2, max_length=4, nullable=True),
    Field("numbers", DataType.ARRAY, element_type=DataType.INT8, max_capacity=2, nullable=True),
    Field("free", DataType.FLOAT_VECTOR, dim=3, nullable=True),
    Field("half", DataType.FLOAT16_VECTOR, dim=3, nullable=True),
    Field("brain", DataType.BFLOAT16_VECTOR, dim=3, nullable=True),
    Field("small", DataType.INT8_VECTOR, dim=3, nullable=True),
    Field("bits", DataType.BINARY_VECTOR, dim=16, nullable=True),
    Field("sparse", DataType.SPARSE_FLOAT_VECTOR, dim=5000, nullable=True),
    Field("halfway", DataType.FLOAT16_VECTOR, dim=3, nullable=True),
)


@pytest.fixture(scope="module")
def own_url(server, template) -> Iterator[URL]:
    with database(server, "test_bad_input", template) as url:
        yield url


@pytest.fixture(scope="module")
def own_store(own_url) -> Iterator[Store]:
    with vecstore.connect(own_url) as store:
        everything = store.create_collection("everything", FIELDS)
        everything.create_index("v", Hnsw(Metric.COSINE))
        everything.create_index("halfway", Hnsw(Metric.COSINE))
        everything.create_index("sparse", Hnsw(Metric.IP))
        yield store


@pytest.fixture
def everything(own_store) -> Iterator[Collection]:
    """The wide collection, empty; what a test writes is taken away after it."""
    collection = own_store.collection("everything")
    yield collection
    collection.delete(where=collection.c.id >= 0)


@pytest.fixture
def scratch(own_store) -> Iterator[Store]:
    """A store in a transaction that is rolled back: what a test creates is gone after it."""
    with own_store.engine.connect() as connection:
        yield own_store.bind(connection)
        connection.rollback()


def good(key: int, **changes: object) -> dict[str, object]:
    return {"id": key, "v": [1.0, 2.0, 3.0], **changes}


def said(exc: BaseException) -> str:
    """All that a log would show of an error."""
    return "".join(traceback.format_exception(exc)) + repr(exc)


def hides_secrets(message: str) -> bool:
    return "8675309" not in message and "8.675309" not in message


S = SECRET
DENSE_FAULTS = [
    ("NaN", [1, NAN, S]),
    ("infinite", [1, INF, S]),
    ("minus infinite", [1, -INF, S]),
    ("beyond float32", [1, 1e39, S]),
    ("beyond float64", [1, 10**400, S]),
    ("too short", [1, S]),
    ("too long", [1, 2, 3, S]),
    ("empty", []),
    ("two-dimensional", [[1, 2, S]]),
    ("two-dimensional array", np.array([[1.0, 2.0, S]])),
    ("scalar array", np.array(S)),
    ("str elements", ["1", "2", str(S)]),
    ("str", str([1, 2, S])),
    ("array of str", np.array(["1", "2", str(S)])),
    ("bytes", b"\0" * 12),
    ("None element", [1, None, S]),
    ("bool elements", [True, False, S]),
    ("array of bool", np.array([True, False, True])),
    ("complex", [1j, 2, S]),
    ("array of complex", np.array([1j, 2, S])),
    ("number", S),
    ("dict", {0: 1.0, 1: S}),
    ("set", {1.0, 2.0, S}),
    ("generator", (x for x in (1.0, 2.0, S))),
]

INTEGERS = [("int8", 8), ("int16", 16), ("int32", 32), ("int64", 64)]

FIELD_FAULTS = [
    *(("v", what, value) for what, value in DENSE_FAULTS),
    *(("free", what, value) for what, value in DENSE_FAULTS),
    ("v", "None", None),
    ("v", "zero under COSINE", [0, 0, 0]),
    ("v", "minus zero under COSINE", [-0.0, 0, 0]),
    ("v", "tiny under COSINE", [1e-30, 0, 0]),
    ("v", "zero once rounded under COSINE", [1e-50, 0, 0]),
    ("v", "huge under COSINE", [3e38, 3e38, 0]),
    ("halfway", "zero once rounded to float16 under COSINE", [1e-8, 0, 0]),
    ("half", "beyond float16", [65520, 0, 1]),
    ("half", "beyond float16, negative", [-65520, 0, 1]),
    ("half", "NaN", [NAN, 0, 1]),
    ("brain", "beyond bfloat16", [3.4e38, 0, 1]),
    ("brain", "infinite", [INF, 0, 1]),
    ("small", "beyond int8", [128, 0, 1]),
    ("small", "beyond int8, negative", [-129, 0, 1]),
    ("small", "fraction", [0.5, 0, 1]),
    ("small", "NaN", [NAN, 0, 1]),
    ("bits", "too few bytes", b"\0"),
    ("bits", "too many bytes", b"\0\0\0"),
    ("bits", "numbers", [0] * 16),
    ("bits", "text", "0101010101010101"),
    ("bits", "bools, too few", [True] * 15),
    ("sparse", "index out of range", {5000: S}),
    ("sparse", "negative index", {-1: S}),
    ("sparse", "index twice", [(1, 1.0), (1, S)]),
    ("sparse", "index of float", {1.0: S}),
    ("sparse", "index of str", {"1": S}),
    ("sparse", "index of bool", {True: S}),
    ("sparse", "NaN", {1: NAN, 2: S}),
    ("sparse", "infinite", {1: INF, 2: S}),
    ("sparse", "beyond float32", {1: 1e39, 2: S}),
    ("sparse", "str", {1: "1"}),
    ("sparse", "None", {1: None}),
    ("sparse", "dense", [1.0, 2.0, S]),
    ("sparse", "1,001 elements and an index", dict.fromkeys(range(1001), S)),
    *((name, f"{2 ** (bits - 1)}", 2 ** (bits - 1)) for name, bits in INTEGERS),
    *((name, f"{-(2 ** (bits - 1)) - 1}", -(2 ** (bits - 1)) - 1) for name, bits in INTEGERS),
    *((name, "float", 1.0) for name, _ in INTEGERS),
    *((name, "bool", True) for name, _ in INTEGERS),
    *((name, "str", "1") for name, _ in INTEGERS),
    ("int64", "2**64", 2**64),
    ("int64", "10**400", 10**400),
    ("int64", "uint64", np.uint64(2**63)),
    ("flag", "int", 1),
    ("flag", "str", "true"),
    ("real", "NaN", NAN),
    ("real", "infinite", INF),
    ("real", "beyond float32", 1e39),
    ("real", "bool", True),
    ("real", "str", "1.0"),
    ("double", "NaN", NAN),
    ("double", "infinite", -INF),
    ("double", "beyond float64", 10**400),
    ("double", "complex", 1j),
    ("name", "NUL", "a\0b"),
    ("name", "lone surrogate", "a\ud800"),
    ("name", "nine bytes", "a" * 9),
    ("name", "nine bytes in eight characters", "a" * 7 + "é"),
    ("name", "bytes", b"abc"),
    ("name", "number", 5),
    ("text", "NUL", "\0"),
    ("text", "lone surrogate", "\udfff"),
    ("text", "list", ["a"]),
    ("doc", "NaN", {"a": NAN}),
    ("doc", "infinite", [INF]),
    ("doc", "NUL", {"a": ["b\0"]}),
    ("doc", "NUL in a key", {"a\0": 1}),
    ("doc", "escaped NUL", "\u0000"),
    ("doc", "lone surrogate", {"a": "\ud800"}),
    ("doc", "key of int", {1: 2}),
    ("doc", "2**63", {"a": 2**63}),
    ("doc", "set", {"a": {1}}),
    ("doc", "bytes", b"{}"),
    ("doc", "datetime", {"a": datetime(2020, 1, 1, tzinfo=UTC)}),
    ("at", "no time zone", datetime(2020, 1, 1)),  # noqa: DTZ001 - that is the fault
    ("at", "text without an offset", "2020-01-01T00:00:00"),
    ("at", "no time", "yesterday"),
    ("at", "number", 1_600_000_000),
    ("at", "year 10000", "10000-01-01T00:00:00+00:00"),
    ("at", "NaT", pd.NaT),
    ("tags", "too many", ["a", "b", "c"]),
    ("tags", "five bytes", ["a", "bbbbb"]),
    ("tags", "NUL", ["\0"]),
    ("tags", "None element", ["a", None]),
    ("tags", "text", "ab"),
    ("numbers", "overflow", [1, 128]),
    ("numbers", "bool", [True]),
    ("numbers", "nested", [[1]]),
    ("id", "None", None),
    ("id", "str", "1"),
    ("id", "float", 1.0),
    ("id", "bool", True),
    ("id", "2**63", 2**63),
    ("id", "-2**63-1", -(2**63) - 1),
]
DEEP = []
for _ in range(200):
    DEEP = [DEEP]
FIELD_FAULTS += [("doc", "nested deeply", DEEP)]


@pytest.mark.parametrize(
    ("field", "value"),
    [pytest.param(field, value, id=f"{field}-{what}") for field, what, value in FIELD_FAULTS],
)
def test_a_value_that_its_field_does_not_take_is_refused_and_the_transaction_goes_on(
    own_store, everything, field, value
):
    rows = [good(1), good(2, **{field: value}), good(3)]
    columns = {"id": [1, 2, 3], "v": [row["v"] for row in rows], field: [row.get(field) for row in rows]}
    with own_store.transaction() as transaction:
        inside = transaction.collection("everything")
        for call, data in ((inside.insert, rows), (inside.upsert, rows), (inside.insert, columns)):
            with pytest.raises(InvalidData) as caught:
                call(data)
            assert (type(caught.value), caught.value.field, caught.value.row) == (InvalidData, field, 1)
            assert repr(field) in str(caught.value)
            assert "row 1" in str(caught.value)
            assert hides_secrets(str(caught.value))
            assert len(str(caught.value)) < 300
        assert inside.count() == 0
        inside.insert([good(7)])
    assert [row["id"] for row in everything.get(range(10))] == [7]


DATA_FAULTS = {
    "unknown field": ([good(1), good(2, titel=1)], "titel", 1),
    "unknown column": ({"id": [1], "v": [[1, 2, 3]], "titel": [1]}, "titel", None),
    "missing vector": ([{"id": 1}], "v", None),
    "missing vector in one row": ([good(1), {"id": 2}], "v", 1),
    "missing key": ([{"v": [1, 2, 3]}], "id", None),
    "missing key in one row": ([good(1), {"v": [1, 2, 3]}], "id", 1),
    "missing column": ({"id": [1]}, "v", None),
    "column of vecstore's": ([good(1, _partition="other")], "_partition", None),
    "other column of vecstore's": ([good(1, _meta={})], "_meta", None),
    "ragged columns": ({"id": [1, 2], "v": [[1, 2, 3]]}, None, None),
    "ragged columns, no rows in one": ({"id": [1], "v": []}, None, None),
    "a row that is no dict": ([good(1), [2, [1, 2, 3]]], None, 1),
    "a row that is None": ([good(1), None], None, 1),
    "a single row": (good(1), "id", None),
    "name that is no str": ([{**good(1), 5: 1}], None, None),
    "text": ("id", None, None),
    "number": (5, None, None),
    "nothing": (None, None, None),
    "plain array": (np.zeros((2, 3)), None, None),
    "array of the wrong width": ({"id": [1, 2], "v": np.ones((2, 4))}, "v", 0),
    "array of one dimension": ({"id": [1, 2], "v": np.ones(2)}, "v", 0),
    "array of three dimensions": ({"id": [1, 2], "v": np.ones((2, 3, 1))}, "v", 0),
    "array with NaN": ({"id": [1, 2], "v": np.array([[1, 2, 3], [1, NAN, 3]])}, "v", 1),
    "array of float64 beyond float32": ({"id": [1, 2], "v": np.array([[1, 2, 3], [1, 1e39, 3]])}, "v", 1),
    "array with a zero vector": ({"id": [1, 2], "v": np.array([[1, 2, 3], [0, 0, 0]], np.float32)}, "v", 1),
    "array of int64 beyond int8": ({"id": [1, 2], "v": np.ones((2, 3)), "int8": np.array([1, 128])}, "int8", 1),
    "array of uint64 beyond int64": (
        {"id": np.array([1, 2**63], np.uint64), "v": np.ones((2, 3))},
        "id",
        1,
    ),
    "array of float for int": ({"id": np.array([1.0, 2.0]), "v": np.ones((2, 3))}, "id", 0),
    "matrix for a scalar": ({"id": np.ones((2, 1), np.int64), "v": np.ones((2, 3))}, "id", 0),
    "frame with two columns of one name": (pd.DataFrame([[1, 2]], columns=["id", "id"]), None, None),
    "frame with NaN in the key": (pd.DataFrame({"id": [1.0, NAN], "v": [[1, 2, 3]] * 2}), "id", 1),
}


@pytest.mark.parametrize("fault", DATA_FAULTS.values(), ids=DATA_FAULTS)
@pytest.mark.parametrize("call", ["insert", "upsert"])
def test_data_that_do_not_fit_the_collection_are_refused_whole(own_store, everything, call, fault):
    data, field, row = fault
    with own_store.transaction() as transaction:
        inside = transaction.collection("everything")
        with pytest.raises(InvalidData) as caught:
            getattr(inside, call)(data)
        assert (type(caught.value), caught.value.field, caught.value.row) == (InvalidData, field, row)
        assert field is None or repr(field) in str(caught.value)
        assert row is None or f"row {row}" in str(caught.value)
        assert inside.count() == 0
        inside.insert([good(7)])
    assert everything.count() == 1


def test_a_key_twice_in_a_batch_or_there_already_is_refused_and_named(own_store, everything):
    everything.insert([good(1), good(2)])
    with own_store.transaction() as transaction:
        inside = transaction.collection("everything")
        for call in (inside.insert, inside.upsert):
            with pytest.raises(DuplicateKey, match=r"'id'.* 5 ") as caught:
                call([good(5), good(6), good(5)])
            assert (caught.value.field, caught.value.keys) == ("id", (5,))
        with pytest.raises(DuplicateKey, match=r"'everything'.*'_default'.* 2 exists") as caught:
            inside.insert([good(3), good(2, v=[SECRET, 1, 1])])
        assert (caught.value.field, caught.value.keys, caught.value.sqlstate) == ("id", (2,), None)
        assert hides_secrets(said(caught.value))
        inside.insert([good(7)])
    assert [row["id"] for row in everything.get(range(10))] == [1, 2, 7]


def test_a_partition_that_is_not_there_is_named_and_nothing_written(own_store, everything):
    with own_store.transaction() as transaction:
        inside = transaction.collection("everything")
        for name in ("novel", "", "a\0b", "\ud800", "x" * 300, 5, "_DEFAULT"):
            for call in (inside.insert, inside.upsert):
                with pytest.raises(PartitionNotFound, match="everything"):
                    call([good(1)], partition_name=name)
        inside.insert([good(7)])
    assert everything.count() == 1


def test_as_many_ids_as_no_statement_takes_parameters_are_found_and_deleted(own_store):
    numbers = own_store.create_collection("numbers", (KEY, Field("n", DataType.INT64)))
    ids = np.arange(70_000)
    numbers.insert({"id": ids, "n": ids})
    assert [row["n"] for row in numbers.get(ids)] == ids.tolist()
    assert numbers.delete(ids=range(1, 70_001)).count == 69_999
    assert numbers.get(ids) == [{"id": 0, "n": 0}]


BAD_KEYS = {
    "str": ("1", InvalidData),
    "float": ([1, 1.5], InvalidData),
    "bool": ([True], InvalidData),
    "None": ([None], InvalidData),
    "2**63": ([2**63], InvalidData),
    "list in a list": ([[1]], InvalidData),
    "NaN": (NAN, InvalidData),
    "dict": ({"id": 1}, InvalidData),
}


@pytest.mark.parametrize(("ids", "error"), BAD_KEYS.values(), ids=BAD_KEYS)
def test_what_is_no_key_is_neither_looked_for_nor_deleted(own_store, everything, ids, error):
    everything.insert([good(1)])
    with own_store.transaction() as transaction:
        inside = transaction.collection("everything")
        for call in (inside.get, lambda ids: inside.delete(ids=ids)):
            with pytest.raises(error, match="'id'") as caught:
                call(ids)
            assert type(caught.value) is error
        assert inside.count() == 1


def test_a_deletion_of_nothing_in_particular_is_refused(own_store, everything):
    everything.insert([good(1)])
    with own_store.transaction() as transaction:
        inside = transaction.collection("everything")
        for arguments in (
            {},
            {"ids": [1], "where": inside.c.id == 1},
            {"where": True},
            {"where": "id = 1"},
            {"where": inside.c.id == 1, "partition_names": []},
            {"ids": [1], "partition_names": "_default"},
        ):
            with pytest.raises(InvalidArgument):
                inside.delete(**arguments)
        assert inside.count() == 1


# Searches

QUERY_FAULTS = [(what, value) for what, value in DENSE_FAULTS if what not in {"two-dimensional array", "generator"}]
QUERY_FAULTS = [(what, value) for what, value in QUERY_FAULTS if what != "two-dimensional"]
QUERY_FAULTS += [
    ("three-dimensional", [[[1, 2, SECRET]]]),
    ("three-dimensional array", np.ones((1, 1, 3))),
    ("no vectors", np.empty((0, 3))),
    ("the second of two", [[1, 2, 3], [1, 2, NAN]]),
    ("two of different lengths", [[1, 2, 3], [1, SECRET]]),
    ("None among them", [[1, 2, 3], None]),
]


@pytest.mark.parametrize("state", ["empty", "filled"])
@pytest.mark.parametrize("vectors", [pytest.param(value, id=what) for what, value in QUERY_FAULTS])
def test_a_query_vector_that_does_not_fit_is_refused_even_where_there_is_nothing_to_find(
    own_store, everything, state, vectors
):
    if state == "filled":
        everything.insert([good(1, free=[1, 2, 3])])
    with own_store.transaction() as transaction:
        inside = transaction.collection("everything")
        for field in ("v", "free"):  # with and without an index
            with pytest.raises(InvalidData) as caught:
                inside.search(vectors, field=field)
            assert (type(caught.value), caught.value.field) == (InvalidData, field)
            assert repr(field) in str(caught.value)
            assert hides_secrets(str(caught.value))
        assert len(inside.search([1, 2, 3], field="v")[0]) == (state == "filled")


@pytest.mark.parametrize("query", [[0, 0, 0], [1e-30, 0, 0], [1e-50, 0, 0], [3e38, 3e38, 0]], ids=str)
def test_a_query_without_a_direction_is_refused_by_cosine_only(everything, query):
    everything.insert([good(1, free=[1, 2, 3])])
    for field in ("v", "free"):
        with pytest.raises(InvalidData, match=f"'{field}'.*COSINE"):
            everything.search(query, field=field, metric="COSINE")
    for metric in ("L2", "IP"):
        assert everything.search(query, field="free", metric=metric)[0].ids.tolist() == [1]


@pytest.mark.parametrize("vector", [[0, 0, 0], [1e-30, 0, 0], [1e-50, 0, 0], [3e38, 3e38, 0]], ids=str)
def test_a_stored_vector_without_a_direction_is_never_found_by_cosine_and_no_score_is_nan(everything, vector):
    everything.insert([good(1, free=[1, 2, 3]), good(2, free=vector)])
    (hits,) = everything.search([1, 2, 3], field="free", metric="COSINE")
    assert hits.ids.tolist() == [1]
    assert np.isfinite(hits.distances).all()


OTHER_QUERIES = {
    "half beyond float16": ("half", [65520, 0, 1]),
    "brain beyond bfloat16": ("brain", [3.4e38, 0, 1]),
    "small beyond int8": ("small", [128, 0, 1]),
    "small fraction": ("small", [0.5, 0, 1]),
    "bits too short": ("bits", b"\0"),
    "bits of numbers": ("bits", [0] * 16),
    "sparse out of range": ("sparse", {5000: 1.0}),
    "sparse index twice": ("sparse", [[(1, 1.0), (1, 2.0)]]),
    "sparse dense": ("sparse", [1.0, 2.0]),
    "sparse NaN": ("sparse", {1: NAN}),
}


@pytest.mark.parametrize(("field", "query"), OTHER_QUERIES.values(), ids=OTHER_QUERIES)
def test_a_query_of_any_type_obeys_the_rules_of_its_field(everything, field, query):
    with pytest.raises(InvalidData, match=f"'{field}'"):
        everything.search(query, field=field)


SEARCH_FAULTS = [
    *(({"limit": limit}, InvalidArgument, "limit") for limit in (0, -1, 16_385, True, 1.0, "10", None, 2**70)),
    ({"field": None}, InvalidArgument, "vector field"),
    ({"field": "nothing"}, FieldNotFound, "nothing"),
    ({"field": "v\0"}, FieldNotFound, "v"),
    ({"field": "int8"}, InvalidArgument, "int8"),
    ({"metric": "HAMMING"}, InvalidArgument, "'v'.*HAMMING"),
    ({"metric": "cosine"}, InvalidArgument, "'v'.*cosine"),
    ({"metric": 5}, InvalidArgument, "'v'.*5"),
    ({"partition_names": ["novel"]}, PartitionNotFound, "novel"),
    ({"partition_names": []}, InvalidArgument, "partition_names"),
    ({"partition_names": "_default"}, InvalidArgument, "partition_names"),
    ({"output_fields": ["nothing"]}, FieldNotFound, "nothing"),
    ({"output_fields": "v"}, InvalidArgument, "output_fields"),
    ({"output_fields": [5]}, InvalidArgument, "output_fields"),
    ({"where": "id = 1"}, InvalidArgument, "where"),
    ({"where": True}, InvalidArgument, "where"),
]


@pytest.mark.parametrize(
    ("options", "error", "match"), [pytest.param(*case, id=repr(case[0])) for case in SEARCH_FAULTS]
)
def test_a_search_option_out_of_range_is_refused_and_the_transaction_goes_on(
    own_store, everything, options, error, match
):
    everything.insert([good(1)])
    with own_store.transaction() as transaction:
        inside = transaction.collection("everything")
        with pytest.raises(error, match=match) as caught:
            inside.search([1, 2, 3], **{"field": "v", **options})
        assert type(caught.value) is error
        assert inside.search([1, 2, 3], field="v", limit=16_384)[0].ids.tolist() == [1]


# Indexes


@pytest.mark.parametrize(
    ("spec", "arguments"),
    [
        *((Hnsw, {"m": m}) for m in (1, 0, -1, 101, True, 16.0, "16", None)),
        *((Hnsw, {"ef_construction": ef}) for ef in (3, 0, -1, 1001, 31, True, 64.0, None)),
        (Hnsw, {"m": 100, "ef_construction": 199}),
        *((IvfFlat, {"lists": lists}) for lists in (0, -1, 32_769, True, 10.0, "10", None)),
        *((spec, {"metric": metric}) for spec in (Hnsw, IvfFlat) for metric in ("cosine", "", None, 5)),
    ],
    ids=str,
)
def test_an_index_option_out_of_range_is_refused_before_there_is_an_index(spec, arguments):
    with pytest.raises(InvalidArgument, match=list(arguments)[-1]):
        spec(**arguments)


@pytest.mark.parametrize(
    ("kind", "dim", "metric"),
    [
        (DataType.FLOAT_VECTOR, 4001, Metric.L2),
        (DataType.BFLOAT16_VECTOR, 4001, Metric.IP),
        (DataType.FLOAT16_VECTOR, 4001, Metric.COSINE),
        (DataType.INT8_VECTOR, 4001, Metric.L2),
        (DataType.BINARY_VECTOR, 64_008, Metric.HAMMING),
    ],
)
@pytest.mark.parametrize("spec", [Hnsw, IvfFlat])
def test_more_dimensions_than_an_index_takes_are_refused_and_the_transaction_goes_on(scratch, spec, kind, dim, metric):
    wide = scratch.create_collection("wide", (KEY, Field("vec", kind, dim=dim)))
    with pytest.raises(InvalidArgument, match=f"'vec' has {dim:,} dimensions"):
        wide.create_index("vec", spec(metric))
    assert wide.indexes == []


@pytest.mark.parametrize(
    ("kind", "dim", "metric"),
    [
        (DataType.FLOAT_VECTOR, 2000, Metric.L2),
        (DataType.FLOAT16_VECTOR, 4000, Metric.COSINE),
        (DataType.BINARY_VECTOR, 64_000, Metric.HAMMING),
    ],
)
def test_the_most_dimensions_that_an_index_takes_are_indexed(scratch, kind, dim, metric):
    wide = scratch.create_collection("wide", (KEY, Field("vec", kind, dim=dim)))
    vector = b"\x01" * (dim // 8) if kind is DataType.BINARY_VECTOR else np.ones(dim)
    wide.insert([{"id": 1, "vec": vector}])
    wide.create_index("vec", Hnsw(metric))
    assert wide.search(vector, limit=1)[0].ids.tolist() == [1]


INDEX_FAULTS = [
    ("nothing", Hnsw(), FieldNotFound, "nothing"),
    ("v\0", Hnsw(), FieldNotFound, "v"),
    ("id", Hnsw(), InvalidArgument, "'id' is INT64"),
    ("v", Btree(), InvalidArgument, "'v' is FLOAT_VECTOR"),
    ("v", Gin(), InvalidArgument, "'v' is FLOAT_VECTOR"),
    ("doc", Btree(), InvalidArgument, "'doc'"),
    ("int8", Gin(), InvalidArgument, "'int8' is INT8"),
    ("v", Hnsw(Metric.HAMMING), InvalidArgument, "'v'.*HAMMING"),
    ("bits", Hnsw(Metric.COSINE), InvalidArgument, "'bits'.*COSINE"),
    ("bits", IvfFlat(Metric.JACCARD), InvalidArgument, "'bits'"),
    ("sparse", IvfFlat(Metric.L2), InvalidArgument, "'sparse'"),
    ("v", "HNSW", InvalidArgument, "HNSW"),
    ("v", None, InvalidArgument, "None"),
]


@pytest.mark.parametrize("fault", [pytest.param(case, id=f"{case[0]!r}-{case[1]}") for case in INDEX_FAULTS])
def test_an_index_that_its_field_cannot_have_is_refused(own_store, everything, fault):
    field, spec, error, match = fault
    before = everything.describe()
    with own_store.transaction() as transaction:
        inside = transaction.collection("everything")
        with pytest.raises(error, match=match) as caught:
            inside.create_index(field, spec)
        assert type(caught.value) is error
        with pytest.raises(IndexNotFound, match="nothing"):
            inside.drop_index("nothing")
        inside.insert([good(7)])
    assert everything.describe() == before
    assert everything.count() == 1


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("vector", [[0, 0, 0], [1e-30, 0, 0], [1e-50, 0, 0], [3e38, 3e38, 0]], ids=str)
def test_rows_without_a_direction_stop_an_index_by_cosine_and_no_other(own_store, vector, online):
    directions = own_store.create_collection("directions", (KEY, Field("vec", DataType.FLOAT_VECTOR, dim=3)))
    try:
        directions.insert([{"id": 1, "vec": [1, 2, 3]}, {"id": 42, "vec": vector}])
        for spec in (Hnsw(Metric.COSINE), IvfFlat(Metric.COSINE, lists=1)):
            with pytest.raises(InvalidData, match=r"'vec'.*COSINE.*id: 42") as caught:
                directions.create_index("vec", spec, online=online)
            assert caught.value.field == "vec"
        assert directions.indexes == []
        directions.create_index("vec", Hnsw(Metric.L2), online=online)
        directions.delete(ids=42)
        directions.create_index("vec", Hnsw(Metric.COSINE), online=online)
    finally:
        directions.drop()


@pytest.mark.parametrize("online", [False, True])
def test_a_sparse_row_of_1001_elements_stops_an_index_and_leaves_nothing_of_it(own_store, online):
    sparse = own_store.create_collection("sparse_rows", (KEY, Field("vec", DataType.SPARSE_FLOAT_VECTOR, dim=5000)))
    try:
        full = dict.fromkeys(range(1001), SECRET)
        sparse.insert([{"id": 1, "vec": {1: 1.0}}, {"id": 42, "vec": full}])
        with pytest.raises(InvalidData, match="'vec'") as caught:
            sparse.create_index("vec", Hnsw(Metric.IP), online=online)
        assert caught.value.field == "vec"
        assert hides_secrets(str(caught.value))
        assert sparse.indexes == []
        assert own_store.doctor() == ()
        sparse.delete(ids=42)
        sparse.create_index("vec", Hnsw(Metric.IP), online=online)
        with pytest.raises(InvalidData, match=r"'vec', row 0.*1,001"):
            sparse.insert([{"id": 42, "vec": full}])
        sparse.insert([{"id": 42, "vec": dict.fromkeys(range(1000), 1.0)}])
        # What is searched for may have more elements than what is indexed.
        assert sparse.search(full, limit=2)[0].ids.tolist() == [42, 1]
    finally:
        sparse.drop()


def test_a_sparse_vector_may_come_in_any_order_and_with_zeros(everything):
    everything.insert([good(1, sparse={7: 1.0, 0: 2.0, 3: 0.0}), good(2, sparse=[(9, 1.5), (2, -1.5)])])
    assert [row["sparse"] for row in everything.get([1, 2])] == [{0: 2.0, 7: 1.0}, {2: -1.5, 9: 1.5}]


def test_a_half_vector_that_rounds_to_zero_is_kept_where_no_cosine_is_asked_of_it(everything):
    everything.insert([good(1, half=[1e-8, 0, 0]), good(2, half=[65519, 0, 0])])
    assert [row["half"].tolist() for row in everything.get([1, 2])] == [[0, 0, 0], [65504, 0, 0]]


# What fits its field and not its index

LONG = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(3000))  # 9,000 bytes that do not compress


def test_a_string_too_long_for_its_index_is_the_datas_fault(own_store, scratch):
    texts = scratch.create_collection("texts", (KEY, Field("text", DataType.TEXT)))
    texts.create_index("text", Btree())
    with pytest.raises(InvalidData, match="'text'"):
        texts.insert([{"id": 1, "text": LONG}])
    with pytest.raises(InvalidData, match="'text'"):
        texts.upsert([{"id": 1, "text": LONG}])
    texts.insert([{"id": 1, "text": "short"}])
    assert texts.count() == 1


def test_a_key_too_long_for_its_index_is_the_datas_fault(scratch):
    key = Field("name", DataType.VARCHAR, max_length=65_535, primary_key=True)
    named = scratch.create_collection("named", (key, Field("n", DataType.INT8)))
    with pytest.raises(InvalidData, match="'name'"):
        named.insert([{"name": LONG, "n": 1}])
    named.insert([{"name": "short", "n": 1}])
    assert named.count() == 1
    assert named.get([LONG]) == []


# Declarations

WRONG_FIELDS = {
    "no dim": {"data_type": DataType.FLOAT_VECTOR},
    "dim 0": {"data_type": DataType.FLOAT_VECTOR, "dim": 0},
    "dim -1": {"data_type": DataType.FLOAT_VECTOR, "dim": -1},
    "dim 16,001": {"data_type": DataType.FLOAT_VECTOR, "dim": 16_001},
    "half of 16,001": {"data_type": DataType.FLOAT16_VECTOR, "dim": 16_001},
    "bits of 262,152": {"data_type": DataType.BINARY_VECTOR, "dim": 262_152},
    "bits of 12": {"data_type": DataType.BINARY_VECTOR, "dim": 12},
    "sparse of 1e9 + 1": {"data_type": DataType.SPARSE_FLOAT_VECTOR, "dim": 10**9 + 1},
    "dim True": {"data_type": DataType.FLOAT_VECTOR, "dim": True},
    "dim of an int": {"data_type": DataType.INT8, "dim": 3},
    "no max_length": {"data_type": DataType.VARCHAR},
    "max_length 65,536": {"data_type": DataType.VARCHAR, "max_length": 65_536},
    "no element_type": {"data_type": DataType.ARRAY, "max_capacity": 3},
    "array of vectors": {"data_type": DataType.ARRAY, "max_capacity": 3, "element_type": DataType.FLOAT_VECTOR},
    "array of 4,097": {"data_type": DataType.ARRAY, "max_capacity": 4097, "element_type": DataType.INT8},
    "no type": {"data_type": "TENSOR"},
    "key that may be NULL": {"data_type": DataType.INT64, "primary_key": True, "nullable": True},
    "key of a float": {"data_type": DataType.FLOAT, "primary_key": True},
    "default of a vector": {"data_type": DataType.FLOAT_VECTOR, "dim": 1, "default_value": [1]},
}


@pytest.mark.parametrize("attributes", WRONG_FIELDS.values(), ids=WRONG_FIELDS)
def test_a_field_that_cannot_be_is_refused_where_it_is_declared(attributes):
    with pytest.raises(InvalidSchema, match="wrong_field"):
        Field("wrong_field", **attributes)


WRONG_DEFAULTS = {
    "300 for INT8": (DataType.INT8, 300),
    "str for INT64": (DataType.INT64, "1"),
    "NaN": (DataType.DOUBLE, NAN),
    "1e39 for FLOAT": (DataType.FLOAT, 1e39),
    "NUL": (DataType.TEXT, "a\0"),
    "lone surrogate": (DataType.TEXT, "\ud800"),
    "no time zone": (DataType.TIMESTAMPTZ, datetime(2020, 1, 1)),  # noqa: DTZ001
    "object": (DataType.TEXT, object()),
}


@pytest.mark.parametrize(("kind", "value"), WRONG_DEFAULTS.values(), ids=WRONG_DEFAULTS)
def test_a_default_that_its_field_does_not_take_is_refused_and_nothing_created(scratch, kind, value):
    with pytest.raises(InvalidSchema, match="'wrong'"):
        scratch.create_collection("fresh", (KEY, Field("wrong", kind, default_value=value)))
    assert not scratch.has_collection("fresh")


def test_a_collection_must_have_one_key_and_fields_of_different_names(scratch):
    for fields in ((), (Field("n", DataType.INT8),), (KEY, KEY), (KEY, Field("k", DataType.INT64, primary_key=True))):
        with pytest.raises(InvalidSchema):
            scratch.create_collection("fresh", fields)
    for options in ({"num_partitions": 0}, {"num_partitions": 1025}, {"description": "a\0"}, {"properties": {"a": 5}}):
        with pytest.raises(InvalidSchema):
            scratch.create_collection("fresh", (KEY,), **options)
    assert not scratch.has_collection("fresh")


# Secrets


def test_no_error_of_the_server_shows_a_vector_or_a_password_in_any_line_of_its_traceback(own_url, everything):
    everything.insert([good(1)])
    vector = [SECRET, 1.0, 2.0, 3.0]  # too long for the field, and only the server sees it
    with vecstore.connect(own_url.set(password="swordfish")) as store:  # noqa: S106 - no real one
        assert "swordfish" not in repr(store)
        collection = store.collection("everything")
        far = collection.c.v.l2_distance(vector) < 1
        for call in (
            lambda: collection.count(where=far),
            lambda: collection.delete(where=far),
            lambda: collection.search([1, 2, 3], field="v", where=far),
        ):
            with pytest.raises(DatabaseError) as caught:
                call()
            assert caught.value.sqlstate == "22000"
            assert hides_secrets(str(caught.value))
            assert hides_secrets(said(caught.value))
            assert "swordfish" not in said(caught.value)
        with store.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE everything.entities ADD CONSTRAINT whole CHECK (int8 <> 5)")
        with pytest.raises(DatabaseError) as caught:
            collection.insert([good(2, int8=5, v=[SECRET, 1, 2])])
        assert hides_secrets(str(caught.value))
        with store.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE everything.entities DROP CONSTRAINT whole")
    assert everything.count() == 1


def test_a_server_that_cannot_be_reached_is_reported_without_the_password(tmp_path):
    url = make_url("postgresql://me:swordfish@:1/d").update_query_dict({"host": str(tmp_path)})
    with pytest.raises(ConnectionLost) as caught:
        vecstore.connect(url)
    assert "swordfish" not in said(caught.value)


@pytest.mark.parametrize("rest", ["host:port/d", "host:port:5/d", "[::1/d", "host:5432:5432", "@@:/"])
def test_a_url_that_cannot_be_read_is_an_argument_error_without_the_password(rest):
    with pytest.raises((InvalidArgument, ConnectionLost)) as refused:
        vecstore.connect(f"postgresql://me:swordfish@{rest}")
    assert "swordfish" not in str(refused.value)
