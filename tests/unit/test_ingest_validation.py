# ruff: noqa: PD011  # columns have values; nothing here is of pandas
from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from vecstore.errors import DuplicateKey, InvalidData, InvalidSchema
from vecstore.ingest import as_keys, prepare, with_plain_default
from vecstore.schema import CollectionSchema, DataType, Field

T = DataType
KEY = Field("id", T.INT64, primary_key=True)
AUTO = Field("id", T.INT64, primary_key=True, auto_id=True)
TEXT_KEY = Field("id", T.VARCHAR, max_length=10, primary_key=True)


def column(field, values, **options):
    schema = CollectionSchema((KEY, field))
    return prepare(schema, {"id": range(len(values)), field.name: values}, **options).columns[field.name]


def scalar(kind, **options):
    more = {T.VARCHAR: {"max_length": 5}}.get(kind, {})
    return Field("x", kind, **more, **options)


class Small(IntEnum):
    ONE = 1


UTC_2000 = datetime(2000, 1, 1, tzinfo=UTC)
INTS = [T.INT8, T.INT16, T.INT32, T.INT64]
BITS = dict(zip(INTS, (8, 16, 32, 64), strict=True))

TAKEN = [
    (T.BOOL, [True, np.False_], [True, False]),
    (T.BOOL, np.array([True, False]), [True, False]),
    *((kind, [1, np.int8(-2), np.uint64(3), Small.ONE], [1, -2, 3, 1]) for kind in INTS),
    *((kind, np.array([1, 2], np.uint8), [1, 2]) for kind in INTS),
    *(
        (kind, [2 ** (bits - 1) - 1, -(2 ** (bits - 1))], [2 ** (bits - 1) - 1, -(2 ** (bits - 1))])
        for kind, bits in BITS.items()
    ),
    (T.FLOAT, [1, 0.1, np.float16(0.5), np.int8(3)], [1, np.float32(0.1), 0.5, 3]),
    (T.FLOAT, np.array([1, 2]), [1, 2]),
    (T.FLOAT, [3.4028234e38], [np.float32(3.4028234e38)]),
    (T.DOUBLE, [1e308, 5e-324, 2**70], [1e308, 5e-324, 2.0**70]),
    (T.VARCHAR, ["", "é", "abcde"], ["", "é", "abcde"]),
    (T.TEXT, ["x" * 100_000], ["x" * 100_000]),
    (T.TEXT, np.array(["a", "b"]), ["a", "b"]),
    (T.JSON, [{"a": 1}, 5], [{"a": 1}, 5]),
    (T.TIMESTAMPTZ, [UTC_2000, UTC_2000 + timedelta(microseconds=1)], [0, 1]),
    (T.TIMESTAMPTZ, ["2000-01-01T00:00:00Z", "2000-01-01 01:00:00.000002+01:00"], [0, 2]),
    (T.TIMESTAMPTZ, ["1999-12-31T23:59:59.9999990-00:00"], [-1]),
    (T.TIMESTAMPTZ, [np.datetime64("2000-01-01T00:00:01"), np.datetime64("2000-01-02")], [10**6, 86400 * 10**6]),
    (T.TIMESTAMPTZ, np.array(["2000-01-01", "1999-12-31"], "M8[D]"), [0, -86400 * 10**6]),
    (T.TIMESTAMPTZ, np.array(["2000-01-01T00:00:00.000001"], "M8[ns]"), [1]),
    (T.TIMESTAMPTZ, np.array([2 * 10**6, -(10**6)], "M8[ps]"), [2 - 946684800 * 10**6, -1 - 946684800 * 10**6]),
    (T.TIMESTAMPTZ, np.array([3 * 10**12], "M8[as]"), [3 - 946684800 * 10**6]),
    (T.TIMESTAMPTZ, [pd.Timestamp("2000-01-01T01:00:00+01:00")], [0]),
    (T.TIMESTAMPTZ, pd.Series(pd.to_datetime(["2000-01-01T00:00:01Z"])), [10**6]),
    (T.TIMESTAMPTZ, pa.array([UTC_2000]), [0]),
    (T.TIMESTAMPTZ, [datetime(2000, 1, 1, 5, tzinfo=timezone(timedelta(hours=5)))], [0]),
]


