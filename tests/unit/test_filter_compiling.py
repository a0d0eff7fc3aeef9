from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from sqlalchemy import ColumnElement
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.sql.elements import False_, True_

from vecstore import Btree, CollectionSchema, DataType, Field, Gin
from vecstore.filters import FilterError, compile_filter
from vecstore.tables import entities

FIELDS = (
    Field("id", DataType.INT64, primary_key=True),
    Field("flag", DataType.BOOL, nullable=True),
    Field("tiny", DataType.INT8, nullable=True),
    Field("year", DataType.INT32, nullable=True),
    Field("price", DataType.FLOAT, nullable=True),
    Field("title", DataType.VARCHAR, max_length=64, nullable=True),
    Field("body", DataType.TEXT, nullable=True),
    Field("born", DataType.TIMESTAMPTZ, nullable=True),
    Field("meta", DataType.JSON, nullable=True),
    Field("ints", DataType.ARRAY, element_type=DataType.INT8, max_capacity=8, nullable=True),
    Field("words", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=16, max_capacity=8),
    Field("embedding", DataType.FLOAT_VECTOR, dim=2),
)
CLOSED = CollectionSchema(FIELDS)
OPEN = CollectionSchema(FIELDS, dynamic=True)


def condition(text: str, schema: CollectionSchema = OPEN, **parameters: Any) -> ColumnElement[bool]:
    compiled = compile_filter(text, schema, entities("books", schema, extension_schema="public"), parameters)
    assert compiled is not None
    return compiled


def sql(text: str, **parameters: Any) -> tuple[str, list[Any]]:
    compiled = condition(text, **parameters).compile(dialect=PGDialect_psycopg())
    return str(compiled).replace("books.entities.", ""), list(compiled.params.values())


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_an_empty_filter_is_none(text: str) -> None:
    assert compile_filter(text, OPEN, entities("books", OPEN, extension_schema="public")) is None


@pytest.mark.parametrize(
    ("text", "expected", "values"),
    [
        ("year >= 1990", "year >= %(param_1)s::BIGINT", [1990]),
        ("1990 < year", "year > %(param_1)s::BIGINT", [1990]),
        ("year in [1, 2]", "year = ANY (%(param_1)s::BIGINT[])", [[1, 2]]),
        ("title like 'A\\%%'", "title LIKE %(param_1)s::VARCHAR", ["A\\%%"]),
        ("title < 'b'", "title ~<~ %(param_1)s::VARCHAR", ["b"]),
        ("'b' <= words[0]", "words[%(param_1)s::INTEGER] ~>=~ %(param_2)s::VARCHAR", [1, "b"]),
        ("title is not null", "title IS NOT NULL", []),
        ("1 < 2 and id == -9223372036854775808", "id = %(param_1)s::BIGINT", [-(2**63)]),
        ("id == 7 / -2 + 2 ** 3 * 10 % 7", "id = %(param_1)s::BIGINT", [0]),
        ("year == {y}", "year = %(param_1)s::BIGINT", [1990]),
        ("random_sample(0.5)", "pg_catalog.random() < %(param_1)s", [0.5]),
    ],
)
def test_a_filter_becomes_sql_with_bound_values(text: str, expected: str, values: list[Any]) -> None:
    assert sql(text, y=1990) == (expected, values)


@pytest.mark.parametrize("text", ["true", "1 == 1", "true or id == 1", "id not in []", "not false", "'a' < 'b'"])
def test_a_filter_that_is_always_true_is_sqlalchemys_true(text: str) -> None:
    assert isinstance(condition(text), True_)


