from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecstore import InvalidArgument, Metric, Rrf, Weighted
from vecstore.fusion import Ranking, check_ranker, fused


def ranking(metric: Metric | None, **scores: float) -> Ranking:
    return Ranking(metric, [(key, "_default") for key in scores], list(scores.values()))


def order(rankings: list[Ranking], ranker: Rrf | Weighted) -> list[str]:
    return [entity[0] for entity, _ in fused(rankings, ranker, {})]


def test_reciprocal_ranks_are_added() -> None:
    found = fused([ranking(Metric.L2, a=0.1, b=0.2), ranking(Metric.COSINE, b=0.9, c=0.8)], Rrf(k=60), {})
    assert [entity[0] for entity, _ in found] == ["b", "a", "c"]
    assert [score for _, score in found] == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62])


def test_weights_take_scores_of_every_kind_to_one_scale() -> None:
    found = dict(
        fused(
            [ranking(Metric.COSINE, a=1.0), ranking(Metric.IP, a=0.0), ranking(Metric.L2, a=0.0), ranking(None, a=1.0)],
            Weighted(0.1, 0.2, 0.3, 0.4),
            {},
        )
    )
    assert found["a", "_default"] == pytest.approx(0.1 * 1 + 0.2 * 0.5 + 0.3 * 1 + 0.4 * 2 * math.atan(1) / math.pi)


def test_raw_distances_are_better_when_smaller() -> None:
    assert order([ranking(Metric.L2, a=5, b=1)], Weighted(1, norm_score=False)) == ["b", "a"]
    assert order([ranking(Metric.IP, a=5, b=1)], Weighted(1, norm_score=False)) == ["a", "b"]
    with pytest.raises(InvalidArgument, match="norm_score=False"):
        fused([ranking(Metric.L2, a=5), ranking(Metric.IP, a=1)], Weighted(1, 1, norm_score=False), {})


def test_equal_scores_come_in_the_order_of_their_keys() -> None:
    assert order([ranking(Metric.IP, b=1), ranking(Metric.IP, a=1)], Rrf()) == ["a", "b"]


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.floats(-1, 1), min_size=1))
def test_one_request_keeps_its_own_order(scores: dict[str, float]) -> None:
    best_first = dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))
    for ranker in (Rrf(), Weighted(1.0, norm_score=False)):
        assert order([ranking(Metric.COSINE, **best_first)], ranker) == list(best_first)


@pytest.mark.parametrize("k", [0, -1, True, "60", 16_384])
def test_a_constant_of_no_use_is_refused(k: object) -> None:
    with pytest.raises(InvalidArgument, match="k must be"):
        Rrf(k=k)


@pytest.mark.parametrize("weight", [1.5, -0.1, "1", True])
def test_a_weight_that_is_none_is_refused(weight: object) -> None:
    with pytest.raises(InvalidArgument, match="from 0 to 1"):
        Weighted(0.5, weight)


def test_a_ranker_must_fit_the_requests() -> None:
    check_ranker(Rrf(), 3)
    with pytest.raises(InvalidArgument, match="2 weights for 3 requests"):
        check_ranker(Weighted(0.5, 0.5), 3)
    with pytest.raises(InvalidArgument, match="Rrf"):
        check_ranker("rrf", 1)
