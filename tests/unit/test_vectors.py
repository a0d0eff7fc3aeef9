from __future__ import annotations

import struct
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pgvector import Bit, HalfVector, SparseVector, Vector

from vecstore.errors import InvalidArgument, InvalidData
from vecstore.schema import DataType, Field, Metric
from vecstore.vectors import DenseColumn, SparseColumn, as_matrix, as_query, check_norms, decoder

T = DataType


def vector(kind=T.FLOAT_VECTOR, dim=3, *, nullable=False):
    return Field("embedding", kind, dim=dim, nullable=nullable)


DENSE = [T.FLOAT_VECTOR, T.FLOAT16_VECTOR, T.BFLOAT16_VECTOR, T.INT8_VECTOR]
REAL = [T.FLOAT_VECTOR, T.FLOAT16_VECTOR, T.BFLOAT16_VECTOR]
DTYPES = {
    T.FLOAT_VECTOR: np.float32,
    T.FLOAT16_VECTOR: np.float16,
    T.BFLOAT16_VECTOR: np.float32,
    T.INT8_VECTOR: np.int8,
}


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize(
    "values",
    [
        [[1, 2, 3], [4, 5, 6]],
        ((1.0, 2.0, 3.0), [4, 5.0, 6]),
        [np.array([1, 2, 3], np.int16), [4, 5, 6]],
        [np.array([1, 2, 3], np.float64), np.array([4, 5, 6], np.float32)],
        [Vector([1, 2, 3]), HalfVector([4, 5, 6])],
        [[np.float32(1), np.int8(2), 3], [4, 5, 6]],
        np.array([[1, 2, 3], [4, 5, 6]]),
        np.array([[1, 2, 3], [4, 5, 6]], np.float16),
        np.array([[1, 4], [2, 5], [3, 6]], np.float32).T,
        np.array([[1, 2, 3], [4, 5, 6]], object),
        np.array([[1, 2, 3], [4, 5, 6]], ">f8"),
    ],
)
def test_every_shape_of_numbers_becomes_one_array_of_the_type(kind, values):
    column = as_matrix(vector(kind), values)
    assert isinstance(column, DenseColumn)
    assert column.values.dtype == DTYPES[kind]
    assert column.values.flags.c_contiguous
    assert column.values.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert column.nulls is None
    assert len(column) == 2


def test_a_contiguous_float32_array_is_not_copied():
    values = np.ones((5, 3), np.float32)
    assert np.shares_memory(as_matrix(vector(), values).values, values)


@pytest.mark.parametrize("kind", [*DENSE, T.BINARY_VECTOR, T.SPARSE_FLOAT_VECTOR])
def test_no_vectors_are_a_column_of_none(kind):
    column = as_matrix(vector(kind, 8), [])
    assert len(column) == 0
    if isinstance(column, DenseColumn):
        assert column.values.shape == (0, 1 if kind is T.BINARY_VECTOR else 8)


@pytest.mark.parametrize("kind", DENSE)
def test_none_is_a_null_of_a_nullable_field(kind):
    column = as_matrix(vector(kind, nullable=True), [None, [1, 2, 3], None])
    assert column.nulls.tolist() == [True, False, True]
    assert column.values.tolist() == [[0, 0, 0], [1, 2, 3], [0, 0, 0]]
    assert column.take(np.array([1, 0])).nulls.tolist() == [False, True]


def test_all_vectors_may_be_none():
    assert as_matrix(vector(nullable=True), [None, None]).values.shape == (2, 3)
    assert as_matrix(vector(T.SPARSE_FLOAT_VECTOR, nullable=True), [None]).nulls.tolist() == [True]