@pytest.mark.parametrize("text", ["false", "1 > 2", "false and id == 1", "id in []", "not true", "true == false"])
def test_a_filter_that_is_never_true_is_sqlalchemys_false(text: str) -> None:
    assert isinstance(condition(text), False_)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # A condition is needed, or a value.
        ("flag", "write `flag == true`"),
        ("not flag", "write `flag == true`"),
        ("id > 1 and flag", "write `flag == true`"),
        ("dyn", "alone is no condition"),
        ("1", "alone is no condition"),
        ("'text'", "alone is no condition"),
        ("id + 1", "alone is no condition"),
        ("array_length(ints)", "alone is no condition"),
        ("not id == 1", "brackets may be missing"),
        ("not id in [1]", "brackets may be missing"),
        ("(id == 1) == true", "brackets may be missing"),
        ("id & 1 == 1", "& applies to numbers"),
        # Types.
        ("title == 1", "cannot be compared"),
        ("year == 'x'", "cannot be compared"),
        ("flag == 1", "cannot be compared"),
        ("flag > true", "does not apply to a boolean"),
        ("born > '2025-01-01'", "write ISO"),
        ("born > ISO 'yesterday'", "no timestamp"),
        ("title == year", "cannot be compared"),
        ("flag < flag", "does not apply to a boolean"),
        ("meta['a'] == year", "only fields and constants"),
        ("ints == words", "cannot be compared with a field"),
        ("ints == 1", "array_contains"),
        ("ints > [1]", "does not apply"),
        ("ints == ['a']", "cannot cast value"),
        ("meta['a'] > true", "does not apply"),
        ("embedding == 1", "is null"),
        ("'a' == 1", "cannot be compared"),
        ("[1] == [1]", "cannot be compared"),
        ("true < false", "does not apply"),
        ("id == 9223372036854775808", "beyond 64 bits"),
        ("id == 9223372036854775807 + 1", "beyond 64 bits"),
        ("id == -9223372036854775809", "beyond 64 bits"),
        # in
        ("year in [4.0]", "cannot cast value to an integer"),
        ("price in [5, 6.0, true]", "cannot cast value"),
        ("title in [1]", "cannot cast value"),
        ("flag in [1]", "cannot cast value"),
        ("year in [1, 'a']", "cannot cast value"),
        ("1 in [1]", "the left of `in` is a field"),
        ("(id + 1) in [1]", "the left of `in` is a field"),
        ("id in year", "the right of `in`"),
        ("id in 1", "the right of `in`"),
        ("id in {one}", "the right of `in`"),
        ("id in [year]", "constants only"),
        ("ints in [1]", "does not apply"),
        # ranges
        ("1 < 3 < 2", "single field in the middle"),
        ("1 < year + 1 < 3", "single field in the middle"),
        ("1 < ints < 3", "a range is of"),
        ("true < flag < false", "a range is of"),
        ("1.0 < year < 2.0", "cannot cast value"),
        ("5 < year < 1", "lower bound"),
        ("5 > year < 7", "same way"),
        ("1 < year < title", "constants at both ends"),
        ("1 < meta['a'] < 'b'", "cannot lie between"),
        ("1 < year < 2 < 3", "one field between two"),
        # arithmetic
        ("id + year == 1", "multiple fields"),
        ("(id + 1) * 2 == 1", "complicated arithmetic"),
        ("id ** 2 == 1", "power can only apply on constants"),
        ("id << 2 == 1", "shift can only apply on constants"),
        ("id / 0 == 1", "division by zero"),
        ("id % 0 == 1", "division by zero"),
        ("id == 1 / 0", "division by zero"),
        ("id == 1 % 0", "division by zero"),
        ("id == 0 ** -1", "division by zero"),
        ("id == 1 << 64", "a shift is"),
        ("id == (-8) ** 0.5", "no such power"),
        ("id == (1.5 & 1)", "integers only"),
        ("price % 2 == 1", "integer types"),
        ("title + 1 == 1", "applies to numbers"),
        ("id + 'a' == 1", "applies to numbers"),
        ("id + 1 == 'a'", "result of arithmetic"),
        ("id + 1 == year", "only fields and constants"),
        ("-year == 1", "applies to constants only"),
        ("-true == 1", "does not apply"),
        ("meta & 1 == 1", "applies to numbers"),
        ("(meta['a'] & 1) == 1", "not supported"),
        ("array_length(ints) + 1 == 2", "compared directly"),
        ("array_length(ints) == 1.5", "cannot cast value"),
        ("array_length(year) == 1", "takes an ARRAY or JSON"),
        ("born + 1 == ISO '2025-01-01'", "INTERVAL"),
        ("born + INTERVAL 'P' > ISO '2025-01-01'", "no interval"),
        ("born + INTERVAL 'P5000Y' > ISO '2025-01-01'", "longer than"),
        ("INTERVAL 'P1D' - born > ISO '2025-01-01'", "cannot be taken"),
        # patterns
        ("year like 'a'", "applies to a string field"),
        ("ints like 'a'", "applies to a string field"),
        ("title like 'a\\\\'", "backslash that escapes nothing"),
        ("title like {one}", "is a string"),
        ("title =~ '('", "regular expression is invalid"),
        ("title =~ 'a)'", "regular expression is invalid"),
        ("title =~ '*a'", "regular expression is invalid"),
        ("title =~ '[a'", "regular expression is invalid"),
        ("title =~ '[z-a]'", "regular expression is invalid"),
        ("title =~ 'a{3,2}'", "regular expression is invalid"),
        ("title =~ r'\\'", "regular expression is invalid"),
        ("title =~ r'\\1'", "regular expression is invalid"),
        ("title =~ r'\\pL'", "not supported"),
        ("title =~ '(?=a)'", "not supported"),
        ("title =~ 'a{300}'", "not supported"),
        ("title =~ '((a{99}){99})'", "not supported"),
        ("title =~ '" + "a" * 1001 + "'", "at most 1,000"),
        # names
        ("yaer == 1", "field yaer not exist; did you mean 'year'"),
        ("nothing_like_it == 1", "not exist"),
        ("year['a'] == 1", "only JSON and ARRAY"),
        ("ints['a'] == 1", "one index"),
        ("ints[0][1] == 1", "one index"),
        ("$meta['a'] == 1", "no dynamic fields"),
        ("year == {missing}", "no value is given for {missing}"),
        ("year == {nothing}", "NULL is not a value"),
        ("year == {big}", "beyond 64 bits"),
        ("year == {thing}", "is no value of a filter"),
        # functions
        ("exists meta", "exists operations are only supported"),
        ("exists year", "exists operations are only supported"),
        ("array_contains(year, 1)", "takes an ARRAY or JSON"),
        ("array_contains(ints)", "takes an array and"),
        ("array_contains(ints, 'a')", "cannot cast value"),
        ("array_contains(ints, year)", "constants only"),
        ("array_contains_all(ints, 1)", "takes a list"),
        ("json_contains(meta['a'], ISO '2025-01-01')", "JSON does not contain"),
        ("text_match(year, 'a')", "takes a string field"),
        ("text_match(title, 1)", "takes a field and a string"),
        ("text_match(title, 'a', slop=1)", "takes a field and a string"),
        ("text_match(title, 'a', minimum_should_match=0)", "at least 1"),
        ("phrase_match(title, 'a b', -1)", "slop is from 0"),
        ("phrase_match(title, 'a b c d', 100)", "not supported"),
        ("random_sample(1.5)", "between 0 and 1"),
        ("random_sample(0.5) or id == 1", "random_sample stands alone"),
        ("random_sample(0.5) and id == 1", "random_sample stands alone"),
        ("not random_sample(0.5)", "random_sample stands alone"),
        ("(id == 1 and random_sample(0.5)) or id == 2", "random_sample stands alone"),
        ("text_match_fuzzy(title, 'a')", "text_match_fuzzy is not supported"),
        ("match_any(s, id == 1)", "structs, is not supported"),
        ("element_filter(s, 1)", "structs, is not supported"),
        ("st_within(title, 'POINT (1 1)')", "geometry, is not supported"),
        ("Json_Contains(meta['a'], 1)", "no function"),
        ("pg_sleep(10)", "no function 'pg_sleep'"),
    ],
)
def test_a_filter_that_the_collection_cannot_answer_is_refused(text: str, message: str) -> None:
    schema = OPEN if text == "dyn" else CLOSED
    parameters = {"one": 1, "nothing": None, "big": 2**63, "thing": object()}
    with pytest.raises(FilterError, match=message) as caught:
        condition(text, schema, **parameters)
    assert 0 <= caught.value.position < len(text)


