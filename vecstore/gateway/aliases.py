"""Aliases: second names of collections."""

from __future__ import annotations

from typing import Any

from pymilvus.grpc_gen import milvus_pb2

from ..errors import AliasExists, AliasNotFound, CollectionExists, NotOurs
from .call import Call
from .errors import Fault, MilvusError
from .names import check_collection


def create_alias(call: Call, request: Any) -> None:
    """The same alias of the same collection again is no error."""
    alias, name = check_collection(request.alias, "alias"), call.described(request.collection_name).name
    try:
        call.store.create_alias(name, alias)
    except CollectionExists:
        raise MilvusError(Fault.ALIAS_COLLECTION_NAME_CONFLICT, database=call.database, alias=alias) from None
    except AliasExists:
        target = call.store.list_aliases().get(alias)
        if target != name:
            error = MilvusError(Fault.ALIAS_EXISTS, database=call.database, alias=alias)
            raise error.saying(f"{alias} is alias to another collection: {target}") from None


def alter_alias(call: Call, request: Any) -> None:
    alias, name = check_collection(request.alias, "alias"), call.described(request.collection_name).name
    try:
        call.store.alter_alias(name, alias)
    except (AliasNotFound, NotOurs):
        raise MilvusError(Fault.ALIAS_NOT_FOUND, database=call.database, alias=alias) from None


def drop_alias(call: Call, request: Any) -> None:
    """Of one that is not there, Milvus says nothing."""
    alias = check_collection(request.alias, "alias")
    try:
        call.store.drop_alias(alias)
    except (AliasNotFound, NotOurs):
        return


def describe_alias(call: Call, request: Any) -> Any:
    alias = check_collection(request.alias, "alias")
    target = call.store.list_aliases().get(alias)
    if target is None:
        raise MilvusError(Fault.ALIAS_NOT_FOUND, database=call.database, alias=alias)
    return milvus_pb2.DescribeAliasResponse(db_name=call.database, alias=alias, collection=target)


def list_aliases(call: Call, request: Any) -> Any:
    name = request.collection_name and call.described(request.collection_name).name
    found = [alias for alias, target in call.store.list_aliases().items() if not name or target == name]
    return milvus_pb2.ListAliasesResponse(db_name=call.database, collection_name=name, aliases=found)


CALLS = {
    "AlterAlias": alter_alias,
    "CreateAlias": create_alias,
    "DescribeAlias": describe_alias,
    "DropAlias": drop_alias,
    "ListAliases": list_aliases,
}
