"""Exact search, range and pages for every vector type by every metric, beside the same made with NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vecstore import Collection, DataType, Field, Metric, Store

ROWS = 40
DIM = 8
DENSE = [DataType.FLOAT_VECTOR, DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR, DataType.INT8_VECTOR]
REAL_METRICS = [Metric.L2, Metric.IP, Metric.COSINE]
KINDS = [
    *((kind, metric) for kind in [*DENSE, DataType.SPARSE_FLOAT_VECTOR] for metric in REAL_METRICS),
    (DataType.BINARY_VECTOR, Metric.HAMMING),
    (DataType.BINARY_VECTOR, Metric.JACCARD),
]
SMALLER_IS_NEARER = {Metric.L2, Metric.HAMMING, Metric.JACCARD}

# Few small numbers, which every type holds exactly: many ties.
NUMBERS = np.random.default_rng(4).integers(-3, 4, size=(ROWS, DIM))
NUMBERS[:, 0] = np.abs(NUMBERS[:, 0]) + 1


def value(kind: DataType, numbers: np.ndarray) -> object:
    if kind is DataType.BINARY_VECTOR:
        return np.packbits(numbers > 0).tobytes()
    if kind is DataType.SPARSE_FLOAT_VECTOR:
        return {index: float(number) for index, number in enumerate(numbers.tolist()) if number}
    return numbers.tolist()


def scores(metric: Metric, query: np.ndarray) -> np.ndarray:
    rows, one = NUMBERS.astype(float), query.astype(float)
    if metric is Metric.L2:
        return ((rows - one) ** 2).sum(axis=1)
    if metric is Metric.IP:
        return rows @ one
    if metric is Metric.COSINE:
        return rows @ one / np.linalg.norm(rows, axis=1) / np.linalg.norm(one)
    bits, asked = NUMBERS > 0, query > 0
    if metric is Metric.HAMMING:
        return (bits != asked).sum(axis=1).astype(float)
    return 1 - (bits & asked).sum(axis=1) / np.maximum(1, (bits | asked).sum(axis=1))


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def kind(request: pytest.FixtureRequest) -> tuple[DataType, Metric]:
    return request.param


@pytest.fixture
def points(store: Store, kind: tuple[DataType, Metric]) -> Collection:
    fields = [Field("id", DataType.INT64, primary_key=True), Field("v", kind[0], dim=DIM)]
    points = store.create_collection("points", fields)
    points.insert([{"id": key, "v": value(kind[0], numbers)} for key, numbers in enumerate(NUMBERS)])
    return points


numbers = st.lists(st.integers(-3, 3), min_size=DIM, max_size=DIM).filter(lambda found: found[0] > 0).map(np.array)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=numbers, page=st.tuples(st.integers(1, 50), st.integers(0, 20)), ends=st.tuples(*[st.floats(0, 1)] * 2))
def test_the_answer_is_that_of_a_look_at_every_row(
    points: Collection,
    kind: tuple[DataType, Metric],
    query: np.ndarray,
    page: tuple[int, int],
    ends: tuple[float, float],
) -> None:
    (data_type, metric), (limit, offset) = kind, page
    true = scores(metric, query)
    sign = 1 if metric in SMALLER_IS_NEARER else -1
    asked = value(data_type, query)

    hits = points.search(asked, limit, offset=offset, metric=metric)[0]
    assert len(hits) == min(limit, max(0, ROWS - offset))
    assert hits.distances == pytest.approx(true[hits.ids.astype(int)], abs=1e-5)
    assert hits.distances == pytest.approx(sign * np.sort(sign * true)[offset : offset + limit], abs=1e-5)
    assert len({*hits.ids.tolist()}) == len(hits)
    order = list(zip(sign * hits.distances, hits.ids, strict=True))
    assert order == sorted(order)

    # Ends between two scores, so that no rounding decides what lies in the range.
    low, high = sorted(min(true) + end * (max(true) - min(true)) + 1e-3 for end in ends)
    near, far = (low, high + 1e-3) if sign == 1 else (high + 1e-3, low)
    between = {key for key, score in enumerate(true.tolist()) if sign * near < sign * score < sign * far}
    doubtful = {key for key, score in enumerate(true.tolist()) if min(abs(score - near), abs(score - far)) < 1e-5}
    found = {*points.search(asked, 50, metric=metric, radius=far, range_filter=near)[0].ids.tolist()}
    assert found - doubtful == between - doubtful
