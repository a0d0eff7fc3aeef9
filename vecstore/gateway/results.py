"""What is given back: entities as columns, and the hits of a search. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from ..hits import Hit
from ..naming import DYNAMIC_FIELD
from ..projection import ALL_FIELDS, Record
from ..schema import CollectionSchema, DataType, Field
from .errors import invalid
from .functions import refuse_output
from .records import dynamic_data, field_data

_META_KEY = re.compile(r"""\$meta\[(['"])(?P<key>.+)\1\]""", re.DOTALL)


@dataclass(frozen=True)
class Output:
    """The fields that a client asks for.

    fields        columns of the answer
    dynamic_keys  keys of the dynamic fields; None: all; (): no column of theirs at all
    """

    schema: CollectionSchema
    fields: tuple[Field, ...]
    dynamic_keys: tuple[str, ...] | None
    zone: tzinfo = UTC

    @property
    def names(self) -> list[str]:
        """As clients are told; a name that is no column's is one of the dynamic keys."""
        dynamic = [DYNAMIC_FIELD] if self.dynamic_keys is None else list(self.dynamic_keys)
        return [*(field.name for field in self.fields), *dynamic]

    @property
    def asked(self) -> list[str] | None:
        """As the library is asked."""
        return self.names or None

    def columns(self, records: Sequence[Record]) -> Iterator[schema_pb2.FieldData]:
        for field in self.fields:
            yield field_data(field, [record.get(field.name) for record in records], zone=self.zone)
        if self.dynamic_keys != ():
            known = self.schema.by_name
            yield dynamic_data({key: record[key] for key in record if key not in known} for record in records)


def output(schema: CollectionSchema, names: Iterable[str], *, key: bool, zone: tzinfo = UTC) -> Output:
    """What `output_fields` asks for; raises MilvusError.

    key  the primary key is given back, too
    """
    wanted = list(dict.fromkeys(_META_KEY.sub(r"\g<key>", name) for name in names))
    refuse_output(schema, wanted)
    everything = ALL_FIELDS in wanted
    others = tuple(name for name in wanted if name not in schema.by_name and name != ALL_FIELDS)
    if others and not schema.dynamic:
        raise invalid(f"field {others[0]:.80} not exist")
    fields = tuple(
        field for field in schema.fields if everything or field.name in wanted or (key and field.primary_key)
    )
    return Output(schema, fields, None if schema.dynamic and (everything or DYNAMIC_FIELD in others) else others, zone)


def without_vectors(wanted: Output) -> Output:
    return replace(wanted, fields=tuple(field for field in wanted.fields if not field.data_type.is_vector))


def zone_of(name: str | None) -> tzinfo:
    """A time zone by its name; raises MilvusError."""
    try:
        return UTC if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise invalid(f"invalid timezone: {name:.80}") from None


def ids_of(key: Field, ids: Iterable[Any]) -> schema_pb2.IDs:
    if key.data_type is DataType.VARCHAR:
        return schema_pb2.IDs(str_id=schema_pb2.StringArray(data=ids))
    return schema_pb2.IDs(int_id=schema_pb2.LongArray(data=ids))


def found(
    collection_name: str,
    wanted: Output,
    answers: Sequence[Sequence[Hit]],
    *,
    at: int,
    decimals: int = -1,
    grouped_by: Sequence[Field] = (),
) -> milvus_pb2.SearchResults:
    """The answers to all queries, one after the other.

    at          when, as Milvus counts
    decimals    to which scores are rounded; -1 for not at all
    grouped_by  fields whose values tell the groups
    """
    hits = [hit for answer in answers for hit in answer]
    scores = [hit.distance for hit in hits]
    key = wanted.schema.primary_key
    sizes = [len(answer) for answer in answers]
    results = milvus_pb2.SearchResults(collection_name=collection_name, session_ts=at)
    data = results.results  # filled where it stands: a message given to another is copied
    data.num_queries = len(answers)
    data.top_k = max(sizes, default=0)
    data.topks.extend(sizes)
    data.scores.extend([round(score, decimals) for score in scores] if decimals >= 0 else scores)
    column = data.ids.str_id if key.data_type is DataType.VARCHAR else data.ids.int_id
    column.SetInParent()
    column.data.extend([hit.id for hit in hits])
    data.primary_field_name = key.name
    if names := wanted.names:
        data.output_fields.extend(names)
        data.fields_data.extend(wanted.columns([hit.fields for hit in hits]))
    for field in grouped_by:
        data.group_by_field_values.append(field_data(field, [hit.fields[field.name] for hit in hits]))
    if len(grouped_by) == 1:  # what clients read that know of no more than one
        data.group_by_field_value.CopyFrom(data.group_by_field_values[0])
    return results


def from_ids(ids: schema_pb2.IDs) -> list[Any]:
    which = ids.WhichOneof("id_field")
    return [] if which is None else list(getattr(ids, which).data)


def grouped(hits: Iterable[Hit], fields: Sequence[Field], *, size: int, limit: int, offset: int) -> list[Hit]:
    """The first `size` hits of each value, or of values that come together; limit and offset count these."""
    groups: dict[tuple[Any, ...], list[Hit]] = {}
    for hit in hits:
        groups.setdefault(tuple(hit.fields[field.name] for field in fields), []).append(hit)
    return [hit for group in list(groups.values())[offset : offset + limit] for hit in group[:size]]
