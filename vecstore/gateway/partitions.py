"""Partitions: create, list, count, drop."""

from __future__ import annotations

from typing import Any

from pymilvus.grpc_gen import milvus_pb2

from ..description import CollectionDescription
from ..errors import PartitionExists, PartitionNotFound
from ..naming import DEFAULT_PARTITION
from ..schema import MAX_PARTITIONS
from . import state
from .call import Call, number_of
from .connecting import hybrid
from .errors import Fault, MilvusError, invalid
from .names import check_partition
from .schema import messages


def create_partition(call: Call, request: Any) -> None:
    name = check_partition(request.partition_name)
    found = call.described(request.collection_name)
    if found.schema.partition_key is not None:
        raise invalid("disable create partition if partition key mode is used")
    if len(found.partitions) >= MAX_PARTITIONS and not _has(found, name):
        raise invalid(
            f"partition number ({len(found.partitions)}) exceeds max configuration ({MAX_PARTITIONS}), "
            f"collection: {found.name}"
        )
    try:
        call.collection(found.name).create_partition(name)
    except PartitionExists:  # Milvus says nothing
        return


def _has(found: CollectionDescription, name: str) -> bool:
    return any(it.name == name for it in found.partitions)


def drop_partition(call: Call, request: Any) -> None:
    """Of one that is not there, Milvus says nothing."""
    name = check_partition(request.partition_name)
    found = call.described(request.collection_name)
    if found.schema.partition_key is not None:
        raise invalid("disable drop partition if partition key mode is used")
    if name == DEFAULT_PARTITION:
        raise invalid("default partition cannot be deleted")
    if not _has(found, name):
        return
    if state.holds_back_drops(found, name):
        raise invalid("partition cannot be dropped, partition is loaded, please release it first")
    try:
        call.collection(found.name).drop_partition(partition_name=name)
    except PartitionNotFound:
        return


def has_partition(call: Call, request: Any) -> Any:
    check_partition(request.partition_name)
    return milvus_pb2.BoolResponse(value=_has(call.described(request.collection_name), request.partition_name))


def show_partitions(call: Call, request: Any) -> Any:
    if request.collection_name or not request.collectionID:
        found = call.described(request.collection_name)
    else:
        names = {it.oid: it.name for it in call.store.summaries()}
        found = call.described(names.get(request.collectionID, str(request.collectionID)))
    asked = request.partition_names or [it.name for it in found.partitions]
    for name in asked:
        if not _has(found, name):
            raise MilvusError(Fault.PARTITION_NOT_FOUND, partition=name)
    if request.type == milvus_pb2.ShowType.InMemory:
        asked = [name for name in asked if state.is_loaded(found, name)]
    created = hybrid(found.created_at)
    return milvus_pb2.ShowPartitionsResponse(
        partition_names=asked,
        partitionIDs=[number_of(found.name, name) for name in asked],
        created_timestamps=[created] * len(asked),
        created_utc_timestamps=[created >> 18] * len(asked),
        inMemory_percentages=[100 if state.is_loaded(found, name) else 0 for name in asked],
    )


def get_partition_statistics(call: Call, request: Any) -> Any:
    found, name = call.described(request.collection_name), request.partition_name
    collection = call.collection(found.name)
    if found.schema.partition_key is None:
        rows = collection.count(partition_names=[name])
    elif _has(found, name):  # no condition on its own: what of the key is in it PostgreSQL alone knows
        rows = next(it.rows for it in collection.stats().partitions if it.name == name)
    else:
        raise MilvusError(Fault.PARTITION_NOT_FOUND, partition=name)
    return milvus_pb2.GetPartitionStatisticsResponse(stats=messages({"row_count": str(rows)}))


CALLS = {
    "CreatePartition": create_partition,
    "DropPartition": drop_partition,
    "GetPartitionStatistics": get_partition_statistics,
    "HasPartition": has_partition,
    "ShowPartitions": show_partitions,
}