@pytest.mark.parametrize(("kind", "values", "stored"), TAKEN, ids=range(len(TAKEN)))
def test_values_are_stored_in_the_form_of_their_type(kind, values, stored):
    assert list(column(scalar(kind), values).values) == stored


LAST_ROW_BAD = [
    *((T.BOOL, bad, "BOOL takes bool, got") for bad in (1, "true", 0.0)),
    *(
        (kind, bad, f"{kind} takes int from")
        for kind in INTS
        for bad in (True, np.True_, 1.0, "1", 2**63, -(2**63) - 1)
    ),
    *(
        (kind, 2 ** (bits - 1), f"from {-(2 ** (bits - 1))} to {2 ** (bits - 1) - 1}, got")
        for kind, bits in BITS.items()
    ),
    *(
        (kind, bad, "got")
        for kind in INTS
        for bad in (np.uint64(2**63), np.timedelta64(1, "s"), Decimal(1), [1], 10**5000)
    ),
    *(
        (kind, bad, f"{kind} takes finite")
        for kind in (T.FLOAT, T.DOUBLE)
        for bad in (np.nan, np.inf, -np.inf, 10**400, True, "1")
    ),
    (T.FLOAT, 1e39, "FLOAT takes finite numbers of float32, got 1e\\+39"),
    (T.VARCHAR, b"abc", "expected a str, got b'abc'"),
    (T.VARCHAR, 5, "expected a str, got 5"),
    (T.VARCHAR, "abcdef", "expected at most 5 bytes of UTF-8, got 6"),
    (T.VARCHAR, "ééé", "expected at most 5 bytes of UTF-8, got 6"),
    (T.VARCHAR, "a\0b", "cannot store a NUL character"),
    (T.TEXT, "a\ud800", "a lone surrogate is no character"),
    (T.JSON, {"a": [float("nan")]}, r"\$\.a\[0\] is nan"),
    (T.TIMESTAMPTZ, "2024-01-01T00:00:00", "expected a time with a time zone"),
    (T.TIMESTAMPTZ, datetime(2024, 1, 1), "expected a time with a time zone"),  # noqa: DTZ001
    (T.TIMESTAMPTZ, pd.Timestamp("2024-01-01"), "expected a time with a time zone"),
    (T.TIMESTAMPTZ, pd.Timestamp("2024-01-01T00:00:00.000000001Z"), "expected whole microseconds"),
    (T.TIMESTAMPTZ, "2024-01-01T00:00:00.1234567Z", "expected whole microseconds"),
    (T.TIMESTAMPTZ, pd.NaT, "expected an aware datetime"),
    (T.TIMESTAMPTZ, np.datetime64("NaT", "us"), "expected a time of the years 1 to 9999"),
    (T.TIMESTAMPTZ, np.datetime64("300000-01-01"), "expected a time of the years 1 to 9999"),
    (T.TIMESTAMPTZ, np.datetime64(1, "ns"), "expected a time of the years 1 to 9999 in whole microseconds"),
    (T.TIMESTAMPTZ, "9999-12-31T23:59:59-01:00", "expected a time of the years 1 to 9999 in UTC"),
    (T.TIMESTAMPTZ, "0001-01-01T00:00:00+01:00", "expected a time of the years 1 to 9999 in UTC"),
    (T.TIMESTAMPTZ, "yesterday", "expected ISO 8601 text with an offset, got 'yesterday'"),
    (T.TIMESTAMPTZ, date(2024, 1, 1), "expected an aware datetime or ISO 8601 text"),
    (T.TIMESTAMPTZ, 1704067200, "expected an aware datetime or ISO 8601 text"),
]
GOOD = {T.BOOL: True, T.VARCHAR: "a", T.TEXT: "a", T.JSON: 1, T.TIMESTAMPTZ: UTC_2000}