FAULTS = [
    ([[1, 2, 3], [1, 2]], 1, "expected 3 dimensions, got 2"),
    ([[1, 2, 3], [1, 2, 3, 4]], 1, "expected 3 dimensions, got 4"),
    ([[]], 0, "expected 3 dimensions, got 0"),
    (np.ones((2, 4)), 0, "expected 3 dimensions, got 4"),
    (np.ones(3), 0, r"expected an array of shape \(n, 3\), got shape \(3,\)"),
    (np.ones((1, 1, 3)), 0, "got shape"),
    (np.array(1.0), 0, "got shape"),
    ([np.ones((1, 3))], 0, r"got an array of shape \(1, 3\)"),
    ([[1, 2, 3], "abc"], 1, "expected a vector of numbers, got a str"),
    ([[1, 2, 3], 5], 1, "expected a vector of numbers, got a int"),
    ([[1, 2, 3], {}], 1, "expected a vector of numbers, got a dict"),
    ([[1, 2, "3"]], 0, "element 2: expected a number, got a str"),
    ([[1, None, 3]], 0, "element 1: expected a number, got None"),
    ([[1, True, 3]], 0, "element 1: expected a number, got a bool"),
    ([[1, np.True_, 3]], 0, "element 1: expected a number, got a bool"),
    ([[1, [2], 3]], 0, "element 1: expected a number, got a list"),
    ([[1, 1j, 3]], 0, "element 1: expected a number, got a complex"),
    ([np.array([True, False, True])], 0, "expected numbers, got an array of bool"),
    (np.array([["1", "2", "3"]]), 0, "expected numbers, got an array of str"),
    ([[1, 2, 3], None], 1, "expected a vector, got None"),
    ([[10**400, 0, 0]], 0, "out of range"),
]


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize(("values", "row", "message"), FAULTS)
def test_what_is_no_vector_of_the_field_is_refused_with_its_place(kind, values, row, message):
    with pytest.raises(InvalidData, match=message) as caught:
        as_matrix(vector(kind), values)
    assert caught.value.field == "embedding"
    assert caught.value.row == row
    assert f"field 'embedding', row {row}: " in str(caught.value)


@pytest.mark.parametrize("values", ["abc", b"abcd", 5, None, {1: 2}])
def test_what_is_no_sequence_is_refused(values):
    with pytest.raises(InvalidData, match="expected vectors"):
        as_matrix(vector(), values)


@pytest.mark.parametrize("kind", REAL)
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.nan, "element 1 is NaN"),
        (np.inf, "element 1 is infinite"),
        (-np.inf, "infinite"),
        (1e39, "out of the range"),
    ],
)
@pytest.mark.parametrize("shape", [list, np.array, lambda rows: [np.array(row) for row in rows]])
def test_numbers_that_are_not_finite_once_rounded_are_refused(kind, bad, message, shape):
    with pytest.raises(InvalidData, match=message) as caught:
        as_matrix(vector(kind), shape([[1.0, 2.0, 3.0], [1.0, bad, 3.0]]))
    assert caught.value.row == 1
    assert "3.0" not in str(caught.value)


def test_the_row_of_a_fault_counts_the_rows_that_are_none():
    with pytest.raises(InvalidData, match="row 2: expected 3 dimensions, got 1"):
        as_matrix(vector(nullable=True), [None, [1, 2, 3], [1]])


@pytest.mark.parametrize(("value", "rounded"), [(65504, 65504), (65519.9, 65504), (1e-8, 0), (6e-8, 2.0**-24)])
def test_float16_rounds_to_nearest(value, rounded):
    assert as_matrix(vector(T.FLOAT16_VECTOR, 1), [[value]]).values[0, 0] == rounded


@pytest.mark.parametrize("value", [65520, -65520.0, 70000, 1e39])
def test_float16_refuses_what_rounds_beyond_65504(value):
    with pytest.raises(InvalidData, match="out of the range of float16"):
        as_matrix(vector(T.FLOAT16_VECTOR, 1), [[value]])


def nearest_bfloat16(value: float) -> float:
    """By trial: the bfloat16 below, the one above, the nearer one, or the even one of the two."""
    bits = struct.unpack(">I", struct.pack(">f", value))[0]
    candidates = [bits & 0xFFFF0000, (bits & 0xFFFF0000) + 0x10000]
    low, high = (struct.unpack(">f", struct.pack(">I", candidate))[0] for candidate in candidates)
    if abs(value - low) != abs(high - value):
        return low if abs(value - low) < abs(high - value) else high
    return high if candidates[0] >> 16 & 1 else low


@given(st.floats(width=32, min_value=-(2.0**127), max_value=2.0**127))
def test_bfloat16_rounds_to_nearest_and_ties_to_even(value):
    assert as_matrix(vector(T.BFLOAT16_VECTOR, 1), [[value]]).values[0, 0] == nearest_bfloat16(value)


