from __future__ import annotations

import json
from collections import OrderedDict
from datetime import UTC, datetime
from enum import StrEnum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecstore.ingest.jsonb import MAX_DEPTH, json_texts, json_values
from vecstore.vectors import Fault


def text(value):
    return json_texts(json_values([value]))[0].decode()


def nested(depth, kind=list):
    value = 1
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


class Color(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1, "b": [True, None, "x"]}, '{"a":1,"b":[true,null,"x"]}'),
        ("é", '"é"'),
        (2**63 - 1, "9223372036854775807"),
        (-(2**63), "-9223372036854775808"),
        ((1, (2, 3)), "[1,[2,3]]"),
        ({}, "{}"),
        ([], "[]"),
        ({"a": np.int64(1), "b": np.float32(0.5), "c": np.True_}, '{"a":1,"b":0.5,"c":true}'),
        (OrderedDict(a=1), '{"a":1}'),
        ({Color.RED: Color.RED}, '{"red":"red"}'),
        ("\\u0000", '"\\\\u0000"'),
        (1e16, "10000000000000000.0"),
        (-1.5e20, "-150000000000000000000.0"),
        ({"1e+22": ["e+", 1e22, 'a"1e+22']}, '{"1e+22":["e+",10000000000000000000000.0,"a\\"1e+22"]}'),
        (0.001, "0.001"),
    ],
)
def test_json_is_written_so_that_jsonb_keeps_it(value, expected):
    assert text(value) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_come_back_as_floats_of_the_same_value(value):
    written = text([value])
    assert "e+" not in written
    (read,) = json.loads(written)
    assert isinstance(read, float)
    assert read == value


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.floats(1e16, 1e300))
def test_the_text_of_strings_is_left_alone(string, number):
    assert json.loads(text([string, number, string + "1e+22", {string: 1}])) == [
        string,
        number,
        string + "1e+22",
        {string: 1},
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1.0, float("nan")]}, r"\$\.a\[1\] is nan, which JSON does not have"),
        (float("inf"), r"\$ is inf"),
        ([np.float32("nan")], r"\$\[0\] is nan"),
        ({"a": {1: "x"}}, r"\$\.a has a key of type int: expected str"),
        ({None: 1}, "a key of type NoneType"),
        ({"a": "x\0y"}, r"\$\.a contains a NUL"),
        ({"x\0y": 1}, r"a key of \$ contains a NUL"),
        (["\ud800"], r"\$\[0\] contains a lone surrogate"),
        ({"\ud800": 1}, r"a key of \$ contains a lone surrogate"),
        ({"a": 2**63}, r"\$\.a is an int beyond 64 bits"),
        ([-(2**63) - 1], r"\$\[0\] is an int beyond 64 bits"),
        ([np.uint64(2**63)], "beyond 64 bits"),
        ({"a": datetime(2024, 1, 1, tzinfo=UTC)}, r"\$\.a is a datetime: expected dict, list, str"),
        ([np.datetime64("2024-01-01")], r"\$\[0\] is a date"),
        ([b"x"], r"\$\[0\] is a bytes"),
        ([{1, 2}], r"\$\[0\] is a set"),
        ([np.zeros(2)], r"\$\[0\] is a ndarray"),
        (object(), r"\$ is a object"),
        (nested(MAX_DEPTH + 1), "nested too deeply: expected at most 100 levels"),
        (nested(100_000), "nested too deeply"),
        (nested(100_000, dict), "nested too deeply"),
    ],
    ids=range(21),
)
def test_what_jsonb_cannot_keep_is_refused_with_its_path(value, message):
    with pytest.raises(Fault, match=message) as caught:
        json_values([{}, value])
    assert caught.value.index == 1


def test_a_value_that_contains_itself_is_refused():
    value: list[object] = []
    value.append(value)
    with pytest.raises(Fault, match="nested too deeply"):
        json_values([value])
    value.append(value)
    with pytest.raises(Fault, match="nested too deeply"):
        json_values([value])


@pytest.mark.parametrize("kind", [list, dict])
def test_a_hundred_levels_are_taken(kind):
    value = nested(MAX_DEPTH, kind)
    assert json.loads(text(value)) == value


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # The mark that keeps values apart is a value like any other.
    | st.sampled_from(["\x1e", '",\x1e,"', "1e+22", ""])
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "\x1e", "e+"]), inner),
    max_leaves=6,
)


@given(st.lists(JSON, max_size=6))
def test_values_are_written_together_as_each_by_itself(values):
    assert json_texts(values) == [json_texts([value])[0] for value in values]


def test_a_fault_among_many_is_told_by_its_place():
    values = [{"a": number} for number in range(2_000)]
    values[1_234] = {"a": float("nan")}
    with pytest.raises(Fault) as caught:
        json_values(values)
    assert caught.value.index == 1_234