@pytest.mark.parametrize(("kind", "bad", "message"), LAST_ROW_BAD, ids=range(len(LAST_ROW_BAD)))
def test_values_of_another_kind_are_refused_with_their_place(kind, bad, message):
    good = GOOD.get(kind, 1)
    with pytest.raises(InvalidData, match=message) as caught:
        column(scalar(kind), [good, bad])
    assert str(caught.value).startswith("field 'x', row 1: ")
    assert (caught.value.field, caught.value.row) == ("x", 1)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("kind", "values", "row"),
    [
        (T.INT8, np.array([1, 128]), 1),
        (T.INT64, np.array([1, 2**63], np.uint64), 1),
        (T.INT32, np.array([1.0, 2.0]), 0),
        (T.INT32, np.array([True]), 0),
        (T.INT32, np.array(["2024"], "M8[Y]"), 0),
        (T.BOOL, np.array([1, 0]), 0),
        (T.FLOAT, np.array([1, 1e39]), 1),
        (T.FLOAT, np.array([1, np.nan], np.float16), 1),
        (T.DOUBLE, np.array([1, np.inf]), 1),
        (T.DOUBLE, np.array([True]), 0),
        (T.DOUBLE, np.array([[1.0]]), 0),
        (T.VARCHAR, np.array([1, 2]), 0),
        (T.VARCHAR, np.array([b"a"]), 0),
        (T.TIMESTAMPTZ, np.array([1, 2]), 0),
        (T.TIMESTAMPTZ, np.array(["2024-01-01", "NaT"], "M8[D]"), 1),
        (T.TIMESTAMPTZ, np.array(["2024-01-01", "300000-01-01"], "M8[D]"), 1),
        (T.TIMESTAMPTZ, np.array([10**12, 10**12 + 1, 10**12], "M8[as]"), 1),
        (T.TIMESTAMPTZ, np.array([0, "NaT"], "M8[fs]"), 1),
    ],
    ids=range(18),
)
def test_arrays_of_another_kind_are_refused_with_the_row(kind, values, row):
    with pytest.raises(InvalidData) as caught:
        column(scalar(kind), values)
    assert caught.value.row == row


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(InvalidData, match=r"got 'x{39}… \(str\)"):
        column(scalar(T.INT32), ["x" * 1000])


EVERY_KIND = [*GOOD, *INTS, T.FLOAT, T.DOUBLE]


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_none_is_null_where_the_field_is_nullable_and_refused_elsewhere(kind):
    good = GOOD.get(kind, 1)
    nullable = column(scalar(kind, nullable=True), [good, None])
    assert nullable.nulls.tolist() == [False, True]
    assert column(scalar(kind), [good]).nulls is None
    with pytest.raises(InvalidData, match="field 'x', row 1: no value"):
        column(scalar(kind), [good, None])


def test_a_field_that_is_not_there_is_null_or_the_default_or_refused():
    def of(field):
        return prepare(CollectionSchema((KEY, field)), [{"id": 1}, {"id": 2}]).columns["x"]

    assert of(scalar(T.INT32, nullable=True)).nulls.tolist() == [True, True]
    assert of(scalar(T.INT32, default_value=7)).values.tolist() == [7, 7]
    assert of(Field("x", T.FLOAT_VECTOR, dim=2, nullable=True)).nulls.tolist() == [True, True]
    for field in (scalar(T.INT32), Field("x", T.FLOAT_VECTOR, dim=2)):
        with pytest.raises(InvalidData, match="field 'x': missing"):
            of(field)


def test_the_default_stands_for_none_even_in_a_nullable_field():
    filled = column(scalar(T.VARCHAR, default_value="d", nullable=True), ["a", None])
    assert filled.values == ["a", "d"]
    assert filled.nulls is None