@pytest.mark.parametrize(
    ("value", "rounded"), [(1.00390625, 1.0), (1.01171875, 1.015625), (-1.00390625, -1.0), (0.0, 0)]
)
def test_bfloat16_ties(value, rounded):
    assert as_matrix(vector(T.BFLOAT16_VECTOR, 1), [[value]]).values[0, 0] == rounded


def test_bfloat16_refuses_what_rounds_to_infinity():
    with pytest.raises(InvalidData, match="out of the range of bfloat16"):
        as_matrix(vector(T.BFLOAT16_VECTOR, 1), [[3.4028234e38]])


@pytest.mark.parametrize("bad", [128, -129, 1.5, np.nan, np.inf, 2**63])
@pytest.mark.parametrize("shape", [list, np.array])
def test_int8_takes_integers_of_a_byte_only(bad, shape):
    with pytest.raises(InvalidData, match="element 0: expected an integer from -128 to 127") as caught:
        as_matrix(vector(T.INT8_VECTOR, 2), shape([[127.0, -128.0], [bad, 0]]))
    assert caught.value.row == 1


BITS = [True, False, False, False, False, False, False, True, *[True] * 8]


@pytest.mark.parametrize(
    "values",
    [
        [b"\x81\xff"],
        [bytearray(b"\x81\xff")],
        [memoryview(b"\x81\xff")],
        [BITS],
        [np.array(BITS)],
        [np.array([0x81, 0xFF], np.uint8)],
        [Bit(BITS)],
        np.array([BITS]),
        np.array([[0x81, 0xFF]], np.uint8),
    ],
)
def test_binary_vectors_are_packed_with_the_first_bit_highest(values):
    column = as_matrix(vector(T.BINARY_VECTOR, 16), values)
    assert column.values.dtype == np.uint8
    assert column.values.tobytes() == b"\x81\xff"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([b"\x81"], r"expected 16 dimensions \(2 bytes\), got 8"),
        ([Bit("1")], "expected 16 dimensions"),
        ([[1, 0]], "expected bytes or an array of uint8 or bool, got a list"),
        (["10"], "got a str"),
        ([np.ones(16, np.int64)], "expected 2 bytes or 16 bools, got an array of shape"),
        ([np.ones(16, np.uint8)], "expected 2 bytes or 16 bools"),
        ([[True] * 8], "expected 2 bytes or 16 bools"),
        (np.ones((1, 3), np.uint8), "expected 2 bytes or 16 bools"),
        ([None], "expected a vector, got None"),
    ],
)
def test_what_is_no_binary_vector_is_refused(values, message):
    with pytest.raises(InvalidData, match=message):
        as_matrix(vector(T.BINARY_VECTOR, 16), values)


def scipy_row(columns, data, shape=(1, 100)):
    coo = SimpleNamespace(shape=shape, coords=(np.zeros(len(columns)), np.array(columns)), data=np.array(data))
    return SimpleNamespace(shape=shape, tocoo=lambda: coo)


@pytest.mark.parametrize(
    "value",
    [
        {7: 0.5, 3: 1.0},
        {np.int64(7): np.float32(0.5), 3: 1},
        [(7, 0.5), (3, 1.0)],
        ([3, 1], (7, 0.5)),
        {7: 0.5, 3: 1.0, 5: 0.0},
        {7: 0.5, 3: 1.0, 5: 1e-60},
        SparseVector({7: 0.5, 3: 1.0}, 100),
        scipy_row([7, 3], [0.5, 1.0]),
    ],
)
def test_sparse_vectors_are_sorted_and_without_zeros(value):
    column = as_matrix(vector(T.SPARSE_FLOAT_VECTOR, 100), [value])
    assert isinstance(column, SparseColumn)
    ((places, values),) = column.rows
    assert (places.dtype, values.dtype) == (np.int32, np.float32)
    assert places.tolist() == [3, 7]
    assert values.tolist() == [1.0, 0.5]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([(3, 1.0), (3, 2.0)], "an index stands there twice"),
        ({100: 1.0}, "an index is out of range: expected 0 to 99"),
        ({-1: 1.0}, "an index is out of range"),
        ({2**70: 1.0}, "an index is out of range"),
        ({np.uint64(2**64 - 1): 1.0}, "an index is out of range"),
        ({"3": 1.0}, "expected int as the index of an element, got str"),
        ({3.0: 1.0}, "expected int as the index of an element, got float"),
        ({True: 1.0}, "expected int as the index of an element, got bool"),
        ({3: np.nan}, "is NaN"),
        ({3: np.inf}, "is infinite"),
        ({3: 1e39}, "out of the range of float32"),
        ({3: "1"}, "expected a number, got a str"),
        ({3: None}, "expected a number, got None"),
        ([(3, 1.0, 2.0)], "expected {index: value} or pairs"),
        ([1.0, 2.0], "expected {index: value} or pairs"),
        ("abc", "got a str"),
        (scipy_row([3], [1.0], shape=(2, 100)), "expected one sparse row"),
    ],
)
def test_what_is_no_sparse_vector_is_refused(value, message):
    with pytest.raises(InvalidData, match=message) as caught:
        as_matrix(vector(T.SPARSE_FLOAT_VECTOR, 100), [{1: 1.0}, value])
    assert caught.value.row == 1


