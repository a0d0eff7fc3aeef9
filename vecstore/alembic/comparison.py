"""What leads from the collections that are there to those that are declared. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from alembic.operations import MigrateOperation

from ..altering import check_alterable
from ..declaration import CollectionDeclaration
from ..description import CollectionDescription, IndexDescription, IndexState, OtherIndex
from ..errors import OperationRefused
from ..naming import DEFAULT_PARTITION
from ..schema import CollectionSchema, Field, Gin, IndexSpec
from .operations import (
    AddFieldOp,
    AlterAliasOp,
    AlterCollectionOp,
    AlterFieldOp,
    CollectionOps,
    CreateAliasOp,
    CreateCollectionOp,
    CreateIndexOp,
    CreatePartitionOp,
    DropAliasOp,
    DropCollectionOp,
    DropFieldOp,
    DropIndexOp,
    DropPartitionOp,
)

Declared = Mapping[str, CollectionDeclaration]
Existing = Mapping[str, CollectionDescription]


def differences(declared: Declared, existing: Existing) -> Iterator[MigrateOperation]:
    """The operations, in an order in which they can be run; reversed, they lead back.

    Raises OperationRefused where no operation in place leads there, and says what does.
    """
    yield from _dropped_aliases(declared, existing)
    for name in sorted(declared.keys() - existing.keys()):
        yield _created(declared[name])
    for name in sorted(declared.keys() & existing.keys()):
        yield from _changed(declared[name], existing[name])
    yield from _aliases(declared, existing)
    for name in sorted(existing.keys() - declared.keys()):
        yield DropCollectionOp(name, rebuild=_rebuilt(existing[name]))


def _created(declaration: CollectionDeclaration) -> CollectionOps:
    name, schema = declaration.name, declaration.schema
    return CollectionOps(
        name,
        [
            CreateCollectionOp(name, schema),
            *(CreatePartitionOp(name, partition) for partition in declaration.partitions or ()),
            *(_index(name, schema, it.field, it.spec, it.name) for it in declaration.indexes),
        ],
    )


def _rebuilt(description: CollectionDescription) -> CollectionOps:
    name, schema = description.name, description.schema
    partitions = [] if schema.partition_key else _partition_names(description)
    return CollectionOps(
        name,
        [
            CreateCollectionOp(name, schema),
            *(CreatePartitionOp(name, partition) for partition in partitions),
            *(
                _index(name, schema, it.field, it.spec, it.name)
                for it in description.indexes
                if not isinstance(it.spec, OtherIndex)
            ),
        ],
    )


def _partition_names(description: CollectionDescription) -> list[str]:
    return [it.name for it in description.partitions if it.name != DEFAULT_PARTITION]


def _index(collection: str, schema: CollectionSchema, field: str, spec: IndexSpec, name: str | None) -> CreateIndexOp:
    """With the field that it is on, by its name or as the first part of a path."""
    existing = schema.by_name.get(field.partition("[")[0])
    return CreateIndexOp(collection, field, spec, name=name, existing=existing)


def _changed(declaration: CollectionDeclaration, description: CollectionDescription) -> Iterator[MigrateOperation]:
    """Indexes go before their fields and come after them."""
    name, new, old = declaration.name, declaration.schema, description.schema
    _check_in_place(name, old, new)
    yield from _altered(name, old, new)
    replaced = _replaced_indexes(declaration, description)
    for index in replaced:
        if not isinstance(index.spec, OtherIndex):
            rebuild = _index(name, old, index.field, index.spec, index.name)
            yield DropIndexOp(name, index.name, rebuild=rebuild)
    for field in new.fields:
        before = old.by_name.get(field.name)
        if before is None:
            yield AddFieldOp(name, field)
        elif before != field:
            check_alterable(name, before, field)
            yield AlterFieldOp(name, field, existing=before)
    for field in old.fields:
        if field.name not in new.by_name:
            yield DropFieldOp(name, field.name, rebuild=field)
    yield from _partitions(declaration, description)
    kept = {it.name for it in description.indexes} - {it.name for it in replaced}
    for it in declaration.indexes:
        if it.name not in kept:
            yield _index(name, new, it.field, it.spec, it.name)


def _check_in_place(name: str, old: CollectionSchema, new: CollectionSchema) -> None:
    way_out = "load a new collection and let an alias stand for it"
    if old.dynamic != new.dynamic:
        is_now = "dynamic" if old.dynamic else "not dynamic"
        raise OperationRefused(f"collection {name!r} is {is_now}, which cannot be changed: {way_out}")
    if new.partition_key is not None and old.partition_key is not None and old.num_partitions != new.num_partitions:
        raise OperationRefused(
            f"collection {name!r} has {old.num_partitions} hash partitions, which cannot become "
            f"{new.num_partitions}: {way_out}"
        )
    was, asked = ", ".join(_keys(old)), ", ".join(_keys(new))
    if was != asked:
        raise OperationRefused(f"collection {name!r} has the keys {was}, which cannot become {asked}: {way_out}")


def _keys(schema: CollectionSchema) -> list[str]:
    return [field.name for field in schema.fields if field.primary_key or field.partition_key]


def _altered(name: str, old: CollectionSchema, new: CollectionSchema) -> Iterator[AlterCollectionOp]:
    if old.description != new.description:
        yield AlterCollectionOp(name, description=new.description, existing_description=old.description)
    if dict(old.properties) != dict(new.properties):
        yield AlterCollectionOp(name, properties=new.properties, existing_properties=old.properties)


def _replaced_indexes(declaration: CollectionDeclaration, description: CollectionDescription) -> list[IndexDescription]:
    """Those that are not declared, or not so, or that a change of their field leaves useless.

    An index that somebody made by hand, and that no declaration could describe, is left alone.
    """
    declared = {it.name: (it.field, it.spec) for it in declaration.indexes}
    replaced = []
    for index in description.indexes:
        if isinstance(index.spec, OtherIndex) and index.name not in declared:
            continue
        same = index.state is IndexState.READY and declared.get(index.name) == (index.field, index.spec)
        before, after = (schema.by_name.get(index.field) for schema in (description.schema, declaration.schema))
        if not same or (isinstance(index.spec, Gin) and _words(before) != _words(after)):
            replaced.append(index)
    return replaced


def _words(field: Field | None) -> tuple[str | None, bool] | None:
    return None if field is None else (field.text_search, field.bm25)


def _partitions(declaration: CollectionDeclaration, description: CollectionDescription) -> Iterator[MigrateOperation]:
    if declaration.partitions is None or declaration.schema.partition_key is not None:
        return
    there = _partition_names(description)
    for partition in declaration.partitions:
        if partition not in there:
            yield CreatePartitionOp(declaration.name, partition)
    for partition in there:
        if partition not in declaration.partitions:
            yield DropPartitionOp(declaration.name, partition)


def _pointed(existing: Existing) -> dict[str, str]:
    return {alias: description.name for description in existing.values() for alias in description.aliases}


def _dropped_aliases(declared: Declared, existing: Existing) -> Iterator[DropAliasOp]:
    """Of collections that go, and of those whose aliases are declared; not those that are only pointed elsewhere."""
    wanted = {alias for declaration in declared.values() for alias in declaration.aliases or ()}
    for alias, collection in sorted(_pointed(existing).items()):
        declaration = declared.get(collection)
        if alias not in wanted and (declaration is None or declaration.aliases is not None):
            yield DropAliasOp(alias, rebuild=collection)


def _aliases(declared: Declared, existing: Existing) -> Iterator[MigrateOperation]:
    pointed = _pointed(existing)
    for name, declaration in sorted(declared.items()):
        for alias in declaration.aliases or ():
            if alias not in pointed:
                yield CreateAliasOp(name, alias)
            elif pointed[alias] != name:
                yield AlterAliasOp(name, alias, existing=pointed[alias])
