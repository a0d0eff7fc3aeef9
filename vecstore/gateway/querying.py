"""Query: entities without a vector, counts, and groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from ..aggregates import Aggregate, aggregate, is_aggregate
from ..description import CollectionDescription
from ..projection import Record
from ..schema import INTEGER_BITS, CollectionSchema, DataType
from .call import Call
from .connecting import timestamp
from .errors import invalid
from .parameters import Parameters, planning, templates
from .records import field_data, scalar_data
from .requests import MAX_WINDOW
from .results import output, zone_of
from .state import check_loaded

COUNT = "count(*)"


def query(call: Call, request: milvus_pb2.QueryRequest) -> milvus_pb2.QueryResults:
    """Entities in the order of the primary key, or of order_by: what iterators of clients go by."""
    description = call.known(request.collection_name)
    check_readable(description, request.partition_names)
    options = Parameters(request.query_params)
    options.refuse("time_fields")
    with planning(request.expr):
        if list(request.output_fields) == [COUNT] and not options.names("group_by_fields"):
            fields_data = [_count(call, request, options)]
            names: Sequence[str] = [COUNT]
        elif options.names("group_by_fields") or any(map(is_aggregate, request.output_fields)):
            names = list(request.output_fields)
            fields_data = list(_groups(call, request, options, description.schema))
        else:
            wanted = output(description.schema, request.output_fields, key=True, zone=zone_of(options.text("timezone")))
            names = wanted.names
            fields_data = list(wanted.columns(_entities(call, request, options, names)))
    return milvus_pb2.QueryResults(
        fields_data=fields_data,
        collection_name=request.collection_name,
        output_fields=names,
        session_ts=timestamp(),
        primary_field_name=description.schema.primary_key.name,
    )


def check_readable(description: CollectionDescription, partition_names: Sequence[str]) -> None:
    """Raise MilvusError unless these partitions, or all, may be searched."""
    if partition_names and description.schema.partition_key is not None:
        raise invalid("not support manually specifying the partition names if partition key mode is used")
    known = {partition.name for partition in description.partitions}
    for name in partition_names:
        if name not in known:
            raise invalid(f"partition name {name:.80} not found")
    check_loaded(description, partition_names)


def _entities(call: Call, request: milvus_pb2.QueryRequest, options: Parameters, names: Sequence[str]) -> list[Record]:
    limit, offset = _window(options)
    if limit is None and not request.expr.strip():
        raise invalid("empty expression should be used with limit")
    return call.collection(request.collection_name).query(
        request.expr or None,
        output_fields=names,
        limit=limit,
        offset=offset,
        order_by=options.names("order_by_fields") or None,
        filter_params=templates(request.expr_template_values),
        partition_names=list(request.partition_names) or None,
    )


def _window(options: Parameters) -> tuple[int | None, int]:
    """The limit, None for all, and the offset."""
    limit, offset = options.integer("limit"), options.integer("offset") or 0
    if limit is None or limit == -1:
        return None, offset
    if limit < 1 or offset < 0 or limit + offset > MAX_WINDOW:
        raise invalid(
            f"invalid max query result window, (offset+limit) should be in range [1, {MAX_WINDOW}], "
            f"but got {limit + offset}"
        )
    return limit, offset


def _count(call: Call, request: milvus_pb2.QueryRequest, options: Parameters) -> schema_pb2.FieldData:
    if options.integer("limit") not in {None, -1} or options.integer("offset"):
        raise invalid("count entities with pagination is not allowed")
    rows = call.collection(request.collection_name).count(
        request.expr or None,
        filter_params=templates(request.expr_template_values),
        partition_names=list(request.partition_names) or None,
    )
    return scalar_data(COUNT, DataType.INT64, [rows])


def _groups(
    call: Call, request: milvus_pb2.QueryRequest, options: Parameters, schema: CollectionSchema
) -> Iterator[schema_pb2.FieldData]:
    limit, offset = _window(options)
    names, zone = list(request.output_fields), zone_of(options.text("timezone"))
    records = call.collection(request.collection_name).query(
        request.expr or None,
        output_fields=names,
        group_by=options.names("group_by_fields") or None,
        limit=limit,
        offset=offset,
        order_by=options.names("order_by_fields") or None,
        filter_params=templates(request.expr_template_values),
        partition_names=list(request.partition_names) or None,
    )
    for name in names:
        values = [record[name] for record in records]
        if name in schema.by_name:
            yield field_data(schema.by_name[name], values, zone=zone)
        else:
            yield scalar_data(name, _kind_of(aggregate(schema, name)), values, zone=zone)


def _kind_of(found: Aggregate) -> DataType:
    """The type of an aggregate's values."""
    if found.field is None or found.function == "count":
        return DataType.INT64
    if found.function in {"min", "max"}:
        return found.field.data_type
    return DataType.INT64 if found.function == "sum" and found.field.data_type in INTEGER_BITS else DataType.DOUBLE


CALLS = {"Query": query}
