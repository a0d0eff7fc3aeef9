"""Flush and compaction: what PostgreSQL has done already, and what it does when it is asked."""

from __future__ import annotations

from typing import Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from .call import Call
from .connecting import timestamp

_COMPLETED = common_pb2.CompactionState.Completed


def flush(call: Call, request: Any) -> Any:
    """What was committed is on disk: there is nothing to flush, and no segment to wait for."""
    names, now = request.collection_names, timestamp()
    for name in names:
        call.known(name)
    return milvus_pb2.FlushResponse(
        db_name=call.database,
        coll_segIDs={name: schema_pb2.LongArray() for name in names},
        flush_coll_segIDs={name: schema_pb2.LongArray() for name in names},
        coll_seal_times=dict.fromkeys(names, now >> 18),
        coll_flush_ts=dict.fromkeys(names, now),
    )


def get_flush_state(call: Call, request: Any) -> Any:
    return milvus_pb2.GetFlushStateResponse(flushed=True)


def flush_all(call: Call, request: Any) -> Any:
    return milvus_pb2.FlushAllResponse(flush_all_ts=timestamp())


def get_flush_all_state(call: Call, request: Any) -> Any:
    return milvus_pb2.GetFlushAllStateResponse(flushed=True)


def manual_compaction(call: Call, request: Any) -> Any:
    """Rebuild worn indexes and VACUUM; the answer comes when that is done, so every compaction asked about is."""
    name = request.collection_name
    if not name and request.collectionID:
        name = next((it.name for it in call.store.summaries() if it.oid == request.collectionID), "")
    call.described(name)
    call.collection(name).compact()
    return milvus_pb2.ManualCompactionResponse(compactionID=timestamp())


def get_compaction_state(call: Call, request: Any) -> Any:
    return milvus_pb2.GetCompactionStateResponse(state=_COMPLETED)


def get_compaction_plans(call: Call, request: Any) -> Any:
    return milvus_pb2.GetCompactionPlansResponse(state=_COMPLETED)


def get_persistent_segment_info(call: Call, request: Any) -> Any:
    """PostgreSQL has no segments."""
    _ = call.known(request.collectionName)
    return milvus_pb2.GetPersistentSegmentInfoResponse()


def get_query_segment_info(call: Call, request: Any) -> Any:
    _ = call.known(request.collectionName)
    return milvus_pb2.GetQuerySegmentInfoResponse()


CALLS = {
    "Flush": flush,
    "FlushAll": flush_all,
    "GetCompactionState": get_compaction_state,
    "GetCompactionStateWithPlans": get_compaction_plans,
    "GetFlushAllState": get_flush_all_state,
    "GetFlushState": get_flush_state,
    "GetPersistentSegmentInfo": get_persistent_segment_info,
    "GetQuerySegmentInfo": get_query_segment_info,
    "ManualCompaction": manual_compaction,
}
