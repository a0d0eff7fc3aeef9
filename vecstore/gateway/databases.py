"""Databases: Milvus's are PostgreSQL's, on one server; `default` is the one that the gateway was given."""

from __future__ import annotations

from typing import Any

from pymilvus.grpc_gen import milvus_pb2

from ..errors import DatabaseExists, DatabaseNotFound, OperationRefused
from .call import DEFAULT_DATABASE, Call
from .errors import Fault, MilvusError, invalid
from .names import check_database
from .schema import messages, pairs


def create_database(call: Call, request: Any) -> None:
    name = check_database(request.db_name)
    if name == DEFAULT_DATABASE:
        raise invalid(f"database already exist: {name}")
    try:
        call.stores.default.create_database(name, properties=pairs(request.properties))
    except DatabaseExists:
        raise invalid(f"database already exist: {name}") from None


def drop_database(call: Call, request: Any) -> None:
    name = request.db_name
    if name == DEFAULT_DATABASE:
        raise invalid("can not drop default database")
    call.stores.forget(name)
    try:
        call.stores.default.drop_database(name)
    except DatabaseNotFound:
        raise MilvusError(Fault.DATABASE_NOT_FOUND, database=name) from None
    except OperationRefused:
        raise invalid(f"database:{name} not empty, must drop all collections before drop database") from None


def list_databases(call: Call, request: Any) -> Any:
    return milvus_pb2.ListDatabasesResponse(db_names=[DEFAULT_DATABASE, *call.stores.default.list_databases()])


def describe_database(call: Call, request: Any) -> Any:
    name = request.db_name or call.database
    properties = {} if name == DEFAULT_DATABASE else call.stores.default.list_databases().get(name)
    if properties is None:
        raise MilvusError(Fault.DATABASE_NOT_FOUND, database=name)
    return milvus_pb2.DescribeDatabaseResponse(db_name=name, properties=messages(properties))


def alter_database(call: Call, request: Any) -> None:
    name = request.db_name or call.database
    if name == DEFAULT_DATABASE:
        raise invalid("the default database is the one that the gateway was given: its properties are not Milvus's")
    try:
        call.stores.default.alter_database(name, pairs(request.properties), delete=request.delete_keys)
    except DatabaseNotFound:
        raise MilvusError(Fault.DATABASE_NOT_FOUND, database=name) from None


CALLS = {
    "AlterDatabase": alter_database,
    "CreateDatabase": create_database,
    "DescribeDatabase": describe_database,
    "DropDatabase": drop_database,
    "ListDatabases": list_databases,
}