@pytest.mark.parametrize(
    "text",
    [
        "5 < meta['a'] < 1",
        "{five} < year < 1",
        "1 < meta < 3",
        "year > 1.5",
        "price == 1 and price in [1, 2.5]",
        "meta['a'] in [1, 'a', true]",
        "id + 1.1 == 2.1",
        "phrase_match(body, 'a b', 2) and PHRASE_MATCH(title, '')",
        "text_match(body, 'a b c', minimum_should_match=2) and text_match(body, '')",
        "id == 1 and random_sample(0.1)",
        "embedding is null",
        "born - INTERVAL '-P1Y2M3W4DT5H6M7.5S' >= ISO '2025-01-01T00:00:00Z'",
        "born > {moment}",
        "$meta['a'] == 1 or dyn[0]['x'] like 'a%'",
        "json_contains_any(meta['a'], [1, [2, 'a'], true])",
        "year in {array}",
        "title =~ r'(?i)^(?P<x>a|[^\\d\\-x])+?\\.\\Q.*\\E\\x41\\x{42}[[:alpha:]a-z-]{2,3}\\b$'",
    ],
)
def test_a_filter_of_milvus_is_taken(text: str) -> None:
    moment = datetime(2025, 1, 1, tzinfo=UTC)
    assert sql(text, five=5, moment=moment, array=np.array([1, 2]))


