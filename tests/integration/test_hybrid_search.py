from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vecstore import (
    AnnRequest,
    Collection,
    DataType,
    Field,
    FieldNotFound,
    Hnsw,
    InvalidArgument,
    Metric,
    Rrf,
    SearchPath,
    Store,
    TextRequest,
    Weighted,
)

FIELDS = (
    Field("id", DataType.INT64, primary_key=True),
    Field("title", DataType.VARCHAR, max_length=100, nullable=True),
    Field("colour", DataType.FLOAT_VECTOR, dim=2),
    Field("shape", DataType.FLOAT_VECTOR, dim=3),
)


@pytest.fixture
def things(store: Store) -> Collection:
    things = store.create_collection("things", FIELDS)
    angles = np.linspace(0, np.pi / 2, 10)
    rows = [
        {
            "id": key,
            "title": None if key == 9 else f"a {'red' if key < 5 else 'blue'} thing number {key}",
            "colour": [np.cos(angle), np.sin(angle)],
            "shape": [1, key, 0],
        }
        for key, angle in enumerate(angles)
    ]
    things.insert(rows)
    return things


def test_what_several_requests_find_comes_before_what_one_finds(things: Collection) -> None:
    hits = things.hybrid_search(
        [
            AnnRequest([1, 0], field="colour", limit=4),
            AnnRequest([1, 3, 0], field="shape", limit=3, metric=Metric.L2),
        ],
        Rrf(k=60),
        limit=4,
        output_fields=["title"],
    )[0]
    # By colour 0, 1, 2, 3; by shape 3, then 2 and 4 at the same distance.
    expected = {3: 1 / 64 + 1 / 61, 2: 1 / 63 + 1 / 62, 0: 1 / 61, 1: 1 / 62}
    assert dict(zip(hits.ids.tolist(), hits.distances, strict=True)) == pytest.approx(expected)
    assert hits.ids.tolist() == [3, 2, 0, 1]
    assert hits[0].fields == {"title": "a red thing number 3"}
    assert hits.path is SearchPath.EXACT


def test_weights_decide_between_the_requests(things: Collection) -> None:
    requests = [AnnRequest([1, 0], field="colour"), AnnRequest([0, 1], field="colour")]
    assert things.hybrid_search(requests, Weighted(1, 0), limit=1)[0].ids.tolist() == [0]
    assert things.hybrid_search(requests, Weighted(0, 1), limit=1)[0].ids.tolist() == [9]


def test_words_are_one_of_the_requests(things: Collection) -> None:
    words = TextRequest("title", "blue or 7", limit=10)
    found = things.hybrid_search([words], Rrf(), output_fields=["title"])[0]
    assert found.ids[0] == 7
    assert {*found.ids.tolist()} == {5, 6, 7, 8}
    both = things.hybrid_search([words, AnnRequest([0, 1], field="colour", limit=3)], Rrf(), limit=3)[0]
    assert both.ids.tolist()[0] in {7, 8}


@pytest.mark.parametrize("text", ["", "?!", "nobody wrote this"])
def test_a_text_without_a_word_that_is_there_finds_nothing(things: Collection, text: str) -> None:
    assert len(things.hybrid_search([TextRequest("title", text)], Rrf())[0]) == 0


def test_filters_partitions_and_pages_hold_for_every_request(things: Collection) -> None:
    requests = [
        AnnRequest([1, 0], field="colour", filter="id >= 2"),
        TextRequest("title", "red", filter="id >= {least}", filter_params={"least": 2}),
    ]
    hits = things.hybrid_search(requests, Rrf(), limit=10)[0]
    assert min(hits.ids) == 2
    assert things.hybrid_search(requests, Rrf(), limit=2, offset=1)[0].ids.tolist() == hits.ids.tolist()[1:3]
    things.create_partition("empty")
    assert len(things.hybrid_search(requests, Rrf(), partition_names=["empty"])[0]) == 0


def test_entities_of_one_key_in_two_partitions_are_two(things: Collection) -> None:
    things.create_partition("other")
    things.insert([{"id": 0, "title": "red", "colour": [0, 1], "shape": [1, 0, 0]}], partition_name="other")
    hits = things.hybrid_search([AnnRequest([1, 0], field="colour", limit=20)], Rrf(), 20, output_fields=["colour"])[0]
    assert [hit.fields["colour"].tolist() for hit in hits if hit.id == 0] == [[1, 0], [0, 1]]


def test_several_queries_have_an_answer_each(things: Collection) -> None:
    requests = [AnnRequest([[1, 0], [0, 1]], field="colour"), TextRequest("title", ["red", "blue"])]
    first, second = things.hybrid_search(requests, Rrf(), limit=2)
    assert (first.ids[0], {*second.ids.tolist()} <= {5, 6, 7, 8, 9}) == (0, True)
    with pytest.raises(InvalidArgument, match="2, 1"):
        things.hybrid_search([requests[0], TextRequest("title", "red")], Rrf())


@pytest.mark.parametrize(
    ("requests", "ranker", "error"),
    [
        ([], Rrf(), InvalidArgument),
        (["red"], Rrf(), InvalidArgument),
        (iter([]), Rrf(), InvalidArgument),
        (AnnRequest([1, 0], field="colour"), Rrf(), InvalidArgument),
        ([TextRequest("title", " ".join(map(str, range(300))))], Rrf(), InvalidArgument),
        ([AnnRequest([1, 0], field="colour")], None, InvalidArgument),
        ([AnnRequest([1, 0], field="colour")], Weighted(1, 1), InvalidArgument),
        ([AnnRequest([1, 0])], Rrf(), InvalidArgument),
        ([TextRequest("colour", "red")], Rrf(), InvalidArgument),
        ([TextRequest("nothing", "red")], Rrf(), FieldNotFound),
        ([TextRequest("title", 5)], Rrf(), InvalidArgument),
        ([TextRequest("title", "red", limit=0)], Rrf(), InvalidArgument),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused(
    things: Collection, requests: list[object], ranker: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        things.hybrid_search(requests, ranker)


def test_words_and_vectors_together_find_a_real_package(store: Store, real_data: Path) -> None:
    rows = [json.loads(line) for line in (real_data / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    fields = [
        Field("id", DataType.INT64, primary_key=True),
        Field("synopsis", DataType.VARCHAR, max_length=2000),
        Field("v", DataType.FLOAT_VECTOR, dim=384),
    ]
    packages = store.create_collection("packages", fields)
    vectors = np.load(real_data / "vectors.npy")
    packages.insert({"id": [row["id"] for row in rows], "synopsis": [row["synopsis"] for row in rows], "v": vectors})
    packages.create_index("v", Hnsw())
    row = rows[123]
    requests = [AnnRequest(vectors[123], limit=20), TextRequest("synopsis", row["synopsis"], limit=20)]
    best = packages.hybrid_search(requests, Rrf(), limit=1, output_fields=["synopsis"])[0][0]
    assert best.fields["synopsis"] == row["synopsis"]
