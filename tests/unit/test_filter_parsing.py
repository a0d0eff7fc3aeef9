from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.dialects import postgresql

from vecstore import CollectionSchema, DataType, Field
from vecstore.errors import VecstoreError
from vecstore.filters import FilterError, compile_filter, parse
from vecstore.filters.tree import Binary, Call, Chain, Constant, Exists, IsNull, Listing, Logic, Name, Template, Unary
from vecstore.naming import DYNAMIC_COLUMN, path_text
from vecstore.tables import entities

SCHEMA = CollectionSchema(
    (
        Field("id", DataType.INT64, primary_key=True),
        Field("title", DataType.VARCHAR, max_length=64),
        Field("embedding", DataType.FLOAT_VECTOR, dim=2),
    )
)
TABLE = entities("books", SCHEMA, extension_schema="public")

A, B, ONE, TWO = Name("a"), Name("b"), Constant(1), Constant(2)
A_IS_1, B_IS_2, A_IS_2 = Binary("==", A, ONE), Binary("==", B, TWO), Binary("==", A, TWO)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a == 1", Binary("==", A, ONE)),
        ("not a == 1", Binary("==", Unary("not", A), ONE)),
        ("not a like 'x%'", Unary("not", Binary("like", A, Constant("x%")))),
        ("a == 1 or b == 2 and a == 2", Logic("or", (A_IS_1, Logic("and", (B_IS_2, A_IS_2))))),
        ("a & 1 == 1", Binary("&", A, Binary("==", ONE, ONE))),
        ("a + 1 * 2 == 2", Binary("==", Binary("+", A, Binary("*", ONE, TWO)), TWO)),
        ("-2 ** 2 == a", Binary("==", Unary("-", Binary("**", TWO, TWO)), A)),
        ("1 < a <= 2", Chain(("<", "<="), (ONE, A, TWO))),
        ("a in [1, 2,]", Binary("in", A, Listing((ONE, TWO)))),
        ("a NOT IN []", Binary("not in", A, Listing(()))),
        ("a in {ids}", Binary("in", A, Template("ids"))),
        ("""a["x"][0]['y'] is not null""", IsNull(Name("a", ("x", 0, "y")), negated=True)),
        ("exists $meta['x']", Exists(Name("$meta", ("x",)))),
        ("a =~ r'\\d'", Binary("=~", A, Constant("\\d"))),
        ("!(a == 1) && b == 2 || a == 2", Logic("or", (Logic("and", (Unary("not", A_IS_1), B_IS_2)), A_IS_2))),
        ("text_match(a, 'x', n=2)", Call("text_match", (A, Constant("x")), (("n", TWO),))),
        ("android == 1", Binary("==", Name("android"), ONE)),
        ("书名 == 1", Binary("==", Name("书名"), ONE)),
        ("iso == 1", Binary("==", Name("iso"), ONE)),
    ],
)  # fmt: skip
def test_a_filter_means_its_tree(text: str, tree: object) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("017", 15), ("0x1F", 31), ("0b101", 5), (".5", 0.5), ("1.", 1.0), ("1e3", 1000.0), ("0x1p4", 16.0),
        ("0x.8p1", 1.0), ("True", True), ("FALSE", False), ("'a'", "a"), ('"a"', "a"), (r"'\x41\u0042\103\n'", "ABC\n"),
        (r"'100\%'", "100\\%"), (r"'\\%'", "\\%"), (r"r'\x41'", "\\x41"), ("u8'é'", "é"), ('L"x"', "x"),
        (r"'it\'s'", "it's"), ("'-- ; {} %'", "-- ; {} %"),
    ],
)  # fmt: skip
def test_a_literal_has_its_value(text: str, value: object) -> None:
    parsed = parse(text)
    assert isinstance(parsed, Constant)
    assert (parsed.value, type(parsed.value)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("id = 1", 3, "equality is =="),
        ("id == 'x", 6, "is the string closed"),
        ("(id == 1", 8, "unexpected the end of the filter"),
        ("id == 1)", 7, "unexpected '\\)'"),
        ("id == 08", 6, "unexpected '0'"),
        ("id == 12ab", 6, "unexpected '1'"),
        ("id Like 'a'", 3, "unexpected 'Like'"),
        ("id ! in [1]", 3, "unexpected '!'"),
        ("id == null", 6, "NULL is not a value"),
        ("id in [1, NULL]", 10, "NULL is not a value"),
        ("s[sub] == 1", 2, "structs.* not supported"),
        ("$[sub] == 1", 0, "structs.* not supported"),
        (r"title == '\0'", 9, "NUL"),
        (r"title == '\ud800'", 9, "surrogate"),
        ("id == 1e999", 6, "beyond double precision"),
        ("id == 0x1p99999", 6, "beyond double precision"),
    ],
)
def test_a_filter_that_is_none_is_refused_where_it_goes_wrong(text: str, position: int, message: str) -> None:
    with pytest.raises(FilterError, match=message) as caught:
        parse(text)
    assert caught.value.position == position


