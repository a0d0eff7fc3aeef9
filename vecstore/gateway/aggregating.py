"""search_aggregation: what a search found, in buckets, as clients ask for it and read it. Pure.

As in Milvus the buckets hold what a grouping search by all their fields brings: of all values that come together the
nearest, as many as a bucket shows hits, one where none shows any. Counts and metrics are of these.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymilvus.grpc_gen import milvus_pb2

from ..aggregates import aggregate
from ..description import CollectionDescription
from ..errors import InvalidArgument
from ..facets import COUNT, KEY, SCORE, Bucket, Facet
from ..hits import Hit
from ..schema import INTEGER_BITS, DataType, Field
from .errors import invalid
from .parameters import Parameters
from .records import document, told
from .results import Output
from .schema import field_id

_MAX_LEVELS = 4
_MAX_FIELDS = 10
_MAX_ENTRIES = 10_000
_INT64 = range(-(1 << 63), 1 << 63)
_OPERATORS = frozenset({"avg", "count", "max", "min", "sum"})
_KEYS = frozenset({*INTEGER_BITS, DataType.BOOL, DataType.VARCHAR, DataType.TIMESTAMPTZ})
_SORTABLE = _KEYS | {DataType.FLOAT, DataType.DOUBLE, DataType.TEXT}

Spec = Any
"""A SearchAggregationSpec, one level of it."""


@dataclass(frozen=True)
class Counting:
    """A search_aggregation in the library's terms.

    aliases  of each level: the aggregates by what the client calls them
    fields   of all levels: what the search is grouped by
    groups   how many groups the search is to bring, and
    size     how many hits of each
    sources  fields that are read for metrics and orders
    """

    facet: Facet
    aliases: Sequence[Mapping[str, str]]
    fields: tuple[Field, ...]
    groups: int
    size: int
    sources: Sequence[str]


def counting_of(
    description: CollectionDescription, request: milvus_pb2.SearchRequest, given: Parameters
) -> Counting | None:
    """Raise MilvusError for what cannot be counted."""
    if not request.HasField("search_aggregation"):
        return None
    _refuse_others(request, given)
    levels = _levels(request.search_aggregation)
    fields = _fields(description, levels)
    groups = math.prod(_size(level.search_size or level.size) for level in levels)
    size = max((_size(level.top_hits.size) for level in levels if level.HasField("top_hits")), default=1)
    if max(1, request.nq) * groups * size > _MAX_ENTRIES:
        raise invalid("number of search_aggregation result entries is too large")
    aliases = [_aliases(description, level) for level in levels]
    sorts = [sort for level in levels for sort in _sorts(description, level)]
    sources = [metric.field_name for level in levels for metric in level.metrics.values()]
    sources += [sort.partition(":")[0] for sort in sorts]
    return Counting(
        facet=_facet(description, levels, aliases),
        aliases=aliases,
        fields=fields,
        groups=groups,
        size=size,
        sources=[name for name in dict.fromkeys(sources) if name not in {"*", SCORE}],
    )


def _refuse_others(request: milvus_pb2.SearchRequest, given: Parameters) -> None:
    for name in ("group_by_field", "group_by_fields", "order_by_fields"):
        if given.names(name):
            raise invalid(f"{name} and search_aggregation cannot be used simultaneously")
    if request.HasField("function_score"):
        raise invalid("function_score and search_aggregation cannot be used simultaneously")
    if given.integer("offset"):
        raise invalid("offset is not supported with search_aggregation")
    if given.flag("search_iter_v2") or given.flag("iterator"):
        raise invalid("search_aggregation is not supported with search iterator")


def _levels(spec: Spec) -> list[Spec]:
    """From the outermost to the innermost."""
    levels = [spec]
    while levels[-1].HasField("sub_aggregation"):
        if len(levels) == _MAX_LEVELS:
            raise invalid(f"search_aggregation nesting exceeds max {_MAX_LEVELS} levels")
        levels.append(levels[-1].sub_aggregation)
    for level in levels:
        if level.size < 0:
            raise invalid("search_aggregation size must be non-negative")
        if level.search_size < 0:
            raise invalid("search_aggregation search_size must be non-negative")
        if level.search_size and level.search_size < _size(level.size):
            raise invalid("search_aggregation search_size must be greater than or equal to size")
        if level.top_hits.size < 0:
            raise invalid("top_hits size must be non-negative")
    return levels


def _size(size: int) -> int:
    return size or 1


def _fields(description: CollectionDescription, levels: Sequence[Spec]) -> tuple[Field, ...]:
    found: dict[str, Field] = {}
    for level in levels:
        if not level.fields:
            raise invalid("group_by level has no fields")
        if len(set(level.fields)) < len(level.fields):
            raise invalid(f"duplicated group_by field in one level: {', '.join(level.fields):.80}")
        for name in level.fields:
            if name in found:
                raise invalid(f'duplicated group_by field "{name:.80}" across levels')
            found[name] = _field(description, name, "group_by field", _KEYS)
    if len(found) > _MAX_FIELDS:
        raise invalid(f"search_aggregation groups by {len(found)} fields, and at most by {_MAX_FIELDS}")
    return tuple(found.values())


def _field(description: CollectionDescription, name: str, usage: str, kinds: Iterable[DataType]) -> Field:
    schema = description.schema
    field = schema.by_name.get(name)
    if field is None and not schema.dynamic:
        raise invalid(f'invalid {usage} "{name:.80}": field "{name:.80}" not found in schema')
    if field is None or field.data_type is DataType.JSON:
        raise invalid(f'{usage} "{name:.80}": JSON / dynamic fields are not yet supported with search_aggregation')
    if field.data_type not in kinds:
        is_float = field.data_type in {DataType.FLOAT, DataType.DOUBLE}
        kind = "FLOAT / DOUBLE" if is_float else field.data_type
        raise invalid(f'{usage} "{name}": {kind} fields are not supported with search_aggregation')
    return field


def _aliases(description: CollectionDescription, level: Spec) -> dict[str, str]:
    return {alias: _metric(description, alias, level.metrics[alias]) for alias in sorted(level.metrics)}


def _metric(description: CollectionDescription, alias: str, metric: Any) -> str:
    if not alias.strip():
        raise invalid("metric alias cannot be empty")
    operator, name = metric.op.strip().lower(), metric.field_name
    if operator not in _OPERATORS:
        raise invalid(f'invalid metric "{alias:.80}": unsupported metric op "{metric.op:.40}"')
    if name == "*" and operator != "count":
        raise invalid(f"invalid metric \"{alias:.80}\": field_name '*' only supports count op")
    text = f"{operator}({name})"
    if name not in {"*", SCORE}:
        _field(description, name, "metric field", DataType)
        try:
            aggregate(description.schema, text)
        except InvalidArgument as exc:
            raise invalid(f'invalid metric "{alias:.80}": {exc}') from exc
    return text


def _sorts(description: CollectionDescription, level: Spec) -> list[str]:
    """The order of the hits of a bucket, as the library says it."""
    sorts = []
    for sort in level.top_hits.sort:
        if sort.field_name != SCORE:
            _field(description, sort.field_name, "top_hits.sort field", _SORTABLE)
        if sort.null_first:
            raise invalid("top_hits.sort with null_first is not supported: null comes last")
        sorts.append(f"{sort.field_name}:{_direction(sort.direction)}")
    return sorts


def _direction(direction: str) -> str:
    told = direction.strip().lower() or "desc"
    if told not in {"asc", "desc"}:
        raise invalid("direction must be asc or desc")
    return told


def _facet(description: CollectionDescription, levels: Sequence[Spec], aliases: Sequence[Mapping[str, str]]) -> Facet:
    level, texts = levels[0], aliases[0]
    return Facet(
        list(level.fields),
        _size(level.size),
        aggregates=list(dict.fromkeys(texts.values())),
        order_by=[_order(texts, order) for order in level.order],
        hits=_size(level.top_hits.size) if level.HasField("top_hits") else 0,
        hits_order_by=_sorts(description, level),
        inside=_facet(description, levels[1:], aliases[1:]) if len(levels) > 1 else None,
    )


def _order(texts: Mapping[str, str], order: Any) -> str:
    key = order.key.strip()
    if key not in {COUNT, KEY, *texts}:
        raise invalid(f'order key "{key:.80}" is neither reserved key nor metric alias')
    return f"{key if key in {COUNT, KEY} else texts[key]}:{_direction(order.direction)}"


# What goes out


@dataclass(frozen=True)
class Telling:
    """How buckets are told.

    decimals  to which scores are rounded, -1 for not at all
    """

    description: CollectionDescription
    wanted: Output
    decimals: int

    def answer(self, name: str, counting: Counting, found: Sequence[Sequence[Bucket]], *, at: int) -> Any:
        """The buckets of each query; at: when, as Milvus counts."""
        results = milvus_pb2.SearchResults(collection_name=name, session_ts=at)
        data = results.results
        data.num_queries = len(found)
        data.topks.extend([0] * len(found))
        data.agg_topks.extend(map(len, found))
        for buckets in found:
            self._write(data.agg_buckets, buckets, counting.aliases)
        return results

    def _write(self, messages: Any, buckets: Iterable[Bucket], aliases: Sequence[Mapping[str, str]]) -> None:
        for bucket in buckets:
            message = messages.add(count=bucket.count)
            for name, value in bucket.key.items():
                self._value(message.key.add(field_id=field_id(self.description, name), field_name=name), value)
            for alias, text in aliases[0].items():
                if bucket.aggregates[text] is not None:
                    self._value(message.metrics[alias], bucket.aggregates[text])
            for hit in bucket.hits:
                self._hit(message.hits.add(), hit)
            self._write(message.sub_groups, bucket.buckets, aliases[1:])

    def _hit(self, message: Any, hit: Hit) -> None:
        setattr(message, "str_pk" if isinstance(hit.id, str) else "int_pk", hit.id)
        message.score = hit.distance if self.decimals < 0 else round(hit.distance, self.decimals)
        for field in self.wanted.fields:
            entry = message.fields.add(field_id=field_id(self.description, field.name), field_name=field.name)
            value = hit.fields[field.name]
            if field.data_type is DataType.FLOAT and value is not None:
                entry.float_val = value
            else:
                self._value(entry, value)
        if self.wanted.dynamic_keys != ():
            known = self.description.schema.by_name
            for key, value in hit.fields.items():
                if key not in known:
                    self._value(message.fields.add(field_name=key), value)

    def _value(self, message: Any, value: Any) -> None:
        """Into the slot of its kind; NULL into none; what has no slot, as JSON."""
        if isinstance(value, bool):
            message.bool_val = value
        elif isinstance(value, int) and value in _INT64:
            message.int_val = value
        elif isinstance(value, int | float):
            message.double_val = value
        elif isinstance(value, str):
            message.string_val = value
        elif isinstance(value, datetime):
            message.string_val = told(value, self.wanted.zone)
        elif value is not None:
            message.bytes_val = document(value)