HOSTILE = [
    "'", '"', "''", "\\", "\\'", "%", "%s", "%(x)s", "{}", "{x}", "--", "/*", ";", "'; DROP TABLE books; --", "$1",
    ":x",
    "$.a == 1 || 1 == 1", '" || 1==1', "a.b", "[*]", "@", "?", "'||'", "E'\\x'", "\n", "é", "{a,b}", ",", "NULL", "#>>",
]  # fmt: skip


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def replaced(value: Any, hostile: str) -> Any:
    """The value with the hostile string, wherever it stands as a whole, made harmless."""
    if isinstance(value, list):
        return [replaced(item, hostile) for item in value]
    if isinstance(value, dict):
        return {replaced(key, hostile): replaced(item, hostile) for key, item in value.items()}
    return "harmless" if value == hostile else value


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize(
    "form",
    [
        "title == {0}",
        "title in [{0}, 'x']",
        "title =~ r'x' and title != {0}",
        "meta[{0}] == 1",
        "meta['a'] == {0}",
        "meta[{0}][0] is null",
        "exists $meta[{0}]",
        "json_contains(meta[{0}], {0})",
        "array_contains_any(words, [{0}])",
        "words[0] < {0}",
    ],
)
def test_no_value_and_no_key_is_part_of_the_sql(form: str, hostile: str) -> None:
    text, values = sql(form.format(quoted(hostile)))
    harmless, expected = sql(form.format(quoted("harmless")))
    assert text == harmless
    assert replaced(values, hostile) == expected


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("function", ["text_match", "phrase_match"])
def test_only_words_are_looked_for_in_texts(function: str, hostile: str) -> None:
    text, values = sql(f"{function}(body, {quoted(hostile)})")
    words = [value for value in values if isinstance(value, str) and value != "pg_catalog.simple"]
    assert all(word.replace("_", "").replace(" ", "").isalnum() for word in words)
    assert text.startswith(("to_tsvector(", "CASE"))


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_like_pattern_is_bound_as_it_is(hostile: str) -> None:
    if hostile.endswith("\\"):
        return
    text, values = sql("title like {p} or meta['a'] like {p}", p=hostile)
    assert text == sql("title like {p} or meta['a'] like {p}", p="x")[0]
    assert hostile in values


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("meta['a'] == 1", [{"a": 1}]),
        ("meta['a']['b'] == 'x'", [{"a": {"b": "x"}}]),
        ("meta['a'] in [1, 'b']", [['{"a": 1}', '{"a": "b"}']]),
        ("json_contains(meta['a'], 1)", [{"a": [1]}]),
        ("json_contains_all(meta['a'], [1, 2])", [{"a": [1, 2]}]),
        ("json_contains_any(meta['a'], [1, 2])", [['{"a": [1]}', '{"a": [2]}']]),
        # Where unknown is not false, where the index knows no such thing, and where it would give too few.
        ("not (meta['a'] == 1)", []),
        ("meta['a'] not in [1]", []),
        ("meta['a'] != 1", []),
        ("meta['a'] > 1", []),
        ("meta['a'] == [1]", []),
        ("meta['a'][0] == 1", []),
        ("meta['a']['0'] == 1", []),
        ("meta['a'] in []", []),
        (f"meta['a'] in {list(range(101))}", []),
        ("json_contains_any(meta['a'], [])", []),
        ("json_contains_all(meta['a'], [])", []),
        ("json_contains(meta['a'], [1])", []),
        ("dyn == 1", []),
        # Where a btree is better: it is on numbers, and knows no strings.
        ("meta['n'] == 1", []),
        ("meta['n'] in [1, 2.5]", []),
        ("meta['n'] == 'x'", [{"n": "x"}]),
        ("meta['n'] in [1, 'x']", [['{"n": 1}', '{"n": "x"}']]),
        ("json_contains(meta['n'], 1)", [{"n": [1]}]),
        # An array contains its elements, and is none of them.
        ("meta == 1", []),
        ("json_contains(meta, 1)", [[1]]),
    ],
)
def test_json_is_asked_for_containment_where_a_gin_index_answers(text: str, documents: list[Any]) -> None:
    table = entities("books", OPEN, extension_schema="public")
    indexes = {("meta", Gin()), ("meta['n']", Btree(cast=DataType.DOUBLE))}
    plain, asked = (
        compile_filter(text, OPEN, table, indexes=known).compile(dialect=PGDialect_psycopg())  # type: ignore[union-attr]
        for known in (set[Any](), indexes)
    )
    assert not str(plain).startswith("books.entities.meta @>")
    if documents:
        assert str(asked).startswith("books.entities.meta @>")
        assert list(asked.params.values()) == documents
    else:
        assert str(asked) == str(plain)