def test_sparse_vectors_have_at_most_so_many_elements():
    field = Field("embedding", T.SPARSE_FLOAT_VECTOR)
    as_matrix(field, [dict.fromkeys(range(16_000), 1.0)])
    as_matrix(field, [dict.fromkeys(range(1_000), 1.0)], max_nonzero=1_000)
    with pytest.raises(InvalidData, match="16,001 non-zero elements, a sparse vector has at most 16,000"):
        as_matrix(field, [dict.fromkeys(range(16_001), 1.0)])
    with pytest.raises(InvalidData, match="1,001 non-zero elements, an HNSW index takes at most 1,000"):
        as_matrix(field, [dict.fromkeys(range(1_001), 1.0)], max_nonzero=1_000)


@given(st.dictionaries(st.integers(0, 999_999_999), st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_sparse_indices_ascend_whatever_the_order_given(elements):
    ((places, values),) = as_matrix(Field("embedding", T.SPARSE_FLOAT_VECTOR), [elements]).rows
    assert all(low < high for low, high in pairwise(places.tolist()))
    assert dict(zip(places.tolist(), values.tolist(), strict=True)) == {i: v for i, v in elements.items() if v}


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (T.FLOAT_VECTOR, [0, 0, 0], "the vector is zero as FLOAT_VECTOR, and has no COSINE"),
        (T.FLOAT_VECTOR, [1e-50, 0, 0], "the vector is zero"),
        (T.FLOAT_VECTOR, [1e-30, 1e-30, 0], "norm is too small"),
        (T.FLOAT_VECTOR, [3e38, 3e38, 0], "norm is too large"),
        (T.FLOAT16_VECTOR, [1e-8, 0, 0], "the vector is zero as FLOAT16_VECTOR"),
        (T.BFLOAT16_VECTOR, [1e-30, 0, 0], "norm is too small"),
        (T.INT8_VECTOR, [0, 0, 0], "the vector is zero"),
        (T.SPARSE_FLOAT_VECTOR, {}, "the vector is zero"),
        (T.SPARSE_FLOAT_VECTOR, {1: 3e38}, "norm is too large"),
    ],
)
def test_vectors_without_a_cosine_are_refused_for_it_and_for_nothing_else(kind, value, message):
    column = as_matrix(vector(kind), [value])
    with pytest.raises(InvalidData, match=message) as caught:
        check_norms(column)
    assert (caught.value.field, caught.value.row) == ("embedding", 0)
    with pytest.raises(InvalidData, match=r"query vector 0: .*" + message):
        as_query(vector(kind), Metric.COSINE, value)
    assert len(as_query(vector(kind), Metric.IP, value)) == 1


def test_norms_at_the_limits_are_held():
    check_norms(as_matrix(vector(dim=1), [[1.0842022e-19], [1.8446743e19], [1.0]]))


def test_nulls_need_no_norm():
    check_norms(as_matrix(vector(nullable=True), [None, [1, 0, 0]]))


def many(kind):
    return {
        T.BINARY_VECTOR: [b"\x81\xff"] * 2,
        T.SPARSE_FLOAT_VECTOR: [{1: 1.0}, {2: 1.0}],
    }.get(kind, [[1.0] * 16, [2.0] * 16])


@pytest.mark.parametrize("kind", [*DENSE, T.BINARY_VECTOR, T.SPARSE_FLOAT_VECTOR])
def test_a_query_is_one_vector_or_several(kind):
    field, metric = vector(kind, 16), Metric.HAMMING if kind is T.BINARY_VECTOR else Metric.IP
    assert len(as_query(field, metric, many(kind))) == 2
    assert len(as_query(field, metric, many(kind)[0])) == 1


