"""What goes in by insert or upsert comes out of get, for every data type and in every form that data come in."""

from __future__ import annotations

import itertools
import json
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from databases import database
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

import vecstore
from vecstore import Collection, DataType, Field, InvalidSchema, Store

quick = settings(deadline=None, derandomize=True, database=None, max_examples=6)
# Rows of every type at once take long to draw and minutes to shrink: what is slow is Hypothesis, not what it tests.
wide = settings(
    quick,
    max_examples=4,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

MAX_BYTES = 20
ELEMENTS = (
    DataType.BOOL,
    DataType.INT8,
    DataType.INT16,
    DataType.INT32,
    DataType.INT64,
    DataType.FLOAT,
    DataType.DOUBLE,
    DataType.VARCHAR,
)

FIELDS = {
    field.name: field
    for field in (
        *(Field(kind.lower(), kind, nullable=True) for kind in ELEMENTS if kind is not DataType.VARCHAR),
        Field("varchar", DataType.VARCHAR, max_length=MAX_BYTES, nullable=True),
        Field("text", DataType.TEXT, nullable=True),
        Field("json", DataType.JSON, nullable=True),
        Field("timestamptz", DataType.TIMESTAMPTZ, nullable=True),
        *(
            Field(
                f"array_{kind.lower()}",
                DataType.ARRAY,
                element_type=kind,
                max_capacity=5,
                max_length=MAX_BYTES if kind is DataType.VARCHAR else None,
                nullable=True,
            )
            for kind in ELEMENTS
        ),
        Field("float_vector", DataType.FLOAT_VECTOR, dim=3, nullable=True),
        Field("float16_vector", DataType.FLOAT16_VECTOR, dim=3, nullable=True),
        Field("bfloat16_vector", DataType.BFLOAT16_VECTOR, dim=3, nullable=True),
        Field("int8_vector", DataType.INT8_VECTOR, dim=3, nullable=True),
        Field("binary_vector", DataType.BINARY_VECTOR, dim=16, nullable=True),
        Field("sparse_float_vector", DataType.SPARSE_FLOAT_VECTOR, nullable=True),
    )
}

# Values to draw

characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")  # every plane of Unicode
texts = st.text(characters, max_size=30)
short_texts = st.text(characters, max_size=MAX_BYTES).filter(lambda value: len(value.encode()) <= MAX_BYTES)
# Exactly full: as many bytes as the field takes, of characters of one, two, three and four bytes.
full_texts = st.sampled_from("aé€𝄞").map(
    lambda one: one * (MAX_BYTES // len(one.encode())) + "x" * (MAX_BYTES % len(one.encode()))
)
float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)
doubles = st.floats(allow_nan=False, allow_infinity=False)


def integers(bits: int) -> st.SearchStrategy[int]:
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return st.integers(least, most) | st.sampled_from([least, least + 1, -1, 0, 1, most - 1, most])


SCALARS = {
    DataType.BOOL: st.booleans(),
    DataType.INT8: integers(8),
    DataType.INT16: integers(16),
    DataType.INT32: integers(32),
    DataType.INT64: integers(64),
    DataType.FLOAT: float32s,
    DataType.DOUBLE: doubles | st.sampled_from([1e22, 1e308, -0.0, 5e-324, 0.1]),
    DataType.VARCHAR: short_texts | full_texts,
}

ODD_KEYS = ["", "a.b", "'", '"', "\\", "$", "%s", "{}", "ключ", "é", "e\u0301", "1e+22", "\ufeff", "a,b", "$.a[0]"]
json_keys = texts | st.sampled_from(ODD_KEYS)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | integers(64)
    | doubles
    | texts
    | st.sampled_from([1e22, -1.5e22, 1e16, 1e308, -1e308, 5e-324, 1e-7, 0.0, 1.0, '1e+22 "1e+22"']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(json_keys, inner, max_size=3),
    max_leaves=8,
)
# The years 1 to 9999 as UTC, whatever the offset.
moments = st.datetimes(
    datetime(1, 1, 2),  # noqa: DTZ001 - the offset is drawn apart
    datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


def vectors_of(elements: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(elements, min_size=3, max_size=3)


VALUES = {
    **{kind.lower(): values for kind, values in SCALARS.items()},
    "text": texts | st.just("x" * 5_000),
    "json": json_values.filter(lambda value: value is not None),
    "timestamptz": moments,
    **{f"array_{kind.lower()}": st.lists(values, max_size=5) for kind, values in SCALARS.items()},
    # Rounded on their way in: doubles that float32, float16 and bfloat16 can come near to.
    "float_vector": vectors_of(float32s | st.floats(-3e38, 3e38)),
    "float16_vector": vectors_of(st.floats(-65519, 65519)),
    "bfloat16_vector": vectors_of(st.floats(-3.38e38, 3.38e38)),
    "int8_vector": vectors_of(integers(8)),
    "binary_vector": st.binary(min_size=2, max_size=2),
    "sparse_float_vector": st.dictionaries(
        st.integers(0, 999_999_999) | st.sampled_from([0, 999_999_999]), float32s, max_size=6
    ),
}


# What is to come out


def bfloat16(value: float) -> float:
    """The nearest number of eight significant bits, ties to even: by arithmetic, not by bits."""
    given = float(np.float32(value))
    exponent = max(math.frexp(given)[1] - 8, -133)
    return math.copysign(math.ldexp(round(math.ldexp(given, -exponent)), exponent), given)


def expected(field: Field, value):
    kind = field.data_type
    if value is None:
        return None
    if kind is DataType.TIMESTAMPTZ:
        return value.astimezone(UTC)
    if kind is DataType.BFLOAT16_VECTOR:
        return np.array([bfloat16(element) for element in value], np.float32)
    if kind in {DataType.FLOAT_VECTOR, DataType.FLOAT16_VECTOR, DataType.INT8_VECTOR}:
        narrow = {DataType.FLOAT_VECTOR: np.float32, DataType.FLOAT16_VECTOR: np.float16}.get(kind, np.int8)
        return np.array(value, np.float64).astype(narrow)
    if kind is DataType.SPARSE_FLOAT_VECTOR:
        return {index: element for index, element in sorted(value.items()) if element != 0}
    return value


def exactly(value):
    """A form in which two values are equal only if nothing tells them apart: 1, 1.0 and True, 0.0 and -0.0 are not."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, float):
        return "float", struct.pack(">d", value)
    if isinstance(value, datetime):
        return "moment", value.utcoffset() is not None, value.astimezone(UTC)
    if isinstance(value, list):
        return [exactly(item) for item in value]
    if isinstance(value, dict):
        return {key: exactly(item) for key, item in value.items()}
    return type(value).__name__, value


def without_zero_signs(value):
    """jsonb keeps numbers as decimals, which have one zero."""
    if isinstance(value, float):
        return value + 0.0
    if isinstance(value, list):
        return [without_zero_signs(item) for item in value]
    if isinstance(value, dict):
        return {key: without_zero_signs(item) for key, item in value.items()}
    return value


def assert_same(field: Field, found, value):
    wanted = expected(field, value)
    if field.data_type is DataType.JSON:
        wanted = without_zero_signs(wanted)
    assert exactly(found) == exactly(wanted), field.name


# Where it goes

_keys = itertools.count(1)


@pytest.fixture(scope="module")
def own_store(server, template) -> Iterator[Store]:
    with (
        database(server, "test_round_trip", template) as url,
        vecstore.connect(url) as store,
    ):
        key = Field("id", DataType.INT64, primary_key=True)
        store.create_collection("everything", (key, *FIELDS.values()), dynamic=True)
        flat = (field for field in FIELDS.values() if field.data_type is not DataType.ARRAY)
        store.create_collection("flat", (key, *flat), dynamic=True)
        store.create_collection(
            "keyed", (Field("name", DataType.VARCHAR, max_length=MAX_BYTES, primary_key=True), *VECTOR)
        )
        yield store


VECTOR = (Field("v", DataType.FLOAT_VECTOR, dim=2, nullable=True),)


@contextmanager
def undone(store: Store, name: str = "everything") -> Iterator[Collection]:
    """A collection inside a transaction that is rolled back."""
    with store.engine.connect() as connection:
        yield store.bind(connection).collection(name)
        connection.rollback()


def rows_of(name: str, values: list) -> list[dict]:
    return [{"id": next(_keys), name: value} for value in values]


@pytest.mark.parametrize("name", FIELDS)
@quick
@given(data=st.data())
def test_every_value_of_a_field_comes_back_as_it_went_in(own_store, name, data):
    values = data.draw(st.lists(st.none() | VALUES[name], min_size=1, max_size=25))
    rows = rows_of(name, values)
    ids = [row["id"] for row in rows]
    # Where there are arrays, an upsert goes through a temporary table.
    with undone(own_store, "everything" if FIELDS[name].data_type is DataType.ARRAY else "flat") as everything:
        assert everything.insert(rows).ids == ids
        found = everything.get(ids)
        assert [row["id"] for row in found] == ids
        for row, value in zip(found, values, strict=True):
            assert_same(FIELDS[name], row[name], value)

        changed = [*values[1:], values[0]]
        everything.upsert([{"id": key, name: value} for key, value in zip(ids, changed, strict=True)])
        assert everything.count() == len(ids)
        for row, value in zip(everything.get(ids), changed, strict=True):
            assert_same(FIELDS[name], row[name], value)


def as_rows(rows: list[dict]) -> list[dict]:
    return rows


def as_columns(rows: list[dict]) -> dict[str, list]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def as_structured(rows: list[dict]) -> np.ndarray:
    """Numbers in columns of their own types, the rest as objects."""
    own = {"id": np.int64, "int64": np.int64, "double": np.float64, "bool": np.bool_}
    vector = ("float_vector", np.float64, (3,))
    data = np.empty(len(rows), [vector, *((name, own.get(name, object)) for name in rows[0] if name != vector[0])])
    for place, row in enumerate(rows):
        for name, value in row.items():
            data[name][place] = value
    return data


def as_frame(rows: list[dict]) -> pd.DataFrame:
    """Numbers, strings and times in types of pandas' own, the rest as objects."""
    frame = pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in rows[0]})
    own = {"id": "int64", "int64": "Int64", "int8": "int8", "double": "float64", "bool": "boolean", "varchar": "string"}
    return frame.astype(own)


def as_table(rows: list[dict]) -> pa.Table:
    """Each column in the Arrow type that is made for it."""
    of = {
        DataType.BOOL: pa.bool_(),
        DataType.INT8: pa.int8(),
        DataType.INT16: pa.int16(),
        DataType.INT32: pa.int32(),
        DataType.INT64: pa.int64(),
        DataType.FLOAT: pa.float32(),
        DataType.DOUBLE: pa.float64(),
        DataType.VARCHAR: pa.string(),
        DataType.TEXT: pa.large_string(),
        DataType.TIMESTAMPTZ: pa.timestamp("us", "UTC"),
        DataType.FLOAT_VECTOR: pa.list_(pa.float64(), 3),
        DataType.FLOAT16_VECTOR: pa.list_(pa.float64()),
        DataType.BFLOAT16_VECTOR: pa.large_list(pa.float64()),
        DataType.INT8_VECTOR: pa.list_(pa.int8(), 3),
        DataType.BINARY_VECTOR: pa.binary(),
        DataType.SPARSE_FLOAT_VECTOR: pa.map_(pa.int64(), pa.float32()),
    }
    columns = {"id": pa.array([row["id"] for row in rows], pa.int64())}
    for name, field in FIELDS.items():
        if field.data_type is DataType.JSON:  # Arrow has no type for JSON of any shape
            continue
        kind = of.get(field.data_type) or pa.list_(of[field.element_type])
        values = [row[name] for row in rows]
        if field.data_type is DataType.SPARSE_FLOAT_VECTOR:
            values = [None if value is None else list(value.items()) for value in values]
        columns[name] = pa.array(values, kind)
    return pa.table(columns)


# A structured array has no place for None in a column of numbers.
whole_rows = st.fixed_dictionaries(
    {
        name: values if name in {"int64", "int8", "double", "bool", "float_vector"} else st.none() | values
        for name, values in VALUES.items()
    }
)


@pytest.mark.parametrize("form", [as_rows, as_columns, as_structured, as_frame, as_table])
@pytest.mark.parametrize("call", ["insert", "upsert"])
@wide
@given(rows=st.lists(whole_rows, min_size=1, max_size=3))
def test_rows_of_all_types_come_back_whatever_form_they_came_in(own_store, call, form, rows):
    keyed = [{"id": next(_keys), **row} for row in rows]
    with undone(own_store) as everything:
        if call == "upsert":
            everything.insert([{"id": row["id"], "text": "to be replaced", "left": "over"} for row in keyed])
        getattr(everything, call)(form(keyed))
        found = everything.get([row["id"] for row in keyed])
    assert len(found) == len(keyed)
    for row, wanted in zip(found, keyed, strict=True):
        assert set(row) == {"id", *FIELDS}
        for name, field in FIELDS.items():
            left_out = form is as_table and field.data_type is DataType.JSON
            assert_same(field, row[name], None if left_out else wanted[name])


@quick
@given(
    st.lists(st.dictionaries(json_keys, json_values, max_size=4), min_size=1, max_size=10).map(
        lambda documents: [
            {key: value for key, value in document.items() if key not in {"id", *FIELDS}} for document in documents
        ]
    )
)
@example([{key: key for key in ODD_KEYS}])
@example([{"a": {"b": [1, {"c": None}]}, "A": 1, "ID": 2, "meta": 3, "_Meta": 4, "none": None}])
def test_dynamic_keys_come_back_as_they_went_in(own_store, documents):
    rows = [{"id": next(_keys), **document} for document in documents]
    ids = [row["id"] for row in rows]
    with undone(own_store) as everything:
        everything.insert(rows)
        for row, document in zip(everything.get(ids), documents, strict=True):
            dynamic = {key: value for key, value in row.items() if key not in {"id", *FIELDS}}
            assert exactly(dynamic) == exactly(without_zero_signs(document))
        for row, key, document in zip(rows, ids, documents, strict=True):
            asked = [name for name in document if name != "*"]
            (found,) = everything.get([key], output_fields=["id", *asked])
            assert exactly(found) == exactly({"id": key, **without_zero_signs({name: row[name] for name in asked})})


@quick
@given(st.lists(short_texts | full_texts, min_size=1, max_size=20, unique=True))
def test_every_string_is_a_key_and_finds_its_own_row(own_store, names):
    with undone(own_store, "keyed") as keyed:
        keyed.insert([{"name": name, "v": [place, 1]} for place, name in enumerate(names)])
        assert [(row["name"], row["v"][0]) for row in keyed.get(names)] == [(name, i) for i, name in enumerate(names)]
        assert keyed.delete(ids=names[0]).count == 1
        assert [row["name"] for row in keyed.get(names)] == names[1:]


@quick
@given(st.lists(integers(64), min_size=1, max_size=20, unique=True))
def test_every_64_bit_integer_is_a_key_and_finds_its_own_row(own_store, keys):
    with undone(own_store) as everything:
        everything.insert([{"id": key, "int64": key} for key in keys])
        assert [(row["id"], row["int64"]) for row in everything.get(keys)] == [(key, key) for key in keys]


def test_the_first_and_the_last_moment_come_back_in_every_time_zone_of_the_session(own_store):
    moments = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)]
    rows = rows_of("timestamptz", moments)
    for zone in ("UTC", "Asia/Tokyo", "America/Los_Angeles"):
        with own_store.engine.connect() as connection:
            connection.exec_driver_sql("SELECT set_config('TimeZone', %s, true)", (zone,))
            everything = own_store.bind(connection).collection("everything")
            everything.insert(rows)
            found = everything.get([row["id"] for row in rows])
            assert [row["timestamptz"] for row in found] == moments, zone