def test_an_error_shows_the_line_the_place_and_what_was_expected() -> None:
    with pytest.raises(FilterError) as caught:
        parse("id == 1 and\n  title >")
    assert str(caught.value).splitlines()[1:3] == ["    title >", "           ^"]
    assert "a string" in caught.value.expected
    assert str(caught.value).splitlines()[3].startswith("expected: ")
    assert isinstance(caught.value, VecstoreError)
    assert isinstance(caught.value, ValueError)


def test_a_long_line_is_cut_around_the_place() -> None:
    with pytest.raises(FilterError) as caught:
        parse("id == 1 or " * 50 + "id = 1" + " or id == 1" * 50)
    _, line, caret, *_ = str(caught.value).splitlines()
    assert len(line) < 120
    assert line[caret.index("^")] == "="


def nested(depth: int) -> str:
    return "(id == 1 or id == 2 and " * depth + "id == 3" + ")" * depth


@pytest.mark.parametrize(
    "text", [nested(98), "not (" * 48 + nested(1) + ")" * 48, "id == " + "(" * 99 + "1" + ")" * 99]
)
def test_a_filter_of_the_greatest_depth_becomes_sql_on_a_small_stack(text: str) -> None:
    frame, frames = sys._getframe(), 0
    while frame:
        frame, frames = frame.f_back, frames + 1
    limit = sys.getrecursionlimit()
    condition = compile_filter(text, SCHEMA, TABLE)
    try:
        sys.setrecursionlimit(frames + 150)
        sql = str(select(TABLE.c.id).where(condition).compile(dialect=postgresql.dialect()))
    finally:
        sys.setrecursionlimit(limit)
    assert sql.count("(") == sql.count(")")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (nested(2_000), "100 deep"),
        ("(" * 10_000 + "id == 1" + ")" * 10_000, "100 deep"),
        ("[" * 20_000, "100 deep"),
        ("not " * 10_000 + "id == 1", "100 deep"),
        ("id == " + "-" * 10_000 + "1", "100 deep"),
        ("id == " + "1+" * 20_000 + "1", "100 deep"),
        ("title == r'\\' or " + "(" * 5_000 + "id == 1" + ")" * 5_000, "100 deep"),
        ("id == 1 or " * 90_000 + "id == 1", "at most 65,536"),
        ("é" * 1_000_000, "at most 65,536"),
        ("id in [" + "1," * 16_385 + "]", "at most 16,384"),
        ("id == " + "9" * 65_000, "beyond 64 bits"),
        ("id == 0x" + "f" * 65_000, "beyond 64 bits"),
        ("'" * 65_000, "unexpected"),
        ('\\"' * 32_000, "unexpected"),
        ("@" * 65_000, "unexpected"),
        ("." * 65_000, "unexpected"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_too_large_is_refused_at_once(text: str, message: str) -> None:
    parse("id == 1")  # the grammar is read at the first call

    def seconds() -> float:
        """Of the processor, which others may be using, too."""
        begin = time.thread_time()
        with pytest.raises(FilterError, match=message):
            compile_filter(text, SCHEMA, TABLE)
        return time.thread_time() - begin

    assert min(seconds() for _ in range(3)) < 0.1


def test_a_list_and_a_template_may_be_as_long_as_the_limit() -> None:
    assert compile_filter("id in [" + "1," * 16_383 + "1]", SCHEMA, TABLE) is not None
    assert compile_filter("id in {ids}", SCHEMA, TABLE, {"ids": list(range(16_384))}) is not None
    with pytest.raises(FilterError, match="at most 16,384"):
        compile_filter("id in {ids}", SCHEMA, TABLE, {"ids": list(range(16_385))})


def test_a_chain_is_no_depth() -> None:
    assert compile_filter(" or ".join(["id == 1"] * 5_000), SCHEMA, TABLE) is not None


KEYS = st.lists(
    st.one_of(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.integers(0, 2**31)),
    max_size=4,
)


@given(st.sampled_from(["meta", "Like_1", DYNAMIC_COLUMN]), KEYS)
def test_the_path_of_an_index_is_a_filters_own(column: str, keys: list[str | int]) -> None:
    text = path_text(column, keys)
    assert parse(text) == Name("$meta" if column == DYNAMIC_COLUMN else column, tuple(keys))
    assert text.isprintable()
