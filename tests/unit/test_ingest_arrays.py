from __future__ import annotations

import struct

import numpy as np
import pytest

from vecstore.ingest.arrays import MOST_BYTES, replacing
from vecstore.ingest.validation import prepare
from vecstore.schema import CollectionSchema, DataType, Field

T = DataType
KEY = Field("id", T.INT64, primary_key=True)
TITLE = Field("title", T.VARCHAR, max_length=100, nullable=True)
VECTOR = Field("v", T.FLOAT_VECTOR, dim=2)
OIDS = {"vector": 100_001, "halfvec": 100_002, "sparsevec": 100_003}


def commands(fields, data, *, partition="novels", dynamic=False):
    batch = prepare(CollectionSchema((KEY, *fields), dynamic=dynamic), data)
    return replacing(batch, "books", partition=partition, extension_schema="ext", vector_oids=OIDS)


def read_array(data: bytes) -> tuple[int, list[bytes | None]]:
    """Its elements' type and bytes, as array_recv() reads them."""
    dimensions, has_nulls, oid, count, first = struct.unpack_from(">iiiii", data)
    assert (dimensions, first) == (1, 1)
    at, elements = 20, []
    for _ in range(count):
        (length,) = struct.unpack_from(">i", data, at)
        at += 4
        elements.append(None if length == -1 else data[at : at + length])
        at += max(length, 0)
    assert at == len(data)
    assert has_nulls or None not in elements
    return oid, elements


def test_rows_go_in_as_arrays_in_the_order_of_the_keys():
    [command] = commands(
        [TITLE, VECTOR], {"id": [3, 1, 2], TITLE.name: ["c", None, "b"], "v": np.array([[3, 0], [1, 0], [2, 0]])}
    )
    *arrays, partition = command.values
    assert partition == b"novels"
    ids, titles, vectors = map(read_array, arrays)
    assert ids == (20, [struct.pack(">q", key) for key in (1, 2, 3)])
    assert titles == (25, [None, b"b", b"c"])
    assert vectors == (100_001, [struct.pack(">hhff", 2, 0, key, 0) for key in (1, 2, 3)])
    assert len(command.oids) == len(command.formats) == 4


def test_the_statement_names_every_type_with_its_schema():
    [command] = commands([TITLE, VECTOR], [{"id": 1, "v": [1, 2]}], dynamic=True)
    assert command.text.decode() == (
        'INSERT INTO "books"."entities" ("id", "title", "v", "_meta", "_partition") '
        "SELECT given.*, $5::pg_catalog.text FROM ROWS FROM ("
        'pg_catalog.unnest($1::"pg_catalog"."int8"[]), pg_catalog.unnest($2::"pg_catalog"."text"[]), '
        'pg_catalog.unnest($3::"ext"."vector"[]), pg_catalog.unnest($4::"pg_catalog"."jsonb"[])) '
        'AS given ("id", "title", "v", "_meta") ON CONFLICT ("id", "_partition") DO UPDATE SET '
        '"title" = excluded."title", "v" = excluded."v", "_meta" = excluded."_meta"'
    )


def test_texts_are_put_into_the_order_that_the_server_has_for_them():
    key = Field("id", T.VARCHAR, max_length=9, primary_key=True)
    batch = prepare(CollectionSchema((key, VECTOR)), [{"id": "a", "v": [1, 2]}])
    [command] = replacing(batch, "books", partition="novels", extension_schema="ext", vector_oids=OIDS)
    assert b""" AS given ("id", "v") ORDER BY given."id" ON CONFLICT """ in command.text


def test_a_row_beside_another_partition_key_is_deleted_first():
    tenant = Field("tenant", T.VARCHAR, max_length=9, partition_key=True)
    delete, insert = commands([VECTOR, tenant], [{"id": 1, "tenant": "a", "v": [1, 2]}], partition=None)
    assert delete.text.decode() == (
        'DELETE FROM "books"."entities" AS e USING ROWS FROM (pg_catalog.unnest($1::"pg_catalog"."int8"[]), '
        'pg_catalog.unnest($2::"pg_catalog"."text"[])) AS given ("id", "tenant") '
        'WHERE e."id" = given."id" AND e."tenant" <> given."tenant"'
    )
    assert [read_array(value)[1] for value in delete.values] == [[struct.pack(">q", 1)], [b"a"]]
    assert insert.text.startswith(b'INSERT INTO "books"."entities" ("id", "v", "tenant") SELECT given.* FROM')
    assert insert.text.endswith(b'ON CONFLICT ("id", "tenant") DO UPDATE SET "v" = excluded."v"')


def test_rows_may_depend_on_what_the_transaction_has_seen():
    batch = prepare(CollectionSchema((KEY, VECTOR)), [{"id": 1, "v": [1, 2]}])
    options = {"extension_schema": "ext", "vector_oids": OIDS, "seen": ("mine.seen", b"so")}
    [command] = replacing(batch, "books", partition="novels", **options)
    assert (
        b""" AS given ("id", "v") WHERE pg_catalog.current_setting('mine.seen') = $4::pg_catalog.text """
        in command.text
    )
    assert command.values[2:] == [b"novels", b"so"]


def test_the_same_columns_have_the_same_statement():
    first, second = (commands([VECTOR], [{"id": key, "v": [1, 2]}])[0] for key in (1, 2))
    assert first.text is second.text


@pytest.mark.parametrize(
    ("kind", "name", "oid"),
    [(T.FLOAT16_VECTOR, b'"ext"."halfvec"', 100_002), (T.BINARY_VECTOR, b'"pg_catalog"."bit"', 1560)],
)
def test_vectors_go_in_as_what_stores_them(kind, name, oid):
    value = b"\x81" if kind is T.BINARY_VECTOR else [1] * 8
    [command] = commands([Field("v", kind, dim=8)], [{"id": 1, "v": value}])
    assert b"$2::" + name + b"[]" in command.text
    assert read_array(command.values[1])[0] == oid


def test_what_is_too_large_or_has_arrays_does_not_go_in_so():
    tags = Field("tags", T.ARRAY, element_type=T.INT32, max_capacity=3)
    assert commands([tags], [{"id": 1, "tags": [1]}]) is None
    half = MOST_BYTES // 2_000
    assert commands([Field("t", T.TEXT)], {"id": range(1_000), "t": ["x" * half] * 1_000}) is not None
    assert commands([Field("t", T.TEXT)], {"id": range(2_000), "t": ["x" * half] * 2_000}) is None