@pytest.mark.parametrize(
    ("kind", "value"), [(T.INT8, 128), (T.INT32, 1.0), (T.VARCHAR, "abcdef"), (T.BOOL, 1), (T.FLOAT, np.nan)]
)
def test_a_default_is_a_value_of_its_field(kind, value):
    with pytest.raises(InvalidSchema, match="field 'x': default_value: "):
        with_plain_default(scalar(kind, default_value=value))


@pytest.mark.parametrize(
    ("kind", "given", "plain"),
    [
        (T.INT8, 127, 127),
        (T.INT64, np.int64(7), 7),
        (T.BOOL, np.True_, True),
        (T.FLOAT, np.float32(0.5), 0.5),
        (T.VARCHAR, "abc", "abc"),
        (T.TIMESTAMPTZ, "2024-01-01T01:00:00+01:00", datetime(2024, 1, 1, tzinfo=UTC)),
        (T.TIMESTAMPTZ, np.datetime64("2024-01-01T00:00"), datetime(2024, 1, 1, tzinfo=UTC)),
        (T.INT8, None, None),
    ],
)
def test_a_good_default_becomes_pythons_own(kind, given, plain):
    found = with_plain_default(scalar(kind, default_value=given)).default_value
    assert (found, type(found)) == (plain, type(plain))


def array(element=T.INT8, **options):
    return Field("x", T.ARRAY, element_type=element, max_capacity=3, **options)


@pytest.mark.parametrize(
    ("field", "bad", "message"),
    [
        (array(), [1, 2, 3, 4], "expected at most 3 elements, got 4"),
        (array(), [1, 128], "element 1: INT8 takes int"),
        (array(), [None], "element 0: INT8 takes int .* got None"),
        (array(), [1.0], "element 0: INT8 takes int"),
        (array(), np.array([1.0]), "element 0: INT8 takes int"),
        (array(), "abc", "expected a list of INT8, got 'abc'"),
        (array(), 5, "expected a list of INT8, got 5"),
        (array(), {1: 2}, "expected a list of INT8"),
        (array(), np.ones((1, 1), int), "expected a list of INT8"),
        (array(T.VARCHAR, max_length=2), ["a", "abc"], "element 1: expected at most 2 bytes"),
        (array(T.VARCHAR, max_length=2), ["\0"], "element 0: .*NUL"),
        (array(T.VARCHAR, max_length=2), [None], "element 0: expected a str"),
        (array(T.BOOL), [1], "element 0: BOOL takes bool"),
        (array(T.FLOAT), [1e39], "element 0: FLOAT takes finite"),
    ],
    ids=range(14),
)
def test_arrays_are_checked_element_by_element(field, bad, message):
    good = ["a"] if field.element_type is T.VARCHAR else []
    with pytest.raises(InvalidData, match=message) as caught:
        column(field, [good, [], bad, []])
    assert caught.value.row == 2


def test_keys_of_auto_id_are_drawn_and_not_given():
    schema = CollectionSchema((AUTO, scalar(T.INT32)))
    with pytest.raises(InvalidData, match="field 'id' is auto_id, its ids are drawn: leave it out"):
        prepare(schema, [{"id": 1, "x": 1}])
    batch = prepare(schema, [{"x": 1}, {"x": 2}])
    assert batch.keys is None
    assert batch.with_keys([5, 3]).keys.tolist() == [5, 3]
    with pytest.raises(InvalidData, match="expected 2 keys, one a row, got 1"):
        batch.with_keys([5])
    with pytest.raises(DuplicateKey):
        batch.with_keys([5, 5])


def test_keys_of_auto_id_may_be_given_where_rows_are_replaced():
    schema = CollectionSchema((AUTO, scalar(T.INT32)))
    assert prepare(schema, [{"id": 4, "x": 1}], keys="given").keys.tolist() == [4]
    with pytest.raises(InvalidData, match="field 'id': missing"):
        prepare(schema, [{"x": 1}], keys="given")


