"""What clients ask, in the library's terms."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pymilvus import AnnSearchRequest, Function, FunctionType, RRFRanker, WeightedRanker
from pymilvus.client.prepare import Prepare
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from vecstore import CollectionSchema, DataType, Field, InvalidData, Metric, Rrf, Weighted
from vecstore.description import CollectionDescription
from vecstore.gateway.errors import MilvusError
from vecstore.gateway.parameters import Parameters, templates
from vecstore.gateway.placeholders import Texts, placed
from vecstore.gateway.ranking import ranker_of
from vecstore.gateway.requests import ask_of, beyond, is_farther
from vecstore.gateway.results import grouped, output, zone_of
from vecstore.gateway.writing import is_by_key
from vecstore.hits import Hit

SCHEMA = CollectionSchema(
    (
        Field("id", DataType.INT64, primary_key=True),
        Field("year", DataType.INT32),
        Field("v", DataType.FLOAT_VECTOR, dim=2),
        Field("w", DataType.FLOAT_VECTOR, dim=2),
    ),
    dynamic=True,
)
STRICT = CollectionSchema(SCHEMA.fields)
BOOKS = CollectionDescription("books", 1, SCHEMA, (), (), (), (), (), frozenset())


def pairs(**given: object) -> list[Any]:
    return [common_pb2.KeyValuePair(key=key, value=str(value)) for key, value in given.items()]


def asked(**given: object) -> Any:
    options = {"topk": 10, "anns_field": "v", **given}
    return ask_of(BOOKS, milvus_pb2.SearchRequest(dsl="id > 1"), Parameters(pairs(**options)))


# Options


def test_options_are_read_from_both_places_and_what_stands_outside_decides() -> None:
    given = Parameters(pairs(topk=5, params=json.dumps({"topk": 7, "ef": 64, "radius": 0.5, "flag": True})))
    assert (given.integer("topk"), given.integer("ef"), given.number("radius")) == (5, 64, 0.5)
    assert given.flag("flag")
    assert given.integer("nothing") is None
    assert Parameters(pairs(strategy='"rrf"', empty="", none="None")).text("strategy") == "rrf"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Parameters(pairs(params="{")), "params cannot be read: it should be JSON"),
        (lambda: Parameters(pairs(params="[1]")), "params should be an object of JSON"),
        (lambda: Parameters(pairs(topk="x")).integer("topk"), r"topk \[x\] is invalid: it should be an integer"),
        (lambda: Parameters(pairs(radius="nan")).number("radius"), r"radius \[nan\] is invalid: it should be a number"),
        (
            lambda: Parameters(pairs(flag="maybe")).flag("flag"),
            r"flag \[maybe\] is invalid: it should be true or false",
        ),
        (lambda: Parameters(pairs(weights="{}")).values("weights"), "weights should be a list"),
        (lambda: Parameters(pairs(json_path="a")).refuse("json_path"), "json_path is not supported"),
        (lambda: zone_of("Mars/Olympus"), "invalid timezone: Mars/Olympus"),
    ],
)
def test_options_of_another_sort_are_refused(wrong: Any, message: str) -> None:
    with pytest.raises(MilvusError, match=message):
        wrong()


def test_a_search_is_asked_for() -> None:
    ask = asked(
        offset=3,
        metric_type="ip",
        round_decimal=2,
        group_by_field="year",
        group_size=2,
        strict_group_size="True",
        order_by_fields="year:desc, id",
        params=json.dumps({"ef": 5_000, "nprobe": 0}),
    )
    assert (ask.field.name, ask.metric, ask.limit, ask.offset, ask.decimals) == ("v", Metric.IP, 10, 3, 2)
    assert ([field.name for field in ask.group_by], ask.group_size, ask.strict_group_size) == (["year"], 2, True)
    assert ask.order_by == ("year:desc", "id")
    assert (ask.options["ef"], ask.options["probes"]) == (1_000, 1)
    assert ask.selection == {"filter": "id > 1", "filter_params": None}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"topk": ""}, "topk is missing"),
        ({"topk": 0}, r"topk \[0\] is invalid, it should be in range \[1, 16384\], but got 0"),
        ({"offset": -1}, r"offset \[-1\] is invalid"),
        ({"offset": 16_380}, r"\(offset\+limit\) should be in range \[1, 16384\], but got 16390"),
        ({"anns_field": ""}, "multiple anns_fields exist, please specify a anns_field in search_params"),
        ({"anns_field": "nope"}, r"fieldName\(nope\) not found"),
        (
            {"metric_type": "HAMMING"},
            r"metric type not match: invalid parameter\[expected=COSINE/L2/IP\]\[actual=HAMMING",
        ),
        ({"round_decimal": 9}, r"round_decimal \[9\] is invalid, it should be in range \[-1, 6\]"),
    ],
)
def test_a_search_out_of_range_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(MilvusError, match=message):
        asked(**given)


def test_what_is_not_served_is_not_passed_over() -> None:
    request = milvus_pb2.SearchRequest(function_chains=[schema_pb2.FunctionChain()])
    with pytest.raises(MilvusError, match="function_chains are not supported"):
        ask_of(BOOKS, request, Parameters(pairs(topk=1, anns_field="v")))


# Scores and their bounds


@pytest.mark.parametrize("metric", [Metric.L2, Metric.COSINE])
def test_a_score_that_was_told_is_the_bound_that_is_made_of_it(metric: Metric) -> None:
    nearer = 1 if metric is Metric.L2 else -1
    for score in np.random.default_rng(3).random(200):
        told = float(np.float32(score))
        edge, far = (
            asked(metric_type=metric, params=json.dumps({name: told})).options[name]
            for name in ("range_filter", "radius")
        )
        assert (score - edge) * nearer >= 0  # the near end holds it
        assert far == edge  # and the far end does not


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP])
def test_a_number_beyond_a_score_is_of_single_precision(metric: Metric) -> None:
    for score in [0.0, 1.0, -1.5, 0.1, 1e30, 3.4e38]:
        bound = beyond(score, metric)
        assert is_farther(bound, score, metric)
        assert float(np.float32(bound)) == bound


# What is looked for


def vectors(kind: int, *values: bytes) -> bytes:
    placeholder = common_pb2.PlaceholderValue(tag="$0", type=kind, values=values)
    return common_pb2.PlaceholderGroup(placeholders=[placeholder]).SerializeToString()


def test_query_vectors_of_every_type() -> None:
    for given in (
        np.array([[1, 2], [3, 4]], np.float32),
        np.array([[1, 2]], np.float16),
        np.array([[1, -2]], np.int8),
    ):
        found = placed(Prepare._prepare_placeholder_str(list(given)))
        assert isinstance(found, np.ndarray)
        assert found.dtype == given.dtype
        assert (found == given).all()
    assert placed(Prepare._prepare_placeholder_str([{1: 0.5}])) == [{1: 0.5}]
    assert placed(Prepare._prepare_placeholder_str([b"\x81"])).tolist() == [[0x81]]
    assert placed(vectors(103, b"\x80\x3f\x00\x40")).tolist() == [[1.0, 2.0]]
    texts = placed(Prepare._prepare_placeholder_str(["a text"]))
    assert isinstance(texts, Texts)
    assert texts.texts == ["a text"]
    assert isinstance(placed(vectors(101, bytes(8), bytes(4))), list)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (b"\xff", "the query vectors cannot be read"),
        (b"", "a search has one placeholder, got 0"),
        (vectors(101), "no query vector given"),
        (vectors(101, b"123"), "the query vectors cannot be read"),
        (vectors(21, b"\xff"), "the query vectors cannot be read"),
        (vectors(301, bytes(8)), "query vectors of type EmbListFloatVector are not supported"),
        (vectors(9_999, bytes(8)), "query vectors of type 9999 are not supported"),
    ],
)
def test_what_is_no_query_vector(group: bytes, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        placed(group)


def test_values_of_templates() -> None:
    given = {"a": 1, "b": [1, 2], "c": "x", "d": [True], "e": 1.5, "f": [[1], [2]], "g": [1, 1.5], "h": []}
    assert templates(Prepare.prepare_expression_template(given)) == given
    assert templates({}) is None
    assert templates({"nothing": schema_pb2.TemplateValue()}) == {"nothing": None}
    broken = schema_pb2.TemplateValue()
    broken.array_val.json_data.data.append(b"{")
    with pytest.raises(InvalidData, match="a value of the filter's templates cannot be read"):
        templates({"broken": broken})


# Rankers, outputs, groups


def ranked(ranker: Any) -> Any:
    part = AnnSearchRequest([[1.0, 2.0]], "v", {}, limit=3)
    parts = [Prepare.search_requests_with_expr("books", part.anns_field, part.param, part.limit, data=part.data)]
    request = Prepare.hybrid_search_request_with_ranker("books", parts, ranker, 3)
    return ranker_of(BOOKS, request, Parameters(request.rank_params))


def test_rankers() -> None:
    def function(**params: object) -> Function:
        return Function(name="r", function_type=FunctionType.RERANK, input_field_names=[], params=params)

    assert ranked(RRFRanker(10)) == ranked(function(reranker="rrf", k=10)) == Rrf(10)
    assert ranked(WeightedRanker(0.2, 0.8)) == Weighted(0.2, 0.8)
    assert ranked(function(reranker="weighted", weights=[0.2, 0.8], norm_score=False)) == Weighted(
        0.2, 0.8, norm_score=False
    )
    assert ranker_of(BOOKS, milvus_pb2.HybridSearchRequest(), Parameters([])) == Rrf()
    for wrong, message in (
        (RRFRanker(0), "Rrf: k must be over 0"),
        (WeightedRanker(2.0), "Weighted: a weight must be from 0 to 1"),
        (function(reranker="model"), "ranker 'model' is not supported: rrf, weighted and decay are"),
    ):
        with pytest.raises(MilvusError, match=message):
            ranked(wrong)
    two = milvus_pb2.HybridSearchRequest()
    two.function_score.functions.add()
    two.function_score.functions.add()
    with pytest.raises(MilvusError, match="a hybrid search has one ranker, got 2"):
        ranker_of(BOOKS, two, Parameters([]))


def test_output_fields() -> None:
    assert output(SCHEMA, ["*"], key=False).names == ["id", "year", "v", "w", "$meta"]
    assert output(SCHEMA, ["color", "year"], key=True).names == ["id", "year", "color"]
    assert output(SCHEMA, ["$meta['color']", "$meta"], key=False).names == ["$meta"]
    assert output(STRICT, [], key=False).asked is None
    with pytest.raises(MilvusError, match="field nope not exist"):
        output(STRICT, ["nope"], key=False)


def test_groups_of_a_ranking() -> None:
    hits = [Hit(key, 1.0, {"year": key % 3}) for key in range(9)]
    assert [hit.id for hit in grouped(hits, [SCHEMA.by_name["year"]], size=2, limit=2, offset=1)] == [1, 4, 2, 5]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("id in [1, 2]", True),
        ("id == 1", True),
        ("id in {ids}", True),
        ("id > 1", False),
        ("year in [1]", False),
        ("id in [1] and year == 2", False),
        ("id ==", False),
    ],
)
def test_a_filter_that_names_keys_and_nothing_else(expression: str, *, expected: bool) -> None:
    assert is_by_key(SCHEMA, expression) is expected
