"""The collections that an application declares: what its migrations are to lead to. Values, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from sqlalchemy import MetaData

from . import tables
from .errors import InvalidArgument, InvalidSchema
from .indexing import indexed
from .ingest import with_plain_default
from .naming import (
    DEFAULT_PARTITION,
    check_collection_name,
    check_index_name,
    check_partition_name,
    index_name,
    names_list,
)
from .schema import CollectionSchema, Field, IndexSpec

# Only looked at for what an index is on: no statement is made of it.
_ANY_SCHEMA = "public"


@dataclass(frozen=True, slots=True)
class IndexDeclaration:
    """An index of a declared collection, as create_index() takes it; `<field>_idx` where the name is left out."""

    field: str
    spec: IndexSpec
    name: str | None = None


@dataclass(frozen=True, slots=True)
class CollectionDeclaration:
    """A declared collection.

    partitions  beside `_default`; None: the application makes and drops them while it runs
    aliases     None: the application points them while it runs
    """

    name: str
    schema: CollectionSchema
    indexes: tuple[IndexDeclaration, ...]
    partitions: tuple[str, ...] | None
    aliases: tuple[str, ...] | None


class CollectionMetadata(MetaData):
    """The collections that an application declares, for Alembic's target_metadata, beside the application's MetaData.

    It holds no tables: `collections` has the declarations by name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.collections: dict[str, CollectionDeclaration] = {}

    def declare(
        self,
        name: str,
        fields: Iterable[Field],
        *,
        description: str = "",
        dynamic: bool = False,
        properties: Mapping[str, str] | None = None,
        num_partitions: int = 16,
        indexes: Iterable[IndexDeclaration] = (),
        partitions: Iterable[str] | None = None,
        aliases: Iterable[str] | None = None,
    ) -> CollectionDeclaration:
        """Declare a collection; name to num_partitions are those of Store.create_collection().

        partitions  None: not compared, for the application makes and drops them while it runs. A list: exactly these,
                    beside `_default`
        aliases     None: not compared. A list: exactly these

        Raises InvalidSchema, InvalidName, InvalidArgument, FieldNotFound.
        """
        schema = CollectionSchema(
            cast("tuple[Field, ...]", fields), dynamic, description, properties or {}, num_partitions
        )
        schema = replace(schema, fields=tuple(map(with_plain_default, schema.fields)))
        declaration = CollectionDeclaration(
            check_collection_name(name),
            schema,
            tuple(_named(name, schema, indexes)),
            None if partitions is None else tuple(_partitions(schema, partitions)),
            None
            if aliases is None
            else tuple(check_collection_name(it, kind="alias") for it in _names(aliases, "aliases")),
        )
        self._check_free(declaration)
        self.collections[name] = declaration
        return declaration

    def _check_free(self, declaration: CollectionDeclaration) -> None:
        taken = {it: f"collection {it!r}" for it in self.collections}
        for other in self.collections.values():
            taken |= dict.fromkeys(other.aliases or (), f"an alias of collection {other.name!r}")
        for name in (declaration.name, *(declaration.aliases or ())):
            if name in taken:
                raise InvalidSchema(f"{name!r} is declared already, as {taken[name]}")
            taken[name] = f"collection {declaration.name!r}"


def _names(names: Iterable[str], what: str) -> list[str]:
    listed = names_list(names, what)
    if len(set(listed)) != len(listed):
        raise InvalidArgument(f"{what} names one twice: {', '.join(listed)}")
    return listed


def _partitions(schema: CollectionSchema, partitions: Iterable[str]) -> Iterator[str]:
    for name in _names(partitions, "partitions"):
        if schema.partition_key is not None:
            raise InvalidArgument(
                f"partitions are made from the partition key {schema.partition_key.name!r}: leave them out"
            )
        if check_partition_name(name) != DEFAULT_PARTITION:
            yield name


def _named(
    collection: str, schema: CollectionSchema, indexes: Iterable[IndexDeclaration]
) -> Iterator[IndexDeclaration]:
    """The indexes as the catalogue will have them: with their names, and paths as descriptions write them."""
    table = tables.entities(collection, schema, extension_schema=_ANY_SCHEMA)
    taken: set[str] = set()
    for index in indexes:
        if not isinstance(index, IndexDeclaration):
            raise InvalidArgument(f"indexes must be a list of vecstore.IndexDeclaration, got {index!r:.80}")
        target = indexed(schema, table, index.field, index.spec, _ANY_SCHEMA)
        chosen = index.name or index_name(target.name, kind=target.kind, taken=taken)
        if check_index_name(chosen) in taken:
            raise InvalidArgument(f"two indexes of collection {collection!r} have the name {chosen!r}")
        taken.add(chosen)
        yield IndexDeclaration(target.name, target.spec, chosen)
