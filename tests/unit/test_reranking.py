"""Rankers of one search: what becomes of a score."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecstore import Boost, Boosts, Decay, InvalidArgument, Metric, Rrf
from vecstore.fusion import Ranking, check_ranker, fused
from vecstore.reranking import Reading, reading

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def ranked(metric: Metric | None, ranker: Any, beside: dict[str, tuple[Any, ...]], **scores: float) -> list[Any]:
    ranking = Ranking(metric, [(key, "_default") for key in scores], list(scores.values()))
    found = fused([ranking], ranker, {(key, "_default"): values for key, values in beside.items()})
    return [(entity[0], pytest.approx(score)) for entity, score in found]


# Decay


@pytest.mark.parametrize(
    ("function", "at", "left"),
    [
        ("gauss", 10, 1.0),
        ("gauss", 25, 1.0),  # within the offset
        ("gauss", 15 + 2 * 10 + 10, 0.5**4),  # two scales beyond it
        ("gauss", -5 - 10, 0.5),  # one, on the other side
        ("exp", 35, 0.5),
        ("exp", 55, 0.5**3),
        ("linear", 30, 0.75),
        ("linear", 35, 0.5),
        ("linear", 1e300, 0.5),  # never less
        ("gauss", 1e300, 0.0),
        ("exp", math.inf, 0.0),
        ("linear", -math.inf, 0.5),
        ("linear", None, 0.0),
        ("gauss", math.nan, 0.0),
    ],
)
def test_what_decay_leaves(function: str, at: float | None, left: float) -> None:
    decay = Decay("year", origin=10, scale=10, offset=15, function=function)
    assert decay.factor(at) == pytest.approx(left)


@given(FINITE, FINITE, st.floats(5e-324, 1e308), st.floats(0, 1e308), st.sampled_from(["gauss", "exp", "linear"]))
def test_whatever_the_numbers_are_something_from_0_to_1_is_left(
    value: float, origin: float, scale: float, offset: float, function: str
) -> None:
    assert 0 <= Decay("x", origin=origin, scale=scale, offset=offset, function=function).factor(value) <= 1


def test_a_decay_of_times() -> None:
    noon = datetime(2026, 11, 25, 12, tzinfo=UTC)
    decay = Decay("at", origin=noon, scale=timedelta(days=1), offset=timedelta(hours=1))
    assert decay.factor((noon - timedelta(hours=25)).timestamp()) == pytest.approx(0.5)
    elsewhere = Decay("at", origin=noon.astimezone(timezone(timedelta(hours=9))), scale=timedelta(days=1))
    assert elsewhere.factor(noon.timestamp()) == 1.0


def test_distances_become_similarities_before_they_decay() -> None:
    decay = Decay("year", origin=0, scale=1)
    found = ranked(Metric.L2, decay, {"a": (1,), "b": (0,)}, a=0.0, b=1.0)
    assert found == [("a", 0.5), ("b", 0.5)]  # 1 - 2 atan(0)/pi is 1, halved; 1 - 2 atan(1)/pi is 0.5
    assert ranked(Metric.IP, decay, {"a": (1,), "b": (0,)}, a=3.0, b=2.0) == [("b", 2.0), ("a", 1.5)]
    normed = Decay("year", origin=0, scale=1, norm_score=True)
    assert ranked(Metric.COSINE, normed, {"a": (0,)}, a=0.0) == [("a", 0.5)]
    assert ranked(None, decay, {"a": (0,)}, a=0.25) == [("a", 0.25)]


@pytest.mark.parametrize(("mode", "score"), [("max", 0.8), ("sum", 1.0), ("avg", 0.5)])
def test_what_counts_of_an_entity_that_several_requests_found(mode: str, score: float) -> None:
    rankings = [Ranking(Metric.COSINE, [("a", "p")], [0.2]), Ranking(Metric.IP, [("a", "p")], [0.8])]
    decay = Decay("x", origin=0, scale=1, score_mode=mode)
    assert fused(rankings, decay, {("a", "p"): (0,)}) == [(("a", "p"), pytest.approx(score))]


def test_what_is_boosted_before_it_decays() -> None:
    decay = Decay("x", origin=0, scale=1, boost=Boost("a", weight=0.5))
    # By L2 a distance of 2 is halved, and so is the similarity of 0.5 that it becomes.
    assert ranked(Metric.L2, decay, {"k": (1, True), "l": (0, False)}, k=2.0, l=1.0) == [("l", 0.5), ("k", 0.25)]
    both = Decay("x", origin=0, scale=1, boost=Boosts(Boost("a", weight=2), Boost(weight=3, random_seed=1)))
    assert len(both.needed) == 2
    with pytest.raises(InvalidArgument, match="boost must be"):
        Decay("x", origin=0, scale=1, boost=Rrf())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scale": 0}, "scale must be > 0, got 0"),
        ({"scale": -1.5}, "scale must be > 0"),
        ({"scale": "1"}, "scale must be a finite number, got '1'"),
        ({"scale": timedelta(1)}, "scale must be a finite number"),
        ({"origin": math.nan}, "origin must be a finite number"),
        ({"origin": None}, "origin must be a finite number"),
        ({"origin": 10**400}, "origin must be a finite number"),
        ({"offset": -1}, "offset must be >= 0"),
        ({"decay": 0}, "decay must be from 0.001 to 0.999, got 0"),
        ({"decay": 1}, "decay must be from"),
        ({"function": "cubic"}, "function must be 'gauss' or 'exp' or 'linear', got 'cubic'"),
        ({"function": []}, "function must be"),
        ({"score_mode": "min"}, "score_mode must be"),
        ({"norm_score": 1}, "norm_score must be True or False"),
        ({"field": 7}, "field must be the name of one"),
        ({"origin": datetime(2026, 1, 1)}, "has no time zone"),  # noqa: DTZ001 - what is refused
        ({"origin": datetime(2026, 1, 1, tzinfo=UTC)}, "scale must be a timedelta"),
    ],
)
def test_a_decay_that_is_none_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        Decay(**{"field": "x", "origin": 1, "scale": 1, **wrong})


# Boosts


def test_a_boost_multiplies_what_its_filter_holds_of() -> None:
    boost = Boost("year > 1960", weight=3)
    found = ranked(Metric.IP, boost, {"a": (False,), "b": (True,), "c": (None,)}, a=2.0, b=1.0, c=0.5)
    assert found == [("b", 3.0), ("a", 2.0), ("c", 0.5)]


def test_by_a_distance_smaller_stays_better() -> None:
    found = ranked(Metric.L2, Boost("x", weight=0.5), {"a": (False,), "b": (True,)}, a=1.0, b=1.5)
    assert found == [("b", 0.75), ("a", 1.0)]


@pytest.mark.parametrize(
    ("function_mode", "boost_mode", "score"),
    [("multiply", "multiply", 18.0), ("sum", "multiply", 15.0), ("multiply", "sum", 9.0), ("sum", "sum", 8.0)],
)
def test_several_boosts_and_how_they_are_combined(function_mode: str, boost_mode: str, score: float) -> None:
    boosts = Boosts(
        Boost(weight=2),
        Boost("a", weight=3),
        Boost("b", weight=100),
        function_mode=function_mode,
        boost_mode=boost_mode,
    )
    assert ranked(Metric.IP, boosts, {"k": (True, False)}, k=3.0) == [("k", score)]


def test_where_no_boost_holds_a_score_is_what_it_was() -> None:
    boosts = Boosts(Boost("a", weight=3), boost_mode="sum", function_mode="sum")
    assert ranked(Metric.IP, boosts, {"k": (False,)}, k=3.0) == [("k", 3.0)]


@pytest.mark.parametrize(
    ("value", "factor"),  # as Milvus's own code has them
    [
        (0, 0.17659648907288572),
        (7, 0.35159201061661438),
        (-1, 0.41260524589377212),
        (2**63 - 1, 0.48549972983695322),
    ],
)
def test_random_weights_are_milvus_s(value: int, factor: float) -> None:
    assert Boost(weight=1, random_seed=126, random_field="id").factor("a", iter((value,))) == factor


def test_random_weights_are_spread_and_depend_on_the_seed_and_the_value_of_a_field_or_the_key() -> None:
    boost = Boost(weight=2, random_seed=126, random_field="id")
    factors = [boost.factor(0, iter((value,))) for value in range(-500, 500)]
    assert all(factor is not None and 0 <= factor < 2 for factor in factors)
    assert sum(factor or 0 for factor in factors) / 1000 == pytest.approx(1, abs=0.1)
    assert len(set(factors)) == 1000
    assert boost.factor(5, iter((7,))) == Boost(weight=2, random_seed=126).factor(7, iter(()))
    assert boost.factor(5, iter((7,))) != Boost(weight=2, random_seed=127).factor(7, iter(()))
    assert boost.factor(5, iter((None,))) is None
    named = Boost(weight=1, random_seed=126)
    assert named.factor("a", iter(())) == named.factor("a", iter(())) != named.factor("b", iter(()))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weight": "2"}, "weight must be a finite number"),
        ({"weight": math.inf}, "weight must be a finite number"),
        ({"random_seed": 1.5}, "random_seed must be an int"),
        ({"random_seed": True}, "random_seed must be an int"),
        ({"random_field": "id"}, "random_field belongs to random_seed"),
        ({"filter_params": [1]}, "filter_params must be a dict"),
    ],
)
def test_a_boost_that_is_none_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        Boost(**{"weight": 1, **wrong})


def test_boosts_that_are_none_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="one or several"):
        Boosts()
    with pytest.raises(InvalidArgument, match="one or several"):
        Boosts(Decay("x", origin=1, scale=1))
    with pytest.raises(InvalidArgument, match="boost_mode must be 'multiply' or 'sum', got 'max'"):
        Boosts(Boost(weight=1), boost_mode="max")
    with pytest.raises(InvalidArgument, match="function_mode must be"):
        Boosts(Boost(weight=1), function_mode="avg")


def test_a_boost_is_of_one_request() -> None:
    check_ranker(Boost(weight=1), 1)
    check_ranker(Decay("x", origin=1, scale=1), 3)
    with pytest.raises(InvalidArgument, match="Boost changes the scores of one request, and there are 2"):
        check_ranker(Boost(weight=1), 2)


# What is read for a ranker


def test_the_text_of_a_statement_does_not_change_with_a_ranker_s_numbers() -> None:
    now, later = (Decay("at", origin=origin, scale=10) for origin in (1, 2))
    assert reading(["a"], now) == reading(["a"], later) == Reading(("a",), now.needed)
    light, heavy = (Boost("x > 1", weight=weight) for weight in (1, 2))
    assert reading(None, light) == reading(None, heavy)
    assert hash(reading(None, light)) == hash(reading(None, heavy))
    assert reading(None, light) != reading(None, Boost("x > 2", weight=1))
    assert reading(["a"], Rrf()) == ["a"]
    with pytest.raises(InvalidArgument, match="must be a list of names"):
        reading("a", now)
