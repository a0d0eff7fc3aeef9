"""Connect, versions, time and health: what clients ask before they work."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from .call import Call

# The release of Milvus whose protocol this is: clients ask before they use what is new.
MILVUS_VERSION = "v2.6.17"
_LOGICAL_BITS = 18


def timestamp() -> int:
    """Now, as Milvus counts: milliseconds, and room for a counter."""
    return (time.time_ns() // 1_000_000) << _LOGICAL_BITS


def hybrid(moment: datetime | None) -> int:
    """A moment, as Milvus counts; 0 for an unknown one."""
    return 0 if moment is None else int(moment.timestamp() * 1000) << _LOGICAL_BITS


def connect(call: Call, request: Any) -> Any:
    _ = call.store
    return milvus_pb2.ConnectResponse(
        server_info=common_pb2.ServerInfo(build_tags=MILVUS_VERSION, deploy_mode="STANDALONE"),
        identifier=timestamp(),
    )


def get_version(call: Call, request: Any) -> Any:
    return milvus_pb2.GetVersionResponse(version=MILVUS_VERSION)


def alloc_timestamp(call: Call, request: Any) -> Any:
    return milvus_pb2.AllocTimestampResponse(timestamp=timestamp())


def check_health(call: Call, request: Any) -> Any:
    """Whether PostgreSQL answers."""
    call.store.list_databases()
    return milvus_pb2.CheckHealthResponse(isHealthy=True)


CALLS = {
    "AllocTimestamp": alloc_timestamp,
    "CheckHealth": check_health,
    "Connect": connect,
    "GetVersion": get_version,
}
