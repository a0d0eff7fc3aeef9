"""What clients are told when a call fails: one table of Milvus's codes and texts, and our errors in its terms.

Programs and their users match on these texts, so they are Milvus's own: the text of a sentinel, what it is about in
brackets, and before it what is wrong: `<what is wrong>: invalid parameter`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from pymilvus.grpc_gen import common_pb2

from .. import errors

LegacyCode = common_pb2.ErrorCode


class Fault(Enum):
    """Milvus's errors: code, code of old clients, text, and whether the caller is to blame."""

    UNAVAILABLE = (2, LegacyCode.NotReadyServe, "service unavailable", False)
    COLLECTION_NOT_FOUND = (100, LegacyCode.CollectionNotExists, "collection not found", True)
    COLLECTION_CANNOT_BE_FOUND = (100, LegacyCode.CollectionNotExists, "can't find collection", True)
    COLLECTION_NOT_LOADED = (101, LegacyCode.UnexpectedError, "collection not loaded", True)
    SCHEMA_MISMATCH = (109, LegacyCode.SchemaMismatch, "collection schema mismatch", True)
    PARTITION_NOT_FOUND = (200, LegacyCode.MetaFailed, "partition not found", True)
    PARTITION_NOT_LOADED = (201, LegacyCode.UnexpectedError, "partition not loaded", True)
    INDEX_NOT_FOUND = (700, LegacyCode.IndexNotExist, "index not found", True)
    INDEX_DUPLICATES = (702, LegacyCode.UnexpectedError, "index duplicates", True)
    DATABASE_NOT_FOUND = (800, LegacyCode.UnexpectedError, "database not found", True)
    INVALID_DATABASE_NAME = (802, LegacyCode.UnexpectedError, "invalid database name", True)
    INVALID_PARAMETER = (1100, LegacyCode.IllegalArgument, "invalid parameter", True)
    MISSING_PARAMETER = (1101, LegacyCode.IllegalArgument, "missing parameter", True)
    PRIVILEGE_NOT_PERMITTED = (1401, LegacyCode.PermissionDenied, "privilege not permitted", True)
    ALIAS_NOT_FOUND = (1600, LegacyCode.UnexpectedError, "alias not found", True)
    ALIAS_COLLECTION_NAME_CONFLICT = (1601, LegacyCode.UnexpectedError, "alias and collection name conflict", True)
    ALIAS_EXISTS = (1602, LegacyCode.UnexpectedError, "alias already exist", True)
    FIELD_NOT_FOUND = (1700, LegacyCode.UnexpectedError, "field not found", True)
    UNEXPECTED = (65535, LegacyCode.UnexpectedError, "unexpected error", False)

    def __init__(self, code: int, legacy: int, text: str, is_input_error: bool) -> None:  # noqa: FBT001 - a table
        self.code = code
        self.legacy = legacy
        self.text = text
        self.is_input_error = is_input_error


class MilvusError(Exception):
    """An error that a client of Milvus expects: a fault, what it is about, and what is wrong in words.

    >>> str(MilvusError(Fault.PARTITION_NOT_FOUND, partition="novel"))
    'partition not found[partition=novel]'
    >>> str(MilvusError(Fault.INVALID_PARAMETER, "can not drop default database"))
    'can not drop default database: invalid parameter'
    """

    def __init__(self, fault: Fault, why: str = "", **about: object) -> None:
        told = fault.text + "".join(f"[{name}={value}]" for name, value in about.items())
        super().__init__(f"{why}: {told}" if why else told)
        self.fault = fault

    def saying(self, more: str) -> MilvusError:
        """The same error, with more words after it."""
        self.args = (f"{self}: {more}",)
        return self


def invalid(why: str) -> MilvusError:
    """The commonest of all: a request that cannot be done, and why."""
    return MilvusError(Fault.INVALID_PARAMETER, why)


# The first class that an error is of decides. Text in brackets is what the request calls the object.
_FAULTS: tuple[tuple[type[errors.VecstoreError], Fault], ...] = (
    (errors.CollectionNotFound, Fault.COLLECTION_NOT_FOUND),
    (errors.PartitionNotFound, Fault.PARTITION_NOT_FOUND),
    (errors.IndexNotFound, Fault.INDEX_NOT_FOUND),
    (errors.AliasNotFound, Fault.ALIAS_NOT_FOUND),
    (errors.DatabaseNotFound, Fault.DATABASE_NOT_FOUND),
    (errors.FieldNotFound, Fault.FIELD_NOT_FOUND),
    (errors.PermissionDenied, Fault.PRIVILEGE_NOT_PERMITTED),
    (errors.ConnectionLost, Fault.UNAVAILABLE),
    (errors.PoolTimeout, Fault.UNAVAILABLE),
    (errors.UnsupportedServer, Fault.UNAVAILABLE),
    (errors.DatabaseError, Fault.UNEXPECTED),
    (errors.VecstoreError, Fault.INVALID_PARAMETER),  # names, arguments, data, filters, refusals: what was asked
)

# Of these Milvus says only which, in brackets, by the name that the request gives.
_NAMED: Mapping[Fault, tuple[str, str]] = {
    Fault.COLLECTION_NOT_FOUND: ("collection", "collection_name"),
    Fault.PARTITION_NOT_FOUND: ("partition", "partition_name"),
    Fault.INDEX_NOT_FOUND: ("indexName", "index_name"),
    Fault.ALIAS_NOT_FOUND: ("alias", "alias"),
}
_IN_A_DATABASE = frozenset({Fault.COLLECTION_NOT_FOUND, Fault.ALIAS_NOT_FOUND})
# The statement may be sent again as it is: nothing of it was done.
_RETRIABLE = (errors.LockTimeout, errors.PoolTimeout)
_COST = "report_value"


def described(error: Exception, request: Any, database: str) -> MilvusError:
    """Any error as clients are to see it; of one that nobody foresaw, no more than that it happened."""
    if isinstance(error, MilvusError):
        return error
    fault = next((fault for kind, fault in _FAULTS if isinstance(error, kind)), None)
    if fault is None:
        return MilvusError(Fault.UNEXPECTED, "the gateway failed; its log says why")
    word, attribute = _NAMED.get(fault, ("", ""))
    name = getattr(request, attribute, "")
    if not name:
        return MilvusError(fault, str(error))
    where = {"database": database} if fault in _IN_A_DATABASE else {}
    return MilvusError(fault, **where, **{word: name})


def status(error: MilvusError, cause: Exception) -> Any:
    """A Status for new clients and old.

    pymilvus's asynchronous delete() looks at none: it takes the cost, which a failure has not, for a number. Where the
    reason stands in its place no failure passes for a delete of nothing, and the error that is raised has the reason.
    """
    fault = error.fault
    return common_pb2.Status(
        error_code=fault.legacy,
        code=fault.code,
        reason=str(error),
        detail=str(error),
        retriable=isinstance(cause, _RETRIABLE),
        extra_info={_COST: str(error)} | ({"is_input_error": "true"} if fault.is_input_error else {}),
    )


_PLACES = ("status", "alter_status")


def failed(response: Any, answer: Any) -> Any:
    """A response of this class that says nothing but the status."""
    if response is common_pb2.Status:
        return answer
    name = next(it for it in _PLACES if it in response.DESCRIPTOR.fields_by_name)
    return response(**{name: answer})


def with_status(response: Any) -> Any:
    """The response with a status, if it was a success an empty one: clients of Node read what is not there as null."""
    for name in _PLACES:
        if name in response.DESCRIPTOR.fields_by_name:
            getattr(response, name).SetInParent()
    return response
