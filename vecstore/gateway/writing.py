"""Insert, Upsert and Delete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from ..description import CollectionDescription
from ..errors import DuplicateKey, InvalidArgument
from ..filters import FilterError, parse
from ..filters.tree import Binary, Constant, Listing, Name, Template
from ..naming import DYNAMIC_FIELD
from ..schema import CollectionSchema
from .call import Call
from .connecting import timestamp
from .errors import Fault, MilvusError, invalid
from .functions import functions_of
from .parameters import planning, templates
from .records import Column, columns_of
from .results import ids_of
from .state import check_loaded

_REPLACE = schema_pb2.FieldPartialUpdateOp.OpType.REPLACE


def insert(call: Call, request: milvus_pb2.InsertRequest) -> milvus_pb2.MutationResult:
    """Add entities; one whose key is there already takes its place, and of two of one key in a batch the last stays.

    Milvus keeps all of them and shows one: for a client there is no difference but in the counts.
    """
    description = call.known(request.collection_name)
    partition = _partition(description, request.partition_name)
    columns = _columns(description, request)
    collection = call.collection(request.collection_name)
    try:
        ids = collection.insert(columns, partition_name=partition).ids
    except DuplicateKey:
        key = description.schema.primary_key.name
        collection.upsert(_last_of_each(columns, key), partition_name=partition)
        ids = np.asarray(columns[key]).tolist()
    return _mutation(description.schema, ids, insert_cnt=len(ids))


def upsert(call: Call, request: milvus_pb2.UpsertRequest) -> milvus_pb2.MutationResult:
    description = call.known(request.collection_name)
    partition = _partition(description, request.partition_name)
    columns = _columns(description, request)
    key = description.schema.primary_key.name
    if key not in columns:
        raise invalid(f"must assign pk when upsert, primary field: {key}")
    for operation in request.field_ops:
        if operation.op != _REPLACE:
            raise invalid(f"field {operation.field_name:.80}: of a partial update only REPLACE is supported")
    partial = request.partial_update
    try:
        result = call.collection(request.collection_name).upsert(columns, partition_name=partition, partial=partial)
    except DuplicateKey as exc:
        raise invalid("duplicate primary keys are not allowed in the same batch") from exc
    rows = result.count
    return _mutation(description.schema, result.ids, upsert_cnt=rows, insert_cnt=rows, delete_cnt=rows)


def delete(call: Call, request: milvus_pb2.DeleteRequest) -> milvus_pb2.MutationResult:
    """Delete by keys, of a released collection too, or by any filter. The ids stay empty: clients read the count."""
    description = call.known(request.collection_name)
    partition = _partition(description, request.partition_name)
    with planning(request.expr, "delete"):
        if not is_by_key(description.schema, request.expr):
            check_loaded(description)
        given = templates(request.expr_template_values)
        doomed = partial(call.collection(request.collection_name).delete, partition_names=partition and [partition])
        try:
            result = doomed(request.expr, filter_params=given)
        except InvalidArgument as exc:
            if not spares_none(request.expr, given or {}):
                raise invalid(f"delete plan can't be empty or always true : {request.expr}") from exc
            result = doomed(f"{description.schema.primary_key.name} is not null")
    return milvus_pb2.MutationResult(delete_cnt=result.count, timestamp=timestamp())


def is_by_key(schema: CollectionSchema, expression: str) -> bool:
    """Whether a filter does no more than name primary keys."""
    try:
        tree = parse(expression)
    except FilterError:
        return False
    named: tuple[type, ...] = {"in": (Listing, Template), "==": (Constant, Template)}.get(
        tree.operator if isinstance(tree, Binary) else "", ()
    )
    return isinstance(tree, Binary) and tree.left == Name(schema.primary_key.name) and isinstance(tree.right, named)


def spares_none(expression: str, given: Mapping[str, Any]) -> bool:
    """Whether a filter is `field not in []`: all but those of a list, as programs say it, and the list is empty.

    It is always true as well, and yet Milvus deletes all by it.
    """
    tree = parse(expression)
    if not isinstance(tree, Binary) or tree.operator != "not in":
        return False
    return tree.right == Listing(()) or (isinstance(tree.right, Template) and given.get(tree.right.name) == [])


def _partition(description: CollectionDescription, name: str) -> str | None:
    if name and description.schema.partition_key is not None:
        raise invalid("not support manually specifying the partition names if partition key mode is used")
    return name or None


def _columns(
    description: CollectionDescription, request: milvus_pb2.InsertRequest | milvus_pb2.UpsertRequest
) -> dict[str, Column]:
    if not request.num_rows:
        raise invalid("the num_rows (0) should be greater than 0")
    made = {it.output for it in functions_of(description.schema)}
    for data in request.fields_data:
        if data.field_name in made and not data.is_dynamic:
            raise invalid(f"Attempt to insert an unexpected function output field `{data.field_name}` to collection")
    unknown = [
        data.field_name
        for data in request.fields_data
        if data.field_name not in description.schema.by_name and not _is_dynamic(description, data)
    ]
    if unknown:  # clients that remember an older schema ask for it again
        raise MilvusError(Fault.SCHEMA_MISMATCH, f"field {unknown[0]:.80} not exist", collection=description.name)
    columns = columns_of(description.schema, request.fields_data, request.num_rows)
    _check_hidden(description, columns.get(DYNAMIC_FIELD, ()))
    return columns


def _check_hidden(description: CollectionDescription, documents: Iterable[Any]) -> None:
    """Raise MilvusError where a dynamic key has the name of a field: the client does not know of the field yet."""
    known = description.schema.by_name.keys()
    for document in documents:
        if isinstance(document, dict) and not known.isdisjoint(document):
            name = next(key for key in document if key in known)
            why = f"dynamic key {name:.80} is a field by now"
            raise MilvusError(Fault.SCHEMA_MISMATCH, why, collection=description.name)


def _is_dynamic(description: CollectionDescription, data: schema_pb2.FieldData) -> bool:
    return description.schema.dynamic and (data.is_dynamic or data.field_name == DYNAMIC_FIELD)


def _last_of_each(columns: Mapping[str, Column], key: str) -> dict[str, Column]:
    """The last row of each key, in the order of the keys' first ones."""
    rows = list({value: row for row, value in enumerate(_hashable(columns[key]))}.values())
    return {name: _taken(column, rows) for name, column in columns.items()}


def _hashable(keys: Column) -> Iterable[Any]:
    return keys.tolist() if isinstance(keys, np.ndarray) else keys


def _taken(column: Column, rows: Sequence[int]) -> Column:
    return column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows]


def _mutation(schema: CollectionSchema, ids: Sequence[Any], **counts: int) -> milvus_pb2.MutationResult:
    return milvus_pb2.MutationResult(
        IDs=ids_of(schema.primary_key, ids), succ_index=range(len(ids)), timestamp=timestamp(), **counts
    )


CALLS = {"Delete": delete, "Insert": insert, "Upsert": upsert}