@pytest.mark.parametrize("keys", ["drawn", "given"])
def test_other_keys_are_always_given(keys):
    with pytest.raises(InvalidData, match="field 'id': missing"):
        prepare(CollectionSchema((KEY, scalar(T.INT32))), [{"x": 1}], keys=keys)


def test_a_key_that_stands_twice_is_named():
    with pytest.raises(DuplicateKey, match=r"field 'id': a key stands twice in one batch: 3 .*, 1 ") as caught:
        prepare(CollectionSchema((KEY,)), {"id": [3, 1, 3, 2, 1]})
    assert caught.value.keys == (3, 1)
    with pytest.raises(DuplicateKey, match="and 4 more") as caught:
        prepare(CollectionSchema((TEXT_KEY,)), {"id": [str(i) for i in range(9)] * 2})
    assert caught.value.keys == ("0", "1", "2", "3", "4")


def test_rows_go_in_the_order_of_their_keys():
    fields = (
        scalar(T.INT32, nullable=True),
        Field("tags", T.ARRAY, element_type=T.VARCHAR, max_length=9, max_capacity=9, nullable=True),
        Field("v", T.FLOAT_VECTOR, dim=1),
        Field("s", T.SPARSE_FLOAT_VECTOR, nullable=True),
        Field("t", T.TEXT),
    )
    rows = [
        {"x": i or None, "tags": [str(i)] * i if i else None, "v": [i], "s": {i: 1.0} if i else None, "t": str(i)}
        for i in (2, 0, 3, 1)
    ]
    for key, keys in ((KEY, [2, 0, 3, 1]), (TEXT_KEY, ["2", "0", "3", "1"])):
        data = [{"id": value, **row} for value, row in zip(keys, rows, strict=True)]
        batch = prepare(CollectionSchema((key, *fields)), data)
        first, second = batch.in_key_order(3)
        columns = {name: column.take(np.concatenate([first, second])) for name, column in batch.columns.items()}
        assert list(columns["id"].values) == sorted(keys)
        assert columns["x"].values.tolist() == [0, 1, 2, 3]
        assert columns["x"].nulls.tolist() == [True, False, False, False]
        assert columns["tags"].elements.values == ["1", "2", "2", "3", "3", "3"]
        assert columns["tags"].offsets.tolist() == [0, 0, 1, 3, 6]
        assert columns["v"].values.tolist() == [[0], [1], [2], [3]]
        assert [places.tolist() for places, _ in columns["s"].rows] == [[], [1], [2], [3]]
        assert columns["t"].values == ["0", "1", "2", "3"]
        assert {len(column.take(second)) for column in batch.columns.values()} == {1}


def test_rows_that_stand_in_order_are_not_moved():
    vectors = np.ones((5, 1), np.float32)
    batch = prepare(CollectionSchema((KEY, Field("v", T.FLOAT_VECTOR, dim=1))), {"id": range(5), "v": vectors})
    assert batch.in_key_order(2) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert np.shares_memory(batch.columns["v"].take(slice(2, 4)).values, vectors)


@pytest.mark.parametrize("data", [[], {}, pd.DataFrame(), {"id": [], "x": []}], ids=range(4))
def test_a_batch_may_be_empty(data):
    batch = prepare(CollectionSchema((KEY, scalar(T.JSON), Field("v", T.FLOAT_VECTOR, dim=3)), dynamic=True), data)
    assert batch.count == 0
    assert batch.keys.tolist() == []
    assert batch.in_key_order(9) == []


def test_an_index_adds_its_own_rules():
    dense, sparse = Field("x", T.FLOAT16_VECTOR, dim=2), Field("x", T.SPARSE_FLOAT_VECTOR)
    wide = dict.fromkeys(range(1001), 1.0)
    column(dense, [[1e-8, 0]])
    column(sparse, [wide])
    with pytest.raises(InvalidData, match="field 'x', row 1: the vector is zero"):
        column(dense, [[1, 0], [1e-8, 0]], cosine_fields={"x"})
    with pytest.raises(InvalidData, match="field 'x', row 0: 1,001 non-zero elements"):
        column(sparse, [wide], hnsw_sparse_fields={"x"})


