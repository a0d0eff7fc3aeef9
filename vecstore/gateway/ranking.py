"""How hybrid searches rank what their parts found, as clients say it. Pure."""

from __future__ import annotations

from pymilvus.grpc_gen import milvus_pb2

from ..errors import InvalidArgument
from ..fusion import Ranker, Rrf, Weighted
from .errors import invalid
from .parameters import Parameters

_DEFAULT_K = 60


def ranker_of(request: milvus_pb2.HybridSearchRequest, given: Parameters) -> Ranker:
    """The ranker of the request's options, or of the one function that takes its place; raises MilvusError."""
    if not request.HasField("function_score"):
        return _ranker(given.text("strategy") or "rrf", given)
    functions = request.function_score.functions
    if len(functions) != 1:
        raise invalid(f"a hybrid search has one ranker, got {len(functions)}")
    options = Parameters(functions[0].params)
    return _ranker(options.text("reranker") or "", options)


def _ranker(name: str, options: Parameters) -> Ranker:
    try:
        if name == "rrf":
            k = options.number("k")
            return Rrf(_DEFAULT_K if k is None else k)
        if name == "weighted":
            normed = options.text("norm_score") is None or options.flag("norm_score")
            return Weighted(*options.values("weights"), norm_score=normed)
    except InvalidArgument as exc:
        raise invalid(str(exc)) from exc
    raise invalid(f"ranker {name!r:.40} is not supported: rrf and weighted are")
