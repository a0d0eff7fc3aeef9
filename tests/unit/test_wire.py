from __future__ import annotations

import numpy as np
import psycopg
import pytest
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.pq import Format
from sqlalchemy import Integer, String, bindparam, column, literal, select, table
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.types import NullType

from vecstore import InvalidArgument
from vecstore.wire import WireValue, numbered, register, template, wire_array

ROWS = table("rows %", column("id", Integer), column("name", String))
DIALECT = numbered(PGDialect_psycopg())


class Context:
    """What values are encoded with where there is no connection."""

    adapters = AdaptersMap(psycopg.adapters)
    connection = None


register(Context.adapters, {})


def loaded(value: WireValue) -> object:
    return Transformer(Context()).get_loader(value.oid, Format.BINARY).load(value.data)


@pytest.mark.parametrize("keys", [[], [1], [-(2**63), 0, 2**63 - 1]])
def test_an_array_of_integers_is_read_as_it_was_written(keys: list[int]) -> None:
    assert loaded(wire_array(np.array(keys, np.int64))) == keys


@pytest.mark.parametrize("keys", [[], ["a"], ["", "ä", '{x,"y"}', "NULL", "\\"]])
def test_an_array_of_texts_is_read_as_it_was_written(keys: list[str]) -> None:
    assert loaded(wire_array(keys)) == keys


def test_values_are_numbered_and_percent_signs_stay_single() -> None:
    statement = select(ROWS.c.id % 7).where(ROWS.c.name == "100 %", ROWS.c.id.in_([1, 2]))
    made = template(statement, DIALECT, Context())
    assert b'"rows %"' in made.text
    assert b"%%" not in made.text
    assert sorted(set(made.text.split(b"$")[1:])) != []
    assert len(made.values) == len(made.oids) == len(made.formats) == 4


def test_a_blank_that_stands_in_two_places_is_one_parameter() -> None:
    blank = bindparam("query", value=None, type_=NullType())
    made = template(select(blank, ROWS.c.name.op("<->")(blank)), DIALECT, Context(), blanks=["query"])
    filled = made.filled({"query": WireValue(99, b"vector")})
    assert (list(filled.oids), list(filled.values), list(filled.formats)) == ([99], [b"vector"], [Format.BINARY])
    assert made.values == (None,)


def test_more_values_than_a_statement_takes_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="70,000 values"):
        template(select(ROWS).where(ROWS.c.id.in_(range(70_000))), DIALECT, Context())


def test_a_literal_is_written_with_its_backslashes_as_the_server_reads_them() -> None:
    dialect = PGDialect_psycopg()
    dialect._backslash_escapes = False
    made = template(select(literal("a\\b%", literal_execute=True)), numbered(dialect), Context())
    assert b"'a\\b%'" in made.text


def test_a_document_of_another_format_is_refused_not_misread():
    adapters = AdaptersMap()
    register(adapters, {})
    load = adapters.get_loader(3802, Format.BINARY)(3802).load
    assert load(b'\x01{"a": [1, 123456789012345678901234567890, 0.5]}') == {
        "a": [1, 123456789012345678901234567890, 0.5]
    }
    with pytest.raises(psycopg.DataError, match="unknown version of jsonb's binary format: 2"):
        load(b"\x02{}")
