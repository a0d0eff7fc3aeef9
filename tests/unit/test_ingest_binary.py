from __future__ import annotations

import json
import struct
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecstore.errors import InvalidArgument
from vecstore.ingest.binary import copy_columns, copy_stream
from vecstore.ingest.validation import prepare
from vecstore.schema import CollectionSchema, DataType, Field
from vecstore.vectors import as_matrix, decoder

T = DataType
KEY = Field("id", T.INT64, primary_key=True)
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def read_copy(stream: bytes) -> list[list[bytes | None]]:
    """PostgreSQL's side of it, written from the documentation of COPY."""
    assert stream[:19] == b"PGCOPY\n\xff\r\n\0" + bytes(8)
    at, rows = 19, []
    while (count := struct.unpack_from(">h", stream, at)[0]) != -1:
        at += 2
        row: list[bytes | None] = []
        for _ in range(count):
            (length,) = struct.unpack_from(">i", stream, at)
            at += 4
            row.append(None if length == -1 else stream[at : at + length])
            at += max(length, 0)
            assert at <= len(stream)
        rows.append(row)
    assert at + 2 == len(stream)
    return rows


def read_array(cell: bytes, element):
    dimensions, has_nulls, oid = struct.unpack_from(">iii", cell)
    assert has_nulls == 0
    if not dimensions:
        assert len(cell) == 12
        return oid, []
    count, lower = struct.unpack_from(">ii", cell, 12)
    assert (dimensions, lower) == (1, 1)
    at, values = 20, []
    for _ in range(count):
        (length,) = struct.unpack_from(">i", cell, at)
        values.append(element(cell[at + 4 : at + 4 + length]))
        at += 4 + length
    assert at == len(cell)
    return oid, values


def unpack(form: str):
    return lambda cell: struct.unpack(form, cell)[0]


def read_json(cell: bytes):
    assert cell[:1] == b"\x01"
    return json.loads(cell[1:])


READ = {
    T.BOOL: unpack(">?"),
    T.INT8: unpack(">h"),
    T.INT16: unpack(">h"),
    T.INT32: unpack(">i"),
    T.INT64: unpack(">q"),
    T.FLOAT: unpack(">f"),
    T.DOUBLE: unpack(">d"),
    T.VARCHAR: bytes.decode,
    T.TEXT: bytes.decode,
    T.JSON: read_json,
    T.TIMESTAMPTZ: lambda cell: EPOCH + timedelta(microseconds=struct.unpack(">q", cell)[0]),
}


def written(fields, data, *, partition=None, dynamic=False, **options):
    """The rows of the stream as dicts of cells."""
    batch = prepare(CollectionSchema((KEY, *fields), dynamic=dynamic), data)
    names = copy_columns(batch, partition=partition)
    rows = read_copy(b"".join(copy_stream(batch, partition=partition, **options)))
    return [dict(zip(names, row, strict=True)) for row in rows]


def column_of(field, values):
    rows = written([field], {"id": list(range(len(values))), field.name: values})
    assert [READ[T.INT64](row["id"]) for row in rows] == list(range(len(values)))
    return [row[field.name] for row in rows]


INT = {T.INT8: 8, T.INT16: 16, T.INT32: 32, T.INT64: 64}
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
VALUES = {
    **{kind: st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for kind, bits in INT.items()},
    T.BOOL: st.booleans(),
    T.FLOAT: st.floats(width=32, allow_nan=False, allow_infinity=False),
    T.DOUBLE: NUMBERS,
    T.VARCHAR: TEXT,
    T.TEXT: TEXT,
    T.JSON: JSON.filter(lambda value: value is not None),
    T.TIMESTAMPTZ: st.datetimes(
        EPOCH.replace(year=1, day=2, tzinfo=None),
        EPOCH.replace(year=9999, tzinfo=None),
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-12))]),
    ),
}


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
@settings(max_examples=50)
def test_what_is_written_is_what_was_given_with_and_without_nulls(kind, data):
    options = {"max_length": 100} if kind is T.VARCHAR else {}
    plain = data.draw(st.lists(VALUES[kind], max_size=8))
    assert [READ[kind](cell) for cell in column_of(Field("x", kind, **options), plain)] == plain
    holed = data.draw(st.lists(st.none() | VALUES[kind], max_size=8))
    cells = column_of(Field("x", kind, nullable=True, **options), holed)
    assert [None if cell is None else READ[kind](cell) for cell in cells] == holed