@pytest.mark.parametrize("kind", [T.FLOAT_VECTOR, T.BFLOAT16_VECTOR])
def test_an_index_in_half_precision_takes_what_half_precision_holds(kind):
    field = Field("x", kind, dim=2, nullable=True)
    values = [[65_000, 1], None, [1e-9, 0]]
    stored = column(field, values)
    halved = column(field, values, half_precision_fields={"x"})
    assert halved.values.dtype == np.float32  # the table holds them as they are
    assert (halved.values == stored.values).all()
    for number in (65_536, -65_536, 1e38):
        with pytest.raises(InvalidData, match=r"row 2: element 1 is out of the range of float16.*holds its 2 dim"):
            column(field, [None, [1, 1], [1, number]], half_precision_fields={"x"})
    with pytest.raises(InvalidData, match="row 2: the vector is zero as FLOAT16_VECTOR"):
        column(field, values, half_precision_fields={"x"}, cosine_fields={"x"})
    column(field, values[:2], half_precision_fields={"x"}, cosine_fields={"x"})


def test_dynamic_values_are_checked_as_json():
    schema = CollectionSchema((KEY,), dynamic=True)
    with pytest.raises(InvalidData, match=r"row 1: dynamic field a\[0\] is nan") as caught:
        prepare(schema, [{"id": 1}, {"id": 2, "a": [float("nan")]}])
    assert (caught.value.field, caught.value.row) == ("_meta", 1)


def test_integers_that_pandas_made_floats_are_integers_again():
    frame = pd.DataFrame({"id": [1, 2, 3], "x": [1, None, 3]})
    found = prepare(CollectionSchema((KEY, scalar(T.INT32, nullable=True))), frame).columns["x"]
    assert found.values.tolist() == [1, 0, 3]
    assert found.nulls.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (5, [5]),
        (np.int64(5), [5]),
        ([1, 2, 2], [1, 2, 2]),
        ((1,), [1]),
        ([], []),
        (range(3), [0, 1, 2]),
        ({7}, [7]),
        (np.array([1, 2], np.int16), [1, 2]),
        (np.array(3), [3]),
        (pd.Series([1, 2]), [1, 2]),
        ({1: "x"}.keys(), [1]),
        (range(70_000), list(range(70_000))),
    ],
    ids=range(12),
)
def test_keys_are_one_or_many(ids, expected):
    keys = as_keys(CollectionSchema((KEY,)), ids)
    assert keys.dtype == np.int64
    assert keys.tolist() == expected


def test_keys_of_text_are_a_list():
    schema = CollectionSchema((TEXT_KEY,))
    assert as_keys(schema, "abc") == ["abc"]
    assert as_keys(schema, ["a", "é"]) == ["a", "é"]
    assert as_keys(schema, np.array(["a", "b"])) == ["a", "b"]


@pytest.mark.parametrize("bad", [None, True, 1.0, "1", 2**63, {"id": 1}, b"1"], ids=range(7))
@pytest.mark.parametrize("many", [False, True])
def test_what_is_no_key_is_refused(bad, many):
    with pytest.raises(InvalidData, match=rf"ids\[{int(many)}\], key 'id': INT64 takes int"):
        as_keys(CollectionSchema((KEY,)), [1, bad] if many else bad)


@pytest.mark.parametrize("bad", [5, b"x", "x" * 11, "\0", "\ud800"], ids=range(5))
def test_what_is_no_key_of_text_is_refused(bad):
    with pytest.raises(InvalidData, match="key 'id'"):
        as_keys(CollectionSchema((TEXT_KEY,)), [bad])