@pytest.mark.parametrize(
    ("words", "slop", "forms"), [(1, 2**32 - 1, 1), (2, 5, 6), (2, 319, 320), (3, 2, 6), (25, 1, 25), (256, 0, 1)]
)
def test_a_phrase_with_other_words_between_its_own_is_one_of_several(words: int, slop: int, forms: int) -> None:
    text, _ = sql(f"phrase_match(body, '{' '.join('w' * words)}', {slop})")
    assert text.count("@@") == 1
    assert text.count("tsquery_phrase(") == forms * (words - 1 if slop else 0)


@pytest.mark.parametrize(("words", "slop"), [(2, 320), (26, 1), (64, 1), (256, 1), (256, 2**32 - 1)])
def test_a_phrase_of_too_many_forms_is_refused(words: int, slop: int) -> None:
    with pytest.raises(FilterError, match=f"a slop of {slop} between {words} words is not supported"):
        sql(f"phrase_match(body, '{' '.join('w' * words)}', {slop})")


def test_a_texts_configuration_is_a_literal_that_no_search_path_changes() -> None:
    fields = (
        Field("id", DataType.INT64, primary_key=True),
        Field("plain", DataType.TEXT),
        Field("english", DataType.TEXT, text_search="english"),
        Field("mine", DataType.TEXT, text_search="Public.my_German"),
    )
    schema = CollectionSchema(fields)
    table = entities("books", schema, extension_schema="public")
    for name, literal in {
        "plain": "pg_catalog.simple",
        "english": "pg_catalog.english",
        "mine": '"Public"."my_German"',
    }.items():
        for call in (f"text_match({name}, 'a')", f"phrase_match({name}, 'a b')", f"phrase_match({name}, 'a b', 1)"):
            compiled = compile_filter(call, schema, table).compile(  # type: ignore[union-attr]
                dialect=PGDialect_psycopg(), compile_kwargs={"render_postcompile": True}
            )
            assert f"to_tsvector(CAST('{literal}' AS REGCONFIG), books.entities.{name})" in str(compiled)
            assert f"to_tsquery(CAST('{literal}' AS REGCONFIG), " in str(compiled)


def test_a_filter_is_a_string() -> None:
    with pytest.raises(FilterError, match="a filter is a str, not int"):
        compile_filter(1, OPEN, entities("books", OPEN, extension_schema="public"))  # type: ignore[arg-type]