OIDS = {T.BOOL: 16, T.INT8: 21, T.INT16: 21, T.INT32: 23, T.INT64: 20, T.FLOAT: 700, T.DOUBLE: 701, T.VARCHAR: 25}


@pytest.mark.parametrize("kind", OIDS)
@given(data=st.data())
@settings(max_examples=50)
def test_arrays_are_written_with_their_elements_and_type(kind, data):
    options = {"max_length": 100} if kind is T.VARCHAR else {}
    field = Field("x", T.ARRAY, element_type=kind, max_capacity=10, nullable=True, **options)
    values = data.draw(st.lists(st.none() | st.lists(VALUES[kind], max_size=4), max_size=6))
    cells = column_of(field, values)
    read = [None if cell is None else read_array(cell, READ[kind]) for cell in cells]
    assert read == [None if value is None else (OIDS[kind], value) for value in values]


def test_numpy_arrays_may_be_the_rows_of_an_array_field():
    field = Field("x", T.ARRAY, element_type=T.INT32, max_capacity=10)
    cells = column_of(field, [np.array([1, 2]), np.array([], np.int64), np.array([3])])
    assert [read_array(cell, READ[T.INT32])[1] for cell in cells] == [[1, 2], [], [3]]


VECTORS = {
    T.FLOAT_VECTOR: [[1.5, -2.0, *[0.0] * 14], [2.0**127] * 16],
    T.FLOAT16_VECTOR: [[1.5, -2.0, *[0.0] * 14], [65504.0] * 16],
    T.BFLOAT16_VECTOR: [[1.5, -2.0, *[0.0] * 14], [1.0078125] * 16],
    T.INT8_VECTOR: [[-128, 127, *[0] * 14], [1] * 16],
    T.BINARY_VECTOR: [b"\x81\xff", b"\x00\x01"],
    T.SPARSE_FLOAT_VECTOR: [{15: 1.5, 2: -2.0}, {}],
}


def plain(value):
    return value.tolist() if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("kind", VECTORS)
@pytest.mark.parametrize("nullable", [False, True])
def test_vectors_are_decoded_as_they_were_given(kind, nullable):
    field = Field("x", kind, dim=16, nullable=nullable)
    values = [*VECTORS[kind], *([None] if nullable else [])]
    decoded = [None if cell is None else plain(decoder(field)(cell)) for cell in column_of(field, values)]
    assert decoded == values


def test_vectors_are_written_as_pgvector_writes_them():
    from pgvector import Bit, HalfVector, SparseVector, Vector  # noqa: PLC0415

    expected = {
        T.FLOAT_VECTOR: [Vector(value) for value in VECTORS[T.FLOAT_VECTOR]],
        T.BFLOAT16_VECTOR: [Vector(value) for value in VECTORS[T.BFLOAT16_VECTOR]],
        T.FLOAT16_VECTOR: [HalfVector(value) for value in VECTORS[T.FLOAT16_VECTOR]],
        T.INT8_VECTOR: [HalfVector(value) for value in VECTORS[T.INT8_VECTOR]],
        T.BINARY_VECTOR: [Bit(value) for value in VECTORS[T.BINARY_VECTOR]],
        T.SPARSE_FLOAT_VECTOR: [SparseVector(value, 16) for value in VECTORS[T.SPARSE_FLOAT_VECTOR]],
    }
    for kind, values in VECTORS.items():
        cells = column_of(Field("x", kind, dim=16), values)
        assert cells == [value.to_binary() for value in expected[kind]]


FIELDS = (
    Field("title", T.VARCHAR, max_length=100),
    Field("year", T.INT32, nullable=True),
    Field("embedding", T.FLOAT_VECTOR, dim=2),
    Field("doc", T.JSON),
)


def books(count):
    return [
        {"id": i, "title": f"t{i}" * (i % 7), "year": i if i % 3 else None, "embedding": [i, 1.0], "doc": {"n": i}}
        for i in range(count)
    ]


