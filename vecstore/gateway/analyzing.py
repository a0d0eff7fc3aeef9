"""RunAnalyzer: what text search makes of texts, as it is for a field, or for an analyzer that is described."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from zlib import crc32

from pymilvus.grpc_gen import milvus_pb2

from ..lexemes import Lexeme
from ..schema import TEXTS
from .analyzers import configuration
from .call import Call
from .errors import Fault, MilvusError, invalid

_HASHED_BYTES = 100
_HASHES = 2**32 - 1


def run_analyzer(call: Call, request: Any) -> Any:
    """Offsets are of bytes and positions from 0, as Milvus tells them."""
    texts = _texts(request.placeholder)
    if request.collection_name or request.field_name:
        text_search = _of_field(call, request)
    elif request.analyzer_names:
        raise invalid("analyzer_names are of a field with multi_analyzer_params, which is not supported")
    else:
        params = {"analyzer_params": request.analyzer_params}
        text_search = configuration("run_analyzer", params, needed=True)
    found = call.store.lexemes(texts, text_search=text_search)
    response = milvus_pb2.RunAnalyzerResponse()
    for text, lexemes in zip(texts, found, strict=True):
        response.results.add().tokens.extend(_tokens(text, lexemes, request))
    return response


def _texts(given: Sequence[bytes]) -> list[str]:
    try:
        return [text.decode() for text in given]
    except UnicodeDecodeError as exc:
        raise invalid(f"a text to analyze is not UTF-8: {exc.reason}") from None


def _of_field(call: Call, request: Any) -> str | None:
    """The configuration of a field, which its schema has fixed."""
    if request.analyzer_params:
        raise invalid("run analyzer by analyzer_params, or by collection and field: not by both")
    for name, value in (("collection", request.collection_name), ("field", request.field_name)):
        if not value:
            raise MilvusError(Fault.MISSING_PARAMETER, f"run analyzer of a field needs its {name} name")
    field = call.known(request.collection_name).schema.field(request.field_name)
    if field.data_type not in TEXTS:
        raise invalid(f"field {field.name} is no text, it has no analyzer")
    return field.text_search


def _tokens(text: str, lexemes: Sequence[Lexeme], request: Any) -> Iterator[Any]:
    for it in lexemes:
        token = milvus_pb2.AnalyzerToken(token=it.text)
        if request.with_detail:
            token.start_offset, token.end_offset = len(text[: it.start].encode()), len(text[: it.end].encode())
            token.position, token.position_length = it.position - 1, 1
        if request.with_hash:  # internal/util/typeutil/hash.go: the dimension of the word in a sparse vector
            token.hash = crc32(it.text.encode()[:_HASHED_BYTES]) % _HASHES
        yield token


CALLS = {"RunAnalyzer": run_analyzer}
