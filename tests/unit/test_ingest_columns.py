from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from datetime import UTC, datetime
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from vecstore.errors import InvalidData
from vecstore.ingest.columns import to_columns
from vecstore.schema import CollectionSchema, DataType, Field

T = DataType
FIELDS = (
    Field("id", T.INT64, primary_key=True),
    Field("title", T.VARCHAR, max_length=100, nullable=True),
    Field("year", T.INT32, nullable=True),
    Field("embedding", T.FLOAT_VECTOR, dim=2),
)
SCHEMA = CollectionSchema(FIELDS)
DYNAMIC = CollectionSchema(FIELDS, dynamic=True)
TABLE = {"id": [1, 2], "title": ["a", "b"], "year": [2000, 2001], "embedding": [[1.0, 2.0], [3.0, 4.0]]}
ROWS = [dict(zip(TABLE, row, strict=True)) for row in zip(*TABLE.values(), strict=True)]


def plain(columns):
    return {
        name: [list(item) if isinstance(item, np.ndarray) else item for item in values]
        for name, values in columns.items()
    }


STRUCTURED = np.array(
    [(1, "a", 2000, [1, 2]), (2, "b", 2001, [3, 4])],
    dtype=[("id", "i8"), ("title", "U5"), ("year", "i4"), ("embedding", "f4", (2,))],
)


@pytest.mark.parametrize(
    "data",
    [
        ROWS,
        tuple(ROWS),
        [OrderedDict(ROWS[0]), MappingProxyType(ROWS[1])],
        TABLE,
        MappingProxyType(TABLE),
        {name: tuple(values) for name, values in TABLE.items()},
        {name: np.array(values) for name, values in TABLE.items()},
        {name: pd.Series(values) for name, values in TABLE.items()},
        {name: pa.array(values) for name, values in TABLE.items()},
        STRUCTURED,
        pd.DataFrame(TABLE),
        pd.DataFrame(TABLE).convert_dtypes(),
        pa.table(TABLE),
        pa.RecordBatch.from_pydict(TABLE),
        pa.concat_tables([pa.table(TABLE).slice(0, 1), pa.table(TABLE).slice(1)]),
    ],
    ids=range(15),
)
def test_every_shape_becomes_the_same_columns(data):
    columns, count = to_columns(SCHEMA, data)
    assert count == 2
    assert plain(columns) == TABLE


@pytest.mark.parametrize("data", [[], (), {}, pd.DataFrame(), pa.table({}), {"id": []}, STRUCTURED[:0]], ids=range(7))
def test_no_data_are_no_rows(data):
    assert to_columns(SCHEMA, data)[1] == 0


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float16(), 2), pa.list_(pa.int8(), 2)],
    ids=str,
)
def test_arrow_lists_of_one_length_become_an_array(kind):
    values = pa.array([[np.float16(9), np.float16(9)], [np.float16(1), np.float16(2)], [np.float16(3), np.float16(4)]])
    column = values.cast(kind).slice(1)
    columns, _ = to_columns(SCHEMA, {"embedding": column})
    assert isinstance(columns["embedding"], np.ndarray)
    assert columns["embedding"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "values",
    [[[1.0, 2.0], None], [[1.0, 2.0], [3.0]], [[1.0, None], [3.0, 4.0]]],
)
def test_arrow_lists_that_are_no_matrix_stay_lists(values):
    columns, _ = to_columns(SCHEMA, {"embedding": pa.array(values)})
    assert columns["embedding"] == values


def test_rows_need_not_have_the_same_keys():
    columns, count = to_columns(SCHEMA, [{"id": 1, "year": 5}, {"id": 2, "title": "b"}])
    assert count == 2
    assert columns == {"id": [1, 2], "title": [None, "b"], "year": [5, None]}