@pytest.mark.parametrize(
    ("kind", "value", "count"),
    [
        (T.FLOAT_VECTOR, np.ones(16), 1),
        (T.FLOAT_VECTOR, np.ones((3, 16)), 3),
        (T.FLOAT_VECTOR, [np.ones(16), np.ones(16)], 2),
        (T.FLOAT_VECTOR, Vector([1.0] * 16), 1),
        (T.FLOAT_VECTOR, (1,) * 16, 1),
        (T.BINARY_VECTOR, Bit("1" * 16), 1),
        (T.BINARY_VECTOR, [True] * 16, 1),
        (T.BINARY_VECTOR, np.ones(2, np.uint8), 1),
        (T.SPARSE_FLOAT_VECTOR, SparseVector({1: 1.0}, 16), 1),
        (T.SPARSE_FLOAT_VECTOR, [(1, 1.0), (2, 1.0)], 1),
        (T.SPARSE_FLOAT_VECTOR, [[(1, 1.0), (2, 1.0)]], 1),
        (T.SPARSE_FLOAT_VECTOR, scipy_row([1], [1.0]), 1),
    ],
)
def test_queries_come_in_many_shapes(kind, value, count):
    metric = Metric.HAMMING if kind is T.BINARY_VECTOR else Metric.IP
    assert len(as_query(vector(kind, 16), metric, value)) == count


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "no query vector given"),
        ([1.0, 2.0], "query vector 0: expected 3 dimensions, got 2"),
        (None, "expected vectors, got None"),
        ("abc", "expected vectors, got a str"),
        ([None], "query vector 0: expected a vector, got None"),
        ([[1, 2, 3], [1, 2]], "query vector 1: expected 3 dimensions, got 2"),
        ([1, np.nan, 2], "query vector 0: element 1 is NaN"),
        (np.ones((1, 1, 3)), "got shape"),
    ],
)
def test_bad_queries_are_refused(value, message):
    with pytest.raises(InvalidData, match=message):
        as_query(vector(nullable=True), Metric.L2, value)


def test_a_query_has_a_metric_of_its_field():
    with pytest.raises(InvalidArgument, match="metric HAMMING is not one of COSINE, L2, IP"):
        as_query(vector(), Metric.HAMMING, [1, 2, 3])


@pytest.mark.parametrize(
    ("kind", "wire", "value"),
    [
        (T.FLOAT_VECTOR, Vector([1.5, -2, 3]).to_binary(), np.array([1.5, -2, 3], np.float32)),
        (T.BFLOAT16_VECTOR, Vector([1.5, -2, 3]).to_binary(), np.array([1.5, -2, 3], np.float32)),
        (T.FLOAT16_VECTOR, HalfVector([1.5, -2, 3]).to_binary(), np.array([1.5, -2, 3], np.float16)),
        (T.INT8_VECTOR, HalfVector([-128, 0, 127]).to_binary(), np.array([-128, 0, 127], np.int8)),
    ],
)
@pytest.mark.parametrize("buffer", [bytes, memoryview])
def test_dense_vectors_are_decoded_into_arrays_of_the_callers_own(kind, wire, value, buffer):
    decoded = decoder(vector(kind))(buffer(wire))
    assert decoded.dtype == value.dtype
    assert decoded.dtype.isnative
    assert decoded.flags.writeable
    assert decoded.flags.owndata
    assert decoded.tolist() == value.tolist()


def test_binary_and_sparse_vectors_are_decoded():
    assert decoder(vector(T.BINARY_VECTOR, 16))(Bit(BITS).to_binary()) == b"\x81\xff"
    wire = SparseVector({3: 1.5, 7: -2.0}, 100).to_binary()
    assert decoder(vector(T.SPARSE_FLOAT_VECTOR, 100))(memoryview(wire)) == {3: 1.5, 7: -2.0}


@pytest.mark.parametrize("row", [0, 255, 256, 999])
def test_a_fault_among_many_rows_is_told_by_its_row(row):
    values = np.ones((1_000, 256), np.float32)
    values[row, 7] = np.nan
    with pytest.raises(InvalidData, match=f"row {row}: element 7 is NaN"):
        as_matrix(vector(dim=256), values)
