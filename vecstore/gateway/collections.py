"""Collections: create, describe, list, rename, alter, count, empty, drop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from ..description import CollectionDescription
from ..errors import CollectionExists, CollectionHasAliases, CollectionNotFound
from ..schema import CollectionSchema
from . import state
from .call import Call
from .connecting import hybrid
from .errors import Fault, MilvusError, invalid
from .functions import functions_of
from .names import check_collection
from .schema import (
    OWN_PROPERTIES,
    collection_schema,
    messages,
    pairs,
    parsed,
    schema_message,
    shown_properties,
)

_CONSISTENCY = "milvus.consistency_level"
_SHARDS = "milvus.shards_num"
_DESCRIPTION = "collection.description"
_LONGEST_NUMBER = 5

# Milvus would hide or change entities because of these; a promise that nobody keeps is worse than none.
_NOT_KEPT = {
    "collection.ttl.seconds": "entities do not expire: delete them by a filter on a time",
    "ttl_field": "entities do not expire: delete them by a filter on a time",
    "allow_insert_auto_id": "keys of auto_id are drawn, and none is taken from a client",
    "dynamicfield.enabled": "whether a collection has dynamic fields is decided when it is created",
    "timezone": "a time without an offset is one of UTC, and times are told in UTC; a query takes another timezone",
}
# What is so without them.
_AS_IT_IS = frozenset(
    {
        ("collection.ttl.seconds", "0"),
        ("collection.ttl.seconds", "-1"),
        ("allow_insert_auto_id", "false"),
        ("timezone", "utc"),
    }
)


def create_collection(call: Call, request: Any) -> None:
    name = check_collection(request.collection_name)
    asked = parsed(request.schema, schema_pb2.CollectionSchema)
    given = {**pairs(asked.properties), **pairs(request.properties)}
    _check_properties(given)
    own = {
        state.PROPERTY: state.written(()),
        _CONSISTENCY: str(request.consistency_level),
        _SHARDS: str(request.shards_num or 1),
    }
    schema = collection_schema(asked, given | own, request.num_partitions)
    try:
        call.store.create_collection(
            name,
            schema.fields,
            description=schema.description,
            dynamic=schema.dynamic,
            properties=schema.properties,
            num_partitions=schema.num_partitions,
        )
    except CollectionExists:
        _check_same(call, name, schema)


def _check_same(call: Call, name: str, schema: CollectionSchema) -> None:
    """Milvus lets a collection be created twice alike."""
    found = call.described(name)
    if found.name != name:
        raise MilvusError(Fault.ALIAS_COLLECTION_NAME_CONFLICT, database=call.database, alias=name)
    same = (found.schema.fields, found.schema.dynamic) == (schema.fields, schema.dynamic)
    if not same or functions_of(found.schema) != functions_of(schema):
        raise invalid(f"create duplicate collection with different parameters, collection: {name}")


def _check_properties(given: Mapping[str, str]) -> None:
    for name, value in given.items():
        if name in _NOT_KEPT and (name, value.lower()) not in _AS_IT_IS:
            raise invalid(f"property {name} is not supported by vecstore: {_NOT_KEPT[name]}")
    _check_not_own(given)


def _check_not_own(names: Iterable[str]) -> None:
    for name in names:
        if name.startswith(OWN_PROPERTIES):
            raise invalid(f"property {name}: names that begin with {OWN_PROPERTIES!r} are the gateway's own")


def described(call: Call, name: str, collection_id: int) -> CollectionDescription:
    """A collection by its name or number, with the words that Milvus has for describing one that is not there."""
    if not name and collection_id:
        name = next((it.name for it in call.store.summaries() if it.oid == collection_id), str(collection_id))
    try:
        return call.described(name)
    except MilvusError as error:
        if error.fault is not Fault.COLLECTION_NOT_FOUND:
            raise
        raise MilvusError(Fault.COLLECTION_CANNOT_BE_FOUND, database=call.database, collection=name) from None


def describe_collection(call: Call, request: Any) -> Any:
    found = described(call, request.collection_name, request.collectionID)
    return _description(call, found)


def batch_describe_collection(call: Call, request: Any) -> Any:
    asked = [(name, 0) for name in request.collection_name] or [("", number) for number in request.collectionID]
    found = [described(call, name, number) for name, number in asked]
    return milvus_pb2.BatchDescribeCollectionResponse(responses=[_description(call, it) for it in found])


def _description(call: Call, found: CollectionDescription) -> Any:
    kept = found.schema.properties
    return milvus_pb2.DescribeCollectionResponse(
        status=common_pb2.Status(),  # one of several has its own
        schema=schema_message(found),
        collectionID=found.oid,
        created_timestamp=hybrid(found.created_at),
        created_utc_timestamp=_milliseconds(found.created_at),
        shards_num=_number(kept, _SHARDS, 1),
        aliases=found.aliases,
        consistency_level=_number(kept, _CONSISTENCY, common_pb2.ConsistencyLevel.Strong),
        collection_name=found.name,
        properties=messages(shown_properties(kept)),
        db_name=call.database,
        num_partitions=len(found.partitions),
    )


def _number(kept: Mapping[str, str], name: str, usual: int) -> int:
    """A small number that was kept; the usual one where somebody made a text of it."""
    value = kept.get(name, "")
    return int(value) if value.isdecimal() and len(value) < _LONGEST_NUMBER else usual


def _milliseconds(moment: datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp() * 1000)


def has_collection(call: Call, request: Any) -> Any:
    try:
        call.described(request.collection_name)
    except MilvusError as error:
        if error.fault is not Fault.COLLECTION_NOT_FOUND:
            raise
        return milvus_pb2.BoolResponse(value=False)
    return milvus_pb2.BoolResponse(value=True)


def show_collections(call: Call, request: Any) -> Any:
    """All of them; of the type InMemory, those that are loaded, and of these only the ones that are named."""
    found = call.store.summaries()
    if request.type == milvus_pb2.ShowType.InMemory:
        asked = set(request.collection_names)
        missing = sorted(asked - {it.name for it in found})
        if missing:
            raise call.no_collection(missing[0])
        found = [it for it in found if state.is_any_loaded(it.properties) and (not asked or it.name in asked)]
    return milvus_pb2.ShowCollectionsResponse(
        collection_names=[it.name for it in found],
        collection_ids=[it.oid for it in found],
        created_timestamps=[hybrid(it.created_at) for it in found],
        created_utc_timestamps=[_milliseconds(it.created_at) for it in found],
        inMemory_percentages=[100 if state.is_any_loaded(it.properties) else 0 for it in found],
        query_service_available=[state.is_any_loaded(it.properties) for it in found],
        shards_num=[_number(it.properties, _SHARDS, 1) for it in found],
    )


def rename_collection(call: Call, request: Any) -> None:
    old, new = request.oldName, check_collection(request.newName)
    if request.newDBName not in {"", call.database}:
        raise invalid("a collection cannot move to another database: databases of PostgreSQL are apart")
    if call.described(old).name != old:
        raise invalid(f"unsupported use an alias to rename collection, alias:{old}")
    try:
        call.store.rename_collection(old, new)
    except CollectionExists:
        why = f"duplicated new collection name {call.database}:{new} with other collection name or alias"
        raise invalid(why) from None


def alter_collection(call: Call, request: Any) -> None:
    given = pairs(request.properties)
    call.described(request.collection_name)
    _check_properties(given)
    _check_not_own(request.delete_keys)
    description = given.pop(_DESCRIPTION, None)
    call.collection(request.collection_name).alter(
        description=description, properties=given, delete_properties=request.delete_keys
    )


def get_collection_statistics(call: Call, request: Any) -> Any:
    call.known(request.collection_name)
    rows = call.collection(request.collection_name).count()
    return milvus_pb2.GetCollectionStatisticsResponse(stats=messages({"row_count": str(rows)}))


def truncate_collection(call: Call, request: Any) -> None:
    check_collection(request.collection_name)
    call.collection(request.collection_name).truncate()


def drop_collection(call: Call, request: Any) -> None:
    """Of one that is not there, and of a database that is not there, Milvus says nothing."""
    name = request.collection_name
    try:
        found = call.described(name)
    except MilvusError as error:
        if error.fault in {Fault.COLLECTION_NOT_FOUND, Fault.DATABASE_NOT_FOUND}:
            return
        raise
    if found.name != name:
        raise invalid(f"cannot drop the collection via alias = {name}")
    try:
        call.collection(name).drop()
    except CollectionHasAliases as error:
        raise invalid(
            f"unable to drop the collection [{name}] because it has associated aliases [{' '.join(error.aliases)}], "
            "please remove all aliases before dropping the collection"
        ) from None
    except CollectionNotFound:
        return


CALLS = {
    "AlterCollection": alter_collection,
    "BatchDescribeCollection": batch_describe_collection,
    "CreateCollection": create_collection,
    "DescribeCollection": describe_collection,
    "DropCollection": drop_collection,
    "GetCollectionStatistics": get_collection_statistics,
    "HasCollection": has_collection,
    "RenameCollection": rename_collection,
    "ShowCollections": show_collections,
    "TruncateCollection": truncate_collection,
}