MOMENT = datetime(2024, 2, 29, 12, 30, 0, 123_456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
DEFAULTS = {
    DataType.BOOL: (True, False),
    DataType.INT8: (-128, 127),
    DataType.INT16: (-32768, 32767),
    DataType.INT32: (-(2**31), 2**31 - 1),
    DataType.INT64: (-(2**63), 2**63 - 1),
    DataType.FLOAT: (1.5, -float(2**127)),
    DataType.DOUBLE: (0.1, 1e22, 5e-324, 1.7976931348623157e308),
    DataType.VARCHAR: ("", "it's", "\\", "100 %", "%s", ":name", "{}", '"', "𝄞é", "a\nb\t"),
    DataType.TEXT: ("E'\\x'", "$$;--", "null"),
    DataType.TIMESTAMPTZ: (MOMENT,),
}


def default_fields(*, nullable: bool) -> dict[str, Field]:
    return {
        f"{kind.lower()}_{place}": Field(
            f"{kind.lower()}_{place}",
            kind,
            nullable=nullable,
            default_value=value,
            max_length=MAX_BYTES if kind is DataType.VARCHAR else None,
        )
        for kind, values in DEFAULTS.items()
        for place, value in enumerate(values)
    }


@pytest.mark.parametrize("nullable", [True, False])
def test_defaults_stand_where_no_value_was_given(own_store, nullable):
    fields = default_fields(nullable=nullable)
    key = Field("id", DataType.INT64, primary_key=True)
    collection = own_store.create_collection(f"defaults_{nullable}", (key, *fields.values()))
    wanted = {name: exactly(expected(field, field.default_value)) for name, field in fields.items()}

    collection.insert([{"id": 1}])
    collection.insert({"id": [2], **{name: [None] for name in fields}})
    collection.insert([{"id": 3, **{name: field.default_value for name, field in fields.items()}}])
    collection.upsert([{"id": 4}, {"id": 1}])
    with own_store.engine.begin() as connection:  # and by plain SQL
        connection.execute(collection.table.insert().values(id=5, _partition="_default"))

    for row in collection.get(range(1, 6)):
        found = {name: exactly(value) for name, value in row.items() if name != "id"}
        assert found == wanted, row["id"]


@pytest.mark.parametrize(
    ("kind", "given", "plain"),
    [
        (DataType.INT32, np.int64(7), 7),
        (DataType.DOUBLE, np.float32(0.5), 0.5),
        (DataType.DOUBLE, np.float64(0.5), 0.5),
        (DataType.DOUBLE, 3, 3.0),
        (DataType.BOOL, np.True_, True),
        (DataType.TEXT, np.str_("a"), "a"),
        (DataType.TIMESTAMPTZ, "2024-02-29T12:30:00+05:30", datetime(2024, 2, 29, 7, 0, tzinfo=UTC)),
        (DataType.TIMESTAMPTZ, np.datetime64("2024-02-29T07:00"), datetime(2024, 2, 29, 7, 0, tzinfo=UTC)),
    ],
    ids=lambda value: f"{type(value).__name__}-{value}",
)
def test_a_default_of_any_form_that_its_field_takes_is_the_same_as_its_plain_value(own_store, kind, given, plain):
    fields = (Field("id", DataType.INT64, primary_key=True), Field("field", kind, default_value=given))
    with own_store.engine.connect() as connection:
        collection = own_store.bind(connection).create_collection("forms_of_defaults", fields)
        collection.insert([{"id": 1}])
        connection.execute(collection.table.insert().values(id=2, _partition="_default"))
        collection.insert([{"id": 3, "field": given}])
        assert [row["field"] for row in collection.get([1, 2, 3])] == [plain] * 3
        connection.rollback()


def test_a_field_that_is_neither_nullable_nor_has_a_default_takes_falsy_values_but_not_none(own_store):
    fields = (
        Field("id", DataType.INT64, primary_key=True),
        Field("text", DataType.VARCHAR, max_length=5),
        Field("count", DataType.INT32),
        Field("tags", DataType.ARRAY, element_type=DataType.INT8, max_capacity=2),
        Field("document", DataType.JSON),
    )
    collection = own_store.create_collection("strict", fields)
    empty = {"id": 0, "text": "", "count": 0, "tags": [], "document": {}}
    collection.insert([empty])
    assert collection.get([0]) == [empty]
    for name in ("text", "count", "tags", "document"):
        with pytest.raises(vecstore.InvalidData, match=name):
            collection.insert([{**empty, "id": 1, name: None}])
    assert collection.count() == 1


def test_a_declared_default_is_described_as_it_was_declared(own_store):
    with pytest.raises(InvalidSchema):
        Field("document", DataType.JSON, default_value={})
    fields = (Field("id", DataType.INT64, primary_key=True), *default_fields(nullable=True).values())
    described = own_store.create_collection("described_defaults", fields).describe().schema
    for field in fields:
        found = described.field(field.name).default_value
        assert exactly(found) == exactly(field.default_value), field.name


def test_json_is_a_document_and_not_its_text(own_store):
    document = {"a": [1, 2.5, "3", None, True, {"b": {}}], "": "", "é": "\u2028"}
    with undone(own_store) as everything:
        everything.insert([{"id": 1, "json": document}, {"id": 2, "json": json.dumps(document)}])
        found = [row["json"] for row in everything.get([1, 2])]
    assert found == [document, json.dumps(document)]
