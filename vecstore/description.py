"""What a collection is: its schema, partitions, indexes and aliases as they stand in the catalogue. Pure values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from .errors import IndexNotFound, InvalidArgument, PartitionNotFound
from .naming import DYNAMIC_COLUMN, PARTITION_COLUMN
from .schema import CollectionSchema, Hnsw, IndexSpec, IvfFlat, Metric

UNDESCRIBED = "A collection of vecstore"
"""What psql shows of a collection without a description."""


class IndexState(StrEnum):
    """Whether searches use an index."""

    READY = "ready"
    INVALID = "invalid"
    """An online build is under way, as Index.build tells, or was interrupted: create_index() finishes it anew."""


@dataclass(frozen=True, slots=True)
class PartitionDescription:
    """A partition: its full name, and the table that holds it."""

    name: str
    table: str


@dataclass(frozen=True, slots=True)
class OtherIndex:
    """An index made by hand that no specification of ours describes: partial, of several columns, of an expression."""

    access_method: str
    operator_class: str


@dataclass(frozen=True, slots=True)
class IndexDescription:
    """An index.

    field           the field's name, "$meta" for the dynamic one, a path as filters write it, "meta['lang']", or the
                    expression of an index that was made by hand
    half_precision  the index holds the field's vectors in half precision, although the table holds them in single
    properties      free text pairs that travel with the index
    """

    name: str
    field: str
    spec: IndexSpec | OtherIndex
    state: IndexState
    half_precision: bool = False
    properties: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False)

    @property
    def metric(self) -> Metric | None:
        return self.spec.metric if isinstance(self.spec, Hnsw | IvfFlat) else None


@dataclass(frozen=True, slots=True)
class Dependent:
    """An object of somebody else that refers to one of ours, in PostgreSQL's words: "view", "public.recent"."""

    oid: int
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class CollectionSummary:
    """What a list of collections shows of each."""

    name: str
    oid: int
    properties: Mapping[str, str]
    created_at: datetime


@dataclass(frozen=True)
class CollectionDescription:
    """A collection as it stands in the catalogue.

    leaves     the tables of all partitions in its schema, also of those that somebody made by hand for several values
    foreign_leaves  tables of other schemas that somebody attached as partitions
    relations  every name that is taken in its schema
    filled     fields that somebody added by plain SQL, NOT NULL with a default that only the server knows
    created_at  when the collection was created
    numbers    PostgreSQL's number of each column: that of one which is dropped is given to no other
    """

    name: str
    oid: int
    schema: CollectionSchema
    partitions: tuple[PartitionDescription, ...]
    indexes: tuple[IndexDescription, ...]
    aliases: tuple[str, ...]
    leaves: tuple[str, ...] = field(repr=False)
    foreign_leaves: tuple[str, ...] = field(repr=False)
    relations: frozenset[str] = field(repr=False)
    filled: frozenset[str] = field(default=frozenset(), repr=False)
    created_at: datetime | None = field(default=None, repr=False)
    numbers: Mapping[str, int] = field(default_factory=dict, repr=False)

    def partition(self, name: str) -> PartitionDescription:
        found = next((partition for partition in self.partitions if partition.name == name), None)
        if found is None:
            raise PartitionNotFound(f"collection {self.name!r} has no partition {name!r}")
        return found

    def index(self, name: str) -> IndexDescription:
        found = next((index for index in self.indexes if index.name == name), None)
        if found is None:
            names = ", ".join(index.name for index in self.indexes) or "none"
            raise IndexNotFound(f"collection {self.name!r} has no index {name!r}; indexes: {names}")
        return found

    def only_index(self) -> IndexDescription:
        """The one index there is, for drop_index() without a name."""
        if not self.indexes:
            raise IndexNotFound(f"collection {self.name!r} has no index")
        if len(self.indexes) > 1:
            names = ", ".join(index.name for index in self.indexes)
            raise InvalidArgument(f"collection {self.name!r} has several indexes, say which: {names}")
        return self.indexes[0]

    def vector_indexes(self, field: str) -> tuple[IndexDescription, ...]:
        return tuple(index for index in self.indexes if index.field == field and index.metric is not None)

    @cached_property
    def cosine_fields(self) -> frozenset[str]:
        """Fields whose vectors must have a direction, for an index by COSINE holds no others."""
        return frozenset(index.field for index in self.indexes if index.metric is Metric.COSINE)

    @cached_property
    def half_precision_fields(self) -> frozenset[str]:
        """Fields whose vectors must fit into half precision, for an index holds them so."""
        return frozenset(index.field for index in self.indexes if index.half_precision)

    @cached_property
    def ready_indexes(self) -> frozenset[tuple[str, IndexSpec]]:
        """The field, or path, and the specification of each index of ours that searches use."""
        ready = (index for index in self.indexes if index.state is IndexState.READY)
        return frozenset((index.field, index.spec) for index in ready if not isinstance(index.spec, OtherIndex))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """All columns of the table, in order."""
        extra = [DYNAMIC_COLUMN] if self.schema.dynamic else []
        extra += [PARTITION_COLUMN] if self.schema.partition_key is None else []
        return (*(field.name for field in self.schema.fields), *extra)