def test_columns_of_a_fixed_width_come_first():
    batch = prepare(CollectionSchema((KEY, *FIELDS)), books(2))
    assert copy_columns(batch, partition="a") == ("id", "embedding", "_partition", "title", "year", "doc")
    batch = prepare(CollectionSchema((KEY, *FIELDS)), books(3)[1:])
    assert copy_columns(batch, partition=None) == ("id", "year", "embedding", "title", "doc")


@pytest.mark.parametrize("rows_per_chunk", [None, 1, 2, 7, 500])
@pytest.mark.parametrize("fields", [FIELDS, FIELDS[2:3]], ids=["varying", "fixed"])
def test_the_rows_are_the_same_however_they_are_cut(rows_per_chunk, fields):
    data = [{name: row[name] for name in ("id", *(field.name for field in fields))} for row in books(20)]
    rows = written(fields, data, partition="novels", rows_per_chunk=rows_per_chunk)
    assert [READ[T.INT64](row["id"]) for row in rows] == list(range(20))
    assert {row["_partition"] for row in rows} == {b"novels"}
    assert [decoder(FIELDS[2])(row["embedding"])[0] for row in rows] == list(range(20))
    if len(fields) > 1:
        assert [row["title"].decode() for row in rows] == [row["title"] for row in data]
        assert [read_json(row["doc"]) for row in rows] == [row["doc"] for row in data]


def test_many_rows_come_in_several_pieces():
    batch = prepare(CollectionSchema((KEY, *FIELDS)), books(1000))
    pieces = list(copy_stream(batch, partition="_default"))
    assert len(pieces) > 4
    assert len(read_copy(b"".join(pieces))) == 1000


def test_no_rows_are_a_header_and_a_trailer():
    assert written(FIELDS, [], partition="_default") == []


def test_dynamic_fields_become_the_column_meta():
    rows = written([], [{"id": 1, "a": [1], "b": None}, {"id": 2}], dynamic=True)
    assert [read_json(row["_meta"]) for row in rows] == [{"a": [1], "b": None}, {}]
    assert read_json(written([], [{"id": 1}], dynamic=True)[0]["_meta"]) == {}


def test_keys_that_are_not_drawn_yet_cannot_be_written():
    schema = CollectionSchema((Field("id", T.INT64, primary_key=True, auto_id=True), *FIELDS[2:3]))
    batch = prepare(schema, [{"embedding": [1, 2]}])
    with pytest.raises(InvalidArgument, match="keys of 'id' are to be drawn first"):
        list(copy_stream(batch, partition=None))
    rows = read_copy(b"".join(copy_stream(batch.with_keys([7]), partition=None)))
    assert READ[T.INT64](rows[0][0]) == 7


def test_a_moment_is_counted_in_utc():
    moment = datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    (cell,) = column_of(Field("x", T.TIMESTAMPTZ), [moment])
    assert READ[T.TIMESTAMPTZ](cell) == moment


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3)))
def test_any_float32_vector_survives(values):
    field = Field("x", T.FLOAT_VECTOR, dim=3)
    assert [decoder(field)(cell).tolist() for cell in column_of(field, values)] == values


@given(st.lists(st.lists(st.floats(width=16, allow_nan=False, allow_infinity=False), min_size=3, max_size=3)))
def test_any_float16_vector_survives(values):
    field = Field("x", T.FLOAT16_VECTOR, dim=3)
    assert [decoder(field)(cell).tolist() for cell in column_of(field, values)] == values


@given(st.lists(st.binary(min_size=2, max_size=2)))
def test_any_binary_vector_survives(values):
    field = Field("x", T.BINARY_VECTOR, dim=16)
    assert [decoder(field)(cell) for cell in column_of(field, values)] == values


@given(st.lists(st.dictionaries(st.integers(0, 99), st.floats(0.5, 100, width=32))))
def test_any_sparse_vector_survives(values):
    field = Field("x", T.SPARSE_FLOAT_VECTOR, dim=100)
    assert len(as_matrix(field, values)) == len(values)
    assert [decoder(field)(cell) for cell in column_of(field, values)] == values
