"""Rankers as clients say them: of the parts of a hybrid search, or of what one search found. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from ..description import CollectionDescription
from ..errors import InvalidArgument
from ..fusion import Ranker, Rrf, Weighted
from ..reranking import Boost, Boosts, Decay
from ..schema import INTEGER_BITS, DataType, Field
from .errors import Fault, MilvusError, invalid
from .parameters import Parameters, templates
from .schema import NUMBERS as WIRE_TYPES

_DEFAULT_K = 60
_NUMBERS = frozenset({*INTEGER_BITS, DataType.FLOAT, DataType.DOUBLE})
_BOOST = "boost"

Function = Any
"""A FunctionSchema."""


def ranker_of(description: CollectionDescription, request: milvus_pb2.HybridSearchRequest, given: Parameters) -> Ranker:
    """The ranker of the request's options, or of the one function that takes its place; raises MilvusError."""
    if not request.HasField("function_score"):
        return _fusing(given.text("strategy") or "rrf", given)
    functions = request.function_score.functions
    if len(functions) != 1:
        raise invalid(f"a hybrid search has one ranker, got {len(functions)}")
    name, options = _named(functions[0])
    if name == "decay":
        return _decay(description, functions[0], options)
    if name == _BOOST:
        raise invalid("boost cannot rank a hybrid search: it changes the scores of one search")
    return _fusing(name, options)


def reranker_of(description: CollectionDescription, request: milvus_pb2.SearchRequest) -> Decay | Boosts | None:
    """The ranker of one search; raises MilvusError."""
    if not request.HasField("function_score"):
        return None
    functions = request.function_score.functions
    if not functions:
        raise invalid("rerank_builder: no rerank functions specified")
    named = [(function, *_named(function)) for function in functions]
    parameters = templates(request.expr_template_values)
    boosts = [_boost(description, options, parameters) for _, name, options in named if name == _BOOST]
    boost = _boosts(boosts, _options(request.function_score.params)) if boosts else None
    others = [it for it in named if it[1] != _BOOST]
    if not others:
        return boost
    if len(others) > 1:
        raise invalid("rerank_builder: currently only supports one rerank function")
    ((function, name, options),) = others
    if name != "decay":
        raise invalid(f"ranker {name!r:.40} is not supported here: a search is ranked by decay or boost")
    return _decay(description, function, options, boost)


def filters_of(ranker: Decay | Boosts | None) -> list[str]:
    """What its boosts hold of."""
    boosts = ranker.boost if isinstance(ranker, Decay) else ranker
    return [boost.filter for boost in boosts.boosts if boost.filter] if isinstance(boosts, Boosts) else []


def _named(function: Function) -> tuple[str, Parameters]:
    """What a function is, and its options; raises MilvusError for one that ranks nothing."""
    if function.type != schema_pb2.FunctionType.Rerank:
        known = function.type in schema_pb2.FunctionType.values()
        kind = schema_pb2.FunctionType.Name(function.type) if known else function.type
        raise invalid(f"{kind} is not rerank function.")
    options = _options(function.params)
    name = options.text("reranker")
    if name is None:
        raise invalid("rerank_builder: reranker name not specified")
    return name.lower(), options


def _options(pairs: Any) -> Parameters:
    return Parameters(common_pb2.KeyValuePair(key=pair.key.lower(), value=pair.value) for pair in pairs)


def _fusing(name: str, options: Parameters) -> Rrf | Weighted:
    try:
        if name == "rrf":
            k = options.number("k")
            return Rrf(_DEFAULT_K if k is None else k)
        if name == "weighted":
            normed = options.text("norm_score") is None or options.flag("norm_score")
            return Weighted(*options.values("weights"), norm_score=normed)
    except InvalidArgument as exc:
        raise invalid(str(exc)) from exc
    raise invalid(f"ranker {name!r:.40} is not supported: rrf, weighted and decay are")


def _decay(
    description: CollectionDescription, function: Function, options: Parameters, boost: Boosts | None = None
) -> Decay:
    names = function.input_field_names
    if len(names) != 1:
        raise invalid(f"rerank_builder: decay reranker requires exactly 1 input field, got {len(names)}")
    field = description.schema.by_name.get(names[0])
    if field is None:
        raise invalid(f"rerank_builder: input field {names[0]:.80} not found in collection schema")
    if field.data_type not in _NUMBERS:
        raise invalid(f"rerank_builder: decay input field {field.name} must be numeric, got {_told(field)}")
    curve = options.text("function")
    if curve is None:
        raise invalid("decay function not specified")
    numbers = {name: _number(options, name) for name in ("origin", "scale", "offset", "decay")}
    for name in ("origin", "scale"):
        if numbers[name] is None:
            raise invalid(f"decay {name} not specified")
    given = {name: value for name, value in numbers.items() if value is not None}
    mode = (options.text("score_mode") or "max").lower()
    try:
        return Decay(
            field.name,
            function=curve.lower(),
            norm_score=options.flag("norm_score"),
            score_mode=mode,
            boost=boost,
            **given,
        )
    except InvalidArgument as exc:
        raise invalid(f"rerank_builder: {str(exc).replace('Decay', 'decay', 1)}") from exc


def _number(options: Parameters, name: str) -> float | None:
    text = options.text(name)
    try:
        return None if text is None else float(text)
    except ValueError:
        raise invalid(f"decay param {name}: {text:.40} is not a number") from None


def _told(field: Field) -> str:
    name: str = schema_pb2.DataType.Name(WIRE_TYPES[field.data_type])
    return name


def _boost(description: CollectionDescription, options: Parameters, parameters: Mapping[str, Any] | None) -> Boost:
    weight = options.text("weight")
    if weight is None:
        raise invalid("must set weight params for weight scorer")
    try:
        return Boost(
            options.expression("filter"),
            weight=float(weight),
            filter_params=parameters,
            **_random(description, options),
        )
    except (ValueError, InvalidArgument) as exc:
        raise invalid(f"parse function scorer weight params failed with error: {exc}") from exc


def _random(description: CollectionDescription, options: Parameters) -> dict[str, Any]:
    if options.text("random_score") is None:
        return {}
    asked = options.nested("random_score")
    seed, name = asked.get("seed", 0), asked.get("field")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise invalid(f"random seed must be number, got {json.dumps(seed):.40}")
    if name is None:
        return {"random_seed": seed}
    if not isinstance(name, str):
        raise invalid("random seed field name must be string")
    field = description.schema.by_name.get(name)
    if field is None:
        raise MilvusError(Fault.FIELD_NOT_FOUND, "random seed field not found", field=f"{name:.80}")
    if field.data_type is not DataType.INT64:
        raise invalid(f"only support int64 field as random seed, but got {_told(field)}")
    return {"random_seed": seed, "random_field": name}


def _boosts(boosts: Sequence[Boost], options: Parameters) -> Boosts:
    modes = {name: (options.text(name) or "multiply").lower() for name in ("boost_mode", "function_mode")}
    for mode in modes.values():
        if mode not in {"multiply", "sum"}:
            raise invalid(f"unknown boost mode: {mode:.40}")
    return Boosts(*boosts, **modes)