def test_unknown_keys_are_kept_by_a_dynamic_collection():
    columns, _ = to_columns(DYNAMIC, [{"id": 1, "x": None, "y": [1]}, {"id": 2}])
    assert columns == {"id": [1, 2], "_meta": [{"x": None, "y": [1]}, {}]}
    columns, _ = to_columns(DYNAMIC, {"id": [1, 2], "x": ["a", "b"], "y": np.array([1, 2])})
    assert columns == {"id": [1, 2], "_meta": [{"x": "a", "y": 1}, {"x": "b", "y": 2}]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([{"id": 1}, {"id": 2, "titel": "x"}], "row 1: no field 'titel' .*did you mean 'title'"),
        ({"id": [1], "titel": ["x"]}, "no field 'titel' .*did you mean 'title'"),
        ([{"zzz": 1}], "no field 'zzz' .*fields: id, title, year, embedding"),
        ([{"id": 1, "_meta": {}}], "'_meta' is a column of vecstore's own"),
        ({"id": [1], "_partition": ["x"]}, "'_partition' is a column of vecstore's own"),
        ([{1: 2}], "expected str as the name of a field, got 1"),
        ({1: [2]}, "expected str as the name of a field, got 1"),
        (pd.DataFrame([[1, 2]]), "expected str as the name of a field"),
        ([{"id": 1}, 5], "row 1: expected a dict, got 5"),
        ([[1, 2]], r"row 0: expected a dict, got \[1, 2\]"),
        ({"id": [1, 2], "year": [1]}, "expected columns of one length, got 'id' 2, 'year' 1"),
        ({"id": 1, "year": 2}, "field 'id': expected a column .*put a single row into a list"),
        ({"id": "abc"}, "field 'id': expected a column"),
        ({"id": np.array(1)}, "field 'id': expected a column"),
        ({"id": {1: 2}}, "field 'id': expected a column"),
        ({"id": (i for i in range(2))}, "field 'id': expected a column"),
        ("abc", "expected a list of dicts, a dict of columns, a DataFrame or a Table, got 'abc'"),
        (None, "got None"),
        (np.ones((2, 2)), "expected a list of dicts"),
        (STRUCTURED.reshape(1, 2), "expected a structured array of one dimension"),
        (pd.DataFrame([[1, 2]], columns=["id", "id"]), "two columns of one name"),
        (pa.table([[1], [2]], names=["id", "id"]), "two columns of one name"),
    ],
    ids=range(22),
)
def test_data_of_no_known_shape_are_refused(data, message):
    with pytest.raises(InvalidData, match=message):
        to_columns(SCHEMA, data)


def test_own_columns_are_refused_by_dynamic_collections_too():
    with pytest.raises(InvalidData, match="'_meta' is a column of vecstore's own"):
        to_columns(DYNAMIC, [{"id": 1, "_meta": {}}])


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("year", pd.Series([1, None, 3]), [1, None, 3]),
        ("year", pd.Series([1, pd.NA, 3], dtype="Int64"), [1, None, 3]),
        ("year", pd.Series([1.5, None]), [1.5, None]),
        ("title", pd.Series(["a", None, np.nan, pd.NA], dtype=object), ["a", None, None, None]),
        ("title", pd.Series(["a", None]), ["a", None]),
        ("title", pd.Series(["a", None], dtype="category"), ["a", None]),
        ("title", pd.Series([datetime(2024, 1, 1, tzinfo=UTC), pd.NaT]), [pd.Timestamp("2024-01-01", tz="UTC"), None]),
        ("year", pa.array([1, None, 3]), [1, None, 3]),
        ("year", pa.chunked_array([[1], [None]]), [1, None]),
        ("year", np.ma.array([1, 2, 3], mask=[False, True, False]), [1, None, 3]),
        ("title", np.array(["a", None], object), ["a", None]),
    ],
    ids=range(11),
)
def test_what_is_missing_is_none(name, values, expected):
    columns, _ = to_columns(SCHEMA, {name: values})
    assert list(columns[name]) == expected
    assert [type(value) for value in columns[name]] == [type(value) for value in expected]


def test_nan_of_numpy_is_not_missing():
    columns, _ = to_columns(SCHEMA, {"year": np.array([1.0, np.nan])})
    assert np.isnan(columns["year"][1])


def test_times_of_pandas_with_a_zone_become_utc_and_without_one_stay_as_they_are():
    zoned = pd.Series(pd.to_datetime(["2024-01-01T01:00:00+01:00"]))
    assert to_columns(SCHEMA, {"title": zoned})[0]["title"] == np.array(["2024-01-01"], "M8[s]")
    naive = pd.Series(pd.to_datetime(["2024-01-01"]))
    assert to_columns(SCHEMA, {"title": naive})[0]["title"] == [pd.Timestamp("2024-01-01")]


class Rows:
    shape = (2, 5)

    def __getitem__(self, row):
        return f"row {row}"


def test_a_scipy_matrix_is_a_column_of_its_rows():
    rows = Rows()
    matrix = SimpleNamespace(tocsr=lambda: rows)
    assert to_columns(SCHEMA, {"embedding": matrix})[0] == {"embedding": ["row 0", "row 1"]}


def test_pandas_and_arrow_are_not_imported():
    code = (
        "import sys; from vecstore.ingest import prepare; from vecstore.schema import *\n"
        "s = CollectionSchema((Field('id', DataType.INT64, primary_key=True),))\n"
        "assert prepare(s, [{'id': 1}]).count == prepare(s, {'id': [1]}).count == 1\n"
        "assert not {'pandas', 'pyarrow', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # our own text
