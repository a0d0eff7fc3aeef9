"""What a revision can do to collections, as data: each operation knows its reverse.

All arguments are plain values of vecstore, so that a revision never imports the application's code, which goes on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from alembic.operations import MigrateOperation, Operations
from alembic.operations.ops import OpContainer

from ..errors import InvalidArgument
from ..schema import CollectionSchema, Field, Hnsw, IndexSpec, IvfFlat


class CollectionOperation(MigrateOperation):
    """An operation: `verb` is its name on `op`."""

    verb: ClassVar[str]

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return (self.verb, *(getattr(self, it.name) for it in dataclasses.fields(self) if it.repr))  # type: ignore[arg-type]


def _unknown(operation: CollectionOperation) -> ValueError:
    return ValueError(f"{operation.verb}: what it drops is not known, and so is not what would make it again")


@Operations.register_operation("create_collection")
@dataclass
class CreateCollectionOp(CollectionOperation):
    """Make a collection, with its partition `_default` or its hash partitions."""

    verb = "create_collection"
    name: str
    schema: CollectionSchema

    @classmethod
    def create_collection(
        cls,
        operations: Operations,
        name: str,
        *fields: Field,
        description: str = "",
        dynamic: bool = False,
        properties: Mapping[str, str] | None = None,
        num_partitions: int = 16,
    ) -> None:
        """Make a collection, as Store.create_collection() does."""
        schema = CollectionSchema(fields, dynamic, description, properties or {}, num_partitions)
        operations.invoke(cls(name, schema))

    def reverse(self) -> DropCollectionOp:
        return DropCollectionOp(self.name, rebuild=CollectionOps(self.name, [self]))


class CollectionOps(OpContainer):
    """What makes a collection: itself, its partitions, its indexes.

    is_lost  it was there before, and its entities do not come back
    """

    def __init__(self, name: str, ops: Sequence[MigrateOperation], *, is_lost: bool = False) -> None:
        super().__init__(ops)
        self.name = name
        self.is_lost = is_lost

    def reverse(self) -> DropCollectionOp:
        return DropCollectionOp(self.name, rebuild=self)


@Operations.register_operation("drop_collection")
@dataclass
class DropCollectionOp(CollectionOperation):
    """Drop a collection with all that is in it."""

    verb = "drop_collection"
    name: str
    cascade: bool = dataclasses.field(default=False, kw_only=True)
    rebuild: CollectionOps | None = dataclasses.field(default=None, kw_only=True, repr=False, compare=False)

    @classmethod
    def drop_collection(cls, operations: Operations, name: str, *, cascade: bool = False) -> None:
        """Drop a collection with all that is in it, as Collection.drop() does."""
        operations.invoke(cls(name, cascade=cascade))

    def reverse(self) -> CollectionOps:
        if self.rebuild is None:
            raise _unknown(self)
        return CollectionOps(self.name, self.rebuild.ops, is_lost=True)


@Operations.register_operation("rename_collection")
@dataclass
class RenameCollectionOp(CollectionOperation):
    """Give a collection another name."""

    verb = "rename_collection"
    name: str
    new_name: str

    @classmethod
    def rename_collection(cls, operations: Operations, name: str, new_name: str) -> None:
        """Give a collection another name, as Store.rename_collection() does; autogenerate sees a drop and a create."""
        operations.invoke(cls(name, new_name))

    def reverse(self) -> RenameCollectionOp:
        return RenameCollectionOp(self.new_name, self.name)


@Operations.register_operation("alter_collection")
@dataclass
class AlterCollectionOp(CollectionOperation):
    """Give a collection another description, or other properties; None leaves what there is."""

    verb = "alter_collection"
    name: str
    description: str | None = dataclasses.field(default=None, kw_only=True)
    existing_description: str | None = dataclasses.field(default=None, kw_only=True)
    properties: Mapping[str, str] | None = dataclasses.field(default=None, kw_only=True)
    existing_properties: Mapping[str, str] | None = dataclasses.field(default=None, kw_only=True)

    @classmethod
    def alter_collection(
        cls,
        operations: Operations,
        name: str,
        *,
        description: str | None = None,
        existing_description: str | None = None,
        properties: Mapping[str, str] | None = None,
        existing_properties: Mapping[str, str] | None = None,
    ) -> None:
        """Give a collection another description, or other properties; what existed is for the downgrade."""
        operations.invoke(
            cls(
                name,
                description=description,
                existing_description=existing_description,
                properties=properties,
                existing_properties=existing_properties,
            )
        )

    def reverse(self) -> AlterCollectionOp:
        return AlterCollectionOp(
            self.name,
            description=self.existing_description,
            existing_description=self.description,
            properties=self.existing_properties,
            existing_properties=self.properties,
        )


@Operations.register_operation("create_partition")
@dataclass
class CreatePartitionOp(CollectionOperation):
    """Add a partition to a collection.

    is_lost  it was there before, and its entities do not come back
    """

    verb = "create_partition"
    collection: str
    partition: str
    is_lost: bool = dataclasses.field(default=False, kw_only=True, repr=False, compare=False)

    @classmethod
    def create_partition(cls, operations: Operations, collection: str, partition: str) -> None:
        """Add a partition, as Collection.create_partition() does."""
        operations.invoke(cls(collection, partition))

    def reverse(self) -> DropPartitionOp:
        return DropPartitionOp(self.collection, self.partition)


@Operations.register_operation("drop_partition")
@dataclass
class DropPartitionOp(CollectionOperation):
    """Drop a partition with the entities in it."""

    verb = "drop_partition"
    collection: str
    partition: str
    cascade: bool = dataclasses.field(default=False, kw_only=True)

    @classmethod
    def drop_partition(cls, operations: Operations, collection: str, partition: str, *, cascade: bool = False) -> None:
        """Drop a partition with the entities in it, as Collection.drop_partition() does."""
        operations.invoke(cls(collection, partition, cascade=cascade))

    def reverse(self) -> CreatePartitionOp:
        return CreatePartitionOp(self.collection, self.partition, is_lost=True)


@Operations.register_operation("create_vector_index")
@Operations.register_operation("create_scalar_index")
@dataclass
class CreateIndexOp(CollectionOperation):
    """Index a field, or a place in JSON.

    existing  the field as it is there: a script for psql cannot look
    """

    collection: str
    field: str
    spec: IndexSpec
    name: str | None = dataclasses.field(default=None, kw_only=True)
    online: bool = dataclasses.field(default=False, kw_only=True)
    existing: Field | None = dataclasses.field(default=None, kw_only=True, repr=False, compare=False)

    @property
    def verb(self) -> str:  # type: ignore[override]
        return f"create_{_kind(self.spec)}_index"

    @classmethod
    def create_vector_index(
        cls,
        operations: Operations,
        collection: str,
        field: str,
        spec: IndexSpec,
        *,
        name: str | None = None,
        online: bool = False,
        existing: Field | None = None,
    ) -> None:
        """Index a vector field by Hnsw or IvfFlat, as Collection.create_index() does.

        online    writers do not wait. The transaction so far is committed first, so this belongs into a revision of its
                  own; one that was interrupted can be run again
        existing  the field as it is there; only a script for psql (--sql) needs it
        """
        _check_kind("vector", spec)
        operations.invoke(cls(collection, field, spec, name=name, online=online, existing=existing))

    @classmethod
    def create_scalar_index(
        cls,
        operations: Operations,
        collection: str,
        field: str,
        spec: IndexSpec,
        *,
        name: str | None = None,
        online: bool = False,
        existing: Field | None = None,
    ) -> None:
        """Index a scalar field, or a place in JSON, by Btree or Gin; the rest is as for create_vector_index()."""
        _check_kind("scalar", spec)
        operations.invoke(cls(collection, field, spec, name=name, online=online, existing=existing))

    def reverse(self) -> DropIndexOp:
        if self.name is None:
            raise ValueError(f"{self.verb}: only an index that is named can be dropped again")
        return DropIndexOp(self.collection, self.name, rebuild=self)


def _kind(spec: IndexSpec) -> str:
    return "vector" if isinstance(spec, Hnsw | IvfFlat) else "scalar"


def _check_kind(kind: str, spec: IndexSpec) -> None:
    if _kind(spec) != kind:
        raise InvalidArgument(f"{type(spec).__name__} is no {kind} index: use op.create_{_kind(spec)}_index()")


@Operations.register_operation("drop_vector_index")
@Operations.register_operation("drop_scalar_index")
@dataclass
class DropIndexOp(CollectionOperation):
    """Drop an index."""

    collection: str
    name: str
    rebuild: CreateIndexOp | None = dataclasses.field(default=None, kw_only=True, repr=False, compare=False)

    @property
    def verb(self) -> str:  # type: ignore[override]
        return "drop_vector_index" if self.rebuild is None else f"drop_{_kind(self.rebuild.spec)}_index"

    @classmethod
    def drop_vector_index(cls, operations: Operations, collection: str, name: str) -> None:
        """Drop an index, as Collection.drop_index() does."""
        operations.invoke(cls(collection, name))

    @classmethod
    def drop_scalar_index(cls, operations: Operations, collection: str, name: str) -> None:
        """Drop an index, as Collection.drop_index() does."""
        operations.invoke(cls(collection, name))

    def reverse(self) -> CreateIndexOp:
        if self.rebuild is None:
            raise _unknown(self)
        return self.rebuild


@Operations.register_operation("add_field")
@dataclass
class AddFieldOp(CollectionOperation):
    """Add a field to a collection.

    is_lost  it was there before, and its values do not come back
    """

    verb = "add_field"
    collection: str
    field: Field
    is_lost: bool = dataclasses.field(default=False, kw_only=True, repr=False, compare=False)

    @classmethod
    def add_field(cls, operations: Operations, collection: str, field: Field) -> None:
        """Add a field, as Collection.add_field() does: nullable, or with a default_value, where entities are there."""
        operations.invoke(cls(collection, field))

    def reverse(self) -> DropFieldOp:
        return DropFieldOp(self.collection, self.field.name, rebuild=self.field)


@Operations.register_operation("drop_field")
@dataclass
class DropFieldOp(CollectionOperation):
    """Drop a field with its values and its indexes."""

    verb = "drop_field"
    collection: str
    name: str
    cascade: bool = dataclasses.field(default=False, kw_only=True)
    rebuild: Field | None = dataclasses.field(default=None, kw_only=True, repr=False, compare=False)

    @classmethod
    def drop_field(cls, operations: Operations, collection: str, name: str, *, cascade: bool = False) -> None:
        """Drop a field with its values and its indexes, as Collection.drop_field() does."""
        operations.invoke(cls(collection, name, cascade=cascade))

    def reverse(self) -> AddFieldOp:
        if self.rebuild is None:
            raise _unknown(self)
        return AddFieldOp(self.collection, self.rebuild, is_lost=True)


@Operations.register_operation("alter_field")
@dataclass
class AlterFieldOp(CollectionOperation):
    """Give a field another declaration."""

    verb = "alter_field"
    collection: str
    field: Field
    existing: Field = dataclasses.field(kw_only=True)

    @classmethod
    def alter_field(cls, operations: Operations, collection: str, field: Field, *, existing: Field) -> None:
        """Give a field another declaration: size, nullable, default_value, text_search, bm25, description.

        existing  the declaration it has, for a script for psql and for the downgrade

        Raises OperationRefused for another type or dimension: that is a new field, or a new collection.
        """
        operations.invoke(cls(collection, field, existing=existing))

    def reverse(self) -> AlterFieldOp:
        return AlterFieldOp(self.collection, self.existing, existing=self.field)


@Operations.register_operation("create_alias")
@dataclass
class CreateAliasOp(CollectionOperation):
    """Give a collection a second name."""

    verb = "create_alias"
    collection: str
    alias: str

    @classmethod
    def create_alias(cls, operations: Operations, collection: str, alias: str) -> None:
        """Give a collection a second name, as Store.create_alias() does."""
        operations.invoke(cls(collection, alias))

    def reverse(self) -> DropAliasOp:
        return DropAliasOp(self.alias, rebuild=self.collection)


@Operations.register_operation("alter_alias")
@dataclass
class AlterAliasOp(CollectionOperation):
    """Let an alias stand for another collection."""

    verb = "alter_alias"
    collection: str
    alias: str
    existing: str | None = dataclasses.field(default=None, kw_only=True)

    @classmethod
    def alter_alias(cls, operations: Operations, collection: str, alias: str, *, existing: str | None = None) -> None:
        """Let an alias stand for another collection, as Store.alter_alias() does; existing is for the downgrade."""
        operations.invoke(cls(collection, alias, existing=existing))

    def reverse(self) -> AlterAliasOp:
        if self.existing is None:
            raise _unknown(self)
        return AlterAliasOp(self.existing, self.alias, existing=self.collection)


@Operations.register_operation("drop_alias")
@dataclass
class DropAliasOp(CollectionOperation):
    """Drop an alias; its collection stays."""

    verb = "drop_alias"
    alias: str
    rebuild: str | None = dataclasses.field(default=None, kw_only=True, repr=False, compare=False)

    @classmethod
    def drop_alias(cls, operations: Operations, alias: str) -> None:
        """Drop an alias, as Store.drop_alias() does; its collection stays."""
        operations.invoke(cls(alias))

    def reverse(self) -> CreateAliasOp:
        if self.rebuild is None:
            raise _unknown(self)
        return CreateAliasOp(self.rebuild, self.alias)


OPERATIONS: tuple[type[CollectionOperation], ...] = (
    CreateCollectionOp,
    DropCollectionOp,
    RenameCollectionOp,
    AlterCollectionOp,
    CreatePartitionOp,
    DropPartitionOp,
    CreateIndexOp,
    DropIndexOp,
    AddFieldOp,
    DropFieldOp,
    AlterFieldOp,
    CreateAliasOp,
    AlterAliasOp,
    DropAliasOp,
)
