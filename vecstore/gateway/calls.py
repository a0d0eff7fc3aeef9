"""Which RPC is served by which function, and why the others are not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pymilvus.grpc_gen import milvus_pb2

from . import aliases, collections, connecting, databases, fields, indexes, loading, partitions
from .call import Call

Function = Callable[[Call, Any], Any]
"""Takes a call and its request, gives the response, None for a plain success; may raise any error."""

CALLS: Mapping[str, Function] = {
    **aliases.CALLS,
    **collections.CALLS,
    **connecting.CALLS,
    **databases.CALLS,
    **fields.CALLS,
    **indexes.CALLS,
    **loading.CALLS,
    **partitions.CALLS,
}

REFUSED: Mapping[str, str] = {
    method.name: "not served by vecstore yet"
    for method in milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"].methods
}
