"""Flush and compaction: what PostgreSQL has done already, and what it does when it is asked."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from .call import Call
from .connecting import timestamp

_EXECUTING, _COMPLETED = common_pb2.CompactionState.Executing, common_pb2.CompactionState.Completed


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
    """Rebuild worn indexes and VACUUM. What takes longer than clients wait goes on after the answer."""
    name = request.collection_name
    if not name and request.collectionID:
        name = next((it.name for it in call.store.summaries() if it.oid == request.collectionID), "")
    found = call.described(name)
    compact, line = call.collection(found.name).compact, (call.database, found.oid)
    begun = call.stores.undertakings.begin(_compaction(call, found.oid), compact, line=line)
    return milvus_pb2.ManualCompactionResponse(compactionID=begun.number, compactionPlanCount=1)


def _compaction(call: Call, oid: int) -> Hashable:
    return ("compact", call.database, oid)


def get_compaction_state(call: Call, request: Any) -> Any:
    """Of one that nobody remembers Milvus says that it is completed."""
    known = call.stores.undertakings.known(request.compactionID)
    if known is None:
        return milvus_pb2.GetCompactionStateResponse(state=_COMPLETED)
    return milvus_pb2.GetCompactionStateResponse(
        state=_EXECUTING if known.is_under_way else _COMPLETED,
        executingPlanNo=int(known.is_under_way),
        failedPlanNo=int(known.has_failed),
        completedPlanNo=int(not (known.is_under_way or known.has_failed)),
    )


def get_compaction_plans(call: Call, request: Any) -> Any:
    """The state alone: PostgreSQL merges no segments."""
    known = call.stores.undertakings.known(request.compactionID)
    if request.collection_name:
        known = call.stores.undertakings.under_way(_compaction(call, call.described(request.collection_name).oid))
    is_under_way = known is not None and known.is_under_way
    return milvus_pb2.GetCompactionPlansResponse(state=_EXECUTING if is_under_way else _COMPLETED)


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
