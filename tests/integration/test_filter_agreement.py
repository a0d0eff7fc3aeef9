"""What PostgreSQL answers to compiled filters is what the reference in Python answers, on random rows and filters."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from filter_reference import Reference
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import ColumnElement, Connection, Select, Table, select

from vecstore import Btree, Collection, CollectionSchema, DataType, Field, FilterError, Gin, Store
from vecstore.filters import compile_filter, parse
from vecstore.pipeline import session_of
from vecstore.recent import Recent
from vecstore.schema import IndexSpec
from vecstore.shapes import Shape
from vecstore.tables import entities
from vecstore.wire import numbered, template

ROWS = 25
FILTERS = 60
EXAMPLES = 35

FIELDS = (
    Field("id", DataType.INT64, primary_key=True),
    Field("flag", DataType.BOOL, nullable=True),
    Field("tiny", DataType.INT8, nullable=True),
    Field("year", DataType.INT32, nullable=True),
    Field("big", DataType.INT64, nullable=True),
    Field("price", DataType.FLOAT, nullable=True),
    Field("exact", DataType.DOUBLE, nullable=True),
    Field("title", DataType.VARCHAR, max_length=64, nullable=True),
    Field("other", DataType.VARCHAR, max_length=64, nullable=True),
    Field("born", DataType.TIMESTAMPTZ, nullable=True),
    Field("meta", DataType.JSON, nullable=True),
    Field("ints", DataType.ARRAY, element_type=DataType.INT8, max_capacity=8, nullable=True),
    Field("words", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=16, max_capacity=8, nullable=True),
    Field("floats", DataType.ARRAY, element_type=DataType.FLOAT, max_capacity=8, nullable=True),
    Field("embedding", DataType.FLOAT_VECTOR, dim=1),
)
SCHEMA = CollectionSchema(FIELDS, dynamic=True)

NUMBERS = (-3, -1, 0, 1, 2, 3, 7, 127)
REALS = (-1.5, 0.0, 0.1, 0.5, 1.0, 2.0, 3.25, 1e30)
HUGE = (*REALS, 1.7e308, -1.7e308, 5e-324, 1e-200)
LARGE = (*NUMBERS, 2**63 - 1, -(2**63), 2**53 + 1)
TEXTS = ("", "a", "A", "ab", "b'", 'q"', "100%", "x_y", "back\\slash", "é", "z\n", "perl", "--;", "{}")
WORDS = ("a", "b", "ab", "b'")
MOMENTS = (
    "2024-02-29T12:00:00+00:00",
    "2025-01-31T00:00:00+00:00",
    "2025-03-30T01:30:00+00:00",
    "1999-12-31T23:59:59+00:00",
)
JSON_SCALARS: tuple[Any, ...] = (None, True, False, 0, 1, 2, 3, 1.0, 0.1, 2.5, "a", "1", "true", "b'", "ab")

INTERVALS = tuple(f"INTERVAL '{text}'" for text in ("P1M", "P1D", "PT36H", "P13M"))

json_scalars = st.sampled_from(JSON_SCALARS)
json_values = st.one_of(
    json_scalars,
    st.lists(json_scalars, max_size=3),
    st.fixed_dictionaries({}, optional={"b": json_scalars, "0": json_scalars, "q'\"": json_scalars}),
    st.lists(st.lists(json_scalars, max_size=2), max_size=2),
)
documents = st.one_of(
    st.fixed_dictionaries({}, optional={"a": json_values, "b": json_values, "k'": json_values}), json_values
)


def optional(values: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    return st.sampled_from((None, *values))


def arrays(values: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    return st.none() | st.lists(st.sampled_from(values), max_size=4)


rows = st.fixed_dictionaries(
    {
        "flag": optional((True, False)),
        "tiny": optional(NUMBERS),
        "year": optional(NUMBERS),
        "big": optional(LARGE),
        "price": optional(REALS),
        "exact": optional(HUGE),
        "title": optional(TEXTS),
        "other": optional(TEXTS),
        "born": optional(tuple(map(datetime.fromisoformat, MOMENTS))),
        "meta": st.none() | documents,
        "ints": arrays(NUMBERS),
        "words": arrays(WORDS),
        "floats": arrays(REALS),
        "embedding": st.just([1.0]),
    },
    optional={"dyn": json_values, "obj": documents},
)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def written(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    return "[" + ", ".join(map(written, value)) + "]" if isinstance(value, list) else repr(value)


RELATIONS = st.sampled_from(("==", "!=", "<", "<=", ">", ">="))
SAME = st.sampled_from(("==", "!="))
INTS = st.sampled_from(("tiny", "year", "big", "ints[0]", "ints[2]", "id"))
FLOATS = st.sampled_from(("price", "exact", "floats[1]"))
STRINGS = st.sampled_from(("title", "other", "words[0]"))
PATHS = st.sampled_from(
    (
        'meta["a"]',
        "meta['b']",
        'meta["k\'"]',
        'meta["a"][0]',
        'meta["a"]["0"]',
        'meta["a"]["q\'\\""]',
        'meta["a"]["b"]',
        'meta["a"]["-1"]',
        "meta",
        "dyn",
        'dyn["b"]',
        "dyn[1]",
        '$meta["dyn"]',
        '$meta["obj"]["a"]',
        'obj["b"]',
        "missing",
    )
)
KEYED = PATHS.filter(lambda path: path != "meta")
ints = st.sampled_from((*LARGE, 300)).map(written)
reals = st.sampled_from(HUGE).map(written)
texts = st.sampled_from(TEXTS).map(written)
moments = st.sampled_from(MOMENTS).map(lambda text: f"ISO '{text}'")
json_numbers = st.sampled_from((0, 1, 2, 2.5, 0.1, 1.0, -1)).map(written)
json_texts = st.sampled_from(("a", "1", "true", "b'", "ab")).map(written)
PATTERNS = st.sampled_from(("a%", "%b%", "_", "100\\%", "x\\_y", "%'", "%\\\\%", "", "%", "a_", "%é%")).map(written)
REGEXES = st.sampled_from(
    ("^a", "b'?$", "[a-z]+_", "(?i)A", "\\d{2,3}%", "a|z", "^.$", "\\bperl\\b", "[^a]", "^\\W+$", "")
).map(written)


_COMPARED = st.one_of(
    st.tuples(INTS, RELATIONS, st.one_of(ints, reals)),
    st.tuples(FLOATS, RELATIONS, st.one_of(ints, reals)),
    st.tuples(STRINGS, RELATIONS, texts),
    st.tuples(st.just("flag"), SAME, st.sampled_from(("true", "False"))),
    st.tuples(st.just("born"), RELATIONS, moments),
    st.tuples(PATHS, RELATIONS, st.one_of(json_numbers, json_texts)),
    st.tuples(PATHS, SAME, st.sampled_from(("true", "false", "[1, 2]", "[]", '["a"]', "[1.0]"))),
    st.tuples(st.just("ints"), SAME, st.sampled_from(("[1, 2]", "[]", "[300]", "[0]"))),
    st.tuples(
        st.sampled_from(("tiny", "year", "big", "price", "exact")),
        RELATIONS,
        st.sampled_from(("year", "exact", "price")),
    ),
    st.tuples(st.just("title"), RELATIONS, st.just("other")),
)


@st.composite
def comparisons(draw: st.DrawFn) -> str:
    """A field and a constant, either first, or two fields."""
    left, operator, right = draw(_COMPARED)
    if draw(st.booleans()):
        return f"{left} {operator} {right}"
    mirror = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
    return f"{right} {mirror.get(operator, operator)} {left}"


_RANGED = st.one_of(
    st.tuples(st.just(tuple(sorted(NUMBERS))), INTS),
    st.tuples(st.just(tuple(sorted(REALS))), FLOATS),
    st.tuples(st.just(("", "A", "a", "ab", "z")), STRINGS),
    st.tuples(st.just((0, 0.1, 1, 2.5, 3)), PATHS),
    st.tuples(st.just(("1", "a", "b")), PATHS),
)


@st.composite
def ranges(draw: st.DrawFn) -> str:
    ends, middle = draw(_RANGED)
    low, high = sorted((draw(st.sampled_from(ends)), draw(st.sampled_from(ends))))
    one, two = draw(st.sampled_from(("<", "<="))), draw(st.sampled_from(("<", "<=")))
    if draw(st.booleans()):
        return f"{written(low)} {one} {middle} {two} {written(high)}"
    flip = {"<": ">", "<=": ">="}
    return f"{written(high)} {flip[two]} {middle} {flip[one]} {written(low)}"


_SMALL = st.sampled_from((-2, -1, 1, 2, 3, 10, 2**62)).map(written)
_WHOLE = st.sampled_from(("+", "-", "*", "/", "%", "&", "|", "^"))
_FRACTIONS = st.sampled_from((0.5, -2.0, 1e300, 1e-300, 3.0, 5e-324, 1.5e308)).map(written)
_FIELDWISE = st.sampled_from(("+", "-", "*", "/"))
_COMPUTED = st.one_of(
    st.tuples(INTS, _WHOLE, _SMALL, ints),
    st.tuples(INTS, st.sampled_from(("+", "-", "*")), st.just("0.5"), reals),
    st.tuples(FLOATS, _FIELDWISE, st.one_of(_SMALL, _FRACTIONS), st.one_of(ints, reals)),
    st.tuples(KEYED, st.one_of(_FIELDWISE, st.just("%")), st.sampled_from(("1", "2", "-3")), json_numbers),
    st.tuples(KEYED, _FIELDWISE, st.just("0.5"), json_numbers),
    st.tuples(st.just("born"), st.sampled_from(("+", "-")), st.sampled_from(INTERVALS), moments),
)


@st.composite
def arithmetic(draw: st.DrawFn) -> str:
    left, operator, right, value = draw(_COMPUTED)  # fmt: skip
    if left != "born" and draw(st.booleans()):
        left, right = right, left
    made = f"({left} {operator} {right})" if operator in {"&", "|", "^"} else f"{left} {operator} {right}"
    return f"{made} {draw(RELATIONS)} {value}"


def lists_of(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(items, max_size=4).map(lambda values: f"[{', '.join(values)}]")


_MEMBERS = st.one_of(
    st.tuples(INTS, lists_of(ints)),
    st.tuples(FLOATS, lists_of(st.one_of(ints, reals))),
    st.tuples(STRINGS, lists_of(texts)),
    st.tuples(st.just("flag"), lists_of(st.just("true"))),
    st.tuples(PATHS, lists_of(st.one_of(json_numbers, json_texts, st.sampled_from(("true", "false"))))),
)


@st.composite
def memberships(draw: st.DrawFn) -> str:
    left, listing = draw(_MEMBERS)
    return f"{left} {draw(st.sampled_from(('in', 'not in', 'IN', 'NOT IN')))} {listing}"


_SCALARS = st.one_of(json_numbers, json_texts, st.just("true"))
_CONTAINED = st.one_of(
    st.tuples(st.just("ints"), ints, ints),
    st.tuples(st.just("words"), *[st.sampled_from(WORDS).map(written)] * 2),
    st.tuples(st.just("floats"), *[st.sampled_from((1, *REALS)).map(written)] * 2),
    st.tuples(PATHS, *[st.one_of(_SCALARS, lists_of(_SCALARS))] * 2),
)
_LENGTHS = st.one_of(PATHS, st.sampled_from(("ints", "words")))
_CONTAINS = st.sampled_from(("contains", "contains_all", "contains_any", "length"))
_PREFIXES = st.sampled_from(("json", "array"))


@st.composite
def functions(draw: st.DrawFn) -> str:
    kind = draw(_CONTAINS)
    if kind == "length":
        return f"array_length({draw(_LENGTHS)}) {draw(RELATIONS)} {draw(st.integers(0, 3))}"
    target, *items = draw(_CONTAINED)
    name = f"{draw(_PREFIXES)}_{kind}"
    if kind == "contains":
        return f"{name}({target}, {items[0]})"
    return f"{name}({target}, [{', '.join(items[: draw(st.integers(0, 2))])}])"


_ANYTHING = st.one_of(INTS, FLOATS, STRINGS, PATHS, st.sampled_from(("flag", "born", "ints")))
_TEXTUAL = st.one_of(STRINGS, PATHS)
others = st.one_of(
    st.tuples(_TEXTUAL, PATTERNS).map(" like ".join),
    st.tuples(_TEXTUAL, st.sampled_from(("=~", "!~")), REGEXES).map(" ".join),
    _ANYTHING.map(lambda name: f"{name} is null"),
    _ANYTHING.map(lambda name: f"{name} is not null"),
    KEYED.map(lambda path: f"exists {path}"),
    st.tuples(st.sampled_from(("~year", "~tiny")), RELATIONS, ints).map(" ".join),
    st.sampled_from(("true", "false", "1 == 2", '"a" < "b"')),
)

leaves = st.one_of(comparisons(), ranges(), arithmetic(), memberships(), functions(), others)
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(lambda one: f"not ({one})"),
        st.tuples(inner, st.sampled_from((" and ", " or ", " && ", " || ")), inner).map("".join),
        st.tuples(inner, st.sampled_from((" and ", " or ")), inner).map(lambda parts: f"({''.join(parts)})"),
    ),
    max_leaves=4,
)


@pytest.fixture
def collection(store: Store) -> Collection:
    return store.create_collection("books", FIELDS, dynamic=True)


@pytest.fixture
def connection(store: Store) -> Iterator[Connection]:
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("SET TimeZone = 'Europe/Berlin'")  # the answers must not depend on it
        yield connection


def found(connection: Connection, table: Table, text: str, indexes: Container[tuple[str, IndexSpec]] = ()) -> list[int]:
    statement = select(table.c.id).order_by(table.c.id)
    condition = compile_filter(text, SCHEMA, table, indexes=indexes)
    assert condition is not None
    return list(connection.execute(statement.where(condition)).scalars())


def test_the_server_answers_as_the_reference_does_with_indexes_and_without(
    collection: Collection, connection: Connection, major: int
) -> None:
    examples = EXAMPLES if major == 18 else EXAMPLES // 5  # the older server answers a sample
    for path, cast in (("meta['a']", "VARCHAR"), ("meta['a']", "DOUBLE"), ("meta['a']", "BOOL"), ("dyn", "VARCHAR")):
        collection.create_index(path, Btree(cast=DataType(cast)))
    for field in ("meta", "$meta", "ints", "words", "floats", "title"):
        collection.create_index(field, Gin())
    for field in ("title", "other", "year"):
        collection.create_index(field, Btree())
    table = entities("books", SCHEMA, extension_schema="public")
    ready = collection.describe().ready_indexes
    gin = frozenset(index for index in ready if index[1] == Gin())
    reference = Reference(SCHEMA)
    compared = answers = 0

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(rows, min_size=ROWS, max_size=ROWS), st.lists(filters, min_size=FILTERS, max_size=FILTERS))
    def agree(contents: list[dict[str, Any]], texts: list[str]) -> None:
        nonlocal compared, answers
        keyed = [{"id": key, **row} for key, row in enumerate(contents)]
        collection.truncate()
        collection.insert(keyed)
        expected = {
            text: [row["id"] for row in keyed if reference.holds(tree, row)]
            for text, tree in zip(texts, map(parse, texts), strict=True)
        }
        # With the indexes; with the GIN ones only; and as if there were none.
        for seqscan, indexes in (("off", ready), ("off", gin), ("on", frozenset())):
            connection.exec_driver_sql(f"SET enable_seqscan = {seqscan}")
            for text, ids in expected.items():
                assert found(connection, table, text, indexes) == ids, text
        compared += len(texts)
        answers += sum(0 < len(ids) < len(keyed) for ids in expected.values())

    agree()
    assert compared >= (2_000 if major == 18 else 400)
    assert answers >= compared / 4, "most filters tell rows apart"


def test_a_statement_whose_shape_is_known_is_what_it_would_be_compiled_to(
    collection: Collection, connection: Connection
) -> None:
    """Filters of one shape and other values share a statement: with whatever values, it must be theirs."""
    table = entities("books", SCHEMA, extension_schema="public")
    dialect, session = numbered(connection.dialect), session_of(connection.connection, {})
    shape, built, asked = Shape(Recent(seconds=600), "books", dialect), 0, 0

    @settings(max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(st.lists(filters, min_size=FILTERS, max_size=FILTERS))
    def is_the_same(texts: list[str]) -> None:
        nonlocal built, asked
        for text in texts:
            condition = compile_filter(text, SCHEMA, table)
            assert condition is not None

            def build(condition: ColumnElement[bool] = condition) -> Select[Any]:
                nonlocal built
                built += 1
                nearest = select(table.c.id).where(condition, table.c.year < 5)
                return nearest.order_by(table.c.id).limit(10)

            by_shape = shape.compiled("search", [condition], build, session)
            alone = template(build(), dialect, session)
            built -= 1
            asked += 1
            assert (by_shape.text, by_shape.oids) == (alone.text, alone.oids), text
            assert (by_shape.values, by_shape.formats) == (alone.values, alone.formats), text

    is_the_same()
    assert asked >= 2_000
    assert built < asked / 2, "most come in a shape that came before"


# Test 49 of the list that this project was begun with: what nobody would write

PIECES = (
    *("'", '"', "\\", "(", ")", "[", "]", "{", "}", "{x}", ",", " ", "\n", "%", ";", "--", "/*", "$1", "$meta"),
    *("\0", "\ud800"),
    *("not ", " and ", " or ", " in ", " == ", " like ", " =~ ", " is null", "exists ", "null", "true", "-", "~", "**"),
    *("<<", "1e400", "0x", "07", "é", "\u202e", "9223372036854775808", "ISO ", "INTERVAL 'P1D'", "r'", "u8'", "!", "&"),
    *("'; DROP TABLE books.entities; --", "pg_sleep(60)", "1; SELECT 1", "id", "meta", "dyn", "title", "embedding"),
    *("json_contains(", "array_length(", "text_match(title, 'a')", "random_sample(0.5)", "MATCH_ANY(", "st_within("),
)
pieces = st.sampled_from(PIECES)


@st.composite
def broken(draw: st.DrawFn) -> str:
    """A filter of which something was left out, doubled or replaced."""
    text = draw(filters)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 8)))
        text = text[:start] + draw(st.one_of(pieces, st.just(""), st.just(text[start:end] * 2))) + text[end:]
    return text


garbage = st.one_of(st.text(max_size=60), st.lists(pieces, max_size=12).map("".join))
NOT_IN_THE_REFERENCE = re.compile("text_match|phrase_match|random_sample")
FUZZED = 1_200


def test_whatever_a_text_is_it_is_refused_as_a_filter_or_answered_as_the_reference_does(
    collection: Collection, connection: Connection
) -> None:
    rows = [
        {"id": 0, "embedding": [1.0]},
        {"id": 1, "embedding": [1.0], "flag": True, "tiny": 1, "year": 2, "big": 2**63 - 1, "price": 0.1, "exact": 0.1,
         "title": "a", "other": "b'", "born": datetime.fromisoformat(MOMENTS[0]), "meta": {"a": 1, "b": "a"},
         "ints": [1, 2], "words": ["a"], "floats": [0.5], "dyn": 1},
        {"id": 2, "embedding": [1.0], "flag": False, "title": "100%", "meta": [1, 2], "ints": [], "dyn": {"b": None}},
    ]  # fmt: skip
    collection.insert(rows)
    table, reference = entities("books", SCHEMA, extension_schema="public"), Reference(SCHEMA)
    refused = answered = compared = 0
    connection.exec_driver_sql("SET default_transaction_read_only = on")  # nothing but a SELECT gets through

    @settings(
        max_examples=FUZZED, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.one_of(broken(), garbage).filter(str.strip))
    def holds(text: str) -> None:
        nonlocal refused, answered, compared
        try:
            ids = found(connection, table, text)
        except FilterError:
            refused += 1
            return
        answered += 1
        if NOT_IN_THE_REFERENCE.search(text):
            return
        with suppress(AttributeError):  # arithmetic of constants alone, which the reference does not know either
            expected = [row["id"] for row in rows if reference.holds(parse(text), row)]
            assert ids == expected, text
            compared += 1

    holds()
    assert collection.count() == len(rows)
    assert refused >= 500
    assert answered >= compared >= 100


def test_the_reference_knows_the_time_zone_of_its_moments() -> None:
    assert all(datetime.fromisoformat(text).tzinfo == UTC for text in MOMENTS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text_match(title, 'fox cat')", [0, 1]),
        ("text_match(title, 'quick fox dog', minimum_should_match=2)", [0]),
        ("not text_match(title, 'fox')", [1]),
        ('text_match(title, "!!! \' & | <-> ")', []),
        ("phrase_match(title, 'quick brown')", [0]),
        ("phrase_match(title, 'quick fox')", []),
        ("phrase_match(title, 'quick fox', 1)", [0]),
        ("id < 2 and random_sample(0.999999999)", [0, 1]),
        ("(" * 40 + "id == 1" + " and id == 1) or id == 7" * 40, [1]),
        ("(id == 1 or id == 7 and " * 98 + "id == 3" + ")" * 98, [1]),
    ],
)
def test_text_is_matched_sampled_and_nested(
    collection: Collection, connection: Connection, text: str, expected: list[int]
) -> None:
    titles = ("the quick brown fox", "A cat.", None)
    collection.insert([{"id": key, "title": title, "embedding": [1.0]} for key, title in enumerate(titles)])
    assert found(connection, entities("books", SCHEMA, extension_schema="public"), text) == expected
