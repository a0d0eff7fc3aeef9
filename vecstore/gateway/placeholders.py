"""PlaceholderGroup: the query vectors, or texts, of a search. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from pymilvus.grpc_gen import common_pb2

from ..errors import InvalidData
from .records import NUMBERS, sparse_of

_TEXT = common_pb2.PlaceholderType.VarChar
_SPARSE = common_pb2.PlaceholderType.SparseFloatVector
_KINDS: Mapping[int, str] = {
    common_pb2.PlaceholderType.FloatVector: "float_vector",
    common_pb2.PlaceholderType.BinaryVector: "binary_vector",
    common_pb2.PlaceholderType.Float16Vector: "float16_vector",
    common_pb2.PlaceholderType.BFloat16Vector: "bfloat16_vector",
    common_pb2.PlaceholderType.Int8Vector: "int8_vector",
}


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Texts to search by, one a query."""

    texts: Sequence[str]


Placed = NDArray[Any] | list[Any] | Texts


def placed(group: bytes) -> Placed:
    """What a search is to look for: query vectors as an array (n, dim), sparse ones as dicts, or texts.

    Vectors that differ in length are a list of arrays. Raises InvalidData.
    """
    try:
        placeholders = common_pb2.PlaceholderGroup.FromString(group).placeholders
        if len(placeholders) != 1:
            raise InvalidData(f"a search has one placeholder, got {len(placeholders)}")
        return _values(placeholders[0].type, placeholders[0].values)
    except (DecodeError, ValueError) as exc:
        if isinstance(exc, InvalidData):
            raise
        raise InvalidData(f"the query vectors cannot be read: {exc}") from None


def kind_of(group: bytes) -> str:
    """What a search that placed() has read is given, in Milvus's word."""
    placeholder = common_pb2.PlaceholderGroup.FromString(group).placeholders[0]
    return str(common_pb2.PlaceholderType.Name(placeholder.type))


def _values(kind: int, values: Sequence[bytes]) -> Placed:
    if not values:
        raise InvalidData("no query vector given")
    if kind == _TEXT:
        return Texts([value.decode() for value in values])
    if kind == _SPARSE:
        return [sparse_of(value) for value in values]
    if kind not in _KINDS:
        name = common_pb2.PlaceholderType.Name(kind) if kind in common_pb2.PlaceholderType.values() else str(kind)
        raise InvalidData(f"query vectors of type {name} are not supported")
    numbers = NUMBERS[_KINDS[kind]]
    if len(set(map(len, values))) > 1:
        return [numbers(value) for value in values]
    return numbers(b"".join(values)).reshape(len(values), -1)
